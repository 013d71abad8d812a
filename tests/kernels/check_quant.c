/* SPDX-License-Identifier: Apache-2.0
 * Linear layer with weights in blocks: reference and tiles against a product in double of the values that
 * check_gguf.c has compared with another program's. */
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

int main(void)
{
    static const int64_t shape[][3] = {
        { 1, 5, 256 }, { 17, 50, 768 }, { 200, 400, 1024 }, { 33, 16, 1792 }
    };
    static const char *const devices[] = { "ref", "cpu" };
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
    return tap_done();
}
