/* SPDX-License-Identifier: Apache-2.0
 *
 * predict_search.c - every layout of some ranks, by time: see predict.h.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/base/file.h"
#include "lib/train/planner/predict.h"

#define GIB(x) ((double)(x) / (1 << 30))
enum { TP_MOST = 8, PP_MOST = 16, CP_MOST = 32, MODEL_MOST = 32, CANDIDATES = 1024, SHOWN = 10 };

/* What the search may choose. */
typedef struct layout {
    int tp, cp, pp, shards, zero1, recompute;
    double seconds, tflops;
    int64_t bytes;
} layout;

static void apply(wan_train_config *v, const layout *l)
{
    v->tp = l->tp;
    v->cp = l->cp;
    v->pp = l->pp;
    v->vpp = 1;
    v->sequence_parallel = l->tp > 1;
    v->fsdp = l->shards && !l->zero1;
    v->zero1 = l->zero1;
    v->dp_shard = l->shards ? l->shards : 1;
    v->dp_replicate = 0;
    v->recompute = (enum wan_recompute)l->recompute;
}

static int by_time(const void *a, const void *b)
{
    const layout *x = a, *y = b;
    if (x->seconds != y->seconds)
        return x->seconds < y->seconds ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

typedef struct search {
    wan_config *c;
    const wan_cluster *m;
    int ranks;
    layout *good; /* [CANDIDATES] that fit */
    int n, tried, large, refused;
} search;

/* One layout: fits, is too large, or is not possible (the reason is forgotten). */
static int try_one(search *s, layout l)
{
    const wan_train_config before = s->c->v;
    wan_prediction p;
    apply(&s->c->v, &l);
    s->tried++;
    int rc = wan_predict(&p, s->c, s->m, s->ranks, 1);
    s->c->v = before;
    if (rc < 0 && (wan_err_memory() || wan_err_system()))
        return -1;
    if (rc < 0) {
        wan_err_clear();
        s->refused++;
        return 0;
    }
    if (!p.fits) {
        s->large++;
        return 0;
    }
    l.seconds = p.seconds;
    l.tflops = p.tflops;
    l.bytes = wan_rehearse_total(&p.large);
    if (s->n == CANDIDATES)
        return wan_err("more than %d layouts fit", CANDIDATES);
    s->good[s->n++] = l;
    return 1;
}

/* The least recomputing that fits is the fastest: the others are not tried. */
static int try_recompute(search *s, layout l)
{
    for (l.recompute = WAN_RECOMPUTE_NONE; l.recompute <= WAN_RECOMPUTE_FULL; l.recompute++) {
        int rc = try_one(s, l);
        if (rc != 0)
            return rc < 0 ? -1 : 0;
    }
    return 0;
}

/* No shards, ZeRO-1, FSDP over all and over the ranks of a machine. */
static int try_shards(search *s, layout l)
{
    const int dp = s->ranks / (l.tp * l.cp * l.pp), home = s->m->links.per_machine;
    const int inside = home / (l.tp * l.cp) > 0 ? home / (l.tp * l.cp) : 1;
    WAN_TRY(try_recompute(s, l));
    if (dp * l.cp == 1)
        return 0;
    l.shards = dp;
    l.zero1 = 1;
    WAN_TRY(try_recompute(s, l));
    l.zero1 = 0;
    WAN_TRY(try_recompute(s, l));
    l.shards = inside;
    return inside < dp ? try_recompute(s, l) : 0;
}

static int try_all(search *s)
{
    const int64_t batch = s->c->v.global_batch;
    const int most = s->ranks < MODEL_MOST ? s->ranks : MODEL_MOST;
    for (int tp = 1; tp <= TP_MOST && tp <= s->m->links.per_machine; tp *= 2)
        for (int pp = 1; pp <= PP_MOST; pp *= 2)
            for (int cp = 1; cp <= CP_MOST && tp * pp * cp <= most; cp *= 2) {
                int dp = s->ranks / (tp * pp * cp);
                if (s->ranks % (tp * pp * cp) || dp > batch)
                    continue; /* ranks without a sample are no plan */
                WAN_TRY(try_shards(s, (layout){ .tp = tp, .cp = cp, .pp = pp }));
            }
    return 0;
}

static void print_one(const search *s, const layout *l, FILE *f)
{
    static const char *const recompute[] = { "none", "selective", "full" };
    const int dp = s->ranks / (l->tp * l->cp * l->pp);
    const char *how = l->zero1 ? "zero1" : l->shards ? "fsdp" : "-";
    fprintf(f, "%8.3f s %7.1f %8.2f  tp %d cp %-3d pp %-2d dp %-4d %-5s %4d  %s\n", l->seconds,
            l->tflops, GIB(l->bytes), l->tp, l->cp, l->pp, dp, how,
            l->shards ? l->shards * l->cp : 1, recompute[l->recompute]);
}

static int print_best(search *s, FILE *f)
{
    const wan_train_config before = s->c->v;
    wan_prediction p;
    apply(&s->c->v, &s->good[0]);
    int rc = wan_predict(&p, s->c, s->m, s->ranks, 0);
    s->c->v = before;
    if (rc == 0)
        wan_predict_print(&p, s->m, f);
    return rc;
}

int wan_predict_search(wan_config *c, const wan_cluster *m, int ranks, FILE *f)
{
    search s = { .c = c, .m = m, .ranks = ranks };
    s.good = wan_calloc(CANDIDATES, sizeof *s.good, "layouts");
    int rc = s.good ? try_all(&s) : -1;
    if (rc == 0) {
        qsort(s.good, (size_t)s.n, sizeof *s.good, by_time);
        fprintf(f, "%d layouts tried: %d fit, %d are too large, %d are not possible\n", s.tried,
                s.n, s.large, s.refused);
        fprintf(f, "    step  TFLOP/s      GiB  layout                 shared by    recompute\n");
        for (int i = 0; i < s.n && i < SHOWN; i++)
            print_one(&s, &s.good[i], f);
        fprintf(f, "\n");
    }
    if (rc == 0)
        rc = s.n ? print_best(&s, f)
                 : wan_err("no layout of %d ranks of %s fits this model", ranks, m->name);
    free(s.good);
    return rc;
}
