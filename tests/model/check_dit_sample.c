/* SPDX-License-Identifier: Apache-2.0
 *
 * check_dit_sample.c - latents of a DiT after 12 guided steps of Heun and Euler against PyTorch
 * (tests/reference/ref_dit.py), and the list of noise levels.
 */
#include "lib/model/files/modelio.h"
#include "lib/model/sample/generate.h"
#include "tests/must.h"
#include "tests/tap.h"

#define DIR "tests/data/ref/dit_sample"

typedef struct reference {
    wan_st *in, *out;
    float *noise, *text[2];
    int64_t shape[4], rows[2], count;
} reference;

static float *tensor(wan_st *st, const char *name, int64_t *shape)
{
    wan_st_tensor *t = wan_st_find(st, name);
    float *v = t ? malloc((size_t)t->count * sizeof *v) : NULL;
    if (!v)
        must_die();
    MUST(wan_st_load(st, name, t->shape, t->rank, v, WAN_F32));
    if (shape)
        memcpy(shape, t->shape, (size_t)t->rank * sizeof *shape);
    return v;
}

static reference open_reference(void)
{
    static const char *const names[2] = { "text", "negative" };
    reference r;
    MUST(wan_st_open(&r.in, DIR "/in.safetensors"));
    MUST(wan_st_open(&r.out, DIR "/out.safetensors"));
    r.noise = tensor(r.in, "noise", r.shape);
    r.count = r.shape[0] * r.shape[1] * r.shape[2] * r.shape[3];
    for (int i = 0; i < 2; i++) {
        int64_t shape[2];
        r.text[i] = tensor(r.in, names[i], shape);
        r.rows[i] = shape[0];
    }
    return r;
}

typedef struct watch {
    const reference *r;
    const char *solver, *device;
} watch;

static void compare(const watch *w, const char *when, const float *latent)
{
    char name[32];
    snprintf(name, sizeof name, "%s.%s", w->solver, when);
    float *want = tensor(w->r->out, name, NULL);
    ok_err(rel_l2(latent, want, (size_t)w->r->count), 1e-4, "%s %s: %s step", w->device, w->solver,
           when);
    free(want);
}

static int on_step(void *arg, int i, const float *latent, const float *clean)
{
    (void)clean;
    if (i == 0)
        compare(arg, "first", latent);
    return 0;
}

static void check_device(const reference *r, const char *device)
{
    static const char *const solvers[2] = { "heun", "euler" };
    const wan_acts_options o = { .compute = WAN_F32, .cap = { r->count / 16, 1, 1, 0 } };
    wan_dev *d;
    wan_arch arch;
    wan_store *s;
    wan_acts *a;
    wan_context *ctx[2];
    MUST(wan_dev_open(&d, device, 0));
    MUST(wan_modelio_config(&arch, DIR "/transformer"));
    MUST(wan_model_store(&s, d, &arch, NULL, WAN_F32, 0));
    MUST(wan_modelio_load(s, DIR "/transformer"));
    MUST(wan_model_acts(&a, d, &arch, &o, NULL));
    for (int i = 0; i < 2; i++)
        MUST(wan_model_context(&ctx[i], a, s, WAN_RBUF(r->text[i]), &r->rows[i], 1));
    for (int i = 0; i < 2; i++) {
        watch w = { r, solvers[i], device };
        wan_generate_options g = {
            .sampler = { .solver = solvers[i], .steps = 12, .guidance = 3, .guided = 1 },
            .T = r->shape[1],
            .h = r->shape[2],
            .w = r->shape[3],
            .on_step = on_step,
            .arg = &w,
            .want_latent = 1
        };
        float *x = malloc((size_t)r->count * sizeof *x);
        memcpy(x, r->noise, (size_t)r->count * sizeof *x);
        MUST(wan_sampler_resolve(&g.sampler, "edm"));
        MUST(wan_generate(s, a, &arch, &g, x, ctx[0], ctx[1]));
        compare(&w, "last", x);
        free(x);
    }
    for (int i = 0; i < 2; i++)
        wan_model_context_free(arch.model, &ctx[i]);
    wan_model_acts_free(&a);
    wan_store_free(&s);
    wan_dev_close(&d);
}

static void check_levels(const reference *r, const char *name, int steps)
{
    wan_sampler_options o = { .steps = steps };
    wan_sampler *s;
    wan_dev *d;
    double worst = 0;
    float *want = tensor(r->out, name, NULL);
    MUST(wan_dev_open(&d, "ref", 0));
    MUST(wan_sampler_resolve(&o, "edm"));
    MUST(wan_sampler_new(&s, d, "edm", &o, 1));
    for (int i = 0; i < steps; i++)
        worst = worse(worst, fabs(wan_sampler_sigma(s, i) / (double)want[i] - 1));
    ok_err(worst, 1e-7, "%d noise levels", steps);
    wan_sampler_free(&s);
    wan_dev_close(&d);
    free(want);
}

int main(void)
{
    reference r = open_reference();
    check_device(&r, "ref");
    check_device(&r, "cpu");
    check_levels(&r, "sigmas", 35);
    check_levels(&r, "sigmas1", 1);
    wan_st_close(&r.in);
    wan_st_close(&r.out);
    free(r.noise);
    free(r.text[0]);
    free(r.text[1]);
    return tap_done();
}
