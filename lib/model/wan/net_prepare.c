/* SPDX-License-Identifier: Apache-2.0
 *
 * net_prepare.c - what a forward pass needs to know about its pack: sample boundaries, positions,
 * timesteps, and the rows of the text context (textrows.h).
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/model/block/textrows.h"
#include "lib/model/wan/net_priv.h"

int wan_net_rope_make(wan_net_acts *a)
{
    const wan_rope *r = &a->rope;
    size_t n = (size_t)r->P * (size_t)a->c.head_dim;
    if (a->base.d->kind == WAN_DEV_DRY) /* nothing reads it, and a search makes hundreds */
        return 0;
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
    return !in->first && a->n_grid == in->n &&
           memcmp(a->grid, in->grid, (size_t)in->n * sizeof *a->grid) == 0;
}

/* Tokens held of sample i. */
static int64_t held(const wan_micro *in, int i)
{
    const int64_t *g = in->grid[i];
    return in->tokens ? in->tokens[i] : g[0] * g[1] * g[2];
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
        int64_t all = g[0] * g[1] * g[2], first = in->first ? in->first[i] : 0;
        if (first < 0 || held(in, i) < 0 || first + held(in, i) > all)
            return wan_err("transformer: tokens %lld to %lld of a sample of %lld", (long long)first,
                           (long long)(first + held(in, i)), (long long)all);
        S += held(in, i);
    }
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
        wan_rope_positions(at, in->grid[i], in->first ? in->first[i] : 0, held(in, i));
        at += 3 * held(in, i);
        a->len[i] = held(in, i);
    }
    WAN_TRY(wan_dev_write(d, a->pos, a->pos_host, (size_t)(at - a->pos_host) * sizeof *at));
    memcpy(a->grid, in->grid, (size_t)in->n * sizeof *a->grid);
    WAN_TRY(wan_lengths_set(d, &a->tok, a->len, in->n));
    WAN_TRY(wan_seq_set(&a->base, &a->own, a->len, in->n));
    a->stream = a->base.slice.spread ? &a->own.pack : &a->tok.pack;
    a->base.held = a->tok.pack;
    a->n_grid = in->first ? 0 : in->n;
    return 0;
}

static int fill_text(wan_net_acts *a, const wan_micro *in)
{
    wan_dev *d = a->base.d;
    int64_t all = a->c.text_len;
    int64_t R = wan_textrows_count(a->len, in->text_len, in->n, all, "transformer");
    WAN_TRY(R);
    if (R > a->base.cap.text_rows)
        return wan_err("transformer: a pack of %lld text rows, room for %lld", (long long)R,
                       (long long)a->base.cap.text_rows);
    WAN_TRY(wan_lengths_set(d, &a->txt, a->len, in->n));
    return wan_textrows_lay(d, a->tx, a->kbias.p, &a->txt.pack, in->text, in->text_len,
                            a->c.text_dim, all, a->host);
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
