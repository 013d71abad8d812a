/* SPDX-License-Identifier: Apache-2.0
 *
 * sampler_edm.c - EDM's sampling ODE (Karras et al. 2022, arXiv 2206.00364, algorithm 1 without
 * churn): Heun, of second order, and Euler.
 *
 *   sigma_i = (sigma_max^(1/rho) + i/(N-1) (sigma_min^(1/rho) - sigma_max^(1/rho)))^rho, then 0
 *   d = (x - D(x; sigma_i)) / sigma_i;          x' = x + (sigma_{i+1} - sigma_i) d
 *   d' = (x' - D(x'; sigma_{i+1})) / sigma_{i+1};   x  = x + (sigma_{i+1} - sigma_i) (d + d') / 2
 *
 * D = c_skip x + c_out F (edm.h).  Guidance may act on F: c_skip x is the same in both passes.
 */
#include <math.h>
#include <stdlib.h>

#include "lib/base/file.h"
#include "lib/model/edm.h"
#include "lib/model/sample/sampler_priv.h"

typedef struct edm {
    wan_sampler base; /* first */
    int heun;
    double sigma[WAN_SAMPLER_MAX + 1];
    wan_real *in;    /* what the model is given */
    wan_real *ahead; /* Heun: x' */
    wan_real *slope; /* Heun: d */
} edm;

static edm *of(wan_sampler *s)
{
    return (edm *)(void *)s;
}

static double sigma(const wan_sampler *s, int i)
{
    return ((const edm *)(const void *)s)->sigma[i];
}

static int calls(const wan_sampler *s, int i)
{
    return ((const edm *)(const void *)s)->heun && sigma(s, i + 1) > 0 ? 2 : 1;
}

static int start(wan_sampler *s, wan_real *x)
{
    const wan_real *from = x;
    return s->d->ops->lincomb(s->d, x, 1, &of(s)->sigma[0], &from, s->numel);
}

static int ask(wan_sampler *s, int i, int call, const wan_real *x, const wan_real **in, double *t)
{
    edm *e = of(s);
    wan_edm_scaling c = wan_edm_scale(e->sigma[i + call]);
    const wan_real *from = call ? e->ahead : x;
    *in = e->in;
    *t = c.noise;
    return s->d->ops->lincomb(s->d, e->in, 1, &c.in, &from, s->numel);
}

/* y = base + w (at - D) / sigma, with D from F; base and d (added w times too) may be NULL. */
static int along(edm *e, wan_real *y, const wan_real *base, const wan_real *d, double w,
                 const wan_real *at, double level, const wan_real *F)
{
    const wan_sampler *s = &e->base;
    wan_edm_scaling c = wan_edm_scale(level);
    const wan_real *x[4] = { at, F };
    double k[4] = { w * (1 - c.skip) / level, -w * c.out / level };
    int n = 2;
    if (base) {
        x[n] = base;
        k[n++] = 1;
    }
    if (d) {
        x[n] = d;
        k[n++] = w;
    }
    return s->d->ops->lincomb(s->d, y, n, k, x, s->numel);
}

static int answer(wan_sampler *s, int i, int call, wan_real *x, const wan_real *F)
{
    edm *e = of(s);
    double now = e->sigma[i], next = e->sigma[i + 1], h = next - now;
    if (call)
        return along(e, x, x, e->slope, h / 2, e->ahead, next, F);
    if (calls(s, i) == 1)
        return along(e, x, x, NULL, h, x, now, F);
    WAN_TRY(along(e, e->slope, NULL, NULL, 1, x, now, F));
    return along(e, e->ahead, x, NULL, h, x, now, F);
}

/* D(x; sigma_i) */
static int clean(const wan_sampler *s, int i, const wan_real *x, const wan_real *F, wan_real *out)
{
    const wan_edm_scaling c = wan_edm_scale(sigma(s, i));
    const double k[2] = { c.skip, c.out };
    const wan_real *from[2] = { x, F };
    return s->d->ops->lincomb(s->d, out, 2, k, from, s->numel);
}

static void levels(edm *e, const wan_sampler_options *o)
{
    double a = pow(o->sigma_max, 1 / o->rho), b = pow(o->sigma_min, 1 / o->rho);
    int n = o->steps;
    for (int i = 0; i < n; i++)
        e->sigma[i] = pow(a + (n > 1 ? (double)i / (n - 1) : 0) * (b - a), o->rho);
    e->sigma[n] = 0;
}

static void release(wan_sampler *s)
{
    wan_dev_free(s->d, of(s)->in);
    wan_dev_free(s->d, of(s)->ahead);
    wan_dev_free(s->d, of(s)->slope);
}

static int open_edm(wan_sampler **out, wan_dev *d, const wan_sampler_options *o, int64_t numel)
{
    size_t bytes = (size_t)numel * sizeof(wan_real);
    if (!(o->sigma_min > 0 && o->sigma_min < o->sigma_max && o->rho > 0))
        return wan_err("sampler: noise levels from %g to %g with rho %g", o->sigma_max,
                       o->sigma_min, o->rho);
    edm *e = wan_calloc(1, sizeof *e, "sampler");
    if (!e)
        return -1;
    e->base = (wan_sampler){ .kind = &wan_sampler_edm,
                             .d = d,
                             .steps = o->steps,
                             .numel = numel,
                             .unit = 1 / WAN_EDM_DATA };
    e->heun = o->solver[0] == 'h';
    levels(e, o);
    *out = &e->base;
    e->in = wan_dev_alloc(d, bytes, "sampler");
    e->ahead = e->heun ? wan_dev_alloc(d, bytes, "sampler") : NULL;
    e->slope = e->heun ? wan_dev_alloc(d, bytes, "sampler") : NULL;
    if (e->in && (!e->heun || (e->ahead && e->slope)))
        return 0;
    release(*out);
    free(e);
    *out = NULL;
    return -1;
}

/* DFM's guidance 7 is added to the conditioned answer: as a scale it is 8. */
const wan_sampler_kind wan_sampler_edm = {
    .objective = "edm",
    .defaults = { .steps = 35, .guidance = 8, .sigma_min = 0.002, .sigma_max = 80, .rho = 7 },
    .solvers = { "heun", "euler", NULL },
    .open = open_edm,
    .free = release,
    .start = start,
    .calls = calls,
    .ask = ask,
    .answer = answer,
    .clean = clean,
    .sigma = sigma,
};
