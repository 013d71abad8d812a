/* SPDX-License-Identifier: Apache-2.0
 *
 * check_optim.c - learning rates worked out by hand, and updates of the optimizer against AdamW
 * written out in double: decay on all or on matrices only, the clip, the bf16 copy, bad gradients.
 */
#include "lib/model/wan/net.h"
#include "lib/train/optim.h"
#include "lib/train/schedule.h"
#include "tests/tap.h"

static void lr(const char *name, wan_schedule s, enum wan_lr_style style, enum wan_wsd_style tail,
               int64_t n, double want)
{
    s.style = style;
    s.wsd = tail;
    ok_err(fabs(wan_schedule_lr(&s, n) - want) / (want > 0 ? want : 1), 1e-12, "%s at %lld", name,
           (long long)n);
}

static void schedules(void)
{
    const wan_schedule s = {
        .init = 0.5, .max = 2, .min = 1, .warmup = 10, .decay = 110, .tail = 40
    };
    lr("warm-up", s, WAN_LR_COSINE, WAN_WSD_LINEAR, 0, 0.5);
    lr("warm-up", s, WAN_LR_CONSTANT, WAN_WSD_LINEAR, 5, 1.25);
    lr("constant", s, WAN_LR_CONSTANT, WAN_WSD_LINEAR, 5000, 2);
    lr("linear", s, WAN_LR_LINEAR, WAN_WSD_LINEAR, 10, 2);
    lr("linear", s, WAN_LR_LINEAR, WAN_WSD_LINEAR, 35, 1.75);
    lr("linear", s, WAN_LR_LINEAR, WAN_WSD_LINEAR, 110, 1);
    lr("cosine", s, WAN_LR_COSINE, WAN_WSD_LINEAR, 60, 1.5);
    lr("cosine", s, WAN_LR_COSINE, WAN_WSD_LINEAR, 35, 1 + 0.5 * (1 + sqrt(0.5)));
    lr("cosine", s, WAN_LR_COSINE, WAN_WSD_LINEAR, 200, 1);
    lr("inverse-square-root", s, WAN_LR_INVERSE_SQRT, WAN_WSD_LINEAR, 40, 1);
    lr("inverse-square-root", s, WAN_LR_INVERSE_SQRT, WAN_WSD_LINEAR, 16, 2 * sqrt(10.0 / 16));
    lr("WSD before its tail", s, WAN_LR_WSD, WAN_WSD_LINEAR, 70, 2);
    lr("WSD linear", s, WAN_LR_WSD, WAN_WSD_LINEAR, 80, 1.75);
    lr("WSD minus_sqrt", s, WAN_LR_WSD, WAN_WSD_MINUS_SQRT, 80, 1.5);
    lr("WSD cosine", s, WAN_LR_WSD, WAN_WSD_COSINE, 90, 1.5);
    lr("WSD exponential", s, WAN_LR_WSD, WAN_WSD_EXPONENTIAL, 90, 1 + 2 * sqrt(0.5) - 1);
    lr("WSD after its end", s, WAN_LR_WSD, WAN_WSD_EXPONENTIAL, 110, 1);
}

typedef struct twin {
    wan_dev *d;
    wan_store *s;
    wan_optim *o;
    double *p, *mo, *v; /* the same in double */
    float *g, *host;
    int64_t n;
} twin;

static int open_twin(twin *t, wan_dtype compute, int no_decay)
{
    const wan_net_config c = { .heads = 2,
                               .head_dim = 8,
                               .layers = 1,
                               .ffn = 24,
                               .in_ch = 4,
                               .out_ch = 4,
                               .text_dim = 8,
                               .text_len = 4,
                               .freq_dim = 8,
                               .patch_h = 2,
                               .patch_w = 2,
                               .eps = 1e-6 };
    wan_arch arch;
    wan_model_arch(&arch, &wan_net_model, &c);
    if (wan_dev_open(&t->d, "cpu", 0) < 0 ||
        wan_model_store(&t->s, t->d, &arch, NULL, compute, 1) < 0 || wan_store_init(t->s, 3) < 0 ||
        wan_optim_new(&t->o, t->s, 0.9, 0.99, 1e-8, no_decay) < 0)
        return -1;
    t->n = t->s->total;
    t->p = calloc((size_t)t->n, sizeof *t->p);
    t->mo = calloc((size_t)t->n, sizeof *t->mo);
    t->v = calloc((size_t)t->n, sizeof *t->v);
    t->g = calloc((size_t)t->n, sizeof *t->g);
    t->host = calloc((size_t)t->n, sizeof *t->host);
    if (wan_dev_read(t->d, t->host, t->s->master, (size_t)t->n * sizeof *t->host) < 0)
        return -1;
    for (int64_t i = 0; i < t->n; i++)
        t->p[i] = t->host[i];
    return 0;
}

static void close_twin(twin *t)
{
    free(t->p);
    free(t->mo);
    free(t->v);
    free(t->g);
    free(t->host);
    wan_optim_free(&t->o);
    wan_store_free(&t->s);
    wan_dev_close(&t->d);
}

