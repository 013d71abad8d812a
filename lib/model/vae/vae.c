/* SPDX-License-Identifier: Apache-2.0
 *
 * vae.c - the video VAE as callers see it: encode, decode.
 */
#include "lib/model/vae/vae.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/rng.h"
#include "lib/model/vae/vae_net.h"

#define MAX_CHUNK 64
#define DECODE_CHUNK 4 /* latent frames per pass at the lowest resolution */
/* Activations of the decoder on a CPU; with the weights of the published VAE and their reordered
 * copies a decoder stays below 4 GB. */
#define DECODE_BUDGET (3ll << 30)

int wan_vae_make(wan_vae **out, wan_dev *d, const wan_vae_config *c, const wan_vae_source *from,
                 int parts, wan_dtype compute, const char *what)
{
    *out = NULL;
    if (compute != WAN_REAL && compute != WAN_BF16)
        return wan_err("%s: the VAE computes in F32 or BF16", what);
    wan_vae *v = wan_calloc(1, sizeof *v, "VAE");
    if (!v)
        return -1;
    v->c = *c;
    v->d = v->enc.d = v->dec.d = d;
    v->compute = v->enc.compute = v->dec.compute = compute;
    v->parts = parts;
    v->dec.budget = d->kind == WAN_DEV_CPU ? DECODE_BUDGET : 0;
    if (wan_vae_load_weights(v, from) < 0) {
        wan_vae_close(&v);
        return -1;
    }
    *out = v;
    return 0;
}

void wan_vae_close(wan_vae **vp)
{
    wan_vae *v = vp ? *vp : NULL;
    if (!v)
        return;
    wan_vae_layout_free(&v->enc);
    wan_vae_layout_free(&v->dec);
    wan_where_close(&v->where);
    wan_vae_load_free(v);
    free(v);
    *vp = NULL;
}

int wan_vae_channels(const wan_vae *v)
{
    return v->c.z_dim;
}

/* Host blocks [C, n, P] of a [C, T, P] array at frame t. */
static void scatter(float *all, const float *part, int64_t C, int64_t T, int64_t t, int64_t n,
                    int64_t P)
{
    for (int64_t c = 0; c < C; c++)
        memcpy(all + (c * T + t) * P, part + c * n * P, (size_t)(n * P) * sizeof *all);
}

static void gather(float *part, const float *all, int64_t C, int64_t T, int64_t t, int64_t n,
                   int64_t P)
{
    for (int64_t c = 0; c < C; c++)
        memcpy(part + c * n * P, all + (c * T + t) * P, (size_t)(n * P) * sizeof *part);
}

/* ---- encode */

/* What the sink of the encoder needs; host and device blocks for `cap` latent frames. */
typedef struct encoding {
    wan_vae *v;
    float *mu, *logvar; /* results [z, T, P] */
    int64_t T, P, done;
    int normalise;
    wan_real *q, *planes; /* device [cap, P, 2z] and [2z, cap, P] */
    float *host;          /* [2z, cap, P] */
    void *pixels;         /* device: frames of input, u8 or float */
} encoding;

static int take_latents(void *arg, const wan_real *y, int64_t n)
{
    encoding *e = arg;
    wan_vae *v = e->v;
    const wan_ops *ops = v->d->ops;
    int64_t z = v->c.z_dim;
    wan_conv c = v->quant.c;
    c.T = n, c.H = 1, c.W = e->P;
    WAN_TRY(ops->conv_forward(v->d, &c, WAN_RBUF(e->q), WAN_RBUF(y), v->quant.w, v->quant.b, 0));
    WAN_TRY(ops->vae_to_cfirst(v->d, e->planes, WAN_RBUF(e->q), e->normalise ? v->norm_a : NULL,
                               e->normalise ? v->norm_b : NULL, n, e->P, 2 * z));
    WAN_TRY(wan_dev_read(v->d, e->host, e->planes, (size_t)(2 * z * n * e->P) * sizeof(wan_real)));
    scatter(e->mu, e->host, z, e->T, e->done, n, e->P);
    if (e->logvar)
        scatter(e->logvar, e->host + z * n * e->P, z, e->T, e->done, n, e->P);
    e->done += n;
    return 0;
}

