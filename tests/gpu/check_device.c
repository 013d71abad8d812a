/* SPDX-License-Identifier: Apache-2.0
 *
 * check_device.c - a small transformer on the device under test (WAN_CHECK_DEVICE, "cpu" when
 * unset) against the reference provider: losses, predictions, every gradient, in fp32 and bf16; and
 * 50 training steps twice with the same bytes.  Needs nothing but the kernels, the model and the
 * step.
 */
#include "lib/model/flow.h"
#include "lib/model/wan/net.h"
#include "lib/train/optim.h"
#include "lib/train/step.h"
#include "tests/tap.h"

/* fp32: orders of summation differ.  bf16: both sides round operands and hidden rows to 8 bits, but
 * not always the same intermediate. */
#define BOUND_F32 1e-4
#define BOUND_BF16 0.01
#define BOUND_BF16_LOSS 0.002

static int steps = 50;

enum { SAMPLES = 3, CHANNELS = 16 };

static void must(int rc)
{
    if (rc < 0) {
        printf("Bail out! %s\n", wan_err_text());
        exit(1);
    }
}

typedef struct batch {
    wan_step_sample v[SAMPLES];
    float *x0[SAMPLES], *text[SAMPLES];
    int64_t tokens, rows;
} batch;

static float *normal(uint64_t key, int64_t n, double sd)
{
    float *x = malloc((size_t)n * sizeof *x + 4);
    wan_rng r = wan_rng_stream(key, WAN_RNG_TEST, 1, 0);
    wan_rng_normal(&r, x, 0, (size_t)n);
    for (int64_t i = 0; i < n; i++)
        x[i] *= (float)sd;
    return x;
}

/* Three samples of unlike sizes; the last has no caption. */
static const wan_flow flow = { .shift = 3 };

static batch batch_new(int text_dim, int small)
{
    static const int64_t size[2][SAMPLES][3] = { { { 2, 8, 12 }, { 1, 6, 10 }, { 3, 4, 8 } },
                                                 { { 1, 4, 6 }, { 2, 4, 2 }, { 1, 2, 8 } } };
    static const int64_t rows[SAMPLES] = { 5, 3, 0 };
    batch b = { .tokens = 0 };
    for (int i = 0; i < SAMPLES; i++) {
        const int64_t *g = size[small][i], n = CHANNELS * g[0] * g[1] * g[2];
        b.x0[i] = normal(100 + (uint64_t)i, n, 1);
        b.text[i] = normal(200 + (uint64_t)i, rows[i] * text_dim, 1);
        b.v[i] = (wan_step_sample){
            .latent = { CHANNELS, g[0], g[1], g[2] },
            .x0 = b.x0[i],
            .text = b.text[i],
            .text_rows = rows[i],
            .stream = wan_rng_stream(7, WAN_RNG_NOISE, 0, (uint64_t)i),
            .draw = wan_flow_objective.at_sigma(&flow, 0.2f + 0.3f * (float)i),
            .coef = 1.0 / SAMPLES,
        };
        b.tokens += g[0] * g[1] * g[2] / 4;
        b.rows += rows[i] + 1;
    }
    return b;
}

static void batch_free(batch *b)
{
    for (int i = 0; i < SAMPLES; i++) {
        free(b->x0[i]);
        free(b->text[i]);
    }
}

typedef struct run {
    wan_dev *d;
    wan_store *m;
    wan_step *s;
} run;

/* The published initialisation leaves the head at zero, which would hide everything behind it: all
 * parameters are moved by a little noise. */
static run run_open(const char *device, const wan_net_config *c, wan_dtype compute, const batch *b,
                    enum wan_recompute recompute)
{
    run r = { NULL, NULL, NULL };
    wan_capacity cap = {
        .tokens = b->tokens, .samples = SAMPLES, .text_rows = b->rows, .recompute = recompute
    };
    must(wan_dev_open(&r.d, device, 0));
    wan_arch arch;
    wan_model_arch(&arch, &wan_net_model, c);
    must(wan_model_store(&r.m, r.d, &arch, NULL, compute, 1));
    must(wan_store_init(r.m, 3));
    for (int i = 0; i < r.m->params.n; i++) {
        int64_t n = r.m->params.v[i].count;
        float *p = malloc((size_t)n * sizeof *p), *e = normal(1000 + (uint64_t)i, n, 0.05);
        must(wan_store_get(r.m, i, p));
        for (int64_t k = 0; k < n; k++)
            p[k] += e[k];
        must(wan_store_put(r.m, i, p));
        free(p);
        free(e);
    }
    must(wan_step_new(&r.s, r.d, &arch, r.m, &cap, SAMPLES));
    return r;
}

