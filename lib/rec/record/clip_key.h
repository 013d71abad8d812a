/* SPDX-License-Identifier: Apache-2.0
 *
 * clip_key.h - a file's path below its folder to a record key, one to one and reversible.
 *
 * Letters, digits, '-', '_' and '/' between others stay.  A run of other bytes becomes "_-", their hex digits
 * (upper case), "-".  So that a path can be told back from the key, the '_' of a "_-" before a
 * letter or digit is itself written so, and the first one of a first folder "__x__", which tar
 * shards keep for themselves (wan-decode(1), Keys).
 */
#ifndef WAN_REC_CLIP_KEY_H
#define WAN_REC_CLIP_KEY_H

#include "lib/base/err.h"

/* The key of prefix (NULL: none) and path, malloc'ed.  A key above 200 bytes is its first part, "_-h"
 * and 32 digits of the SHA-256 of both: one to one, but no longer reversible. */
char *wan_clip_key_make(const char *prefix, const char *path);
/* The key of a name from elsewhere: itself where it is one, else as of a path.  malloc'ed. */
char *wan_clip_key_of(const char *name);

#endif
