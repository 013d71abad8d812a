/* SPDX-License-Identifier: Apache-2.0
 *
 * dit_prepare.c - what a forward pass needs to know about its pack: sample boundaries, positions,
 * noise levels, and the rows of the text (textrows.h).
 *
 * The frozen position of a token is a row of D channels: a quarter for its frame, three eighths for
 * its column, three eighths for its row, each [sin, cos] of position * 10000^(-i/half).  Cut into
 * eight equal chunks, every chunk depends on one coordinate alone: the rows are gathered from a
 * table [8 chunks, SIDE positions, D/8].
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/model/block/textrows.h"
#include "lib/model/dit/dit_priv.h"

/* The axis that a chunk belongs to (0 frame, 1 row, 2 column), the axis's first chunk and how many. */
static const struct chunk {
    int axis, first, n;
} chunks[WAN_DIT_CHUNKS] = { { 0, 0, 2 }, { 0, 0, 2 }, { 2, 2, 3 }, { 2, 2, 3 },
                             { 2, 2, 3 }, { 1, 5, 3 }, { 1, 5, 3 }, { 1, 5, 3 } };

/* Chunk k at position p. */
static void chunk_row(wan_real *row, int k, int64_t p, int64_t width)
{
    int64_t half = chunks[k].n * width / 2, at = (k - chunks[k].first) * width;
    for (int64_t j = 0; j < width; j++, at++) {
        int64_t i = at < half ? at : at - half;
        double angle = (double)p * pow(10000, -(double)i / (double)half);
        row[j] = (wan_real)(at < half ? sin(angle) : cos(angle));
    }
}

/* [sin, cos] of t * 10000^(-i/steps), i < width/2. */
static void sinusoid(wan_real *row, double t, int64_t width, double steps)
{
    int64_t half = width / 2;
    for (int64_t i = 0; i < half; i++) {
        double angle = t * pow(10000, -(double)i / steps);
        row[i] = (wan_real)sin(angle);
        row[half + i] = (wan_real)cos(angle);
    }
}

int wan_dit_constants(wan_dit_acts *a)
{
    wan_dev *d = a->base.d;
    int64_t width = a->z.D / WAN_DIT_CHUNKS, n = WAN_DIT_SIDE * a->z.D, Q = a->c.fps_dim;
    wan_real *host = wan_malloc((size_t)n, sizeof *host, "positions");
    if (!host)
        return -1;
#pragma omp parallel for
    for (int64_t r = 0; r < (int64_t)WAN_DIT_CHUNKS * WAN_DIT_SIDE; r++)
        chunk_row(host + r * width, (int)(r / WAN_DIT_SIDE), r % WAN_DIT_SIDE, width);
    int rc = wan_dev_write(d, a->table, host, (size_t)n * sizeof *host);
    sinusoid(a->host, a->c.fps, Q, (double)Q / 2 - 1);
    if (rc == 0)
        rc = wan_dev_write(d, a->femb.p, a->host, (size_t)Q * sizeof *a->host);
    if (rc == 0)
        rc = wan_dev_sync(d);
    free(host);
    return rc;
}

static int64_t whole(const int64_t g[3])
{
    return g[0] * g[1] * g[2];
}

/* Token first + k of a sample: where its chunks are in the table. */
static int32_t *positions(int32_t *out, const int64_t g[3], int64_t first, int64_t n)
{
    for (int64_t t = first; t < first + n; t++) {
        const int64_t at[3] = { t / (g[1] * g[2]), t / g[2] % g[1], t % g[2] };
        for (int k = 0; k < WAN_DIT_CHUNKS; k++)
            *out++ = (int32_t)(k * WAN_DIT_SIDE + at[chunks[k].axis]);
    }
    return out;
}

/* Whether the tokens are laid out already (every step of a sampler). */
static int same_tokens(const wan_dit_acts *a, const wan_micro *in)
{
    if (a->n_grid != in->n || memcmp(a->grid, in->grid, (size_t)in->n * sizeof *a->grid))
        return 0;
    for (int i = 0; i < in->n; i++)
        if (a->from[i] != (in->first ? in->first[i] : 0) ||
            a->tok.cu_host[i + 1] - a->tok.cu_host[i] !=
                (in->tokens ? in->tokens[i] : whole(in->grid[i])))
            return 0;
    return 1;
}