/* Where parameter i lies in the flat vector. */
static int64_t place(const twin *t, int i)
{
    return wan_store_master(t->s, i) - t->s->master;
}

static void draw_gradient(twin *t, int step)
{
    for (int i = 0; i < t->s->params.n; i++) {
        wan_rng r = wan_rng_stream(1, WAN_RNG_TEST, (uint64_t)step, (uint64_t)i);
        wan_rng_normal(&r, t->g + place(t, i), 0, (size_t)t->s->item[i].count);
    }
}

/* Textbook AdamW with the clip, on everything or with decay on what GEMMs read only. */
static double by_hand(twin *t, int step, double rate, double decay, double max_norm, int no_decay)
{
    double norm = 0;
    for (int64_t i = 0; i < t->n; i++)
        norm += (double)t->g[i] * t->g[i];
    norm = sqrt(norm);
    double clip = max_norm > 0 && norm > max_norm ? max_norm / norm : 1;
    for (int k = 0; k < t->s->params.n; k++) {
        const wan_param *q = &t->s->params.v[k];
        int matrix = strstr(q->name, "weight") && !strstr(q->name, "norm");
        int64_t from = place(t, k);
        for (int64_t i = from; i < from + q->count; i++) {
            double g = clip * t->g[i];
            t->mo[i] = 0.9 * t->mo[i] + 0.1 * g;
            t->v[i] = 0.99 * t->v[i] + 0.01 * g * g;
            t->p[i] -= rate * (no_decay && !matrix ? 0 : decay) * t->p[i];
            t->p[i] -= rate * (t->mo[i] / (1 - pow(0.9, step))) /
                       (sqrt(t->v[i] / (1 - pow(0.99, step))) + 1e-8);
        }
    }
    return norm;
}

static void updates(const char *name, double max_norm, int no_decay, wan_dtype compute)
{
    twin t = { 0 };
    double worst = 0, start = 0, moved = 0;
    if (!ok(open_twin(&t, compute, no_decay) == 0, "%s: opens", name))
        return;
    for (int64_t i = 0; i < t.n; i++)
        start += t.p[i] * t.p[i];
    for (int step = 1; step <= 10; step++) {
        double norm;
        draw_gradient(&t, step);
        if (wan_dev_write(t.d, t.s->grad, t.g, (size_t)t.n * sizeof *t.g) < 0 ||
            wan_optim_norm(t.o, &norm) < 0 || wan_optim_step(t.o, 1e-2, 0.5, max_norm) < 0) {
            ok(0, "%s: %s", name, wan_err_text());
            return;
        }
        worst = worse(worst, fabs(norm / by_hand(&t, step, 1e-2, 0.5, max_norm, no_decay) - 1));
    }
    ok_err(worst, 1e-6, "%s: gradient norm", name);
    if (wan_dev_read(t.d, t.host, t.s->master, (size_t)t.n * sizeof *t.host) < 0)
        return;
    double e = 0, n = 0;
    for (int64_t i = 0; i < t.n; i++) {
        e += (t.host[i] - t.p[i]) * (t.host[i] - t.p[i]);
        n += t.p[i] * t.p[i];
    }
    moved = fabs(n - start) / start;
    ok_err(sqrt(e / n), 1e-5, "%s: weights after 10 updates (moved %.2g)", name, moved);
    if (compute == WAN_BF16) {
        int same = 1;
        for (int k = 0; k < t.s->params.parts; k++) {
            const wan_part *p = &t.s->part[k];
            for (int64_t i = 0; i < p->gemm; i++)
                same &= t.s->shadow[p->at_gemm + i] == wan_f32_to_bf16(t.host[p->at + i]);
        }
        ok(same, "%s: the bf16 copy is the rounded master", name);
    }
    close_twin(&t);
}

static void bad_gradient(void)
{
    twin t = { 0 };
    double norm = 0;
    if (!ok(open_twin(&t, WAN_F32, 0) == 0, "opens"))
        return;
    draw_gradient(&t, 1);
    int middle = t.s->params.n / 2;
    const wan_param *p = &t.s->params.v[middle];
    t.g[place(&t, middle)] = NAN;
    int rc = wan_dev_write(t.d, t.s->grad, t.g, (size_t)t.n * sizeof *t.g);
    rc |= wan_optim_norm(t.o, &norm);
    int found = wan_optim_find_bad(t.o);
    ok(rc == 0 && !isfinite(norm), "a NaN makes the norm not finite");
    ok(found == middle, "and is found in %s", p->name);
    close_twin(&t);
}

int main(void)
{
    schedules();
    updates("all decay, no clip", 0, 0, WAN_F32);
    updates("all decay, clip 1", 1, 0, WAN_F32);
    updates("all decay, clip above the norm", 1e6, 0, WAN_F32);
    updates("no decay on vectors", 1, 1, WAN_F32);
    updates("bf16", 1, 0, WAN_BF16);
    bad_gradient();
    return tap_done();
}