static void run_close(run *r)
{
    wan_step_free(&r->s);
    wan_store_free(&r->m);
    wan_dev_close(&r->d);
}

static void run_once(run *r, const batch *b, float *loss, float *pred)
{
    must(wan_store_zero_grad(r->m));
    must(wan_step_run(r->s, b->v, SAMPLES, 0, 1, NULL));
    must(wan_step_losses(r->s, loss, SAMPLES));
    for (int64_t i = 0, row = 0; i < SAMPLES; i++) {
        const int64_t *l = b->v[i].latent, tokens = l[1] * l[2] * l[3] / 4;
        must(wan_step_pred(r->s, pred + row * 4 * CHANNELS, l, row));
        row += tokens;
    }
}

/* Worst relative error of any gradient tensor; *all: of all of them as one vector.  A tensor whose
 * gradient is smaller per element than a fifth of all (a key bias moves all scores of a query
 * alike, so its gradient is what is left of rounding) is measured against that fifth. */
static double grads_differ(const run *a, const run *b, double *all, const char **worst)
{
    double top = 0, diff = 0, size = 0, floor_rms = 0;
    for (int i = 0; i < a->m->params.n; i++) {
        size_t n = (size_t)a->m->params.v[i].count;
        float *y = malloc(n * sizeof *y);
        must(wan_store_get_grad(b->m, i, y));
        for (size_t k = 0; k < n; k++)
            floor_rms += (double)y[k] * y[k];
        free(y);
    }
    floor_rms = 0.2 * sqrt(floor_rms / (double)a->m->params.count);
    for (int i = 0; i < a->m->params.n; i++) {
        size_t n = (size_t)a->m->params.v[i].count;
        float *x = malloc(n * sizeof *x), *y = malloc(n * sizeof *y);
        must(wan_store_get_grad(a->m, i, x));
        must(wan_store_get_grad(b->m, i, y));
        double dd = 0, ss = 0;
        for (size_t k = 0; k < n; k++) {
            dd += ((double)x[k] - y[k]) * ((double)x[k] - y[k]);
            ss += (double)y[k] * y[k];
        }
        diff += dd;
        size += ss;
        double least = floor_rms * sqrt((double)n), e = sqrt(dd) / fmax(sqrt(ss), least);
        if (e > top || e != e) {
            top = e;
            *worst = a->m->params.v[i].name;
        }
        free(x);
        free(y);
    }
    *all = sqrt(diff / size);
    return top;
}

static void compare(const char *device, const wan_net_config *c, wan_dtype compute,
                    enum wan_recompute recompute, int small)
{
    batch b = batch_new(c->text_dim, small);
    run r[2] = { run_open(device, c, compute, &b, recompute),
                 run_open("ref", c, compute, &b, WAN_RECOMPUTE_NONE) };
    float loss[2][SAMPLES], *pred[2];
    const char *worst = "", *type = compute == WAN_BF16 ? "bf16" : "fp32";
    double bound = compute == WAN_BF16 ? BOUND_BF16 : BOUND_F32, all;
    for (int i = 0; i < 2; i++) {
        pred[i] = malloc((size_t)(b.tokens * 4 * CHANNELS) * sizeof(float));
        run_once(&r[i], &b, loss[i], pred[i]);
    }
    ok_err(rel_l2(pred[0], pred[1], (size_t)(b.tokens * 4 * CHANNELS)), bound,
           "%s heads %d x %d, recompute %d: prediction", type, c->heads, c->head_dim, recompute);
    ok_err(rel_l2(loss[0], loss[1], SAMPLES), compute == WAN_BF16 ? BOUND_BF16_LOSS : BOUND_F32,
           "  losses");
    double top = grads_differ(&r[0], &r[1], &all, &worst);
    ok_err(all, bound, "  all gradients");
    ok_err(top, compute == WAN_BF16 ? 10 * bound : bound, "  worst gradient (%s)", worst);
    for (int i = 0; i < 2; i++) {
        run_close(&r[i]);
        free(pred[i]);
    }
    batch_free(&b);
}

