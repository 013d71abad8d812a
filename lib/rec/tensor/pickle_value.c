/* SPDX-License-Identifier: Apache-2.0
 *
 * pickle_value.c - the values of a pickle: their memory, in blocks, and its bounds.
 */
#include "lib/rec/tensor/pickle_in.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"

enum { MAX_VALUES = 4 << 20, BLOCK = 256 << 10, MAX_MEMORY = 1 << 30 };

struct wan_pickle_block {
    struct wan_pickle_block *next;
    size_t used, size;
    char data[];
};

void *wan_pickle_alloc(wan_pickle *p, size_t n)
{
    n = (n + 15) & ~(size_t)15;
    if (n > MAX_MEMORY - p->bytes) {
        wan_err("needs more than %d bytes", (int)MAX_MEMORY);
        return NULL;
    }
    p->bytes += n;
    if (!p->blocks || p->blocks->size - p->blocks->used < n) {
        size_t size = n > BLOCK ? n : BLOCK;
        struct wan_pickle_block *b = wan_malloc(1, sizeof *b + size, "pickle");
        if (!b)
            return NULL;
        b->next = p->blocks;
        b->used = 0;
        b->size = size;
        p->blocks = b;
    }
    void *at = p->blocks->data + p->blocks->used;
    p->blocks->used += n;
    return at;
}

wan_pickle_value *wan_pickle_make(wan_pickle *p, enum wan_pickle_kind kind)
{
    if (++p->values > MAX_VALUES) {
        wan_err("more than %d values", (int)MAX_VALUES);
        return NULL;
    }
    wan_pickle_value *v = wan_pickle_alloc(p, sizeof *v);
    if (v) {
        memset(v, 0, sizeof *v);
        v->kind = kind;
        v->dtype = -2;
    }
    return v;
}

void wan_pickle_release(wan_pickle *p)
{
    while (p->blocks) {
        struct wan_pickle_block *next = p->blocks->next;
        free(p->blocks);
        p->blocks = next;
    }
}

int wan_pickle_is(const wan_pickle_value *v, const char *s)
{
    return v->kind == WAN_PK_STR && v->len == strlen(s) && !memcmp(v->str, s, v->len);
}

const wan_pickle_value *wan_pickle_get(const wan_pickle_value *v, const char *name)
{
    if (v && v->kind == WAN_PK_OPAQUE)
        v = v->state;
    if (!v || v->kind != WAN_PK_DICT)
        return NULL;
    for (size_t i = 0; i + 1 < v->len; i += 2)
        if (wan_pickle_is(v->item[i], name))
            return v->item[i + 1];
    return NULL;
}
