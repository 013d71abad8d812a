/* SPDX-License-Identifier: Apache-2.0
 *
 * pp_split.c - see pp_split.h.
 */
#include "lib/train/parallel/pp_split.h"

#include <math.h>
#include <stdlib.h>

#include "lib/base/file.h"
#include "lib/train/parallel/pp_order.h"

/* The best cuts of the first parts into so many pieces, by dynamic programming. */
typedef struct table {
    int parts, pieces;
    const double *upto; /* [parts + 1] cost of the parts before */
    double *value;      /* [pieces + 1][parts + 1] */
    int *from;          /* where the last piece begins */
} table;

/* Least largest piece; or, with a limit on pieces, the least sum of their squares. */
static double solve(table *t, double limit)
{
    int n = t->parts + 1;
    for (int i = 0; i < n; i++)
        t->value[i] = i ? INFINITY : 0;
    for (int k = 1; k <= t->pieces; k++)
        for (int i = 0; i < n; i++) {
            double *best = &t->value[k * n + i];
            *best = INFINITY;
            for (int j = 0; j < i; j++) {
                double one = t->upto[i] - t->upto[j], before = t->value[(k - 1) * n + j];
                double v = limit > 0 ? before + one * one : fmax(before, one);
                if (limit > 0 && one > limit)
                    continue;
                if (v < *best) {
                    *best = v;
                    t->from[k * n + i] = j;
                }
            }
        }
    return t->value[t->pieces * n + t->parts];
}

static void trace(const table *t, int *start)
{
    int i = t->parts;
    for (int k = t->pieces; k > 0; k--) {
        start[k] = i;
        i = t->from[k * (t->parts + 1) + i];
    }
    start[0] = 0;
}

static int cut(wan_pp_split *s, const wan_arch *arch, int parts, int64_t tokens)
{
    size_t n = (size_t)(parts + 1) * (size_t)(s->pieces + 1);
    double *upto = wan_calloc((size_t)parts + 1, sizeof *upto, "pipeline stages");
    table t = { .parts = parts, .pieces = s->pieces, .upto = upto };
    t.value = wan_calloc(n, sizeof *t.value, "pipeline stages");
    t.from = wan_calloc(n, sizeof *t.from, "pipeline stages");
    int rc = upto && t.value && t.from ? 0 : -1;
    for (int k = 0; k < parts && rc == 0; k++)
        upto[k + 1] = upto[k] + arch->model->part_flops(arch->c, k, tokens);
    if (rc == 0) {
        solve(&t, solve(&t, 0) * (1 + 1e-9));
        trace(&t, s->start);
    }
    free(upto);
    free(t.value);
    free(t.from);
    return rc;
}

static int seat(wan_pp_split *s, int each, int64_t most)
{
    int own[WAN_PP_PIECES];
    for (int r = 0; r < s->ranks; r++) {
        WAN_TRY(wan_pp_order_seats(own, s->ranks, each, r, most));
        for (int k = 0; k < each; k++)
            s->seats[k * s->ranks + r] = own[k];
    }
    return 0;
}

int wan_pp_split_make(wan_pp_split *s, const wan_arch *arch, int ranks, int each, int64_t tokens,
                      int64_t most)
{
    wan_sizes z;
    wan_model_sizes(&z, arch);
    *s = (wan_pp_split){ .ranks = ranks, .pieces = 1, .seats = { 1 }, .start = { 0, z.parts } };
    if (ranks == 1 && each == 1)
        return 0;
    if (ranks == 1)
        return wan_err("model.virtual_pipeline_model_parallel_size %d on one pipeline rank: "
                       "model.pipeline_model_parallel_size must be at least 2",
                       each);
    if (!arch->model->border)
        return wan_err("a model of type %s cannot be cut into pipeline stages", arch->model->type);
    if (each > WAN_PP_PIECES / ranks || each > WAN_SLICE_GAPS + 1 || each * ranks > z.parts)
        return wan_err("%d pipeline ranks with %d piece%s each: the model has %d parts to share "
                       "out, into at most %d pieces",
                       ranks, each, each == 1 ? "" : "s", z.parts, WAN_PP_PIECES);
    s->pieces = ranks * each;
    WAN_TRY(cut(s, arch, z.parts, tokens));
    return seat(s, each, most);
}

int wan_pp_split_owner(const wan_pp_split *s, int part)
{
    int k = 0;
    while (part >= s->start[k + 1])
        k++;
    return k % s->ranks;
}

void wan_pp_split_slice(const wan_pp_split *s, int rank, wan_slice *slice)
{
    slice->first = s->start[rank];
    slice->gaps = 0;
    for (int k = rank; k < s->pieces; k += s->ranks) {
        slice->end = s->start[k + 1];
        if (k + s->ranks < s->pieces) {
            slice->gap[slice->gaps].first = s->start[k + 1];
            slice->gap[slice->gaps++].end = s->start[k + s->ranks];
        }
    }
}

int wan_pp_split_ranges(const wan_pp_split *s, int rank, wan_pp_range *v)
{
    int n = 0;
    for (int k = rank; k < s->pieces; k += s->ranks)
        v[n++] = (wan_pp_range){ s->start[k], s->start[k + 1], s->seats[k] };
    return n;
}
