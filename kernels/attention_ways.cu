/* SPDX-License-Identifier: Apache-2.0
 *
 * attention_ways.cu - which backward of attention is taken for a shape: cuDNN's, or the two passes of
 * attention_grad.cuh.  cuDNN's without a choice; the choice is the caller's (ways.h), made by measuring both once, or
 * of all shapes that were not measured (WAN_DEV_TWO_PASSES).
 */
#include "kernels/attention_grad.cuh"
#include "kernels/sdpa.cuh"
#include "kernels/space.h"

#include <chrono>

enum { REPEAT = 3 };
static const char TWO_PASSES[] = "two-passes", CUDNN[] = "cudnn";

int cuda_grad_by_cudnn(wan_dev *d, const grad_call *c)
{
    return cuda_sdpa_backward(d, c->a, c->dq, c->dk, c->dv, c->dout, c->o, c->lse, c->q, c->k,
                              c->v);
}

static double seconds(void)
{
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

/* The shortest time of a way, after once more; infinite: it declines. */
static int measure(wan_dev *d, int (*way)(wan_dev *, const grad_call *), const grad_call *c,
                   double *best)
{
    *best = INFINITY;
    for (int i = 0; i <= REPEAT; i++) {
        const double start = seconds();
        const int r = way(d, c);
        if (r)
            return r < 0 ? -1 : 0;
        CUDA_TRY(cudaStreamSynchronize(cuda_stream(d)));
        const double s = seconds() - start;
        *best = i && s < *best ? s : *best;
    }
    return 0;
}

/* Lengths are rounded as graphs round them, so that packs recur. */
static void name(char *kind, char *shape, size_t size, wan_dev *d, const wan_attn *a)
{
    snprintf(kind, size, "attention-backward%s sm_%d cudnn %zu",
             d->flags & WAN_DEV_NONDETERMINISTIC ? " any-order" : "", cuda_of(d)->sm,
             cuda_sdpa_version());
    snprintf(shape, size, "%d x %lld x %lld, %d heads of %lld%s", a->pq->n,
             (long long)wan_space_bound(a->pq->max_len), (long long)wan_space_bound(a->pk->max_len),
             a->H, (long long)a->hd, a->kbias ? ", bias" : "");
}

int cuda_grad_first(wan_dev *d, const grad_call *c)
{
    char kind[96], shape[96], way[96];
    double own, theirs;
    if (d->flags & WAN_DEV_OWN)
        return 1;
    const int self = c->a->pq->cu == c->a->pk->cu && d->flags & WAN_DEV_TWO_PASSES;
    if (!d->ways || !cuda_sdpa_version())
        return self;
    name(kind, shape, sizeof kind, d, c->a);
    const char *known = wan_cuda_host->ways_find(d->ways, kind, shape);
    if (known && !strncmp(known, TWO_PASSES, strlen(TWO_PASSES)))
        return 1;
    if (known && !strncmp(known, CUDNN, strlen(CUDNN)))
        return 0;
    if (!d->ways->trying)
        return self;
    WAN_TRY(measure(d, cuda_grad_backward, c, &own));
    WAN_TRY(measure(d, cuda_grad_by_cudnn, c, &theirs));
    if (own == INFINITY || theirs == INFINITY)
        return 0; /* no choice */
    snprintf(way, sizeof way, "%s, %s %.3f ms, %s %.3f ms", own < theirs ? TWO_PASSES : CUDNN,
             TWO_PASSES, 1e3 * own, CUDNN, 1e3 * theirs);
    WAN_TRY(wan_cuda_host->ways_note(d->ways, kind, shape, way));
    return own < theirs;
}
