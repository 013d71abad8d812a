/* SPDX-License-Identifier: Apache-2.0
 *
 * net_params.c - the WAN transformer's parameters: their table under both namings, what each is, and
 * where a part finds its own.  Initial values are the official code's (wan-model(7), Initialisation):
 * Xavier-uniform dense layers, N(0, 0.02^2) text and time embeddings, N(0, 1/D) modulation tables,
 * zero head.
 */
#include <stdio.h>
#include <string.h>

#include "lib/model/wan/net_priv.h"

/* How a parameter starts. */
enum start {
    ZERO,
    ONE,
    XAVIER,
    SMALL /* 0.02 */,
    TABLE /* 1/sqrt(D) */,
    CONV /* 1/sqrt(fan in) */
};
/* How tensor parallel ranks share it out: whole, dimension 0 or 1 in heads or in single rows. */
enum share { WHOLE, HEADS0, HEADS1, ROWS0, ROWS1 };

/* In what a product reads it: full precision, the type of products, or eight bits where those are asked
 * for.  Not the layers outside of blocks, and not keys and values of the text: few rows, nothing gained. */
enum type { KEEP, GEMM, FP8 };

/* Shapes in letters: D width, E 6D, F ffn, T text_dim, Q freq_dim, I in_ch, O head outputs, h w
 * patch; digits stand for themselves.  Time path and head are computed in full precision, so no GEMM
 * reads a bf16 copy of theirs. */
typedef struct spec {
    const char *name, *official, *shape;
    enum type gemm;
    enum wan_role role;
    enum start start;
    enum share share;
} spec;

#define COL WAN_ROLE_COLUMN
#define ROW WAN_ROLE_ROW
#define REP WAN_ROLE_REPLICATED
#define NORM WAN_ROLE_NORM
#define BIAS WAN_ROLE_BIAS
#define MODUL WAN_ROLE_MODULATION
#define EMBED WAN_ROLE_EMBEDDING

/* clang-format off */
static const spec embed[] = {
    { "patch_embedding.weight", "patch_embedding.weight", "DI1hw", GEMM, EMBED, XAVIER, WHOLE },
    { "patch_embedding.bias", "patch_embedding.bias", "D", KEEP, BIAS, CONV, WHOLE },
    { "condition_embedder.text_embedder.linear_1.weight", "text_embedding.0.weight", "DT", GEMM, EMBED, SMALL, WHOLE },
    { "condition_embedder.text_embedder.linear_1.bias", "text_embedding.0.bias", "D", KEEP, BIAS, ZERO, WHOLE },
    { "condition_embedder.text_embedder.linear_2.weight", "text_embedding.2.weight", "DD", GEMM, REP, SMALL, WHOLE },
    { "condition_embedder.text_embedder.linear_2.bias", "text_embedding.2.bias", "D", KEEP, BIAS, ZERO, WHOLE },
    { "condition_embedder.time_embedder.linear_1.weight", "time_embedding.0.weight", "DQ", KEEP, EMBED, SMALL, WHOLE },
    { "condition_embedder.time_embedder.linear_1.bias", "time_embedding.0.bias", "D", KEEP, BIAS, ZERO, WHOLE },
    { "condition_embedder.time_embedder.linear_2.weight", "time_embedding.2.weight", "DD", KEEP, REP, SMALL, WHOLE },
    { "condition_embedder.time_embedder.linear_2.bias", "time_embedding.2.bias", "D", KEEP, BIAS, ZERO, WHOLE },
    { "condition_embedder.time_proj.weight", "time_projection.1.weight", "ED", KEEP, REP, XAVIER, WHOLE },
    { "condition_embedder.time_proj.bias", "time_projection.1.bias", "E", KEEP, BIAS, ZERO, WHOLE },
};

/* norm2 and norm3 change places between the namings: the affine norm before cross-attention is
 * the second in HuggingFace's order and the third in the official one. */
