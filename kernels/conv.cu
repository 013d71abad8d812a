/* SPDX-License-Identifier: Apache-2.0
 *
 * conv.cu - convolution on CUDA: bf16 by cuDNN, over frames that are enlarged first where they are to be; and where
 * that has no engine, and fp32, by a kernel of ours (conv_own.cu).  Of operands of different types the taps of a run of
 * output positions are laid out as rows, which go through the matrix product of linear.cu; so do, as they lie, the
 * channels of a convolution of one tap.
 */
#include "kernels/conv_cudnn.cuh"
#include "kernels/conv_own.cuh"
#include "kernels/gemm.cuh"
#include "kernels/half.cuh"

enum : int64_t { ROWS_BYTES = (int64_t)256 << 20 }; /* most memory for laid-out rows */
#ifdef __CUDACC__
enum : int64_t { WIDE_BYTES = (int64_t)256 << 20 }; /* for enlarged frames */
#else
enum : int64_t { WIDE_BYTES = 128 << 10 }; /* little, so that small checks see parts of a clip */
#endif

/* y [rows, 2, W, 2, per] <- x [rows, W, per], units of 16 bytes: each pixel 2 x 2 */
static __global__ void enlarge_all(uint4 *y, const uint4 *x, int64_t W, int64_t per, int64_t n)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t k = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; k < n; k += step) {
        const int64_t c = k % per, j = k / per % W, row = k / (per * W);
        uint4 *to = y + (row * 2 * W + j) * 2 * per + c;
        const uint4 u = x[k];
        st16(to, u), st16(to + per, u);
        st16(to + 2 * W * per, u), st16(to + 2 * W * per + per, u);
    }
}

/* rows [p1 - p0, taps, Ci] of output positions p0 .. p1; one block per position, zero outside x */
static __global__ void lay_out(vbuf rows, vbuf x, wan_conv c, int64_t Ho, int64_t Wo, int64_t p0)
{
    int64_t p = p0 + blockIdx.x, j = p % Wo, i = p / Wo % Ho, t = p / (Wo * Ho) * c.st - c.past;
    int taps = c.kt * c.kh * c.kw;
    int64_t per = (c.Ci + 7) / 8; /* groups of eight channels in one tap */
    for (int64_t u = threadIdx.x; u < taps * per; u += blockDim.x) {
        int tap = (int)(u / per), s = tap % c.kw, r = tap / c.kw % c.kh, a = tap / (c.kw * c.kh);
        int64_t ch = u % per * 8, n = c.Ci - ch, yy = i * c.sh + r - c.top;
        int64_t xx = j * c.sw + s - c.left;
        float v[8] = { 0, 0, 0, 0, 0, 0, 0, 0 };
        if (t + a >= 0 && yy >= 0 && yy < c.H && xx >= 0 && xx < c.W)
            ld8(v, x,
                (((t + a) * (c.H >> c.up) + (yy >> c.up)) * (c.W >> c.up) + (xx >> c.up)) * c.Ci +
                    ch,
                n);
        st8(rows, (blockIdx.x * (int64_t)taps + tap) * c.Ci + ch, n, v);
    }
}

static int plain(const wan_conv *c)
{
    return c->kt * c->kh * c->kw == 1 && c->st == 1 && c->sh == 1 && c->sw == 1 && !c->top &&
           !c->bottom && !c->left && !c->right && !c->up;
}

/* Output positions p0 .. p0+n through the product; space: rows, then the product's own. */
static int part(wan_dev *d, const wan_conv *c, wan_buf y, wan_buf rows, wan_buf x, wan_buf w,
                const float *b, int add, int64_t Ho, int64_t Wo, int64_t p0, int64_t n, void *tmp)
{
    int64_t K = (int64_t)c->kt * c->kh * c->kw * c->Ci;
    if (plain(c))
        rows = wan_buf_of((char *)x.p + p0 * K * (x.t == WAN_BF16 ? 2 : 4), x.t);
    else
        WAN_TRY(cuda_launch(d, "conv_forward", lay_out, dim3((unsigned)n), 128, 0,
                            vbuf_of(rows, c->Ci), vbuf_of(x, c->Ci), *c, Ho, Wo, p0));
    wan_buf out = wan_buf_of((char *)y.p + p0 * c->Co * (y.t == WAN_BF16 ? 2 : 4), y.t);
    cuda_gemm g = { out, rows, w, b, n, c->Co, K, 0, 1, add != 0 };
    return cuda_gemm_run(d, "conv_forward", &g, tmp);
}

struct sizes {
    int64_t To, Ho, Wo;
};

static sizes sizes_of(const wan_conv *c)
{
    const sizes s = { wan_conv_frames(c), (c->H + c->top + c->bottom - c->kh) / c->sh + 1,
                      (c->W + c->left + c->right - c->kw) / c->sw + 1 };
    return s;
}

