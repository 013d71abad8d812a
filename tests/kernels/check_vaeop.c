/* SPDX-License-Identifier: Apache-2.0
 * The small VAE ops: provider against reference, and the reference against their formulas. */
#include "tests/kernels/compare.h"

static const double bound_f32 = 2e-6, bound_bf16 = 3e-3, bound_f16 = 4e-4;
static const wan_dtype types[3] = { WAN_REAL, WAN_BF16, WAN_F16 };

static double bound_of(wan_dtype a, wan_dtype b)
{
    return a == WAN_BF16 || b == WAN_BF16 ? bound_bf16
           : a == WAN_F16 || b == WAN_F16 ? bound_f16
                                          : bound_f32;
}

static void run_norm(int64_t P, int64_t C, wan_dtype tx, wan_dtype ty, enum wan_act act, double sd)
{
    vec *x = vec_new(tx, (size_t)(P * C), 0, sd), *g = vec_new(WAN_REAL, (size_t)C, 1, 0.2);
    vec *y = vec_new(ty, (size_t)(P * C), 0, 1);
    CMP_BOTH(vae_norm(d, y->b[i], x->b[i], vec_p(g, i), P, C, act));
    vec_ok(y, bound_of(tx, ty), "norm %lldx%lld %s to %s act %d sd %g", (long long)P, (long long)C,
           CMP_NAME(tx), CMP_NAME(ty), act, sd);
    int intact = 1;
    float *got = vec_read(y, 0, &intact), *xf = vec_read(x, 0, &intact);
    float *gf = vec_read(g, 0, &intact), *want = malloc(y->n * sizeof *want);
    for (int64_t p = 0; p < P; p++) {
        double s = 0;
        for (int64_t c = 0; c < C; c++)
            s += (double)xf[p * C + c] * xf[p * C + c];
        for (int64_t c = 0; c < C; c++) {
            double v = xf[p * C + c] / fmax(sqrt(s), 1e-12) * sqrt((double)C) * gf[c];
            want[p * C + c] = (float)(act == WAN_ACT_SILU ? v / (1 + exp(-v)) : v);
        }
    }
    ok_err(rel_l2(got, want, y->n), bound_of(tx, ty), "  against the formula");
    free(got), free(xf), free(gf), free(want);
    if (tx == ty) {
        CMP_BOTH(vae_norm(d, x->b[i], x->b[i], vec_p(g, i), P, C, act));
        vec_ok(x, bound_of(tx, ty), "  in place");
    }
    cmp_reset();
}

/* A position of zeros stays zero, and SiLU is right where exp overflows. */
static void run_norm_edges(void)
{
    static const float x[] = { 0, 0, 0, 0, 1e-20f, 0, 0, 0, 500, -500, 1, -1 };
    static const float g[] = { 1, 1, 60, 60 };
    vec *a = vec_of(WAN_REAL, 12, x), *b = vec_of(WAN_REAL, 4, g), *y = vec_new(WAN_REAL, 12, 0, 1);
    CMP_BOTH(vae_norm(d, y->b[i], a->b[i], vec_p(b, i), 3, 4, WAN_ACT_SILU));
    int intact = 1;
    float *v = vec_read(y, 1, &intact);
    ok(v[0] == 0 && v[3] == 0 && v[4] == v[4] && v[11] <= 0 && v[11] > -1,
       "norm of zeros is zero; silu saturates: %g %g %g", v[0], v[4], v[11]);
    vec_ok(y, bound_f32, "edges of norm");
    free(v);
    cmp_reset();
}

static void run_moves(int64_t T, int64_t H, int64_t W, int64_t C, wan_dtype t)
{
    size_t n = (size_t)(T * H * W * C);
    int intact = 1, good = 1;
    vec *x = vec_new(t, 2 * n, 0, 1), *y = vec_new(t, 2 * n, 0, 1);
    CMP_BOTH(vae_interleave(d, y->b[i], x->b[i], T, H * W, C));
    vec_ok(y, 0, "interleave");
    float *a = vec_read(y, 0, &intact), *b = vec_read(x, 0, &intact);
    for (int64_t f = 0; f < 2 * T; f++)
        for (int64_t p = 0; p < H * W; p++)
            for (int64_t c = 0; c < C; c++)
                good &=
                    a[(f * H * W + p) * C + c] == b[(f / 2 * H * W + p) * 2 * C + f % 2 * C + c];
    ok(good, "  against the formula");
    free(a), free(b);
    cmp_reset();
}

