/* SPDX-License-Identifier: Apache-2.0
 *
 * flowloss.cu - flow-matching noise and loss on CUDA.
 */
#include "kernels/reduce.cuh"

/* ---- kernels */

static __global__ void noise_row(vbuf xt, vbuf x0, vbuf eps, const float *sigma, const int32_t *seg,
                                 int64_t F)
{
    int64_t s = blockIdx.x, row = s * F;
    float a[8], e[8], g = sigma[seg[s]];
    for (int64_t c = threadIdx.x * 8; c < F; c += blockDim.x * 8) {
        ld8(a, x0, row + c, F - c);
        ld8(e, eps, row + c, F - c);
        for (int j = 0; j < 8; j++)
            a[j] = (1 - g) * a[j] + g * e[j];
        st8(xt, row + c, F - c, a);
    }
}

/* sums[s] = squared error of token s; dpred when dpred.p is not NULL */
static __global__ void loss_row(double *sums, vbuf dpred, vbuf pred, vbuf x0, vbuf eps,
                                const float *coef, const int32_t *seg, int64_t F)
{
    int64_t s = blockIdx.x, row = s * F;
    float p[8], a[8], e[8], k = dpred.p ? coef[seg[s]] : 0;
    double sum = 0;
    for (int64_t c = threadIdx.x * 8; c < F; c += blockDim.x * 8) {
        ld8(p, pred, row + c, F - c);
        ld8(a, x0, row + c, F - c);
        ld8(e, eps, row + c, F - c);
        for (int j = 0; j < 8; j++) {
            float x = p[j] - (e[j] - a[j]);
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
        loss[blockIdx.x] = (float)(sum / ((double)(b - a) * (double)F));
}

/* ---- launchers */

extern "C" int wan_flow_noise_cuda(wan_dev *d, wan_buf xt, const float *x0, const float *eps,
                                   const float *sigma, const wan_pack *pack, int64_t F)
{
    CUDA_TYPES("flow_noise", xt);
    return cuda_launch(d, "flow_noise", noise_row, dim3((unsigned)pack->S), row_threads(F), 0,
                       vbuf_of(xt, F), vbuf_f32(x0, F), vbuf_f32(eps, F), sigma, pack->seg, F);
}

extern "C" int wan_flow_loss_cuda(wan_dev *d, float *loss, wan_buf dpred, const float *pred,
                                  const float *x0, const float *eps, const float *coef,
                                  const wan_pack *pack, int64_t F)
{
    if (dpred.p)
        CUDA_TYPES("flow_loss", dpred);
    double *sums = (double *)cuda_scratch(d, (size_t)pack->S * sizeof(double));
    if (!sums)
        return -1;
    WAN_TRY(cuda_launch(d, "flow_loss", loss_row, dim3((unsigned)pack->S), row_threads(F),
                        32 * sizeof(double), sums, vbuf_of(dpred, F), vbuf_f32(pred, F),
                        vbuf_f32(x0, F), vbuf_f32(eps, F), coef, pack->seg, F));
    return cuda_launch(d, "flow_loss", loss_mean, dim3((unsigned)pack->n), 256, 32 * sizeof(double),
                       loss, sums, pack->cu, F);
}
