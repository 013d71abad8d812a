/* SPDX-License-Identifier: Apache-2.0
 *
 * anymodel.h - what every model of the table must satisfy, in double: each parameter's gradient
 * against central differences, recompute modes, packs against single samples, the one zero text row
 * against all of them, cached against computed context, several micro-batches at once, memory as
 * planned.
 *
 * The model has 2 blocks and TEXT_LEN text rows.
 */
#ifndef WAN_TESTS_ANYMODEL_H
#define WAN_TESTS_ANYMODEL_H

#include "lib/base/rng.h"
#include "tests/must.h"
#include "tests/tap.h"
#include "tests/netrun.h"

enum { N = 3, TEXT_LEN = 9 };

static wan_dev *dev;
/* The model under test. */
static struct {
    const wan_model *model;
    const void *config;
    int64_t in_ch, out_ch, text_dim;
} subject;
static const int64_t grids[N][3] = { { 1, 2, 3 }, { 2, 1, 2 }, { 3, 2, 1 } };
static const int64_t text_len[N] = { 0, 4, TEXT_LEN };
static double times[N];

static void noise(double *v, int64_t n, uint64_t what, double std)
{
    wan_rng r = wan_rng_stream(3, WAN_RNG_TEST, what, 0);
    float *f = malloc((size_t)n * sizeof *f + 4);
    wan_rng_normal(&r, f, 0, (size_t)n);
    for (int64_t i = 0; i < n; i++)
        v[i] = f[i] * std;
    free(f);
}

static double rel(const double *a, const double *b, int64_t n)
{
    double d = 0, s = 0;
    for (int64_t i = 0; i < n; i++) {
        d += (a[i] - b[i]) * (a[i] - b[i]);
        s += b[i] * b[i];
    }
    return s > 0 ? sqrt(d / s) : sqrt(d);
}

/* Every parameter random and of a size that keeps all gates open. */
static void randomise(wan_store *s)
{
    for (int i = 0; i < s->params.n; i++) {
        const wan_param *q = &s->params.v[i];
        double *p = wan_store_master(s, i);
        int matrix = q->rank > 1 && q->role != WAN_ROLE_MODULATION;
        noise(p, q->count, 100 + (uint64_t)i,
              matrix ? 1 / sqrt((double)q->count / (double)q->shape[0]) : 0.4);
        if (q->init == WAN_INIT_ONE)
            for (int64_t j = 0; j < q->count; j++)
                p[j] += 1;
    }
}

typedef struct data {
    wan_micro in;
    int64_t S, rows;
    double *x, *text, *r, *pred; /* r: the loss is <r, pred> */
} data;

/* Samples [first, first+n) of the pack; full: all TEXT_LEN rows are given, zeros included. */
static data make_data(int first, int n, int full)
{
    static int64_t all[N] = { TEXT_LEN, TEXT_LEN, TEXT_LEN };
    data d = { .in = { .n = n,
                       .grid = grids + first,
                       .t = times + first,
                       .text_len = full ? all : text_len + first } };
    int64_t s0 = 0, t0 = 0, S = 0, T = 0, fi = 4 * subject.in_ch, fo = 4 * subject.out_ch;
    for (int i = 0; i < N; i++) {
        int64_t s = grids[i][0] * grids[i][1] * grids[i][2];
        if (i < first) {
            s0 += s;
            t0 += text_len[i];
        }
        S += s;
        T += text_len[i];
        if (i >= first && i < first + n) {
            d.S += s;
            d.rows += d.in.text_len[i - first];
        }
    }
    double *x = malloc((size_t)(S * fi) * 8), *r = malloc((size_t)(S * fo) * 8);
    double *t = malloc((size_t)(T * subject.text_dim) * 8);
    noise(x, S * fi, 1, 1);
    noise(r, S * fo, 2, 1);
    noise(t, T * subject.text_dim, 3, 1);
    d.x = malloc((size_t)(d.S * fi) * 8);
    d.r = malloc((size_t)(d.S * fo) * 8);
    d.pred = malloc((size_t)(d.S * fo) * 8);
    d.text = calloc((size_t)(d.rows + 1) * (size_t)subject.text_dim, 8);
    memcpy(d.x, x + s0 * fi, (size_t)(d.S * fi) * 8);
    memcpy(d.r, r + s0 * fo, (size_t)(d.S * fo) * 8);
    for (int i = first, at = 0; i < first + n; i++) {
        memcpy(d.text + at * subject.text_dim, t + t0 * subject.text_dim,
               (size_t)(text_len[i] * subject.text_dim) * 8);
        t0 += text_len[i];
        at += (int)d.in.text_len[i - first];
    }
    d.in.rows = WAN_RBUF(d.x);
    d.in.text = WAN_RBUF(d.text);
    free(x);
    free(r);
    free(t);
    return d;
}

