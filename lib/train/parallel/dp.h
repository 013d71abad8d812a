/* SPDX-License-Identifier: Apache-2.0
 *
 * dp.h - data parallel: the gradients of all ranks summed in buckets while the backward goes on.
 *
 *     wan_dp_new(&dp, model, comm, bucket_bytes);
 *     ... last pack of this rank: wan_step_run(step, ..., wan_dp_on_grad, dp);
 *     WAN_TRY(wan_dp_finish(dp));       // all sums arrived; a rank without packs calls only this
 *
 * Blocks complete from the last to the first, and each block's gradients lie next to those of its
 * neighbours in the flat vector, so a bucket is a growing range that is sent when it is large enough.
 * The buckets and their order depend on the model alone, hence agree on all ranks.
 */
#ifndef WAN_TRAIN_DP_H
#define WAN_TRAIN_DP_H

#include "lib/dist/comm.h"
#include "lib/model/wan/net.h"

typedef struct wan_dp wan_dp;

int wan_dp_new(wan_dp **out, wan_net *m, wan_comm *c, int64_t bucket_bytes) WAN_MUST_CHECK;
void wan_dp_free(wan_dp **d);
/* A wan_net_on_grad; arg is the wan_dp. */
int wan_dp_on_grad(void *arg, int block);
/* Sends what has not been sent, waits for everything. */
int wan_dp_finish(wan_dp *d) WAN_MUST_CHECK;

#endif
