/* SPDX-License-Identifier: Apache-2.0
 *
 * half.cuh - operands of the VAE's ops: what vec.cuh has, or fp16.
 */
#ifndef WAN_KERNELS_HALF_CUH
#define WAN_KERNELS_HALF_CUH

#include <cuda_fp16.h>

#include "kernels/vec.cuh"

struct hbuf {
    vbuf b;
    int f16; /* else as b says */
};

static inline hbuf hbuf_of(wan_buf b, int64_t row)
{
    hbuf h = { vbuf_of(b, row), b.t == WAN_F16 };
    return h;
}

static __device__ inline float f16_value(uint32_t u)
{
    return __half2float(__ushort_as_half((unsigned short)u));
}

static __device__ inline uint32_t f16_bits(float f)
{
    return __half_as_ushort(__float2half_rn(f));
}

static __device__ inline float ld1(hbuf h, int64_t i)
{
    return h.f16 ? f16_value(((const uint16_t *)h.b.p)[i]) : ld1(h.b, i);
}

static __device__ inline void st1(hbuf h, int64_t i, float v)
{
    if (h.f16)
        ((uint16_t *)h.b.p)[i] = (uint16_t)f16_bits(v);
    else
        st1(h.b, i, v);
}

/* As those of vec.cuh. */
static __device__ inline void ld8(float v[8], hbuf h, int64_t i, int64_t n)
{
    if (!h.f16) {
        ld8(v, h.b, i, n);
    } else if (h.b.vec && n >= 8) {
        const uint4 u = *(const uint4 *)((const uint16_t *)h.b.p + i);
        v[0] = f16_value(u.x), v[1] = f16_value(u.x >> 16), v[2] = f16_value(u.y);
        v[3] = f16_value(u.y >> 16), v[4] = f16_value(u.z), v[5] = f16_value(u.z >> 16);
        v[6] = f16_value(u.w), v[7] = f16_value(u.w >> 16);
    } else {
        for (int j = 0; j < 8; j++)
            v[j] = j < n ? ld1(h, i + j) : 0;
    }
}

static __device__ inline void st8(hbuf h, int64_t i, int64_t n, const float v[8])
{
    if (!h.f16) {
        st8(h.b, i, n, v);
    } else if (h.b.vec && n >= 8) {
        uint4 u;
        u.x = f16_bits(v[0]) | f16_bits(v[1]) << 16;
        u.y = f16_bits(v[2]) | f16_bits(v[3]) << 16;
        u.z = f16_bits(v[4]) | f16_bits(v[5]) << 16;
        u.w = f16_bits(v[6]) | f16_bits(v[7]) << 16;
        st16((uint16_t *)h.b.p + i, u);
    } else {
        for (int j = 0; j < 8; j++)
            if (j < n)
                st1(h, i + j, v[j]);
    }
}

/* -1 when an operand is none of them. */
static inline int cuda_half_types(const char *op, const wan_buf *b, int n)
{
    for (int i = 0; i < n; i++)
        if (b[i].t != WAN_F32 && b[i].t != WAN_BF16 && b[i].t != WAN_F16)
            return wan_cuda_host->err("%s: operand of element type %d on CUDA", op, (int)b[i].t);
    return 0;
}
#define CUDA_HALF_TYPES(op, ...)                                                                   \
    do {                                                                                           \
        const wan_buf types_[] = { __VA_ARGS__ };                                                  \
        WAN_TRY(cuda_half_types(op, types_, (int)(sizeof types_ / sizeof *types_)));               \
    } while (0)

static inline int64_t cuda_half_size(wan_buf b)
{
    return b.t == WAN_F32 ? 4 : 2;
}

/* y [n] = x [n], one of them fp16 (vaeop.cu). */
int cuda_half_cast(wan_dev *d, wan_buf y, wan_buf x, int64_t n);

#endif
