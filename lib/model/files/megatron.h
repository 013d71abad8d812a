/* SPDX-License-Identifier: Apache-2.0
 *
 * megatron.h - the tensors of Megatron's WAN under HuggingFace's names: wan-model(7), Megatron names.
 */
#ifndef WAN_MODEL_MEGATRON_H
#define WAN_MODEL_MEGATRON_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

/* What of a stored tensor a parameter is. */
typedef struct wan_megatron_piece {
    size_t tensor;   /* the caller's number */
    int64_t layer;   /* in a stack of layers: its first index; -1: no stack */
    int part, parts; /* one of the matrices woven into it head by head; 0 of 1: the whole */
} wan_megatron_piece;

typedef int wan_megatron_add(void *arg, const char *name, const int64_t *shape, int rank,
                             const wan_megatron_piece *piece);

/* Calls add for each parameter that the tensor holds; for a tensor that is not Megatron's once, under
 * its own name.  -1 when add fails, or its first dimension is not what is woven into it. */
int wan_megatron_pieces(const char *name, const int64_t *shape, int rank, size_t tensor,
                        wan_megatron_add *add, void *arg) WAN_MUST_CHECK;

#endif