static int by_rows(wan_dev *d, const wan_conv *c, wan_buf y, wan_buf x, wan_buf w, const float *b,
                   int add)
{
    CUDA_TYPES("conv_forward", y, x, w); /* fp16 stands beside fp16 or not at all */
    const sizes s = sizes_of(c);
    const int64_t P = s.To * s.Ho * s.Wo, K = (int64_t)c->kt * c->kh * c->kw * c->Ci;
    wan_dtype t = x.t == WAN_BF16 && w.t == WAN_BF16 ? WAN_BF16 : WAN_F32;
    int64_t size = t == WAN_BF16 ? 2 : 4, most = ROWS_BYTES / (K * size);
    int64_t step = most < 1 ? 1 : most < P ? most : P;
    size_t bytes = plain(c) ? 0 : ((size_t)(step * K * size) + 255) / 256 * 256;
    cuda_gemm g = { y, wan_buf_of(x.p, plain(c) ? x.t : t), w, b, step, c->Co, K, 0, 1, add };
    char *space = (char *)cuda_scratch(d, bytes + cuda_gemm_need(&g));
    if (!space)
        return -1;
    for (int64_t p = 0; p < P; p += step)
        WAN_TRY(part(d, c, y, wan_buf_of(space, t), x, w, b, add, s.Ho, s.Wo, p,
                     P - p < step ? P - p : step, space + bytes));
    return 0;
}

static int by_ourselves(wan_dev *d, const wan_conv *c, wan_buf y, wan_buf x, wan_buf w,
                        const float *b, int add)
{
    const int none = plain(c) && x.t != WAN_F16; /* a product of linear.cu, which has no fp16 */
    const int r = none ? 1 : cuda_conv_own(d, c, y, x, w, b, add);
    return r <= 0 ? r : by_rows(d, c, y, x, w, b, add);
}

static wan_buf past(wan_buf b, int64_t elements)
{
    return wan_buf_of((char *)b.p + elements * cuda_half_size(b), b.t);
}

/* Enlarged frames, through cuDNN: all at once, or some at a time where each stands alone.  Our own kernel takes
 * them as they are. */
static int enlarged(wan_dev *d, const wan_conv *c, wan_buf y, wan_buf x, wan_buf w, const float *b,
                    int add)
{
    const sizes s = sizes_of(c);
    const int64_t frame = c->H * c->W * c->Ci, fit = WIDE_BYTES / (2 * frame);
    const int alone = c->kt == 1 && c->st == 1 && !c->past;
    const int64_t step = fit >= c->T ? c->T : fit < 1 ? 1 : fit;
    if (x.t == WAN_F32 || c->Ci % 8 || (uintptr_t)x.p % 16 || (step < c->T && !alone))
        return by_ourselves(d, c, y, x, w, b, add);
    wan_conv some = *c;
    some.T = step, some.up = 0;
    const int has = cuda_conv_dnn_has(d, &some, y, x, w, b, add);
    if (has <= 0)
        return has < 0 ? -1 : by_ourselves(d, c, y, x, w, b, add);
    void *wide = wan_cuda_host->aside(d, (size_t)(2 * step * frame));
    if (!wide)
        return -1;
    for (int64_t t = 0, n; t < c->T; t += n) {
        n = c->T - t < step ? c->T - t : step;
        const int64_t units = n * frame / 32;
        const wan_buf from = past(x, t * frame / 4), to = past(y, t * s.Ho * s.Wo * c->Co);
        some.T = n, some.up = 0;
        WAN_TRY(cuda_launch(d, "conv_forward", enlarge_all, dim3(cuda_blocks(d, units, 256)), 256,
                            0, (uint4 *)wide, (const uint4 *)from.p, c->W / 2, c->Ci / 8, units));
        int r = cuda_conv_dnn(d, &some, to, wan_buf_of(wide, x.t), w, b, add);
        some.up = 1;
        if (r > 0)
            r = by_ourselves(d, &some, to, from, w, b, add);
        WAN_TRY(r);
    }
    return 0;
}

extern "C" int wan_conv_forward_cuda(wan_dev *d, const wan_conv *c, wan_buf y, wan_buf x, wan_buf w,
                                     const float *b, int add)
{
    CUDA_HALF_TYPES("conv_forward", y, x, w);
    const sizes s = sizes_of(c);
    if (c->T + c->past < c->kt || s.Ho < 1 || s.Wo < 1)
        return wan_cuda_host->err("conv_forward: input %lld x %lld x %lld is smaller than the taps",
                                  (long long)c->T, (long long)c->H, (long long)c->W);
    if (d->flags & WAN_DEV_OWN)
        return by_ourselves(d, c, y, x, w, b, add);
    if (c->up)
        return enlarged(d, c, y, x, w, b, add);
    const int r = plain(c) ? 1 : cuda_conv_dnn(d, c, y, x, w, b, add);
    return r <= 0 ? r : by_ourselves(d, c, y, x, w, b, add);
}
