/* SPDX-License-Identifier: Apache-2.0
 *
 * conv.c - reference convolution over [T, H, W, C] (conv.h) and the weight repacking.
 */
#include "kernels/conv.h"

#include "kernels/ops.h"
#include "kernels/rows.h"

/* The n elements of b as WAN_REAL: b itself, or a copy at *spare, which then moves on. */
static const wan_real *as_real(wan_buf b, int64_t n, wan_real **spare)
{
    if (b.t == WAN_REAL)
        return b.p;
    wan_real *copy = *spare;
    const uint16_t *h = b.p;
#pragma omp parallel for
    for (int64_t i = 0; i < n; i++)
        copy[i] = WAN_C(b.t == WAN_F16 ? wan_f16_to_f32(h[i]) : wan_bf16_to_f32(h[i]));
    *spare += n;
    return copy;
}

/* One output pixel, all channels: taps that fall outside the video contribute nothing. */
static void pixel(wan_real *acc, const wan_conv *c, const wan_real *x, const wan_real *w,
                  const wan_real *b, int64_t t0, int64_t i0, int64_t j0)
{
    int64_t taps = (int64_t)c->kt * c->kh * c->kw, H = c->H >> c->up, W = c->W >> c->up;
    for (int64_t o = 0; o < c->Co; o++) {
        wan_real sum = b ? b[o] : WAN_C(0);
        const wan_real *wo = w + o * taps * c->Ci;
        for (int a = 0; a < c->kt; a++)
            for (int r = 0; r < c->kh; r++)
                for (int s = 0; s < c->kw; s++, wo += c->Ci) {
                    int64_t i = i0 + r, j = j0 + s;
                    if (t0 + a < 0 || i < 0 || i >= c->H || j < 0 || j >= c->W)
                        continue;
                    const wan_real *xi =
                        x + (((t0 + a) * H + (i >> c->up)) * W + (j >> c->up)) * c->Ci;
                    wan_real dot = 0;
                    for (int64_t k = 0; k < c->Ci; k++)
                        dot += xi[k] * wo[k];
                    sum += dot;
                }
        acc[o] = sum;
    }
}

static void store_f16(uint16_t *p, const wan_real *v, int64_t n, int add)
{
    for (int64_t i = 0; i < n; i++)
        p[i] = wan_f32_to_f16((float)(add ? WAN_C(wan_f16_to_f32(p[i])) + v[i] : v[i]));
}

static void store(wan_buf y, int64_t at, const wan_real *v, int64_t n, int add)
{
    if (y.t == WAN_REAL) {
        wan_real *p = (wan_real *)y.p + at;
        for (int64_t i = 0; i < n; i++)
            p[i] = add ? p[i] + v[i] : v[i];
    } else if (y.t == WAN_F16) {
        store_f16((uint16_t *)y.p + at, v, n, add);
    } else {
        uint16_t *p = (uint16_t *)y.p + at;
        for (int64_t i = 0; i < n; i++)
            p[i] = wan_f32_to_bf16((float)(add ? WAN_C(wan_bf16_to_f32(p[i])) + v[i] : v[i]));
    }
}

int wan_conv_forward_c(wan_dev *d, const wan_conv *c, wan_buf y, wan_buf x, wan_buf w,
                       const wan_real *b, int add)
{
    WAN_ROWS_CHECK_HALF("conv_forward", y, x, w);
    int64_t To = wan_conv_frames(c);
    int64_t Ho = (c->H + c->top + c->bottom - c->kh) / c->sh + 1;
    int64_t Wo = (c->W + c->left + c->right - c->kw) / c->sw + 1;
    int64_t nx = c->T * (c->H >> c->up) * (c->W >> c->up) * c->Ci,
            nw = c->Co * c->kt * c->kh * c->kw * c->Ci;
    int64_t spare = (x.t == WAN_REAL ? 0 : nx) + (w.t == WAN_REAL ? 0 : nw);
    int64_t lanes = To * Ho;
    wan_real *s = wan_dev_scratch(d, (size_t)(spare + lanes * c->Co) * sizeof *s);
    if (!s)
        return -1;
    wan_real *acc = s + spare;
    const wan_real *xr = as_real(x, nx, &s), *wr = as_real(w, nw, &s);
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < lanes; row++) {
        int64_t t = row / Ho, i = row % Ho;
        for (int64_t j = 0; j < Wo; j++) {
            pixel(acc + row * c->Co, c, xr, wr, b, t * c->st - c->past, i * c->sh - c->top,
                  j * c->sw - c->left);
            store(y, (row * Wo + j) * c->Co, acc + row * c->Co, c->Co, add);
        }
    }
    return 0;
}

void wan_conv_enlarge(void *y, const void *x, int64_t T, int64_t H, int64_t W, int64_t pixel)
{
#pragma omp parallel for
    for (int64_t i = 0; i < T * H; i++) {
        const char *src = (const char *)x + (i / H * (H / 2) + i % H / 2) * (W / 2) * pixel;
        char *dst = (char *)y + i * W * pixel;
        for (int64_t j = 0; j < W; j++)
            memcpy(dst + j * pixel, src + j / 2 * pixel, (size_t)pixel);
    }
}

void wan_conv_repack(float *dst, const float *src, int64_t Co, int64_t Ci, int64_t taps)
{
    for (int64_t o = 0; o < Co; o++)
        for (int64_t c = 0; c < Ci; c++)
            for (int64_t k = 0; k < taps; k++)
                dst[(o * taps + k) * Ci + c] = src[(o * Ci + c) * taps + k];
}
