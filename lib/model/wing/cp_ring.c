/* SPDX-License-Identifier: Apache-2.0
 *
 * cp_ring.c - see cp_ring.h.
 */
#include "lib/model/wing/cp_ring.h"

#include <stdlib.h>

#include "lib/base/file.h"
#include "lib/model/block/lengths.h"

enum { TAG_K, TAG_V, TAG_DK, TAG_DV };

struct wan_cp_ring {
    wan_group *g;
    const wan_where *w;
    wan_dev *d;
    int64_t width;           /* of a row */
    wan_lengths *block;      /* [size]: the pack as each rank holds it */
    wan_buf k[2], v[2];      /* blocks of others, one in use, one arriving */
    wan_buf o2, g2[3];       /* one block's output; its dq, dk, dv */
    wan_real *lse2;          /* [heads, rows] */
    wan_real *sum;           /* output or dq of all blocks so far */
    wan_real *dk[2], *dv[2]; /* gradients that travel, in use and arriving */
};

int64_t wan_cp_ring_bytes(const wan_cp_ring_size *z)
{
    int64_t n = z->rows * z->heads * z->head_dim, real = sizeof(wan_real);
    int64_t compute = (int64_t)wan_dtype_size(z->compute);
    return n * (z->train ? 8 * compute + 5 * real : 5 * compute + real) + z->rows * z->heads * real;
}

static int take(wan_cp_ring *c, wan_buf *b, wan_dtype t, int64_t n)
{
    *b = wan_buf_of(wan_dev_alloc(c->d, (size_t)n * wan_dtype_size(t), "rows of other ranks"), t);
    return b->p ? 0 : -1;
}

static int take_real(wan_cp_ring *c, wan_real **p, int64_t n)
{
    wan_buf b;
    WAN_TRY(take(c, &b, WAN_REAL, n));
    *p = b.p;
    return 0;
}

static int build(wan_cp_ring *c, const wan_cp_ring_size *z)
{
    wan_buf *compute[] = { &c->k[0], &c->k[1],  &c->v[0],  &c->v[1],
                           &c->o2,   &c->g2[0], &c->g2[1], &c->g2[2] };
    wan_real **real[] = { &c->sum, &c->dk[0], &c->dk[1], &c->dv[0], &c->dv[1] };
    int64_t n = z->rows * c->width;
    c->block = wan_calloc((size_t)c->g->size, sizeof *c->block, "packs of other ranks");
    if (!c->block)
        return -1;
    for (int i = 0; i < (z->train ? 8 : 5); i++)
        WAN_TRY(take(c, compute[i], z->compute, n));
    for (int i = 0; i < (z->train ? 5 : 1); i++)
        WAN_TRY(take_real(c, real[i], n));
    WAN_TRY(take_real(c, &c->lse2, z->rows * z->heads));
    for (int r = 0; r < c->g->size; r++)
        WAN_TRY(wan_lengths_reserve(c->d, &c->block[r], z->samples, z->rows));
    return 0;
}

int wan_cp_ring_new(wan_cp_ring **out, wan_group *g, const wan_where *w, wan_dev *d,
                    const wan_cp_ring_size *z)
{
    wan_cp_ring *c = *out = wan_calloc(1, sizeof *c, "ring of ranks");
    if (!c)
        return -1;
    c->g = g;
    c->w = w;
    c->d = d;
    c->width = z->heads * z->head_dim;
    if (wan_group_prepare(g, w) == 0 && build(c, z) == 0)
        return 0;
    wan_cp_ring_free(out);
    return -1;
}

void wan_cp_ring_free(wan_cp_ring **pc)
{
    wan_cp_ring *c = *pc;
    if (!c)
        return;
    void *mem[] = { c->k[0].p,  c->k[1].p, c->v[0].p, c->v[1].p, c->o2.p,  c->g2[0].p, c->g2[1].p,
                    c->g2[2].p, c->lse2,   c->sum,    c->dk[0],  c->dk[1], c->dv[0],   c->dv[1] };
    for (size_t i = 0; i < sizeof mem / sizeof *mem; i++)
        wan_dev_free(c->d, mem[i]);
    for (int r = 0; r < c->g->size && c->block; r++)
        wan_lengths_release(c->d, &c->block[r]);
    free(c->block);
    free(c);
    *pc = NULL;
}

int wan_cp_ring_set(wan_cp_ring *c, int k, const int64_t *len, int n)
{
    return wan_lengths_set(c->d, &c->block[k], len, n);
}

/* Buffers on their way: to the next rank, from the one before. */
typedef struct hop {
    wan_group_req req[4];
    int n;
} hop;

/* The block whose keys a rank has at hop r: its own first, then those of the ranks before it. */
static int block_at(const wan_cp_ring *c, int r)
{
    return (c->g->rank - r + c->g->size) % c->g->size;
}

static int pass(wan_cp_ring *c, hop *h, wan_buf out, int64_t n_out, wan_buf in, int64_t n_in,
                int tag)
{
    int size = c->g->size, next = (c->g->rank + 1) % size, last = (c->g->rank + size - 1) % size;
    WAN_TRY(wan_group_recv_start(c->g, c->w, in.p, (size_t)(n_in * c->width), in.t, last, tag,
                                 &h->req[h->n]));
    h->n++;
    WAN_TRY(wan_group_send_start(c->g, c->w, out.p, (size_t)(n_out * c->width), out.t, next, tag,
                                 &h->req[h->n]));
    h->n++;
    return 0;
}

