/* SPDX-License-Identifier: Apache-2.0
 *
 * cuda_runtime.h (emulation) - as much of CUDA as kernels/ uses, on the CPU.
 *
 * A block is a set of fibers, one per thread; barriers and warp shuffles switch between them.  The
 * kernels are compiled by the C++ compiler from the same source as for the GPU, so their
 * arithmetic, their bounds and their synchronisation can be tested without one.  Speed, memory
 * ordering between blocks, and anything of the vendor's libraries cannot.
 */
#ifndef WAN_EMU_CUDA_RUNTIME_H
#define WAN_EMU_CUDA_RUNTIME_H

#include "cuda_runtime_api.h"

extern "C++" { /* cuDNN's headers include this one between the braces of extern "C" */

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>

#define __global__
#define __device__
#define __host__
#define __shared__
#define __launch_bounds__(...)
#define CUDART_VERSION 13000

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};
struct uint3 {
    unsigned x, y, z;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
extern dim3 threadIdx, blockIdx, blockDim, gridDim;

static inline float __uint_as_float(unsigned u)
{
    float f;
    memcpy(&f, &u, 4);
    return f;
}

static inline unsigned __float_as_uint(float f)
{
    unsigned u;
    memcpy(&u, &f, 4);
    return u;
}

/* ---- inside a kernel */
void __syncthreads(void);
void emu_warp_barrier(void);
static inline void __syncwarp(void)
{
    emu_warp_barrier();
}
uint64_t *emu_lane_slot(int lane); /* of the running thread's warp */

template <typename T> static inline T emu_shuffle(T v, int from)
{
    int lane = threadIdx.x % 32;
    T out;
    static_assert(sizeof(T) <= 8, "a register");
    memcpy(emu_lane_slot(lane), &v, sizeof v);
    emu_warp_barrier();
    memcpy(&out, emu_lane_slot(from), sizeof out);
    emu_warp_barrier();
    return out;
}

template <typename T> static inline T __shfl_sync(unsigned, T v, int from)
{
    return emu_shuffle(v, from);
}

template <typename T> static inline T __shfl_xor_sync(unsigned, T v, int mask)
{
    return emu_shuffle(v, (int)(threadIdx.x % 32) ^ mask);
}

/* Of kernels/tensor.cuh, as the PTX ISA describes them. */
void emu_ldmatrix(uint32_t r[4], const void *row, int trans);
void emu_mma_16816(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1, int f16);
void emu_cp_async(void *dst, const void *src, int bytes); /* done as late as it may be */
void emu_cp_async_commit(void);
void emu_cp_async_wait(int groups);
unsigned emu_shared_at(const void *p); /* as __cvta_generic_to_shared */

/* Of kernels/hopper.cuh: d [64 x n] += a b with a by descriptor, or fragments where they are given. */
void emu_wgmma(float *d, int n, uint64_t a, const uint32_t *fragment, uint64_t b, int b_along_sum,
               int add);
void emu_wgmma_commit(void);
void emu_wgmma_wait(int groups);
void emu_mbarrier_init(uint64_t *b, int arrivals);
void emu_mbarrier_arrive(uint64_t *b);
void emu_mbarrier_wait(uint64_t *b, int parity);
void emu_barrier(int which, int threads); /* bar.sync */
void emu_others(void);                    /* lets them go on */

static inline unsigned long long atomicAdd(unsigned long long *p, unsigned long long v)
{
    unsigned long long old = *p;
    *p += v;
    return old;
}

static inline unsigned atomicMax(unsigned *p, unsigned v)
{
    unsigned old = *p;
    *p = v > old ? v : old;
    return old;
}

/* ---- the host side, of which cuda_runtime_api.h has what C calls */
enum cudaStreamCaptureMode { cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal };
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
enum cudaDeviceAttr {
    cudaDevAttrComputeCapabilityMajor,
    cudaDevAttrComputeCapabilityMinor,
    cudaDevAttrMultiProcessorCount,
    cudaDevAttrMaxSharedMemoryPerBlockOptin
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
struct cudaFuncAttributes {
    int maxThreadsPerBlock;
};
struct cudaDeviceProp {
    char name[256];
    struct {
        char bytes[16];
    } uuid;
    int major, minor, multiProcessorCount;
    size_t totalGlobalMem;
};
struct cudaLaunchConfig_t {
    dim3 gridDim, blockDim;
    size_t dynamicSmemBytes;
    cudaStream_t stream;
};

const char *cudaGetErrorName(cudaError_t e);
cudaError_t cudaDriverGetVersion(int *v);
cudaError_t cudaRuntimeGetVersion(int *v);
cudaError_t cudaDeviceGetAttribute(int *v, enum cudaDeviceAttr a, int device);
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device);
cudaError_t cudaStreamSynchronize(cudaStream_t s);
cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *g);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *e, cudaGraph_t g, unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t s);
cudaError_t cudaGraphDestroy(cudaGraph_t g);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t e);
cudaError_t cudaMalloc(void **p, size_t bytes);
cudaError_t cudaFree(void *p);
cudaError_t cudaMallocHost(void **p, size_t bytes);
enum { cudaHostRegisterDefault = 0 };
cudaError_t cudaHostRegister(void *p, size_t bytes, unsigned flags);
cudaError_t cudaHostUnregister(void *p);
cudaError_t cudaFreeHost(void *p);
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total);
cudaError_t cudaMemcpyAsync(void *d, const void *s, size_t n, enum cudaMemcpyKind k,
                            cudaStream_t st);
