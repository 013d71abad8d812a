/* SPDX-License-Identifier: Apache-2.0
 *
 * vaeop.cu - the small ops of the video VAE on CUDA, channels last.
 */
#include "kernels/half.cuh"
#include "kernels/reduce.cuh"

/* ---- kernels */

static __device__ inline int64_t thread_index(void)
{
    return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
}

static __device__ inline float norm_scale(float sum, int64_t C)
{
    const float len = sqrtf(sum);
    return sqrtf((float)C) / (len > 1e-12f ? len : 1e-12f);
}

static __device__ inline void norm_eight(float v[8], const float g[8], float r, int silu)
{
    CUDA_UNROLL
    for (int j = 0; j < 8; j++) {
        const float z = v[j] * r * g[j];
        v[j] = silu ? z / (1 + expf(-z)) : z;
    }
}

/* LANES threads for a position of up to 8 LANES KEEP channels, which they keep: read once. */
template <int LANES, int KEEP>
static __global__ void norm_kept(hbuf y, hbuf x, vbuf gamma, int64_t P, int64_t C, int silu)
{
    const int lane = threadIdx.x % LANES;
    const int64_t p = (int64_t)blockIdx.x * (blockDim.x / LANES) + threadIdx.x / LANES;
    float v[KEEP][8], g[8], sum = 0;
    CUDA_UNROLL
    for (int k = 0; k < KEEP; k++) {
        const int64_t c = (k * LANES + lane) * 8;
        ld8(v[k], x, p * C + c, p < P ? C - c : 0);
        CUDA_UNROLL
        for (int j = 0; j < 8; j++)
            sum += v[k][j] * v[k][j];
    }
    for (int i = LANES / 2; i; i /= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, i);
    const float r = norm_scale(sum, C);
    CUDA_UNROLL
    for (int k = 0; k < KEEP; k++) {
        const int64_t c = (k * LANES + lane) * 8, n = p < P ? C - c : 0;
        ld8(g, gamma, c, n);
        norm_eight(v[k], g, r, silu);
        st8(y, p * C + c, n, v[k]);
    }
}

/* Any number of channels: one warp per position, which reads it twice. */
static __global__ void norm_row(hbuf y, hbuf x, vbuf gamma, int64_t P, int64_t C, int silu)
{
    int lane = threadIdx.x % 32;
    int64_t p = (int64_t)blockIdx.x * 8 + threadIdx.x / 32, row = p * C;
    if (p >= P)
        return;
    float v[8], g[8], sum = 0;
    for (int64_t c = lane * 8; c < C; c += 256) {
        ld8(v, x, row + c, C - c);
        for (int j = 0; j < 8; j++)
            sum += v[j] * v[j];
    }
    const float r = norm_scale(warp_sum(sum), C);
    for (int64_t c = lane * 8; c < C; c += 256) {
        ld8(v, x, row + c, C - c);
        ld8(g, gamma, c, C - c);
        norm_eight(v, g, r, silu);
        st8(y, row + c, C - c, v);
    }
}

/* x [T, P, 2C] -> y [2T, P, C], in groups of eight channels */
static __global__ void interleave_all(hbuf y, hbuf x, int64_t n, int64_t P, int64_t C)
{
    int64_t per = (C + 7) / 8, k = thread_index(), c = k % per * 8, p = k / per % P,
            f = k / (per * P);
    float v[8];
    if (k >= n)
        return;
    ld8(v, x, (f / 2 * P + p) * 2 * C + f % 2 * C + c, C - c);
    st8(y, k / per * C + c, C - c, v);
}

/* Bytes i .. i+m-1 (m <= 8), eight at a time where they are all there and `wide`. */
static __device__ inline uint64_t ld_bytes(const uint8_t *p, int64_t i, int64_t m, int wide)
{
    uint64_t u = 0;
    if (wide && m >= 8)
        return *(const uint64_t *)(p + i);
    for (int j = 0; j < 8; j++)
        if (j < m)
            u |= (uint64_t)p[i + j] << 8 * j;
    return u;
}

static __global__ void from_rgb_all(hbuf y, const uint8_t *rgb, int64_t n, int wide)
{
    int64_t i = thread_index() * 8;
    float v[8];
    if (i >= n)
        return;
    uint64_t u = ld_bytes(rgb, i, n - i, wide);
    for (int j = 0; j < 8; j++)
        v[j] = (float)(u >> 8 * j & 255) / 255 * 2 - 1;
    st8(y, i, n - i, v);
}

static __global__ void to_rgb_all(uint8_t *rgb, hbuf x, int64_t n, int wide)
{
    int64_t i = thread_index() * 8;
    float v[8];
    uint64_t u = 0;
    if (i >= n)
        return;
    ld8(v, x, i, n - i);
    for (int j = 0; j < 8; j++) {
        float z = v[j] < -1 ? -1 : v[j] > 1 ? 1 : v[j];
        u |= (uint64_t)(uint8_t)((z + 1) / 2 * 255) << 8 * j;
    }
    if (wide && n - i >= 8)
        *(uint64_t *)(rgb + i) = u;
    else
        for (int j = 0; j < 8; j++)
            if (j < n - i)
                rgb[i + j] = (uint8_t)(u >> 8 * j);
}

