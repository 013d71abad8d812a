/* SPDX-License-Identifier: Apache-2.0
 *
 * comm_nccl.c - the NCCL transport: libwan-nccl.so, opened by comm_nccl_load.c when it is asked
 * for, so that no tool needs NCCL to start.
 *
 * Sums go through NCCL on the GPU that wan-train takes (the rank's number on its machine, modulo the
 * number of devices): device memory in place, host memory through a staging buffer.  They are done
 * when sum() returns.  Broadcasts and gathers carry little and go through the transport that brought
 * the ranks together (self or mpi), which also hands out NCCL's id.
 */
#include <cuda_runtime_api.h>
#include <nccl.h>
#include <stdlib.h>

#include "lib/base/file.h"
#include "lib/dist/comm_nccl.h"

#define STAGE ((size_t)64 << 20)

typedef struct nccl {
    wan_comm *boot; /* owned */
    ncclComm_t comm;
    cudaStream_t stream;
    void *stage;
} nccl;

static int cuda_ok(cudaError_t e, const char *what)
{
    if (e == cudaSuccess)
        return 0;
    (void)cudaGetLastError();
    return wan_err("nccl: %s: %s", what, cudaGetErrorString(e));
}

static int nccl_ok(nccl *s, ncclResult_t r, const char *what)
{
    if (r == ncclSuccess)
        return 0;
    return wan_err("nccl: %s: %s (%s)", what, ncclGetErrorString(r), ncclGetLastError(s->comm));
}

static int reduce(nccl *s, void *device, size_t n, int f64)
{
    return nccl_ok(
        s,
        ncclAllReduce(device, device, n, f64 ? ncclDouble : ncclFloat, ncclSum, s->comm, s->stream),
        "all-reduce");
}

/* One staging buffer's worth of host memory. */
static int reduce_host(nccl *s, void *x, size_t n, int f64)
{
    size_t bytes = n * (f64 ? sizeof(double) : sizeof(float));
    WAN_TRY(cuda_ok(cudaMemcpyAsync(s->stage, x, bytes, cudaMemcpyHostToDevice, s->stream),
                    "copy to the device"));
    WAN_TRY(reduce(s, s->stage, n, f64));
    WAN_TRY(cuda_ok(cudaMemcpyAsync(x, s->stage, bytes, cudaMemcpyDeviceToHost, s->stream),
                    "copy from the device"));
    return cuda_ok(cudaStreamSynchronize(s->stream), "all-reduce");
}

static int nccl_sum(wan_comm *c, void *x, size_t n, int f64, wan_comm_req *req)
{
    nccl *s = c->impl;
    struct cudaPointerAttributes a;
    size_t size = f64 ? sizeof(double) : sizeof(float), most = STAGE / size;
    *req = 0;
    WAN_TRY(cuda_ok(cudaPointerGetAttributes(&a, x), "pointer"));
    if (a.type == cudaMemoryTypeDevice) {
        WAN_TRY(reduce(s, x, n, f64));
        return cuda_ok(cudaStreamSynchronize(s->stream), "all-reduce");
    }
    for (size_t i = 0; i < n; i += most)
        WAN_TRY(reduce_host(s, (char *)x + i * size, n - i < most ? n - i : most, f64));
    return 0;
}

static int nccl_broadcast(wan_comm *c, void *x, size_t bytes, int root)
{
    return wan_comm_broadcast(((nccl *)c->impl)->boot, x, bytes, root);
}

static int nccl_gather(wan_comm *c, const void *x, size_t bytes, void *all)
{
    return wan_comm_gather(((nccl *)c->impl)->boot, x, bytes, all);
}

static int nccl_wait(wan_comm *c, wan_comm_req req)
{
    (void)c, (void)req; /* a sum is done when it returns */
    return 0;
}

static void nccl_close(wan_comm *c)
{
    nccl *s = c->impl;
    if (!s)
        return;
    if (s->comm)
        ncclCommDestroy(s->comm);
    if (s->stage)
        cudaFree(s->stage);
    if (s->stream)
        cudaStreamDestroy(s->stream);
    wan_comm_close(&s->boot);
    free(s);
    c->impl = NULL;
}

static int join(nccl *s)
{
    ncclUniqueId id;
    int devices = 0, local, ranks;
    WAN_TRY(wan_comm_local(s->boot, &local, &ranks));
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices < 1) {
        (void)cudaGetLastError();
        return wan_err("nccl: rank %d has no CUDA device", s->boot->rank);
    }
    WAN_TRY(cuda_ok(cudaSetDevice(local % devices), "device"));
    WAN_TRY(cuda_ok(cudaStreamCreateWithFlags(&s->stream, cudaStreamNonBlocking), "stream"));
    WAN_TRY(cuda_ok(cudaMalloc(&s->stage, STAGE), "staging memory"));
    if (s->boot->rank == 0)
        WAN_TRY(nccl_ok(s, ncclGetUniqueId(&id), "id"));
    WAN_TRY(wan_comm_broadcast(s->boot, &id, sizeof id, 0));
    return nccl_ok(s, ncclCommInitRank(&s->comm, s->boot->size, id, s->boot->rank), "start");
}

int wan_comm_nccl_start(wan_comm *c, wan_comm *boot)
{
    static const wan_transport table = { "nccl",      nccl_sum,  nccl_broadcast,
                                         nccl_gather, nccl_wait, nccl_close };
    nccl *s = wan_calloc(1, sizeof *s, "communicator");
    if (!s)
        return -1;
    s->boot = boot;
    c->t = &table;
    c->impl = s;
    c->rank = boot->rank;
    c->size = boot->size;
    if (join(s) == 0)
        return 0;
    s->boot = NULL; /* stays the caller's */
    nccl_close(c);
    return -1;
}