static int check_sample(const wan_dit_acts *a, int i, int64_t n)
{
    const int64_t *g = a->grid[i];
    for (int k = 0; k < 3; k++)
        if (g[k] < 1 || g[k] > WAN_DIT_SIDE)
            return wan_err("DiT: sample %d has a grid of %lldx%lldx%lld, each side must be 1..%d",
                           i, (long long)g[0], (long long)g[1], (long long)g[2], WAN_DIT_SIDE);
    if (a->from[i] < 0 || n < 0 || a->from[i] + n > whole(g))
        return wan_err("DiT: tokens %lld..%lld of sample %d, which has %lld", (long long)a->from[i],
                       (long long)(a->from[i] + n), i, (long long)whole(g));
    return 0;
}

static int fill_tokens(wan_dit_acts *a, const wan_micro *in)
{
    wan_dev *d = a->base.d;
    int64_t S = 0;
    if (in->n < 1 || in->n > a->base.cap.samples)
        return wan_err("DiT: a pack of %d samples, room for %lld", in->n,
                       (long long)a->base.cap.samples);
    if (same_tokens(a, in))
        return 0;
    a->n_grid = 0;
    memcpy(a->grid, in->grid, (size_t)in->n * sizeof *a->grid);
    for (int i = 0; i < in->n; i++) {
        a->from[i] = in->first ? in->first[i] : 0;
        a->len[i] = in->tokens ? in->tokens[i] : whole(a->grid[i]);
        WAN_TRY(check_sample(a, i, a->len[i]));
        S += a->len[i];
    }
    if (S > a->base.cap.tokens)
        return wan_err("DiT: a pack of %lld tokens, room for %lld", (long long)S,
                       (long long)a->base.cap.tokens);
    int32_t *at = a->chunk_host;
    for (int i = 0; i < in->n; i++)
        at = positions(at, a->grid[i], a->from[i], a->len[i]);
    WAN_TRY(wan_dev_write(d, a->chunk.p, a->chunk_host, (size_t)(at - a->chunk_host) * sizeof *at));
    WAN_TRY(wan_lengths_set(d, &a->tok, a->len, in->n));
    WAN_TRY(wan_seq_set(&a->base, &a->own, a->len, in->n));
    a->stream = a->base.slice.spread ? &a->own.pack : &a->tok.pack;
    a->base.held = a->tok.pack;
    a->n_grid = in->n;
    return 0;
}

static int fill_text(wan_dit_acts *a, const wan_micro *in)
{
    wan_dev *d = a->base.d;
    int64_t all = a->c.text_len;
    int64_t R = wan_textrows_count(a->len, in->text_len, in->n, all, "DiT");
    WAN_TRY(R);
    if (R > a->base.cap.text_rows)
        return wan_err("DiT: a pack of %lld text rows, room for %lld", (long long)R,
                       (long long)a->base.cap.text_rows);
    WAN_TRY(wan_lengths_set(d, &a->txt, a->len, in->n));
    return wan_textrows_lay(d, a->tx, a->kbias.p, &a->txt.pack, in->text, in->text_len,
                            a->c.text_dim, all, a->host);
}

static int fill_rows(wan_dit_acts *a, wan_buf rows)
{
    int64_t width = (int64_t)a->c.in_ch * a->c.patch_h * a->c.patch_w;
    a->x_rows = rows;
    if (rows.t == a->base.compute)
        return 0;
    a->x_rows = a->rows;
    return a->base.d->ops->cast(a->base.d, a->rows, rows, a->tok.pack.S * width);
}

int wan_dit_fill(wan_acts *base, const wan_micro *in, const wan_context *ctx)
{
    wan_dit_acts *a = wan_dit_of(base);
    int64_t D = a->z.D;
    if (ctx && ctx->pack.pack.n != in->n)
        return wan_err("DiT: %d samples with the text of %d", in->n, ctx->pack.pack.n);
    WAN_TRY(fill_tokens(a, in));
    a->ctx = ctx;
    if (!ctx)
        WAN_TRY(fill_text(a, in));
    WAN_TRY(fill_rows(a, in->rows));
    for (int i = 0; i < in->n; i++)
        sinusoid(a->host + i * D, (double)in->t[i], D, (double)D / 2);
    return wan_dev_write(base->d, a->emb.p, a->host, (size_t)(in->n * D) * sizeof *a->host);
}
