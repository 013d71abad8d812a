/* SPDX-License-Identifier: Apache-2.0
 *
 * vae_encode.c - clips of whole pictures, or of bands of their rows, to latents.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/model/vae/vae_net.h"

/* Host blocks [C, n, P] of a [C, T, P] array at frame t. */
static void scatter(float *all, const float *part, int64_t C, int64_t T, int64_t t, int64_t n,
                    int64_t P)
{
    for (int64_t c = 0; c < C; c++)
        memcpy(all + (c * T + t) * P, part + c * n * P, (size_t)(n * P) * sizeof *all);
}

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

static int encode_frames(encoding *e, const wan_vae_clip *c)
{
    vae_net *net = &e->v->enc;
    size_t frame = (size_t)(c->H * c->W * 3) * (c->is_float ? sizeof(float) : 1);
    net->sink = take_latents;
    net->arg = e;
    net->joint_n = 0;
    wan_vae_layout_reset(net, c->T == 1);
    for (int64_t t = 0, n; t < c->T; t += n) {
        n = wan_vae_stream_room(net);
        n = n < c->T - t ? n : c->T - t;
        WAN_TRY(feed_pixels(e, (const char *)c->pixels + (size_t)t * frame,
                            c->is_float ? sizeof(float) : 1, n, c->H, c->W));
    }
    return wan_vae_stream_flush(net);
}

/* One band after the other, or that of this rank. */
static int encode_bands(encoding *e, const wan_vae_clip *c)
{
    vae_net *net = &e->v->enc;
    int alone = net->ranks <= 1;
    for (int b = alone ? 0 : net->band; b < net->bands; b++) {
        WAN_TRY(wan_vae_layout_set(net, c->H, c->W, c->chunk, b));
        WAN_TRY(encode_frames(e, c));
        if (!alone)
            break;
    }
    if (e->done != e->T)
        WAN_BUG("VAE encoder: %lld of %lld latent frames", (long long)e->done, (long long)e->T);
    return 0;
}

/* Room for what the bands of one rank give to the last stage. */
static int take_joint(vae_net *n, int64_t T)
{
    const vae_stage *last = &n->stages[n->n_stages - 1];
    n->joint = NULL;
    if (n->bands == 1 || n->ranks > 1)
        return 0;
    n->joint = wan_dev_alloc(n->d, (size_t)(T * last->H * last->W * last->C_in) * sizeof(wan_real),
                             "rows of the VAE");
    return n->joint ? 0 : -1;
}

int wan_vae_encode_whole(wan_vae *v, const wan_vae_clip *c)
{
    int64_t H = c->H, W = c->W;
    int rank = v->share ? v->share->rank : 0;
    v->enc.ranks = wan_vae_share_ranks(v, H / 8, 0);
    if (rank >= v->enc.ranks)
        return 0;
    v->enc.share = v->share;
    v->enc.where = v->where;
    WAN_TRY(wan_vae_layout_set(&v->enc, H, W, c->chunk, rank));
    int64_t cap = v->enc.stages[v->enc.n_stages - 1].cap, z = v->c.z_dim, P = H / 8 * (W / 8);
    size_t bytes = (size_t)(2 * z * cap * P) * sizeof(wan_real);
    encoding e = { .v = v,
                   .mu = c->mu,
                   .logvar = c->logvar,
                   .T = 1 + (c->T - 1) / 4,
                   .P = P,
                   .normalise = c->normalise };
    e.q = wan_dev_alloc(v->d, bytes, "latents");
    e.planes = wan_dev_alloc(v->d, bytes, "latents");
    e.pixels =
        wan_dev_alloc(v->d, (size_t)(v->enc.stages[0].cap * H * W * 3) * sizeof(float), "frames");
    e.host = wan_malloc(1, bytes, "latents");
    int rc = e.q && e.planes && e.pixels && e.host ? take_joint(&v->enc, e.T) : -1;
    if (rc == 0)
        rc = encode_bands(&e, c);
    wan_dev_free(v->d, v->enc.joint);
    v->enc.joint = NULL;
    wan_dev_free(v->d, e.q);
    wan_dev_free(v->d, e.planes);
    wan_dev_free(v->d, e.pixels);
    free(e.host);
    return rc;
}
