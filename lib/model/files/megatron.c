/* SPDX-License-Identifier: Apache-2.0
 *
 * megatron.c - see megatron.h.
 */
#include "lib/model/files/megatron.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A name of Megatron and the parameters in it, in the order in which they are woven. */
typedef struct entry {
    const char *from, *to[3];
} entry;

static const entry outside[] = {
    { "text_embedding.linear_1.", { "condition_embedder.text_embedder.linear_1." } },
    { "text_embedding.linear_2.", { "condition_embedder.text_embedder.linear_2." } },
    { "text_embedding.0.", { "condition_embedder.text_embedder.linear_1." } },
    { "text_embedding.2.", { "condition_embedder.text_embedder.linear_2." } },
    { "time_embedder.linear_1.", { "condition_embedder.time_embedder.linear_1." } },
    { "time_embedder.linear_2.", { "condition_embedder.time_embedder.linear_2." } },
    { "time_proj.", { "condition_embedder.time_proj." } },
    { "head.modulation", { "scale_shift_table" } },
    { "head.head.", { "proj_out." } },
    { "patch_embedding.", { "patch_embedding." } },
};
static const entry inside[] = {
    { "full_self_attention.linear_qkv.", { "attn1.to_q.", "attn1.to_k.", "attn1.to_v." } },
    { "full_self_attention.linear_proj.", { "attn1.to_out.0." } },
    { "full_self_attention.q_layernorm.", { "attn1.norm_q." } },
    { "full_self_attention.k_layernorm.", { "attn1.norm_k." } },
    { "cross_attention.linear_q.", { "attn2.to_q." } },
    { "cross_attention.linear_kv.", { "attn2.to_k.", "attn2.to_v." } },
    { "cross_attention.linear_proj.", { "attn2.to_out.0." } },
    { "cross_attention.q_layernorm.", { "attn2.norm_q." } },
    { "cross_attention.k_layernorm.", { "attn2.norm_k." } },
    { "norm3.", { "norm2." } },
    { "mlp.linear_fc1.", { "ffn.net.0.proj." } },
    { "mlp.linear_fc2.", { "ffn.net.2." } },
    { "adaLN.modulation", { "scale_shift_table" } },
};
#define COUNT(a) (sizeof a / sizeof *a)

/* The entry whose name s begins with; NULL: none. */
static const entry *find(const entry *list, size_t n, const char *s)
{
    for (size_t i = 0; i < n; i++)
        if (!strncmp(s, list[i].from, strlen(list[i].from)))
            return &list[i];
    return NULL;
}

/* One layer (or what is outside of them): the parameters that entry e names. */
static int add_parts(const entry *e, const char *head, const char *tail, const int64_t *shape,
                     int rank, wan_megatron_piece piece, wan_megatron_add *add, void *arg)
{
    char name[1200];
    int64_t part[16];
    int parts = 1;
    while (parts < 3 && e->to[parts])
        parts++;
    memcpy(part, shape, (size_t)rank * sizeof *shape);
    if (parts > 1 && (rank < 1 || part[0] % parts))
        return wan_err("its rows do not divide into %d parts", parts);
    if (rank)
        part[0] /= parts;
    piece.parts = parts;
    for (piece.part = 0; piece.part < parts; piece.part++) {
        snprintf(name, sizeof name, "%s%s%s", head, e->to[piece.part], tail);
        WAN_TRY(add(arg, name, part, rank, &piece));
    }
    return 0;
}

/* "decoder.layers.N.rest" is one layer, "decoder.layers.rest" a stack of them. */
static int add_layers(const char *s, const int64_t *shape, int rank, wan_megatron_piece piece,
                      wan_megatron_add *add, void *arg)
{
    char head[64], *end;
    long n = strtol(s, &end, 10);
    int stack = end == s;
    const char *rest = stack ? s : end + (*end == '.');
    const entry *e = find(inside, COUNT(inside), rest);
    if (!e || n < 0 || n > 9999)
        return wan_err("no part of Megatron's WAN");
    const char *tail = rest + strlen(e->from);
    if (!stack) {
        snprintf(head, sizeof head, "blocks.%ld.", n);
        return add_parts(e, head, tail, shape, rank, piece, add, arg);
    }
    if (rank < 2 || shape[0] > 9999)
        return wan_err("no stack of layers");
    for (piece.layer = 0; piece.layer < shape[0]; piece.layer++) {
        snprintf(head, sizeof head, "blocks.%d.", (int)piece.layer);
        WAN_TRY(add_parts(e, head, tail, shape + 1, rank - 1, piece, add, arg));
    }
    return 0;
}

int wan_megatron_pieces(const char *name, const int64_t *shape, int rank, size_t tensor,
                        wan_megatron_add *add, void *arg)
{
    static const char layers[] = "decoder.layers.";
    wan_megatron_piece piece = { .tensor = tensor, .layer = -1, .parts = 1 };
    const char *s = name;
    while (!strncmp(s, "module.", 7) || !strncmp(s, "model.", 6))
        s = strchr(s, '.') + 1;
    if (!strncmp(s, layers, sizeof layers - 1))
        return add_layers(s + sizeof layers - 1, shape, rank, piece, add, arg);
    const entry *e = find(outside, COUNT(outside), s);
    if (e && !e->to[1])
        return add_parts(e, "", s + strlen(e->from), shape, rank, piece, add, arg);
    return add(arg, name, shape, rank, &piece);
}
