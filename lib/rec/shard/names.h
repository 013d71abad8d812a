/* SPDX-License-Identifier: Apache-2.0
 *
 * names.h - lists of shard names, and the brace patterns that stand for them.
 */
#ifndef WAN_REC_NAMES_H
#define WAN_REC_NAMES_H

#include <stddef.h>

#include "lib/base/err.h"

typedef struct wan_names {
    char **v; /* owned */
    size_t n, cap;
} wan_names;

int wan_names_add(wan_names *l, const char *s, size_t len) WAN_MUST_CHECK;
void wan_names_clear(wan_names *l);
/* Appends every expansion of pattern ({000..012}, {a,b}, nested); at most a million. */
int wan_names_expand(wan_names *l, const char *pattern) WAN_MUST_CHECK;
/* Appends names with runs of consecutive numbers written as one pattern. */
int wan_names_collapse(wan_names *l, const wan_names *names) WAN_MUST_CHECK;

#endif
