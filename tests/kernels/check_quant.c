/* SPDX-License-Identifier: Apache-2.0
 * Linear layer with weights in blocks: reference and tiles against a product in double of the values that
 * check_gguf.c has compared with another program's. */
#include <omp.h>

#include "kernels/linear_simd.h"
#include "lib/base/quant.h"
#include "tests/kernels/compare.h"

static uint32_t state = 7;
static uint32_t draw(void)
{
    return state = state * 1664525 + 1013904223;
}

/* Random blocks with scales of about 0.01. */
static void *blocks(wan_quant q, int64_t count)
{
    const size_t bytes = wan_quant_bytes(q), n = (size_t)count / wan_quant_values(q);
    uint8_t *b = malloc(n * bytes);
    for (size_t i = 0; i < n * bytes; i++)
        b[i] = (uint8_t)(draw() >> 24);
    for (size_t i = 0; i < n; i++) {
        uint16_t h = wan_f32_to_f16(0.005f + 0.01f * (float)(draw() >> 8) / 0x1p24f);
        memcpy(b + i * bytes + (q == WAN_Q6_K ? 208 : 0), &h, 2);
        if (q == WAN_Q4_1 || q == WAN_Q5_1 || q == WAN_Q4_K || q == WAN_Q5_K)
            memcpy(b + i * bytes + 2, &h, 2);
    }
    return b;
}

static float at(wan_buf b, int64_t i)
{
    return b.t == WAN_F32 ? ((float *)b.p)[i] : wan_bf16_to_f32(((uint16_t *)b.p)[i]);
}

static void one(wan_dev *d, const char *which, wan_quant q, wan_dtype in, int64_t M, int64_t N,
                int64_t K)
{
    const size_t e = wan_dtype_size(in);
    wan_buf x = wan_buf_of(malloc((size_t)(M * K) * e), in),
            y = wan_buf_of(malloc((size_t)(M * N) * e), in);
    wan_buf w = wan_buf_of(blocks(q, N * K), wan_quant_type(q)), none = WAN_BUF_NONE;
    float *v = malloc((size_t)(N * K) * sizeof *v), *bias = malloc((size_t)N * sizeof *bias);
    double err = 0, all = 0;
    for (int64_t i = 0; i < M * K; i++) {
        float r = (float)(draw() >> 8) / 0x1p23f - 1;
        if (in == WAN_F32)
            ((float *)x.p)[i] = r;
        else
            ((uint16_t *)x.p)[i] = wan_f32_to_bf16(r);
    }
    for (int64_t i = 0; i < N; i++)
        bias[i] = (float)i * 0.01f;
    wan_quant_decode(v, w.p, q, (size_t)(N * K));
    int rc = d->ops->linear_forward(d, y, none, x, w, bias, M, N, K, WAN_ACT_NONE);
    for (int64_t m = 0; m < M && rc == 0; m++)
        for (int64_t n = 0; n < N; n++) {
            double s = bias[n];
            for (int64_t k = 0; k < K; k++)
                s += (double)at(x, m * K + k) * v[n * K + k];
            err += (at(y, m * N + n) - s) * (at(y, m * N + n) - s);
            all += s * s;
        }
    ok_err(rc ? INFINITY : sqrt(err / all), in == WAN_F32 ? 1e-6 : 4e-3,
           "%s: %s, x %s, %lldx%lldx%lld%s%s", which, wan_quant_name(q), wan_dtype_name(in),
           (long long)M, (long long)N, (long long)K, rc ? " " : "", rc ? wan_err_text() : "");
    free(x.p), free(y.p), free(w.p), free(v), free(bias);
}

/* ---- products of bytes */

/* 32 values as integers of -127 to 127 times the scale that is returned; a block of Q8_0 is that. */
static double bytes_of(double *v, const float *x)
{
    float most = 0;
    for (int i = 0; i < 32; i++)
        most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    float to = most > 0 ? 127 / most : 0;
    for (int i = 0; i < 32; i++)
        v[i] = (double)rintf(x[i] * to);
    return (double)(most / 127);
}

