/* SPDX-License-Identifier: Apache-2.0
 *
 * layernorm.cu - LayerNorm on CUDA: one block per token; gradients of gain and shift by columns.
 */
#include "kernels/resnorm.cuh"

/* ---- kernels */

/* y = xhat * (one + gain) + shift; seg NULL: one row of gain and shift for all tokens */
static __global__ void forward_row(vbuf y, float *mean, float *rstd, vbuf x, vbuf gain, float one,
                                   vbuf shift, int64_t stride, const int32_t *seg, int64_t D,
                                   float eps)
{
    int64_t s = blockIdx.x, row = s * D, mod = seg ? seg[s] * stride : 0, step = blockDim.x * 8;
    float v[8], a[8], b[8], sum = 0, var = 0;
    for (int64_t c = threadIdx.x * 8; c < D; c += step) {
        ld8(v, x, row + c, D - c);
        for (int j = 0; j < 8; j++)
            sum += v[j];
    }
    block_sum<1>(&sum, cuda_shared);
    float m = sum / (float)D;
    for (int64_t c = threadIdx.x * 8; c < D; c += step) {
        ld8(v, x, row + c, D - c);
        for (int j = 0; j < 8; j++)
            var += j < D - c ? (v[j] - m) * (v[j] - m) : 0;
    }
    block_sum<1>(&var, cuda_shared);
    float r = 1 / sqrtf(var / (float)D + eps);
    if (threadIdx.x == 0) {
        mean[s] = m;
        rstd[s] = r;
    }
    for (int64_t c = threadIdx.x * 8; c < D; c += step) {
        ld8(v, x, row + c, D - c);
        ld8(a, gain, mod + c, D - c);
        ld8(b, shift, mod + c, D - c);
        for (int j = 0; j < 8; j++)
            v[j] = (v[j] - m) * r * (one + a[j]) + b[j];
        st8(y, row + c, D - c, v);
    }
}

/* dx += rstd (g - <g> - xhat <g xhat>), g = dy (one + gain) */
static __global__ void backward_row(vbuf dx, vbuf dy, vbuf x, const float *mean, const float *rstd,
                                    vbuf gain, float one, int64_t stride, const int32_t *seg,
                                    int64_t D)
{
    int64_t s = blockIdx.x, row = s * D, mod = seg ? seg[s] * stride : 0, step = blockDim.x * 8;
    float v[8], g[8], a[8], o[8], m = mean[s], r = rstd[s], sum[2] = { 0, 0 };
    for (int64_t c = threadIdx.x * 8; c < D; c += step) {
        ld8(v, x, row + c, D - c);
        ld8(g, dy, row + c, D - c);
        ld8(a, gain, mod + c, D - c);
        for (int j = 0; j < 8; j++) {
            float u = g[j] * (one + a[j]);
            sum[0] += u; /* dy is 0 behind the row's end */
            sum[1] += u * ((v[j] - m) * r);
        }
    }
    block_sum<2>(sum, cuda_shared);
    float ga = sum[0] / (float)D, gb = sum[1] / (float)D;
    for (int64_t c = threadIdx.x * 8; c < D; c += step) {
        ld8(v, x, row + c, D - c);
        ld8(g, dy, row + c, D - c);
        ld8(a, gain, mod + c, D - c);
        ld8(o, dx, row + c, D - c);
        for (int j = 0; j < 8; j++)
            o[j] += r * (g[j] * (one + a[j]) - ga - (v[j] - m) * r * gb);
        st8(dx, row + c, D - c, o);
    }
}

/* sum dy*xhat and sum dy */
struct gain_shift {
    enum { N = 2 };
    vbuf dy, x;
    const float *mean, *rstd;
    int64_t D;
    __device__ void add(float (*acc)[8], int64_t s, int64_t c, int64_t n) const
    {
        float g[8], v[8], m = mean[s], r = rstd[s];
        ld8(g, dy, s * D + c, n);
        ld8(v, x, s * D + c, n);
        for (int j = 0; j < 8; j++) {
            acc[0][j] += g[j] * ((v[j] - m) * r);
            acc[1][j] += g[j];
        }
    }
};

/* ---- launchers */

