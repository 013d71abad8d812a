/* SPDX-License-Identifier: Apache-2.0
 *
 * dp.h - data parallel: the gradients of all ranks summed in buckets while the backward goes on.
 *
 *     wan_dp_new(&dp, store, group, where, bucket_bytes);
 *     ... last micro-batch of this rank: wan_step_run(step, ..., &(wan_hooks){ dp, .back_after = wan_dp_part });
 *     WAN_TRY(wan_dp_finish(dp));       // all sums arrived; a rank without any calls only this
 *
 * Parts complete from the last to the first, and each is one range of the flat vector next to its
 * neighbours', so a bucket is a growing range that is sent when it is large enough.  The buckets and
 * their order depend on the store alone, hence agree on all ranks.
 */
#ifndef WAN_TRAIN_DP_H
#define WAN_TRAIN_DP_H

#include "lib/dist/group.h"
#include "lib/model/store.h"

typedef struct wan_dp wan_dp;

/* g: the ranks that hold partial sums of the same parameters; w: the memory of the gradients. */
int wan_dp_new(wan_dp **out, wan_store *s, wan_group *g, const wan_where *w, int64_t bucket_bytes)
    WAN_MUST_CHECK;
void wan_dp_free(wan_dp **d);
/* A wan_hook: the gradients of this part are complete; arg is the wan_dp. */
int wan_dp_part(void *arg, int part);
/* Sends what has not been sent, waits for everything. */
int wan_dp_finish(wan_dp *d) WAN_MUST_CHECK;

#endif
