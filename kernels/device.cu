/* SPDX-License-Identifier: Apache-2.0
 *
 * device.cu - a CUDA device: memory, copies, its stream.
 *
 * Host memory of the program is pageable.  What is written is laid into a ring of pinned memory, goes over the
 * bus on a stream of its own while kernels run, and from there to its place in the order of the work: the
 * host waits only when the ring has gone round before the device has.  What is read comes through two pinned
 * buffers, in turn.
 */
#include "kernels/device_cuda.cuh"

#include <cstdio>
#include <cstdlib>

#include "kernels/conv_cudnn.cuh"
#include "kernels/gemm8.cuh"
#include "kernels/lt.cuh"
#include "kernels/sdpa.cuh"
#include "kernels/space.h"

enum : size_t { STAGE = (size_t)8 << 20 };

/* ---- the ring */

enum : size_t { SEGMENT = (size_t)2 << 20 };
enum { SEGMENTS = WAN_SPACE_RING / (2 << 20) };

struct wan_cuda_ring {
    cudaStream_t bus;
    cudaEvent_t came; /* the last copy over the bus */
    char *back;       /* pinned [WAN_DEV_SLOT]: what is on its way to the host */
    cudaEvent_t home;
    char *host, *dev; /* [SEGMENTS * SEGMENT] */
    struct {
        cudaEvent_t read; /* the device has taken all of it, since it was used last */
        int used;
    } segment[SEGMENTS];
    int now;
    size_t at; /* in segment `now` */
};

static void ring_close(wan_cuda *c)
{
    wan_cuda_ring *r = c->ring;
    if (!r)
        return;
    if (r->bus) {
        cudaStreamSynchronize(r->bus);
        cudaStreamDestroy(r->bus);
    }
    for (int i = 0; i < SEGMENTS; i++)
        if (r->segment[i].read)
            cudaEventDestroy(r->segment[i].read);
    if (r->came)
        cudaEventDestroy(r->came);
    if (r->home)
        cudaEventDestroy(r->home);
    if (r->back)
        cudaFreeHost(r->back);
    if (r->host)
        cudaFreeHost(r->host);
    if (r->dev)
        cudaFree(r->dev);
    free(r);
    c->ring = NULL;
}

static int ring_open(wan_cuda *c)
{
    wan_cuda_ring *r = c->ring = (wan_cuda_ring *)calloc(1, sizeof *r);
    if (!r)
        return wan_cuda_host->err("cuda: out of memory");
    CUDA_TRY(cudaStreamCreateWithFlags(&r->bus, cudaStreamNonBlocking));
    CUDA_TRY(cudaEventCreateWithFlags(&r->came, cudaEventDisableTiming));
    for (int i = 0; i < SEGMENTS; i++)
        CUDA_TRY(cudaEventCreateWithFlags(&r->segment[i].read, cudaEventDisableTiming));
    CUDA_TRY(cudaEventCreateWithFlags(&r->home, cudaEventDisableTiming));
    CUDA_TRY(cudaMallocHost(&r->back, WAN_DEV_SLOT));
    CUDA_TRY(cudaMallocHost(&r->host, SEGMENTS * SEGMENT));
    CUDA_TRY(cudaMalloc(&r->dev, SEGMENTS * SEGMENT));
    return 0;
}

/* Room for n <= SEGMENT bytes: its place in the ring. */
static int ring_take(wan_dev *d, wan_cuda_ring *r, size_t n, size_t *place)
{
    if (r->at + n > SEGMENT) {
        CUDA_TRY(cudaEventRecord(r->segment[r->now].read, cuda_stream(d)));
        r->segment[r->now].used = 1;
        r->now = (r->now + 1) % SEGMENTS;
        r->at = 0;
        if (r->segment[r->now].used)
            CUDA_TRY(cudaEventSynchronize(r->segment[r->now].read));
    }
    *place = (size_t)r->now * SEGMENT + r->at;
    r->at += (n + 255) / 256 * 256;
    return 0;
}

/* ---- the device */

