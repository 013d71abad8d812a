/* SPDX-License-Identifier: Apache-2.0
 *
 * sampler_flow.c - solvers of the flow-matching ODE: UniPC (bh2, order 2, with corrector), DPM++ 2M
 * (midpoint), Euler.  Zhao et al. 2023 (arXiv 2302.04867), Lu et al. 2022 (arXiv 2211.01095);
 * reduced forms: wan-model(7), UniPC and DPM++ 2M.
 *
 * The references hold their scalars as float32 tensors, and alpha = 1 - sigma loses digits there,
 * so the scalars here are float too: the coefficients are theirs.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/model/sample/sampler_priv.h"

typedef enum { UNIPC, DPMPP, EULER } solver_kind;

typedef struct flow {
    wan_sampler base; /* first */
    solver_kind kind;
    int last_order; /* of the predictor before */
    float sigma[WAN_SAMPLER_MAX + 1];
    double timestep[WAN_SAMPLER_MAX];
    wan_real *m[3];   /* data predictions: this step, one before, two before */
    wan_real *x_last; /* sample the predictor before started from */
} flow;

static flow *of(wan_sampler *s)
{
    return (flow *)(void *)s;
}

/* A sum of scaled vectors under construction. */
typedef struct sum {
    int n;
    double c[WAN_LINCOMB_MAX];
    const wan_real *x[WAN_LINCOMB_MAX];
} sum;

static void add(sum *s, float c, const wan_real *x)
{
    for (int i = 0; i < s->n; i++)
        if (s->x[i] == x) {
            s->c[i] += (double)c;
            return;
        }
    s->c[s->n] = (double)c;
    s->x[s->n++] = x;
}

static int store(flow *s, wan_real *y, const sum *v)
{
    return s->base.d->ops->lincomb(s->base.d, y, v->n, v->c, v->x, s->base.numel);
}

static float alpha(const flow *s, int i)
{
    return 1 - s->sigma[i];
}
static float lambda(const flow *s, int i)
{
    return logf(alpha(s, i)) - logf(s->sigma[i]);
}

/* UniC: x at sigma_i once more, with the data prediction made there. */
static int correct(flow *s, int i, wan_real *x)
{
    float h = lambda(s, i) - lambda(s, i - 1), E = expm1f(-h), aE = alpha(s, i) * E;
    sum v = { 0 };
    add(&v, s->sigma[i] / s->sigma[i - 1], s->x_last);
    add(&v, -aE, s->m[1]);
    if (s->last_order == 1) {
        add(&v, -aE * 0.5f, s->m[0]);
        add(&v, aE * 0.5f, s->m[1]);
        return store(s, x, &v);
    }
    float r = (lambda(s, i - 2) - lambda(s, i - 1)) / h, eta = -h;
    float phi1 = E / eta - 1, b1 = phi1 / E, b2 = 2 * (phi1 / eta - 0.5f) / E;
    float rho0 = (b1 - b2) / (1 - r), rho1 = b1 - rho0;
    add(&v, -aE * rho0 / r, s->m[2]);
    add(&v, aE * rho0 / r, s->m[1]);
    add(&v, -aE * rho1, s->m[0]);
    add(&v, aE * rho1, s->m[1]);
    return store(s, x, &v);
}

/* UniP from sigma_i to sigma_{i+1}; the last sigma is 0, where the answer is the prediction. */
static int predict(flow *s, int i, int order, wan_real *x)
{
    if (i + 1 == s->base.steps)
        return wan_dev_copy(s->base.d, x, s->m[0], (size_t)s->base.numel * sizeof *x);
    float h = lambda(s, i + 1) - lambda(s, i), aE = alpha(s, i + 1) * expm1f(-h);
    sum v = { 0 };
    add(&v, s->sigma[i + 1] / s->sigma[i], x);
    add(&v, -aE, s->m[0]);
    if (order == 2) {
        float r = (lambda(s, i - 1) - lambda(s, i)) / h;
        add(&v, -aE * 0.5f / r, s->m[1]);
        add(&v, aE * 0.5f / r, s->m[0]);
    }
    return store(s, x, &v);
}

static int step_unipc(flow *s, int i, wan_real *x)
{
    if (i > 0)
        WAN_TRY(correct(s, i, x));
    int order = i + 1 < 2 || s->base.steps - i < 2 ? 1 : 2;
    WAN_TRY(wan_dev_copy(s->base.d, s->x_last, x, (size_t)s->base.numel * sizeof *x));
    WAN_TRY(predict(s, i, order, x));
    s->last_order = order;
    return 0;
}

