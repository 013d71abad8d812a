/* SPDX-License-Identifier: Apache-2.0
 *
 * net_context.c - keys and values of a prompt for every block, made once and used for every step of
 * a sampler: they depend neither on the latent nor on the time.
 */
#include <stdlib.h>

#include "lib/base/file.h"
#include "lib/model/block/textrows.h"
#include "lib/model/wan/net_priv.h"

/* Rows [R, A] number i (key, value of block 0, key, value of block 1, ...). */
static wan_buf row_block(const wan_context *c, int i)
{
    return wan_buf_at(wan_buf_of(c->mem, c->compute), i * c->R * c->z.A);
}

wan_net_kv wan_net_context_kv(const wan_context *c, int l)
{
    return (wan_net_kv){ &c->pack.pack, c->kbias, row_block(c, 2 * l), row_block(c, 2 * l + 1) };
}

/* Work space that is needed only while the context is made. */
typedef struct scratch {
    wan_real *staging; /* host */
    wan_real *rstd;
    wan_buf x, h, ctx, k0;
} scratch;

static wan_buf rows_of(const wan_context *c, int64_t width)
{
    size_t bytes = (size_t)(c->R * width) * wan_dtype_size(c->compute);
    return wan_buf_of(wan_dev_alloc(c->d, bytes, "text rows"), c->compute);
}

static int scratch_new(scratch *s, const wan_context *c)
{
    s->staging = wan_malloc((size_t)c->R, sizeof *s->staging, "text rows");
    s->rstd = wan_dev_alloc(c->d, (size_t)c->R * sizeof *s->rstd, "text rows");
    s->x = rows_of(c, c->c.text_dim);
    s->h = rows_of(c, c->z.D);
    s->ctx = rows_of(c, c->z.D);
    s->k0 = rows_of(c, c->z.A);
    return s->staging && s->rstd && s->x.p && s->h.p && s->ctx.p && s->k0.p ? 0 : -1;
}

static void scratch_free(scratch *s, wan_dev *d)
{
    free(s->staging);
    wan_dev_free(d, s->rstd);
    wan_dev_free(d, s->x.p);
    wan_dev_free(d, s->h.p);
    wan_dev_free(d, s->ctx.p);
    wan_dev_free(d, s->k0.p);
}

static int fill(wan_context *c, wan_store *st, scratch *s, wan_buf text, const int64_t *text_len)
{
    wan_dev *d = c->d;
    wan_buf none = { NULL, c->compute };
    wan_net_embed e;
    wan_net_bind_embed(&e, st);
    WAN_TRY(wan_textrows_lay(d, s->x, c->kbias, &c->pack.pack, text, text_len, c->c.text_dim,
                             c->c.text_len, s->staging));
    WAN_TRY(wan_net_text_mlp(d, &e, s->ctx, s->h, none, s->x, c->R));
    for (int l = 0; l < c->c.layers; l++) {
        wan_net_block b;
        wan_net_kv kv = wan_net_context_kv(c, l);
        wan_net_bind_block(&b, st, l);
        WAN_TRY(wan_net_text_kv(d, &c->c, &b, kv.k, kv.v, s->k0, s->rstd, s->ctx, c->R));
    }
    return wan_dev_sync(d);
}

static int lengths(wan_context *c, int64_t *len, const int64_t *text_len, int n)
{
    if (n < 1)
        return wan_err("transformer: a context of %d samples", n);
    c->R = wan_textrows_count(len, text_len, n, c->c.text_len, "transformer");
    return c->R < 0 ? -1 : 0;
}

static int build(wan_context *c, wan_store *st, int64_t *len, wan_buf text, const int64_t *text_len,
                 int n)
{
    wan_dev *d = c->d;
    WAN_TRY(wan_net_widths_of(&c->z, &c->c, &st->slice));
    WAN_TRY(lengths(c, len, text_len, n));
    size_t bytes = (size_t)(2 * c->c.layers * c->R * c->z.A) * wan_dtype_size(c->compute);
    c->mem = wan_dev_alloc(d, bytes, "keys and values of the text");
    c->kbias = wan_dev_alloc(d, (size_t)c->R * sizeof(wan_real), "text rows");
    if (!c->mem || !c->kbias)
        return -1;
    WAN_TRY(wan_lengths_reserve(d, &c->pack, n, c->R));
    WAN_TRY(wan_lengths_set(d, &c->pack, len, n));
    scratch s = { 0 };
    int rc = scratch_new(&s, c);
    if (rc == 0)
        rc = fill(c, st, &s, text, text_len);
    scratch_free(&s, d);
    return rc;
}

int wan_net_context_new(wan_context **out, wan_store *s, const void *config, wan_buf text,
                        const int64_t *text_len, int n)
{
    wan_context *c = wan_calloc(1, sizeof *c, "context");
    int64_t *len = wan_calloc(n > 0 ? (size_t)n : 1, sizeof *len, "context");
    int rc = -1;
    *out = NULL;
    if (c && len) {
        c->c = *(const wan_net_config *)config;
        c->d = s->d;
        c->compute = s->compute;
        rc = build(c, s, len, text, text_len, n);
    }
    free(len);
    if (rc == 0)
        *out = c;
    else if (c && c->d)
        wan_net_context_free(&c);
    else
        free(c);
    return rc;
}

void wan_net_context_free(wan_context **pc)
{
    wan_context *c = *pc;
    wan_dev *d = c->d;
    wan_dev_free(d, c->mem);
    wan_dev_free(d, c->kbias);
    wan_lengths_release(d, &c->pack);
    free(c);
    *pc = NULL;
}
