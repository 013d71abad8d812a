/* SPDX-License-Identifier: Apache-2.0
 * Times every op of a training step at the sizes of two models, beside the machine's peak. */
#include "kernels/tile.h"
#include "tests/bench/peak.h"

typedef struct size {
    const char *name;
    int64_t S, D, F, T; /* tokens, width, ffn, text rows */
    int H;
} size;

/* Everything an op may want; made once per size. */
typedef struct ctx {
    wan_dev *d;
    size z;
    wan_dtype t;
    wan_pack ps, pt;
    wan_buf x, y, w, z1, dy, q, k, v, o, g;
    wan_real *xr, *dx, *mean, *rstd, *mod, *dmod, *lse, *dw, *db, *m, *var, *vec;
    wan_rms rms;
    wan_rope rope;
    wan_resnorm seam;
    wan_resnorm_grad seam_grad;
    int64_t N, K;
} ctx;

static bench_peaks peak;
static int wrong; /* rows above their peak */

static wan_buf any(wan_dev *d, wan_dtype t, int64_t n)
{
    wan_buf b = wan_buf_of(wan_dev_alloc(d, (size_t)n * wan_dtype_size(t), "bench"), t);
    wan_rng r = wan_rng_stream(1, WAN_RNG_TEST, 0, (uint64_t)n);
    if (!b.p)
        bench_must(-1);
    bench_must(d->ops->randn(d, b, &r, 0, n));
    return b;
}

static wan_real *real(wan_dev *d, int64_t n)
{
    return (wan_real *)any(d, WAN_REAL, n).p;
}

static void report(const ctx *c, const char *op, double s, double flop, double bytes)
{
    double top = c->t == WAN_BF16 ? peak.bf16 : peak.f32, part;
    if (flop > 0)
        printf("| %s | %-28s | %9.3f | %7.0f GFLOP/s | %3.0f %% |\n", c->z.name, op, s * 1e3,
               flop / s / 1e9, part = flop / s / 1e7 / top);
    else
        printf("| %s | %-28s | %9.3f | %7.1f GB/s    | %3.0f %% |\n", c->z.name, op, s * 1e3,
               bytes / s / 1e9, part = bytes / s / 1e7 / peak_triad_at(bytes));
    if (part > 105) { /* nothing passes its peak: one of the two was measured wrongly */
        printf("error: %s at %.0f %% of its peak\n", op, part);
        wrong++;
    }
    fflush(stdout);
}

/* One function per op: its arguments from the context. */
#define OP(name, ...)                                                                              \
    static int run_##name(void *arg)                                                               \
    {                                                                                              \
        ctx *c = (ctx *)arg;                                                                       \
        return c->d->ops->name(c->d, __VA_ARGS__);                                                 \
    }
#define NOBUF wan_buf_of(NULL, WAN_REAL)
OP(linear_forward, c->y, NOBUF, c->x, c->w, c->db, c->z.S, c->N, c->K, WAN_ACT_NONE)
OP(linear_dgrad, c->x, c->y, c->w, c->z.S, c->N, c->K, 0)
OP(linear_wgrad, c->dw, c->db, c->y, c->x, c->z.S, c->N, c->K, 1)
OP(act_forward, c->y, c->z1, c->z.S * c->z.F, WAN_ACT_GELU_TANH)
OP(act_backward, c->y, c->y, c->z1, c->z.S * c->z.F, WAN_ACT_GELU_TANH)
OP(ln_mod_forward, c->x, c->mean, c->rstd, c->xr, c->mod, c->mod + c->z.D, 6 * c->z.D, &c->ps,
   c->z.D, 1e-6)
OP(ln_mod_backward, c->dx, c->dmod, c->dmod + c->z.D, 6 * c->z.D, c->x, c->xr, c->mean, c->rstd,
   c->mod, 6 * c->z.D, &c->ps, c->z.D)