static double bytes_of_q8_0(double *v, const uint8_t *b)
{
    uint16_t h;
    memcpy(&h, b, 2);
    for (int i = 0; i < 32; i++)
        v[i] = (int8_t)b[2 + i];
    return (double)wan_f16_to_f32(h);
}

typedef struct product {
    int64_t M, N, K;
    wan_quant q;
    wan_buf x, w;
    float *bias, *y;
} product;

/* x bf16 with outliers, as activations have them. */
static product product_of(wan_quant q, int64_t M, int64_t N, int64_t K)
{
    product p = { .M = M, .N = N, .K = K, .q = q };
    p.x = wan_buf_of(malloc((size_t)(M * K) * 2), WAN_BF16);
    p.w = wan_buf_of(blocks(q, N * K), wan_quant_type(q));
    p.bias = malloc((size_t)N * sizeof *p.bias);
    p.y = malloc((size_t)(M * N) * sizeof *p.y);
    for (int64_t i = 0; i < M * K; i++) {
        float r = (float)(draw() >> 8) / 0x1p23f - 1;
        ((uint16_t *)p.x.p)[i] = wan_f32_to_bf16(draw() >> 27 ? r : 10 * r);
    }
    for (int64_t k = 0; k < 32; k++)
        ((uint16_t *)p.x.p)[k] = 0; /* a block without values */
    for (int64_t i = 0; i < N; i++)
        p.bias[i] = (float)i * 0.01f;
    return p;
}

static void product_free(product *p)
{
    free(p->x.p), free(p->w.p), free(p->bias), free(p->y);
}

/* Its sum in double over blocks, each of both sides in bytes. */
static double exact(const product *p, int64_t m, int64_t n, const float *v)
{
    const size_t span = wan_quant_bytes(WAN_Q8_0);
    double sum = p->bias[n];
    for (int64_t k = 0; k < p->K; k += 32) {
        float xf[32];
        double a[32], b[32], s = 0;
        for (int i = 0; i < 32; i++)
            xf[i] = at(p->x, m * p->K + k + i);
        double sa = bytes_of(a, xf);
        double sb = p->q == WAN_Q8_0
                        ? bytes_of_q8_0(b, (uint8_t *)p->w.p + (size_t)(n * p->K + k) / 32 * span)
                        : bytes_of(b, v + n * p->K + k);
        for (int i = 0; i < 32; i++)
            s += a[i] * b[i];
        sum += sa * sb * s;
    }
    return sum;
}

static int forward(wan_dev *d, const product *p, enum wan_act act)
{
    const wan_buf y = wan_buf_of(p->y, WAN_F32), none = WAN_BUF_NONE;
    return wan_linear_forward_simd(d, y, none, p->x, p->w, p->bias, p->M, p->N, p->K, act);
}

static void one_int8(wan_dev *d, wan_quant q, int64_t M, int64_t N, int64_t K)
{
    product p = product_of(q, M, N, K);
    float *v = malloc((size_t)(N * K) * sizeof *v);
    double err = 0, all = 0, plain = 0;
    wan_quant_decode(v, p.w.p, q, (size_t)(N * K));
    int rc = forward(d, &p, WAN_ACT_NONE);
    for (int64_t m = 0; m < M && rc == 0; m++)
        for (int64_t n = m % 3; n < N; n += 3) { /* every third of both */
            double y = p.y[m * N + n], e = exact(&p, m, n, v), s = p.bias[n];
            for (int64_t k = 0; k < K; k++)
                s += (double)at(p.x, m * K + k) * v[n * K + k];
            err += (y - e) * (y - e);
            plain += (y - s) * (y - s);
            all += s * s;
        }
    ok_err(rc ? INFINITY : sqrt(err / all), 2e-6, "int8: %s %lldx%lldx%lld is the sum over blocks",
           wan_quant_name(q), (long long)M, (long long)N, (long long)K);
    ok_err(rc ? INFINITY : sqrt(plain / all), 2e-2, "int8: ... and near the unrounded one");
    free(v);
    product_free(&p);
}

