/* SPDX-License-Identifier: Apache-2.0
 *
 * cuda_util.cuh - what every .cu file shares: the program's services, checked calls, launches.
 *
 * All shared memory of our kernels is dynamic and named cuda_shared, so that the same source also
 * runs under the CPU emulation of tests/gpu/emu.  Nothing here is seen outside the plugin.
 */
#ifndef WAN_KERNELS_CUDA_UTIL_CUH
#define WAN_KERNELS_CUDA_UTIL_CUH

#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include <cuda_runtime.h>

extern "C" {
#include "kernels/ops.h"
#include "kernels/plugin.h"
}

#ifdef __CUDACC__
#define CUDA_UNROLL _Pragma("unroll")
#define CUDA_LOOP _Pragma("unroll 1")
#else
#define CUDA_UNROLL
#define CUDA_LOOP
#endif

alignas(16) extern __shared__ float cuda_shared[];

/* The program's side of the plugin; set once by wan_cuda_backend. */
extern const wan_plugin_host *wan_cuda_host;

/* What d->impl points to.  cuBLASLt and cuDNN are opened by the first op that needs them. */
struct wan_cuda {
    int sm;                     /* compute capability, 90 for 9.0 */
    int processors;             /* multiprocessors */
    size_t shared;              /* largest dynamic shared memory of a block */
    struct wan_cuda_bus *bus;   /* bus.cu */
    struct wan_cuda_lt *lt;     /* lt.cu */
    struct wan_cuda_sdpa *sdpa; /* attention_cudnn.cu */
    struct wan_cuda_conv *conv; /* conv_cudnn.cu */
    struct wan_plans *eight;    /* linear8.cu: rounded weights */
    void *staging[2];           /* pinned, device.cu */
    cudaEvent_t staged[2];
    struct wan_cuda_ring *ring; /* device.cu: what is on its way to the device */
    int recording;              /* tape.cu: what is asked for is kept */
};

static inline wan_cuda *cuda_of(wan_dev *d)
{
    return (wan_cuda *)d->impl;
}

static inline cudaStream_t cuda_stream(wan_dev *d)
{
    return (cudaStream_t)d->stream;
}

/* 0, or -1 with a sentence; clears the sticky error so that the next call starts clean. */
static inline int cuda_check(cudaError_t e, const char *what)
{
    if (e == cudaSuccess)
        return 0;
    cudaGetLastError();
    return wan_cuda_host->err("cuda: %s: %s (%s)", what, cudaGetErrorString(e),
                              cudaGetErrorName(e));
}
#define CUDA_TRY(call) WAN_TRY(cuda_check((call), #call))

/* The device has a faster way that cannot be had, as the sentence says: a warning and 0, or (strict)
 * an error and -1. */
static inline int cuda_slower(wan_dev *d, const char *fmt, ...) WAN_PRINTF(2, 3);
static inline int cuda_slower(wan_dev *d, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (d->flags & WAN_DEV_STRICT)
        return wan_cuda_host->err("%s (refused, as was asked)", text);
    wan_cuda_host->warn("%s", text);
    return 0;
}

/* Scratch of the op, NULL when out of memory (error recorded). */
static inline void *cuda_scratch(wan_dev *d, size_t bytes)
{
    return wan_cuda_host->scratch(d, bytes ? bytes : 1);
}

/* -1 when an operand is neither F32 nor BF16. */
static inline int cuda_types(const char *op, const wan_buf *b, int n)
{
    for (int i = 0; i < n; i++)
        if (b[i].t != WAN_F32 && b[i].t != WAN_BF16)
            return wan_cuda_host->err("%s: operand of element type %d on CUDA", op, (int)b[i].t);
    return 0;
}
#define CUDA_TYPES(op, ...)                                                                        \
    do {                                                                                           \
        const wan_buf types_[] = { __VA_ARGS__ };                                                  \
        WAN_TRY(cuda_types(op, types_, (int)(sizeof types_ / sizeof *types_)));                    \
    } while (0)

/* Starts a kernel on the device's stream; an empty grid is no work. */
template <typename... P, typename... A>
static int cuda_launch(wan_dev *d, const char *op, void (*kernel)(P...), dim3 grid, int block,
                       size_t shared, A... args)
{
    if (grid.x == 0 || grid.y == 0 || grid.z == 0)
        return 0;
    cudaLaunchConfig_t c = {};
    c.gridDim = grid;
    c.blockDim = dim3((unsigned)block, 1, 1);
    c.dynamicSmemBytes = shared;
    c.stream = cuda_stream(d);
    return cuda_check(cudaLaunchKernelEx(&c, kernel, static_cast<P>(args)...), op);
}

static inline int64_t cuda_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Blocks for n units of work at `per` units a block, at most enough to fill the device a few times:
 * the kernels loop. */
static inline unsigned cuda_blocks(wan_dev *d, int64_t n, int64_t per)
{
    int64_t b = cuda_div(n, per), most = (int64_t)cuda_of(d)->processors * 32;
    return (unsigned)(b < most ? b : most);
}

#endif