static int forward(wan_dev *d, wan_buf y, float *mean, float *rstd, const float *x,
                   const float *gain, float one, const float *shift, int64_t stride,
                   const int32_t *seg, int64_t S, int64_t D, double eps)
{
    CUDA_TYPES("ln_forward", y);
    seam a;
    memset(&a, 0, sizeof a);
    a.x = vbuf_f32(x, D), a.u = vbuf_of(y, D);
    a.gain = vbuf_f32(gain, stride), a.shift = vbuf_f32(shift, stride);
    a.one = one;
    a.mean = mean, a.rstd = rstd;
    a.seg = seg;
    a.stride = stride, a.D = D;
    a.eps = (float)eps;
    int r = cuda_seam_forward(d, "ln_forward", &a, S);
    if (r <= 0)
        return r;
    return cuda_launch(d, "ln_forward", forward_row, dim3((unsigned)S), row_threads(D),
                       32 * sizeof(float), vbuf_of(y, D), mean, rstd, vbuf_f32(x, D),
                       vbuf_f32(gain, stride), one, vbuf_f32(shift, stride), stride, seg, D,
                       (float)eps);
}

static int backward(wan_dev *d, float *dx, float *dgain, float *dshift, int64_t dstride, wan_buf dy,
                    const float *x, const float *mean, const float *rstd, const float *gain,
                    float one, int64_t stride, const wan_pack *pack, int64_t S, int64_t D)
{
    CUDA_TYPES("ln_backward", dy);
    seam a;
    memset(&a, 0, sizeof a);
    a.out = vbuf_f32(x, D), a.du = vbuf_of(dy, D), a.dx = vbuf_f32(dx, D);
    a.gain = vbuf_f32(gain, stride);
    a.one = one;
    a.mean = (float *)mean, a.rstd = (float *)rstd;
    a.seg = pack ? pack->seg : NULL;
    a.stride = stride, a.D = D, a.S = S;
    const wan_resnorm_grad to = { NULL, dgain, dshift, dstride };
    int r = cuda_seam_backward(d, "ln_backward", &a, &to, 0, pack);
    if (r <= 0)
        return r;
    float *out[2] = { dgain, dshift };
    gain_shift f = { vbuf_of(dy, D), vbuf_f32(x, D), mean, rstd, D };
    WAN_TRY(columns_sum(d, "ln_backward", f, out, dstride, pack, S, D, 1));
    return cuda_launch(d, "ln_backward", backward_row, dim3((unsigned)S), row_threads(D),
                       64 * sizeof(float), vbuf_f32(dx, D), f.dy, f.x, mean, rstd,
                       vbuf_f32(gain, stride), one, stride, pack ? pack->seg : NULL, D);
}

extern "C" int wan_ln_mod_forward_cuda(wan_dev *d, wan_buf y, float *mean, float *rstd,
                                       const float *x, const float *scale, const float *shift,
                                       int64_t stride, const wan_pack *pack, int64_t D, double eps)
{
    return forward(d, y, mean, rstd, x, scale, 1, shift, stride, pack->seg, pack->S, D, eps);
}

extern "C" int wan_ln_mod_backward_cuda(wan_dev *d, float *dx, float *dscale, float *dshift,
                                        int64_t dstride, wan_buf dy, const float *x,
                                        const float *mean, const float *rstd, const float *scale,
                                        int64_t stride, const wan_pack *pack, int64_t D)
{
    return backward(d, dx, dscale, dshift, dstride, dy, x, mean, rstd, scale, 1, stride, pack,
                    pack->S, D);
}

extern "C" int wan_ln_affine_forward_cuda(wan_dev *d, wan_buf y, float *mean, float *rstd,
                                          const float *x, const float *w, const float *b, int64_t S,
                                          int64_t D, double eps)
{
    return forward(d, y, mean, rstd, x, w, 0, b, 0, NULL, S, D, eps);
}

extern "C" int wan_ln_affine_backward_cuda(wan_dev *d, float *dx, float *dw, float *db, wan_buf dy,
                                           const float *x, const float *mean, const float *rstd,
                                           const float *w, int64_t S, int64_t D)
{
    return backward(d, dx, dw, db, 0, dy, x, mean, rstd, w, 0, 0, NULL, S, D);
}
