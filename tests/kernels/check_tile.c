/* SPDX-License-Identifier: Apache-2.0
 * Packed products against three loops in double.  The AMX kernel runs twice: on this CPU where it
 * has AMX, and everywhere with the tile instructions it uses written out in C after Intel's
 * description of them. */
#include "kernels/cpu.h"
#include "kernels/tile.h"
#include "lib/base/rng.h"
#include "tests/tap.h"

static const double bound_f32 = 1e-6; /* also for bf16: operands are exact, sums are fp32 */

#ifdef __x86_64__
#include <immintrin.h>

static uint8_t tile[8][16][64];
static const uint8_t *config; /* 64 bytes: palette, start row, widths at 16, rows at 48 */

static int rows(int t)
{
    return config[48 + t];
}

static int width(int t)
{
    return config[16 + 2 * t] | config[17 + 2 * t] << 8;
}

static void emu_load(int t, const void *p, int64_t stride)
{
    memset(tile[t], 0, sizeof tile[t]);
    for (int r = 0; r < rows(t); r++)
        memcpy(tile[t][r], (const char *)p + r * stride, (size_t)width(t));
}

static void emu_store(int t, void *p, int64_t stride)
{
    for (int r = 0; r < rows(t); r++)
        memcpy((char *)p + r * stride, tile[t][r], (size_t)width(t));
}

/* c[m][n] += a[m][2k] b[k][2n] + a[m][2k+1] b[k][2n+1] */
static void emu_dp(int c, int a, int b)
{
    for (int m = 0; m < rows(c); m++)
        for (int n = 0; n < width(c) / 4; n++) {
            float s;
            memcpy(&s, tile[c][m] + 4 * n, 4);
            for (int k = 0; k < width(a) / 4; k++) {
                uint16_t x[2], y[2];
                memcpy(x, tile[a][m] + 4 * k, 4);
                memcpy(y, tile[b][k] + 4 * n, 4);
                s += wan_bf16_to_f32(x[0]) * wan_bf16_to_f32(y[0]);
                s += wan_bf16_to_f32(x[1]) * wan_bf16_to_f32(y[1]);
            }
            memcpy(tile[c][m] + 4 * n, &s, 4);
        }
}

#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbf16ps
#define _tile_loadd(t, p, s) emu_load(t, p, s)
#define _tile_stored(t, p, s) emu_store(t, p, s)
#define _tile_zero(t) memset(tile[t], 0, sizeof tile[t])
#define _tile_dpbf16ps(c, a, b) emu_dp(c, a, b)
#define _tile_loadconfig(p) (config = (const uint8_t *)(p))
#define _tile_release() (config = NULL)
#define wan_tile_mul_amx emulated_mul
void emulated_mul(float *C, int64_t ldc, const void *A, int64_t lda, const void *B, int64_t ldb,
                  int64_t m, int64_t n, int64_t k, int add);
#include "kernels/tile_amx_simd.c"
#undef wan_tile_mul_amx
#endif

/* C = A B, then C += A B, for A [m, k], which is packed as the kernel wants it: into A. */
static void twice(const wan_tile *t, float *C, int64_t ldc, void *A, int64_t lda, wan_buf src,
                  int64_t m, int64_t k, const void *B, int64_t np)
{
    int64_t mp = wan_tile_up(m, 16), kp = wan_tile_up(k, WAN_TILE_K);
    if (t->mul_cols)
        wan_tile_pack_rows(t, A, src, 0, k, m, k, mp, kp);
    else
        wan_tile_rows(t, A, lda, src, 0, k, m, k, mp);
    for (int add = 0; add < 2; add++)
        if (t->mul_cols)
            t->mul_cols(C, ldc, A, kp * 16, B, kp * 16, mp, np, kp, add);
        else
            t->mul(C, ldc, A, lda, B, kp * 16, mp, np, kp, add);
}

