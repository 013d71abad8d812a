/* SPDX-License-Identifier: Apache-2.0
 *
 * vae_tile.c - pictures in tiles, each a run over the whole video of its own.
 *
 * As tiled_encode and tiled_decode of diffusers' AutoencoderKLWan: tiles begin `step` apart and are `side`
 * long, or end with the picture; where a tile lies over the one above it, then over the one on its left, as
 * these have become, it is t of the way from 0 to 1: (1 - t) theirs + t its own, t = row / rows in common.
 * Of each the first `step` rows and columns are kept.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/model/vae/vae_net.h"

/* What tiles leave for their neighbours.  A tile is [planes, h, w, C]. */
typedef struct seams {
    int64_t planes, C, side, step;
    int64_t H, W;       /* of the whole, in the unit of side and step */
    int64_t i, j, h, w; /* the tile at hand: its first row and column, its size */
    float *below;       /* of each tile of the row above [planes, side - step, side, C] */
    float *right;       /* of the tile on the left [planes, side, side - step, C] */
} seams;

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int open_seams(seams *s)
{
    size_t strip = (size_t)(s->planes * (s->side - s->step) * s->side * s->C);
    size_t columns = (size_t)((s->W + s->step - 1) / s->step);
    s->below = wan_malloc(columns * strip, sizeof *s->below, "edges of tiles");
    s->right = wan_malloc(strip, sizeof *s->right, "edges of tiles");
    return s->below && s->right ? 0 : -1;
}

static void close_seams(seams *s)
{
    free(s->below);
    free(s->right);
}

static float *below_at(const seams *s, int64_t p, int64_t y)
{
    int64_t both = s->side - s->step;
    return s->below + ((s->j / s->step * s->planes + p) * both + y) * s->side * s->C;
}

static float *right_at(const seams *s, int64_t p, int64_t y)
{
    return s->right + (p * s->side + y) * (s->side - s->step) * s->C;
}

static void mix(float *x, const float *before, int64_t n, int64_t at, int64_t of)
{
    float t = (float)((double)at / (double)of), rest = (float)(1 - (double)at / (double)of);
    for (int64_t k = 0; k < n; k++)
        x[k] = before[k] * rest + x[k] * t;
}

/* Plane p of the tile. */
static void blend(seams *s, float *x, int64_t p)
{
    int64_t both = s->side - s->step, row = s->w * s->C;
    int64_t rows = s->i ? min64(both, s->h) : 0, columns = s->j ? min64(both, s->w) : 0;
    for (int64_t y = 0; y < rows; y++)
        mix(x + y * row, below_at(s, p, y), row, y, rows);
    for (int64_t y = 0; y < s->h; y++) {
        float *line = x + y * row;
        for (int64_t c = 0; c < columns; c++)
            mix(line + c * s->C, right_at(s, p, y) + c * s->C, s->C, c, columns);
        if (s->w > s->step)
            memcpy(right_at(s, p, y), line + s->step * s->C,
                   (size_t)((s->w - s->step) * s->C) * sizeof *line);
        if (y >= s->step)
            memcpy(below_at(s, p, y - s->step), line, (size_t)row * sizeof *line);
    }
}

/* The next tile, from left to right and down: 0 when there is none. */
static int next_tile(seams *s)
{
    if (s->h)
        s->j += s->step;
    if (s->j >= s->W) {
        s->j = 0;
        s->i += s->step;
    }
    s->h = min64(s->side, s->H - s->i);
    s->w = min64(s->side, s->W - s->j);
    return s->i < s->H;
}

/* ---- encode */

static void cut_pixels(char *to, const char *rgb, const seams *s, int64_t T, int64_t H, int64_t W,
                       size_t pixel)
{
    size_t row = (size_t)(8 * s->w * 3) * pixel;
    for (int64_t y = 0; y < T * 8 * s->h; y++) {
        int64_t line = y / (8 * s->h) * H + 8 * s->i + y % (8 * s->h);
        memcpy(to + (size_t)y * row, rgb + (size_t)((line * W + 8 * s->j) * 3) * pixel, row);
    }
}

/* One plane of the tile into the whole. */
static void place(const seams *s, float *to, const float *x)
{
    for (int64_t y = 0; y < min64(s->step, s->h); y++)
        memcpy(to + (s->i + y) * s->W + s->j, x + y * s->w,
               (size_t)min64(s->step, s->w) * sizeof *x);
}

