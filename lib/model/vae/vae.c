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
/* Activations on a CPU; with the weights of the published VAE and their reordered copies a decoder stays
 * below 4 GB. */
#define BUDGET (3ll << 30)
/* The tiles of diffusers' AutoencoderKLWan. */
enum { TILE_SIDE = 256, TILE_STEP = 192 };

int wan_vae_make(wan_vae **out, wan_dev *d, const wan_vae_config *c, const wan_vae_source *from,
                 int parts, wan_dtype compute, const char *what)
{
    *out = NULL;
    if (compute != WAN_REAL && compute != WAN_BF16 && compute != WAN_F16)
        return wan_err("%s: the VAE computes in F32, BF16 or F16", what);
    wan_vae *v = wan_calloc(1, sizeof *v, "VAE");
    if (!v)
        return -1;
    v->c = *c;
    v->d = v->enc.d = v->dec.d = d;
    v->compute = v->enc.compute = v->dec.compute = compute;
    v->parts = parts;
    v->enc.spare = v->dec.spare = d->kind == WAN_DEV_CPU ? 0 : 3;
    v->enc.budget = v->dec.budget = d->kind == WAN_DEV_CPU ? BUDGET : 0;
    v->tile_side = TILE_SIDE;
    v->tile_step = TILE_STEP;
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

void wan_vae_tile(wan_vae *v, int on)
{
    v->tiled = on;
}

/* Whether pictures of H x W pixels are made in tiles, which one of several ranks does: 2, where that is not this. */
static int tiles(const wan_vae *v, int64_t H, int64_t W)
{
    return !v->tiled || (H <= v->tile_side && W <= v->tile_side) ? 0
           : v->share && v->share->rank                          ? 2
                                                                 : 1;
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

static int encode(wan_vae *v, wan_vae_clip c)
{
    wan_group *share = v->share;
    WAN_TRY(check_frames(v, c.T, c.H, c.W));
    c.chunk = c.chunk <= 0 ? 4 : c.chunk > MAX_CHUNK ? MAX_CHUNK : c.chunk;
    int how = tiles(v, c.H, c.W);
    if (how != 1)
        return how ? 0 : wan_vae_encode_whole(v, &c);
    v->share = NULL;
    int rc = wan_vae_tile_encode(v, &c);
    v->share = share;
    return rc;
}

int wan_vae_encode(wan_vae *v, float *latent, const uint8_t *rgb, int64_t T, int64_t H, int64_t W,
                   int chunk)
{
    const wan_vae_clip c = {
        .mu = latent, .normalise = 1, .pixels = rgb, .T = T, .H = H, .W = W, .chunk = chunk
    };
    return encode(v, c);
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
    const wan_vae_clip c = {
        .mu = latent, .logvar = logvar, .normalise = 1, .pixels = rgb, .T = T, .H = H, .W = W
    };
    int rc = logvar && e ? encode(v, c) : -1;
    if (rc == 0)
        draw(v, latent, logvar, e, n, seed);
    free(logvar);
    free(e);
    return rc;
}

int wan_vae_encode_raw(wan_vae *v, float *mu, float *logvar, const float *pixels, int64_t T,
                       int64_t H, int64_t W)
{
    const wan_vae_clip c = {
        .mu = mu, .logvar = logvar, .is_float = 1, .pixels = pixels, .T = T, .H = H, .W = W
    };
    return encode(v, c);
}

static int check_latent(const wan_vae *v, int64_t Tl, int64_t h, int64_t w)
{
    if (!(v->parts & WAN_VAE_DECODER))
        return wan_err("VAE: opened without the decoder");
    if (Tl < 1 || h < 1 || w < 1)
        return wan_err("latent of %lldx%lldx%lld: nothing to decode", (long long)Tl, (long long)h,
                       (long long)w);
    return 0;
}

int wan_vae_frames_open(wan_vae_frames **out, wan_vae *v, const float *latent, int64_t Tl,
                        int64_t h, int64_t w, wan_vae_put *put, void *arg)
{
    *out = NULL;
    WAN_TRY(check_latent(v, Tl, h, w));
    if (tiles(v, 8 * h, 8 * w))
        return wan_err("VAE: tiles are not made piece by piece");
    return wan_vae_frames_whole(out, v, latent, Tl, h, w, 0, put, arg);
}

int wan_vae_decode(wan_vae *v, const float *latent, int64_t Tl, int64_t h, int64_t w,
                   wan_vae_put *put, void *arg)
{
    wan_group *share = v->share;
    WAN_TRY(check_latent(v, Tl, h, w));
    int how = tiles(v, 8 * h, 8 * w);
    if (how != 1)
        return how ? 0 : wan_vae_decode_whole(v, latent, Tl, h, w, 0, put, arg);
    v->share = NULL;
    int rc = wan_vae_tile_decode(v, latent, Tl, h, w, put, arg);
    v->share = share;
    return rc;
}

int64_t wan_vae_decode_bytes(const wan_vae *v, int64_t h, int64_t w)
{
    return wan_vae_layout_bytes(&v->dec, h, w, WAN_VAE_DECODE_CHUNK);
}
