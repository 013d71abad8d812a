/* SPDX-License-Identifier: Apache-2.0
 *
 * tensor.cuh - instructions of compute capability 8.0 around its tensor cores (PTX ISA 8: mma.m16n8k16,
 * ldmatrix, cp.async), and where they lie in shared memory.
 *
 * Fragments, with g = lane / 4 and t = 2 (lane % 4); a register holds two bf16, the lower column (row of
 * b) in its lower half:
 *   a [16 x 16]  a0 (g, t)  a1 (g + 8, t)  a2 (g, t + 8)  a3 (g + 8, t + 8)
 *   b [16 x 8]   b0 (t, g)  b1 (t + 8, g)
 *   d [16 x 8]   d0 d1 (g, t) and (g, t + 1)   d2 d3 (g + 8, t) and (g + 8, t + 1)
 * so two neighbouring d are an a of the next product.
 */
#ifndef WAN_KERNELS_TENSOR_CUH
#define WAN_KERNELS_TENSOR_CUH

#include "kernels/vec.cuh"

/* Tiles of bf16 in shared memory: columns by 64, which are 128 bytes of a row; the eight chunks of 16 bytes of a
 * row change places with its number, so that a column of chunks lies in all banks (wgmma's 128-byte swizzle). */
template <int ROWS> static __device__ inline int tile_place(int row, int chunk)
{
    return chunk / 8 * (ROWS * 128) + row * 128 + ((chunk % 8) ^ (row % 8)) * 16;
}

#ifdef __CUDACC__
static __device__ inline unsigned shared_at(const void *p)
{
    return (unsigned)__cvta_generic_to_shared(p);
}

/* Four 8 x 8 tiles of bf16, rows of tile i at the addresses of lanes 8 i ..: r[i] as a (or transposed b). */
static __device__ inline void ldmatrix4(uint32_t r[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_at(row)));
}

static __device__ inline void ldmatrix4_trans(uint32_t r[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_at(row)));
}

/* d += a b */
static __device__ inline void mma_16816(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
        "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* The same of fp16. */
static __device__ inline void mma_16816_f16(float d[4], const uint32_t a[4], uint32_t b0,
                                            uint32_t b1)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, "
        "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* 16 bytes from global to shared memory beside the work; zeros where there is nothing to read. */
static __device__ inline void cp_async16(void *dst, const void *src, bool there)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_at(dst)),
                 "l"(__cvta_generic_to_global(src)), "r"(there ? 16 : 0)
                 : "memory");
}

static __device__ inline void cp_async_commit(void)
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* All but the last N groups of this thread have arrived. */
template <int N> static __device__ inline void cp_async_wait(void)
{
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

/* Within 2^-22 of 2^x. */
static __device__ inline float exp2_fast(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
#else
static inline unsigned shared_at(const void *p)
{
    return emu_shared_at(p);
}

static inline void ldmatrix4(uint32_t r[4], const void *row)
{
    emu_ldmatrix(r, row, 0);
}

static inline void ldmatrix4_trans(uint32_t r[4], const void *row)
{
    emu_ldmatrix(r, row, 1);
}

static inline void mma_16816(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    emu_mma_16816(d, a, b0, b1, 0);
}

static inline void mma_16816_f16(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    emu_mma_16816(d, a, b0, b1, 1);
}

static inline void cp_async16(void *dst, const void *src, bool there)
{
    emu_cp_async(dst, src, there ? 16 : 0);
}

static inline void cp_async_commit(void)
{
    emu_cp_async_commit();
}

template <int N> static inline void cp_async_wait(void)
{
    emu_cp_async_wait(N);
}

static inline float exp2_fast(float x)
{
    return exp2f(x);
}
#endif

/* Two floats as bf16, a in the lower half. */
static __device__ inline uint32_t bf16_pair(float a, float b)
{
    return bf16_bits(a) | bf16_bits(b) << 16;
}

#endif
