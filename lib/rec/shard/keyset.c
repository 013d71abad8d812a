/* SPDX-License-Identifier: Apache-2.0
 *
 * keyset.c - open addressing, at most half full.
 */
#include "lib/rec/shard/keyset.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"

/* FNV-1a, 64 bits */
static uint64_t hash(const char *key)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *key; key++)
        h = (h ^ (uint8_t)*key) * 0x100000001b3u;
    return h ^ h >> 29;
}

static char **find(char **slot, size_t cap, const char *key)
{
    size_t i = hash(key) & (cap - 1);
    while (slot[i] && strcmp(slot[i], key))
        i = (i + 1) & (cap - 1);
    return &slot[i];
}

static int grow(wan_keyset *s)
{
    size_t cap = s->cap ? 2 * s->cap : 256;
    char **slot = wan_calloc(cap, sizeof *slot, "keys");
    if (!slot)
        return -1;
    for (size_t i = 0; i < s->cap; i++)
        if (s->slot[i])
            *find(slot, cap, s->slot[i]) = s->slot[i];
    free(s->slot);
    s->slot = slot;
    s->cap = cap;
    return 0;
}

int wan_keyset_add(wan_keyset *s, const char *key)
{
    if (2 * (s->n + 1) > s->cap)
        WAN_TRY(grow(s));
    char **at = find(s->slot, s->cap, key);
    if (*at)
        return 0;
    if (!(*at = strdup(key)))
        return wan_err("out of memory (keys)");
    s->n++;
    return 1;
}

int wan_keyset_has(const wan_keyset *s, const char *key)
{
    return s->n && *find(s->slot, s->cap, key) != NULL;
}

void wan_keyset_clear(wan_keyset *s)
{
    for (size_t i = 0; i < s->cap; i++)
        free(s->slot[i]);
    free(s->slot);
    *s = (wan_keyset)WAN_KEYSET_INIT;
}
