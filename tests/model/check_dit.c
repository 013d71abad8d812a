/* SPDX-License-Identifier: Apache-2.0
 *
 * check_dit.c - the DiT under EDM against PyTorch in float32 (every dit_* of WAN_REF that is a case of
 * one step; tests/reference/ref_dit.py): prediction, loss, every gradient; bf16, recompute, initial
 * weights; on every CPU provider.
 */
#include "lib/model/dit/dit.h"
#include "lib/model/edm.h"
#include "lib/model/files/modelio.h"
#include "lib/train/step.h"
#include "tests/refs.h"
#include "tests/must.h"
#include "tests/tap.h"

/* Gradients: 1e-4 per tensor, but never less than 8 times the reference's own float32 error, which
 * case.json states. */
#define BOUND_FORWARD 1e-5
#define BOUND_GRAD 1e-4
/* 8 bits of mantissa in the operands */
#define BOUND_BF16 0.005

enum { MAX_N = 4 };

typedef struct refcase {
    char dir[512];
    wan_arch arch;
    wan_st *in, *out;
    json_t *json;
    int n;
    int64_t tokens, rows;
    wan_step_sample v[MAX_N];
} refcase;

static char *in_case(const refcase *k, const char *name)
{
    static char path[640];
    snprintf(path, sizeof path, "%s/%s", k->dir, name);
    return path;
}

static float *tensor(wan_st *st, const char *name, int64_t shape[4])
{
    wan_st_tensor *t = wan_st_find(st, name);
    if (!t)
        return NULL;
    float *v = malloc((size_t)t->count * sizeof *v + 4);
    MUST(wan_st_load(st, name, t->shape, t->rank, v, WAN_F32));
    if (shape)
        memcpy(shape, t->shape, (size_t)t->rank * sizeof *shape);
    return v;
}

static float *numbered(wan_st *st, const char *name, int i, int64_t shape[4])
{
    char full[32];
    snprintf(full, sizeof full, "%s.%d", name, i);
    return tensor(st, full, shape);
}

static int open_case(refcase *k, const char *dir)
{
    static const wan_edm edm = { .std = 1 };
    *k = (refcase){ 0 };
    snprintf(k->dir, sizeof k->dir, "%s", dir);
    if (!(k->json = wan_json_load(in_case(k, "case.json"))))
        must_die();
    k->n = (int)json_integer_value(json_object_get(k->json, "samples"));
    if (!k->n)
        return 0;
    MUST(wan_modelio_config(&k->arch, in_case(k, "transformer")));
    MUST(wan_st_open(&k->in, in_case(k, "in.safetensors")));
    MUST(wan_st_open(&k->out, in_case(k, "out.safetensors")));
    float *sigma = tensor(k->in, "sigma", NULL);
    for (int i = 0; i < k->n; i++) {
        wan_step_sample *s = &k->v[i];
        int64_t text[4];
        s->x0 = numbered(k->in, "x0", i, s->latent);
        s->noise = numbered(k->in, "noise", i, NULL);
        s->text = numbered(k->in, "text", i, text);
        s->text_rows = text[0];
        s->draw = wan_edm_objective.at_sigma(&edm, sigma[i]);
        s->coef = s->draw.weight / k->n;
        k->tokens += s->latent[1] * s->latent[2] * s->latent[3] / 4;
        k->rows += text[0] + 1;
    }
    free(sigma);
    ok(k->arch.model == &wan_dit_model, "%s is a DiT", dir);
    return 1;
}

static void close_case(refcase *k)
{
    for (int i = 0; i < k->n; i++) {
        free((void *)(uintptr_t)k->v[i].x0);
        free((void *)(uintptr_t)k->v[i].noise);
        free((void *)(uintptr_t)k->v[i].text);
    }
    if (k->n) {
        wan_st_close(&k->in);
        wan_st_close(&k->out);
    }
    json_decref(k->json);
}

/* The model of a case after one step. */
typedef struct stepped {
    wan_dev *d;
    wan_store *store;
    wan_step *step;
    float loss[MAX_N];
} stepped;

