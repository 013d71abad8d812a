/* SPDX-License-Identifier: Apache-2.0
 * Convolution: the reference against sums in double taken straight from conv.h's formula, and
 * provider against reference, at odd sizes, one-sided padding and every mix of types. */
#include "tests/kernels/compare.h"

static const double bound_f32 = 2e-6, bound_bf16 = 4e-3, bound_f16 = 5e-4;

static double bound_of(wan_dtype tx, wan_dtype ty)
{
    return tx == WAN_BF16 || ty == WAN_BF16 ? bound_bf16
           : tx == WAN_F16 || ty == WAN_F16 ? bound_f16
                                            : bound_f32;
}

typedef struct shape {
    wan_conv c;
    int add, bias;
} shape;

static const shape cases[] = {
    { { 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 0, 0 }, 0, 1 },
    { { 3, 7, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 3, 5, 6, 0, 0 }, 0, 1 },   /* causal, one new frame */
    { { 16, 24, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 6, 9, 7, 0, 0 }, 1, 1 }, /* with the shortcut */
    { { 96, 96, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 4, 6, 10, 0, 0 }, 1, 1 },
    { { 33, 17, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 5, 1, 1, 0, 0 }, 0, 0 },
    { { 32, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 4, 8, 8, 0, 0 }, 0, 1 },   /* to pixels */
    { { 24, 24, 1, 3, 3, 1, 2, 2, 0, 1, 0, 1, 3, 6, 10, 0, 0 }, 0, 1 }, /* downsampling */
    { { 5, 6, 1, 3, 3, 1, 2, 2, 0, 1, 0, 1, 1, 7, 9, 0, 0 }, 0, 1 },
    { { 48, 24, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1, 2, 7, 5, 0, 0 }, 0, 1 }, /* after upsampling */
    { { 12, 12, 3, 1, 1, 2, 1, 1, 0, 0, 0, 0, 7, 3, 5, 0, 0 }, 0, 1 }, /* time, down */
    { { 12, 24, 3, 1, 1, 1, 1, 1, 0, 0, 0, 0, 6, 3, 5, 0, 0 }, 0, 1 }, /* time, up */
    { { 20, 60, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 2, 5, 3, 0, 0 }, 0, 1 }, /* linear */
    { { 40, 20, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 2, 5, 3, 0, 0 }, 1, 0 },
    { { 4, 5, 2, 3, 5, 2, 3, 2, 2, 0, 1, 3, 6, 7, 8, 0, 0 }, 0, 1 },   /* nothing symmetric */
    { { 16, 24, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 9, 7, 2, 0 }, 1, 1 }, /* a first frame */
    { { 33, 17, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 2, 6, 5, 1, 0 }, 0, 1 }, /* a second one */
    { { 96, 96, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 4, 6, 10, 2, 0 }, 0, 1 },
    { { 12, 24, 3, 1, 1, 1, 1, 1, 0, 0, 0, 0, 3, 3, 5, 2, 0 }, 0, 1 },
    { { 4, 5, 3, 3, 5, 2, 3, 2, 2, 0, 1, 3, 4, 7, 8, 1, 0 }, 0, 1 },
    { { 5, 6, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1, 2, 6, 10, 0, 1 }, 0, 1 }, /* enlarged */
    { { 4, 5, 3, 3, 5, 2, 3, 2, 2, 0, 1, 3, 4, 6, 8, 1, 1 }, 0, 1 },
    /* many channels: Winograd's algorithm */
    { { 64, 96, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 5, 7, 9, 0, 0 }, 0, 1 },
    { { 128, 64, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 22, 26, 2, 0 }, 1, 1 },
    { { 96, 80, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 3, 1, 4, 1, 0 }, 1, 0 },
    { { 64, 64, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1, 2, 5, 1, 0, 0 }, 0, 1 },
    { { 192, 96, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1, 2, 22, 14, 0, 1 }, 0, 1 },
    { { 64, 64, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 4, 2, 2, 2, 1 }, 1, 1 },
};

/* One output from the formula, in double. */
static double at(const wan_conv *c, const float *x, const float *w, const float *b, int64_t t,
                 int64_t i, int64_t j, int64_t o)
{
    double sum = b ? b[o] : 0;
    for (int a = 0; a < c->kt; a++)
        for (int r = 0; r < c->kh; r++)
            for (int s = 0; s < c->kw; s++) {
                int64_t ti = t * c->st + a - c->past, ii = i * c->sh + r - c->top,
                        ji = j * c->sw + s - c->left;
                if (ti < 0 || ii < 0 || ii >= c->H || ji < 0 || ji >= c->W)
                    continue;
                int64_t H = c->H >> c->up, W = c->W >> c->up;
                const float *xi = x + ((ti * H + (ii >> c->up)) * W + (ji >> c->up)) * c->Ci;
                const float *wi = w + (((o * c->kt + a) * c->kh + r) * c->kw + s) * c->Ci;
                for (int64_t k = 0; k < c->Ci; k++)
                    sum += (double)xi[k] * wi[k];
            }
    return sum;
}

static void check_formula(const shape *s, const vec *y, const float *y0, const vec *x, const vec *w,
                          const vec *b, int64_t n[3], double bound)
{
    int intact = 1;
    const wan_conv *c = &s->c;
    float *got = vec_read(y, 0, &intact), *xf = vec_read(x, 0, &intact);
    float *wf = vec_read(w, 0, &intact), *bf = vec_read(b, 0, &intact);
    float *want = malloc(y->n * sizeof *want), *p = want;
    for (int64_t t = 0; t < n[0]; t++)
        for (int64_t i = 0; i < n[1]; i++)
            for (int64_t j = 0; j < n[2]; j++)
                for (int64_t o = 0; o < c->Co; o++, p++)
                    *p = (float)(at(c, xf, wf, s->bias ? bf : NULL, t, i, j, o) +
                                 (s->add ? y0[p - want] : 0));
    double e = rel_l2(got, want, y->n);
    ok(e <= bound && intact, "  reference against the formula: error %.2g (bound %.2g)", e, bound);
    free(got), free(xf), free(wf), free(bf), free(want);
}