static const spec block[] = {
    { "attn1.to_q.weight", "self_attn.q.weight", "DD", FP8, COL, XAVIER, HEADS0 },
    { "attn1.to_q.bias", "self_attn.q.bias", "D", KEEP, BIAS, ZERO, HEADS0 },
    { "attn1.to_k.weight", "self_attn.k.weight", "DD", FP8, COL, XAVIER, HEADS0 },
    { "attn1.to_k.bias", "self_attn.k.bias", "D", KEEP, BIAS, ZERO, HEADS0 },
    { "attn1.to_v.weight", "self_attn.v.weight", "DD", FP8, COL, XAVIER, HEADS0 },
    { "attn1.to_v.bias", "self_attn.v.bias", "D", KEEP, BIAS, ZERO, HEADS0 },
    { "attn1.to_out.0.weight", "self_attn.o.weight", "DD", FP8, ROW, XAVIER, HEADS1 },
    { "attn1.to_out.0.bias", "self_attn.o.bias", "D", KEEP, BIAS, ZERO, WHOLE },
    { "attn1.norm_q.weight", "self_attn.norm_q.weight", "D", KEEP, NORM, ONE, HEADS0 },
    { "attn1.norm_k.weight", "self_attn.norm_k.weight", "D", KEEP, NORM, ONE, HEADS0 },
    { "norm2.weight", "norm3.weight", "D", KEEP, NORM, ONE, WHOLE },
    { "norm2.bias", "norm3.bias", "D", KEEP, NORM, ZERO, WHOLE },
    { "attn2.to_q.weight", "cross_attn.q.weight", "DD", FP8, COL, XAVIER, HEADS0 },
    { "attn2.to_q.bias", "cross_attn.q.bias", "D", KEEP, BIAS, ZERO, HEADS0 },
    { "attn2.to_k.weight", "cross_attn.k.weight", "DD", GEMM, COL, XAVIER, HEADS0 },
    { "attn2.to_k.bias", "cross_attn.k.bias", "D", KEEP, BIAS, ZERO, HEADS0 },
    { "attn2.to_v.weight", "cross_attn.v.weight", "DD", GEMM, COL, XAVIER, HEADS0 },
    { "attn2.to_v.bias", "cross_attn.v.bias", "D", KEEP, BIAS, ZERO, HEADS0 },
    { "attn2.to_out.0.weight", "cross_attn.o.weight", "DD", FP8, ROW, XAVIER, HEADS1 },
    { "attn2.to_out.0.bias", "cross_attn.o.bias", "D", KEEP, BIAS, ZERO, WHOLE },
    { "attn2.norm_q.weight", "cross_attn.norm_q.weight", "D", KEEP, NORM, ONE, HEADS0 },
    { "attn2.norm_k.weight", "cross_attn.norm_k.weight", "D", KEEP, NORM, ONE, HEADS0 },
    { "ffn.net.0.proj.weight", "ffn.0.weight", "FD", FP8, COL, XAVIER, ROWS0 },
    { "ffn.net.0.proj.bias", "ffn.0.bias", "F", KEEP, BIAS, ZERO, ROWS0 },
    { "ffn.net.2.weight", "ffn.2.weight", "DF", FP8, ROW, XAVIER, ROWS1 },
    { "ffn.net.2.bias", "ffn.2.bias", "D", KEEP, BIAS, ZERO, WHOLE },
    { "scale_shift_table", "modulation", "16D", KEEP, MODUL, TABLE, WHOLE },
};

static const spec head[] = {
    { "scale_shift_table", "head.modulation", "12D", KEEP, MODUL, TABLE, WHOLE },
    { "proj_out.weight", "head.head.weight", "OD", KEEP, REP, ZERO, WHOLE },
    { "proj_out.bias", "head.head.bias", "O", KEEP, BIAS, ZERO, WHOLE },
};
/* clang-format on */
#define COUNT(a) ((int)(sizeof a / sizeof *a))

static int64_t extent(const wan_net_config *c, char letter)
{
    int64_t D = wan_net_width(c);
    switch (letter) {
    case 'D': return D;
    case 'E': return 6 * D;
    case 'F': return c->ffn;
    case 'T': return c->text_dim;
    case 'Q': return c->freq_dim;
    case 'I': return c->in_ch;
    case 'O': return (int64_t)c->out_ch * c->patch_h * c->patch_w;
    case 'h': return c->patch_h;
    case 'w': return c->patch_w;
    default: return letter - '0';
    }
}

