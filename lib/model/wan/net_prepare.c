/* SPDX-License-Identifier: Apache-2.0
 *
 * net_prepare.c - what a forward pass needs to know about its pack: sample boundaries, positions,
 * timesteps, and the rows of the text context.
 *
 * Text: the model attends to text_len rows per sample, of which all but the true ones are zero and
 * therefore become one and the same key and value.  So a sample keeps its n true rows and one zero
 * row whose score is raised by log(text_len - n): exp(s + log m) = m exp(s).  The result, and every
 * gradient, is that of text_len rows.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/model/wan/net_priv.h"

int wan_net_lengths_reserve(wan_dev *d, wan_net_lengths *p, int64_t samples, int64_t rows)
{
    *p = (wan_net_lengths){ 0 };
    p->cu_host = wan_malloc((size_t)samples + 1, sizeof *p->cu_host, "pack");
    p->seg_host = wan_malloc((size_t)rows, sizeof *p->seg_host, "pack");
    p->cu = wan_dev_alloc(d, ((size_t)samples + 1) * sizeof *p->cu, "pack");
    p->seg = wan_dev_alloc(d, (size_t)rows * sizeof *p->seg, "pack");
    return p->cu_host && p->seg_host && p->cu && p->seg ? 0 : -1;
}

void wan_net_lengths_release(wan_dev *d, wan_net_lengths *p)
{
    wan_dev_free(d, p->cu);
    wan_dev_free(d, p->seg);
    free(p->cu_host);
    free(p->seg_host);
    *p = (wan_net_lengths){ 0 };
}

int wan_net_lengths_set(wan_dev *d, wan_net_lengths *p, const int64_t *len, int n)
{
    int32_t at = 0;
    wan_pack *k = &p->pack;
    *k = (wan_pack){ .n = n, .cu = p->cu, .seg = p->seg, .cu_host = p->cu_host };
    for (int i = 0; i < n; i++) {
        p->cu_host[i] = at;
        for (int64_t j = 0; j < len[i]; j++)
            p->seg_host[at++] = i;
        if (len[i] > k->max_len)
            k->max_len = len[i];
    }
    p->cu_host[n] = at;
    k->S = at;
    WAN_TRY(wan_dev_write(d, p->cu, p->cu_host, ((size_t)n + 1) * sizeof *p->cu));
    return wan_dev_write(d, p->seg, p->seg_host, (size_t)at * sizeof *p->seg);
}

int wan_net_rope_make(wan_net_acts *a)
{
    const wan_rope *r = &a->rope;
    size_t n = (size_t)r->P * (size_t)a->c.head_dim;
    wan_real *host = wan_malloc(n, sizeof *host, "RoPE table");
    if (!host)
        return -1;
    wan_rope_table(host, r->P, r->axis, 10000);
    int rc = wan_dev_write(a->base.d, (void *)(uintptr_t)r->table, host, n * sizeof *host);
    if (rc == 0)
        rc = wan_dev_sync(a->base.d);
    free(host);
    return rc;
}

static int same_grids(const wan_net_acts *a, const wan_micro *in)
{
    return a->n_grid == in->n && memcmp(a->grid, in->grid, (size_t)in->n * sizeof *a->grid) == 0;
}

static int check_grids(const wan_net_acts *a, const wan_micro *in)
{
    int64_t S = 0;
    if (in->n < 1 || in->n > a->base.cap.samples)
        return wan_err("transformer: a pack of %d samples, room for %lld", in->n,
                       (long long)a->base.cap.samples);
    for (int i = 0; i < in->n; i++) {
        const int64_t *g = in->grid[i];
        for (int k = 0; k < 3; k++)
            if (g[k] < 1 || g[k] > WAN_NET_ROPE_MAX)
                return wan_err("transformer: sample %d has a grid of %lldx%lldx%lld, each side "
                               "must be 1..%d",
                               i, (long long)g[0], (long long)g[1], (long long)g[2],
                               WAN_NET_ROPE_MAX);
        S += g[0] * g[1] * g[2];
    }
    if (in->first || in->tokens)
        return wan_err("transformer: samples in part");
    if (S > a->base.cap.tokens)
        return wan_err("transformer: a pack of %lld tokens, room for %lld", (long long)S,
                       (long long)a->base.cap.tokens);
    return 0;
}

/* Token boundaries and positions; kept while the grids stay the same (every step of a sampler). */
static int fill_tokens(wan_net_acts *a, const wan_micro *in)
{
    wan_dev *d = a->base.d;
    if (same_grids(a, in))
        return 0;
    WAN_TRY(check_grids(a, in));
    a->n_grid = 0;
    int32_t *at = a->pos_host;
    for (int i = 0; i < in->n; i++) {
        const int64_t *g = in->grid[i];
        wan_rope_positions(at, g, 0, g[0] * g[1] * g[2]);
        at += 3 * g[0] * g[1] * g[2];
    }
    WAN_TRY(wan_dev_write(d, a->pos, a->pos_host, (size_t)(at - a->pos_host) * sizeof *at));
    memcpy(a->grid, in->grid, (size_t)in->n * sizeof *a->grid);
    for (int i = 0; i < in->n; i++)
        a->len[i] = a->grid[i][0] * a->grid[i][1] * a->grid[i][2];
    WAN_TRY(wan_net_lengths_set(d, &a->tok, a->len, in->n));
    a->base.held = a->tok.pack;
    a->n_grid = in->n;
    return 0;
}