static void free_data(data *d)
{
    free(d->x);
    free(d->text);
    free(d->r);
    free(d->pred);
}

/* group: blocks that run forward again together. */
static netrun make_grouped(enum wan_recompute mode, int group)
{
    netrun m;
    wan_capacity cap = { .tokens = 40,
                         .samples = N,
                         .text_rows = N * TEXT_LEN,
                         .recompute = mode,
                         .recompute_group = group };
    MUST(netrun_open_model(&m, dev, subject.model, subject.config, WAN_REAL, 1, &cap));
    randomise(m.s);
    return m;
}

static netrun make_model(enum wan_recompute mode)
{
    return make_grouped(mode, 0);
}

static double loss(netrun *m, data *d)
{
    double sum = 0;
    MUST(netrun_forward(m, &d->in, NULL, d->pred));
    for (int64_t i = 0; i < d->S * 4 * subject.out_ch; i++)
        sum += d->r[i] * d->pred[i];
    return sum;
}

static void gradient(netrun *m, data *d)
{
    loss(m, d);
    MUST(netrun_backward(m, d->r, NULL));
}

/* Slope of the loss along a random direction of p [n], against <g, direction>. */
static double slope_error(netrun *m, data *d, double *p, const double *g, int64_t n)
{
    const double h = 1e-5;
    double *dir = malloc((size_t)n * 8), *keep = malloc((size_t)n * 8);
    double want = 0, size = 0, up, down;
    noise(dir, n, 50, 1);
    memcpy(keep, p, (size_t)n * 8);
    for (int64_t i = 0; i < n; i++) {
        want += g[i] * dir[i];
        size += g[i] * g[i];
        p[i] = keep[i] + h * dir[i];
    }
    up = loss(m, d);
    for (int64_t i = 0; i < n; i++)
        p[i] = keep[i] - h * dir[i];
    down = loss(m, d);
    memcpy(p, keep, (size_t)n * 8);
    free(dir);
    free(keep);
    return fabs((up - down) / (2 * h) - want) / sqrt(size);
}

static void check_slopes(void)
{
    netrun m = make_model(WAN_RECOMPUTE_NONE);
    data d = make_data(0, N, 0);
    double *gx = malloc((size_t)d.S * 4 * (size_t)subject.in_ch * 8);
    gradient(&m, &d);
    MUST(netrun_input_grad(&m, gx));
    ok_err(slope_error(&m, &d, d.x, gx, d.S * 4 * subject.in_ch), 1e-7, "slope of the input");
    double worst = 0;
    for (int i = 0; i < m.s->params.n; i++) {
        const wan_param *q = &m.s->params.v[i];
        double e = slope_error(&m, &d, wan_store_master(m.s, i), wan_store_g(m.s, i), q->count);
        if (!(e <= 1e-7))
            ok_err(e, 1e-7, "slope of %s", q->name);
        worst = e > worst ? e : worst;
    }
    ok_err(worst, 1e-7, "slopes of all %d parameters", m.s->params.n);
    free(gx);
    free_data(&d);
    netrun_close(&m);
}

static void check_recompute(void)
{
    static const char *const name[] = { "none", "selective", "full", "full, both together" };
    data d = make_data(0, N, 0);
    netrun m[4];
    for (int i = 0; i < 4; i++) {
        m[i] = make_grouped(i < 3 ? (enum wan_recompute)i : WAN_RECOMPUTE_FULL, i < 3 ? 0 : 2);
        size_t before;
        gradient(&m[i], &d);
        MUST(wan_store_zero_grad(m[i].s));
        before = dev->allocated;
        gradient(&m[i], &d);
        ok(dev->allocated == before, "recompute %s: a step allocates nothing", name[i]);
        if (i)
            ok(!memcmp(m[i].s->grad, m[0].s->grad, (size_t)m[0].s->total * 8),
               "recompute %s: gradients identical", name[i]);
    }
    for (int i = 0; i < 4; i++)
        netrun_close(&m[i]);
    free_data(&d);
}

/* One zero row weighted log(m) is the same as m zero rows. */
static void check_text(void)
{
    netrun a = make_model(WAN_RECOMPUTE_NONE), b = make_model(WAN_RECOMPUTE_NONE);
    data d = make_data(0, N, 0), full = make_data(0, N, 1);
    gradient(&a, &d);
    gradient(&b, &full);
    ok_err(rel(d.pred, full.pred, d.S * 4 * subject.out_ch), 1e-12,
           "one zero text row: prediction");
    double worst = 0;
    for (int i = 0; i < a.s->params.n; i++) {
        double e = rel(wan_store_g(a.s, i), wan_store_g(b.s, i), a.s->item[i].count);
        worst = e > worst ? e : worst;
    }
    ok_err(worst, 1e-11, "one zero text row: gradients");
    netrun_close(&a);
    netrun_close(&b);
    free_data(&d);
    free_data(&full);
}

