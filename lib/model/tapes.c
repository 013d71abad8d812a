/* SPDX-License-Identifier: Apache-2.0
 *
 * tapes.c - see tapes.h.
 */
#include "lib/model/tapes.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/model/model.h"
#include "lib/model/take.h"

/* Memory that an axis or the device may give a part anew; FRESH: whether gradients are overwritten (store.h); STILL:
 * whether what is made of weights is kept. */
enum { W, R, G, SCRATCH, ASIDE, PRED, FRESH, STILL, PLACES };
/* One part, one way: gradients may come to lie in either of two rooms (fsdp.h), or be overwritten first. */
enum { VARIANTS = 2 };

typedef struct recording {
    wan_take *take; /* NULL: none */
    const void *at[PLACES];
} recording;

typedef struct shape {
    int64_t *key; /* [n] */
    int n;
    recording *part; /* [2 * parts][VARIANTS]; NULL: it has come once */
} shape;

struct wan_tapes {
    wan_dev *d;
    int parts;
    shape seen[WAN_TAPES_REMEMBERED];
    int next;     /* of seen: the one that is forgotten next */
    int recorded; /* of seen, so many with parts */
    shape *now;   /* NULL: what comes is run */
    int off;      /* the device has refused something */
    int64_t replays;
};

int wan_tapes_new(wan_tapes **out, wan_dev *d, int parts)
{
    wan_tapes *t = *out = wan_calloc(1, sizeof *t, "recordings");
    if (!t)
        return -1;
    t->d = d;
    t->parts = parts;
    return 0;
}

static recording *way(const wan_tapes *t, const shape *s, int part, int back)
{
    return s->part + (back * t->parts + part) * VARIANTS;
}

void wan_tapes_free(wan_tapes **pt)
{
    wan_tapes *t = *pt;
    if (!t)
        return;
    for (int i = 0; i < WAN_TAPES_REMEMBERED; i++) {
        shape *s = &t->seen[i];
        for (int k = 0; s->part && k < 2 * t->parts * VARIANTS; k++)
            wan_take_drop(&s->part[k].take, t->d);
        free(s->part);
        free(s->key);
    }
    free(t);
    *pt = NULL;
}

int64_t wan_tapes_replays(const wan_tapes *t)
{
    return t->replays;
}

/* ---- shapes */

/* All of a micro-batch that ops are given as numbers; NULL: out of memory. */
static int64_t *key_of(const wan_micro *in, int *n)
{
    int64_t *key = wan_malloc((size_t)in->n * 4 + 1, sizeof *key, "a shape");
    *n = 0;
    if (!key)
        return NULL;
    key[(*n)++] = (int64_t)(intptr_t)in->rows.p;
    for (int i = 0; i < in->n; i++) {
        for (int k = 0; k < 3; k++)
            key[(*n)++] = in->grid[i][k];
        key[(*n)++] = in->text_len[i];
    }
    return key;
}

static shape *find(wan_tapes *t, const int64_t *key, int n)
{
    for (int i = 0; i < WAN_TAPES_REMEMBERED; i++) {
        shape *s = &t->seen[i];
        if (s->key && s->n == n && !memcmp(s->key, key, (size_t)n * sizeof *key))
            return s;
    }
    return NULL;
}

/* Keeps the key in place of the oldest that has come once. */
static void remember(wan_tapes *t, int64_t *key, int n)
{
    shape *s;
    do {
        s = &t->seen[t->next];
        t->next = (t->next + 1) % WAN_TAPES_REMEMBERED;
    } while (s->part);
    free(s->key);
    *s = (shape){ .key = key, .n = n };
}

int wan_tapes_shape(wan_tapes *t, const wan_micro *in)
{
    int n;
    if (!t)
        return 0;
    t->now = NULL;
    if (!in || t->off)
        return 0;
    int64_t *key = key_of(in, &n);
    if (!key)
        return -1;
    shape *s = find(t, key, n);
    if (!s) {
        remember(t, key, n);
        return 0;
    }
    free(key);
    if (!s->part && t->recorded < WAN_TAPES_SHAPES) {
        s->part = wan_calloc((size_t)(2 * t->parts * VARIANTS), sizeof *s->part, "recordings");
        if (!s->part)
            return -1;
        t->recorded++;
    }
    t->now = s->part ? s : NULL;
    return 0;
}

/* ---- parts */

typedef struct job {
    wan_acts *a;
    wan_store *s;
    int part, back;
} job;

static int run(void *arg)
{
    const job *j = arg;
    if (!j->back)
        return j->a->model->forward(j->a, j->s, j->part);
    WAN_TRY(wan_store_back_begin(j->s, j->part));
    WAN_TRY(j->a->model->backward(j->a, j->s, j->part));
    return wan_store_back_end(j->s, j->part);
}

/* The recording of what lies where it does now, or the place for it. */
static recording *recording_of(wan_tapes *t, const wan_acts *a, const wan_store *s, int part,
                               int back)
{
    const wan_part *p = &s->part[part];
    const wan_dev *d = t->d;
    const void *at[PLACES] = { p->w.p,
                               p->r,
                               p->g,
                               d->scratch,
                               d->aside,
                               back ? a->dpred.p : (void *)a->pred,
                               back && p->fresh ? p : NULL,
                               d->still ? d : NULL };
    recording *r = way(t, t->now, part, back);
    for (int i = 0; i < VARIANTS; i++)
        if (r[i].take && !memcmp(r[i].at, at, sizeof at))
            return &r[i];
    if (r[0].take) { /* the newer one stays */
        wan_take_drop(&r[1].take, t->d);
        r[1] = r[0];
    }
    r[0].take = NULL;
    memcpy(r[0].at, at, sizeof at);
    return r;
}

int wan_tapes_part(wan_acts *a, wan_store *s, int part, int back)
{
    wan_tapes *t = a->tapes;
    job j = { a, s, part, back };
    if (!t || !t->now || t->off)
        return run(&j);
    const wan_part *p = &s->part[part];
    recording *r = recording_of(t, a, s, part, back);
    WAN_TRY(wan_dev_renew(t->d, p->w.p, (size_t)p->whole_gemm * wan_dtype_size(s->compute)));
    if (!r->take && wan_take_record(&r->take, a, run, &j) < 0) {
        wan_warn("nothing is recorded from here on: part %d: %s", part, wan_err_text());
        t->off = 1; /* the part itself may be all right */
        return run(&j);
    }
    t->replays++;
    return wan_take_play(r->take, a);
}