OP(rmsnorm_forward, &c->rms, c->q, c->rstd, c->x, c->mod)
OP(rmsnorm_backward, &c->rms, c->g, c->dmod, c->q, c->x, c->rstd, c->mod)
OP(residual_forward, c->xr, c->xr, c->x, c->mod, 6 * c->z.D, &c->ps, c->z.D)
OP(resnorm_forward, &c->seam, c->xr, c->y, c->mean, c->rstd, c->xr, c->x)
OP(resnorm_backward, &c->seam, &c->seam_grad, c->dx, c->g, c->dy, c->xr, c->mean, c->rstd, c->x)
OP(residual_backward, c->g, c->dmod, 6 * c->z.D, c->xr, c->x, c->mod, 6 * c->z.D, &c->ps, c->z.D)
OP(sumsq, (double *)c->mean, wan_buf_of(c->dw, WAN_REAL), c->N * c->K, 0)

static int run_adamw(void *arg)
{
    ctx *c = (ctx *)arg;
    static const wan_adamw a = { 0.9, 0.95, 1e-8 };
    wan_real row[WAN_ADAMW_ROW];
    WAN_TRY(wan_adamw_row(row, &a, 1e-4, 0.1, 3));
    return c->d->ops->adamw_step(c->d, &a, row, c->vec, c->m, c->var, c->dw, c->w, NULL,
                                 c->N * c->K);
}

static wan_attn attn(ctx *c, const wan_pack *keys)
{
    int64_t D = c->z.D, hd = D / c->z.H;
    return (wan_attn){ &c->ps, keys, c->z.H, hd, 1 / sqrt((double)hd), D, D, D, D, NULL };
}

#define ATTENTION(name, keys)                                                                      \
    static int run_##name##_fwd(void *arg)                                                         \
    {                                                                                              \
        ctx *c = (ctx *)arg;                                                                       \
        wan_attn a = attn(c, keys);                                                                \
        return c->d->ops->attention_forward(c->d, &a, c->o, c->lse, c->q, c->k, c->v);             \
    }                                                                                              \
    static int run_##name##_bwd(void *arg)                                                         \
    {                                                                                              \
        ctx *c = (ctx *)arg;                                                                       \
        wan_attn a = attn(c, keys);                                                                \
        return c->d->ops->attention_backward(c->d, &a, c->g, c->dy, c->y, c->x, c->o, c->lse,      \
                                             c->q, c->k, c->v);                                    \
    }
ATTENTION(self, &c->ps)
ATTENTION(cross, &c->pt)

static void linear(ctx *c, const char *name, int64_t N, int64_t K)
{
    char text[64];
    double flop = 2.0 * (double)c->z.S * (double)N * (double)K;
    c->N = N;
    c->K = K;
    snprintf(text, sizeof text, "%s forward", name);
    report(c, text, bench_best(run_linear_forward, c, 0.15), flop, 0);
    snprintf(text, sizeof text, "%s dgrad", name);
    report(c, text, bench_best(run_linear_dgrad, c, 0.15), flop, 0);
    snprintf(text, sizeof text, "%s wgrad", name);
    report(c, text, bench_best(run_linear_wgrad, c, 0.15), flop, 0);
}

/* A weight of the feed-forward as a product packs it (linear_simd.c): for the forward by rows, else by columns. */
enum { PACK_COLS = 192, PACK_DEPTH = 512 };

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int pack(const ctx *c, int by_rows)
{
    const wan_tile t = wan_tile_for(c->t);
    int64_t n = by_rows ? c->N : c->K, k = by_rows ? c->K : c->N;
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int64_t n0 = 0; n0 < n; n0 += PACK_COLS)
        for (int64_t k0 = 0; k0 < k; k0 += PACK_DEPTH) {
            int64_t m = least(n - n0, PACK_COLS), d = least(k - k0, PACK_DEPTH);
            char *o = (char *)c->dw + (n0 * k + k0 * m) * t.size;
            if (by_rows)
                wan_tile_pack_rows(&t, o, c->w, n0 * k + k0, k, m, d, m, d);
            else
                wan_tile_pack_cols(&t, o, d * WAN_TILE_N, c->w, k0 * n + n0, n, d, m, d, m);
        }
    return 0;
}