static void check_pack(void)
{
    netrun a = make_model(WAN_RECOMPUTE_NONE), b = make_model(WAN_RECOMPUTE_NONE);
    data d = make_data(0, N, 0);
    double worst = 0;
    const double *at = d.pred;
    gradient(&a, &d);
    for (int i = 0; i < N; i++) {
        data one = make_data(i, 1, 0);
        gradient(&b, &one);
        double e = rel(one.pred, at, one.S * 4 * subject.out_ch);
        worst = e > worst ? e : worst;
        at += one.S * 4 * subject.out_ch;
        free_data(&one);
    }
    ok_err(worst, 1e-12, "a pack predicts what its samples predict alone");
    ok_err(rel(a.s->grad, b.s->grad, a.s->total), 1e-12, "a pack's gradient is the sum of theirs");
    netrun_close(&a);
    netrun_close(&b);
    free_data(&d);
}

/* Two micro-batches alive at once, backward in the other order, in one shared work space. */
static void check_alive(enum wan_recompute mode, int group)
{
    netrun a = make_grouped(mode, group), b = make_grouped(mode, group);
    data one = make_data(0, 1, 0), two = make_data(1, 2, 0);
    wan_acts_options o = { .compute = WAN_REAL, .train = 1, .cap = b.a->cap };
    wan_acts *second;
    gradient(&a, &two);
    gradient(&a, &one);
    MUST(wan_model_acts(&second, dev, &b.arch, &o, b.a));
    netrun c = b;
    c.a = second;
    loss(&b, &one);
    loss(&c, &two);
    MUST(netrun_backward(&c, two.r, NULL));
    MUST(netrun_backward(&b, one.r, NULL));
    ok_err(rel(b.s->grad, a.s->grad, a.s->total), 1e-15,
           "two micro-batches at once: the gradient of one after the other%s",
           group ? ", recomputed together" : "");
    wan_model_acts_free(&second);
    netrun_close(&a);
    netrun_close(&b);
    free_data(&one);
    free_data(&two);
}

static void check_context(void)
{
    data d = make_data(0, N, 0);
    netrun a = make_model(WAN_RECOMPUTE_NONE), m;
    wan_capacity cap = { .tokens = 40, .samples = N, .text_rows = N * TEXT_LEN };
    double *pred = malloc((size_t)d.S * 4 * (size_t)subject.out_ch * 8);
    wan_context *c;
    loss(&a, &d);
    MUST(netrun_open_model(&m, dev, subject.model, subject.config, WAN_REAL, 0, &cap));
    randomise(m.s);
    MUST(netrun_forward(&m, &d.in, NULL, pred));
    ok_err(rel(pred, d.pred, d.S * 4 * subject.out_ch), 1e-14, "forward without training");
    MUST(wan_model_context(&c, m.a, m.s, d.in.text, d.in.text_len, N));
    for (int twice = 0; twice < 2; twice++) {
        memset(pred, 0, (size_t)d.S * 4 * (size_t)subject.out_ch * 8);
        MUST(netrun_forward(&m, &d.in, c, pred));
    }
    ok_err(rel(pred, d.pred, d.S * 4 * subject.out_ch), 1e-14, "forward with cached context");
    wan_model_context_free(m.arch.model, &c);
    netrun_close(&m);
    netrun_close(&a);
    free(pred);
    free_data(&d);
}

/* Blocks of a stage alone: parts in two calls are parts in one. */
static void check_range(void)
{
    netrun a = make_model(WAN_RECOMPUTE_NONE), b = make_model(WAN_RECOMPUTE_NONE);
    data d = make_data(0, N, 0);
    gradient(&a, &d);
    MUST(wan_model_fill(b.a, &d.in, NULL));
    b.a->pred = d.pred;
    b.a->dpred = WAN_RBUF(d.r);
    MUST(wan_model_forward(b.a, b.s, 0, 2, NULL));
    MUST(wan_model_forward(b.a, b.s, 2, b.z.parts, NULL));
    MUST(wan_model_backward(b.a, b.s, 0, b.z.parts, NULL));
    ok(!memcmp(a.s->grad, b.s->grad, (size_t)a.s->total * 8), "a range of parts, then the rest");
    netrun_close(&a);
    netrun_close(&b);
    free_data(&d);
}

/* What lies in the memory of gradients that are zero: any numbers would. */
static void spoil(wan_store *s)
{
    for (int i = 0; i < s->params.n; i++)
        for (int64_t k = 0; k < s->item[i].count; k++)
            wan_store_g(s, i)[k] = NAN;
}

