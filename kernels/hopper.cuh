/* SPDX-License-Identifier: Apache-2.0
 *
 * hopper.cuh - instructions of compute capability 9.0a: products of a group of four warps whose operands lie in
 * shared memory and which run beside the threads (wgmma), barriers in shared memory that count arrivals
 * (mbarrier), registers that change hands (setmaxnreg).  PTX ISA 8, "Asynchronous warpgroup level matrix".
 *
 * d [64 x N] is, warp by warp of the group, 16 rows of fragments as tensor.cuh has them.  Operands in shared
 * memory are in tiles of tile_place, which start on 1024 bytes; a descriptor says where:
 *   K-major (rows along M or N, the sum along columns): 8 rows in 1024 bytes, the next 8 behind them
 *   N-major (rows along the sum): the same bytes, 64 columns on `across` bytes further
 */
#ifndef WAN_KERNELS_HOPPER_CUH
#define WAN_KERNELS_HOPPER_CUH

#include "kernels/tensor.cuh"

/* Tiles in the pattern of 128 bytes, groups of 8 rows 1024 bytes apart. */
static __device__ inline uint64_t wgmma_tile(const void *p, unsigned across)
{
    return (uint64_t)(shared_at(p) >> 4) | (uint64_t)(across >> 4) << 16 | (uint64_t)64 << 32 |
           (uint64_t)1 << 62;
}

#ifdef __CUDACC__
/* In front of the first product, and where registers that the next one takes have been written. */
static __device__ inline void wgmma_fence(void)
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

static __device__ inline void wgmma_commit(void)
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/* All but the last LEFT groups are done. */
template <int LEFT> static __device__ inline void wgmma_wait(void)
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT) : "memory");
}

/* The compiler takes d to be written here: behind the wait for it, in front of what is added to it. */
template <int N> static __device__ inline void wgmma_touch(float (*d)[4])
{
    CUDA_UNROLL
    for (int i = 0; i < N / 8; i++)
        asm volatile("" : "+f"(d[i][0]), "+f"(d[i][1]), "+f"(d[i][2]), "+f"(d[i][3])::"memory");
}

#define WGMMA_R4(how, d, i) how(d[i][0]), how(d[i][1]), how(d[i][2]), how(d[i][3])
#define WGMMA_R32(how, d)                                                                          \
    WGMMA_R4(how, d, 0), WGMMA_R4(how, d, 1), WGMMA_R4(how, d, 2), WGMMA_R4(how, d, 3),            \
        WGMMA_R4(how, d, 4), WGMMA_R4(how, d, 5), WGMMA_R4(how, d, 6), WGMMA_R4(how, d, 7)
#define WGMMA_R64(how, d)                                                                          \
    WGMMA_R32(how, d), WGMMA_R4(how, d, 8), WGMMA_R4(how, d, 9), WGMMA_R4(how, d, 10),             \
        WGMMA_R4(how, d, 11), WGMMA_R4(how, d, 12), WGMMA_R4(how, d, 13), WGMMA_R4(how, d, 14),    \
        WGMMA_R4(how, d, 15)
#define WGMMA_D32                                                                                  \
    "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, "       \
    "%19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
#define WGMMA_D64                                                                                  \
    "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, "       \
    "%19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, "        \
    "%36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, "        \
    "%53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "

/* d [64 x 64] = a [64 x 16] b [64 x 16]^T, both K-major */
static __device__ inline void wgmma_nt64(float (*d)[4], uint64_t a, uint64_t b)
{
    asm volatile("{ .reg .pred p; setp.ne.b32 p, 0, 0; "
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 " WGMMA_D32
                 "%32, %33, p, 1, 1, 0, 0; }"
                 : WGMMA_R32("=f", d)
                 : "l"(a), "l"(b));
}

/* d += the same */
static __device__ inline void wgmma_nt64_add(float (*d)[4], uint64_t a, uint64_t b)
{
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 " WGMMA_D32
                 "%32, %33, 1, 1, 1, 0, 0;"
                 : WGMMA_R32("+f", d)
                 : "l"(a), "l"(b));
}

/* d [64 x N] += a [64 x 16], fragments of each warp, b [16 x N], N-major */
template <int N>
static __device__ inline void wgmma_nn(float (*d)[4], const uint32_t a[4], uint64_t b)
{
    if constexpr (N == 64)
        asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 " WGMMA_D32
                     "{%32, %33, %34, %35}, %36, 1, 1, 1, 1;"
                     : WGMMA_R32("+f", d)
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
    else
        asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 " WGMMA_D64
                     "{%64, %65, %66, %67}, %68, 1, 1, 1, 1;"
                     : WGMMA_R64("+f", d)
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

/* What this thread has written to shared memory is there for wgmma. */
static __device__ inline void wgmma_publish(void)
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* One thread; a barrier between it and the first arrival. */
static __device__ inline void mbarrier_init(uint64_t *b, int arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_at(b)), "r"(arrivals)
                 : "memory");
}

static __device__ inline void mbarrier_arrive(uint64_t *b)
{
    asm volatile("{ .reg .b64 s; mbarrier.arrive.shared::cta.b64 s, [%0]; }" ::"r"(shared_at(b))
                 : "memory");
}

/* Until the phase of this parity is over; that in front of the first counts as one of parity 1. */
static __device__ inline void mbarrier_wait(uint64_t *b, int parity)
{
    asm volatile("{ .reg .pred p; again: "
                 "mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1; @!p bra again; }" ::"r"(
                     shared_at(b)),
                 "r"(parity)
                 : "memory");
}

/* So many threads, whole warps, meet at one of the barriers 1 .. 15. */
template <int WHICH, int THREADS> static __device__ inline void barrier_meet(void)
{
    asm volatile("bar.sync %0, %1;" ::"n"(WHICH), "n"(THREADS) : "memory");
}

template <int N> static __device__ inline void registers_more(void)
{
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}

template <int N> static __device__ inline void registers_less(void)
{
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}
#else
static inline void wgmma_fence(void) {}

static inline void wgmma_commit(void)
{
    emu_wgmma_commit();
}

template <int LEFT> static inline void wgmma_wait(void)
{
    emu_wgmma_wait(LEFT);
}

template <int N> static inline void wgmma_touch(float (*)[4]) {}

static inline void wgmma_nt64(float (*d)[4], uint64_t a, uint64_t b)
{
    emu_wgmma(&d[0][0], 64, a, NULL, b, 0, 0);
}

static inline void wgmma_nt64_add(float (*d)[4], uint64_t a, uint64_t b)
{
    emu_wgmma(&d[0][0], 64, a, NULL, b, 0, 1);
}

template <int N> static inline void wgmma_nn(float (*d)[4], const uint32_t a[4], uint64_t b)
{
    emu_wgmma(&d[0][0], N, 0, a, b, 1, 1);
}

static inline void wgmma_publish(void) {}

static inline void mbarrier_init(uint64_t *b, int arrivals)
{
    emu_mbarrier_init(b, arrivals);
}

static inline void mbarrier_arrive(uint64_t *b)
{
    emu_mbarrier_arrive(b);
}

static inline void mbarrier_wait(uint64_t *b, int parity)
{
    emu_mbarrier_wait(b, parity);
}

template <int WHICH, int THREADS> static inline void barrier_meet(void)
{
    emu_barrier(WHICH, THREADS);
}

template <int N> static inline void registers_more(void) {}
template <int N> static inline void registers_less(void) {}
#endif

#endif
