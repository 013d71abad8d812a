/* SPDX-License-Identifier: Apache-2.0
 * Attention: provider against reference; self, cross, packs, strides, key bias, T5. */
#include <dlfcn.h>

#include "kernels/space.h"
#include "kernels/ways.h"
#include "tests/gpu/emu/counts.h"
#include "tests/kernels/compare.h"

/* fp32: a score of 50 carries 3e-6 into its exponential; bf16: probabilities and score gradients
 * are rounded to bf16 before their products */
static const double bound_f32 = 2e-5, bound_bf16 = 6e-3, bound_bf16_grad = 8e-3;

typedef struct shape {
    int n, H;
    int64_t hd, lq[4], lk[4];
    int pad, biased;
    double sd; /* of q and k: large makes the softmax sharp */
} shape;

/* Queries that see no key have an lse of -infinity on both sides, which no error can be taken of. */
static void same_nothing(const vec *lse, const shape *s)
{
    int64_t at = 0, wrong = 0, S = 0;
    int intact = 1;
    float *x[2] = { vec_read(lse, 0, &intact), vec_read(lse, 1, &intact) };
    for (int i = 0; i < s->n; i++)
        S += s->lq[i];
    for (int i = 0; i < s->n; at += s->lq[i++])
        for (int64_t j = at; s->lk[i] == 0 && j < at + s->lq[i]; j++)
            for (int64_t h = 0; h < s->H; h++)
                for (int b = 0; b < 2; b++) {
                    wrong += x[b][h * S + j] != -INFINITY;
                    x[b][h * S + j] = 0;
                }
    ok(wrong == 0 && intact, "  lse of queries without keys is -infinity");
    for (int b = 0; b < 2; b++) {
        cmp_must(wan_dev_write(cmp_dev[b], vec_p(lse, b), x[b], lse->n * sizeof *x[b]));
        free(x[b]);
    }
}

static void run(const shape *s, wan_dtype t)
{
    const wan_pack *pq[2] = { cmp_pack(s->lq, s->n, 0), cmp_pack(s->lq, s->n, 1) };
    const wan_pack *pk[2] = { cmp_pack(s->lk, s->n, 0), cmp_pack(s->lk, s->n, 1) };
    int64_t W = s->H * s->hd, ld = W + s->pad, Sq = pq[0]->S, Sk = pk[0]->S;
    double bound = t == WAN_BF16 ? bound_bf16 : bound_f32, scale = 1 / sqrt((double)s->hd);
    double grad = t == WAN_BF16 ? bound_bf16_grad : bound_f32;
    vec *q = vec_new(t, (size_t)(Sq * ld), 0, s->sd), *k = vec_new(t, (size_t)(Sk * ld), 0, s->sd);
    vec *v = vec_new(t, (size_t)(Sk * ld), 0, 1), *o_ = vec_new(t, (size_t)(Sq * W), 7, 1);
    vec *lse = vec_new(WAN_REAL, (size_t)(Sq * s->H), 7, 1);
    vec *g = vec_new(t, (size_t)(Sq * W), 0, 1);
    vec *bias = vec_new(WAN_REAL, (size_t)Sk, 0, 2);
    vec *dq = vec_new(t, (size_t)(Sq * ld), 0, 1), *dk = vec_new(t, (size_t)(Sk * ld), 0, 1);
    vec *dv = vec_new(t, (size_t)(Sk * ld), 0, 1);
    wan_attn a[2];
    for (int i = 0; i < 2; i++)
        a[i] = (wan_attn){ pq[i], pk[i], s->H, s->hd, scale,
                           ld,    ld,    ld,   W,     s->biased ? vec_p(bias, i) : NULL };
    CMP_BOTH(attention_forward(d, &a[i], o_->b[i], vec_p(lse, i), q->b[i], k->b[i], v->b[i]));
    vec_ok(o_, bound, "n=%d q=%lld k=%lld H=%d hd=%lld pad %d bias %d sd %g %s", s->n,
           (long long)pq[0]->max_len, (long long)pk[0]->max_len, s->H, (long long)s->hd, s->pad,
           s->biased, s->sd, CMP_NAME(t));
    same_nothing(lse, s);
    vec_ok(lse, bound_f32, "  lse");
    if (s->hd > 256) { /* forward only: the VAE's head is never trained */
        cmp_reset();
        return;
    }
    CMP_BOTH(attention_backward(d, &a[i], dq->b[i], dk->b[i], dv->b[i], g->b[i], o_->b[i],
                                vec_p(lse, i), q->b[i], k->b[i], v->b[i]));
    vec_ok(dq, grad, "  dq (what lies between rows is untouched)");
    vec_ok(dk, grad, "  dk");
    vec_ok(dv, grad, "  dv");
    cmp_reset();
}

