/* SPDX-License-Identifier: Apache-2.0
 *
 * shard_replace.h - new shards of a rank in place of those that are there, all at once.
 *
 * The new ones are written as NAME.tar.new, which no reader takes for a shard.  When all are whole the file
 * .shard-rankNN.switch is made: from then on the old ones go, then (.shard-rankNN.switched) the new ones get their
 * names.  Who is killed on the way leaves that file: wan_shard_list refuses the folder, and the next writer
 * of the rank goes on with it.  At no moment old and new ones are taken for one set.
 */
#ifndef WAN_REC_SHARD_REPLACE_H
#define WAN_REC_SHARD_REPLACE_H

#include <stdint.h>

#include "lib/base/err.h"

/* The number in this rank's shard name, -1 for any other name; *end: what follows it, ".tar" of a whole one. */
int64_t wan_shard_replace_number(int rank, const char *name, const char **end);
/* Puts the new shards in place of the old ones. */
int wan_shard_replace_commit(const char *dir, int rank) WAN_MUST_CHECK;
/* Ends what was interrupted: goes on with a replacement that was begun, removes new shards of one that was not. */
int wan_shard_replace_settle(const char *dir, int rank) WAN_MUST_CHECK;
/* Whether this is the name of the file that says that a replacement is not done. */
int wan_shard_replace_marks(const char *name);

#endif