/* What is not finite stays so, in its row only; the same bytes with any number of threads. */
static void rows_int8(wan_dev *d)
{
    const int64_t M = 70, N = 200, K = 512;
    const int threads = omp_get_max_threads();
    product p = product_of(WAN_Q4_K, M, N, K);
    float *one = malloc((size_t)(M * N) * sizeof *one);
    ((uint16_t *)p.x.p)[3 * K + 7] = 0x7fc0;
    ((uint16_t *)p.x.p)[5 * K + 40] = 0xff80;
    omp_set_num_threads(1);
    int rc = forward(d, &p, WAN_ACT_GELU_TANH), wild = 0, tame = 1;
    memcpy(one, p.y, (size_t)(M * N) * sizeof *one);
    omp_set_num_threads(3);
    rc |= forward(d, &p, WAN_ACT_GELU_TANH);
    omp_set_num_threads(threads);
    ok(rc == 0 && !memcmp(one, p.y, (size_t)(M * N) * sizeof *one), "int8: one thread and three");
    for (int64_t i = 0; i < M * N; i++)
        if (i / N == 3 || i / N == 5)
            wild += !isfinite(one[i]);
        else
            tame = tame && isfinite(one[i]);
    ok(tame && wild >= N, "int8: NaN and infinity in x come through, in their rows (%d)", wild);
    free(one);
    product_free(&p);
}

static void check_int8(void)
{
    wan_dev *d;
    unsetenv("WAN_CPU_INT8");
    if (!wan_linear_int8() || wan_dev_open(&d, "cpu", 0) < 0) {
        tap_skip("int8", "no AVX512-VNNI, or AMX");
        return;
    }
    for (int q = WAN_Q_NONE + 1; q < WAN_QUANTS; q++) {
        one_int8(d, (wan_quant)q, 17, 50, 768);
        one_int8(d, (wan_quant)q, 83, 208, 1024);
    }
    one_int8(d, WAN_Q8_0, 33, 16, 416);
    one_int8(d, WAN_Q8_0, 16, 33, 32);
    rows_int8(d);
    setenv("WAN_CPU_INT8", "0", 1);
    ok(!wan_linear_int8(), "WAN_CPU_INT8=0 turns it off");
    wan_dev_close(&d);
}

int main(void)
{
    static const int64_t shape[][3] = {
        { 1, 5, 256 }, { 17, 50, 768 }, { 200, 400, 1024 }, { 33, 16, 1792 }
    };
    static const char *const devices[] = { "ref", "cpu" };
    setenv("WAN_CPU_INT8", "0", 1);
    for (int k = 0; k < 2; k++) {
        wan_dev *d;
        if (!ok(wan_dev_open(&d, devices[k], 0) == 0, "device %s", devices[k]))
            continue;
        for (int q = WAN_Q_NONE + 1; q < WAN_QUANTS; q++)
            for (size_t s = 0; s < sizeof shape / sizeof *shape; s++)
                for (int t = 0; t < 2; t++)
                    one(d, devices[k], (wan_quant)q, t ? WAN_BF16 : WAN_F32, shape[s][0],
                        shape[s][1], shape[s][2]);
        wan_buf b = wan_buf_of(d, wan_quant_type(WAN_Q8_0)), r = WAN_RBUF(d);
        ok(d->ops->linear_forward(d, r, r, r, b, NULL, 1, 1, 100, WAN_ACT_NONE) < 0 &&
               strstr(wan_err_text(), "no whole blocks"),
           "rows that are no whole blocks are refused");
        ok(d->ops->linear_dgrad(d, r, r, b, 1, 1, 256, 0) < 0 && strstr(wan_err_text(), "blocks"),
           "a gradient through blocks is refused (%s)", wan_err_text());
        wan_dev_close(&d);
    }
    check_int8();
    return tap_done();
}