/* One piece of input, u8 or float, to the encoder: of every frame the rows that it works on. */
static int feed_pixels(encoding *e, const char *rgb, size_t pixel, int64_t n, int64_t H, int64_t W)
{
    vae_net *net = &e->v->enc;
    wan_dev *d = e->v->d;
    wan_buf in = wan_vae_stream_input(net);
    size_t row = (size_t)(3 * W) * pixel, rows = (size_t)net->stages[0].H;
    int64_t count = n * net->stages[0].H * W;
    for (int64_t f = 0; f < n; f++)
        WAN_TRY(wan_dev_write(d, (char *)e->pixels + (size_t)f * rows * row,
                              rgb + (size_t)(f * H + net->stages[0].row0) * row, rows * row));
    if (pixel == 1)
        WAN_TRY(d->ops->vae_from_rgb(d, in, e->pixels, count));
    else
        WAN_TRY(d->ops->cast(d, in, WAN_RBUF(e->pixels), 3 * count));
    return wan_vae_stream_push(net, n);
}

static int encode_frames(encoding *e, const void *rgb, int is_float, int64_t T, int64_t H,
                         int64_t W)
{
    vae_net *net = &e->v->enc;
    size_t pixel = is_float ? sizeof(float) : 1;
    net->sink = take_latents;
    net->arg = e;
    wan_vae_layout_reset(net, T == 1);
    for (int64_t t = 0, n; t < T; t += n) {
        n = wan_vae_stream_room(net);
        n = n < T - t ? n : T - t;
        WAN_TRY(
            feed_pixels(e, (const char *)rgb + (size_t)(t * H * W * 3) * pixel, pixel, n, H, W));
    }
    WAN_TRY(wan_vae_stream_flush(net));
    if (e->done != e->T)
        WAN_BUG("VAE encoder: %lld of %lld latent frames", (long long)e->done, (long long)e->T);
    return 0;
}

static int check_frames(const wan_vae *v, int64_t T, int64_t H, int64_t W)
{
    if (!(v->parts & WAN_VAE_ENCODER))
        return wan_err("VAE: opened without the encoder");
    if (T < 1 || T % 4 != 1)
        return wan_err("%lld frames: the VAE takes 4n+1", (long long)T);
    if (H < 8 || W < 8 || H % 8 || W % 8)
        return wan_err("frames of %lldx%lld: height and width must be multiples of 8", (long long)H,
                       (long long)W);
    return 0;
}

static int encode(wan_vae *v, float *mu, float *logvar, int normalise, const void *rgb,
                  int is_float, int64_t T, int64_t H, int64_t W, int64_t chunk)
{
    WAN_TRY(check_frames(v, T, H, W));
    chunk = chunk <= 0 ? 4 : chunk > MAX_CHUNK ? MAX_CHUNK : chunk;
    int rank = v->share ? v->share->rank : 0;
    v->enc.ranks = wan_vae_share_ranks(v, H / 8, 0);
    if (rank >= v->enc.ranks)
        return 0;
    v->enc.share = v->share;
    v->enc.where = v->where;
    WAN_TRY(wan_vae_layout_set(&v->enc, H, W, chunk, rank));
    int64_t cap = v->enc.stages[v->enc.n_stages - 1].cap, z = v->c.z_dim, P = H / 8 * (W / 8);
    size_t bytes = (size_t)(2 * z * cap * P) * sizeof(wan_real);
    encoding e = {
        .v = v, .mu = mu, .logvar = logvar, .T = 1 + (T - 1) / 4, .P = P, .normalise = normalise
    };
    e.q = wan_dev_alloc(v->d, bytes, "latents");
    e.planes = wan_dev_alloc(v->d, bytes, "latents");
    e.pixels =
        wan_dev_alloc(v->d, (size_t)(v->enc.stages[0].cap * H * W * 3) * sizeof(float), "frames");
    e.host = wan_malloc(1, bytes, "latents");
    int rc = e.q && e.planes && e.pixels && e.host ? encode_frames(&e, rgb, is_float, T, H, W) : -1;
    wan_dev_free(v->d, e.q);
    wan_dev_free(v->d, e.planes);
    wan_dev_free(v->d, e.pixels);
    free(e.host);
    return rc;
}

