/* SPDX-License-Identifier: Apache-2.0
 *
 * fsdp.h - ranks that share one copy of the weights: FSDP and ZeRO-1.
 *
 * Every rank has one shard of every part: masters, gradients, moments (store.h).  A part runs on weights
 * gathered from all shards in the type that GEMMs read, the rest of it in full precision.
 *
 *     rank     0     1     2      part k + 1 is gathered while part k runs
 *     master  [a]   [b]   [c]     own shard, fp32
 *              |     |     |  all-gather (bf16)
 *     w       abc   abc   abc     forward, and once more in the backward
 *     g       xyz   xyz   xyz     gradients of the rank's own samples
 *              |     |     |  reduce-scatter (fp32)
 *     grad    [x]   [y]   [z]     sums, over all micro-batches of the step
 *
 * FSDP keeps two parts gathered, the one that runs and the next one, and as many gradients.  Rounds are
 * counted in micro-batches: a rank that has fewer than another of its group makes the calls of the rest
 * without computing (wan_fsdp_pass).  ZeRO-1 keeps the gathered weights and the gradients of all parts:
 * it gathers once a step, while the forward of the next goes on, and reduces once, in the backward of the
 * last micro-batch.
 *
 *     wan_fsdp_new(&f, store, group, where, WAN_SHARD_FSDP);
 *     for each micro-batch: wan_step_run(..., &hooks) with hooks = wan_fsdp_hooks(f, last)
 *     WAN_TRY(wan_fsdp_finish(f));            // store->grad is complete over the group
 *     ... norm, optimizer ...
 *     WAN_TRY(wan_fsdp_changed(f));           // the masters are new
 */
#ifndef WAN_TRAIN_FSDP_H
#define WAN_TRAIN_FSDP_H

#include "lib/dist/group.h"
#include "lib/model/model.h"

enum wan_sharding { WAN_SHARD_NONE, WAN_SHARD_ZERO1, WAN_SHARD_FSDP };

typedef struct wan_fsdp wan_fsdp;

/* The store's slice has the rank and size of g as its shard.  All are borrowed. */
int wan_fsdp_new(wan_fsdp **out, wan_store *s, wan_group *g, const wan_where *w,
                 enum wan_sharding how) WAN_MUST_CHECK;
/* What becomes of a part whose sums over the group are complete, from the last part to the first: they go
 * on to other copies (HSDP). */
void wan_fsdp_then(wan_fsdp *f, wan_hook *complete, void *arg);
/* NULL-safe; no call may be under way (wan_fsdp_settle), unless the run has failed. */
void wan_fsdp_free(wan_fsdp **f);
/* Adds the device memory beside the store's: gathered weights, gradients of whole parts. */
void wan_fsdp_bytes(wan_store_bytes *b, wan_dtype compute, enum wan_sharding how);

/* What a micro-batch calls around its parts; last: no other follows in the step.  A forward
 * alone uses the same. */
wan_hooks wan_fsdp_hooks(wan_fsdp *f, int last);
/* A micro-batch of nothing in the parts [first, end), for a rank that has fewer than another: its forward;
 * its backward, where others recompute groups of so many blocks (march.h). */
int wan_fsdp_pass(wan_fsdp *f, int first, int end) WAN_MUST_CHECK;
int wan_fsdp_pass_back(wan_fsdp *f, int first, int end, int group) WAN_MUST_CHECK;
/* Whether such rounds are needed (FSDP). */
int wan_fsdp_rounds(const wan_fsdp *f);
/* All gradients have arrived in store->grad, and are complete. */
int wan_fsdp_finish(wan_fsdp *f) WAN_MUST_CHECK;
/* The masters have changed: what was gathered is no longer true. */
int wan_fsdp_changed(wan_fsdp *f) WAN_MUST_CHECK;
/* Waits for what is under way. */
int wan_fsdp_settle(wan_fsdp *f) WAN_MUST_CHECK;

#endif
