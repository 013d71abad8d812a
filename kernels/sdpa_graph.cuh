/* SPDX-License-Identifier: Apache-2.0
 *
 * sdpa_graph.cuh - scaled dot-product attention as a cuDNN 9 operation graph.
 *
 * cuDNN recognises attention in the chain product - scale - softmax - product and runs it as one
 * kernel; there is no other way in through its C interface for the backward pass of 9.19.
 *
 * A graph has b samples of h heads.  Dense (ragged 0): sq and sk are the lengths.  Ragged: they are
 * upper bounds, the lengths are in SDPA_LEN_Q and SDPA_LEN_K [b], and sample i starts at element
 * offset[i] of its operand (SDPA_OFF_*, [b+1] int32).
 * q, o, dq, dout [.., h, hd] bf16 with row strides ld*; statistics [b, h, sq] fp32.
 */
#ifndef WAN_KERNELS_SDPA_GRAPH_CUH
#define WAN_KERNELS_SDPA_GRAPH_CUH

#include "kernels/dnn_plan.cuh"

enum sdpa_uid {
    SDPA_Q = 1,
    SDPA_K,
    SDPA_V,
    SDPA_O,
    SDPA_STATS,
    SDPA_DO,
    SDPA_DQ,
    SDPA_DK,
    SDPA_DV,
    SDPA_LEN_Q,
    SDPA_LEN_K,
    SDPA_OFF_Q,
    SDPA_OFF_K,
    SDPA_OFF_V,
    SDPA_OFF_O,
    SDPA_BIAS, /* fp32 [b, 1, 1, sk]: added to the scaled score of that key */
    SDPA_SCALE,
    SDPA_ONE,
    SDPA_MASKED, /* host scalars */
    SDPA_DELTA,  /* fp32 [b, h, sq]: rowsum(dout o), memory of ours */
    SDPA_DQ_SUM, /* fp32 [b, h, sq, hd]: only when sums may have any order */
    SDPA_UIDS
};

struct sdpa_shape {
    int64_t b, h, sq, sk, hd, ldq, ldk, ldv, ldo;
    int ragged, backward, deterministic, bias;
};

struct sdpa_plan : dnn_plan {
    sdpa_shape shape;
    int sm; /* compute capability of the device, 90 for 9.0 */
};

/* Describes the operations: needs no device.  -1: cuDNN refused a descriptor (error recorded). */
int sdpa_graph_describe(sdpa_plan *p);
/* Asks for an engine; found stays 0 when there is none.  handle NULL: for the device described by
 * `device` (CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR), which need not be in this machine. */
void sdpa_graph_plan(sdpa_plan *p, cudnnHandle_t handle, cudnnBackendDescriptor_t device);
void sdpa_graph_free(sdpa_plan *p);

#endif
