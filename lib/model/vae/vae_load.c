/* SPDX-License-Identifier: Apache-2.0
 *
 * vae_load.c - builds encoder and decoder from the config and a source of tensors (diffusers' names,
 * wan-model(7), VAE names).  Each tensor is asked for exactly once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/model/vae/vae_net.h"

typedef struct loader {
    wan_vae *v;
    const wan_vae_source *from;
    int keep; /* 0: check names and shapes only */
    wan_dtype compute;
} loader;

static void *take_block(loader *l, const void *host, size_t bytes, const char *name)
{
    wan_vae *v = l->v;
    void **grown = realloc(v->blocks, (size_t)(v->n_blocks + 1) * sizeof *grown);
    if (!grown)
        return wan_err("out of memory"), NULL;
    v->blocks = grown;
    void *p = wan_dev_alloc(v->d, bytes, name);
    if (!p)
        return NULL;
    v->blocks[v->n_blocks++] = p;
    return wan_dev_write(v->d, p, host, bytes) < 0 ? NULL : p;
}

/* A vector [n] (with `ones` trailing dimensions of 1) in WAN_REAL; *out stays NULL without keep. */
static int load_vector(loader *l, wan_real **out, const char *name, int64_t n, int ones)
{
    int64_t shape[4] = { n, 1, 1, 1 };
    *out = NULL;
    if (!l->keep)
        return l->from->load(l->from->arg, name, shape, 1 + ones, NULL, WAN_F32);
    wan_real *host = wan_malloc((size_t)n, sizeof *host, name);
    int rc = host ? l->from->load(l->from->arg, name, shape, 1 + ones, host, WAN_REAL) : -1;
    if (rc == 0 && !(*out = take_block(l, host, (size_t)n * sizeof *host, name)))
        rc = -1;
    free(host);
    return rc;
}

/* Reads [Co, Ci, taps], repacks to [Co, taps, Ci] and converts to type t. */
static int load_matrix(loader *l, wan_buf *out, const char *name, const int64_t *shape, int rank,
                       int64_t taps, wan_dtype t)
{
    int64_t n = shape[0] * shape[1] * taps;
    *out = wan_buf_of(NULL, t);
    if (!l->keep)
        return l->from->load(l->from->arg, name, shape, rank, NULL, WAN_F32);
    float *a = wan_malloc((size_t)n, sizeof *a, name), *b = wan_malloc((size_t)n, sizeof *b, name);
    int rc = a && b ? l->from->load(l->from->arg, name, shape, rank, a, WAN_F32) : -1;
    if (rc == 0) {
        wan_conv_repack(b, a, shape[0], shape[1], taps);
        rc = wan_convert(a, t, b, WAN_F32, (size_t)n);
    }
    if (rc == 0 && !(out->p = take_block(l, a, (size_t)n * wan_dtype_size(t), name)))
        rc = -1;
    if (l->from->release)
        l->from->release(l->from->arg, name);
    free(a);
    free(b);
    return rc;
}

/* rank 5: [Co, Ci, kt, kh, kw]; rank 4: [Co, Ci, kh, kw], kt = 1. */
static int load_conv(loader *l, vae_conv *v, const char *prefix, int rank, int64_t Ci, int64_t Co,
                     int kt, int k, wan_dtype t)
{
    char name[160];
    int64_t shape5[5] = { Co, Ci, kt, k, k }, shape4[4] = { Co, Ci, k, k };
    memset(v, 0, sizeof *v);
    v->c = (wan_conv){ .Ci = Ci,
                       .Co = Co,
                       .kt = kt,
                       .kh = k,
                       .kw = k,
                       .st = 1,
                       .sh = 1,
                       .sw = 1,
                       .top = k / 2,
                       .bottom = k / 2,
                       .left = k / 2,
                       .right = k / 2 };
    snprintf(name, sizeof name, "%s.weight", prefix);
    WAN_TRY(load_matrix(l, &v->w, name, rank == 5 ? shape5 : shape4, rank, (int64_t)kt * k * k, t));
    snprintf(name, sizeof name, "%s.bias", prefix);
    return load_vector(l, &v->b, name, Co, 0);
}

static vae_node *add_node(vae_stage *s, enum vae_kind kind, int64_t Ci, int64_t Co)
{
    if (s->n_nodes == s->cap_nodes) {
        int cap = s->cap_nodes ? 2 * s->cap_nodes : 8;
        vae_node *grown = realloc(s->nodes, (size_t)cap * sizeof *grown);
        if (!grown)
            return wan_err("out of memory"), NULL;
        s->nodes = grown;
        s->cap_nodes = cap;
    }
    vae_node *n = &s->nodes[s->n_nodes++];
    *n = (vae_node){ .kind = kind, .Ci = Ci, .Co = Co };
    s->C_out = Co;
    if (s->C_max < Co)
        s->C_max = Co;
    return n;
}