static int cuda_read_properties(wan_cuda *c, int index)
{
    int major = 0, minor = 0, shared = 0;
    CUDA_TRY(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index));
    CUDA_TRY(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index));
    CUDA_TRY(cudaDeviceGetAttribute(&c->processors, cudaDevAttrMultiProcessorCount, index));
    CUDA_TRY(cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, index));
    c->sm = 10 * major + minor;
    c->shared = (size_t)shared;
    if (c->sm < 80)
        return wan_cuda_host->err("cuda:%d: compute capability %d.%d; 8.0 or newer is needed",
                                  index, major, minor);
    return 0;
}

static __global__ void nothing(void) {}

/* A plugin that was built for other chips would fail at its first kernel. */
static int cuda_has_code(const wan_cuda *c, int index)
{
    cudaFuncAttributes a;
    cudaError_t e = cudaFuncGetAttributes(&a, (const void *)nothing);
    if (e != cudaErrorNoKernelImageForDevice && e != cudaErrorInvalidDeviceFunction)
        return cuda_check(e, "loading the kernels");
    cudaGetLastError();
    return wan_cuda_host->err("cuda:%d: compute capability %d.%d; the plugin was built for %s: "
                              "make CUDA_ARCH=%d",
                              index, c->sm / 10, c->sm % 10, WAN_CUDA_ARCH, c->sm);
}

static void cuda_close(wan_dev *d)
{
    wan_cuda *c = cuda_of(d);
    if (!c)
        return;
    cudaStreamSynchronize(cuda_stream(d));
    cuda_bus_close(c);
    ring_close(c);
    cuda_eight_close(d);
    cuda_lt_close(d);
    cuda_sdpa_close(d);
    cuda_conv_close(d);
    for (int i = 0; i < 2; i++) {
        if (c->staging[i])
            cudaFreeHost(c->staging[i]);
        if (c->staged[i])
            cudaEventDestroy(c->staged[i]);
    }
    if (d->stream)
        cudaStreamDestroy(cuda_stream(d));
    free(c);
    d->impl = d->stream = NULL;
}

static int cuda_setup(wan_dev *d, int index)
{
    wan_cuda *c = cuda_of(d);
    cudaStream_t stream = NULL;
    CUDA_TRY(cudaSetDevice(index));
    WAN_TRY(cuda_read_properties(c, index));
    WAN_TRY(cuda_has_code(c, index));
    CUDA_TRY(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    d->stream = stream;
    for (int i = 0; i < 2; i++) {
        CUDA_TRY(cudaMallocHost(&c->staging[i], STAGE));
        CUDA_TRY(cudaEventCreateWithFlags(&c->staged[i], cudaEventDisableTiming));
    }
    return ring_open(c);
}

static int cuda_open(wan_dev *d, int index)
{
    d->impl = calloc(1, sizeof(wan_cuda));
    if (!d->impl)
        return wan_cuda_host->err("cuda:%d: out of memory", index);
    if (cuda_setup(d, index) < 0) {
        cuda_close(d);
        return -1;
    }
    return 0;
}

static void *cuda_alloc(wan_dev *d, size_t bytes)
{
    void *p = NULL;
    (void)d;
    return cuda_check(cudaMalloc(&p, bytes ? bytes : 1), "cudaMalloc") < 0 ? NULL : p;
}

static void cuda_release(wan_dev *d, void *p)
{
    cudaStreamSynchronize(cuda_stream(d)); /* work that is under way may still use it */
    cudaFree(p);
}

/* By a transport's thread, too (lib/dist/where.h), for which the runtime would else open the first device. */
static int choose_device(wan_dev *d)
{
    return cuda_check(cudaSetDevice(d->index), "device");
}

static int cuda_write(wan_dev *d, void *dst, const void *host, size_t bytes)
{
    wan_cuda_ring *r = cuda_of(d)->ring;
    WAN_TRY(choose_device(d));
    for (size_t at = 0; at < bytes; at += SEGMENT) {
        size_t n = bytes - at < SEGMENT ? bytes - at : SEGMENT, p;
        WAN_TRY(ring_take(d, r, n, &p));
        memcpy(r->host + p, (const char *)host + at, n);
        CUDA_TRY(cudaMemcpyAsync(r->dev + p, r->host + p, n, cudaMemcpyHostToDevice, r->bus));
        CUDA_TRY(cudaEventRecord(r->came, r->bus));
        CUDA_TRY(cudaStreamWaitEvent(cuda_stream(d), r->came, 0));
        CUDA_TRY(cudaMemcpyAsync((char *)dst + at, r->dev + p, n, cudaMemcpyDeviceToDevice,
                                 cuda_stream(d)));
    }
    return 0;
}

/* Block at starts while the block before is copied out of its buffer. */
static int cuda_read(wan_dev *d, void *host, const void *src, size_t bytes)
{
    wan_cuda *c = cuda_of(d);
    size_t blocks = (bytes + STAGE - 1) / STAGE;
    WAN_TRY(choose_device(d));
    for (size_t k = 0; k <= blocks; k++) {
        if (k < blocks) {
            size_t n = bytes - k * STAGE < STAGE ? bytes - k * STAGE : STAGE;
            CUDA_TRY(cudaMemcpyAsync(c->staging[k % 2], (const char *)src + k * STAGE, n,
                                     cudaMemcpyDeviceToHost, cuda_stream(d)));
            CUDA_TRY(cudaEventRecord(c->staged[k % 2], cuda_stream(d)));
        }
        if (k > 0) {
            size_t at = (k - 1) * STAGE, n = bytes - at < STAGE ? bytes - at : STAGE;
            CUDA_TRY(cudaEventSynchronize(c->staged[(k - 1) % 2]));
            memcpy((char *)host + at, c->staging[(k - 1) % 2], n);
        }
    }
    return cuda_check(cudaStreamSynchronize(cuda_stream(d)), "read");
}

static int cuda_copy(wan_dev *d, void *dst, const void *src, size_t bytes)
{
    if (bytes)
        CUDA_TRY(cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToDevice, cuda_stream(d)));
    return 0;
}