static void start_of(wan_param *q, const wan_net_config *c, enum start start)
{
    static const enum wan_init init[] = {
        [ZERO] = WAN_INIT_ZERO,    [ONE] = WAN_INIT_ONE,      [XAVIER] = WAN_INIT_XAVIER,
        [SMALL] = WAN_INIT_NORMAL, [TABLE] = WAN_INIT_NORMAL, [CONV] = WAN_INIT_UNIFORM
    };
    q->init = init[start];
    if (start == SMALL)
        q->scale = 0.02;
    else if (start == TABLE)
        q->scale = 1 / sqrt((double)wan_net_width(c));
    else if (start == CONV) /* the framework's default for a convolution */
        q->scale = 1 / sqrt((double)c->in_ch * c->patch_h * c->patch_w);
}

static int add(wan_params *p, const wan_net_config *c, const spec *s, int part)
{
    wan_param one = { .gemm = s->gemm != KEEP,
                      .eight = s->gemm == FP8,
                      .part = part,
                      .rank = (int)strlen(s->shape),
                      .role = s->role,
                      .cut = s->share == WHOLE ? -1 : 0 };
    for (int i = 0; i < one.rank; i++)
        one.shape[i] = extent(c, s->shape[i]);
    if (s->share == HEADS1 || s->share == ROWS1)
        one.cut = 1;
    one.unit = s->share == HEADS0 || s->share == HEADS1 ? c->head_dim : 1;
    one.decays = s->role != BIAS && s->role != NORM && s->role != MODUL;
    one.dense = one.rank > 1 && s->role != MODUL;
    start_of(&one, c, s->start);
    int inside = part > 0 && part <= c->layers;
    const char *dot = inside ? "." : "";
    char prefix[32] = "";
    if (inside)
        snprintf(prefix, sizeof prefix, "blocks.%d", part - 1);
    snprintf(one.name, sizeof one.name, "%s%s%s", prefix, dot, s->name);
    snprintf(one.official, sizeof one.official, "%s%s%s", prefix, dot, s->official);
    return wan_params_add(p, &one);
}

static int add_all(wan_params *p, const wan_net_config *c, const spec *s, int n, int part)
{
    for (int i = 0; i < n; i++)
        WAN_TRY(add(p, c, &s[i], part));
    return 0;
}

int wan_net_params(wan_params *out, const wan_net_config *c)
{
    *out = (wan_params){ 0 };
    WAN_TRY(wan_net_config_check(c));
    int rc = add_all(out, c, embed, COUNT(embed), 0);
    for (int b = 1; b <= c->layers && rc == 0; b++)
        rc = add_all(out, c, block, COUNT(block), b);
    if (rc == 0)
        rc = add_all(out, c, head, COUNT(head), c->layers + 1);
    if (rc < 0)
        wan_params_free(out);
    return rc;
}

/* ---- where a part finds them: in the order of the tables above */

void wan_net_bind_embed(wan_net_embed *e, const wan_store *s)
{
    wan_dense *l[] = { &e->patch, &e->text1, &e->text2, &e->time1, &e->time2, &e->proj };
    for (int k = 0; k < COUNT(l); k++)
        wan_dense_bind(l[k], s, s->part[0].first + 2 * k, 1);
}

void wan_net_bind_block(wan_net_block *b, const wan_store *s, int l)
{
    int i = s->part[l + 1].first;
    wan_heads_bind(&b->qkv, s, i, 2, 1);
    wan_dense_bind(&b->o, s, i + 6, 1);
    wan_dense_bind_vector(&b->nq, s, i + 8);
    wan_dense_bind_vector(&b->nk, s, i + 9);
    wan_dense_bind_vector(&b->lnw, s, i + 10);
    wan_dense_bind_vector(&b->lnb, s, i + 11);
    wan_dense_bind(&b->cq, s, i + 12, 1);
    wan_dense_bind(&b->ck, s, i + 14, 1);
    wan_dense_bind(&b->cv, s, i + 16, 1);
    wan_dense_bind(&b->co, s, i + 18, 1);
    wan_dense_bind_vector(&b->cnq, s, i + 20);
    wan_dense_bind_vector(&b->cnk, s, i + 21);
    wan_dense_bind(&b->f1, s, i + 22, 1);
    wan_dense_bind(&b->f2, s, i + 24, 1);
    wan_dense_bind_vector(&b->mod, s, i + 26);
}

void wan_net_bind_head(wan_net_head *h, const wan_store *s)
{
    int i = s->part[s->params.parts - 1].first;
    wan_dense_bind_vector(&h->mod, s, i);
    wan_dense_bind(&h->out, s, i + 1, 1);
}