static int add_res(loader *l, vae_stage *s, const char *prefix, int64_t Ci, int64_t Co)
{
    char name[160];
    vae_node *n = add_node(s, VAE_RES, Ci, Co);
    if (!n)
        return -1;
    snprintf(name, sizeof name, "%s.norm1.gamma", prefix);
    WAN_TRY(load_vector(l, &n->gamma1, name, Ci, 3));
    snprintf(name, sizeof name, "%s.conv1", prefix);
    WAN_TRY(load_conv(l, &n->conv1, name, 5, Ci, Co, 3, 3, l->compute));
    snprintf(name, sizeof name, "%s.norm2.gamma", prefix);
    WAN_TRY(load_vector(l, &n->gamma2, name, Co, 3));
    snprintf(name, sizeof name, "%s.conv2", prefix);
    WAN_TRY(load_conv(l, &n->conv2, name, 5, Co, Co, 3, 3, l->compute));
    n->has_shortcut = Ci != Co;
    snprintf(name, sizeof name, "%s.conv_shortcut", prefix);
    return n->has_shortcut ? load_conv(l, &n->shortcut, name, 5, Ci, Co, 1, 1, l->compute) : 0;
}

static int add_middle(loader *l, vae_stage *s, const char *side, int64_t C)
{
    char name[160];
    snprintf(name, sizeof name, "%s.mid_block.resnets.0", side);
    WAN_TRY(add_res(l, s, name, C, C));
    vae_node *n = add_node(s, VAE_ATTN, C, C);
    if (!n)
        return -1;
    snprintf(name, sizeof name, "%s.mid_block.attentions.0.norm.gamma", side);
    WAN_TRY(load_vector(l, &n->gamma1, name, C, 2));
    snprintf(name, sizeof name, "%s.mid_block.attentions.0.to_qkv", side);
    WAN_TRY(load_conv(l, &n->conv1, name, 4, C, 3 * C, 1, 1, l->compute));
    snprintf(name, sizeof name, "%s.mid_block.attentions.0.proj", side);
    WAN_TRY(load_conv(l, &n->conv2, name, 4, C, C, 1, 1, l->compute));
    snprintf(name, sizeof name, "%s.mid_block.resnets.1", side);
    return add_res(l, s, name, C, C);
}

/* The resampler that ends a stage: C channels in, C (down) or C/2 (up) out. */
static int add_resample(loader *l, vae_stage *s, const char *prefix, enum vae_resample kind,
                        int timed)
{
    char name[160];
    int64_t C = s->C_out, up = kind == VAE_UP;
    s->leave = kind;
    s->timed = timed;
    snprintf(name, sizeof name, "%s.resample.1", prefix);
    WAN_TRY(load_conv(l, &s->space, name, 4, C, up ? C / 2 : C, 1, 3, l->compute));
    s->space.c.up = up;
    if (!up) {
        s->space.c.sh = s->space.c.sw = 2;
        s->space.c.top = s->space.c.left = 0; /* zeros right and below only */
    }
    snprintf(name, sizeof name, "%s.time_conv", prefix);
    if (!timed)
        return 0;
    WAN_TRY(load_conv(l, &s->time, name, 5, C, up ? 2 * C : C, 3, 1, l->compute));
    s->time.c.st = up ? 1 : 2;
    return 0;
}

static int add_ends(loader *l, vae_net *n, const char *side, int64_t Ci, int64_t C0, int64_t C1,
                    int64_t Co)
{
    char name[160];
    snprintf(name, sizeof name, "%s.conv_in", side);
    WAN_TRY(load_conv(l, &n->first, name, 5, Ci, C0, 3, 3, l->compute));
    snprintf(name, sizeof name, "%s.norm_out.gamma", side);
    WAN_TRY(load_vector(l, &n->gamma_out, name, C1, 3));
    snprintf(name, sizeof name, "%s.conv_out", side);
    return load_conv(l, &n->last, name, 5, C1, Co, 3, 3, l->compute);
}

static void open_stage(vae_stage *s, int64_t C)
{
    s->C_in = s->C_out = s->C_max = C;
}

