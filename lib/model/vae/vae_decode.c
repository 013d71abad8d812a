/* SPDX-License-Identifier: Apache-2.0
 *
 * vae_decode.c - latents to clips of whole pictures, or of bands of their rows.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/model/vae/vae_net.h"

/* Host block [C, n, P] of a [C, T, P] array at frame t. */
static void gather(float *part, const float *all, int64_t C, int64_t T, int64_t t, int64_t n,
                   int64_t P)
{
    for (int64_t c = 0; c < C; c++)
        memcpy(part + c * n * P, all + (c * T + t) * P, (size_t)(n * P) * sizeof *part);
}

struct wan_vae_frames {
    wan_vae *v;
    wan_vae_put *put;
    void *arg;
    int raw;                 /* pixels go on as they are */
    int64_t H, W;            /* of the frames */
    int64_t rows, skip;      /* rows held by the last stage; those above the band */
    int64_t first, end;      /* rows of the band */
    int64_t done;            /* frames of this band */
    uint8_t *rgb, *host_rgb; /* device and host, room for the last stage's frames */
    float *host;             /* pixels; also latents on their way in */
    uint8_t *clip;           /* with bands: [T, H, W, 3] */
    uint8_t *part;           /* with other ranks: rows of a band on their way */
    wan_real *z, *mixed;     /* device: latents before and after the 1x1x1 convolution */
    const float *latent;     /* host [z, Tl, h, w], caller's */
    int64_t Tl, h, w, t;     /* t: frames of it that the band at work has taken */
    int none;                /* of several ranks, one without a band */
    int band, begun;         /* the band at work, or the next one */
};
typedef struct wan_vae_frames decoding;

static int clamp_pixels(float *v, int64_t count, int raw)
{
    for (int64_t i = 0; i < count; i++) {
        if (!(v[i] - v[i] == 0))
            return wan_err("the VAE decoder made a value that is not finite");
        if (!raw)
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
                             (e->end - e->first) * e->W * 3, e->raw));
    if (e->v->dec.bands > 1)
        return take_band(e, n);
    return e->put(e->arg, e->host_rgb, e->host, n, e->H, e->W) < 0 ? -1 : 0;
}

/* The next n frames of latents. */
static int feed_latents(decoding *e, int64_t n)
{
    wan_vae *v = e->v;
    const wan_ops *ops = v->d->ops;
    int64_t z = v->c.z_dim, P = e->h * e->w;
    wan_conv c = v->post_quant.c;
    c.T = n, c.H = 1, c.W = P;
    gather(e->host, e->latent, z, e->Tl, e->t, n, P);
    e->t += n;
    WAN_TRY(wan_dev_write(v->d, e->mixed, e->host, (size_t)(z * n * P) * sizeof *e->host));
    WAN_TRY(ops->vae_to_clast(v->d, WAN_RBUF(e->z), e->mixed, v->denorm_a, v->denorm_b, n, P, z));
    WAN_TRY(ops->conv_forward(v->d, &c, WAN_RBUF(e->mixed), WAN_RBUF(e->z), v->post_quant.w,
                              v->post_quant.b, 0));
    WAN_TRY(ops->cast(v->d, wan_vae_stream_input(&v->dec), WAN_RBUF(e->mixed), z * n * P));
    return wan_vae_stream_push(&v->dec, n);
}

static void end_band(decoding *e)
{
    wan_dev *d = e->v->d;
    wan_dev_free(d, e->z);
    wan_dev_free(d, e->mixed);
    wan_dev_free(d, e->rgb);
    free(e->host_rgb);
    free(e->host);
    e->z = e->mixed = NULL;
    e->rgb = e->host_rgb = NULL;
    e->host = NULL;
    e->begun = 0;
}

