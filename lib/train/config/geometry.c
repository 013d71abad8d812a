/* SPDX-License-Identifier: Apache-2.0
 *
 * geometry.c - see geometry.h.
 */
#include "lib/train/config/geometry.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/model/files/modelfolder.h"
#include "lib/model/files/modelio.h"

static const struct {
    const char *key;
    size_t at;
} fields[] = {
    { "model.num_layers", offsetof(wan_net_config, layers) },
    { "model.num_attention_heads", offsetof(wan_net_config, heads) },
    { "model.kv_channels", offsetof(wan_net_config, head_dim) },
    { "model.ffn_hidden_size", offsetof(wan_net_config, ffn) },
    { "model.in_channels", offsetof(wan_net_config, in_ch) },
    { "model.out_channels", offsetof(wan_net_config, out_ch) },
    { "model.text_dim", offsetof(wan_net_config, text_dim) },
    { "model.text_len", offsetof(wan_net_config, text_len) },
    { "model.freq_dim", offsetof(wan_net_config, freq_dim) },
};
#define FIELDS (sizeof fields / sizeof fields[0])

static void published(wan_net_config *g, enum wan_model_size size)
{
    int big = size == WAN_SIZE_14B;
    *g = (wan_net_config){ .heads = big ? 40 : 12,
                           .head_dim = 128,
                           .layers = big ? 40 : 30,
                           .ffn = big ? 13824 : 8960,
                           .in_ch = 16,
                           .out_ch = 16,
                           .text_dim = 4096,
                           .text_len = 512,
                           .freq_dim = 256,
                           .patch_h = 2,
                           .patch_w = 2,
                           .eps = 1e-6 };
}

static int64_t given(const wan_train_config *v, size_t i)
{
    const int64_t values[FIELDS] = { v->layers, v->heads,    v->head_dim, v->ffn,     v->in_ch,
                                     v->out_ch, v->text_dim, v->text_len, v->freq_dim };
    return values[i];
}

static int set(wan_config *c, const char *key, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    return wan_config_set(c, key, text, WAN_FROM_PRESET);
}

/* hidden_size with heads, or with the width of a head, or all three. */
static int split_hidden(wan_net_config *g, const wan_train_config *v)
{
    if (!v->hidden)
        return 0;
    if (!v->heads && v->hidden % g->head_dim == 0)
        g->heads = (int)(v->hidden / g->head_dim);
    else if (v->heads && !v->head_dim && v->hidden % v->heads == 0)
        g->head_dim = (int)(v->hidden / v->heads);
    if ((int64_t)g->heads * g->head_dim != v->hidden)
        return wan_err("model.hidden_size %lld is not heads x kv_channels = %d x %d",
                       (long long)v->hidden, g->heads, g->head_dim);
    return 0;
}

/* What the keys start from: the weights, else a config.json that is named, else a published size. */
static int start_from(wan_net_config *base, const wan_train_config *v, const char *weights)
{
    char *folder = NULL;
    published(base, v->model_size);
    if (weights || *v->model_config)
        return wan_net_config_load(base, weights ? weights : v->model_config);
    if (!*v->model_path)
        return 0;
    int rc = wan_model_transformer(&folder, v->model_path, -1);
    if (rc == 0)
        rc = wan_net_config_load(base, folder);
    free(folder);
    return rc;
}

int wan_geometry(wan_net_config *out, wan_config *c, const char *weights)
{
    wan_net_config base;
    WAN_TRY(start_from(&base, &c->v, weights));
    *out = base;
    out->eps =
        wan_config_source(c, "model.layernorm_epsilon") == WAN_FROM_DEFAULT ? base.eps : c->v.eps;
    for (size_t i = 0; i < FIELDS; i++)
        if (given(&c->v, i))
            *(int *)((char *)out + fields[i].at) = (int)given(&c->v, i);
    WAN_TRY(split_hidden(out, &c->v));
    for (size_t i = 0; weights && i < FIELDS; i++) {
        int mine = *(int *)((char *)out + fields[i].at),
            its = *(int *)((char *)&base + fields[i].at);
        if (mine != its)
            return wan_err("%s is %d, but the weights in %s have %d", fields[i].key, mine, weights,
                           its);
    }
    WAN_TRY(wan_net_config_check(out));
    for (size_t i = 0; i < FIELDS; i++)
        WAN_TRY(set(c, fields[i].key, *(int *)((char *)out + fields[i].at)));
    WAN_TRY(set(c, "model.crossattn_emb_size", (int64_t)out->heads * out->head_dim));
    return set(c, "model.hidden_size", (int64_t)out->heads * out->head_dim);
}