static stepped run(const refcase *k, wan_dev *d, wan_dtype compute, enum wan_recompute mode)
{
    stepped s = { .d = d };
    const wan_capacity cap = {
        .tokens = k->tokens, .samples = k->n, .text_rows = k->rows, .recompute = mode
    };
    MUST(wan_model_store(&s.store, d, &k->arch, NULL, compute, 1));
    MUST(wan_modelio_load(s.store, in_case(k, "transformer")));
    MUST(wan_step_new(&s.step, d, &k->arch, s.store, &cap, k->n));
    MUST(wan_store_zero_grad(s.store));
    MUST(wan_step_run(s.step, k->v, k->n, 0, 1, NULL));
    MUST(wan_step_losses(s.step, s.loss, k->n));
    return s;
}

static void stop(stepped *s)
{
    wan_step_free(&s->step);
    wan_store_free(&s->store);
}

/* The answer for sample i, whose first row is *row. */
static float *answer(const refcase *k, const stepped *s, int i, int64_t *row)
{
    const int64_t *l = k->v[i].latent;
    float *v = malloc((size_t)(l[0] * l[1] * l[2] * l[3]) * sizeof *v);
    MUST(wan_step_pred(s->step, v, l, *row));
    *row += l[1] * l[2] * l[3] / 4;
    return v;
}

static size_t elements(const refcase *k, int i)
{
    const int64_t *l = k->v[i].latent;
    return (size_t)(l[0] * l[1] * l[2] * l[3]);
}

static double own_error(const refcase *k, const char *key)
{
    json_t *o = json_object_get(k->json, "rel_l2_float32_from_float64");
    return json_number_value(json_object_get(o, key));
}

static void check_grads(const refcase *k, const stepped *s, const char *device)
{
    double worst = 0;
    int compared = 0;
    for (int i = 0; i < s->store->params.n; i++) {
        const wan_param *q = &s->store->params.v[i];
        char name[128];
        snprintf(name, sizeof name, "grad.%s", q->name);
        float *want = tensor(k->out, name, NULL), *have = malloc((size_t)q->count * 4);
        MUST(wan_store_get_grad(s->store, i, have));
        if (want) {
            double e = rel_l2(have, want, (size_t)q->count), floor = 8 * own_error(k, name);
            double bound = floor > BOUND_GRAD ? floor : BOUND_GRAD;
            compared++;
            if (!(e <= bound))
                ok_err(e, bound, "%s %s: %s", k->dir, device, name);
            worst = worse(worst, e);
        }
        free(want);
        free(have);
    }
    ok(compared > 20 && worst < BOUND_GRAD, "%s %s: %d of %d gradients compared, worst %.2g",
       k->dir, device, compared, s->store->params.n, worst);
}

static void check_case(const refcase *k, wan_dev *d, const char *device)
{
    stepped s = run(k, d, WAN_F32, WAN_RECOMPUTE_NONE);
    float *want = tensor(k->out, "loss", NULL);
    double loss = 0;
    int64_t row = 0;
    for (int i = 0; i < k->n; i++) {
        float *have = answer(k, &s, i, &row), *pred = numbered(k->out, "pred", i, NULL);
        ok_err(rel_l2(have, pred, elements(k, i)), BOUND_FORWARD, "%s %s: pred.%d", k->dir, device,
               i);
        loss += k->v[i].coef * (double)s.loss[i];
        free(have);
        free(pred);
    }
    ok_err(fabs(loss / (double)*want - 1), 1e-5, "%s %s: loss", k->dir, device);
    check_grads(k, &s, device);
    free(want);
    stop(&s);
}

/* Distance of the gradients of two models. */
static double grad_error(const stepped *a, const stepped *b)
{
    size_t n = (size_t)a->store->total;
    float *x = malloc(n * 4), *y = malloc(n * 4);
    MUST(wan_dev_read(a->d, x, a->store->grad, n * 4));
    MUST(wan_dev_read(b->d, y, b->store->grad, n * 4));
    double e = rel_l2(x, y, n);
    free(x);
    free(y);
    return e;
}

/* bf16 operands against our own float32; recompute in bf16: `selective` applies GELU to the stored
 * value, which a fused kernel may have had in float. */
