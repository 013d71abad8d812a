/* SPDX-License-Identifier: Apache-2.0
 *
 * conv.cu - convolution on CUDA: by cuDNN, and where that has no engine (fp32, channels in odd numbers, enlarged)
 * the taps of a run of output positions are laid out as rows, which go through the matrix product of
 * linear.cu.
 */
#include "kernels/conv_cudnn.cuh"
#include "kernels/gemm.cuh"
#include "kernels/vec.cuh"

enum : int64_t { ROWS_BYTES = (int64_t)256 << 20 }; /* most memory for laid-out rows */

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

extern "C" int wan_conv_forward_cuda(wan_dev *d, const wan_conv *c, wan_buf y, wan_buf x, wan_buf w,
                                     const float *b, int add)
{
    CUDA_TYPES("conv_forward", y, x, w);
    int64_t To = wan_conv_frames(c), Ho = (c->H + c->top + c->bottom - c->kh) / c->sh + 1;
    int64_t Wo = (c->W + c->left + c->right - c->kw) / c->sw + 1, P = To * Ho * Wo;
    int64_t K = (int64_t)c->kt * c->kh * c->kw * c->Ci;
    if (c->T + c->past < c->kt || Ho < 1 || Wo < 1)
        return wan_cuda_host->err("conv_forward: input %lld x %lld x %lld is smaller than the taps",
                                  (long long)c->T, (long long)c->H, (long long)c->W);
    int r = plain(c) || c->up ? 1 : cuda_conv_dnn(d, c, y, x, w, b, add);
    if (r <= 0)
        return r;
    wan_dtype t = x.t == WAN_BF16 && w.t == WAN_BF16 ? WAN_BF16 : WAN_F32;
    int64_t size = t == WAN_BF16 ? 2 : 4, most = ROWS_BYTES / (K * size);
    int64_t step = most < 1 ? 1 : most < P ? most : P;
    size_t bytes = plain(c) ? 0 : ((size_t)(step * K * size) + 255) / 256 * 256;
    cuda_gemm g = { y, wan_buf_of(x.p, plain(c) ? x.t : t), w, b, step, c->Co, K, 0, 1, add };
    char *space = (char *)cuda_scratch(d, bytes + cuda_gemm_need(&g));
    if (!space)
        return -1;
    for (int64_t p = 0; p < P; p += step)
        WAN_TRY(part(d, c, y, wan_buf_of(space, t), x, w, b, add, Ho, Wo, p,
                     P - p < step ? P - p : step, space + bytes));
    return 0;
}