static int step_dpmpp(flow *s, int i, wan_real *x)
{
    if (i + 1 == s->base.steps)
        return wan_dev_copy(s->base.d, x, s->m[0], (size_t)s->base.numel * sizeof *x);
    /* sigma_0 = 1 has lambda = -inf: e^-h is 0 there, and the step after has no second order */
    int infinite = i == 0 && s->sigma[0] >= 1;
    float h = infinite ? INFINITY : lambda(s, i + 1) - lambda(s, i);
    float aE = alpha(s, i + 1) * (infinite ? -1 : expf(-h) - 1);
    sum v = { 0 };
    add(&v, s->sigma[i + 1] / s->sigma[i], x);
    add(&v, -aE, s->m[0]);
    if (i > 0 && !(i == 1 && s->sigma[0] >= 1)) {
        float r0 = (lambda(s, i) - lambda(s, i - 1)) / h;
        add(&v, -0.5f * aE / r0, s->m[0]);
        add(&v, 0.5f * aE / r0, s->m[1]);
    }
    return store(s, x, &v);
}

/* m[0] = x - sigma v, the older predictions moving back. */
static int convert(flow *s, int i, const wan_real *x, const wan_real *v)
{
    wan_real *oldest = s->m[2];
    s->m[2] = s->m[1];
    s->m[1] = s->m[0];
    s->m[0] = oldest;
    sum m = { 0 };
    add(&m, 1, x);
    add(&m, -s->sigma[i], v);
    return store(s, s->m[0], &m);
}

static int start(wan_sampler *s, wan_real *x)
{
    (void)s, (void)x;
    return 0;
}

static int calls(const wan_sampler *s, int i)
{
    (void)s, (void)i;
    return 1;
}

static int ask(wan_sampler *s, int i, int call, const wan_real *x, const wan_real **in, double *t)
{
    (void)call;
    *in = x;
    *t = of(s)->timestep[i];
    return 0;
}

/* v: the velocity at x. */
static int answer(wan_sampler *base, int i, int call, wan_real *x, const wan_real *v)
{
    flow *s = of(base);
    (void)call;
    if (s->kind == EULER) {
        sum e = { 0 };
        add(&e, 1, x);
        add(&e, s->sigma[i + 1] - s->sigma[i], v);
        return store(s, x, &e);
    }
    WAN_TRY(convert(s, i, x, v));
    return s->kind == UNIPC ? step_unipc(s, i, x) : step_dpmpp(s, i, x);
}

/* x - sigma v */
static int clean(const wan_sampler *s, int i, const wan_real *x, const wan_real *v, wan_real *out)
{
    const double c[2] = { 1, -s->kind->sigma(s, i) };
    const wan_real *from[2] = { x, v };
    return s->d->ops->lincomb(s->d, out, 2, c, from, s->numel);
}

static double sigma(const wan_sampler *s, int i)
{
    return (double)((const flow *)(const void *)s)->sigma[i];
}

static void release(wan_sampler *s)
{
    for (int i = 0; i < 3; i++)
        wan_dev_free(s->d, of(s)->m[i]);
    wan_dev_free(s->d, of(s)->x_last);
}

static int build(flow *s, const wan_sampler_options *o)
{
    size_t bytes = (size_t)s->base.numel * sizeof(wan_real);
    s->kind = !strcmp(o->solver, "unipc") ? UNIPC : !strcmp(o->solver, "dpm++") ? DPMPP : EULER;
    WAN_TRY(
        wan_sampler_schedule(o->solver, o->schedule, o->steps, o->shift, s->sigma, s->timestep));
    for (int i = 0; i < 3 && s->kind != EULER; i++)
        if (!(s->m[i] = wan_dev_alloc(s->base.d, bytes, "sampler history")))
            return -1;
    if (s->kind == UNIPC && !(s->x_last = wan_dev_alloc(s->base.d, bytes, "sampler history")))
        return -1;
    return 0;
}

static int open_flow(wan_sampler **out, wan_dev *d, const wan_sampler_options *o, int64_t numel)
{
    flow *s = wan_calloc(1, sizeof *s, "sampler");
    if (!s)
        return -1;
    s->base = (wan_sampler){
        .kind = &wan_sampler_flow, .d = d, .steps = o->steps, .numel = numel, .unit = 1
    };
    *out = &s->base;
    if (build(s, o) == 0)
        return 0;
    release(*out);
    free(s);
    *out = NULL;
    return -1;
}

const wan_sampler_kind wan_sampler_flow = {
    .objective = "flow",
    .defaults = { .steps = 50, .guidance = 5, .schedule = "diffusers", .shift = 5 },
    .solvers = { "unipc", "dpm++", "euler", NULL },
    .open = open_flow,
    .free = release,
    .start = start,
    .calls = calls,
    .ask = ask,
    .answer = answer,
    .clean = clean,
    .sigma = sigma,
};