static void check_bf16(const refcase *k, wan_dev *d, const char *device)
{
    static const char *const modes[] = { "none", "selective", "full" };
    stepped whole = run(k, d, WAN_F32, WAN_RECOMPUTE_NONE), s[3];
    for (int i = 0; i < 3; i++) {
        s[i] = run(k, d, WAN_BF16, (enum wan_recompute)i);
        if (i)
            ok_err(grad_error(&s[i], &s[0]), i == 1 ? 3e-3 : 0,
                   "%s bf16 %s: gradient under recompute %s", k->dir, device, modes[i]);
    }
    int64_t r0 = 0, r1 = 0;
    float *a = answer(k, &whole, 0, &r0), *b = answer(k, &s[0], 0, &r1);
    ok_err(rel_l2(b, a, elements(k, 0)), BOUND_BF16, "%s bf16 %s: prediction", k->dir, device);
    ok(rel_l2(b, a, elements(k, 0)) > 1e-5, "%s bf16 %s: is not float32", k->dir, device);
    ok_err(grad_error(&s[0], &whole), BOUND_BF16, "%s bf16 %s: gradient", k->dir, device);
    free(a);
    free(b);
    for (int i = 0; i < 3; i++)
        stop(&s[i]);
    stop(&whole);
}

/* DFM's initialisation: sizes of the entries. */
static const struct {
    const char *name;
    double rms;
} init_sizes[] = {
    { "x_embedder.weight", 0.07217 },            /* 1/sqrt(64) / sqrt(3) */
    { "x_embedder.bias", 0.07217 },              /* the same */
    { "t_embedder.linear_1.weight", 0.05103 },   /* 1/sqrt(128) / sqrt(3) */
    { "fps_embedder.linear_2.weight", 0.10206 }, /* 1/sqrt(32) / sqrt(3) */
    { "blocks.0.attn1.to_q.weight", 0.02 },
    { "blocks.1.attn1.to_out.weight", 0.01 },
    { "blocks.1.mlp.linear_2.weight", 0.01 },
    { "blocks.0.adaln.linear_1.weight", 0.05103 },
    { "blocks.0.adaln.linear_2.weight", 0 },
    { "blocks.0.attn2.norm_k.weight", 1 },
    { "proj_out.weight", 0.05103 },
};

static void check_init(wan_dev *d)
{
    static const wan_dit_config c = { .heads = 4,
                                      .head_dim = 32,
                                      .layers = 2,
                                      .ffn = 96,
                                      .in_ch = 16,
                                      .out_ch = 16,
                                      .text_dim = 40,
                                      .text_len = 512,
                                      .adaln_dim = 48,
                                      .fps_dim = 32,
                                      .fps = 30,
                                      .patch_h = 2,
                                      .patch_w = 2,
                                      .eps = 1e-6 };
    wan_arch arch;
    wan_store *s;
    wan_model_arch(&arch, &wan_dit_model, &c);
    MUST(wan_model_store(&s, d, &arch, NULL, WAN_F32, 1));
    MUST(wan_store_init(s, 7));
    for (size_t i = 0; i < sizeof init_sizes / sizeof *init_sizes; i++) {
        int at = wan_params_find(&s->params, init_sizes[i].name);
        const float *v = wan_store_master(s, at);
        double want = init_sizes[i].rms, sum = 0;
        for (int64_t j = 0; j < s->item[at].count; j++)
            sum += (double)v[j] * (double)v[j];
        double rms = sqrt(sum / (double)s->item[at].count);
        ok(fabs(rms - want) <= 0.1 * want, "init: %s is of size %.4f, expected %.4f",
           init_sizes[i].name, rms, want);
    }
    wan_store_free(&s);
}

static void check_device(const refs *cases, wan_dev *d, const char *device)
{
    for (int i = 0; i < cases->n; i++) {
        refcase k;
        if (open_case(&k, cases->dir[i])) {
            check_case(&k, d, device);
            if (refs_small())
                check_bf16(&k, d, device);
        }
        close_case(&k);
    }
}

int main(void)
{
    static const char *const devices[] = { "ref", "cpu", "cuda" };
    refs cases = refs_find("dit_", "case.json");
    ok(cases.n > 0, "%d cases in %s", cases.n, refs_root());
    for (int i = refs_small() ? 0 : 1; i < 3; i++) {
        wan_dev *d;
        if (i == 2 && wan_dev_open(&d, devices[i], 0) < 0) {
            tap_skip("all of this on CUDA", wan_err_text());
            break;
        }
        if (i < 2)
            MUST(wan_dev_open(&d, devices[i], 0));
        check_device(&cases, d, devices[i]);
        if (i == 0)
            check_init(d);
        wan_dev_close(&d);
    }
    return tap_done();
}
