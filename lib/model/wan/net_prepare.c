/* SPDX-License-Identifier: Apache-2.0
 *
 * net_prepare.c - what a forward pass needs to know about its pack: sample boundaries, RoPE tables,
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

enum { ROPE_MAX = 1024 }; /* positions per axis the model was made for */

int wan_net_pack_reserve(wan_dev *d, wan_net_pack *p, int64_t samples, int64_t rows)
{
    *p = (wan_net_pack){ 0 };
    p->cu_host = wan_malloc((size_t)samples + 1, sizeof *p->cu_host, "pack");
    p->seg_host = wan_malloc((size_t)rows, sizeof *p->seg_host, "pack");
    p->cu = wan_dev_alloc(d, ((size_t)samples + 1) * sizeof *p->cu, "pack");
    p->seg = wan_dev_alloc(d, (size_t)rows * sizeof *p->seg, "pack");
    return p->cu_host && p->seg_host && p->cu && p->seg ? 0 : -1;
}

void wan_net_pack_release(wan_dev *d, wan_net_pack *p)
{
    wan_dev_free(d, p->cu);
    wan_dev_free(d, p->seg);
    free(p->cu_host);
    free(p->seg_host);
    *p = (wan_net_pack){ 0 };
}

int wan_net_pack_set(wan_dev *d, wan_net_pack *p, const int64_t *len, int n)
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

/* cos and sin of one axis of one position: pairs j of width w, angle pos * 10000^(-2j/w). */
static wan_real *rope_axis(wan_real *out, int64_t pos, int width)
{
    for (int j = 0; j < width / 2; j++) {
        double a = (double)pos * pow(10000.0, -2.0 * j / width);
        *out++ = (wan_real)cos(a);
        *out++ = (wan_real)sin(a);
    }
    return out;
}

/* The rows of one sample: time, height, width, with 2*(head_dim/6) of the dimensions for each of
 * the last two.  The trigonometry of an axis is done once per position, then copied. */
static void rope_sample(wan_real *out, const int64_t g[3], int hd)
{
    int side = 2 * (hd / 6), first = hd - 2 * side;
    int64_t gh = g[1], gw = g[2];
    for (int64_t f = 0; f < g[0]; f++)
        for (int64_t y = 0; y < gh; y++)
            for (int64_t x = 0; x < gw; x++) {
                wan_real *row = out + ((f * gh + y) * gw + x) * hd;
                const wan_real *frame = out + f * gh * gw * hd; /* y = x = 0 of this frame */
                if (y || x)
                    memcpy(row, frame, (size_t)first * sizeof *row);
                else
                    rope_axis(row, f, first);
                if (f || x)
                    memcpy(row + first, out + y * gw * hd + first, (size_t)side * sizeof *row);
                else
                    rope_axis(row + first, y, side);
                if (f || y)
                    memcpy(row + first + side, out + x * hd + first + side,
                           (size_t)side * sizeof *row);
                else
                    rope_axis(row + first + side, x, side);
            }
}

static int same_grids(const wan_net_priv *p, const wan_net_input *in)
{
    return p->n_grid == in->n && memcmp(p->grid, in->grid, (size_t)in->n * sizeof *p->grid) == 0;
}

static int check_grids(wan_net_priv *p, const wan_net_input *in)
{
    int64_t S = 0;
    if (in->n < 1 || in->n > p->cap.samples)
        return wan_err("transformer: a pack of %d samples, room for %lld", in->n,
                       (long long)p->cap.samples);
    for (int i = 0; i < in->n; i++) {
        const int64_t *g = in->grid[i];
        for (int a = 0; a < 3; a++)
            if (g[a] < 1 || g[a] > ROPE_MAX)
                return wan_err("transformer: sample %d has a grid of %lldx%lldx%lld, each side "
                               "must be 1..%d",
                               i, (long long)g[0], (long long)g[1], (long long)g[2], ROPE_MAX);
        S += g[0] * g[1] * g[2];
    }
    if (S > p->cap.tokens)
        return wan_err("transformer: a pack of %lld tokens, room for %lld", (long long)S,
                       (long long)p->cap.tokens);
    return 0;
}

