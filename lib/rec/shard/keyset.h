/* SPDX-License-Identifier: Apache-2.0
 *
 * keyset.h - a set of texts: have we met this sample key before?
 */
#ifndef WAN_REC_KEYSET_H
#define WAN_REC_KEYSET_H

#include <stddef.h>

#include "lib/base/err.h"

typedef struct wan_keyset {
    char **slot; /* owned texts, or NULL */
    size_t n, cap;
} wan_keyset;

#define WAN_KEYSET_INIT                                                                            \
    {                                                                                              \
        0, 0, 0                                                                                    \
    }

/* 1 added, 0 was there already, -1 out of memory. */
int wan_keyset_add(wan_keyset *s, const char *key) WAN_MUST_CHECK;
int wan_keyset_has(const wan_keyset *s, const char *key);
void wan_keyset_clear(wan_keyset *s);

#endif
