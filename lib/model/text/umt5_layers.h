/* SPDX-License-Identifier: Apache-2.0
 *
 * umt5_layers.h - the weights of the UMT5 encoder: which tensors a layer has, and how layers come to where they
 * are used.
 *
 * On the CPU they are read where the mapped file has them, if it has the type of the operands, else through
 * memory for one layer.  On a device there are two rooms: while one layer computes, the next is laid into
 * pinned memory by all threads, and goes over the bus beside the work.  From the second window on they stay there,
 * where all of them take no more than a third of what is free.
 */
#ifndef WAN_MODEL_UMT5_LAYERS_H
#define WAN_MODEL_UMT5_LAYERS_H

#include "kernels/ops.h"
#include "lib/model/text/text.h"
#include "lib/rec/tensor/safetensors.h"

enum { UMT5_BUCKETS = 32 };

/* The tensors of a layer: operands of products, then vectors in WAN_REAL. */
enum umt5_tensor {
    UMT5_Q,
    UMT5_K,
    UMT5_V,
    UMT5_O,
    UMT5_GATE,
    UMT5_UP,
    UMT5_DOWN,
    UMT5_NORM1,
    UMT5_NORM2,
    UMT5_BIAS, /* [UMT5_BUCKETS, heads] of positions */
    UMT5_TENSORS
};

typedef struct umt5_layer {
    int64_t of;              /* which one it is; -1: none */
    wan_buf w[UMT5_TENSORS]; /* on the device */
    void *own[UMT5_TENSORS]; /* ... memory for it, where it is not the file's; NULL: none yet */
} umt5_layer;

typedef struct umt5_layers {
    wan_dev *d;
    wan_st *st;
    wan_dtype compute;
    int64_t D, heads, hd, ffn, layers;
    umt5_layer *room; /* [rooms] */
    int64_t rooms;    /* 0: no memory is taken; layer i is in room i % rooms */
    int64_t windows;  /* that have begun */
    int stay;         /* the rooms are kept between windows */
    char *pinned[2];  /* host: a layer on its way, in turn; of a device only */
} umt5_layers;

/* Every tensor of every layer is there and has its shape. */
int wan_umt5_layers_check(const umt5_layers *s) WAN_MUST_CHECK;
/* Memory for a window, which begins; after it, what does not stay is given back (of a window that failed, too). */
int wan_umt5_layers_begin(umt5_layers *s) WAN_MUST_CHECK;
void wan_umt5_layers_end(umt5_layers *s);
void wan_umt5_layers_close(umt5_layers *s);
/* Layer i, for work that is asked for from here on; layers are asked for in order. */
int wan_umt5_layers_enter(umt5_layers *s, int64_t i, const umt5_layer **out) WAN_MUST_CHECK;
/* Work with layer i has been asked for: the next one may come. */
int wan_umt5_layers_leave(umt5_layers *s, int64_t i) WAN_MUST_CHECK;
/* A vector [D] of the encoder beside its layers, into memory of the device. */
int wan_umt5_layers_vector(umt5_layers *s, const char *name, wan_real *to) WAN_MUST_CHECK;
/* Bytes that two layers take on a device; as many of host memory. */
int64_t wan_umt5_layers_bytes(const umt5_layers *s);

#endif