/* Token boundaries and RoPE; kept while the grids stay the same (every step of a sampler). */
static int prepare_tokens(wan_net *m, const wan_net_input *in)
{
    wan_net_priv *p = wan_net_p(m);
    if (same_grids(p, in))
        return 0;
    WAN_TRY(check_grids(p, in));
    p->n_grid = 0;
    wan_real *at = p->rope_host;
    for (int i = 0; i < in->n; i++) {
        const int64_t *g = in->grid[i];
        rope_sample(at, g, m->c.head_dim);
        at += g[0] * g[1] * g[2] * m->c.head_dim;
    }
    WAN_TRY(wan_dev_write(m->d, p->rope, p->rope_host, (size_t)(at - p->rope_host) * sizeof *at));
    memcpy(p->grid, in->grid, (size_t)in->n * sizeof *p->grid);
    for (int i = 0; i < in->n; i++)
        p->len[i] = p->grid[i][0] * p->grid[i][1] * p->grid[i][2];
    WAN_TRY(wan_net_pack_set(m->d, &p->tok, p->len, in->n));
    p->n_grid = in->n;
    return 0;
}

int64_t wan_net_text_kept(const wan_net_config *c, int64_t n)
{
    return n < c->text_len ? n + 1 : n;
}

int wan_net_text_lay(wan_net *m, wan_buf x, wan_real *kbias, const wan_pack *pack, wan_buf text,
                     const int64_t *text_len, wan_real *staging)
{
    int64_t T = m->c.text_dim, from = 0;
    for (int i = 0; i < pack->n; i++) {
        int64_t n = text_len[i], at = pack->cu_host[i], zeros = m->c.text_len - n;
        if (n > 0)
            WAN_TRY(
                m->d->ops->cast(m->d, wan_buf_at(x, at * T), wan_buf_at(text, from * T), n * T));
        for (int64_t j = 0; j < n; j++)
            staging[at + j] = 0;
        if (zeros > 0) {
            WAN_TRY(m->d->ops->fill(m->d, wan_buf_at(x, (at + n) * T), 0, T));
            staging[at + n] = (wan_real)log((double)zeros);
        }
        from += n;
    }
    return wan_dev_write(m->d, kbias, staging, (size_t)pack->S * sizeof *staging);
}

static int prepare_text(wan_net *m, const wan_net_input *in)
{
    wan_net_priv *p = wan_net_p(m);
    int64_t R = 0;
    for (int i = 0; i < in->n; i++) {
        if (in->text_len[i] < 0 || in->text_len[i] > m->c.text_len)
            return wan_err("transformer: sample %d has %lld text rows, must be 0..%d", i,
                           (long long)in->text_len[i], m->c.text_len);
        p->len[i] = wan_net_text_kept(&m->c, in->text_len[i]);
        R += p->len[i];
    }
    if (R > p->cap.text_rows)
        return wan_err("transformer: a pack of %lld text rows, room for %lld", (long long)R,
                       (long long)p->cap.text_rows);
    WAN_TRY(wan_net_pack_set(m->d, &p->txt, p->len, in->n));
    return wan_net_text_lay(m, p->tx, p->kbias.p, &p->txt.pack, in->text, in->text_len, p->host);
}

int wan_net_prepare(wan_net *m, const wan_net_input *in, int cached)
{
    wan_net_priv *p = wan_net_p(m);
    if (!p->mem)
        return wan_err("transformer: forward before reserve");
    p->forward_done = 0;
    WAN_TRY(prepare_tokens(m, in));
    if (!cached)
        WAN_TRY(prepare_text(m, in));
    memcpy(p->host, in->t, (size_t)in->n * sizeof *p->host);
    return wan_dev_write(m->d, p->t.p, p->host, (size_t)in->n * sizeof *p->host);
}
