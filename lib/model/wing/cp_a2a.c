/* SPDX-License-Identifier: Apache-2.0
 *
 * cp_a2a.c - see cp_a2a.h.
 */
#include "lib/model/wing/cp_a2a.h"

#include <stdlib.h>

#include "lib/base/file.h"
#include "lib/model/block/lengths.h"
#include "lib/model/wing/cp_share.h"

struct wan_cp_a2a {
    wan_group *g;
    const wan_where *w;
    wan_dev *d;
    int64_t hd;
    int64_t *first, *heads; /* [size]: heads of each rank on the far side */
    int64_t *rows;          /* [size]: rows that each rank holds now */
    size_t *near, *far; /* [size]: elements that pass between here and each rank, of either form */
    wan_lengths pack;   /* all rows of the group */
    int32_t *map;       /* host [block] */
    int32_t *sorted, *sent; /* device [block]: row of the messages for each row of the block; the
                             * inverse */
    wan_buf out[2], in[2];  /* messages: one being made or read, one on its way */
};

/* Elements of all messages of one tensor, in the larger of the two forms. */
static int64_t longest(const wan_cp_a2a_size *z, int rank, int ranks)
{
    int64_t first, near = z->rows * z->heads, far = z->block;
    far *= wan_cp_share(&first, z->heads, rank, ranks);
    return (near > far ? near : far) * z->head_dim;
}

int64_t wan_cp_a2a_bytes(const wan_cp_a2a_size *z, int rank, int ranks)
{
    return 4 * longest(z, rank, ranks) * (int64_t)wan_dtype_size(z->compute) +
           2 * z->block * (int64_t)sizeof(int32_t);
}

static int take(wan_cp_a2a *x, const wan_cp_a2a_size *z)
{
    size_t n = (size_t)x->g->size, bytes, rows = (size_t)z->block;
    bytes = (size_t)longest(z, x->g->rank, x->g->size) * wan_dtype_size(z->compute);
    x->first = wan_calloc(n, sizeof *x->first, "heads");
    x->heads = wan_calloc(n, sizeof *x->heads, "heads");
    x->rows = wan_calloc(n, sizeof *x->rows, "heads");
    x->near = wan_calloc(n, sizeof *x->near, "heads");
    x->far = wan_calloc(n, sizeof *x->far, "heads");
    x->map = wan_malloc(rows, sizeof *x->map, "rows of other ranks");
    x->sorted = wan_dev_alloc(x->d, rows * sizeof *x->sorted, "rows of other ranks");
    x->sent = wan_dev_alloc(x->d, rows * sizeof *x->sent, "rows of other ranks");
    for (int i = 0; i < 2; i++) {
        x->out[i] = wan_buf_of(wan_dev_alloc(x->d, bytes, "rows of other ranks"), z->compute);
        x->in[i] = wan_buf_of(wan_dev_alloc(x->d, bytes, "rows of other ranks"), z->compute);
        if (!x->out[i].p || !x->in[i].p)
            return -1;
    }
    if (!x->first || !x->heads || !x->rows || !x->near || !x->far || !x->map || !x->sorted ||
        !x->sent)
        return -1;
    return wan_lengths_reserve(x->d, &x->pack, z->samples, z->block);
}

int wan_cp_a2a_new(wan_cp_a2a **out, wan_group *g, const wan_where *w, wan_dev *d,
                   const wan_cp_a2a_size *z)
{
    wan_cp_a2a *x = *out = wan_calloc(1, sizeof *x, "all-to-all of heads");
    if (!x)
        return -1;
    x->g = g;
    x->w = w;
    x->d = d;
    x->hd = z->head_dim;
    if (take(x, z) < 0) {
        wan_cp_a2a_free(out);
        return -1;
    }
    for (int r = 0; r < g->size; r++)
        x->heads[r] = wan_cp_share(&x->first[r], z->heads, r, g->size);
    return 0;
}

void wan_cp_a2a_free(wan_cp_a2a **px)
{
    wan_cp_a2a *x = *px;
    if (!x)
        return;
    void *device[] = { x->sorted, x->sent, x->out[0].p, x->out[1].p, x->in[0].p, x->in[1].p };
    void *host[] = { x->first, x->heads, x->rows, x->near, x->far, x->map };
    for (size_t i = 0; i < sizeof device / sizeof *device; i++)
        wan_dev_free(x->d, device[i]);
    for (size_t i = 0; i < sizeof host / sizeof *host; i++)
        free(host[i]);
    wan_lengths_release(x->d, &x->pack);
    free(x);
    *px = NULL;
}

const wan_pack *wan_cp_a2a_pack(const wan_cp_a2a *x)
{
    return &x->pack.pack;
}

int64_t wan_cp_a2a_heads(const wan_cp_a2a *x)
{
    return x->heads[x->g->rank];
}

/* The map: of each row of the block its row in the messages, which lie rank by rank; or the inverse. */
static void number(wan_cp_a2a *x, const int64_t *const *len, int n, int inverse)
{
    int32_t message = 0;
    for (int r = 0; r < x->g->size; r++)
        for (int i = 0; i < n; i++) {
            int32_t row = x->pack.cu_host[i];
            for (int k = 0; k < r; k++)
                row += (int32_t)len[k][i];
            for (int64_t k = 0; k < len[r][i]; k++, row++, message++)
                if (inverse)
                    x->map[message] = row;
                else
                    x->map[row] = message;
        }
}