static int cuda_zero(wan_dev *d, void *p, size_t bytes)
{
    if (bytes)
        CUDA_TRY(cudaMemsetAsync(p, 0, bytes, cuda_stream(d)));
    return 0;
}

static int cuda_sync(wan_dev *d)
{
    return cuda_check(cudaStreamSynchronize(cuda_stream(d)), "a kernel started before");
}

static int cuda_memory(wan_dev *d, size_t *free_bytes, size_t *total_bytes)
{
    (void)d;
    CUDA_TRY(cudaMemGetInfo(free_bytes, total_bytes));
    return 0;
}

static int cuda_describe(wan_dev *d, char *text, size_t size)
{
    cudaDeviceProp p;
    char uuid[33];
    int driver = 0, runtime = 0;
    CUDA_TRY(cudaGetDeviceProperties(&p, d->index));
    for (int i = 0; i < 16; i++)
        snprintf(uuid + 2 * i, 3, "%02x", (unsigned char)p.uuid.bytes[i]);
    CUDA_TRY(cudaDriverGetVersion(&driver));
    CUDA_TRY(cudaRuntimeGetVersion(&runtime));
    snprintf(text, size,
             "%s, GPU-%s, compute %d.%d, %d multiprocessors, %.1f GB, driver for CUDA "
             "%d.%d, runtime %d.%d",
             p.name, uuid, p.major, p.minor, p.multiProcessorCount, (double)p.totalGlobalMem / 1e9,
             driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    return 0;
}

static int cuda_fetch(wan_dev *d, size_t at, const void *src, size_t bytes)
{
    wan_cuda_ring *r = cuda_of(d)->ring;
    CUDA_TRY(cudaMemcpyAsync(r->back + at, src, bytes, cudaMemcpyDeviceToHost, cuda_stream(d)));
    return cuda_check(cudaEventRecord(r->home, cuda_stream(d)), "fetch");
}

static const void *cuda_fetched(wan_dev *d)
{
    wan_cuda_ring *r = cuda_of(d)->ring;
    return cuda_check(cudaEventSynchronize(r->home), "fetch") < 0 ? NULL : r->back;
}

const wan_backend wan_device_cuda = {
    "cuda",     cuda_open,    cuda_close, cuda_alloc, cuda_release, cuda_write,
    cuda_read,  cuda_copy,    cuda_zero,  cuda_sync,  cuda_memory,  cuda_describe,
    cuda_fetch, cuda_fetched, &cuda_bus,  &cuda_tape, &cuda_keeper,
};
