/* SPDX-License-Identifier: Apache-2.0
 *
 * noise.cu - noise and patches of a latent on CUDA.
 */
#include "kernels/philox.cuh"
#include "kernels/vec.cuh"

/* ---- kernels */

struct noise_args {
    int C, T, h, w;
    float in[2], target[2];
    int in_order, target_order;
};

static __device__ inline int64_t feature(int c, int p, int C, int order)
{
    return order == WAN_PATCH_CHW ? 4 * c + p : p * C + c;
}

/* One thread takes four elements of the latent, as many as a block of random numbers has. */
static __global__ void noise_all(noise_args a, vbuf rows, float *target, const float *x0,
                                 const float *eps, wan_rng r)
{
    uint64_t b = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
    int64_t plane = (int64_t)a.h * a.w, n = (int64_t)a.C * a.T * plane;
    float z[4];
    if ((int64_t)(4 * b) >= n)
        return;
    if (!eps)
        normal4(z, r, b);
    for (int j = 0; j < 4; j++) {
        int64_t i = (int64_t)(4 * b) + j, f = i / plane, at = i % plane;
        if (i >= n)
            return;
        int x = (int)(at % a.w), y = (int)(at / a.w), c = (int)(f / a.T), t = (int)(f % a.T);
        int p = y % 2 * 2 + x % 2;
        int64_t s = ((int64_t)t * (a.h / 2) + y / 2) * (a.w / 2) + x / 2, F = 4 * (int64_t)a.C;
        float v = x0[i], e = eps ? eps[i] : z[j];
        st1(rows, s * F + feature(c, p, a.C, a.in_order), a.in[0] * v + a.in[1] * e);
        if (target)
            target[s * F + feature(c, p, a.C, a.target_order)] = a.target[0] * v + a.target[1] * e;
    }
}

/* ---- launchers */

extern "C" int wan_noise_patch_cuda(wan_dev *d, const wan_noise *a, wan_buf rows, float *target,
                                    const float *x0, const float *eps, const wan_rng *stream)
{
    wan_rng none = {};
    CUDA_TYPES("noise_patch", rows);
    if (a->h % 2 || a->w % 2)
        return wan_cuda_host->err("noise_patch: latent %lld x %lld is not even", (long long)a->h,
                                  (long long)a->w);
    noise_args g = { (int)a->C,
                     (int)a->T,
                     (int)a->h,
                     (int)a->w,
                     { (float)a->in[0], (float)a->in[1] },
                     { (float)a->target[0], (float)a->target[1] },
                     (int)a->in_order,
                     (int)a->target_order };
    int64_t blocks = cuda_div(cuda_div(a->C * a->T * a->h * a->w, 4), 256);
    return cuda_launch(d, "noise_patch", noise_all, dim3((unsigned)blocks), 256, 0, g,
                       vbuf_of(rows, 0), target, x0, eps, eps ? none : *stream);
}