cudaError_t cudaMemsetAsync(void *p, int v, size_t n, cudaStream_t s);
cudaError_t cudaFuncSetAttribute(const void *f, enum cudaFuncAttribute a, int v);
cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *a, const void *f);

template <typename T> static inline cudaError_t cudaMalloc(T **p, size_t bytes)
{
    return cudaMalloc((void **)p, bytes);
}

template <typename T> static inline cudaError_t cudaMallocHost(T **p, size_t bytes)
{
    return cudaMallocHost((void **)p, bytes);
}

/* Whether WAN_EMU_FAULT ("kind:who kind:who") plants this fault here: who stands in the program's name and
 * arguments, joined by '_'.  wrong: the first block of each kernel is left out; hang: no kernel ends;
 * memory: hardly any; driver: an old one; cudnn: none. */
int emu_fault(const char *kind);

/* What is handed out: the block that p is in and its size; NULL: none. */
char *emu_block_of(const void *p, size_t *bytes);

/* For emu_trace.cc, where it is there: so many bytes at p are read or written; so many FLOPs are done. */
__attribute__((weak)) void emu_touch(const void *p, size_t bytes, int write);
__attribute__((weak)) void emu_spend(double flops);

/* What has been asked of the stream is done now. */
void emu_in_order(cudaStream_t s);

/* Whether the stream is being captured: then `what` is kept in the graph, and not done. */
bool emu_kept(cudaStream_t s, const std::function<void()> &what);

/* While the stream is captured: blocks that these bytes, parameters of what is kept, point into must be there when the
 * graph is run. */
void emu_holds(cudaStream_t s, const void *params, size_t bytes);

/* A call that gives work to a stream; not of a graph that is run. */
void emu_called(void);

/* Runs body once per thread of every block of the kernel at f; aborts with a sentence where a GPU
 * would refuse the launch. */
cudaError_t emu_launch(const cudaLaunchConfig_t *c, const void *f,
                       const std::function<void()> &body);

template <typename... P, typename... A>
static inline cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t *c, void (*kernel)(P...),
                                             A &&...args)
{
    static_assert(sizeof(std::tuple<P...>) <= 4096, "parameters of a kernel");
    const std::tuple<P...> copy(args...); /* as the launch has them: a graph is run later */
    emu_holds(c->stream, &copy, sizeof copy);
    return emu_launch(c, (const void *)kernel, [kernel, copy]() { std::apply(kernel, copy); });
}

} /* extern "C++" */

#endif