static int begin_band(decoding *e)
{
    wan_vae *v = e->v;
    WAN_TRY(wan_vae_layout_set(&v->dec, e->h, e->w, WAN_VAE_DECODE_CHUNK, e->band));
    const vae_stage *last = &v->dec.stages[v->dec.n_stages - 1];
    wan_vae_layout_rows(&v->dec, e->band, &e->first, &e->end);
    e->rows = last->H;
    e->skip = e->first - last->row0;
    e->done = e->t = 0;
    e->begun = 1;
    int64_t latents = v->dec.stages[0].cap * e->h * e->w * v->c.z_dim;
    int64_t pixels = last->cap * e->rows * e->W * 3;
    e->z = wan_dev_alloc(v->d, (size_t)latents * sizeof(wan_real), "latents");
    e->mixed = wan_dev_alloc(v->d, (size_t)latents * sizeof(wan_real), "latents");
    e->rgb = wan_dev_alloc(v->d, (size_t)pixels, "frames");
    e->host_rgb = wan_malloc(1, (size_t)pixels, "frames");
    e->host = wan_malloc(sizeof *e->host, (size_t)(pixels > latents ? pixels : latents), "frames");
    if (!e->z || !e->mixed || !e->rgb || !e->host_rgb || !e->host)
        return -1;
    v->dec.sink = take_frames;
    v->dec.arg = e;
    wan_vae_layout_reset(&v->dec, e->Tl == 1);
    return 0;
}

int wan_vae_frames_next(wan_vae_frames *e)
{
    const int apart = e->v->dec.ranks ? e->v->dec.ranks : 1;
    if (e->none || e->band >= e->v->dec.bands)
        return 0;
    if (!e->begun)
        WAN_TRY(begin_band(e));
    if (e->t < e->Tl) {
        const int64_t n = wan_vae_stream_room(&e->v->dec), left = e->Tl - e->t;
        WAN_TRY(feed_latents(e, n < left ? n : left));
    }
    if (e->t < e->Tl)
        return 1;
    WAN_TRY(wan_vae_stream_flush(&e->v->dec));
    end_band(e);
    e->band += apart;
    return e->band < e->v->dec.bands;
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

static int open_frames(decoding *e)
{
    wan_vae *v = e->v;
    e->band = v->share ? v->share->rank : 0;
    v->dec.ranks = wan_vae_share_ranks(v, e->h, 1);
    if (e->band && e->band >= v->dec.ranks) {
        e->none = 1;
        return 0;
    }
    WAN_TRY(wan_vae_layout_set(&v->dec, e->h, e->w, WAN_VAE_DECODE_CHUNK, e->band));
    return take_clip(e, 1 + 4 * (e->Tl - 1));
}

int wan_vae_frames_whole(wan_vae_frames **out, wan_vae *v, const float *latent, int64_t Tl,
                         int64_t h, int64_t w, int raw, wan_vae_put *put, void *arg)
{
    decoding *e = *out = wan_calloc(1, sizeof *e, "frames");
    if (!e)
        return -1;
    *e = (decoding){ .v = v,
                     .raw = raw,
                     .put = put,
                     .arg = arg,
                     .H = 8 * h,
                     .W = 8 * w,
                     .latent = latent,
                     .Tl = Tl,
                     .h = h,
                     .w = w };
    if (open_frames(e) == 0)
        return 0;
    wan_vae_frames_close(out);
    return -1;
}

void wan_vae_frames_close(wan_vae_frames **pe)
{
    decoding *e = *pe;
    if (!e)
        return;
    end_band(e);
    free(e->clip);
    free(e->part);
    free(e);
    *pe = NULL;
}

int wan_vae_decode_whole(wan_vae *v, const float *latent, int64_t Tl, int64_t h, int64_t w, int raw,
                         wan_vae_put *put, void *arg)
{
    wan_vae_frames *e;
    WAN_TRY(wan_vae_frames_whole(&e, v, latent, Tl, h, w, raw, put, arg));
    int more = 1;
    while (more > 0)
        more = wan_vae_frames_next(e);
    wan_vae_frames_close(&e);
    return more;
}