/* Channels C0, C1.. of the levels are base_dim * dim_mult; the blocks are numbered flat. */
static int build_encoder(loader *l, vae_net *n)
{
    const wan_vae_config *c = &l->v->c;
    char name[160];
    int64_t C = c->base_dim;
    int flat = 0;
    n->n_stages = c->levels;
    for (int i = 0; i < c->levels; i++) {
        vae_stage *s = &n->stages[i];
        int64_t Co = (int64_t)c->base_dim * c->dim_mult[i];
        open_stage(s, C);
        for (int r = 0; r < c->num_res_blocks; r++, C = Co) {
            snprintf(name, sizeof name, "encoder.down_blocks.%d", flat++);
            WAN_TRY(add_res(l, s, name, C, Co));
        }
        snprintf(name, sizeof name, "encoder.down_blocks.%d", flat);
        if (i < c->levels - 1) {
            WAN_TRY(add_resample(l, s, name, VAE_DOWN, c->time_down[i]));
            flat++;
        }
    }
    WAN_TRY(add_middle(l, &n->stages[c->levels - 1], "encoder", C));
    return add_ends(l, n, "encoder", 3, c->base_dim, C, 2 * c->z_dim);
}

static int build_decoder(loader *l, vae_net *n)
{
    const wan_vae_config *c = &l->v->c;
    char name[160];
    int64_t C = (int64_t)c->base_dim * c->dim_mult[c->levels - 1], C0 = C;
    n->n_stages = c->levels;
    for (int i = 0; i < c->levels; i++) {
        vae_stage *s = &n->stages[i];
        int64_t Co = (int64_t)c->base_dim * c->dim_mult[c->levels - 1 - i];
        open_stage(s, C);
        if (i == 0)
            WAN_TRY(add_middle(l, s, "decoder", C));
        for (int r = 0; r <= c->num_res_blocks; r++, C = Co) {
            snprintf(name, sizeof name, "decoder.up_blocks.%d.resnets.%d", i, r);
            WAN_TRY(add_res(l, s, name, C, Co));
        }
        snprintf(name, sizeof name, "decoder.up_blocks.%d.upsamplers.0", i);
        if (i < c->levels - 1) {
            WAN_TRY(add_resample(l, s, name, VAE_UP, c->time_down[c->levels - 2 - i]));
            C = Co / 2;
        }
    }
    return add_ends(l, n, "decoder", c->z_dim, C0, C, 3);
}

/* z = mu*a + b and back; the reciprocal is formed in float first, as the references do.  The second
 * half of the encoder's vectors leaves the log variances as they are. */
static int load_latent_scale(loader *l)
{
    wan_vae *v = l->v;
    const wan_vae_config *c = &v->c;
    wan_real a[2 * WAN_VAE_MAX_Z], b[2 * WAN_VAE_MAX_Z], ia[WAN_VAE_MAX_Z];
    size_t bytes = (size_t)c->z_dim * sizeof *a;
    for (int i = 0; i < c->z_dim; i++) {
        a[i] = WAN_C(1.0f / (float)c->std[i]);
        b[i] = -c->mean[i] * a[i];
        ia[i] = 1 / a[i];
        a[c->z_dim + i] = 1;
        b[c->z_dim + i] = 0;
    }
    v->norm_a = take_block(l, a, 2 * bytes, "latents_std");
    v->norm_b = take_block(l, b, 2 * bytes, "latents_mean");
    v->denorm_a = take_block(l, ia, bytes, "latents_std");
    v->denorm_b = take_block(l, c->mean, bytes, "latents_mean");
    return v->norm_a && v->norm_b && v->denorm_a && v->denorm_b ? 0 : -1;
}

int wan_vae_load_weights(wan_vae *v, const wan_vae_source *from)
{
    loader l = { .v = v, .from = from, .compute = v->compute };
    int64_t z = v->c.z_dim;
    l.keep = (v->parts & WAN_VAE_ENCODER) != 0;
    WAN_TRY(build_encoder(&l, &v->enc));
    WAN_TRY(load_conv(&l, &v->quant, "quant_conv", 5, 2 * z, 2 * z, 1, 1, WAN_REAL));
    l.keep = (v->parts & WAN_VAE_DECODER) != 0;
    WAN_TRY(build_decoder(&l, &v->dec));
    WAN_TRY(load_conv(&l, &v->post_quant, "post_quant_conv", 5, z, z, 1, 1, WAN_REAL));
    return load_latent_scale(&l);
}

void wan_vae_load_free(wan_vae *v)
{
    for (int i = 0; i < v->n_blocks; i++) {
        wan_conv_forget(v->blocks[i]);
        wan_dev_free(v->d, v->blocks[i]);
    }
    free(v->blocks);
    v->blocks = NULL;
    v->n_blocks = 0;
    for (int i = 0; i < WAN_VAE_MAX_LEVELS; i++) {
        free(v->enc.stages[i].nodes);
        free(v->dec.stages[i].nodes);
    }
}
