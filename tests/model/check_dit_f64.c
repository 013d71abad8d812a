/* SPDX-License-Identifier: Apache-2.0
 *
 * check_dit_f64.c - the whole DiT in double (anymodel.h); its heads and feed-forward divided over two
 * ranks, which are threads here.
 */
#include <pthread.h>

#include "lib/model/dit/dit.h"
#include "tests/model/anymodel.h"

static const wan_dit_config config = { .heads = 2,
                                       .head_dim = 8,
                                       .layers = 2,
                                       .ffn = 20,
                                       .in_ch = 3,
                                       .out_ch = 2,
                                       .text_dim = 10,
                                       .text_len = TEXT_LEN,
                                       .adaln_dim = 5,
                                       .fps_dim = 6,
                                       .fps = 30,
                                       .patch_h = 2,
                                       .patch_w = 2,
                                       .eps = 1e-6 };

/* ---- two ranks */

enum { RANKS = 2 };
static pthread_barrier_t meet;
static struct rank {
    int rank;
    wan_dev *d;
    wan_store *s;
    wan_acts *a;
    data in;
    double *shared; /* what it brings to a sum */
} ranks[RANKS];

static int sum(void *arg, wan_dev *d, wan_buf x, int64_t n)
{
    struct rank *me = arg;
    double *v = x.p;
    (void)d;
    me->shared = v;
    pthread_barrier_wait(&meet);
    double *total = malloc((size_t)n * sizeof *total);
    for (int64_t i = 0; i < n; i++)
        total[i] = ranks[0].shared[i] + ranks[1].shared[i];
    pthread_barrier_wait(&meet);
    memcpy(v, total, (size_t)n * sizeof *v);
    free(total);
    return 0;
}

static void *work(void *arg)
{
    struct rank *me = arg;
    MUST(wan_model_fill(me->a, &me->in.in, NULL));
    me->a->wing = (wan_wing){ .arg = me, .sum = sum };
    me->a->pred = me->in.pred;
    me->a->dpred = WAN_RBUF(me->in.r);
    MUST(wan_model_forward(me->a, me->s, 0, config.layers + 2, NULL));
    MUST(wan_model_backward(me->a, me->s, 0, config.layers + 2, NULL));
    return NULL;
}

static void open_rank(struct rank *me, int rank, const wan_arch *arch, const wan_store *whole)
{
    const wan_slice slice = { .rank = rank, .ranks = RANKS, .end = config.layers + 2 };
    const wan_acts_options o = { .compute = WAN_REAL,
                                 .train = 1,
                                 .cap = { .tokens = 40,
                                          .samples = N,
                                          .text_rows = N * TEXT_LEN,
                                          .recompute = WAN_RECOMPUTE_SELECTIVE },
                                 .slice = &slice };
    me->rank = rank;
    MUST(wan_dev_open(&me->d, "ref", 0));
    MUST(wan_model_store(&me->s, me->d, arch, &slice, WAN_REAL, 1));
    MUST(wan_model_acts(&me->a, me->d, arch, &o, NULL));
    me->in = make_data(0, N, 0);
    for (int i = 0; i < whole->params.n; i++) {
        const wan_param *q = &whole->params.v[i];
        const wan_item *it = &me->s->item[i];
        int64_t outer = q->cut == 1 ? q->shape[0] : 1, inner = q->count / outer;
        int64_t width = it->count / outer,
                from = q->cut < 0 ? 0 : it->from * (inner / q->shape[q->cut]);
        for (int64_t k = 0; k < outer; k++)
            memcpy(wan_store_master(me->s, i) + k * width,
                   wan_store_master(whole, i) + k * inner + from, (size_t)width * sizeof(double));
    }
}

/* The gradient of parameter i as the ranks have it, against the whole one. */
static double grad_error(const wan_store *whole, int i)
{
    const wan_param *q = &whole->params.v[i];
    int64_t outer = q->cut == 1 ? q->shape[0] : 1, inner = q->count / outer;
    double *g = calloc((size_t)q->count, sizeof *g);
    for (int r = 0; r < RANKS; r++) {
        const wan_item *it = &ranks[r].s->item[i];
        const double *part = wan_store_g(ranks[r].s, i);
        int64_t width = it->count / outer,
                from = q->cut < 0 ? 0 : it->from * (inner / q->shape[q->cut]);
        if (q->cut < 0 && r)
            continue; /* both have all of it */
        for (int64_t j = 0; j < it->count; j++)
            g[j / width * inner + from + j % width] += part[j];
    }
    double e = rel(g, wan_store_g(whole, i), q->count);
    free(g);
    return e;
}

static void check_divided(void)
{
    netrun m = make_model(WAN_RECOMPUTE_NONE);
    data d = make_data(0, N, 0);
    pthread_t thread[RANKS];
    double worst = 0;
    gradient(&m, &d);
    pthread_barrier_init(&meet, NULL, RANKS);
    for (int r = 0; r < RANKS; r++)
        open_rank(&ranks[r], r, &m.arch, m.s);
    for (int r = 0; r < RANKS; r++)
        pthread_create(&thread[r], NULL, work, &ranks[r]);
    for (int r = 0; r < RANKS; r++)
        pthread_join(thread[r], NULL);
    for (int r = 0; r < RANKS; r++)
        ok_err(rel(ranks[r].in.pred, d.pred, d.S * 4 * config.out_ch), 1e-12,
               "rank %d of 2: prediction", r);
    for (int i = 0; i < m.s->params.n; i++) {
        double e = grad_error(m.s, i);
        if (!(e <= 1e-12))
            ok_err(e, 1e-12, "2 ranks: gradient of %s", m.s->params.v[i].name);
        worst = worse(worst, e);
    }
    ok_err(worst, 1e-12, "2 ranks: gradients of all parameters");
    for (int r = 0; r < RANKS; r++) {
        wan_model_acts_free(&ranks[r].a);
        wan_store_free(&ranks[r].s);
        wan_dev_close(&ranks[r].d);
        free_data(&ranks[r].in);
    }
    netrun_close(&m);
    free_data(&d);
}

int main(void)
{
    static const double levels[N] = { -1.3, 0.02, 0.9 }; /* log(sigma) / 4 */
    anymodel(&wan_dit_model, &config, config.in_ch, config.out_ch, config.text_dim, levels);
    MUST(wan_dev_open(&dev, "ref", 0));
    check_divided();
    wan_dev_close(&dev);
    return tap_done();
}
