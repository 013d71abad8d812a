/* SPDX-License-Identifier: Apache-2.0
 *
 * fsdp.c - see fsdp.h.
 */
#include "lib/train/parallel/fsdp.h"

#include <stdlib.h>

#include "lib/base/file.h"
#include "lib/model/march.h"

enum { NOBODY = -1, TWO = 2 };

/* Room for one part: gathered weights, or gradients. */
typedef struct room {
    int part;               /* whose it is, or NOBODY */
    void *w;                /* [whole_gemm] in the compute type */
    wan_real *r, *g;        /* [whole - whole_gemm], [whole] */
    int last;               /* these are the part's last gradients in the step */
    wan_group_req req[TWO]; /* what is on its way: operands, the rest */
} room;

struct wan_fsdp {
    wan_store *s;
    wan_group *g;
    const wan_where *where;
    int keep; /* ZeRO-1: every part has its own room */
    int n;    /* rooms of either kind */
    room *weights, *grads;
    int running; /* part whose weights must stay, or NOBODY */
    int then;    /* part that runs next */
    int last;    /* this backward is the step's last */
    int next;    /* ZeRO-1: part whose gradients leave next */
    int turn;    /* FSDP: room of the gradients that are made, or were made last */
    wan_hook *complete;
    void *arg; /* of complete */
};

/* ---- memory */

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* The largest part: what room i must hold; `keep`: part i itself. */
static wan_part room_of(const wan_store *s, int keep, int i)
{
    wan_part most = { 0 };
    for (int k = 0; k < s->params.parts; k++) {
        const wan_part *p = &s->part[k];
        if (keep && k != i)
            continue;
        int64_t rest = larger(most.whole - most.whole_gemm, p->whole - p->whole_gemm);
        most.whole_gemm = larger(most.whole_gemm, p->whole_gemm);
        most.whole = most.whole_gemm + rest;
    }
    return most;
}

static int rooms(const wan_store *s, enum wan_sharding how)
{
    int parts = s->params.parts;
    return how == WAN_SHARD_ZERO1 || parts < TWO ? parts : TWO;
}

void wan_fsdp_bytes(wan_store_bytes *b, wan_dtype compute, enum wan_sharding how)
{
    const int64_t real = (int64_t)sizeof(wan_real);
    const int64_t gemm = how == WAN_SHARD_ZERO1 ? b->whole_gemm : TWO * b->most_gemm;
    const int64_t rest = how == WAN_SHARD_ZERO1 ? b->whole_rest : TWO * b->most_rest;
    if (how == WAN_SHARD_NONE)
        return;
    b->weights += gemm * (int64_t)wan_dtype_size(compute) + rest * real;
    b->grads += (gemm + rest) * real;
}

static int take(wan_dev *d, void *out, int64_t n, size_t size, const char *what)
{
    size_t bytes = (size_t)(n ? n : 1) * size; /* a class of a part may be empty */
    void *p = wan_dev_alloc(d, bytes, what);
    *(void **)out = p;
    return p ? wan_dev_zero(d, p, bytes) : -1;
}

static int furnish(wan_fsdp *f)
{
    wan_dev *d = f->s->d;
    f->weights = wan_calloc((size_t)f->n, sizeof *f->weights, "gathered parts");
    f->grads = wan_calloc((size_t)f->n, sizeof *f->grads, "gathered parts");
    if (!f->weights || !f->grads)
        return -1;
    for (int i = 0; i < f->n; i++) {
        wan_part p = room_of(f->s, f->keep, i);
        f->weights[i].part = f->grads[i].part = NOBODY;
        WAN_TRY(take(d, &f->weights[i].w, p.whole_gemm, wan_dtype_size(f->s->compute),
                     "gathered weights"));
        WAN_TRY(take(d, &f->weights[i].r, p.whole - p.whole_gemm, sizeof(wan_real),
                     "gathered weights"));
        WAN_TRY(take(d, &f->grads[i].g, p.whole, sizeof(wan_real), "gradients of a part"));
    }
    return 0;
}

int wan_fsdp_new(wan_fsdp **out, wan_store *s, wan_group *g, const wan_where *w,
                 enum wan_sharding how)
{
    wan_fsdp *f = wan_calloc(1, sizeof *f, "shards");
    *out = NULL;
    if (!f)
        return -1;
    f->s = s;
    f->g = g;
    f->where = w;
    f->keep = how == WAN_SHARD_ZERO1;
    f->n = rooms(s, how);
    f->running = NOBODY;
    f->next = s->slice.end - 1;
    if (s->slice.shard != g->rank || s->slice.shards != g->size)
        WAN_BUG("shard %d of %d on rank %d of %d", s->slice.shard, s->slice.shards, g->rank,
                g->size);
    if (furnish(f) < 0) {
        wan_fsdp_free(&f);
        return -1;
    }
    *out = f;
    return 0;
}