int wan_vae_tile_encode(wan_vae *v, const wan_vae_clip *c)
{
    int64_t planes = v->c.z_dim * (1 + (c->T - 1) / 4), side = v->tile_side / 8,
            all = c->H / 8 * (c->W / 8);
    size_t pixel = c->is_float ? sizeof(float) : 1;
    seams s = { .planes = c->logvar ? 2 * planes : planes,
                .C = 1,
                .side = side,
                .step = v->tile_step / 8,
                .H = c->H / 8,
                .W = c->W / 8 };
    char *pixels = wan_malloc((size_t)(c->T * v->tile_side * v->tile_side * 3), pixel, "a tile");
    float *x = wan_malloc((size_t)(s.planes * side * side), sizeof *x, "a tile");
    int rc = pixels && x ? open_seams(&s) : -1;
    while (rc == 0 && next_tile(&s)) {
        int64_t one = s.h * s.w;
        wan_vae_clip tile = *c;
        tile.H = 8 * s.h, tile.W = 8 * s.w;
        tile.pixels = pixels;
        tile.mu = x;
        tile.logvar = c->logvar ? x + planes * one : NULL;
        cut_pixels(pixels, c->pixels, &s, c->T, c->H, c->W, pixel);
        rc = wan_vae_encode_whole(v, &tile);
        for (int64_t p = 0; p < s.planes && rc == 0; p++) {
            blend(&s, x + p * one, p);
            place(&s, p < planes ? c->mu + p * all : c->logvar + (p - planes) * all, x + p * one);
        }
    }
    close_seams(&s);
    free(x);
    free(pixels);
    return rc;
}

/* ---- decode */

typedef struct tiling {
    seams s;
    uint8_t *clip; /* [T, H, W, 3] */
    int64_t done;  /* frames of the tile at hand */
    float *frame;
    wan_vae_put *put;
    void *arg;
} tiling;

static void to_bytes(uint8_t *to, const float *x, int64_t n)
{
    for (int64_t k = 0; k < n; k++) {
        float f = x[k] > 1 ? 1 : x[k] < -1 ? -1 : x[k];
        to[k] = (uint8_t)((f + 1) / 2 * 255);
    }
}

static int take_tile(void *arg, const uint8_t *unused, const float *pixels, int64_t n, int64_t H,
                     int64_t W)
{
    tiling *t = arg;
    seams *s = &t->s;
    int64_t frame = s->H * s->W * 3;
    uint8_t *first = t->clip + t->done * frame;
    (void)unused;
    for (int64_t f = 0; f < n; f++, t->done++) {
        memcpy(t->frame, pixels + f * H * W * 3, (size_t)(H * W * 3) * sizeof *pixels);
        blend(s, t->frame, t->done);
        for (int64_t y = 0; y < min64(s->step, H); y++)
            to_bytes(t->clip + t->done * frame + ((s->i + y) * s->W + s->j) * 3,
                     t->frame + y * W * 3, min64(s->step, W) * 3);
    }
    int last = s->i + s->step >= s->H && s->j + s->step >= s->W;
    return last ? t->put(t->arg, first, NULL, n, s->H, s->W) : 0;
}

/* Rows and columns of the tile of a latent [z, Tl, h, w]. */
static void cut_latent(float *to, const float *latent, const seams *s, int64_t planes, int64_t h,
                       int64_t w)
{
    for (int64_t y = 0; y < planes * s->h / 8; y++) {
        int64_t line = y / (s->h / 8) * h + s->i / 8 + y % (s->h / 8);
        memcpy(to + y * (s->w / 8), latent + line * w + s->j / 8, (size_t)(s->w / 8) * sizeof *to);
    }
}

int wan_vae_tile_decode(wan_vae *v, const float *latent, int64_t Tl, int64_t h, int64_t w,
                        wan_vae_put *put, void *arg)
{
    int64_t T = 1 + 4 * (Tl - 1), side = v->tile_side, planes = v->c.z_dim * Tl,
            budget = v->dec.budget;
    tiling t = {
        .s = { .planes = T, .C = 3, .side = side, .step = v->tile_step, .H = 8 * h, .W = 8 * w },
        .put = put,
        .arg = arg
    };
    float *z = wan_malloc((size_t)(planes * (side / 8) * (side / 8)), sizeof *z, "a tile");
    t.clip = wan_malloc((size_t)(T * 8 * h), (size_t)(8 * w * 3), "frames");
    t.frame = wan_malloc((size_t)(side * side * 3), sizeof *t.frame, "a tile");
    int rc = z && t.clip && t.frame ? open_seams(&t.s) : -1;
    v->dec.budget = 0; /* a tile is small, and its pixels are needed before they are rounded */
    while (rc == 0 && next_tile(&t.s)) {
        t.done = 0;
        cut_latent(z, latent, &t.s, planes, h, w);
        rc = wan_vae_decode_whole(v, z, Tl, t.s.h / 8, t.s.w / 8, 1, take_tile, &t);
    }
    v->dec.budget = budget;
    close_seams(&t.s);
    free(z);
    free(t.clip);
    free(t.frame);
    return rc;
}