static int arrive(hop *h)
{
    int rc = 0;
    for (int i = 0; i < h->n; i++)
        if (wan_group_wait(&h->req[i]) < 0)
            rc = -1;
    h->n = 0;
    return rc;
}

/* Keys and values of hop r go on, those of hop r+1 come into the other buffers. */
static int pass_kv(wan_cp_ring *c, hop *h, int r, const wan_buf kv[2])
{
    int64_t now = c->block[block_at(c, r)].pack.S, then = c->block[block_at(c, r + 1)].pack.S;
    WAN_TRY(pass(c, h, kv[0], now, c->k[(r + 1) % 2], then, TAG_K));
    return pass(c, h, kv[1], now, c->v[(r + 1) % 2], then, TAG_V);
}

/* One block's output joins those before it. */
static int join(wan_cp_ring *c, const wan_attn *a, int r, wan_real *lse)
{
    const wan_ops *op = c->d->ops;
    int64_t S = a->pq->S;
    if (r > 0)
        return op->attention_merge(c->d, a, WAN_RBUF(c->sum), lse, c->o2, c->lse2);
    WAN_TRY(op->cast(c->d, WAN_RBUF(c->sum), c->o2, S * c->width));
    return op->cast(c->d, WAN_RBUF(lse), WAN_RBUF(c->lse2), S * a->H);
}

int wan_cp_ring_attend(wan_cp_ring *c, wan_dev *d, const wan_attn *a, wan_buf o, wan_real *lse,
                       wan_buf q, wan_buf k, wan_buf v)
{
    wan_attn part = *a;
    wan_buf kv[2] = { k, v };
    for (int r = 0; r < c->g->size; r++) {
        hop h = { .n = 0 };
        if (r + 1 < c->g->size)
            WAN_TRY(pass_kv(c, &h, r, kv));
        part.pk = &c->block[block_at(c, r)].pack;
        WAN_TRY(d->ops->attention_forward(d, &part, c->o2, c->lse2, q, kv[0], kv[1]));
        WAN_TRY(join(c, &part, r, lse));
        WAN_TRY(arrive(&h));
        kv[0] = c->k[(r + 1) % 2];
        kv[1] = c->v[(r + 1) % 2];
    }
    return d->ops->cast(d, o, WAN_RBUF(c->sum), a->pq->S * c->width);
}

/* This rank's share of a block's gradients joins what came with it, and all goes on to the next; what
 * has come is waited for only now, after the block has been computed. */
static int add_share(wan_cp_ring *c, int r, hop *sums)
{
    const wan_ops *op = c->d->ops;
    int64_t S = c->block[c->g->rank].pack.S, B = c->block[block_at(c, r)].pack.S;
    int64_t then = c->block[block_at(c, r + 1)].pack.S;
    int now = r % 2, other = 1 - now;
    wan_buf mine[2] = { WAN_RBUF(c->dk[now]), WAN_RBUF(c->dv[now]) };
    WAN_TRY(arrive(sums));
    for (int i = 0; i < 2; i++)
        WAN_TRY(r ? op->axpy(c->d, mine[i], 1, c->g2[1 + i], B * c->width)
                  : op->cast(c->d, mine[i], c->g2[1 + i], B * c->width));
    WAN_TRY(r ? op->axpy(c->d, WAN_RBUF(c->sum), 1, c->g2[0], S * c->width)
              : op->cast(c->d, WAN_RBUF(c->sum), c->g2[0], S * c->width));
    WAN_TRY(pass(c, sums, mine[0], B, WAN_RBUF(c->dk[other]), then, TAG_DK));
    return pass(c, sums, mine[1], B, WAN_RBUF(c->dv[other]), then, TAG_DV);
}

int wan_cp_ring_attend_back(wan_cp_ring *c, wan_dev *d, const wan_attn *a, wan_buf dq, wan_buf dk,
                            wan_buf dv, wan_buf dout, wan_buf o, const wan_real *lse, wan_buf q,
                            wan_buf k, wan_buf v)
{
    wan_attn part = *a;
    wan_buf kv[2] = { k, v };
    hop sums = { .n = 0 };
    int64_t n = a->pq->S * c->width;
    int last = c->g->size % 2;
    for (int r = 0; r < c->g->size; r++) {
        hop h = { .n = 0 };
        if (r + 1 < c->g->size)
            WAN_TRY(pass_kv(c, &h, r, kv));
        part.pk = &c->block[block_at(c, r)].pack;
        WAN_TRY(d->ops->attention_backward(d, &part, c->g2[0], c->g2[1], c->g2[2], dout, o, lse, q,
                                           kv[0], kv[1]));
        WAN_TRY(add_share(c, r, &sums));
        WAN_TRY(arrive(&h));
        kv[0] = c->k[(r + 1) % 2];
        kv[1] = c->v[(r + 1) % 2];
    }
    WAN_TRY(arrive(&sums)); /* our own block is home again */
    WAN_TRY(d->ops->cast(d, dq, WAN_RBUF(c->sum), n));
    WAN_TRY(d->ops->cast(d, dk, WAN_RBUF(c->dk[last]), n));
    return d->ops->cast(d, dv, WAN_RBUF(c->dv[last]), n);
}
