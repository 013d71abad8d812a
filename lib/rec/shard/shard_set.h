/* SPDX-License-Identifier: Apache-2.0
 *
 * shard_set.h - the shards of a folder in which wan-shard --force may be at work: all of the old ones or all of the new,
 * or whoever reads them is told.
 */
#ifndef WAN_REC_SHARD_SET_H
#define WAN_REC_SHARD_SET_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

typedef struct wan_shard_set {
    char **name; /* as wan_shard_list gives them */
    size_t n;
    uint8_t files[32]; /* which files these are */
} wan_shard_set;

/* Lists them until two lists in a row are the same: one that was made while names changed is not. */
int wan_shard_set_list(wan_shard_set *s, const char *dir) WAN_MUST_CHECK;
/* After reading: -1 where a name stands for another file now, or for none. */
int wan_shard_set_still(const wan_shard_set *s, const char *dir) WAN_MUST_CHECK;
void wan_shard_set_clear(wan_shard_set *s);

#endif