int wan_vae_encode(wan_vae *v, float *latent, const uint8_t *rgb, int64_t T, int64_t H, int64_t W,
                   int chunk)
{
    return encode(v, latent, NULL, 1, rgb, 0, T, H, W, chunk);
}

/* latent [z, n] += exp(logvar / 2) e, normalised */
static void draw(const wan_vae *v, float *latent, const float *logvar, float *e, int64_t n,
                 uint64_t seed)
{
    wan_rng r = wan_rng_stream(seed, WAN_RNG_LATENT, 0, 0);
    wan_rng_normal(&r, e, 0, (size_t)(v->c.z_dim * n));
    for (int64_t i = 0; i < v->c.z_dim * n; i++) {
        double l = logvar[i] < -30 ? -30 : logvar[i] > 20 ? 20 : logvar[i];
        latent[i] += (float)(exp(l / 2) * e[i] / v->c.std[i / n]);
    }
}

int wan_vae_encode_sample(wan_vae *v, float *latent, const uint8_t *rgb, int64_t T, int64_t H,
                          int64_t W, uint64_t seed)
{
    WAN_TRY(check_frames(v, T, H, W));
    int64_t n = (1 + (T - 1) / 4) * (H / 8) * (W / 8);
    float *logvar = wan_calloc((size_t)(v->c.z_dim * n), sizeof *logvar, "latents");
    float *e = wan_malloc((size_t)(v->c.z_dim * n), sizeof *e, "latents");
    int rc = logvar && e ? encode(v, latent, logvar, 1, rgb, 0, T, H, W, 0) : -1;
    if (rc == 0)
        draw(v, latent, logvar, e, n, seed);
    free(logvar);
    free(e);
    return rc;
}

int wan_vae_encode_raw(wan_vae *v, float *mu, float *logvar, const float *pixels, int64_t T,
                       int64_t H, int64_t W)
{
    return encode(v, mu, logvar, 0, pixels, 1, T, H, W, 0);
}

/* ---- decode */

typedef struct decoding {
    wan_vae *v;
    wan_vae_put *put;
    void *arg;
    int64_t H, W;            /* of the frames */
    int64_t rows, skip;      /* rows held by the last stage; those above the band */
    int64_t first, end;      /* rows of the band */
    int64_t done;            /* frames of this band */
    uint8_t *rgb, *host_rgb; /* device and host, room for the last stage's frames */
    float *host;             /* pixels; also latents on their way in */
    uint8_t *clip;           /* with bands: [T, H, W, 3] */
    uint8_t *part;           /* with other ranks: rows of a band on their way */
    wan_real *z, *mixed;     /* device: latents before and after the 1x1x1 convolution */
} decoding;

static int clamp_pixels(float *v, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        if (!(v[i] - v[i] == 0))
            return wan_err("the VAE decoder made a value that is not finite");
        v[i] = v[i] > 1 ? 1 : v[i] < -1 ? -1 : v[i];
    }
    return 0;
}

/* n frames of rows [first, end), `apart` bytes from frame to frame, into the clip. */
static void place(decoding *e, const uint8_t *rgb, int64_t apart, int64_t first, int64_t end,
                  int64_t n)
{
    int64_t row = e->W * 3;
    uint8_t *to = e->clip + e->done * e->H * row;
    for (int64_t f = 0; f < n; f++)
        memcpy(to + (f * e->H + first) * row, rgb + f * apart, (size_t)((end - first) * row));
}

