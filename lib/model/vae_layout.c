/* SPDX-License-Identifier: Apache-2.0
 *
 * vae_layout.c - memory of one direction of the VAE for a given size of input.
 *
 * Full resolution dominates: a frame of 96 channels at 480x832 is 153 MB in float.  So few frames
 * are worked on at a time where frames are large, and one padded input (work) and one output (y)
 * serve every convolution; only the past frames are each convolution's own.
 */
#include <string.h>

#include "lib/model/vae_net.h"

/* Activations of one stage beyond which frames are taken one by one. */
#define PIECE_CPU (64ll << 20)
#define PIECE_CUDA (1ll << 30)

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t frame_of(const vae_conv *v)
{
    return v->c.H * v->c.W * v->c.Ci;
}

static int take_hist(vae_net *n, vae_conv *v)
{
    size_t bytes = (size_t)(frame_of(v) * (v->c.kt - 1)) * wan_dtype_size(n->compute);
    v->hist = wan_dev_alloc(n->d, bytes, "past frames of the VAE");
    return v->hist ? 0 : -1;
}

static void give_hist(vae_net *n, vae_conv *v)
{
    wan_dev_free(n->d, v->hist);
    v->hist = NULL;
}

/* Sizes of stages and convolutions; frames a stage takes at once. */
static void set_sizes(vae_net *n, int64_t H, int64_t W, int64_t chunk)
{
    int64_t piece = n->d->kind == WAN_DEV_CUDA ? PIECE_CUDA : PIECE_CPU, limit = chunk;
    for (int i = 0; i < n->n_stages; i++) {
        vae_stage *s = &n->stages[i];
        s->H = H, s->W = W;
        s->cap = piece / (H * W * s->C_max * (int64_t)sizeof(wan_real));
        s->cap = max64(1, s->cap < limit ? s->cap : limit);
        for (int k = 0; k < s->n_nodes; k++) {
            vae_node *e = &s->nodes[k];
            e->conv1.c.H = e->conv2.c.H = e->shortcut.c.H = H;
            e->conv1.c.W = e->conv2.c.W = e->shortcut.c.W = W;
        }
        int64_t H2 = s->leave == VAE_DOWN ? H / 2 : 2 * H, W2 = s->leave == VAE_DOWN ? W / 2 : 2 * W;
        s->space.c.H = s->leave == VAE_UP ? H2 : H; /* after upsampling; before the stride */
        s->space.c.W = s->leave == VAE_UP ? W2 : W;
        s->time.c.H = s->leave == VAE_UP ? H : H2;
        s->time.c.W = s->leave == VAE_UP ? W : W2;
        if (s->timed)
            limit = s->leave == VAE_UP ? 2 * limit : max64(1, limit / 2);
        if (s->leave != VAE_LAST)
            H = H2, W = W2;
    }
    n->first.c.H = n->stages[0].H, n->first.c.W = n->stages[0].W;
    n->last.c.H = H, n->last.c.W = W;
}

/* Elements of work (compute type) and of y that stage s needs, and positions under attention. */
static void measure(const vae_stage *s, int64_t *work, int64_t *y, int64_t *lse)
{
    int64_t P = s->H * s->W;
    for (int i = 0; i < s->n_nodes; i++) {
        const vae_node *e = &s->nodes[i];
        int res = e->kind == VAE_RES;
        *work = max64(*work, (s->cap + 2) * P * max64(e->Ci, e->Co));
        *y = max64(*y, s->cap * P * (res ? e->Co : 3 * e->Co));
        if (!res)
            *lse = max64(*lse, s->cap * P);
    }
    *work = max64(*work, (s->cap + 2) * P * s->C_out);
    if (s->leave == VAE_UP) {
        *work = max64(*work, 4 * P * s->C_out);
        *y = max64(*y, s->cap * P * s->C_out * (s->timed ? 2 : 1));
    }
}

