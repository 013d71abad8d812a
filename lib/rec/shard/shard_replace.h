/* SPDX-License-Identifier: Apache-2.0
 *
 * shard_replace.h - new shards of a rank in place of those that are there, all at once.
 *
 * The new ones are written as NAME.tar.new, which no reader takes for a shard.  When all are whole the file
 * .shard-rankNN.switch is made: from then on they are the rank's shards, under whichever name.  The old ones go, then
 * (.shard-rankNN.switched) the new ones get their names, then the file goes.  Who is killed on the way leaves it:
 * wan_shard_list gives the new ones, and the next writer of the rank, or wan-index, goes on with it.  At no
 * moment old and new ones are taken for one set, and no exchange of names is needed.
 */
#ifndef WAN_REC_SHARD_REPLACE_H
#define WAN_REC_SHARD_REPLACE_H

#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/out.h"

/* The number in this rank's shard name, -1 for any other name; *end: what follows it, ".tar" of a whole one. */
int64_t wan_shard_replace_number(int rank, const char *name, const char **end);
/* Puts the new shards in place of the old ones. */
int wan_shard_replace_commit(const char *dir, int rank) WAN_MUST_CHECK;
/* Ends what was interrupted: goes on with a replacement that was begun, removes new shards of one that was not. */
int wan_shard_replace_settle(const char *dir, int rank) WAN_MUST_CHECK;
/* Keeps out another writer with the rank's names, which would mix its shards with ours; discarded at the end. */
int wan_shard_replace_lock(wan_out **lock, const char *dir, int rank) WAN_MUST_CHECK;

/* How far replacements in a folder are. */
typedef struct wan_shard_marks {
    unsigned char stage[100]; /* of a rank: 0 nothing, 1 old ones go, 2 new ones get their names */
} wan_shard_marks;
int wan_shard_replace_look(wan_shard_marks *m, const char *dir) WAN_MUST_CHECK;
/* Goes on with those, unless a writer of the rank is at work: none is left in m. */
int wan_shard_replace_end(wan_shard_marks *m, const char *dir) WAN_MUST_CHECK;
/* 1: this is NAME.tar.new and stands for NAME.tar; -1: an old shard, which goes; 0: any other name. */
int wan_shard_replace_stands(const wan_shard_marks *m, const char *name);

#endif
