/* SPDX-License-Identifier: Apache-2.0
 *
 * offload.h - weights that stay in host memory and come to the device part by part, through two rooms:
 * while one part runs, the next is on its way.
 *
 *     wan_offload *o;
 *     wan_offload_new(&o, dev, arch, slice, compute);
 *     wan_modelio_load(wan_offload_host(o), folder);
 *     wan_offload_start(o);
 *     wan_model_forward(acts, wan_offload_store(o), ...);     // as with any store
 */
#ifndef WAN_MODEL_OFFLOAD_H
#define WAN_MODEL_OFFLOAD_H

#include "lib/model/model.h"

typedef struct wan_offload wan_offload;

/* Host memory for the weights that a slice (NULL: all) holds, in compute WAN_REAL or WAN_BF16, and the two
 * rooms on d, which outlives it. */
int wan_offload_new(wan_offload **out, wan_dev *d, const wan_arch *arch, const wan_slice *slice,
                    wan_dtype compute) WAN_MUST_CHECK;
void wan_offload_free(wan_offload **o); /* NULL-safe */
/* Where values are put. */
wan_store *wan_offload_host(wan_offload *o);
/* What runs on d: its parts have memory only while they run. */
wan_store *wan_offload_store(wan_offload *o);
/* Once all values are there: the memory is pinned, so that copies run beside the work. */
int wan_offload_start(wan_offload *o) WAN_MUST_CHECK;
/* Bytes on the device, of a store that was planned so (wan_store_plan). */
int64_t wan_offload_bytes(const wan_store_bytes *b, wan_dtype compute);

#endif
