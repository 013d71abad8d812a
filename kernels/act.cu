/* SPDX-License-Identifier: Apache-2.0
 *
 * act.cu - activations on CUDA, eight elements per thread and step.
 */
#include "kernels/act.cuh"
#include "kernels/vec.cuh"

/* ---- kernels; the formulas are those of act_math.h */

static __device__ inline float act_value(float z, int act)
{
    const float k = 0.79788456080286535588f, a = 0.044715f;
    switch (act) {
    case WAN_ACT_GELU_TANH: return z / 2 * (1 + tanhf(k * (z + a * z * z * z)));
    case WAN_ACT_GELU_ERF: return z / 2 * (1 + erff(z * 0.70710678118654752440f));
    case WAN_ACT_SILU: return z / (1 + expf(-z));
    default: return z;
    }
}

static __global__ void forward_all(vbuf y, vbuf x, int64_t n, int act)
{
    int64_t step = (int64_t)gridDim.x * blockDim.x * 8;
    for (int64_t i = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * 8; i < n; i += step) {
        float v[8];
        ld8(v, x, i, n - i);
        for (int j = 0; j < 8; j++)
            v[j] = act_value(v[j], act);
        st8(y, i, n - i, v);
    }
}

static __global__ void backward_all(vbuf dx, vbuf dy, vbuf x, int64_t n, int act)
{
    int64_t step = (int64_t)gridDim.x * blockDim.x * 8;
    for (int64_t i = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * 8; i < n; i += step) {
        float v[8], g[8];
        ld8(v, x, i, n - i);
        ld8(g, dy, i, n - i);
        for (int j = 0; j < 8; j++)
            g[j] *= act_slope(v[j], act);
        st8(dx, i, n - i, g);
    }
}

static __global__ void gated_all(vbuf y, vbuf a, vbuf b, int64_t n, int act)
{
    int64_t step = (int64_t)gridDim.x * blockDim.x * 8;
    for (int64_t i = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * 8; i < n; i += step) {
        float v[8], g[8];
        ld8(v, a, i, n - i);
        ld8(g, b, i, n - i);
        for (int j = 0; j < 8; j++)
            v[j] = act_value(v[j], act) * g[j];
        st8(y, i, n - i, v);
    }
}

/* ---- launchers */

extern "C" int wan_act_forward_cuda(wan_dev *d, wan_buf y, wan_buf x, int64_t n, enum wan_act act)
{
    CUDA_TYPES("act_forward", y, x);
    return cuda_launch(d, "act_forward", forward_all, dim3(cuda_blocks(d, n, 2048)), 256, 0,
                       vbuf_of(y, 0), vbuf_of(x, 0), n, (int)act);
}

extern "C" int wan_act_backward_cuda(wan_dev *d, wan_buf dx, wan_buf dy, wan_buf x, int64_t n,
                                     enum wan_act act)
{
    CUDA_TYPES("act_backward", dx, dy, x);
    return cuda_launch(d, "act_backward", backward_all, dim3(cuda_blocks(d, n, 2048)), 256, 0,
                       vbuf_of(dx, 0), vbuf_of(dy, 0), vbuf_of(x, 0), n, (int)act);
}

extern "C" int wan_act_gated_cuda(wan_dev *d, wan_buf y, wan_buf a, wan_buf b, int64_t n,
                                  enum wan_act act)
{
    CUDA_TYPES("act_gated", y, a, b);
    return cuda_launch(d, "act_gated", gated_all, dim3(cuda_blocks(d, n, 2048)), 256, 0,
                       vbuf_of(y, 0), vbuf_of(a, 0), vbuf_of(b, 0), n, (int)act);
}
