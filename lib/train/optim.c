/* SPDX-License-Identifier: Apache-2.0
 *
 * optim.c - see optim.h.
 */
#include "lib/train/optim.h"

#include <math.h>
#include <stdlib.h>

#include "lib/base/file.h"

/* One of the moments, in host memory where the store's masters may be. */
static wan_real *moments(wan_store *s, const char *what)
{
    size_t n = (size_t)s->total * sizeof(wan_real);
    wan_real *x = s->rooms ? wan_dev_alloc_far(s->d, n, what) : wan_dev_alloc(s->d, n, what);
    if (x && wan_dev_zero(s->d, x, n) < 0) {
        wan_dev_free(s->d, x);
        return NULL;
    }
    return x;
}

int64_t wan_optim_bytes(int64_t n)
{
    return 2 * n * (int64_t)sizeof(wan_real);
}

int wan_optim_new(wan_optim **out, wan_store *s, double beta1, double beta2, double eps,
                  int no_decay_1d)
{
    wan_optim *o = wan_calloc(1, sizeof *o, "optimizer");
    *out = NULL;
    if (!o)
        return -1;
    o->s = s;
    o->beta1 = beta1;
    o->beta2 = beta2;
    o->eps = eps;
    o->no_decay_1d = no_decay_1d;
    o->exp_avg = moments(s, "first moments");
    o->exp_avg_sq = moments(s, "second moments");
    o->sumsq = wan_dev_alloc(s->d, 2 * sizeof *o->sumsq, "gradient norm");
    o->coef = wan_dev_alloc(s->d, sizeof *o->coef, "clip factor");
    o->row = wan_dev_alloc(s->d, 2 * WAN_ADAMW_ROW * sizeof *o->row, "numbers of a step");
    if (!o->exp_avg || !o->exp_avg_sq || !o->sumsq || !o->coef || !o->row) {
        wan_optim_free(&o);
        return -1;
    }
    *out = o;
    return 0;
}

void wan_optim_free(wan_optim **po)
{
    wan_optim *o = *po;
    if (!o)
        return;
    wan_reel_close(&o->reel[0]);
    wan_reel_close(&o->reel[1]);
    wan_dev_free(o->s->d, o->exp_avg);
    wan_dev_free(o->s->d, o->exp_avg_sq);
    wan_dev_free(o->s->d, o->sumsq);
    wan_dev_free(o->s->d, o->coef);
    wan_dev_free(o->s->d, o->row);
    free(o);
    *po = NULL;
}

int wan_optim_norm_begin(wan_optim *o, const wan_real *also, int64_t n)
{
    wan_dev *d = o->s->d;
    WAN_TRY(d->ops->sumsq(d, o->sumsq, WAN_RBUF(o->s->grad), o->s->total, 0));
    return also ? d->ops->sumsq(d, o->sumsq + 1, WAN_RBUF((void *)(uintptr_t)also), n, 0)
                : wan_dev_zero(d, o->sumsq + 1, sizeof *o->sumsq);
}

int wan_optim_norm(wan_optim *o, double *norm)
{
    wan_dev *d = o->s->d;
    double sumsq;
    WAN_TRY(wan_optim_norm_begin(o, NULL, 0));
    WAN_TRY(wan_dev_read(d, &sumsq, o->sumsq, sizeof sumsq));
    *norm = sqrt(sumsq);
    return 0;
}

static wan_adamw adamw_of(const wan_optim *o)
{
    return (wan_adamw){ o->beta1, o->beta2, o->eps };
}

/* Some elements of a class of a part. */
typedef struct piece {
    wan_optim *o;
    const wan_real *row; /* the numbers of the step */
    const wan_part *part;
    int64_t from;
    uint16_t *shadow; /* their bf16 copies; NULL: none */
    int rest;         /* not for GEMMs */
} piece;

static int update_some(void *arg, wan_real *const x[], int64_t at, int64_t n)
{
    const piece *p = arg;
    wan_store *s = p->o->s;
    wan_dev *d = s->d;
    const wan_adamw a = adamw_of(p->o);
    WAN_TRY(d->ops->adamw_step(d, &a, p->row, x[0], x[1], x[2], s->grad + p->from + at,
                               wan_buf_of(p->shadow ? p->shadow + at : NULL, WAN_BF16), p->o->coef,
                               n));
    return p->rest ? wan_store_changed(s, p->part, p->from + at, x[0], n) : 0;
}

/* Elements [p->from, to) of the flat vector. */
static int update(piece *p, int64_t to)
{
    const wan_optim *o = p->o;
    const wan_rooms_vector v[] = { { o->s->master + p->from, 1 },
                                   { o->exp_avg + p->from, 1 },
                                   { o->exp_avg_sq + p->from, 1 } };
    return to <= p->from ? 0 : wan_rooms_pass(o->s->rooms, v, 3, to - p->from, update_some, p);
}

/* How a parameter is updated; runs of equal ones go in one call. */
enum how { DECAYED, PLAIN, FROZEN };
static enum how how_of(const wan_optim *o, const wan_param *q)
{
    return q->frozen ? FROZEN : o->no_decay_1d && !q->decays ? PLAIN : DECAYED;
}

