/* SPDX-License-Identifier: Apache-2.0
 *
 * dnn_graph.cuh - describing a graph of cuDNN's backend: every descriptor made is kept by the plan, and
 * the first failure is remembered while the rest goes on, so that callers look once at the end.
 */
#ifndef WAN_KERNELS_DNN_GRAPH_CUH
#define WAN_KERNELS_DNN_GRAPH_CUH

#include "kernels/dnn_plan.cuh"

struct dnn_graph {
    dnn_plan *plan;
    std::vector<cudnnBackendDescriptor_t> ops;
    cudnnStatus_t status;
    const char *where;
};

static inline void note(dnn_graph *g, cudnnStatus_t s, const char *where)
{
    if (s != CUDNN_STATUS_SUCCESS && g->status == CUDNN_STATUS_SUCCESS) {
        g->status = s;
        g->where = where;
    }
}

static inline cudnnBackendDescriptor_t make(dnn_graph *g, cudnnBackendDescriptorType_t t,
                                            const char *what)
{
    cudnnBackendDescriptor_t d = NULL;
    note(g, cudnnBackendCreateDescriptor(t, &d), what);
    if (d)
        g->plan->owned.push_back(d);
    return d;
}

static inline void set(dnn_graph *g, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                       cudnnBackendAttributeType_t type, int64_t n, const void *v, const char *what)
{
    if (d)
        note(g, cudnnBackendSetAttribute(d, name, type, n, v), what);
}

static inline void link(dnn_graph *g, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                        cudnnBackendDescriptor_t v, const char *what)
{
    set(g, d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &v, what);
}

static inline void finish(dnn_graph *g, cudnnBackendDescriptor_t d, const char *what)
{
    if (d)
        note(g, cudnnBackendFinalize(d), what);
}

#endif