/* C += A B for A [m, k], B [k, n], with wider rows everywhere and packing from both sides. */
static void run(const char *name, wan_tile t, int64_t m, int64_t n, int64_t k)
{
    int64_t mp = wan_tile_up(m, 16), np = wan_tile_up(n, 16), kp = wan_tile_up(k, WAN_TILE_K);
    int64_t lda = kp + 32, ldc = np + 5;
    float *f = (float *)malloc((size_t)(m * k + n * k) * sizeof *f);
    uint16_t *h = (uint16_t *)malloc((size_t)(m * k + n * k) * sizeof *h);
    float *C = (float *)malloc((size_t)(mp * ldc) * sizeof *C);
    char *A = (char *)aligned_alloc(64, (size_t)wan_tile_up(mp * lda * 4, 64));
    char *B = (char *)aligned_alloc(64, (size_t)(np * kp * 4));
    wan_rng r = wan_rng_stream(3, WAN_RNG_TEST, 0, (uint64_t)(m * n * k));
    wan_rng_normal(&r, f, 0, (size_t)(m * k + n * k));
    for (int64_t i = 0; i < m * k + n * k; i++) {
        h[i] = wan_f32_to_bf16(f[i]);
        f[i] = wan_bf16_to_f32(h[i]);
    }
    wan_buf src = t.t == WAN_BF16 ? wan_buf_of(h, WAN_BF16) : wan_buf_of(f, WAN_F32);
    for (int side = 0; side < 2; side++) { /* B^T [n, k] or B [k, n] stands behind A */
        double worst = 0;
        if (side == 0)
            wan_tile_pack_rows(&t, B, src, m * k, k, n, k, np, kp);
        else
            wan_tile_pack_cols(&t, B, kp * 16, src, m * k, n, k, n, kp, np);
        for (int64_t i = 0; i < mp * ldc; i++)
            C[i] = 1;
        twice(&t, C, ldc, A, lda, src, m, k, B, np);
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++) {
                double s = 0;
                for (int64_t u = 0; u < k; u++)
                    s += 2.0 * f[i * k + u] * f[m * k + (side ? u * n + j : j * k + u)];
                worst = worse(worst, fabs(s - C[i * ldc + j]) / (4 * sqrt((double)k)));
            }
        ok_err(worst, bound_f32, "%s %lldx%lldx%lld side %d", name, (long long)m, (long long)n,
               (long long)k, side);
        ok(C[np] == 1 && C[mp * ldc - 1] == 1, "  nothing beyond the columns is written");
    }
    free(f);
    free(h);
    free(C);
    free(A);
    free(B);
}

static void all(const char *name, wan_tile t)
{
    static const int64_t s[][3] = { { 1, 1, 1 },    { 16, 16, 32 },   { 48, 33, 65 },
                                    { 96, 64, 96 }, { 96, 192, 128 }, { 31, 100, 7 } };
    for (size_t i = 0; i < sizeof s / sizeof *s; i++)
        run(name, t, s[i][0], s[i][1], s[i][2]);
}

int main(void)
{
    static const char *const vectors[] = { "fp32 plain", "fp32 avx2", "fp32 avx512" };
    wan_tile f32 = { .t = WAN_F32, .size = 4 }, bf16 = { .t = WAN_BF16, .size = 2 };
    for (int v = 0; v < 3; v++)
        if (v <= (int)wan_cpu_vectors()) {
            f32.mul = wan_tile_mul_f32((enum wan_cpu_vectors)v);
            all(vectors[v], f32);
        } else {
            tap_skip(vectors[v], "this CPU has no such vectors");
        }
    f32.past = 1;
    all("fp32, packed past the caches", f32);
#ifdef __x86_64__
    bf16.mul = emulated_mul;
    all("amx in C", bf16);
    bf16.past = 1;
    all("amx in C, packed past the caches", bf16);
    bf16.past = 0;
#endif
    if (wan_cpu_isa() >= WAN_CPU_BF16) {
        bf16.mul = wan_tile_mul_bf16;
        all("avx512-bf16", bf16);
        bf16.mul_cols = wan_tile_mul_bf16_cols;
        all("avx512-bf16, both packed", bf16);
        bf16.mul_cols = NULL;
    } else {
        tap_skip("avx512-bf16", "this CPU has no AVX512-BF16");
    }
    if (wan_cpu_isa() >= WAN_CPU_AMX) {
        bf16.mul = wan_tile_mul_amx;
        all("amx", bf16);
    } else {
        tap_skip("amx", "this CPU has no AMX");
    }
    return tap_done();
}
