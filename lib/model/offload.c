/* SPDX-License-Identifier: Apache-2.0
 *
 * offload.c - see offload.h.
 */
#include "lib/model/offload.h"

#include <stdlib.h>

#include "lib/base/file.h"

enum { NOBODY = -1, ROOMS = 2 };

typedef struct room {
    int part; /* whose weights are here or on their way, or NOBODY */
    void *w;
    wan_real *r;
} room;

struct wan_offload {
    wan_dev *home, *d; /* where the values are, and where they are used */
    wan_store *host, *s;
    room room[ROOMS];
    int running; /* its room */
    int pinned;
};

static size_t gemm_bytes(const wan_store *s, int part)
{
    return (size_t)s->part[part].whole_gemm * wan_dtype_size(s->compute);
}

static size_t rest_bytes(const wan_store *s, int part)
{
    return (size_t)(s->part[part].whole - s->part[part].whole_gemm) * sizeof(wan_real);
}

int64_t wan_offload_bytes(const wan_store_bytes *b, wan_dtype compute)
{
    return ROOMS * (b->most_gemm * (int64_t)wan_dtype_size(compute) +
                    b->most_rest * (int64_t)sizeof(wan_real));
}

/* ---- parts come and go */

/* The weights of a part are on their way into a room, once nothing that was asked for before uses it. */
static int fetch(wan_offload *o, room *r, int part)
{
    const wan_part *p = &o->host->part[part];
    r->part = NOBODY;
    WAN_TRY(wan_dev_meet(o->d, WAN_COPIES_AFTER_WORK));
    WAN_TRY(wan_dev_send(o->d, r->w, p->w.p, gemm_bytes(o->host, part)));
    WAN_TRY(wan_dev_send(o->d, r->r, p->r, rest_bytes(o->host, part)));
    r->part = part;
    return 0;
}

/* wan_store.enter: the part is there, and the one that runs next, if parts run in turn, on its way. */
static int enter(void *arg, int part)
{
    wan_offload *o = arg;
    wan_store *s = o->s;
    const int next = part + 1 < s->slice.end ? part + 1 : s->slice.first;
    if (o->room[o->running].part != part) {
        const int was = o->room[o->running].part;
        if (was != NOBODY) { /* no one reads what has left */
            s->part[was].w.p = NULL;
            s->part[was].r = NULL;
        }
        o->running = (o->running + 1) % ROOMS;
        if (o->room[o->running].part != part)
            WAN_TRY(fetch(o, &o->room[o->running], part));
        WAN_TRY(wan_dev_meet(o->d, WAN_WORK_AFTER_COPIES));
    }
    s->part[part].w = wan_buf_of(o->room[o->running].w, s->compute);
    s->part[part].r = o->room[o->running].r;
    room *other = &o->room[(o->running + 1) % ROOMS];
    return next == part || other->part == next ? 0 : fetch(o, other, next);
}

/* ---- memory */

static int furnish(wan_offload *o)
{
    size_t gemm = 1, rest = 1;
    for (int k = 0; k < o->s->params.parts; k++) {
        gemm = gemm_bytes(o->s, k) > gemm ? gemm_bytes(o->s, k) : gemm;
        rest = rest_bytes(o->s, k) > rest ? rest_bytes(o->s, k) : rest;
    }
    for (int i = 0; i < ROOMS; i++) {
        o->room[i].part = NOBODY;
        o->room[i].w = wan_dev_alloc(o->d, gemm, "weights of a part");
        o->room[i].r = wan_dev_alloc(o->d, rest, "weights of a part");
        if (!o->room[i].w || !o->room[i].r)
            return -1;
    }
    return 0;
}

int wan_offload_new(wan_offload **out, wan_dev *d, const wan_arch *arch, const wan_slice *slice,
                    wan_dtype compute)
{
    wan_offload *o = *out = wan_calloc(1, sizeof *o, "offloaded weights");
    wan_params params;
    if (!o)
        return -1;
    o->d = d;
    WAN_GOTO(wan_dev_open(&o->home, "cpu", 0), fail);
    WAN_GOTO(wan_model_store(&o->host, o->home, arch, slice, compute, 0), fail);
    WAN_GOTO(arch->model->params(&params, arch->c), fail);
    WAN_GOTO(wan_store_bare(&o->s, d, &params, slice, compute), fail);
    WAN_GOTO(furnish(o), fail);
    o->s->enter = enter;
    o->s->enter_arg = o;
    return 0;
fail:
    wan_offload_free(out);
    return -1;
}

/* Both vectors of the host's store. */
static int pin(wan_offload *o, int on)
{
    const wan_store *h = o->host;
    size_t rest = (size_t)(wan_store_full(h) ? h->total : h->total - h->gemm) * sizeof(wan_real);
    WAN_TRY(wan_dev_pin(o->d, h->master, rest, on));
    return h->shadow
               ? wan_dev_pin(o->d, h->shadow, (size_t)h->gemm * wan_dtype_size(h->compute), on)
               : 0;
}

int wan_offload_start(wan_offload *o)
{
    WAN_TRY(pin(o, 1));
    o->pinned = 1;
    return 0;
}

void wan_offload_free(wan_offload **po)
{
    wan_offload *o = *po;
    if (!o)
        return;
    int left = o->s && wan_dev_meet(o->d, WAN_HOST_AFTER_COPIES) == 0;
    if (o->pinned && left) /* nothing is still being read; a failure was said before */
        left = pin(o, 0);
    for (int i = 0; i < ROOMS; i++) {
        wan_dev_free(o->d, o->room[i].w);
        wan_dev_free(o->d, o->room[i].r);
    }
    if (o->s)
        wan_store_free(&o->s);
    if (o->host)
        wan_store_free(&o->host);
    wan_dev_close(&o->home);
    free(o);
    *po = NULL;
}

wan_store *wan_offload_host(wan_offload *o)
{
    return o->host;
}

wan_store *wan_offload_store(wan_offload *o)
{
    return o->s;
}
