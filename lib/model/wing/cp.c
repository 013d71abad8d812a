/* SPDX-License-Identifier: Apache-2.0
 *
 * cp.c - see cp.h.
 */
#include "lib/model/wing/cp.h"

#include <stdlib.h>

#include "lib/base/file.h"
#include "lib/model/wing/cp_a2a.h"
#include "lib/model/wing/cp_ring.h"

enum { Q, K, V, O, DO, DQ, DK, DV, BLOCKS };

struct wan_cp {
    wan_cp_size z;
    int inner;             /* ranks of each all-to-all */
    wan_group *near, *far; /* those, and the ring's; borrowed where they are all ranks */
    int own_near, own_far;
    wan_dev *d;
    int64_t **len;         /* host [ranks][samples] */
    wan_cp_a2a *a2a;       /* NULL: a ring of all */
    wan_cp_ring *ring;     /* NULL: one all-to-all of all */
    wan_buf block[BLOCKS]; /* rows of some heads: all of the all-to-all's ranks */
    wan_real *lse;
};

/* ---- sizes */

int wan_cp_inner(const wan_cp_size *z)
{
    int n = z->ranks;
    if (z->kind == WAN_CP_P2P)
        return 1;
    if (z->kind == WAN_CP_A2A && z->ranks > z->fewest)
        return wan_err("model.cp_comm_type=a2a: %lld head%s on %d context parallel ranks, a rank "
                       "would have none; p2p and a2a+p2p take any number",
                       (long long)z->fewest, z->fewest == 1 ? "" : "s", z->ranks);
    if (z->kind == WAN_CP_A2A)
        return n;
    for (n = z->ranks / 2; n > 1 && (z->ranks % n || n > z->fewest); n--)
        ;
    return n > 1 ? n : 1;
}

/* Rows of some ranks' shares together, at most. */
static int64_t together(const wan_cp_size *z, int ranks)
{
    int64_t n = wan_cp_capacity(&z->cap, z->ranks).tokens * ranks;
    return n < z->cap.tokens ? n : z->cap.tokens;
}

static wan_cp_a2a_size a2a_size(const wan_cp_size *z, int inner)
{
    return (wan_cp_a2a_size){ z->compute, together(z, 1), together(z, inner),
                              z->heads,   z->head_dim,    z->cap.samples };
}

/* Heads of this rank on the far side of the all-to-all. */
static int64_t far_heads(const wan_cp_size *z, int inner)
{
    int64_t first;
    return wan_cp_share(&first, z->heads, z->rank % inner, inner);
}

static wan_cp_ring_size ring_size(const wan_cp_size *z, int inner)
{
    return (wan_cp_ring_size){ z->compute,  together(z, inner), far_heads(z, inner),
                               z->head_dim, z->cap.samples,     z->train };
}

static int blocks(const wan_cp_size *z)
{
    return z->train ? BLOCKS : O + 1;
}

int64_t wan_cp_bytes(const wan_cp_size *z)
{
    int inner = z->ranks == 1 ? -1 : wan_cp_inner(z);
    if (inner < 0)
        return 0;
    wan_cp_a2a_size a = a2a_size(z, inner);
    wan_cp_ring_size r = ring_size(z, inner);
    int64_t bytes = inner < z->ranks ? wan_cp_ring_bytes(&r) : 0;
    if (inner == 1)
        return bytes;
    int64_t heads = a.block * far_heads(z, inner);
    return bytes + wan_cp_a2a_bytes(&a, z->rank % inner, inner) +
           heads * (blocks(z) * z->head_dim * (int64_t)wan_dtype_size(z->compute) +
                    (int64_t)sizeof(wan_real));
}

/* ---- building */

static int near_color(const void *arg, int rank)
{
    return rank / ((const wan_cp *)arg)->inner;
}

static int far_color(const void *arg, int rank)
{
    return rank % ((const wan_cp *)arg)->inner;
}

static int split(wan_cp *c, wan_group *g)
{
    c->near = c->far = g;
    if (c->inner == 1 || c->inner == g->size)
        return 0;
    WAN_TRY(wan_group_split_by(g, near_color, c, "cp-a2a", &c->near));
    c->own_near = 1;
    WAN_TRY(wan_group_split_by(g, far_color, c, "cp-ring", &c->far));
    c->own_far = 1;
    return 0;
}

static int take_blocks(wan_cp *c)
{
    int64_t heads = together(&c->z, c->inner) * far_heads(&c->z, c->inner);
    size_t n = (size_t)(heads * c->z.head_dim);
    for (int i = 0; i < blocks(&c->z); i++) {
        c->block[i] =
            wan_buf_of(wan_dev_alloc(c->d, n * wan_dtype_size(c->z.compute), "rows of other ranks"),
                       c->z.compute);
        if (!c->block[i].p)
            return -1;
    }
    c->lse = wan_dev_alloc(c->d, (size_t)heads * sizeof *c->lse, "rows of other ranks");
    return c->lse ? 0 : -1;
}

static int build(wan_cp *c, wan_group *g, const wan_where *w)
{
    const wan_cp_size *z = &c->z;
    wan_cp_a2a_size a = a2a_size(z, c->inner);
    wan_cp_ring_size r = ring_size(z, c->inner);
    c->len = wan_calloc((size_t)z->ranks, sizeof *c->len, "packs of other ranks");
    for (int i = 0; c->len && i < z->ranks; i++) {
        c->len[i] = wan_calloc((size_t)z->cap.samples, sizeof **c->len, "packs of other ranks");
        if (!c->len[i])
            return -1;
    }
    if (!c->len)
        return -1;
    WAN_TRY(split(c, g));
    if (c->inner < z->ranks)
        WAN_TRY(wan_cp_ring_new(&c->ring, c->far, w, c->d, &r));
    if (c->inner == 1)
        return 0;
    WAN_TRY(wan_cp_a2a_new(&c->a2a, c->near, w, c->d, &a));
    return take_blocks(c);
}

