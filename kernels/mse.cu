/* SPDX-License-Identifier: Apache-2.0
 *
 * mse.cu - the loss of a regression on rows, on CUDA.
 */
#include "kernels/reduce.cuh"

/* ---- kernels */

/* sums[s] = squared error of token s; dpred when dpred.p is not NULL */
static __global__ void loss_row(double *sums, vbuf dpred, vbuf pred, vbuf target, const float *coef,
                                const int32_t *seg, int64_t F)
{
    int64_t s = blockIdx.x, row = s * F;
    float p[8], v[8], k = dpred.p ? coef[seg[s]] : 0;
    double sum = 0;
    for (int64_t c = threadIdx.x * 8; c < F; c += blockDim.x * 8) {
        ld8(p, pred, row + c, F - c);
        ld8(v, target, row + c, F - c);
        for (int j = 0; j < 8; j++) {
            float x = p[j] - v[j];
            sum += (double)x * (double)x;
            p[j] = 2 * k * x;
        }
        if (dpred.p)
            st8(dpred, row + c, F - c, p);
    }
    block_sum<1>(&sum, (double *)cuda_shared);
    if (threadIdx.x == 0)
        sums[s] = sum;
}

/* The mean of sample blockIdx.x. */
static __global__ void loss_mean(float *loss, const double *sums, const int32_t *cu, int64_t F)
{
    int64_t a = cu[blockIdx.x], b = cu[blockIdx.x + 1];
    double sum = 0;
    for (int64_t s = a + threadIdx.x; s < b; s += blockDim.x)
        sum += sums[s];
    block_sum<1>(&sum, (double *)cuda_shared);
    if (threadIdx.x == 0)
        loss[blockIdx.x] = a < b ? (float)(sum / ((double)(b - a) * (double)F)) : 0;
}

/* ---- launchers */

extern "C" int wan_mse_loss_cuda(wan_dev *d, float *loss, wan_buf dpred, const float *pred,
                                 const float *target, const float *coef, const wan_pack *pack,
                                 int64_t F)
{
    if (dpred.p)
        CUDA_TYPES("mse_loss", dpred);
    double *sums = (double *)cuda_scratch(d, (size_t)pack->S * sizeof(double));
    if (!sums)
        return -1;
    WAN_TRY(cuda_launch(d, "mse_loss", loss_row, dim3((unsigned)pack->S), row_threads(F),
                        32 * sizeof(double), sums, vbuf_of(dpred, F), vbuf_f32(pred, F),
                        vbuf_f32(target, F), coef, pack->seg, F));
    return cuda_launch(d, "mse_loss", loss_mean, dim3((unsigned)pack->n), 256, 32 * sizeof(double),
                       loss, sums, pack->cu, F);
}
