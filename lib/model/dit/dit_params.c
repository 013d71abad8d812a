/* SPDX-License-Identifier: Apache-2.0
 *
 * dit_params.c - the DiT's parameters: their table, what each is, and where a part finds its own.
 * Initial values are DFM's: N(0, 0.02^2) in the blocks, divided by sqrt(2 layers) where a product
 * returns to the residual stream, zero modulation, and the framework's default elsewhere.
 */
#include <stdio.h>
#include <string.h>

#include "lib/model/dit/dit_priv.h"

/* How a parameter starts; FAN is U(-a, a), a = 1 / sqrt(inputs of its product). */
enum start { ZERO, ONE, SMALL /* 0.02 */, DEEP /* 0.02 / sqrt(2 layers) */, FAN };
/* How tensor parallel ranks share it out: whole, dimension 0 or 1 in heads or in single rows. */
enum share { WHOLE, HEADS0, HEADS1, ROWS0, ROWS1 };

/* In what a product reads it: full precision, the type of products, or eight bits where those are asked
 * for.  Not the layers outside of blocks, and not keys and values of the text: few rows, nothing gained. */
enum type { KEEP, GEMM, FP8 };

/* Shapes in letters: D width, M 9D, F ffn, T text_dim, Q fps_dim, L adaln_dim, h head_dim, I and O
 * features of a patch in and out; fan: the inputs of the product.  Conditioning and head are computed
 * in full precision, so no GEMM reads a bf16 copy of theirs. */
typedef struct spec {
    const char *name, *shape;
    enum type gemm;
    enum wan_role role;
    enum start start;
    char fan;
    enum share share;
} spec;

#define COL WAN_ROLE_COLUMN
#define ROW WAN_ROLE_ROW
#define REP WAN_ROLE_REPLICATED
#define NORM WAN_ROLE_NORM
#define BIAS WAN_ROLE_BIAS
#define EMBED WAN_ROLE_EMBEDDING

/* clang-format off */
static const spec embed[] = {
    { "x_embedder.weight", "DI", GEMM, EMBED, FAN, 'I', WHOLE },
    { "x_embedder.bias", "D", KEEP, BIAS, FAN, 'I', WHOLE },
    { "t_embedder.linear_1.weight", "DD", KEEP, EMBED, FAN, 'D', WHOLE },
    { "t_embedder.linear_1.bias", "D", KEEP, BIAS, FAN, 'D', WHOLE },
    { "t_embedder.linear_2.weight", "DD", KEEP, REP, FAN, 'D', WHOLE },
    { "t_embedder.linear_2.bias", "D", KEEP, BIAS, FAN, 'D', WHOLE },
    { "fps_embedder.linear_1.weight", "QQ", KEEP, EMBED, FAN, 'Q', WHOLE },
    { "fps_embedder.linear_1.bias", "Q", KEEP, BIAS, FAN, 'Q', WHOLE },
    { "fps_embedder.linear_2.weight", "QQ", KEEP, REP, FAN, 'Q', WHOLE },
    { "fps_embedder.linear_2.bias", "Q", KEEP, BIAS, FAN, 'Q', WHOLE },
};

static const spec block[] = {
    { "attn1.to_q.weight", "DD", FP8, COL, SMALL, 0, HEADS0 },
    { "attn1.to_k.weight", "DD", FP8, COL, SMALL, 0, HEADS0 },
    { "attn1.to_v.weight", "DD", FP8, COL, SMALL, 0, HEADS0 },
    { "attn1.to_out.weight", "DD", FP8, ROW, DEEP, 0, HEADS1 },
    { "attn2.to_q.weight", "DD", FP8, COL, SMALL, 0, HEADS0 },
    { "attn2.to_k.weight", "DT", GEMM, COL, SMALL, 0, HEADS0 },
    { "attn2.to_v.weight", "DT", GEMM, COL, SMALL, 0, HEADS0 },
    { "attn2.to_out.weight", "DD", FP8, ROW, DEEP, 0, HEADS1 },
    { "mlp.linear_1.weight", "FD", FP8, COL, SMALL, 0, ROWS0 },
    { "mlp.linear_2.weight", "DF", FP8, ROW, DEEP, 0, ROWS1 },
    { "adaln.linear_1.weight", "LD", KEEP, REP, FAN, 'D', WHOLE },
    { "adaln.linear_2.weight", "ML", KEEP, REP, ZERO, 0, WHOLE },
    { "attn1.norm_q.weight", "h", KEEP, NORM, ONE, 0, WHOLE },
    { "attn1.norm_k.weight", "h", KEEP, NORM, ONE, 0, WHOLE },
    { "attn2.norm_q.weight", "h", KEEP, NORM, ONE, 0, WHOLE },
    { "attn2.norm_k.weight", "h", KEEP, NORM, ONE, 0, WHOLE },
};

