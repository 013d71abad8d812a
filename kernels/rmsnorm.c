/* SPDX-License-Identifier: Apache-2.0
 *
 * rmsnorm.c - reference RMSNorm over the full width, with the rotary embedding behind it.
 */
#include "kernels/rmsnorm.h"

#include "kernels/rows.h"

enum { COLS = 64 }; /* columns of dw added up by one task */

/* ---- rotation */

static int64_t head(const wan_rms *a)
{
    return a->rope ? wan_rope_width(a->rope->axis) : 0;
}

/* out [hd] <- cosines and sines of a head, for token s */
static const wan_real *angles(wan_real *out, const wan_rope *r, int64_t s)
{
    int64_t hd = wan_rope_width(r->axis), at = 0;
    for (int k = 0; k < 3; k++) {
        const wan_real *from = r->table + r->pos[3 * s + k] * hd + at;
        for (int j = 0; j < r->axis[k]; j++)
            out[at + j] = from[j];
        at += r->axis[k];
    }
    return out;
}

/* y = R(s) n for one token; cs [hd] its cosines and sines; y may equal n */
static void rotate(wan_real *y, const wan_real *n, const wan_real *cs, int64_t D, int64_t hd)
{
    for (int64_t h = 0; h < D; h += hd)
        for (int64_t j = 0; j < hd; j += 2) {
            wan_real c = cs[j], s = cs[j + 1], a = n[h + j], b = n[h + j + 1];
            y[h + j] = a * c - b * s;
            y[h + j + 1] = a * s + b * c;
        }
}

/* dn = R^T g for n columns of one head; cs [n] their cosines and sines */
static void unrotate(wan_real *restrict dn, const wan_real *restrict g, const wan_real *restrict cs,
                     int64_t n)
{
    for (int64_t j = 0; j < n; j += 2) {
        dn[j] = g[j] * cs[j] + g[j + 1] * cs[j + 1];
        dn[j + 1] = g[j + 1] * cs[j] - g[j] * cs[j + 1];
    }
}

/* ---- forward */

static int check(const char *op, const wan_rms *a, int whole)
{
    if (a->width < a->D || (whole && a->width != a->D))
        return wan_err("%s: %lld columns of a norm over %lld", op, (long long)a->D,
                       (long long)a->width);
    if (!wan_rope_fits(a->rope, a->D))
        return wan_err("%s: the rotary embedding does not fit a width of %lld", op,
                       (long long)a->D);
    return 0;
}

/* How a row comes by its rstd. */
enum source { OWN_COLUMNS, SUM, GIVEN };

static int forward(wan_dev *d, const wan_rms *a, wan_buf y, wan_real *rstd, const wan_real *sum,
                   wan_buf x, const wan_real *w, enum source from)
{
    int64_t D = a->D, hd = head(a), mine = 2 * D + hd;
    wan_real *tmp = wan_rows_scratch(d, mine);
    if (!tmp)
        return -1;
#pragma omp parallel for if (a->S * D > WAN_ROWS_PARALLEL)
    for (int64_t s = 0; s < a->S; s++) {
        wan_real *t = wan_rows_mine(tmp, mine), *o = wan_row_open(y, s * a->ldy, t + D);
        const wan_real *v = wan_row_load(x, s * a->ldx, D, t);
        if (from != GIVEN) {
            wan_real q = from == SUM ? sum[s] : wan_row_dot(v, v, D);
            rstd[s] = 1 / wan_r_sqrt(q / (wan_real)a->width + WAN_C(a->eps));
        }
        wan_real r = rstd[s];
        for (int64_t j = 0; j < D; j++)
            o[j] = v[j] * r * w[j];
        if (a->rope)
            rotate(o, o, angles(t + 2 * D, a->rope, s), D, hd);
        wan_row_close(y, s * a->ldy, D, o);
    }
    return 0;
}

int wan_rmsnorm_forward_c(wan_dev *d, const wan_rms *a, wan_buf y, wan_real *rstd, wan_buf x,
                          const wan_real *w)
{
    WAN_ROWS_CHECK("rmsnorm_forward", y, x);
    WAN_TRY(check("rmsnorm_forward", a, 1));
    return forward(d, a, y, rstd, NULL, x, w, OWN_COLUMNS);
}

int wan_rms_apply_c(wan_dev *d, const wan_rms *a, wan_buf y, wan_real *rstd, const wan_real *sum,
                    wan_buf x, const wan_real *w)
{
    WAN_ROWS_CHECK("rms_apply", y, x);
    WAN_TRY(check("rms_apply", a, 0));
    return forward(d, a, y, rstd, sum, x, w, sum ? SUM : GIVEN);
}

int wan_rms_sumsq_c(wan_dev *d, const wan_rms *a, wan_real *sum, wan_buf x)
{
    WAN_ROWS_CHECK("rms_sumsq", x);
    wan_real *tmp = wan_rows_scratch(d, a->D);
    if (!tmp)
        return -1;
#pragma omp parallel for if (a->S * a->D > WAN_ROWS_PARALLEL)
    for (int64_t s = 0; s < a->S; s++) {
        const wan_real *v = wan_row_load(x, s * a->ldx, a->D, wan_rows_mine(tmp, a->D));
        sum[s] = wan_row_dot(v, v, a->D);
    }
    return 0;
}

/* ---- backward */

/* sum_j dn w x */
static wan_real row_dot(const wan_real *dn, const wan_real *w, const wan_real *x, int64_t D)
{
    wan_real s[WAN_ROW_LANES] = { 0 };
    int64_t i = 0;
    for (; i + WAN_ROW_LANES <= D; i += WAN_ROW_LANES)
        for (int j = 0; j < WAN_ROW_LANES; j++)
            s[j] += dn[i + j] * w[i + j] * x[i + j];
    for (int j = 0; i < D; i++, j++)
        s[j] += dn[i] * w[i] * x[i];
    return wan_row_lanes(s);
}