void wan_fsdp_then(wan_fsdp *f, wan_hook *complete, void *arg)
{
    f->complete = complete;
    f->arg = arg;
}

void wan_fsdp_free(wan_fsdp **pf)
{
    wan_fsdp *f = *pf;
    if (!f)
        return;
    for (int i = 0; i < f->n; i++) {
        if (f->weights) {
            wan_dev_free(f->s->d, f->weights[i].w);
            wan_dev_free(f->s->d, f->weights[i].r);
        }
        if (f->grads)
            wan_dev_free(f->s->d, f->grads[i].g);
    }
    free(f->weights);
    free(f->grads);
    free(f);
    *pf = NULL;
}

static int wait_room(room *r)
{
    for (int i = 0; i < TWO; i++)
        WAN_TRY(wan_group_wait(&r->req[i]));
    return 0;
}

/* ---- weights */

/* Room for a part that is in none: its own, or one that is not in use. */
static room *free_room(const wan_fsdp *f, room *of, int part)
{
    if (f->keep)
        return &of[part];
    for (int i = 0; i < f->n; i++)
        if (of[i].part == NOBODY)
            return &of[i];
    return of[0].part == f->running ? &of[f->n - 1] : &of[0];
}

static room *find(const wan_fsdp *f, room *of, int part)
{
    for (int i = 0; i < f->n; i++)
        if (of[i].part == part)
            return &of[i];
    return NULL;
}

/* Own shard of the operands in the type that they are read in, of the rest as it is, each into its row of
 * what is gathered. */
static int gather(wan_fsdp *f, room *r, int part)
{
    const wan_part *p = &f->s->part[part];
    const wan_dtype type = f->s->compute;
    const int64_t n = p->gemm, m = p->size - p->gemm, me = f->g->rank;
    wan_dev *d = f->s->d;
    WAN_TRY(wait_room(r)); /* of a part that was gathered and not used */
    r->part = part;
    if (n) {
        wan_buf row = wan_buf_at(wan_buf_of(r->w, type), me * n);
        WAN_TRY(d->ops->cast(d, row, WAN_RBUF(f->s->master + p->at), n));
        WAN_TRY(
            wan_group_all_gather_start(f->g, f->where, r->w, row.p, (size_t)n, type, &r->req[0]));
    }
    if (m) {
        wan_real *row = r->r + me * m;
        WAN_TRY(wan_dev_copy(d, row, f->s->master + p->at + n, (size_t)m * sizeof *row));
        WAN_TRY(
            wan_group_all_gather_start(f->g, f->where, r->r, row, (size_t)m, WAN_REAL, &r->req[1]));
    }
    return 0;
}

static int begin_gather(wan_fsdp *f, int part)
{
    if (!wan_slice_holds(&f->s->slice, part) || find(f, f->weights, part))
        return 0;
    return gather(f, free_room(f, f->weights, part), part);
}

/* The weights of a part are where its store says; the part that runs after it is on its way. */
static int enter(void *arg, int part)
{
    wan_fsdp *f = arg;
    wan_part *p = &f->s->part[part];
    if (f->running != part && !f->keep && f->s->d->still)
        wan_dev_still(f->s->d, WAN_STILL); /* others come to lie where what is kept was made of */
    if (f->running != NOBODY && f->running != part && !f->keep) {
        f->s->part[f->running].w.p = NULL; /* no one reads what has left */
        f->s->part[f->running].r = NULL;
    }
    f->running = part;
    WAN_TRY(begin_gather(f, part));
    room *r = find(f, f->weights, part);
    WAN_TRY(wait_room(r));
    p->w = wan_buf_of(r->w, f->s->compute);
    p->r = r->r;
    return f->keep ? 0 : begin_gather(f, f->then);
}

static int then(void *arg, int part)
{
    ((wan_fsdp *)arg)->then = part;
    return 0;
}

int wan_fsdp_changed(wan_fsdp *f)
{
    WAN_TRY(wan_fsdp_settle(f));
    for (int i = 0; i < f->n; i++)
        f->weights[i].part = NOBODY;
    for (int k = 0; f->keep && k < f->n; k++)
        WAN_TRY(begin_gather(f, k));
    return 0;
}