static const spec head[] = {
    { "proj_out.weight", "OD", KEEP, REP, FAN, 'D', WHOLE },
    { "proj_out.bias", "O", KEEP, BIAS, FAN, 'D', WHOLE },
};
/* clang-format on */
#define COUNT(a) ((int)(sizeof a / sizeof *a))

static int64_t extent(const wan_dit_config *c, char letter)
{
    int64_t D = wan_dit_width(c);
    switch (letter) {
    case 'D': return D;
    case 'M': return WAN_DIT_ROWS * D;
    case 'F': return c->ffn;
    case 'T': return c->text_dim;
    case 'Q': return c->fps_dim;
    case 'L': return c->adaln_dim;
    case 'h': return c->head_dim;
    case 'I': return (int64_t)c->in_ch * c->patch_h * c->patch_w;
    case 'O': return (int64_t)c->out_ch * c->patch_h * c->patch_w;
    default: return 1;
    }
}

static void start_of(wan_param *q, const wan_dit_config *c, const spec *s)
{
    static const enum wan_init init[] = { [ZERO] = WAN_INIT_ZERO,
                                          [ONE] = WAN_INIT_ONE,
                                          [SMALL] = WAN_INIT_NORMAL,
                                          [DEEP] = WAN_INIT_NORMAL,
                                          [FAN] = WAN_INIT_UNIFORM };
    q->init = init[s->start];
    if (s->start == FAN)
        q->scale = 1 / sqrt((double)extent(c, s->fan));
    else if (s->start == SMALL)
        q->scale = 0.02;
    else if (s->start == DEEP)
        q->scale = 0.02 / sqrt(2.0 * c->layers);
}

static int add(wan_params *p, const wan_dit_config *c, const spec *s, int part)
{
    wan_param one = { .gemm = s->gemm != KEEP,
                      .eight = s->gemm == FP8,
                      .part = part,
                      .rank = (int)strlen(s->shape),
                      .role = s->role,
                      .cut = s->share == WHOLE ? -1 : s->share == HEADS1 || s->share == ROWS1 };
    for (int i = 0; i < one.rank; i++)
        one.shape[i] = extent(c, s->shape[i]);
    one.unit = s->share == HEADS0 || s->share == HEADS1 ? c->head_dim : 1;
    one.decays = s->role != BIAS && s->role != NORM;
    one.dense = one.rank > 1 && s->role != NORM;
    start_of(&one, c, s);
    if (part > 0 && part <= c->layers)
        snprintf(one.name, sizeof one.name, "blocks.%d.%s", part - 1, s->name);
    else
        snprintf(one.name, sizeof one.name, "%s", s->name);
    return wan_params_add(p, &one);
}

static int add_all(wan_params *p, const wan_dit_config *c, const spec *s, int n, int part)
{
    for (int i = 0; i < n; i++)
        WAN_TRY(add(p, c, &s[i], part));
    return 0;
}

int wan_dit_params(wan_params *out, const wan_dit_config *c)
{
    *out = (wan_params){ 0 };
    WAN_TRY(wan_dit_config_check(c));
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

void wan_dit_bind_embed(wan_dit_embed *e, const wan_store *s)
{
    wan_dense *w[] = { &e->patch, &e->time1, &e->time2, &e->fps1, &e->fps2 };
    for (int k = 0; k < COUNT(w); k++)
        wan_dense_bind(w[k], s, s->part[0].first + 2 * k, 1);
}

void wan_dit_bind_block(wan_dit_block *b, const wan_store *s, int l)
{
    wan_dense *w[] = { &b->q,  &b->k,  &b->v,  &b->o,  &b->cq, &b->ck,
                       &b->cv, &b->co, &b->f1, &b->f2, &b->a1, &b->a2 };
    wan_dense_vector *v[] = { &b->nq, &b->nk, &b->cnq, &b->cnk };
    int i = s->part[l + 1].first;
    for (int k = 0; k < COUNT(w); k++)
        wan_dense_bind(w[k], s, i++, 0);
    for (int k = 0; k < COUNT(v); k++)
        wan_dense_bind_vector(v[k], s, i++);
}

void wan_dit_bind_head(wan_dense *h, const wan_store *s)
{
    wan_dense_bind(h, s, s->part[s->params.parts - 1].first, 1);
}
