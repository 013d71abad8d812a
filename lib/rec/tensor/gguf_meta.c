/* SPDX-License-Identifier: Apache-2.0
 *
 * gguf_meta.c - values of metadata by key.
 */
#include <string.h>

#include "lib/base/le.h"
#include "lib/rec/tensor/gguf_in.h"

const gguf_pair *wan_gguf_find(const wan_gguf *g, const char *key)
{
    for (size_t i = 0; i < g->n_pairs; i++)
        if (!strcmp(g->pair[i].key, key))
            return &g->pair[i];
    return NULL;
}

const char *wan_gguf_string(const wan_gguf *g, const char *key)
{
    const gguf_pair *p = wan_gguf_find(g, key);
    return p ? p->text : NULL;
}

int64_t wan_gguf_whole(const gguf_pair *p, uint64_t i)
{
    const uint8_t *v = p->value;
    switch (p->kind) {
    case GGUF_U8:
    case GGUF_BOOL: return v[i];
    case GGUF_I8: return (int8_t)v[i];
    case GGUF_U16: return wan_le_get16(v + 2 * i);
    case GGUF_I16: return (int16_t)wan_le_get16(v + 2 * i);
    case GGUF_U32: return wan_le_get32(v + 4 * i);
    case GGUF_I32: return (int32_t)wan_le_get32(v + 4 * i);
    default: return (int64_t)wan_le_get64(v + 8 * i);
    }
}

int64_t wan_gguf_number(const wan_gguf *g, const char *key, int64_t other)
{
    const gguf_pair *p = wan_gguf_find(g, key);
    if (!p || p->array || p->text || p->kind == GGUF_F32 || p->kind == GGUF_F64)
        return other;
    return wan_gguf_whole(p, 0);
}