static void t5(int64_t n0, int64_t n1, int H, int64_t hd, wan_dtype t)
{
    int64_t len[2] = { n0, n1 };
    const wan_pack *p[2] = { cmp_pack(len, 2, 0), cmp_pack(len, 2, 1) };
    int64_t W = H * hd;
    size_t N = (size_t)(p[0]->S * W);
    vec *q = vec_new(t, N, 0, 0.5), *k = vec_new(t, N, 0, 0.5);
    vec *v = vec_new(t, N, 0, 1), *o_ = vec_new(t, N, 7, 1);
    vec *table = vec_new(WAN_REAL, (size_t)(32 * H), 0, 1);
    wan_attn a[2];
    for (int i = 0; i < 2; i++)
        a[i] = (wan_attn){ p[i], p[i], H, hd, 1, W, W, W, W, NULL };
    CMP_BOTH(attention_t5(d, &a[i], o_->b[i], q->b[i], k->b[i], v->b[i], vec_p(table, i)));
    vec_ok(o_, t == WAN_BF16 ? bound_bf16 : bound_f32, "t5 %lld %lld H=%d hd=%lld %s",
           (long long)n0, (long long)n1, H, (long long)hd, CMP_NAME(t));
    cmp_reset();
}

/* Kernels of ours that the emulated device has run; 0: it is a real one. */
static int64_t launches(void)
{
    const char *path = getenv("WAN_CUDA_PLUGIN");
    void *so = path ? dlopen(path, RTLD_LAZY | RTLD_NOLOAD) : NULL;
    void *fn = so ? dlsym(so, "emu_counts") : NULL;
    return fn ? ((emu_counts_fn *)fn)()[EMU_LAUNCHES] : 0;
}

/* A backward as it is chosen: how many kernels of ours ran. */
static int64_t chosen(wan_ways *w, int flags)
{
    static const shape s = { 2, 2, 64, { 48, 65 }, { 48, 65 }, 0, 0, 1 };
    wan_dev *d = cmp_dev[1];
    cmp_pack(s.lq, s.n, 0);
    const wan_pack *p = cmp_pack(s.lq, s.n, 1);
    const int64_t W = s.H * s.hd;
    const wan_attn a = { p, p, s.H, s.hd, 0.125, W, W, W, W, NULL };
    wan_buf x[8];
    float *lse = vec_p(vec_new(WAN_REAL, (size_t)(p->S * s.H), 5, 1), 1);
    for (int i = 0; i < 8; i++)
        x[i] = vec_new(WAN_BF16, (size_t)(p->S * W), 0, 1)->b[1];
    d->ways = w, d->flags = flags;
    const int64_t before = launches();
    cmp_must(
        d->ops->attention_backward(d, &a, x[0], x[1], x[2], x[3], x[4], lse, x[5], x[6], x[7]));
    d->ways = NULL, d->flags = 0;
    cmp_reset();
    return launches() - before;
}

/* What is measured is noted, with both times; what is noted is done. */
static void choice(void)
{
    wan_ways *w;
    char *text, *line, *end;
    size_t bytes;
    cmp_must(wan_ways_new(&w));
    const int64_t own = chosen(NULL, WAN_DEV_OWN), first = chosen(w, 0);
    w->trying = 1;
    chosen(w, 0);
    w->trying = 0;
    cmp_must(wan_ways_text(w, &text, &bytes));
    line = strstr(text, "attention-backward sm_");
    if (line)
        line[strcspn(line, "\n")] = 0;
    if (own == first) {
        tap_skip("a choice of backwards", own ? "no cuDNN here" : "kernels are not counted here");
    } else if (ok(w->n == 1 && line && strstr(line, "two-passes ") && strstr(line, " ms, cudnn "),
                  "the choice is noted with its times: %s", line ? line : text)) {
        end = strrchr(line, '\t');
        *end = 0;
        char *shape_ = strchr(line, '\t');
        *shape_++ = 0;
        cmp_must(wan_ways_note(w, line, shape_, "two-passes"));
        ok(chosen(w, 0) == own, "noted two-passes: they are taken");
        cmp_must(wan_ways_note(w, line, shape_, "cudnn"));
        ok(chosen(w, 0) == first, "noted cudnn: it is taken, as without a note");
        ok(chosen(w, WAN_DEV_TWO_PASSES) == first && chosen(NULL, WAN_DEV_TWO_PASSES) == own,
           "two passes where nothing is noted: then alone");
    }
    free(text);
    wan_ways_free(&w);
}