/* x [T, P, C] -> y [C, T, P], or with back the inverse; y = x*a[c] + b[c] */
static __global__ void transpose_all(hbuf y, hbuf x, const float *a, const float *b, int64_t n,
                                     int64_t T, int64_t P, int64_t C, int back)
{
    int64_t k = thread_index();
    if (k >= n)
        return;
    int64_t c = back ? k % C : k / (T * P), s = back ? k / C : k % (T * P);
    float v = ld1(x, back ? c * T * P + s : s * C + c);
    st1(y, k, v * (a ? a[c] : 1) + (b ? b[c] : 0));
}

/* y = x, eight elements to a thread */
static __global__ void cast_half(hbuf y, hbuf x, int64_t n)
{
    const int64_t i = thread_index() * 8;
    float v[8];
    if (i >= n)
        return;
    ld8(v, x, i, n - i);
    st8(y, i, n - i, v);
}

/* ---- launchers */

static dim3 blocks(int64_t n)
{
    return dim3((unsigned)cuda_div(n, 256));
}

extern "C" int wan_vae_norm_cuda(wan_dev *d, wan_buf y, wan_buf x, const float *gamma, int64_t P,
                                 int64_t C, enum wan_act act)
{
    CUDA_HALF_TYPES("vae_norm", y, x);
    if (act != WAN_ACT_NONE && act != WAN_ACT_SILU)
        return wan_cuda_host->err("vae_norm: activation %d", (int)act);
    void (*const kernel)(hbuf, hbuf, vbuf, int64_t, int64_t, int) = C <= 128   ? norm_kept<16, 1>
                                                                    : C <= 256 ? norm_kept<32, 1>
                                                                    : C <= 512 ? norm_kept<32, 2>
                                                                               : norm_row;
    return cuda_launch(d, "vae_norm", kernel, dim3((unsigned)cuda_div(P, C <= 128 ? 16 : 8)), 256,
                       0, hbuf_of(y, C), hbuf_of(x, C), vbuf_f32(gamma, 0), P, C,
                       (int)(act == WAN_ACT_SILU));
}

extern "C" int wan_vae_interleave_cuda(wan_dev *d, wan_buf y, wan_buf x, int64_t T, int64_t P,
                                       int64_t C)
{
    CUDA_HALF_TYPES("vae_interleave", y, x);
    int64_t n = 2 * T * P * ((C + 7) / 8);
    return cuda_launch(d, "vae_interleave", interleave_all, blocks(n), 256, 0, hbuf_of(y, C),
                       hbuf_of(x, C), n, P, C);
}

extern "C" int wan_vae_from_rgb_cuda(wan_dev *d, wan_buf y, const uint8_t *rgb, int64_t P)
{
    CUDA_HALF_TYPES("vae_from_rgb", y);
    return cuda_launch(d, "vae_from_rgb", from_rgb_all, blocks(cuda_div(P * 3, 8)), 256, 0,
                       hbuf_of(y, 0), rgb, P * 3, (uintptr_t)rgb % 8 == 0);
}

extern "C" int wan_vae_to_rgb_cuda(wan_dev *d, uint8_t *rgb, wan_buf x, int64_t P)
{
    CUDA_HALF_TYPES("vae_to_rgb", x);
    return cuda_launch(d, "vae_to_rgb", to_rgb_all, blocks(cuda_div(P * 3, 8)), 256, 0, rgb,
                       hbuf_of(x, 0), P * 3, (uintptr_t)rgb % 8 == 0);
}

extern "C" int wan_vae_to_cfirst_cuda(wan_dev *d, float *y, wan_buf x, const float *a,
                                      const float *b, int64_t T, int64_t P, int64_t C)
{
    CUDA_HALF_TYPES("vae_to_cfirst", x);
    return cuda_launch(d, "vae_to_cfirst", transpose_all, blocks(T * P * C), 256, 0,
                       hbuf_of(wan_buf_of(y, WAN_F32), 0), hbuf_of(x, 0), a, b, T * P * C, T, P, C,
                       0);
}

extern "C" int wan_vae_to_clast_cuda(wan_dev *d, wan_buf y, const float *x, const float *a,
                                     const float *b, int64_t T, int64_t P, int64_t C)
{
    CUDA_HALF_TYPES("vae_to_clast", y);
    return cuda_launch(d, "vae_to_clast", transpose_all, blocks(T * P * C), 256, 0, hbuf_of(y, 0),
                       hbuf_of(wan_buf_of((void *)x, WAN_F32), 0), a, b, T * P * C, T, P, C, 1);
}

int cuda_half_cast(wan_dev *d, wan_buf y, wan_buf x, int64_t n)
{
    CUDA_HALF_TYPES("cast", y, x);
    return cuda_launch(d, "cast", cast_half, blocks(cuda_div(n, 8)), 256, 0, hbuf_of(y, 0),
                       hbuf_of(x, 0), n);
}