/* What the pass over the rows shares. */
typedef struct grads {
    const wan_rms *a;
    wan_buf dx, dy, x;
    const wan_real *rstd, *w;
    wan_real *dw, *dot; /* dot: given (have), or to be written */
    int have;
    wan_real *part, *tmp; /* dw of each chunk [D]; per thread */
    int64_t size;         /* tokens of a chunk */
} grads;

/* dw += dn x rstd */
static void gains(wan_real *restrict dw, const wan_real *restrict dn, const wan_real *restrict x,
                  wan_real rstd, int64_t D)
{
    for (int64_t j = 0; j < D; j++)
        dw[j] += dn[j] * x[j] * rstd;
}

/* One row of dx, or of dot where there is no dx; its share of dw, where there is one, to `part`. */
static void row_backward(const grads *g, int64_t s, wan_real *part, wan_real *t)
{
    const wan_rms *a = g->a;
    int64_t D = a->D, hd = head(a);
    wan_real r = g->rstd[s];
    const wan_real *dn = wan_row_load(g->dy, s * a->ldy, D, t);
    const wan_real *v = wan_row_load(g->x, s * a->ldx, D, t + D);
    if (a->rope) {
        const wan_real *cs = angles(t + 4 * D, a->rope, s);
        for (int64_t h = 0; h < D; h += hd)
            unrotate(t + 3 * D + h, dn + h, cs, hd);
        dn = t + 3 * D;
    }
    if (part)
        gains(part, dn, v, r, D);
    wan_real m = g->have ? g->dot[s] : row_dot(dn, g->w, v, D);
    if (!g->dx.p) {
        g->dot[s] = m;
        return;
    }
    wan_real *o = wan_row_open(g->dx, s * a->lddx, t + 2 * D);
    m *= r * r / (wan_real)a->width;
    for (int64_t j = 0; j < D; j++)
        o[j] = r * (dn[j] * g->w[j] - v[j] * m);
    wan_row_close(g->dx, s * a->lddx, D, o);
}

static void chunk_backward(const grads *g, int64_t k, wan_real *t)
{
    const wan_rms *a = g->a;
    int64_t s = k * g->size, end = a->S - s < g->size ? a->S : s + g->size;
    wan_real *part = g->dw ? g->part + k * a->D : NULL;
    if (part)
        memset(part, 0, (size_t)a->D * sizeof *part);
    for (; s < end; s++)
        row_backward(g, s, part, t);
}

/* Each chunk of tokens sums dw on its own, in one pass with dx, and then they are added in their order. */
static int backward(wan_dev *d, grads g)
{
    enum { FEWEST = 32, MOST_CHUNKS = 256 };
    const wan_rms *a = g.a;
    int64_t D = a->D, mine = 4 * D + head(a), all = wan_rows_stride(mine) * wan_rows_threads();
    g.size = (a->S + MOST_CHUNKS - 1) / MOST_CHUNKS;
    g.size = g.size < FEWEST ? FEWEST : g.size;
    int64_t chunks = (a->S + g.size - 1) / g.size;
    g.tmp = (wan_real *)wan_dev_scratch(d, (size_t)(all + chunks * D) * sizeof *g.tmp);
    if (!g.tmp)
        return -1;
    g.part = g.tmp + all;
#pragma omp parallel if (a->S * D > WAN_ROWS_PARALLEL)
    {
#pragma omp for schedule(dynamic)
        for (int64_t k = 0; k < chunks; k++)
            chunk_backward(&g, k, wan_rows_mine(g.tmp, mine));
#pragma omp for
        for (int64_t c = 0; c < (g.dw ? D : 0); c += COLS)
            for (int64_t k = 0; k < chunks; k++)
                wan_row_axpy(g.dw + c, 1, g.part + k * D + c, D - c < COLS ? D - c : COLS);
    }
    return 0;
}

int wan_rmsnorm_backward_c(wan_dev *d, const wan_rms *a, wan_buf dx, wan_real *dw, wan_buf dy,
                           wan_buf x, const wan_real *rstd, const wan_real *w)
{
    WAN_ROWS_CHECK("rmsnorm_backward", dx, dy, x);
    WAN_TRY(check("rmsnorm_backward", a, 1));
    return backward(d,
                    (grads){ .a = a, .dx = dx, .dw = dw, .dy = dy, .x = x, .rstd = rstd, .w = w });
}

int wan_rms_dot_c(wan_dev *d, const wan_rms *a, wan_real *dot, wan_real *dw, wan_buf dy, wan_buf x,
                  const wan_real *rstd, const wan_real *w)
{
    WAN_ROWS_CHECK("rms_dot", dy, x);
    WAN_TRY(check("rms_dot", a, 0));
    return backward(
        d, (grads){ .a = a, .dot = dot, .dw = dw, .dy = dy, .x = x, .rstd = rstd, .w = w });
}

int wan_rms_dx_c(wan_dev *d, const wan_rms *a, wan_buf dx, const wan_real *dot, wan_buf dy,
                 wan_buf x, const wan_real *rstd, const wan_real *w)
{
    WAN_ROWS_CHECK("rms_dx", dx, dy, x);
    WAN_TRY(check("rms_dx", a, 0));
    return backward(d, (grads){ .a = a,
                                .dx = dx,
                                .dot = (wan_real *)(uintptr_t)dot,
                                .have = 1,
                                .dy = dy,
                                .x = x,
                                .rstd = rstd,
                                .w = w });
}