static void run(const shape *s, wan_dtype tx, wan_dtype ty)
{
    const wan_conv *c = &s->c;
    int64_t n[3] = { wan_conv_frames(c), (c->H + c->top + c->bottom - c->kh) / c->sh + 1,
                     (c->W + c->left + c->right - c->kw) / c->sw + 1 };
    int64_t taps = (int64_t)c->kt * c->kh * c->kw;
    double bound = bound_of(tx, ty);
    vec *x = vec_new(tx, (size_t)(c->T * (c->H >> c->up) * (c->W >> c->up) * c->Ci), 0, 1);
    vec *w = vec_new(tx, (size_t)(c->Co * taps * c->Ci), 0, 1 / sqrt((double)(taps * c->Ci)));
    vec *b = vec_new(WAN_REAL, (size_t)c->Co, 0, 1);
    vec *y = vec_new(ty, (size_t)(n[0] * n[1] * n[2] * c->Co), 0, 1);
    int intact = 1;
    float *y0 = vec_read(y, 0, &intact);
    CMP_BOTH(conv_forward(d, c, y->b[i], x->b[i], w->b[i], s->bias ? vec_p(b, i) : NULL, s->add));
    vec_ok(y, bound, "%lldx%lldx%lld %d,%d,%d %lld->%lld %s to %s%s", (long long)c->T,
           (long long)c->H, (long long)c->W, c->kt, c->kh, c->kw, (long long)c->Ci,
           (long long)c->Co, CMP_NAME(tx), CMP_NAME(ty), s->add ? " add" : "");
    check_formula(s, y, y0, x, w, b, n, bound);
    free(y0);
    wan_conv_forget(w->b[1].p);
    cmp_reset();
}

/* Other weights at a known address: right after the provider is told. */
static void check_forget(void)
{
    const wan_conv c = { 16, 16, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 8, 8, 0, 0 };
    vec *x = vec_new(WAN_REAL, 16 * 64, 0, 1), *y = vec_new(WAN_REAL, 16 * 64, 0, 1);
    vec *w = vec_new(WAN_REAL, 16 * 16 * 9, 0, 1), *w2 = vec_new(WAN_REAL, 16 * 16 * 9, 0, 1);
    CMP_BOTH(conv_forward(d, &c, y->b[i], x->b[i], w->b[i], NULL, 0));
    for (int i = 0; i < 2; i++) {
        wan_conv_forget(w->b[i].p);
        cmp_must(wan_dev_copy(cmp_dev[i], w->b[i].p, w2->b[i].p, w->n * sizeof(wan_real)));
    }
    CMP_BOTH(conv_forward(d, &c, y->b[i], x->b[i], w->b[i], NULL, 0));
    vec_ok(y, bound_f32, "new weights at an old address");
    wan_conv_forget(w->b[1].p);
    cmp_reset();
}

/* More sizes than a provider keeps plans for; then the first again. */
static void check_sizes(void)
{
    enum { SIZES = 600 };
    wan_conv c = { 2, 3, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 0, 0 };
    vec *x = vec_new(WAN_REAL, SIZES * 4, 0, 1), *w = vec_new(WAN_REAL, 54, 0, 1);
    vec *y = vec_new(WAN_REAL, SIZES * 6, 0, 1);
    for (c.H = 2; c.H < SIZES; c.H++)
        cmp_must(cmp_dev[1]->ops->conv_forward(cmp_dev[1], &c, y->b[1], x->b[1], w->b[1], NULL, 0));
    CMP_BOTH(conv_forward(d, &c, y->b[i], x->b[i], w->b[i], NULL, 0));
    c.H = 2;
    CMP_BOTH(conv_forward(d, &c, y->b[i], x->b[i], w->b[i], NULL, 0));
    vec_ok(y, bound_f32, "%d sizes, then the first again", SIZES - 1);
    wan_conv_forget(w->b[1].p);
    cmp_reset();
}

static void check_repack(void)
{
    float src[2 * 3 * 4], dst[24];
    int good = 1;
    for (int i = 0; i < 24; i++)
        src[i] = (float)i;
    wan_conv_repack(dst, src, 2, 3, 4);
    for (int o = 0; o < 2; o++)
        for (int k = 0; k < 4; k++)
            for (int c = 0; c < 3; c++)
                good &= dst[(o * 4 + k) * 3 + c] == (float)((o * 3 + c) * 4 + k);
    ok(good, "repack: [Co, Ci, taps] to [Co, taps, Ci]");
}

int main(void)
{
    check_repack();
    if (!cmp_open("conv"))
        return tap_done();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int t = 0; t < 4; t++)
            run(&cases[i], cmp_types[t / 2], cmp_types[t % 2]);
        run(&cases[i], WAN_F16, WAN_F16);
        run(&cases[i], WAN_F16, WAN_REAL);
    }
    cmp_dev[1]->flags |= WAN_DEV_OWN; /* in place of cuDNN */
    for (size_t i = 0; cmp_dev[1]->kind == WAN_DEV_CUDA && i < sizeof cases / sizeof *cases; i++) {
        for (int t = 0; t < 2; t++)
            run(&cases[i], WAN_BF16, cmp_types[t]);
        run(&cases[i], WAN_F16, i % 2 ? WAN_F16 : WAN_REAL);
    }
    cmp_dev[1]->flags = 0;
    check_forget();
    check_sizes();
    return cmp_done();
}
