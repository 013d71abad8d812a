/* SPDX-License-Identifier: Apache-2.0
 *
 * net_context.c - keys and values of a prompt for every block, made once and used for every step of
 * a sampler: they depend neither on the latent nor on the time.
 */
#include <stdlib.h>

#include "lib/base/file.h"
#include "lib/model/wan/net_priv.h"

/* Rows [R, D] number i (key, value of block 0, key, value of block 1, ...). */
static wan_buf row_block(const wan_net_context *c, int i)
{
    const wan_net *m = c->m;
    return wan_buf_at(wan_buf_of(c->mem, m->compute), i * c->R * wan_net_width(&m->c));
}

wan_net_kv wan_net_context_kv(const wan_net_context *c, int l)
{
    return (wan_net_kv){ &c->pack.pack, c->kbias, row_block(c, 2 * l), row_block(c, 2 * l + 1) };
}

/* Work space that is needed only while the context is made. */
typedef struct scratch {
    wan_real *staging; /* host */
    wan_real *rstd;
    wan_buf x, h, ctx, k0;
} scratch;

static int scratch_new(scratch *s, wan_net *m, int64_t R)
{
    int64_t D = wan_net_width(&m->c);
    size_t e = wan_dtype_size(m->compute);
    s->staging = wan_malloc((size_t)R, sizeof *s->staging, "text rows");
    s->rstd = wan_dev_alloc(m->d, (size_t)R * sizeof *s->rstd, "text rows");
    size_t x_bytes = (size_t)(R * m->c.text_dim) * e;
    s->x = wan_buf_of(wan_dev_alloc(m->d, x_bytes, "text rows"), m->compute);
    s->h = wan_buf_of(wan_dev_alloc(m->d, (size_t)(R * D) * e, "text rows"), m->compute);
    s->ctx = wan_buf_of(wan_dev_alloc(m->d, (size_t)(R * D) * e, "text rows"), m->compute);
    s->k0 = wan_buf_of(wan_dev_alloc(m->d, (size_t)(R * D) * e, "text rows"), m->compute);
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

static int fill(wan_net_context *c, scratch *s, wan_buf text, const int64_t *text_len)
{
    wan_net *m = c->m;
    wan_buf none = { NULL, m->compute };
    WAN_TRY(wan_net_text_lay(m, s->x, c->kbias, &c->pack.pack, text, text_len, s->staging));
    WAN_TRY(wan_net_text_mlp(m, s->ctx, s->h, none, s->x, c->R));
    for (int l = 0; l < m->c.layers; l++) {
        wan_net_kv kv = wan_net_context_kv(c, l);
        WAN_TRY(wan_net_text_kv(m, l, kv.k, kv.v, s->k0, s->rstd, s->ctx, c->R));
    }
    return wan_dev_sync(m->d);
}

static int lengths(wan_net_context *c, int64_t *len, const int64_t *text_len, int n)
{
    const wan_net_config *cfg = &c->m->c;
    if (n < 1)
        return wan_err("transformer: a context of %d samples", n);
    for (int i = 0; i < n; i++) {
        if (text_len[i] < 0 || text_len[i] > cfg->text_len)
            return wan_err("transformer: prompt %d has %lld text rows, must be 0..%d", i,
                           (long long)text_len[i], cfg->text_len);
        len[i] = wan_net_text_kept(cfg, text_len[i]);
        c->R += len[i];
    }
    return 0;
}

static int build(wan_net_context *c, int64_t *len, wan_buf text, const int64_t *text_len, int n)
{
    wan_net *m = c->m;
    WAN_TRY(lengths(c, len, text_len, n));
    size_t bytes =
        (size_t)(2 * m->c.layers * c->R * wan_net_width(&m->c)) * wan_dtype_size(m->compute);
    c->mem = wan_dev_alloc(m->d, bytes, "keys and values of the text");
    c->kbias = wan_dev_alloc(m->d, (size_t)c->R * sizeof(wan_real), "text rows");
    if (!c->mem || !c->kbias)
        return -1;
    WAN_TRY(wan_net_pack_reserve(m->d, &c->pack, n, c->R));
    WAN_TRY(wan_net_pack_set(m->d, &c->pack, len, n));
    scratch s = { 0 };
    int rc = scratch_new(&s, m, c->R);
    if (rc == 0)
        rc = fill(c, &s, text, text_len);
    scratch_free(&s, m->d);
    return rc;
}

int wan_net_context_new(wan_net_context **out, wan_net *m, wan_buf text, const int64_t *text_len,
                        int n)
{
    *out = NULL;
    wan_net_context *c = wan_calloc(1, sizeof *c, "context");
    int64_t *len = wan_calloc(n > 0 ? (size_t)n : 1, sizeof *len, "context");
    int rc = -1;
    if (c)
        c->m = m;
    if (c && len)
        rc = build(c, len, text, text_len, n);
    free(len);
    if (rc < 0)
        wan_net_context_free(&c);
    *out = c;
    return rc;
}

void wan_net_context_free(wan_net_context **cp)
{
    wan_net_context *c = *cp;
    if (!c)
        return;
    wan_dev *d = c->m->d;
    wan_dev_free(d, c->mem);
    wan_dev_free(d, c->kbias);
    wan_net_pack_release(d, &c->pack);
    free(c);
    *cp = NULL;
}
