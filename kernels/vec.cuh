/* SPDX-License-Identifier: Apache-2.0
 *
 * vec.cuh - reading and writing eight elements of either operand type, 16 bytes at a time where
 * the operand allows it.  The type is a run-time value (the branch is the same for a whole grid),
 * so no kernel is compiled once per type.
 */
#ifndef WAN_KERNELS_VEC_CUH
#define WAN_KERNELS_VEC_CUH

#include <cuda_bf16.h>

#include "kernels/cuda_util.cuh"

struct vbuf {
    void *p;
    int bf16; /* else float */
    int vec;  /* element offsets that are multiples of 8 are 16-byte aligned */
};

/* An operand whose rows are `row` elements apart. */
static inline vbuf vbuf_of(wan_buf b, int64_t row)
{
    vbuf v = { b.p, b.t == WAN_BF16, (uintptr_t)b.p % 16 == 0 && row % 8 == 0 };
    return v;
}

static inline vbuf vbuf_f32(const float *p, int64_t row)
{
    return vbuf_of(wan_buf_of((void *)p, WAN_F32), row);
}

static __device__ inline float bf16_low(uint32_t u)
{
    return __uint_as_float(u << 16);
}

static __device__ inline float bf16_high(uint32_t u)
{
    return __uint_as_float(u & 0xffff0000u);
}

static __device__ inline uint32_t bf16_bits(float f)
{
    return __bfloat16_as_ushort(__float2bfloat16_rn(f));
}

static __device__ inline float ld1(vbuf b, int64_t i)
{
    return b.bf16 ? bf16_low(((const uint16_t *)b.p)[i]) : ((const float *)b.p)[i];
}

static __device__ inline void st1(vbuf b, int64_t i, float v)
{
    if (b.bf16)
        ((uint16_t *)b.p)[i] = (uint16_t)bf16_bits(v);
    else
        ((float *)b.p)[i] = v;
}

/* One store of 16 bytes, whatever the compiler has in mind with what leads to it. */
static __device__ inline void st16(void *p, uint4 u)
{
#ifdef __CUDA_ARCH__
    asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(p)),
                 "r"(u.x), "r"(u.y), "r"(u.z), "r"(u.w)
                 : "memory");
#else
    *(uint4 *)p = u;
#endif
}

static __device__ inline uint4 bits4(const float v[4])
{
    uint4 u;
    memcpy(&u, v, sizeof u);
    return u;
}

/* v = elements i .. i+n-1 (n <= 8), the rest 0 */
static __device__ inline void ld8(float v[8], vbuf b, int64_t i, int64_t n)
{
    if (b.vec && n >= 8 && b.bf16) {
        uint4 u = *(const uint4 *)((const uint16_t *)b.p + i);
        v[0] = bf16_low(u.x), v[1] = bf16_high(u.x), v[2] = bf16_low(u.y), v[3] = bf16_high(u.y);
        v[4] = bf16_low(u.z), v[5] = bf16_high(u.z), v[6] = bf16_low(u.w), v[7] = bf16_high(u.w);
    } else if (b.vec && n >= 8) {
        float4 a = *(const float4 *)((const float *)b.p + i);
        float4 c = *(const float4 *)((const float *)b.p + i + 4);
        v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w;
        v[4] = c.x, v[5] = c.y, v[6] = c.z, v[7] = c.w;
    } else {
        for (int j = 0; j < 8; j++)
            v[j] = j < n ? ld1(b, i + j) : 0;
    }
}

static __device__ inline void st8(vbuf b, int64_t i, int64_t n, const float v[8])
{
    if (b.vec && n >= 8 && b.bf16) {
        uint4 u;
        u.x = bf16_bits(v[0]) | bf16_bits(v[1]) << 16;
        u.y = bf16_bits(v[2]) | bf16_bits(v[3]) << 16;
        u.z = bf16_bits(v[4]) | bf16_bits(v[5]) << 16;
        u.w = bf16_bits(v[6]) | bf16_bits(v[7]) << 16;
        st16((uint16_t *)b.p + i, u);
    } else if (b.vec && n >= 8) {
        st16((float *)b.p + i, bits4(v));
        st16((float *)b.p + i + 4, bits4(v + 4));
    } else {
        for (int j = 0; j < 8; j++)
            if (j < n)
                st1(b, i + j, v[j]);
    }
}

/* Threads for a row of D elements, eight to a thread: 32 .. ROW_THREADS; rows of 5120 are held by one block. */
enum { ROW_THREADS = 640 };
static inline int row_threads(int64_t D)
{
    int64_t t = (D + 255) / 256 * 32;
    return (int)(t > ROW_THREADS ? ROW_THREADS : t);
}

#endif