int64_t wan_net_text_kept(const wan_net_config *c, int64_t n)
{
    return n < c->text_len ? n + 1 : n;
}

int wan_net_text_lay(wan_dev *d, const wan_net_config *c, wan_buf x, wan_real *kbias,
                     const wan_pack *pack, wan_buf text, const int64_t *text_len, wan_real *staging)
{
    int64_t T = c->text_dim, from = 0;
    for (int i = 0; i < pack->n; i++) {
        int64_t n = text_len[i], at = pack->cu_host[i], zeros = c->text_len - n;
        if (n > 0)
            WAN_TRY(d->ops->cast(d, wan_buf_at(x, at * T), wan_buf_at(text, from * T), n * T));
        for (int64_t j = 0; j < n; j++)
            staging[at + j] = 0;
        if (zeros > 0) {
            WAN_TRY(d->ops->fill(d, wan_buf_at(x, (at + n) * T), 0, T));
            staging[at + n] = (wan_real)log((double)zeros);
        }
        from += n;
    }
    return wan_dev_write(d, kbias, staging, (size_t)pack->S * sizeof *staging);
}

static int fill_text(wan_net_acts *a, const wan_micro *in)
{
    wan_dev *d = a->base.d;
    int64_t R = 0;
    for (int i = 0; i < in->n; i++) {
        if (in->text_len[i] < 0 || in->text_len[i] > a->c.text_len)
            return wan_err("transformer: sample %d has %lld text rows, must be 0..%d", i,
                           (long long)in->text_len[i], a->c.text_len);
        a->len[i] = wan_net_text_kept(&a->c, in->text_len[i]);
        R += a->len[i];
    }
    if (R > a->base.cap.text_rows)
        return wan_err("transformer: a pack of %lld text rows, room for %lld", (long long)R,
                       (long long)a->base.cap.text_rows);
    WAN_TRY(wan_net_lengths_set(d, &a->txt, a->len, in->n));
    return wan_net_text_lay(d, &a->c, a->tx, a->kbias.p, &a->txt.pack, in->text, in->text_len,
                            a->host);
}

static int fill_rows(wan_net_acts *a, wan_buf rows)
{
    wan_dev *d = a->base.d;
    int64_t width = (int64_t)a->c.in_ch * a->c.patch_h * a->c.patch_w;
    a->x_rows = rows;
    if (rows.t == a->base.compute)
        return 0;
    a->x_rows = a->rows;
    return d->ops->cast(d, a->rows, rows, a->tok.pack.S * width);
}

int wan_net_fill(wan_acts *base, const wan_micro *in, const wan_context *ctx)
{
    wan_net_acts *a = wan_net_of(base);
    if (ctx && ctx->pack.pack.n != in->n)
        return wan_err("transformer: %d samples with the text of %d", in->n, ctx->pack.pack.n);
    WAN_TRY(fill_tokens(a, in));
    a->ctx = ctx;
    if (!ctx)
        WAN_TRY(fill_text(a, in));
    WAN_TRY(fill_rows(a, in->rows));
    memcpy(a->host, in->t, (size_t)in->n * sizeof *a->host);
    return wan_dev_write(base->d, a->t.p, a->host, (size_t)in->n * sizeof *a->host);
}