/* What is reserved for two passes is enough, and has no scores in it. */
static void kept(void)
{
    const int64_t len = 700, W = 2 * 64;
    wan_space s = { .tokens = len,
                    .longest = len,
                    .samples = 1,
                    .text_len = 8,
                    .heads = 2,
                    .head_dim = 64,
                    .bf16 = 1 };
    const int64_t scores = wan_space_attention(&s);
    wan_dev *d;
    wan_pack p;
    wan_buf x[8];
    s.two_passes = 1;
    cmp_must(wan_dev_open(&d, getenv("WAN_CHECK_DEVICE"), WAN_DEV_TWO_PASSES));
    cmp_must(wan_pack_new(d, &p, &len, 1));
    for (int i = 0; i < 8; i++) {
        x[i] = wan_buf_of(wan_dev_alloc(d, (size_t)(len * W) * 2, "rows"), WAN_BF16);
        cmp_must(x[i].p ? wan_dev_zero(d, x[i].p, (size_t)(len * W) * 2) : -1);
    }
    float *lse = wan_dev_alloc(d, (size_t)(len * 2) * sizeof *lse, "lse");
    const wan_attn a = { &p, &p, 2, 64, 0.125, W, W, W, W, NULL };
    cmp_must(d->ops->attention_forward(d, &a, x[0], lse, x[1], x[2], x[3]));
    cmp_must(
        d->ops->attention_backward(d, &a, x[4], x[5], x[6], x[7], x[0], lse, x[1], x[2], x[3]));
    cmp_must(wan_dev_sync(d));
    ok((int64_t)d->scratch_bytes <= wan_space_attention(&s) &&
           scores - wan_space_attention(&s) == 2 * 768 * (768 - 128) * 2,
       "two passes take %zu bytes, of %lld; with scores %lld", d->scratch_bytes,
       (long long)wan_space_attention(&s), (long long)scores);
    wan_pack_free(d, &p);
    wan_dev_close(&d);
}

int main(void)
{
    static const shape shapes[] = {
        { 1, 1, 4, { 2 }, { 3 }, 0, 0, 1 },
        { 1, 2, 64, { 48 }, { 48 }, 0, 0, 1 },
        { 2, 4, 64, { 48, 65 }, { 48, 65 }, 64, 0, 1 },
        { 3, 3, 12, { 63, 1, 17 }, { 5, 65, 3 }, 5, 1, 1 },
        { 2, 2, 128, { 131, 64 }, { 20, 512 }, 0, 1, 1 },
        { 1, 2, 128, { 300 }, { 300 }, 0, 0, 2 },
        { 1, 1, 20, { 700 }, { 700 }, 0, 0, 1 },
        { 3, 2, 16, { 2, 300, 1 }, { 4, 290, 7 }, 0, 1, 1 }, /* one graph would be mostly padding */
        { 1, 2, 64, { 33 }, { 129 }, 3, 1, 4 },
        { 4, 2, 64, { 3, 0, 70, 2 }, { 0, 5, 65, 1 }, 0, 0, 1 }, /* no keys, no queries */
        { 2, 3, 12, { 0, 4 }, { 0, 0 }, 5, 1, 1 },
        { 1, 1, 256, { 20 }, { 33 }, 0, 1, 1 },         /* the widest of the plain kernels */
        { 2, 1, 384, { 30, 5 }, { 30, 5 }, 768, 0, 1 }, /* the VAE's */
        { 3, 2, 260, { 9, 0, 3 }, { 17, 5, 0 }, 3, 1, 2 },
    };
    const size_t n = sizeof shapes / sizeof *shapes;
    if (!cmp_open("attention"))
        return tap_done();
    for (size_t s = 0; s < n; s++)
        for (int t = 0; t < 2; t++)
            run(&shapes[s], cmp_types[t]);
    cmp_dev[1]->flags |= WAN_DEV_OWN;
    for (size_t s = 0; cmp_dev[1]->kind == WAN_DEV_CUDA && s < n; s++)
        if ((shapes[s].hd == 64 || shapes[s].hd == 128) && shapes[s].pad % 8 == 0)
            run(&shapes[s], WAN_BF16);
    cmp_dev[1]->flags = 0;
    if (cmp_dev[1]->kind == WAN_DEV_CUDA) {
        choice();
        kept();
    }
    for (int t = 0; t < 2; t++) {
        t5(1, 5, 2, 64, cmp_types[t]);
        t5(130, 33, 4, 16, cmp_types[t]);
    }
    return cmp_done();
}
