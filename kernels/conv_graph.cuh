/* SPDX-License-Identifier: Apache-2.0
 *
 * conv_graph.cuh - a convolution (conv.h) as a cuDNN operation graph: convolution, bias, residual.
 */
#ifndef WAN_KERNELS_CONV_GRAPH_CUH
#define WAN_KERNELS_CONV_GRAPH_CUH

#include "kernels/dnn_plan.cuh"

enum conv_uid { CONV_X = 1, CONV_W, CONV_BIAS, CONV_Y, CONV_RESIDUAL, CONV_SUM, CONV_BIASED };

/* x and w bf16, or (f16) fp16; y of 16 bits, then as they, or fp32; bias fp32 [Co]; the residual has y's type. */
struct conv_key {
    wan_conv c;
    int y_half, bias, add, f16;
};

struct conv_plan : dnn_plan {
    conv_key key;
};

/* Taps in time that lie on padding for every frame of the result: the graph's weights are without them. */
int64_t conv_graph_skips(const wan_conv *c);
/* Describes the operations: needs no device.  -1: cuDNN refused a descriptor (error recorded). */
int conv_graph_describe(conv_plan *p);

#endif
