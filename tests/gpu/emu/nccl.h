/* SPDX-License-Identifier: Apache-2.0
 *
 * nccl.h (emulation) - as much of NCCL as lib/dist/comm_nccl.c uses, between processes of one machine.
 */
#ifndef WAN_EMU_NCCL_H
#define WAN_EMU_NCCL_H

#include <stddef.h>

#include "cuda_runtime_api.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ncclComm *ncclComm_t;
typedef struct ncclUniqueId {
    char internal[128];
} ncclUniqueId;
typedef enum {
    ncclSuccess = 0,
    ncclSystemError = 2,
    ncclInvalidUsage = 5,
    ncclRemoteError = 6,
    ncclInProgress = 7
} ncclResult_t;
typedef enum { ncclSum = 0, ncclProd = 1, ncclMax = 2 } ncclRedOp_t;
typedef enum {
    ncclUint8 = 1,
    ncclInt64 = 4,
    ncclFloat = 7,
    ncclDouble = 8,
    ncclBfloat16 = 9
} ncclDataType_t;

const char *ncclGetErrorString(ncclResult_t r);
const char *ncclGetLastError(ncclComm_t c);
ncclResult_t ncclGetUniqueId(ncclUniqueId *id);
ncclResult_t ncclCommInitRank(ncclComm_t *c, int n, ncclUniqueId id, int rank);
ncclResult_t ncclCommDestroy(ncclComm_t c);
ncclResult_t ncclCommAbort(ncclComm_t c);
ncclResult_t ncclCommGetAsyncError(ncclComm_t c, ncclResult_t *e);
ncclResult_t ncclGroupStart(void);
ncclResult_t ncclGroupEnd(void);
ncclResult_t ncclAllReduce(const void *x, void *out, size_t n, ncclDataType_t t, ncclRedOp_t op,
                           ncclComm_t c, cudaStream_t s);
ncclResult_t ncclReduce(const void *x, void *out, size_t n, ncclDataType_t t, ncclRedOp_t op,
                        int root, ncclComm_t c, cudaStream_t s);
ncclResult_t ncclBroadcast(const void *x, void *out, size_t n, ncclDataType_t t, int root,
                           ncclComm_t c, cudaStream_t s);
ncclResult_t ncclAllGather(const void *x, void *out, size_t n, ncclDataType_t t, ncclComm_t c,
                           cudaStream_t s);
ncclResult_t ncclReduceScatter(const void *x, void *out, size_t n, ncclDataType_t t, ncclRedOp_t op,
                               ncclComm_t c, cudaStream_t s);
ncclResult_t ncclSend(const void *x, size_t n, ncclDataType_t t, int to, ncclComm_t c,
                      cudaStream_t s);
ncclResult_t ncclRecv(void *x, size_t n, ncclDataType_t t, int from, ncclComm_t c, cudaStream_t s);

#ifdef __cplusplus
}
#endif
#endif
