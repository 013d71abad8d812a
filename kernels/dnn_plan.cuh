/* SPDX-License-Identifier: Apache-2.0
 *
 * dnn_plan.cuh - a cuDNN operation graph on its way to a plan (sdpa_plan.cu).
 */
#ifndef WAN_KERNELS_DNN_PLAN_CUH
#define WAN_KERNELS_DNN_PLAN_CUH

#include <cudnn.h>

#include <vector>

#include "kernels/cuda_util.cuh"

struct dnn_plan {
    std::vector<cudnnBackendDescriptor_t> owned;
    cudnnBackendDescriptor_t graph, plan;
    int ordered; /* engines of fixed order first */
    int named;   /* try the attention engine that has to be named */
    int64_t workspace;
    int found;            /* an engine was found */
    int nondeterministic; /* the engine says that its sums have no fixed order */
    int taped;     /* its kernel is in a recording (tape.cu), which goes on without asking for it */
    char why[200]; /* cuDNN's words when none was found */
};

/* Asks for an engine; found stays 0 when there is none.  handle NULL: for the device described by
 * `device` (CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR), which need not be in this machine. */
void dnn_plan_make(dnn_plan *p, cudnnHandle_t handle, cudnnBackendDescriptor_t device);
void dnn_plan_free(dnn_plan *p);

#endif
