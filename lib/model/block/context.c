/* SPDX-License-Identifier: Apache-2.0
 *
 * context.c - see context.h.
 */
#include "lib/model/block/context.h"

#include <stdlib.h>

#include "lib/base/file.h"
#include "lib/model/block/textrows.h"

static wan_buf rows(const wan_context *c, int i)
{
    return wan_buf_at(wan_buf_of(c->mem, c->compute), i * c->R * c->width);
}

wan_buf wan_context_key(const wan_context *c, int l)
{
    return rows(c, 2 * l);
}

wan_buf wan_context_value(const wan_context *c, int l)
{
    return rows(c, 2 * l + 1);
}

wan_context_kv wan_context_at(const wan_context *c, int l)
{
    return (wan_context_kv){ &c->pack.pack, c->kbias, wan_context_key(c, l),
                             wan_context_value(c, l) };
}

static int build(wan_context *c, int layers, int64_t *kept, const int64_t *text_len, int n,
                 int64_t all)
{
    if (n < 1)
        return wan_err("transformer: a context of %d samples", n);
    c->R = wan_textrows_count(kept, text_len, n, all, "transformer");
    if (c->R < 0)
        return -1;
    size_t bytes = (size_t)(2 * layers * c->R * c->width) * wan_dtype_size(c->compute);
    c->mem = wan_dev_alloc(c->d, bytes, "keys and values of the text");
    c->kbias = wan_dev_alloc(c->d, (size_t)c->R * sizeof *c->kbias, "text rows");
    if (!c->mem || !c->kbias)
        return -1;
    WAN_TRY(wan_lengths_reserve(c->d, &c->pack, n, c->R));
    return wan_lengths_set(c->d, &c->pack, kept, n);
}

int wan_context_new(wan_context **out, const wan_store *s, int layers, int64_t width,
                    const int64_t *text_len, int n, int64_t all)
{
    wan_context *c = wan_calloc(1, sizeof *c, "context");
    int64_t *kept = wan_calloc(n > 0 ? (size_t)n : 1, sizeof *kept, "context");
    int rc = -1;
    *out = NULL;
    if (c && kept) {
        *c = (wan_context){ .d = s->d, .compute = s->compute, .width = width };
        rc = build(c, layers, kept, text_len, n, all);
    }
    free(kept);
    if (rc == 0)
        *out = c;
    else if (c && c->d)
        wan_context_free(&c);
    else
        free(c);
    return rc;
}

void wan_context_free(wan_context **pc)
{
    wan_context *c = *pc;
    if (!c)
        return;
    wan_dev_free(c->d, c->mem);
    wan_dev_free(c->d, c->kbias);
    wan_lengths_release(c->d, &c->pack);
    free(c);
    *pc = NULL;
}