static void check_overwritten(int eight)
{
    netrun a = make_model(WAN_RECOMPUTE_NONE), b = make_model(WAN_RECOMPUTE_NONE);
    data d = make_data(0, N, 0);
    a.s->eight = b.s->eight = eight;
    MUST(wan_store_zero_grad(b.s));
    spoil(b.s);
    for (int n = 1; n <= 2; n++) {
        gradient(&a, &d);
        gradient(&b, &d);
        ok(!memcmp(a.s->grad, b.s->grad, (size_t)a.s->total * 8),
           "%d micro-batches%s: the gradient does not know what was there", n,
           eight ? ", in eight bits" : "");
    }
    netrun_close(&a);
    netrun_close(&b);
    free_data(&d);
}

static int hits[18];
static int count_hits(void *arg, int part)
{
    int *at = arg;
    hits[(*at)++] = part;
    return 0;
}

static void check_hooks(netrun *m, data *d)
{
    int at = 0;
    wan_hooks h = { .arg = &at,
                    .before = count_hits,
                    .after = count_hits,
                    .back_before = count_hits,
                    .back_after = count_hits,
                    .again = count_hits };
    MUST(wan_model_fill(m->a, &d->in, NULL));
    m->a->pred = d->pred;
    MUST(wan_model_forward(m->a, m->s, 0, m->z.parts, &h));
    MUST(netrun_backward(m, d->r, &h));
    static const int want[] = { 0, 0, 1, 1, 2, 2, 3, 3, 3, 3, 2, 2, 1, 1, 0, 0 };
    static const int both[] = { 0, 0, 1, 1, 2, 2, 3, 3, 3, 3, 1, 2, 2, 2, 1, 1, 0, 0 };
    const int grouped = m->a->cap.recompute_group > 1;
    ok(at == (grouped ? 18 : 16) &&
           !memcmp(hits, grouped ? both : want, grouped ? sizeof both : sizeof want),
       "hooks: before and after every part, backward from the head%s",
       grouped ? ", blocks again together" : "");
}

static void check_calls(void)
{
    netrun m = make_model(WAN_RECOMPUTE_FULL), both = make_grouped(WAN_RECOMPUTE_FULL, 2);
    data d = make_data(0, N, 0);
    check_hooks(&both, &d);
    ok(wan_model_back_begin(both.a) == 0 &&
           wan_model_back_parts(both.a, both.s, 2, both.z.parts, NULL) < 0 &&
           strstr(wan_err_text(), "middle of a group"),
       "a backward from the middle of a group: refused");
    netrun_close(&both);
    check_hooks(&m, &d);
    int64_t big[1][3] = { { 1, 2, 1025 } };
    wan_micro in = d.in;
    in.n = 1;
    in.grid = (const int64_t(*)[3])big;
    int rc = netrun_forward(&m, &in, NULL, d.pred);
    ok(rc < 0 && strstr(wan_err_text(), "1x2x1025"), "a grid beyond the positions is refused: %s",
       wan_err_text());
    ok(netrun_backward(&m, d.r, NULL) < 0, "backward after a failed forward: refused");
    wan_acts_options o = { .compute = WAN_REAL, .train = 1, .cap = m.a->cap };
    wan_store_bytes weights;
    wan_acts_bytes acts;
    int64_t length;
    size_t before = dev->allocated;
    MUST(wan_store_plan(&weights, &length, &m.s->params, NULL, WAN_REAL, 1));
    MUST(wan_model_acts_plan(&acts, &m.arch, &o));
    ok(length == m.s->total, "planned length of the flat vector");
    netrun_close(&m);
    int64_t planned = weights.weights + weights.grads + acts.kept + acts.work;
    int64_t real = (int64_t)(before - dev->allocated);
    ok(real >= planned && real < planned + 4096, "planned %lld bytes, taken %lld",
       (long long)planned, (long long)real);
    free_data(&d);
}

/* All of it; times: what conditions the three samples. */
static void anymodel(const wan_model *model, const void *config, int64_t in_ch, int64_t out_ch,
                     int64_t text_dim, const double t[N])
{
    subject.model = model;
    subject.config = config;
    subject.in_ch = in_ch;
    subject.out_ch = out_ch;
    subject.text_dim = text_dim;
    memcpy(times, t, sizeof times);
    MUST(wan_dev_open(&dev, "ref", 0));
    check_slopes();
    check_recompute();
    check_text();
    check_pack();
    check_alive(WAN_RECOMPUTE_SELECTIVE, 0);
    check_alive(WAN_RECOMPUTE_FULL, 2);
    check_range();
    check_overwritten(0);
    check_overwritten(1);
    check_context();
    check_calls();
    wan_dev_close(&dev);
}

#endif
