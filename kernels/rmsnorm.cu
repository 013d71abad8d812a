/* SPDX-License-Identifier: Apache-2.0
 *
 * rmsnorm.cu - RMSNorm over the full width with the rotary embedding behind it, on CUDA.
 */
#include "kernels/reduce.cuh"

/* ---- kernels */

/* v = R(s)^dir v for columns c .. c+7 (c even): dir 1 forward, -1 the transpose */
static __device__ inline void rotate8(float v[8], const float *rope, int64_t c, int64_t hd,
                                      float dir)
{
    uint32_t n = (uint32_t)hd, k = (uint32_t)c % n; /* 64-bit remainders cost more than the rest */
    for (int j = 0; j < 8; j += 2) {
        float co = rope[k], si = dir * rope[k + 1], a = v[j], b = v[j + 1];
        v[j] = a * co - b * si;
        v[j + 1] = a * si + b * co;
        k = k + 2 < n ? k + 2 : 0;
    }
}

static __global__ void forward_row(vbuf y, float *rstd, vbuf x, vbuf w, const float *rope,
                                   int64_t D, int64_t hd, float eps)
{
    int64_t s = blockIdx.x, row = s * D, step = blockDim.x * 8;
    float v[8], g[8], sum = 0;
    for (int64_t c = threadIdx.x * 8; c < D; c += step) {
        ld8(v, x, row + c, D - c);
        for (int j = 0; j < 8; j++)
            sum += v[j] * v[j];
    }
    block_sum<1>(&sum, cuda_shared);
    float r = 1 / sqrtf(sum / (float)D + eps);
    if (threadIdx.x == 0)
        rstd[s] = r;
    for (int64_t c = threadIdx.x * 8; c < D; c += step) {
        ld8(v, x, row + c, D - c);
        ld8(g, w, c, D - c);
        for (int j = 0; j < 8; j++)
            v[j] = v[j] * r * g[j];
        if (rope)
            rotate8(v, rope + s * hd, c, hd, 1);
        st8(y, row + c, D - c, v);
    }
}

/* dx = rstd (h - xhat <h xhat>), h = R^T dy w */
static __global__ void backward_row(vbuf dx, vbuf dy, vbuf x, const float *rstd, vbuf w,
                                    const float *rope, int64_t D, int64_t hd)
{
    int64_t s = blockIdx.x, row = s * D, step = blockDim.x * 8;
    float v[8], g[8], a[8], r = rstd[s], sum = 0;
    for (int64_t c = threadIdx.x * 8; c < D; c += step) {
        ld8(v, x, row + c, D - c);
        ld8(g, dy, row + c, D - c);
        ld8(a, w, c, D - c);
        if (rope)
            rotate8(g, rope + s * hd, c, hd, -1);
        for (int j = 0; j < 8; j++)
            sum += g[j] * a[j] * v[j];
    }
    block_sum<1>(&sum, cuda_shared);
    float m = sum * r * r / (float)D;
    for (int64_t c = threadIdx.x * 8; c < D; c += step) {
        ld8(v, x, row + c, D - c);
        ld8(g, dy, row + c, D - c);
        ld8(a, w, c, D - c);
        if (rope)
            rotate8(g, rope + s * hd, c, hd, -1);
        for (int j = 0; j < 8; j++)
            g[j] = r * (g[j] * a[j] - v[j] * m);
        st8(dx, row + c, D - c, g); /* this thread alone reads these columns of dy */
    }
}

/* sum dn x rstd */
struct gain_sum {
    enum { N = 1 };
    vbuf dy, x;
    const float *rstd, *rope;
    int64_t D, hd;
    __device__ void add(float (*acc)[8], int64_t s, int64_t c, int64_t n) const
    {
        float g[8], v[8], r = rstd[s];
        ld8(g, dy, s * D + c, n);
        ld8(v, x, s * D + c, n);
        if (rope)
            rotate8(g, rope + s * hd, c, hd, -1);
        for (int j = 0; j < 8; j++)
            acc[0][j] += g[j] * v[j] * r;
    }
};

/* ---- launchers */

static int check(const char *op, const float *rope, int64_t D, int64_t hd)
{
    if (rope && (hd < 2 || hd % 2 || D % hd))
        return wan_cuda_host->err("%s: head_dim %lld does not fit width %lld", op, (long long)hd,
                                  (long long)D);
    return 0;
}

extern "C" int wan_rmsnorm_forward_cuda(wan_dev *d, wan_buf y, float *rstd, wan_buf x,
                                        const float *w, const float *rope, int64_t S, int64_t D,
                                        int64_t head_dim, double eps)
{
    CUDA_TYPES("rmsnorm_forward", y, x);
    WAN_TRY(check("rmsnorm_forward", rope, D, head_dim));
    return cuda_launch(d, "rmsnorm_forward", forward_row, dim3((unsigned)S), row_threads(D),
                       32 * sizeof(float), vbuf_of(y, D), rstd, vbuf_of(x, D), vbuf_f32(w, 0), rope,
                       D, head_dim, (float)eps);
}

extern "C" int wan_rmsnorm_backward_cuda(wan_dev *d, wan_buf dx, float *dw, wan_buf dy, wan_buf x,
                                         const float *rstd, const float *w, const float *rope,
                                         int64_t S, int64_t D, int64_t head_dim)
{
    CUDA_TYPES("rmsnorm_backward", dx, dy, x);
    WAN_TRY(check("rmsnorm_backward", rope, D, head_dim));
    gain_sum f = { vbuf_of(dy, D), vbuf_of(x, D), rstd, rope, D, head_dim };
    /* dw first: dx may be written over dy */
    WAN_TRY(columns_sum(d, "rmsnorm_backward", f, &dw, 0, NULL, S, D, 1));
    return cuda_launch(d, "rmsnorm_backward", backward_row, dim3((unsigned)S), row_threads(D),
                       32 * sizeof(float), vbuf_of(dx, D), f.dy, f.x, rstd, vbuf_f32(w, 0), rope, D,
                       head_dim);
}