/* The rows that the other ranks have made of the same frames. */
static int collect(decoding *e, int64_t n)
{
    const vae_net *net = &e->v->dec;
    for (int r = 1; r < net->ranks; r++) {
        int64_t first, end;
        wan_vae_layout_rows(net, net->band + r, &first, &end);
        int64_t bytes = (end - first) * e->W * 3;
        WAN_TRY(wan_group_recv(e->v->share, NULL, e->part, (size_t)(n * bytes), WAN_U8, r, 0));
        place(e, e->part, bytes, first, end, n);
    }
    return 0;
}

/* The band's rows go to rank 0. */
static int send_band(decoding *e, int64_t n)
{
    int64_t row = e->W * 3, bytes = (e->end - e->first) * row;
    for (int64_t f = 0; f < n; f++)
        memcpy(e->part + f * bytes, e->host_rgb + (f * e->rows + e->skip) * row, (size_t)bytes);
    return wan_group_send(e->v->share, NULL, e->part, (size_t)(n * bytes), WAN_U8, 0, 0);
}

/* The band's rows of n frames into the clip; whole frames go on when no other band follows. */
static int take_band(decoding *e, int64_t n)
{
    const vae_net *net = &e->v->dec;
    int64_t row = e->W * 3;
    if (e->v->share && e->v->share->rank)
        return send_band(e, n);
    place(e, e->host_rgb + e->skip * row, e->rows * row, e->first, e->end, n);
    if (e->v->share)
        WAN_TRY(collect(e, n));
    const uint8_t *frames = e->clip + e->done * e->H * row;
    e->done += n;
    if (net->band + (net->ranks ? net->ranks : 1) < net->bands)
        return 0;
    return e->put(e->arg, frames, NULL, n, e->H, e->W) < 0 ? -1 : 0;
}

static int take_frames(void *arg, const wan_real *y, int64_t n)
{
    decoding *e = arg;
    wan_dev *d = e->v->d;
    int64_t count = n * e->rows * e->W;
    WAN_TRY(d->ops->vae_to_rgb(d, e->rgb, WAN_RBUF(y), count));
    WAN_TRY(wan_dev_read(d, e->host_rgb, e->rgb, (size_t)(3 * count)));
    WAN_TRY(wan_dev_read(d, e->host, y, (size_t)(3 * count) * sizeof *e->host));
    for (int64_t f = 0; f < n; f++)
        WAN_TRY(clamp_pixels(e->host + (f * e->rows + e->skip) * e->W * 3,
                             (e->end - e->first) * e->W * 3));
    if (e->v->dec.bands > 1)
        return take_band(e, n);
    return e->put(e->arg, e->host_rgb, e->host, n, e->H, e->W) < 0 ? -1 : 0;
}

static int feed_latents(decoding *e, const float *latent, int64_t Tl, int64_t t, int64_t n,
                        int64_t P)
{
    wan_vae *v = e->v;
    const wan_ops *ops = v->d->ops;
    int64_t z = v->c.z_dim;
    wan_conv c = v->post_quant.c;
    c.T = n, c.H = 1, c.W = P;
    gather(e->host, latent, z, Tl, t, n, P);
    WAN_TRY(wan_dev_write(v->d, e->mixed, e->host, (size_t)(z * n * P) * sizeof *e->host));
    WAN_TRY(ops->vae_to_clast(v->d, WAN_RBUF(e->z), e->mixed, v->denorm_a, v->denorm_b, n, P, z));
    WAN_TRY(ops->conv_forward(v->d, &c, WAN_RBUF(e->mixed), WAN_RBUF(e->z), v->post_quant.w,
                              v->post_quant.b, 0));
    WAN_TRY(ops->cast(v->d, wan_vae_stream_input(&v->dec), WAN_RBUF(e->mixed), z * n * P));
    return wan_vae_stream_push(&v->dec, n);
}

