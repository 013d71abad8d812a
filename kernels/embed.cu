/* SPDX-License-Identifier: Apache-2.0
 *
 * embed.cu - timestep sinusoid, modulation rows, rows of a table and patches on CUDA.
 */
#include "kernels/vec.cuh"

/* ---- kernels */

static __device__ inline int64_t thread_index(void)
{
    return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
}

static __global__ void sinusoid_all(float *y, const float *t, int64_t n, int64_t h)
{
    int64_t k = thread_index(), i = k / h, j = k % h;
    if (i >= n)
        return;
    double a = (double)t[i] * pow(10000.0, -(double)j / (double)h);
    y[i * 2 * h + j] = (float)cos(a);
    y[i * 2 * h + h + j] = (float)sin(a);
}

static __global__ void modulation_out(float *out, const float *table, const float *e, int64_t n,
                                      int64_t R, int64_t D, int64_t e_rows)
{
    int64_t k = thread_index(), j = k % D, r = k / D % R, i = k / (D * R);
    if (i < n)
        out[k] = table[r * D + j] + e[(i * e_rows + (e_rows == 1 ? 0 : r)) * D + j];
}

/* One thread per element of the table: samples are added in order. */
static __global__ void modulation_dtable(float *dtable, const float *dout, int64_t n, int64_t RD)
{
    int64_t k = thread_index();
    if (k >= RD)
        return;
    float v = dtable[k];
    for (int64_t i = 0; i < n; i++)
        v += dout[i * RD + k];
    dtable[k] = v;
}

/* One thread per element of e; with one row per sample the R rows are added in order. */
static __global__ void modulation_de(float *de, const float *dout, int64_t n, int64_t R, int64_t D,
                                     int64_t e_rows)
{
    int64_t k = thread_index(), i = k / (e_rows * D), c = k % (e_rows * D);
    if (i >= n)
        return;
    float v = de[k];
    for (int64_t r = 0; r < R / e_rows; r++)
        v += dout[i * R * D + r * D + c];
    de[k] = v;
}

static __global__ void gather_add(float *y, const float *table, const int32_t *id, int64_t S,
                                  int64_t D)
{
    int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x;
    if (i < S * D)
        y[i] += table[id[i / D] * D + i % D];
}

/* One thread per element of the rows; to: latent -> rows, else rows -> latent. */
static __global__ void patch_all(vbuf rows, float *latent, int64_t C, int64_t T, int64_t h,
                                 int64_t w, int order, int to)
{
    int64_t k = thread_index(), F = 4 * C, s = k / F, f = k % F, gw = w / 2, gh = h / 2;
    if (s >= T * gh * gw)
        return;
    int64_t c = order == WAN_PATCH_CHW ? f / 4 : f % C, p = order == WAN_PATCH_CHW ? f % 4 : f / C;
    int64_t x = s % gw, y = s / gw % gh, t = s / (gw * gh);
    float *v = latent + ((c * T + t) * h + 2 * y + p / 2) * w + 2 * x + p % 2;
    if (to)
        st1(rows, k, *v);
    else
        *v = ld1(rows, k);
}

/* ---- launchers */

static dim3 blocks(int64_t n)
{
    return dim3((unsigned)cuda_div(n, 256));
}

extern "C" int wan_sinusoid_cuda(wan_dev *d, float *y, const float *t, int64_t n, int64_t dim)
{
    if (dim < 2 || dim % 2)
        return wan_cuda_host->err("sinusoid: width %lld is not even", (long long)dim);
    return cuda_launch(d, "sinusoid", sinusoid_all, blocks(n * dim / 2), 256, 0, y, t, n, dim / 2);
}

extern "C" int wan_modulation_forward_cuda(wan_dev *d, float *out, const float *table,
                                           const float *e, int64_t n, int64_t R, int64_t D,
                                           int64_t e_rows)
{
    return cuda_launch(d, "modulation_forward", modulation_out, blocks(n * R * D), 256, 0, out,
                       table, e, n, R, D, e_rows);
}

extern "C" int wan_modulation_backward_cuda(wan_dev *d, float *dtable, float *de, const float *dout,
                                            int64_t n, int64_t R, int64_t D, int64_t e_rows)
{
    WAN_TRY(cuda_launch(d, "modulation_backward", modulation_dtable, blocks(R * D), 256, 0, dtable,
                        dout, n, R * D));
    return cuda_launch(d, "modulation_backward", modulation_de, blocks(n * e_rows * D), 256, 0, de,
                       dout, n, R, D, e_rows);
}

extern "C" int wan_gather_add_cuda(wan_dev *d, float *y, const float *table, const int32_t *id,
                                   int64_t S, int64_t D)
{
    return cuda_launch(d, "gather_add", gather_add, blocks(S * D), 256, 0, y, table, id, S, D);
}

static int patches(wan_dev *d, const char *op, wan_buf rows, float *latent, int64_t C, int64_t T,
                   int64_t h, int64_t w, enum wan_patch_order order, int to)
{
    CUDA_TYPES(op, rows);
    if (h % 2 || w % 2)
        return wan_cuda_host->err("%s: latent %lld x %lld is not even", op, (long long)h,
                                  (long long)w);
    return cuda_launch(d, op, patch_all, blocks(T * h * w * C), 256, 0, vbuf_of(rows, 4 * C),
                       latent, C, T, h, w, (int)order, to);
}

extern "C" int wan_patchify_cuda(wan_dev *d, wan_buf rows, const float *latent, int64_t C,
                                 int64_t T, int64_t h, int64_t w, enum wan_patch_order order)
{
    return patches(d, "patchify", rows, (float *)latent, C, T, h, w, order, 1);
}

extern "C" int wan_unpatchify_cuda(wan_dev *d, float *latent, wan_buf rows, int64_t C, int64_t T,
                                   int64_t h, int64_t w, enum wan_patch_order order)
{
    return patches(d, "unpatchify", rows, latent, C, T, h, w, order, 0);
}