/* Where parameter i begins in the part of its class that is held: [0, n]. */
static int64_t begins(const wan_store *s, const wan_part *p, int i, int64_t n)
{
    int64_t base = s->params.v[i].gemm ? 0 : p->whole_gemm;
    int64_t at = s->item[i].at - base - n * s->slice.shard;
    return at < 0 ? 0 : at < n ? at : n;
}

/* One class of the parameters of a part (what GEMMs read, or the rest), which lies in the vector in
 * the order of the table, from `from` to `to`. */
static int update_class(wan_optim *o, const wan_part *p, int gemm, int64_t from, int64_t to,
                        uint16_t *shadow)
{
    const wan_store *s = o->s;
    int64_t begin = from;
    enum how run = FROZEN;
    for (int i = p->first; i <= p->first + p->n; i++) {
        int last = i == p->first + p->n;
        if (!last && (s->params.v[i].gemm != gemm || !s->item[i].count))
            continue;
        int64_t at = last ? to : from + begins(s, p, i, to - from);
        enum how how = last ? FROZEN : how_of(o, &s->params.v[i]);
        if (how == run && !last)
            continue;
        piece some = { o, o->row + (run == DECAYED ? 0 : WAN_ADAMW_ROW), p, begin, NULL, !gemm };
        some.shadow = shadow ? shadow + (begin - from) : NULL;
        if (run != FROZEN)
            WAN_TRY(update(&some, at));
        begin = at;
        run = how;
    }
    return 0;
}

static int update_part(wan_optim *o, const wan_part *p)
{
    uint16_t *shadow = o->s->shadow ? o->s->shadow + p->at_gemm : NULL;
    int64_t middle = p->at + p->gemm;
    WAN_TRY(update_class(o, p, 1, p->at, middle, shadow));
    return update_class(o, p, 0, middle, p->at + p->size, NULL);
}

static int update_parts(wan_optim *o)
{
    for (int k = 0; k < o->s->params.parts; k++)
        WAN_TRY(update_part(o, &o->s->part[k]));
    return 0;
}

/* ---- a step */

/* The numbers of the step that comes, to the device. */
static int put_row(wan_optim *o, double lr, double weight_decay)
{
    const wan_adamw a = adamw_of(o);
    wan_real row[2][WAN_ADAMW_ROW];
    WAN_TRY(wan_adamw_row(row[0], &a, lr, weight_decay, o->step + 1));
    WAN_TRY(wan_adamw_row(row[1], &a, lr, 0, o->step + 1));
    return wan_dev_write(o->s->d, o->row, row, sizeof row);
}

/* What a step gives to ops as numbers. */
typedef struct numbers {
    double max_norm;
    const wan_real *also; /* device [n] */
    int64_t n, norm;      /* norm 0: it is there already */
} numbers;

typedef struct job {
    wan_optim *o;
    numbers v;
} job;

static int clip(const job *j)
{
    wan_optim *o = j->o;
    if (j->v.norm)
        WAN_TRY(wan_optim_norm_begin(o, j->v.also, j->v.n));
    return o->s->d->ops->clip_coef(o->s->d, o->coef, o->sumsq, j->v.max_norm);
}

/* What can be recorded of it: not what passes through rooms, between copies from and to the host. */
static int recorded(void *arg)
{
    const job *j = arg;
    WAN_TRY(clip(j));
    return j->o->s->rooms ? 0 : update_parts(j->o);
}

static int step(wan_optim *o, const numbers *v, double lr, double weight_decay)
{
    job j = { o, *v };
    WAN_TRY(put_row(o, lr, weight_decay));
    WAN_TRY(wan_reel_play(&o->reel[v->norm], v, sizeof *v, recorded, &j));
    if (o->s->rooms)
        WAN_TRY(update_parts(o));
    o->step++;
    return 0;
}

int wan_optim_step(wan_optim *o, double lr, double weight_decay, double max_norm)
{
    const numbers v = { max_norm, NULL, 0, 0 };
    return step(o, &v, lr, weight_decay);
}

int wan_optim_norm_step(wan_optim *o, const wan_real *also, int64_t n, double lr,
                        double weight_decay, double max_norm)
{
    const numbers v = { max_norm, also, n, 1 };
    return step(o, &v, lr, weight_decay);
}

void wan_optim_record(wan_optim *o)
{
    wan_reel_open(&o->reel[0], o->s->d);
    wan_reel_open(&o->reel[1], o->s->d);
}

int64_t wan_optim_replays(const wan_optim *o)
{
    return o->reel[0].replays + o->reel[1].replays;
}

int wan_optim_find_bad(wan_optim *o)
{
    wan_store *s = o->s;
    int64_t count, *at = wan_dev_alloc(s->d, sizeof *at, "count");
    int bad = s->params.n;
    for (int i = 0; at && i < s->params.n && bad == s->params.n; i++) {
        const wan_piece p = wan_store_piece(s, i);
        if (!p.n)
            continue;
        if (s->d->ops->finite(s->d, at, WAN_RBUF(s->grad + p.at), p.n) < 0 ||
            wan_dev_read(s->d, &count, at, sizeof count) < 0)
            break;
        if (count)
            bad = i;
    }
    wan_dev_free(s->d, at);
    return bad;
}