static int take_stage(vae_net *n, vae_stage *s)
{
    int64_t P = s->H * s->W, size = (int64_t)wan_dtype_size(n->compute);
    int64_t x = s->cap * P * s->C_max * (int64_t)sizeof(wan_real);
    if (s->leave == VAE_UP && s->timed)
        x = max64(x, 2 * s->cap * P * s->C_out * size); /* holds the interleaved frames later */
    s->x = wan_dev_alloc(n->d, (size_t)x, "frames of the VAE");
    if (!s->x)
        return -1;
    for (int i = 0; i < s->n_nodes; i++)
        if (s->nodes[i].kind == VAE_RES) {
            WAN_TRY(take_hist(n, &s->nodes[i].conv1));
            WAN_TRY(take_hist(n, &s->nodes[i].conv2));
        }
    if (!s->timed)
        return 0;
    s->tail = wan_dev_alloc(n->d, (size_t)((s->cap + 2) * frame_of(&s->time) * size),
                            "past frames of the VAE");
    return s->tail ? 0 : -1;
}

static int take_shared(vae_net *n)
{
    int64_t work = (n->stages[0].cap + 2) * frame_of(&n->first), y = 0, lse = 1;
    for (int i = 0; i < n->n_stages; i++)
        measure(&n->stages[i], &work, &y, &lse);
    int64_t out = n->stages[n->n_stages - 1].cap * n->last.c.H * n->last.c.W * n->last.c.Co;
    int64_t size = (int64_t)wan_dtype_size(n->compute);
    n->work = wan_dev_alloc(n->d, (size_t)(work * size), "work space of the VAE");
    n->y = wan_dev_alloc(n->d, (size_t)max64(y * size, out * (int64_t)sizeof(wan_real)),
                         "work space of the VAE");
    n->lse = wan_dev_alloc(n->d, (size_t)lse * sizeof(wan_real), "work space of the VAE");
    return n->work && n->y && n->lse ? 0 : -1;
}

static int take_all(vae_net *n)
{
    WAN_TRY(take_shared(n));
    WAN_TRY(take_hist(n, &n->first));
    WAN_TRY(take_hist(n, &n->last));
    for (int i = 0; i < n->n_stages; i++)
        WAN_TRY(take_stage(n, &n->stages[i]));
    return 0;
}

int wan_vae_layout_set(vae_net *n, int64_t H, int64_t W, int64_t chunk)
{
    if (n->H == H && n->W == W && n->chunk == chunk)
        return 0;
    wan_vae_layout_free(n);
    set_sizes(n, H, W, chunk);
    n->H = H, n->W = W, n->chunk = chunk; /* from here on free has something to do */
    if (take_all(n) == 0)
        return 0;
    wan_vae_layout_free(n);
    return -1;
}

void wan_vae_layout_free(vae_net *n)
{
    if (!n->H)
        return;
    for (int i = 0; i < n->n_stages; i++) {
        vae_stage *s = &n->stages[i];
        for (int k = 0; k < s->n_nodes; k++) {
            give_hist(n, &s->nodes[k].conv1);
            give_hist(n, &s->nodes[k].conv2);
        }
        wan_dev_free(n->d, s->x);
        wan_dev_free(n->d, s->tail);
        s->x = s->tail = NULL;
    }
    give_hist(n, &n->first);
    give_hist(n, &n->last);
    wan_dev_free(n->d, n->work);
    wan_dev_free(n->d, n->y);
    wan_dev_free(n->d, n->lse);
    n->work = n->y = n->lse = NULL;
    if (n->pack_n)
        wan_pack_free(n->d, &n->pack);
    n->pack_n = n->H = n->W = 0;
}

static int zero_hist(vae_net *n, vae_conv *v)
{
    size_t bytes = (size_t)(frame_of(v) * (v->c.kt - 1)) * wan_dtype_size(n->compute);
    return wan_dev_zero(n->d, v->hist, bytes);
}

int wan_vae_layout_reset(vae_net *n)
{
    WAN_TRY(zero_hist(n, &n->first));
    WAN_TRY(zero_hist(n, &n->last));
    for (int i = 0; i < n->n_stages; i++) {
        vae_stage *s = &n->stages[i];
        s->fill = s->seen = s->n_tail = 0;
        for (int k = 0; k < s->n_nodes; k++)
            if (s->nodes[k].kind == VAE_RES) {
                WAN_TRY(zero_hist(n, &s->nodes[k].conv1));
                WAN_TRY(zero_hist(n, &s->nodes[k].conv2));
            }
        if (s->timed)
            WAN_TRY(wan_dev_zero(n->d, s->tail, (size_t)(2 * frame_of(&s->time)) *
                                                    wan_dtype_size(n->compute)));
    }
    return 0;
}
