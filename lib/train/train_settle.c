/* SPDX-License-Identifier: Apache-2.0
 *
 * train_settle.c - what one rank did alone becomes known to all.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/train/train_priv.h"

int wan_train_settle(wan_train *t, int rc)
{
    double failed = rc < 0;
    char *why = rc < 0 ? strdup(wan_err_text()) : NULL;
    rc = wan_comm_sum_f64(t->comm, &failed, 1);
    if (rc == 0 && failed > 0)
        rc = wan_err("%s", why ? why : "rank 0 has failed: see what it says");
    free(why);
    return rc;
}

int wan_train_keeps(const wan_train *t)
{
    const wan_train_config *v = &t->c->v;
    return wan_config_eight(v) &&
           (t->ranks.sharding != WAN_SHARD_FSDP || v->recompute == WAN_RECOMPUTE_FULL);
}

int wan_train_saves(const wan_train *t)
{
    return *t->c->v.save && t->c->v.ckpt_enabled;
}