/* Trains from the same start; returns the masters (malloc). */
static float *train(const char *device, const wan_net_config *c, wan_dtype compute, double *first,
                    double *last)
{
    batch b = batch_new(c->text_dim, 1);
    run r = run_open(device, c, compute, &b, WAN_RECOMPUTE_FULL);
    wan_optim *o;
    float loss[SAMPLES];
    double norm;
    must(wan_optim_new(&o, r.m, 0.9, 0.95, 1e-8, 1));
    for (int k = 0; k < steps; k++) {
        for (int i = 0; i < SAMPLES; i++)
            b.v[i].stream = wan_rng_stream(7, WAN_RNG_NOISE, (uint64_t)k % 4, (uint64_t)i);
        must(wan_store_zero_grad(r.m));
        must(wan_step_run(r.s, b.v, SAMPLES, 0, 1, NULL));
        must(wan_step_losses(r.s, loss, SAMPLES));
        must(wan_optim_norm(o, &norm));
        must(wan_optim_step(o, 2e-3, 0.01, 1.0));
        *last = (loss[0] + loss[1] + loss[2]) / 3;
        if (k == 0)
            *first = *last;
    }
    float *p = malloc((size_t)r.m->total * sizeof *p);
    must(wan_dev_read(r.d, p, r.m->master, (size_t)r.m->total * sizeof *p));
    wan_optim_free(&o);
    run_close(&r);
    batch_free(&b);
    return p;
}

static void twice(const char *device, const wan_net_config *c, wan_dtype compute)
{
    wan_params ps;
    double first, last, again;
    wan_store_bytes bytes;
    int64_t total;
    must(wan_net_params(&ps, c));
    must(wan_store_plan(&bytes, &total, &ps, NULL, compute, 1));
    float *a = train(device, c, compute, &first, &last);
    float *b = train(device, c, compute, &first, &again);
    const char *type = compute == WAN_BF16 ? "bf16" : "fp32";
    ok(!memcmp(a, b, (size_t)total * sizeof *a) && last == again,
       "%s: %d steps twice give the same bytes", type, steps);
    ok(last < 0.8 * first, "%s: the loss falls: %.4f to %.4f", type, first, last);
    free(a);
    free(b);
    wan_params_free(&ps);
}

/* Steps of two micro-batches of the same shape: the first overwrites gradients, the second adds to them, and so do
 * their recordings, which take turns. */
static void recorded(const char *device, const wan_net_config *c)
{
    batch b = batch_new(c->text_dim, 1);
    run r[2] = { run_open(device, c, WAN_BF16, &b, WAN_RECOMPUTE_NONE),
                 run_open(device, c, WAN_BF16, &b, WAN_RECOMPUTE_NONE) };
    const size_t bytes = (size_t)r[0].m->total * sizeof(float);
    char *grad[2] = { malloc(bytes), malloc(bytes) };
    int same = 1;
    must(wan_step_record(r[1].s));
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < 2; i++) {
            must(wan_store_zero_grad(r[i].m));
            must(wan_step_run(r[i].s, b.v, SAMPLES, 0, 1, NULL));
            must(wan_step_run(r[i].s, b.v, SAMPLES, 0, 1, NULL));
            must(wan_dev_read(r[i].d, grad[i], r[i].m->grad, bytes));
        }
        same &= !memcmp(grad[0], grad[1], bytes);
    }
    ok(same, "two micro-batches a step, %lld parts from recordings: the same gradients",
       (long long)wan_step_replays(r[1].s));
    for (int i = 0; i < 2; i++) {
        run_close(&r[i]);
        free(grad[i]);
    }
    batch_free(&b);
}

int main(void)
{
    const char *device = getenv("WAN_CHECK_DEVICE");
    const wan_net_config tiny = { 2, 32, 2, 96, 16, 16, 24, 16, 64, 2, 2, 1e-6 };
    const wan_net_config wide = { 2, 128, 2, 512, 16, 16, 64, 16, 64, 2, 2, 1e-6 };
    wan_dev *d;
    char text[256];
    int small = getenv("WAN_CHECK_SMALL") != NULL; /* on the emulated device */
    steps = small ? 15 : steps;
    device = device && *device ? device : "cpu";
    if (wan_dev_open(&d, device, 0) < 0) {
        tap_skip("training on a device", wan_err_text());
        return tap_done();
    }
    must(d->backend->describe(d, text, sizeof text));
    printf("# %s: %s\n", device, text);
    wan_dev_close(&d);
    compare(device, &tiny, WAN_F32, WAN_RECOMPUTE_NONE, small);
    compare(device, &tiny, WAN_F32, WAN_RECOMPUTE_FULL, small);
    compare(device, &tiny, WAN_BF16, WAN_RECOMPUTE_SELECTIVE, small);
    if (!small) {
        compare(device, &wide, WAN_F32, WAN_RECOMPUTE_FULL, 0);
        compare(device, &wide, WAN_BF16, WAN_RECOMPUTE_FULL, 0);
    }
    twice(device, &tiny, WAN_F32);
    twice(device, &tiny, WAN_BF16);
    recorded(device, &tiny);
    return tap_done();
}