int wan_cp_a2a_set(wan_cp_a2a *x, const int64_t *const *len, int n)
{
    int64_t *all = wan_calloc((size_t)n, sizeof *all, "lengths");
    if (!all)
        return -1;
    for (int r = 0; r < x->g->size; r++) {
        x->rows[r] = 0;
        for (int i = 0; i < n; i++) {
            all[i] += len[r][i];
            x->rows[r] += len[r][i];
        }
    }
    int rc = wan_lengths_set(x->d, &x->pack, all, n);
    free(all);
    for (int inverse = 0; inverse < 2 && rc == 0; inverse++) {
        number(x, len, n, inverse);
        rc = wan_dev_write(x->d, inverse ? x->sent : x->sorted, x->map,
                           (size_t)x->pack.pack.S * sizeof *x->map);
    }
    return rc;
}

/* ---- moving */

/* What is moved: [rows, heads * unit] on both sides. */
typedef struct cargo {
    wan_view held, block;
    int64_t unit;
} cargo;

static cargo rows_of(const wan_cp_a2a *x, const wan_cp_a2a_pair *p)
{
    return (cargo){ { p->held, p->ld, 1 }, { p->block, wan_cp_a2a_heads(x) * x->hd, 1 }, x->hd };
}

static cargo numbers_of(const wan_cp_a2a *x, wan_real *held, wan_real *block)
{
    return (cargo){ { WAN_RBUF(held), 1, x->rows[x->g->rank] },
                    { WAN_RBUF(block), 1, x->pack.pack.S },
                    1 };
}

static void measure(wan_cp_a2a *x, int64_t unit)
{
    for (int r = 0; r < x->g->size; r++) {
        x->near[r] = (size_t)(x->rows[x->g->rank] * x->heads[r] * unit);
        x->far[r] = (size_t)(x->rows[r] * wan_cp_a2a_heads(x) * unit);
    }
}

/* Between the rows held and their messages, which lie rank by rank. */
static int near_side(wan_cp_a2a *x, const cargo *c, wan_buf message, int pack)
{
    for (int r = 0; r < x->g->size; r++) {
        int64_t w = x->heads[r] * c->unit;
        wan_view m = { message, w, 1 }, v = c->held;
        v.b = wan_buf_at(v.b, x->first[r] * c->unit * v.col);
        WAN_TRY(x->d->ops->pick(x->d, pack ? m : v, pack ? v : m, NULL, x->rows[x->g->rank], w));
        message = wan_buf_at(message, (int64_t)x->near[r]);
    }
    return 0;
}

/* Between the rows of the block and their messages. */
static int far_side(wan_cp_a2a *x, const cargo *c, wan_buf message, int pack)
{
    int64_t w = wan_cp_a2a_heads(x) * c->unit;
    wan_view m = { message, w, 1 };
    return x->d->ops->pick(x->d, pack ? m : c->block, pack ? c->block : m,
                           pack ? x->sent : x->sorted, x->pack.pack.S, w);
}

static int begin(wan_cp_a2a *x, const cargo *c, int slot, int go, wan_group_req *req)
{
    wan_dtype t = c->held.b.t;
    wan_buf out = wan_buf_of(x->out[slot].p, t);
    measure(x, c->unit);
    WAN_TRY(go ? near_side(x, c, out, 1) : far_side(x, c, out, 1));
    return wan_group_all_to_all_start(x->g, x->w, x->in[slot].p, go ? x->far : x->near, out.p,
                                      go ? x->near : x->far, t, req);
}

static int end(wan_cp_a2a *x, const cargo *c, int slot, int go, wan_group_req *req)
{
    wan_buf in = wan_buf_of(x->in[slot].p, c->held.b.t);
    WAN_TRY(wan_group_wait(req));
    return go ? far_side(x, c, in, 0) : near_side(x, c, in, 0);
}

static int move(wan_cp_a2a *x, const wan_cp_a2a_pair *p, int n, int go)
{
    wan_group_req req[2] = { NULL, NULL };
    cargo c[2];
    int rc = 0;
    for (int i = 0; i < n + 1 && rc == 0; i++) {
        int slot = i % 2;
        if (i < n) {
            c[slot] = rows_of(x, &p[i]);
            rc = begin(x, &c[slot], slot, go, &req[slot]);
        }
        if (i > 0 && rc == 0)
            rc = end(x, &c[1 - slot], 1 - slot, go, &req[1 - slot]);
    }
    return rc;
}

int wan_cp_a2a_go(wan_cp_a2a *x, const wan_cp_a2a_pair *p, int n)
{
    return move(x, p, n, 1);
}

int wan_cp_a2a_back(wan_cp_a2a *x, const wan_cp_a2a_pair *p, int n)
{
    return move(x, p, n, 0);
}

static int move_numbers(wan_cp_a2a *x, wan_real *held, wan_real *block, int go)
{
    wan_group_req req = NULL;
    cargo c = numbers_of(x, held, block);
    WAN_TRY(begin(x, &c, 0, go, &req));
    return end(x, &c, 0, go, &req);
}

int wan_cp_a2a_lse_go(wan_cp_a2a *x, wan_real *block, const wan_real *held)
{
    return move_numbers(x, (wan_real *)(uintptr_t)held, block, 1);
}

int wan_cp_a2a_lse_back(wan_cp_a2a *x, wan_real *held, const wan_real *block)
{
    return move_numbers(x, held, (wan_real *)(uintptr_t)block, 0);
}
