/* SPDX-License-Identifier: Apache-2.0
 *
 * dcp.h - a folder of torch.distributed.checkpoint (torch_dist of Megatron, Automodel): .metadata, a
 * pickle that says which piece of which tensor is where, and the files that it names, with each piece
 * as torch.save writes it.  Nothing in them is run.  Format: wan-data(7), Distributed checkpoints.
 *
 *     wan_dcp *d;
 *     WAN_TRY(wan_dcp_open(&d, "run/iter_0001000"));
 *     const wan_dcp_tensor *t = wan_dcp_at(d, i);
 *     WAN_TRY(wan_dcp_read(d, t, 0, t->shape[0], dst, WAN_F32));
 *     wan_dcp_close(&d);
 */
#ifndef WAN_REC_DCP_H
#define WAN_REC_DCP_H

#include "lib/base/dtype.h"
#include "lib/rec/record/record.h"

typedef struct wan_dcp wan_dcp;

typedef struct wan_dcp_tensor {
    const char *name;
    wan_dtype dtype;
    int rank;
    int64_t shape[WAN_MAX_RANK]; /* of the whole */
    int64_t count;
    const void *chunks; /* the reader's own */
} wan_dcp_tensor;

/* Whether the folder holds a .metadata. */
int wan_dcp_is(const char *dir);
/* Reads .metadata.  Every piece is in a file, inside of it, and the pieces of a tensor make it up
 * without gap or overlap, or it is an error.  Tensors of a type without a name here are left out, as
 * is whatever is no tensor. */
int wan_dcp_open(wan_dcp **out, const char *dir) WAN_MUST_CHECK;
size_t wan_dcp_count(const wan_dcp *d);
const wan_dcp_tensor *wan_dcp_at(const wan_dcp *d, size_t i); /* in the order of the file */
/* Rows [first, first + n) along the first dimension (a scalar has one row), contiguous, as dt, to dst.
 * One piece is in memory beside it. */
int wan_dcp_read(wan_dcp *d, const wan_dcp_tensor *t, int64_t first, int64_t n, void *dst,
                 wan_dtype dt) WAN_MUST_CHECK;
void wan_dcp_close(wan_dcp **d); /* NULL-safe */

#endif
