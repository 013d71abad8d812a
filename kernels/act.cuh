/* SPDX-License-Identifier: Apache-2.0
 *
 * act.cuh - slopes of the activations (act.h), for kernels that take them along.
 */
#ifndef WAN_KERNELS_ACT_CUH
#define WAN_KERNELS_ACT_CUH

#include "kernels/cuda_util.cuh"

/* d act / d z (wan-model(7), Backward) */
static __device__ inline float act_slope(float z, int act)
{
    const float k = 0.79788456080286535588f, a = 0.044715f;
    float t;
    switch (act) {
    case WAN_ACT_GELU_TANH:
        t = tanhf(k * (z + a * z * z * z));
        return (1 + t) / 2 + z / 2 * (1 - t * t) * k * (1 + 3 * a * z * z);
    case WAN_ACT_GELU_ERF:
        return (1 + erff(z * 0.70710678118654752440f)) / 2 +
               z * 0.39894228040143267794f * expf(-z * z / 2);
    case WAN_ACT_SILU: t = 1 / (1 + expf(-z)); return t * (1 + z * (1 - t));
    default: return 1;
    }
}

#endif