static int decode_latents(decoding *e, const float *latent, int64_t Tl, int64_t P)
{
    vae_net *net = &e->v->dec;
    net->sink = take_frames;
    net->arg = e;
    wan_vae_layout_reset(net, Tl == 1);
    for (int64_t t = 0, n; t < Tl; t += n) {
        n = wan_vae_stream_room(net);
        n = n < Tl - t ? n : Tl - t;
        WAN_TRY(feed_latents(e, latent, Tl, t, n, P));
    }
    return wan_vae_stream_flush(net);
}

/* One band of all frames. */
static int decode_band(decoding *e, const float *latent, int64_t Tl, int64_t h, int64_t w, int band)
{
    wan_vae *v = e->v;
    WAN_TRY(wan_vae_layout_set(&v->dec, h, w, DECODE_CHUNK, band));
    const vae_stage *last = &v->dec.stages[v->dec.n_stages - 1];
    wan_vae_layout_rows(&v->dec, band, &e->first, &e->end);
    e->rows = last->H;
    e->skip = e->first - last->row0;
    e->done = 0;
    int64_t latents = v->dec.stages[0].cap * h * w * v->c.z_dim;
    int64_t pixels = last->cap * e->rows * e->W * 3;
    e->z = wan_dev_alloc(v->d, (size_t)latents * sizeof(wan_real), "latents");
    e->mixed = wan_dev_alloc(v->d, (size_t)latents * sizeof(wan_real), "latents");
    e->rgb = wan_dev_alloc(v->d, (size_t)pixels, "frames");
    e->host_rgb = wan_malloc(1, (size_t)pixels, "frames");
    e->host = wan_malloc(sizeof *e->host, (size_t)(pixels > latents ? pixels : latents), "frames");
    int rc = e->z && e->mixed && e->rgb && e->host_rgb && e->host
                 ? decode_latents(e, latent, Tl, h * w)
                 : -1;
    wan_dev_free(v->d, e->z);
    wan_dev_free(v->d, e->mixed);
    wan_dev_free(v->d, e->rgb);
    free(e->host_rgb);
    free(e->host);
    return rc;
}

/* Room for frames that are put together from bands. */
static int take_clip(decoding *e, int64_t T)
{
    const wan_vae *v = e->v;
    const vae_stage *last = &v->dec.stages[v->dec.n_stages - 1];
    size_t frame = (size_t)(e->H * e->W * 3);
    if (v->dec.bands == 1)
        return 0;
    if (v->share && !(e->part = wan_malloc((size_t)last->cap, frame, "frames")))
        return -1;
    if ((!v->share || v->share->rank == 0) && !(e->clip = wan_malloc((size_t)T, frame, "frames")))
        return -1;
    return 0;
}

int wan_vae_decode(wan_vae *v, const float *latent, int64_t Tl, int64_t h, int64_t w,
                   wan_vae_put *put, void *arg)
{
    if (!(v->parts & WAN_VAE_DECODER))
        return wan_err("VAE: opened without the decoder");
    if (Tl < 1 || h < 1 || w < 1)
        return wan_err("latent of %lldx%lldx%lld: nothing to decode", (long long)Tl, (long long)h,
                       (long long)w);
    int rank = v->share ? v->share->rank : 0;
    v->dec.ranks = wan_vae_share_ranks(v, h, 1);
    if (rank && rank >= v->dec.ranks)
        return 0;
    WAN_TRY(wan_vae_layout_set(&v->dec, h, w, DECODE_CHUNK, rank));
    decoding e = { .v = v, .put = put, .arg = arg, .H = 8 * h, .W = 8 * w };
    int rc = take_clip(&e, 1 + 4 * (Tl - 1));
    for (int b = rank; b < v->dec.bands && rc == 0; b += v->dec.ranks)
        rc = decode_band(&e, latent, Tl, h, w, b);
    free(e.clip);
    free(e.part);
    return rc;
}

int64_t wan_vae_decode_bytes(wan_vae *v, int64_t h, int64_t w)
{
    return wan_vae_layout_bytes(&v->dec, h, w, DECODE_CHUNK);
}
