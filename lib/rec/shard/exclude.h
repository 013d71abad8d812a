/* SPDX-License-Identifier: Apache-2.0
 *
 * exclude.h - what split.yaml leaves out, SHARD or SHARD/KEY, looked up in constant time.
 */
#ifndef WAN_REC_EXCLUDE_H
#define WAN_REC_EXCLUDE_H

#include "lib/base/json.h"
#include "lib/rec/shard/keyset.h"
#include "lib/rec/shard/split.h"

typedef struct wan_exclude {
    const wan_split *s;       /* borrowed */
    wan_keyset whole, within; /* what is listed; shards in front of a slash there */
    wan_keyset looked, met;   /* shards looked into for single keys; what has left something out */
} wan_exclude;

/* counts: the shards that there are.  Cleared by the caller, also after an error. */
int wan_exclude_new(wan_exclude *x, const wan_split *s, const json_t *counts) WAN_MUST_CHECK;
void wan_exclude_clear(wan_exclude *x);
/* Is the shard left out: 0 no, 1 in part, 2 wholly? */
int wan_exclude_shard(const wan_exclude *x, const char *name);
/* The keys of this one are asked for from now on. */
int wan_exclude_look(wan_exclude *x, const char *name) WAN_MUST_CHECK;
/* 1: the sample is left out, 0, -1. */
int wan_exclude_sample(wan_exclude *x, const char *name, const char *key) WAN_MUST_CHECK;
/* An exclusion of a key that no sample of a shard looked into has is a mistake: what it meant would be learned. */
int wan_exclude_check(const wan_exclude *x) WAN_MUST_CHECK;
/* Calls fn with everything that stands in front of a slash of e, until it gives something else than 0: that, or 0. */
int wan_exclude_each_front(const char *e, int (*fn)(void *, const char *front), void *arg)
    WAN_MUST_CHECK;

#endif