int wan_fsdp_settle(wan_fsdp *f)
{
    for (int i = 0; i < f->n; i++)
        WAN_TRY(wait_room(&f->weights[i]));
    return 0;
}

/* ---- gradients */

/* Sums over the group, each rank its row of them, in place. */
static int scatter(wan_fsdp *f, room *r, int part)
{
    const wan_part *p = &f->s->part[part];
    const int64_t n = p->gemm, m = p->size - p->gemm, me = f->g->rank;
    wan_real *rest = r->g + p->whole_gemm;
    f->s->part[part].g = NULL;
    if (n)
        WAN_TRY(wan_group_reduce_scatter_start(f->g, f->where, r->g + me * n, r->g, (size_t)n,
                                               WAN_REAL, WAN_SUM, &r->req[0]));
    if (m)
        WAN_TRY(wan_group_reduce_scatter_start(f->g, f->where, rest + me * m, rest, (size_t)m,
                                               WAN_REAL, WAN_SUM, &r->req[1]));
    return 0;
}

/* The sums of a room go to the shard; the room is empty and zero. */
static int bring(wan_fsdp *f, room *r)
{
    if (r->part == NOBODY)
        return 0;
    const wan_part *p = &f->s->part[r->part];
    const int64_t n = p->gemm, m = p->size - p->gemm, me = f->g->rank;
    wan_dev *d = f->s->d;
    wan_real *to = f->s->grad + p->at;
    WAN_TRY(wait_room(r));
    if (n)
        WAN_TRY(d->ops->axpy(d, WAN_RBUF(to), 1, WAN_RBUF(r->g + me * n), n));
    if (m)
        WAN_TRY(d->ops->axpy(d, WAN_RBUF(to + n), 1, WAN_RBUF(r->g + p->whole_gemm + me * m), m));
    WAN_TRY(wan_dev_zero(d, r->g, (size_t)p->whole * sizeof *r->g));
    const int part = r->part;
    r->part = NOBODY;
    return r->last && f->complete ? f->complete(f->arg, part) : 0;
}

static int back_before(void *arg, int part)
{
    wan_fsdp *f = arg;
    WAN_TRY(enter(f, part));
    if (!f->keep)
        f->turn = (f->turn + 1) % f->n;
    room *r = &f->grads[f->keep ? part : f->turn];
    if (!f->keep)
        WAN_TRY(bring(f, r));
    r->part = part;
    r->last = f->last;
    f->s->part[part].g = r->g;
    return 0;
}

static int back_after(void *arg, int part)
{
    wan_fsdp *f = arg;
    if (!f->keep)
        return scatter(f, &f->grads[f->turn], part);
    if (!f->last)
        return 0;
    if (part != f->next)
        WAN_BUG("gradients of part %d before those of part %d", part, f->next);
    do
        f->next--;
    while (f->next >= f->s->slice.first && !wan_slice_holds(&f->s->slice, f->next));
    f->grads[part].part = part; /* of a rank without a micro-batch too */
    f->grads[part].last = 1;
    return scatter(f, &f->grads[part], part);
}

wan_hooks wan_fsdp_hooks(wan_fsdp *f, int last)
{
    f->last = last;
    return (wan_hooks){ .arg = f,
                        .before = enter,
                        .back_before = back_before,
                        .back_after = back_after,
                        .again = enter,
                        .then = then };
}

int wan_fsdp_rounds(const wan_fsdp *f)
{
    return !f->keep;
}

int wan_fsdp_pass(wan_fsdp *f, int first, int end)
{
    for (int k = first; k < end; k++) {
        f->then = k + 1;
        WAN_TRY(enter(f, k));
    }
    return 0;
}

int wan_fsdp_pass_back(wan_fsdp *f, int first, int end, int group)
{
    wan_march m = wan_march_back(first, end, f->s->params.parts, first, group);
    while (wan_march_next(&m)) {
        f->then = wan_march_then(&m);
        if (m.again) {
            WAN_TRY(enter(f, m.part));
            continue;
        }
        WAN_TRY(back_before(f, m.part));
        WAN_TRY(back_after(f, m.part));
    }
    return 0;
}

int wan_fsdp_finish(wan_fsdp *f)
{
    f->last = 1;
    while (f->keep && f->next >= f->s->slice.first)
        WAN_TRY(back_after(f, f->next));
    f->next = f->s->slice.end - 1;
    for (int i = f->n - 1; i >= 0; i--) /* ZeRO-1: from the last part; FSDP: the older one first */
        WAN_TRY(bring(f, &f->grads[f->keep ? i : (f->turn + f->n - i) % f->n]));
    return 0;
}
