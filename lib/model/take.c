/* SPDX-License-Identifier: Apache-2.0
 *
 * take.c - see take.h.
 */
#include "lib/model/take.h"

#include <stdlib.h>

#include "lib/base/mem.h"

enum ask { NOTHING, ATTEND, ATTEND_BACK, SUM, GATHER, SCATTER };

/* What a wing was asked for. */
typedef struct call {
    enum ask what;
    wan_attn attn;
    wan_buf x[8]; /* of attention, in the order of its arguments */
    const wan_real *lse;
    int64_t n, width;
} call;

typedef struct stretch {
    wan_tape *tape;
    call then;
} stretch;

struct wan_take {
    stretch *s;
    size_t n, room;
};

void wan_take_drop(wan_take **pt, wan_dev *d)
{
    wan_take *t = *pt;
    for (size_t i = 0; t && i < t->n; i++)
        wan_dev_unrecord(d, &t->s[i].tape);
    if (t)
        free(t->s);
    free(t);
    *pt = NULL;
}

/* ---- recording */

typedef struct recorder {
    wan_take *t;
    wan_dev *d;
    int on; /* work is being recorded */
} recorder;

/* What was asked for so far is the next stretch, in front of a call. */
static int cut(recorder *r, const call *then)
{
    wan_take *t = r->t;
    stretch *s = wan_mem_grow(t->s, t->n, &t->room, sizeof *s, "a recording");
    if (!s)
        return -1;
    t->s = s;
    t->s[t->n] = (stretch){ .then = *then };
    r->on = 0;
    WAN_TRY(wan_dev_recorded(r->d, &t->s[t->n].tape));
    t->n++;
    return 0;
}

static int keep(void *arg, const call *c)
{
    recorder *r = arg;
    WAN_TRY(cut(r, c));
    WAN_TRY(wan_dev_record(r->d));
    r->on = 1;
    return 0;
}

static int attend(void *arg, wan_dev *d, const wan_attn *a, wan_buf o, wan_real *lse, wan_buf q,
                  wan_buf k, wan_buf v)
{
    const call c = { .what = ATTEND, .attn = *a, .x = { o, q, k, v }, .lse = lse };
    (void)d;
    return keep(arg, &c);
}

static int attend_back(void *arg, wan_dev *d, const wan_attn *a, wan_buf dq, wan_buf dk, wan_buf dv,
                       wan_buf dout, wan_buf o, const wan_real *lse, wan_buf q, wan_buf k,
                       wan_buf v)
{
    const call c = {
        .what = ATTEND_BACK, .attn = *a, .x = { dq, dk, dv, dout, o, q, k, v }, .lse = lse
    };
    (void)d;
    return keep(arg, &c);
}

static int sum(void *arg, wan_dev *d, wan_buf x, int64_t n)
{
    const call c = { .what = SUM, .x = { x }, .n = n };
    (void)d;
    return keep(arg, &c);
}

static int gather(void *arg, wan_dev *d, wan_buf x, int64_t rows, int64_t width)
{
    const call c = { .what = GATHER, .x = { x }, .n = rows, .width = width };
    (void)d;
    return keep(arg, &c);
}

static int scatter(void *arg, wan_dev *d, wan_buf x, int64_t rows, int64_t width)
{
    const call c = { .what = SCATTER, .x = { x }, .n = rows, .width = width };
    (void)d;
    return keep(arg, &c);
}

static wan_wing keeping(const wan_wing *w, recorder *r)
{
    return (wan_wing){ .arg = r,
                       .attend = w->attend ? attend : NULL,
                       .attend_back = w->attend_back ? attend_back : NULL,
                       .sum = w->sum ? sum : NULL,
                       .gather = w->gather ? gather : NULL,
                       .scatter = w->scatter ? scatter : NULL };
}

int wan_take_record(wan_take **out, wan_acts *a, wan_take_fn *fn, void *arg)
{
    const wan_wing wing = a->wing;
    const call end = { .what = NOTHING };
    recorder r = { wan_calloc(1, sizeof *r.t, "a recording"), a->d, 1 };
    *out = NULL;
    if (!r.t)
        return -1;
    int rc = wan_dev_record(a->d);
    if (rc == 0) {
        a->wing = keeping(&wing, &r);
        rc = fn(arg);
        a->wing = wing;
        if (rc == 0)
            rc = cut(&r, &end);
        if (rc < 0 && r.on)
            rc = wan_dev_recorded(a->d, NULL);
    }
    if (rc == 0)
        *out = r.t;
    else
        wan_take_drop(&r.t, a->d);
    return rc;
}

/* ---- doing it */

static int ask(const call *c, wan_acts *a)
{
    const wan_wing *w = &a->wing;
    const wan_buf *x = c->x;
    switch (c->what) {
    case ATTEND:
        return w->attend(w->arg, a->d, &c->attn, x[0], (wan_real *)(uintptr_t)c->lse, x[1], x[2],
                         x[3]);
    case ATTEND_BACK:
        return w->attend_back(w->arg, a->d, &c->attn, x[0], x[1], x[2], x[3], x[4], c->lse, x[5],
                              x[6], x[7]);
    case SUM: return w->sum(w->arg, a->d, x[0], c->n);
    case GATHER: return w->gather(w->arg, a->d, x[0], c->n, c->width);
    case SCATTER: return w->scatter(w->arg, a->d, x[0], c->n, c->width);
    default: return 0;
    }
}

int wan_take_play(const wan_take *t, wan_acts *a)
{
    for (size_t i = 0; i < t->n; i++) {
        WAN_TRY(wan_dev_replay(a->d, t->s[i].tape));
        WAN_TRY(ask(&t->s[i].then, a));
    }
    return 0;
}
