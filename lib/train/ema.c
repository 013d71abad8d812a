/* SPDX-License-Identifier: Apache-2.0
 *
 * ema.c - see ema.h.
 */
#include "lib/train/ema.h"

#include <stdlib.h>

#include "lib/base/file.h"

enum { CHUNK = 1 << 20 }; /* elements that are on the way when two vectors change places */

int wan_ema_new(wan_ema **out, wan_store *s, double decay)
{
    size_t bytes = (size_t)s->total * sizeof(wan_real);
    wan_ema *e = wan_calloc(1, sizeof *e, "average of weights");
    *out = NULL;
    if (!e)
        return -1;
    *e = (wan_ema){ .s = s, .decay = decay };
    e->x = s->rooms ? wan_dev_alloc_far(s->d, bytes, "average of weights")
                    : wan_dev_alloc(s->d, bytes, "average of weights");
    if (e->x && wan_dev_copy(s->d, e->x, s->master, bytes) == 0) {
        *out = e;
        return 0;
    }
    wan_ema_free(&e);
    return -1;
}

void wan_ema_free(wan_ema **pe)
{
    wan_ema *e = *pe;
    if (!e)
        return;
    wan_dev_free(e->s->d, e->x);
    free(e);
    *pe = NULL;
}

typedef struct mixture {
    wan_dev *d;
    const double *c;
} mixture;

static int mix(void *arg, wan_real *const x[], int64_t at, int64_t n)
{
    const mixture *m = arg;
    const wan_real *const in[2] = { x[0], x[1] };
    (void)at;
    return m->d->ops->lincomb(m->d, x[0], 2, m->c, in, n);
}

int wan_ema_update(wan_ema *e, int64_t n)
{
    double start = (1 + (double)n) / (10 + (double)n), b = start < e->decay ? start : e->decay;
    const double c[2] = { b, 1 - b };
    const wan_rooms_vector v[] = { { e->x, 1 }, { e->s->master, 0 } };
    mixture m = { e->s->d, c };
    return wan_rooms_pass(e->s->rooms, v, 2, e->s->total, mix, &m);
}

int wan_ema_swap(wan_ema *e)
{
    wan_dev *d = e->s->d;
    wan_real *a = e->x, *b = e->s->master, *t = wan_dev_scratch(d, CHUNK * sizeof *t);
    if (!t)
        return -1;
    for (int64_t at = 0; at < e->s->total; at += CHUNK) {
        int64_t n = e->s->total - at < CHUNK ? e->s->total - at : CHUNK;
        size_t bytes = (size_t)n * sizeof *t;
        WAN_TRY(wan_dev_copy(d, t, a + at, bytes));
        WAN_TRY(wan_dev_copy(d, a + at, b + at, bytes));
        WAN_TRY(wan_dev_copy(d, b + at, t, bytes));
    }
    return wan_store_refresh(e->s);
}