int wan_cp_new(wan_cp **out, wan_group *g, const wan_where *w, wan_dev *d, const wan_cp_size *z)
{
    *out = NULL;
    int inner = wan_cp_inner(z);
    WAN_TRY(inner);
    wan_cp *c = *out = wan_calloc(1, sizeof *c, "context parallel");
    if (!c)
        return -1;
    c->z = *z;
    c->inner = inner;
    c->d = d;
    if (build(c, g, w) == 0)
        return 0;
    wan_cp_free(out);
    return -1;
}

void wan_cp_free(wan_cp **pc)
{
    wan_cp *c = *pc;
    if (!c)
        return;
    wan_cp_ring_free(&c->ring);
    wan_cp_a2a_free(&c->a2a);
    for (int i = 0; i < BLOCKS; i++)
        wan_dev_free(c->d, c->block[i].p);
    wan_dev_free(c->d, c->lse);
    for (int i = 0; i < c->z.ranks && c->len; i++)
        free(c->len[i]);
    free(c->len);
    if (c->own_near)
        wan_group_free(&c->near);
    if (c->own_far)
        wan_group_free(&c->far);
    free(c);
    *pc = NULL;
}

/* ---- a micro-batch */

/* Rows of each sample that block b of the ring has, in the lengths of its first rank. */
static int set_block(wan_cp *c, int b, int n)
{
    int64_t *sum = c->len[b * c->inner];
    for (int r = 1; r < c->inner; r++)
        for (int i = 0; i < n; i++)
            sum[i] += c->len[b * c->inner + r][i];
    return wan_cp_ring_set(c->ring, b, sum, n);
}

int wan_cp_set(wan_cp *c, const int64_t *tokens, int n)
{
    int64_t first;
    for (int r = 0; r < c->z.ranks; r++)
        for (int i = 0; i < n; i++)
            c->len[r][i] = wan_cp_share(&first, tokens[i], r, c->z.ranks);
    if (c->a2a)
        WAN_TRY(wan_cp_a2a_set(
            c->a2a, (const int64_t *const *)&c->len[c->z.rank / c->inner * c->inner], n));
    for (int b = 0; c->ring && b < c->z.ranks / c->inner; b++)
        WAN_TRY(set_block(c, b, n));
    return 0;
}

/* The attention of the far side. */
static wan_attn far_attn(const wan_cp *c, const wan_attn *a)
{
    wan_attn f = *a;
    f.H = (int)wan_cp_a2a_heads(c->a2a);
    f.pq = f.pk = wan_cp_a2a_pack(c->a2a);
    f.ldq = f.ldk = f.ldv = f.ldo = f.H * a->hd;
    return f;
}

int wan_cp_attend(void *arg, wan_dev *d, const wan_attn *a, wan_buf o, wan_real *lse, wan_buf q,
                  wan_buf k, wan_buf v)
{
    wan_cp *c = arg;
    const wan_buf *b = c->block;
    if (!c->a2a)
        return wan_cp_ring_attend(c->ring, d, a, o, lse, q, k, v);
    const wan_cp_a2a_pair in[] = { { q, a->ldq, b[Q] }, { k, a->ldk, b[K] }, { v, a->ldv, b[V] } };
    const wan_cp_a2a_pair out[] = { { o, a->ldo, b[O] } };
    const wan_attn f = far_attn(c, a);
    WAN_TRY(wan_cp_a2a_go(c->a2a, in, 3));
    WAN_TRY(c->ring ? wan_cp_ring_attend(c->ring, d, &f, b[O], c->lse, b[Q], b[K], b[V])
                    : d->ops->attention_forward(d, &f, b[O], c->lse, b[Q], b[K], b[V]));
    WAN_TRY(wan_cp_a2a_lse_back(c->a2a, lse, c->lse));
    return wan_cp_a2a_back(c->a2a, out, 1);
}

int wan_cp_attend_back(void *arg, wan_dev *d, const wan_attn *a, wan_buf dq, wan_buf dk, wan_buf dv,
                       wan_buf dout, wan_buf o, const wan_real *lse, wan_buf q, wan_buf k,
                       wan_buf v)
{
    wan_cp *c = arg;
    const wan_buf *b = c->block;
    if (!c->a2a)
        return wan_cp_ring_attend_back(c->ring, d, a, dq, dk, dv, dout, o, lse, q, k, v);
    const wan_cp_a2a_pair in[] = { { q, a->ldq, b[Q] },
                                   { k, a->ldk, b[K] },
                                   { v, a->ldv, b[V] },
                                   { o, a->ldo, b[O] },
                                   { dout, a->ldo, b[DO] } };
    const wan_cp_a2a_pair out[] = { { dq, a->ldq, b[DQ] },
                                    { dk, a->ldk, b[DK] },
                                    { dv, a->ldv, b[DV] } };
    const wan_attn f = far_attn(c, a);
    WAN_TRY(wan_cp_a2a_go(c->a2a, in, 5));
    WAN_TRY(wan_cp_a2a_lse_go(c->a2a, c->lse, lse));
    WAN_TRY(c->ring ? wan_cp_ring_attend_back(c->ring, d, &f, b[DQ], b[DK], b[DV], b[DO], b[O],
                                              c->lse, b[Q], b[K], b[V])
                    : d->ops->attention_backward(d, &f, b[DQ], b[DK], b[DV], b[DO], b[O], c->lse,
                                                 b[Q], b[K], b[V]));
    return wan_cp_a2a_back(c->a2a, out, 3);
}
