/* SPDX-License-Identifier: Apache-2.0
 *
 * net_context.c - keys and values of a prompt for every block (context.h): text through the MLP, then
 * through each block's projections.
 */
#include <stdlib.h>

#include "lib/base/file.h"
#include "lib/model/block/textrows.h"
#include "lib/model/wan/net_priv.h"

/* Work space that is needed only while the context is made. */
typedef struct scratch {
    wan_real *staging; /* host */
    wan_real *rstd;
    wan_buf x, h, ctx, k0, sums;
} scratch;

static wan_buf rows_of(const wan_context *c, int64_t width)
{
    size_t bytes = (size_t)(c->R * width) * wan_dtype_size(c->compute);
    return wan_buf_of(wan_dev_alloc(c->d, bytes, "text rows"), c->compute);
}

static int scratch_new(scratch *s, const wan_context *c, const wan_net_config *cfg)
{
    s->staging = wan_malloc((size_t)c->R, sizeof *s->staging, "text rows");
    s->rstd = wan_dev_alloc(c->d, (size_t)c->R * sizeof *s->rstd, "text rows");
    s->x = rows_of(c, cfg->text_dim);
    s->h = rows_of(c, wan_net_width(cfg));
    s->ctx = rows_of(c, wan_net_width(cfg));
    s->k0 = rows_of(c, c->width);
    s->sums = WAN_RBUF(wan_dev_alloc(c->d, (size_t)c->R * sizeof(wan_real), "text rows"));
    return s->staging && s->rstd && s->x.p && s->h.p && s->ctx.p && s->k0.p && s->sums.p ? 0 : -1;
}

static void scratch_free(scratch *s, wan_dev *d)
{
    free(s->staging);
    wan_dev_free(d, s->rstd);
    wan_dev_free(d, s->x.p);
    wan_dev_free(d, s->h.p);
    wan_dev_free(d, s->ctx.p);
    wan_dev_free(d, s->k0.p);
    wan_dev_free(d, s->sums.p);
}

static int fill(wan_context *c, const wan_acts *a, wan_store *st, scratch *s, wan_buf text,
                const int64_t *text_len)
{
    const wan_net_config *cfg = a->c;
    wan_dev *d = c->d;
    wan_buf none = WAN_BUF_NONE;
    wan_net_embed e;
    WAN_TRY(wan_store_enter(st, 0));
    wan_net_bind_embed(&e, st);
    WAN_TRY(wan_textrows_lay(d, s->x, c->kbias, &c->pack.pack, text, text_len, cfg->text_dim,
                             cfg->text_len, s->staging));
    WAN_TRY(wan_net_text_mlp(d, &e, s->ctx, s->h, none, s->x, c->R));
    for (int l = 0; l < cfg->layers; l++) {
        wan_net_block b;
        WAN_TRY(wan_store_enter(st, l + 1));
        wan_net_bind_block(&b, st, l);
        WAN_TRY(wan_net_text_kv(a, &b, wan_context_key(c, l), wan_context_value(c, l), s->k0,
                                s->rstd, s->sums, s->ctx, c->R));
    }
    return wan_dev_sync(d);
}

int wan_net_context_new(wan_context **out, const wan_acts *a, wan_store *s, wan_buf text,
                        const int64_t *text_len, int n)
{
    const wan_net_config *cfg = a->c;
    wan_widths z;
    scratch w = { 0 };
    *out = NULL;
    WAN_TRY(wan_widths_of(&z, cfg->heads, cfg->head_dim, cfg->ffn, &s->slice));
    WAN_TRY(wan_context_new(out, s, cfg->layers, z.A, text_len, n, cfg->text_len));
    int rc = scratch_new(&w, *out, cfg);
    if (rc == 0)
        rc = fill(*out, a, s, &w, text, text_len);
    scratch_free(&w, s->d);
    if (rc < 0)
        wan_context_free(out);
    return rc;
}