static int run_pack_rows(void *arg)
{
    return pack((const ctx *)arg, 1);
}

static int run_pack_cols(void *arg)
{
    return pack((const ctx *)arg, 0);
}

/* In every product of the shape; its share is that of the product above it. */
static void packing(ctx *c)
{
    double bytes = 2.0 * (double)(c->z.F * c->z.D) * (double)wan_dtype_size(c->t);
    c->N = c->z.F;
    c->K = c->z.D;
    report(c, "packing ffn weight, forward", bench_best(run_pack_rows, c, 0.08), 0, bytes);
    report(c, "packing ffn weight, dgrad", bench_best(run_pack_cols, c, 0.08), 0, bytes);
}

static void elementwise(ctx *c)
{
    double n = (double)(c->z.S * c->z.D), f = (double)(c->z.S * c->z.F);
    double e = (double)wan_dtype_size(c->t);
    report(c, "gelu forward", bench_best(run_act_forward, c, 0.08), 0, f * 2 * e);
    report(c, "gelu backward", bench_best(run_act_backward, c, 0.08), 0, f * 3 * e);
    report(c, "ln modulate forward", bench_best(run_ln_mod_forward, c, 0.08), 0, n * (4 + e));
    report(c, "ln modulate backward", bench_best(run_ln_mod_backward, c, 0.08), 0,
           n * (16 + 2 * e));
    report(c, "rmsnorm+rope forward", bench_best(run_rmsnorm_forward, c, 0.08), 0, n * 2 * e);
    report(c, "rmsnorm+rope backward", bench_best(run_rmsnorm_backward, c, 0.08), 0, n * 5 * e);
    report(c, "gated residual forward", bench_best(run_residual_forward, c, 0.08), 0, n * (8 + e));
    report(c, "gated residual backward", bench_best(run_residual_backward, c, 0.08), 0,
           n * (8 + 2 * e));
    report(c, "residual and norm forward", bench_best(run_resnorm_forward, c, 0.08), 0,
           n * (8 + 2 * e));
    report(c, "residual and norm backward", bench_best(run_resnorm_backward, c, 0.08), 0,
           n * (12 + 3 * e));
    c->N = c->z.F;
    c->K = c->z.D;
    double p = (double)(c->N * c->K);
    report(c, "adamw (one ffn weight)", bench_best(run_adamw, c, 0.08), 0, p * (28 + e));
    report(c, "sum of squares", bench_best(run_sumsq, c, 0.08), 0, p * 4);
}

static void attention(ctx *c)
{
    double s = 4.0 * (double)(c->z.S * c->z.S) * (double)c->z.D;
    double x = 4.0 * (double)(c->z.S * c->z.T) * (double)c->z.D;
    report(c, "self-attention forward", bench_best(run_self_fwd, c, 0.15), s, 0);
    report(c, "self-attention backward", bench_best(run_self_bwd, c, 0.15), 2.5 * s, 0);
    report(c, "cross-attention forward", bench_best(run_cross_fwd, c, 0.08), x, 0);
    report(c, "cross-attention backward", bench_best(run_cross_bwd, c, 0.08), 2.5 * x, 0);
}

/* Tokens of a clip of eight rows of eight, heads as in the model. */
static void rotation(ctx *c)
{
    enum { POSITIONS = 1024 };
    const int64_t grid[3] = { POSITIONS, 8, 8 };
    int hd = (int)(c->z.D / c->z.H), side = 2 * (hd / 6);
    wan_real *table = real(c->d, POSITIONS * hd);
    int32_t *pos = (int32_t *)real(c->d, 3 * c->z.S);
    c->rope = (wan_rope){ pos, table, POSITIONS, { hd - 2 * side, side, side } };
    wan_rope_table(table, POSITIONS, c->rope.axis, 10000);
    wan_rope_positions(pos, grid, 0, c->z.S);
    c->rms = wan_rms_of(c->z.S, c->z.D, 1e-6);
    c->rms.rope = &c->rope;
}