static void run_layout(int64_t T, int64_t P, int64_t C, wan_dtype t, int scaled)
{
    size_t n = (size_t)(T * P * C);
    vec *x = vec_new(t, n, 0, 1), *y = vec_new(WAN_REAL, n, 0, 1), *z = vec_new(t, n, 0, 1);
    vec *a = vec_new(WAN_REAL, (size_t)C, 2, 0.1), *b = vec_new(WAN_REAL, (size_t)C, 0, 1);
    CMP_BOTH(vae_to_cfirst(d, vec_p(y, i), x->b[i], scaled ? vec_p(a, i) : NULL,
                           scaled ? vec_p(b, i) : NULL, T, P, C));
    vec_ok(y, bound_of(t, t), "to_cfirst %lldx%lldx%lld %s%s", (long long)T, (long long)P,
           (long long)C, CMP_NAME(t), scaled ? " scaled" : "");
    int intact = 1, good = 1;
    float *xf = vec_read(x, 0, &intact), *yf = vec_read(y, 0, &intact);
    float *af = vec_read(a, 0, &intact), *bf = vec_read(b, 0, &intact);
    for (int64_t c = 0; c < C; c++)
        for (int64_t p = 0; p < T * P; p++) {
            double want = scaled ? (double)xf[p * C + c] * af[c] + bf[c] : xf[p * C + c];
            good &= fabs(yf[c * T * P + p] - want) <= 1e-6 * (1 + fabs(want));
        }
    ok(good, "  against the formula");
    free(xf), free(yf), free(af), free(bf);
    CMP_BOTH(vae_to_clast(d, z->b[i], vec_p(y, i), scaled ? vec_p(a, i) : NULL,
                          scaled ? vec_p(b, i) : NULL, T, P, C));
    vec_ok(z, bound_of(t, t), "to_clast");
    if (!scaled) {
        xf = vec_read(x, 1, &intact), yf = vec_read(z, 1, &intact);
        ok(!memcmp(xf, yf, n * sizeof *xf), "  is the inverse");
        free(xf), free(yf);
    }
    cmp_reset();
}

/* Every byte value there and back; values beyond [-1, 1] are clamped. */
static void run_rgb(wan_dtype t)
{
    static const float wild[] = { -1, 1, -3, 1.001f, 0, 0.99f };
    uint8_t bytes[768];
    float want[6] = { 0, 255, 0, 255, 127, 253 };
    for (int i = 0; i < 768; i++)
        bytes[i] = (uint8_t)i;
    vec *u = vec_of(WAN_U8, 768, bytes), *x = vec_new(t, 768, 0, 1), *w = vec_of(WAN_REAL, 6, wild);
    vec *back = vec_of(WAN_U8, 6, bytes);
    CMP_BOTH(vae_from_rgb(d, x->b[i], u->b[i].p, 256));
    vec_ok(x, bound_of(t, t), "from_rgb %s", CMP_NAME(t));
    int intact = 1;
    float *v = vec_read(x, 1, &intact);
    ok(v[0] == -1 && v[255] == 1 && fabs(v[51] + 0.6) < 4e-3, "  0 is -1, 255 is 1, 51 is -0.6");
    free(v);
    CMP_BOTH(vae_to_rgb(d, back->b[i].p, w->b[i], 2));
    uint8_t got[2][6];
    for (int i = 0; i < 2; i++)
        cmp_must(wan_dev_read(cmp_dev[i], got[i], back->b[i].p, 6));
    int good = 1;
    for (int i = 0; i < 6; i++)
        good &= got[0][i] == want[i] && got[1][i] == want[i];
    ok(good, "to_rgb clamps and truncates: %d %d %d %d %d %d", got[1][0], got[1][1], got[1][2],
       got[1][3], got[1][4], got[1][5]);
    cmp_n = 0; /* u8 vectors are not floats: given back with the device */
}

int main(void)
{
    static const int64_t C[] = { 1, 3, 6, 16, 33, 96, 192, 384, 520 };
    if (!cmp_open("vaeop"))
        return tap_done();
    for (size_t k = 0; k < sizeof C / sizeof *C; k++)
        for (int t = 0; t < 9; t++) {
            run_norm(7, C[k], types[t / 3], types[t % 3], WAN_ACT_SILU, 1);
            run_norm(301, C[k], types[t / 3], types[t % 3], WAN_ACT_NONE, 30);
        }
    run_norm_edges();
    for (int t = 0; t < 3; t++) {
        run_moves(1, 1, 1, 1, types[t]);
        run_moves(3, 5, 4, 7, types[t]);
        run_moves(2, 6, 3, 32, types[t]);
        run_layout(1, 1, 1, types[t], 0);
        run_layout(3, 35, 16, types[t], 0);
        run_layout(3, 35, 16, types[t], 1);
        run_rgb(types[t]);
    }
    return cmp_done();
}
