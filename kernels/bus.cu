/* SPDX-License-Identifier: Apache-2.0
 *
 * bus.cu - copies beside the work on CUDA (wan_dev_send and the next of device.h): a stream for either
 * direction, which the bus carries at once, and events that order them and the stream of the kernels.
 */
#include "kernels/device_cuda.cuh"

#include <cstdlib>

struct wan_cuda_bus {
    cudaStream_t out, home;
    cudaEvent_t work, sent, brought; /* asked for so far, when streams meet */
    int said;                        /* that host memory cannot be pinned */
};

void cuda_bus_close(wan_cuda *c)
{
    wan_cuda_bus *b = c->bus;
    if (!b)
        return;
    const cudaStream_t streams[] = { b->out, b->home };
    const cudaEvent_t events[] = { b->work, b->sent, b->brought };
    for (cudaStream_t s : streams)
        if (s) {
            cudaStreamSynchronize(s);
            cudaStreamDestroy(s);
        }
    for (cudaEvent_t e : events)
        if (e)
            cudaEventDestroy(e);
    free(b);
    c->bus = NULL;
}

static int bus_fill(wan_cuda_bus *b)
{
    CUDA_TRY(cudaStreamCreateWithFlags(&b->out, cudaStreamNonBlocking));
    CUDA_TRY(cudaStreamCreateWithFlags(&b->home, cudaStreamNonBlocking));
    CUDA_TRY(cudaEventCreateWithFlags(&b->work, cudaEventDisableTiming));
    CUDA_TRY(cudaEventCreateWithFlags(&b->sent, cudaEventDisableTiming));
    return cuda_check(cudaEventCreateWithFlags(&b->brought, cudaEventDisableTiming), "an event");
}

/* Made by the first copy; NULL: failed (error recorded). */
static wan_cuda_bus *bus_of(wan_dev *d)
{
    wan_cuda *c = cuda_of(d);
    if (c->bus)
        return c->bus;
    c->bus = (wan_cuda_bus *)calloc(1, sizeof *c->bus);
    if (!c->bus)
        return wan_cuda_host->err("cuda: out of memory"), (wan_cuda_bus *)NULL;
    if (bus_fill(c->bus) < 0)
        cuda_bus_close(c);
    return c->bus;
}

static int copy(wan_dev *d, void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
    wan_cuda_bus *b = bus_of(d);
    if (!b)
        return -1;
    return cuda_check(
        cudaMemcpyAsync(to, from, bytes, kind, kind == cudaMemcpyHostToDevice ? b->out : b->home),
        "a copy");
}

static int bus_send(wan_dev *d, void *dst, const void *host, size_t bytes)
{
    return copy(d, dst, host, bytes, cudaMemcpyHostToDevice);
}

static int bus_bring(wan_dev *d, void *host, const void *src, size_t bytes)
{
    return copy(d, host, src, bytes, cudaMemcpyDeviceToHost);
}

/* What is asked of `then` begins when what was asked of `first` so far has ended. */
static int follow(cudaStream_t then, cudaStream_t first, cudaEvent_t e)
{
    CUDA_TRY(cudaEventRecord(e, first));
    return cuda_check(cudaStreamWaitEvent(then, e, 0), "two streams");
}

static int bus_meet(wan_dev *d, int what)
{
    wan_cuda_bus *b = bus_of(d);
    if (!b)
        return -1;
    switch (what) {
    case WAN_HOST_AFTER_COPIES:
        CUDA_TRY(cudaStreamSynchronize(b->out));
        return cuda_check(cudaStreamSynchronize(b->home), "a copy asked for before");
    case WAN_SENDS_AFTER_BRINGS: return follow(b->out, b->home, b->brought);
    case WAN_WORK_AFTER_COPIES:
        WAN_TRY(follow(cuda_stream(d), b->out, b->sent));
        return follow(cuda_stream(d), b->home, b->brought);
    default:
        WAN_TRY(follow(b->out, cuda_stream(d), b->work));
        return cuda_check(cudaStreamWaitEvent(b->home, b->work, 0), "two streams");
    }
}

/* Without it copies are right, but wait for each other and for the host. */
static int bus_pin(wan_dev *d, void *host, size_t bytes, int on)
{
    wan_cuda_bus *b = bus_of(d);
    if (!b)
        return -1;
    cudaError_t e =
        on ? cudaHostRegister(host, bytes, cudaHostRegisterDefault) : cudaHostUnregister(host);
    if (e == cudaSuccess)
        return 0;
    cudaGetLastError();
    if (b->said || !on) /* what was not pinned cannot be let go */
        return 0;
    b->said = 1;
    return cuda_slower(d, "cuda: %.1f GiB of host memory cannot be pinned (%s): copies wait",
                       (double)bytes / 0x1p30, cudaGetErrorString(e));
}

const wan_bus cuda_bus = { bus_send, bus_bring, bus_meet, bus_pin };