static void all(wan_dev *d, size z, wan_dtype t)
{
    ctx c = { .d = d, .z = z, .t = t };
    int64_t big = z.S > z.T ? z.S : z.T, D = z.D, F = z.F > D ? z.F : D;
    bench_must(wan_pack_new(d, &c.ps, &z.S, 1));
    bench_must(wan_pack_new(d, &c.pt, &z.T, 1));
    wan_buf *v[] = { &c.x, &c.y, &c.z1, &c.dy };
    for (int i = 0; i < 4; i++)
        *v[i] = any(d, t, big * F);
    wan_buf *h[] = { &c.q, &c.k, &c.v, &c.o, &c.g };
    for (int i = 0; i < 5; i++)
        *h[i] = any(d, t, big * D);
    c.w = any(d, t, F * D);
    wan_real **r[] = { &c.xr, &c.dx };
    for (int i = 0; i < 2; i++)
        *r[i] = real(d, big * D);
    wan_real **s[] = { &c.mean, &c.rstd, &c.mod, &c.dmod, &c.db };
    for (int i = 0; i < 5; i++)
        *s[i] = real(d, big + 6 * F);
    c.lse = real(d, big * z.H);
    wan_real **p[] = { &c.dw, &c.m, &c.var, &c.vec };
    for (int i = 0; i < 4; i++)
        *p[i] = real(d, F * D);
    rotation(&c);
    c.seam = (wan_resnorm){ &c.ps, D, 1e-6, c.mod, c.mod + D, c.mod + 2 * D, 3 * D, 0 };
    c.seam_grad = (wan_resnorm_grad){ c.dmod, c.dmod + D, c.dmod + 2 * D, 3 * D };
    linear(&c, "linear D x D", D, D);
    linear(&c, "linear D -> ffn", z.F, D);
    linear(&c, "linear ffn -> D", D, z.F);
    attention(&c);
    packing(&c);
    elementwise(&c);
    wan_pack_free(d, &c.ps);
    wan_pack_free(d, &c.pt);
}

int main(int argc, char **argv)
{
    static const size sizes[] = { { "1536", 1560, 1536, 8960, 512, 12 },
                                  { "256 ", 400, 256, 1536, 512, 4 },
                                  { "tiny", 48, 256, 1024, 24, 4 } };
    char about[256];
    for (int t = 0; t < 2; t++) {
        if (argc > 1 && strcmp(argv[1], t ? "fp32" : "bf16") != 0)
            continue;
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            wan_dev *d;
            bench_must(wan_dev_open(&d, "cpu", 0));
            if (!peak.f32) {
                peak = bench_peak();
                bench_must(d->backend->describe(d, about, sizeof about));
                printf("%s; kernels for %s\n", about, wan_cpu_isa_name());
                printf("peak: fp32 %.0f GFLOP/s, bf16 %.0f GFLOP/s, triad %.1f GB/s\n\n", peak.f32,
                       peak.bf16, peak.triad);
            }
            printf("%s, D %lld, ffn %lld, %lld tokens, %lld text rows, %d heads\n\n",
                   t ? "fp32" : "bf16", (long long)sizes[i].D, (long long)sizes[i].F,
                   (long long)sizes[i].S, (long long)sizes[i].T, sizes[i].H);
            printf("| D | op | ms | rate | of peak |\n|---|---|---:|---:|---:|\n");
            all(d, sizes[i], t ? WAN_REAL : WAN_BF16);
            printf("\n");
            wan_dev_close(&d);
        }
    }
    return wrong > 0;
}
