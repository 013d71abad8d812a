/* SPDX-License-Identifier: Apache-2.0
 *
 * check_sampler.c - sigma and timestep lists against diffusers and the official code, identical;
 * latents after every one of 20 guided steps against diffusers' pipeline (every pipe* of WAN_REF).
 */
#include "lib/base/file.h"
#include "lib/model/files/modelio.h"
#include "lib/model/sample/sampler.h"
#include "tests/refs.h"
#include "tests/must.h"
#include "tests/tap.h"
#include "tests/netrun.h"

/* "dpm++-official" -> solver and schedule. */
static const char *split(const char *name, char *solver, size_t size)
{
    snprintf(solver, size, "%s", name);
    char *tail = strstr(solver, "-official");
    if (tail)
        *tail = 0;
    return tail ? "official" : "diffusers";
}

/* 1 when the list of this line is ours, to the last bit. */
static int same_list(json_t *j, char *label, size_t size)
{
    float sigma[1001];
    double t[1000];
    char solver[32];
    const char *name = json_string_value(json_object_get(j, "schedule"));
    const char *schedule = split(name, solver, sizeof solver);
    int steps = (int)json_integer_value(json_object_get(j, "steps"));
    double shift = json_number_value(json_object_get(j, "shift"));
    snprintf(label, size, "%s, %d steps, shift %g", name, steps, shift);
    MUST(wan_sampler_schedule(solver, schedule, steps, shift, sigma, t));
    json_t *s = json_object_get(j, "sigmas"), *ts = json_object_get(j, "timesteps");
    if ((int)json_array_size(s) != steps + 1 || (int)json_array_size(ts) != steps)
        return 0;
    for (int i = 0; i <= steps; i++)
        if (json_number_value(json_array_get(s, (size_t)i)) != (double)sigma[i])
            return 0;
    for (int i = 0; i < steps; i++)
        if (json_number_value(json_array_get(ts, (size_t)i)) != t[i])
            return 0;
    return 1;
}

static void check_lists(void)
{
    char *text, label[128];
    size_t size;
    int n = 0, good = 0;
    MUST(wan_slurp(&text, &size, REFS_SMALL "/sched/lists.jsonl", 64 << 20));
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        json_t *j = wan_json_parse(line, strlen(line), "lists.jsonl");
        if (!j)
            must_die();
        n++;
        if (same_list(j, label, sizeof label))
            good++;
        else
            ok(0, "list: %s", label);
        json_decref(j);
    }
    ok(n == 200 && good == n, "%d of %d sigma and timestep lists identical", good, n);
    free(text);
}

static float *tensor(wan_st *st, const char *name, int64_t *rows, int64_t *count)
{
    wan_st_tensor *t = wan_st_find(st, name);
    if (!t)
        return NULL;
    float *v = malloc((size_t)t->count * sizeof *v);
    MUST(wan_st_load(st, name, t->shape, t->rank, v, WAN_F32));
    if (rows)
        *rows = t->shape[0];
    if (count)
        *count = t->count;
    return v;
}

typedef struct guided {
    wan_dev *d;
    netrun m;
    wan_context *cond, *uncond;
    int64_t C, T, h, w, grid[1][3];
    float *rows, *pred, *v[2];
    double scale;
} guided;

static void branch(guided *g, const wan_context *ctx, wan_real t, float *v)
{
    wan_micro in = {
        .n = 1, .grid = (const int64_t(*)[3])g->grid, .rows = WAN_RBUF(g->rows), .t = &t
    };
    MUST(netrun_forward(&g->m, &in, ctx, g->pred));
    MUST(g->d->ops->unpatchify(g->d, v, WAN_RBUF(g->pred), g->C, g->T, g->h, g->w, WAN_PATCH_HWC));
}

/* v = uncond + scale (cond - uncond) */
static void velocity(guided *g, const float *x, double t, float *v)
{
    MUST(g->d->ops->patchify(g->d, WAN_RBUF(g->rows), x, g->C, g->T, g->h, g->w, WAN_PATCH_CHW));
    branch(g, g->cond, (wan_real)t, g->v[0]);
    branch(g, g->uncond, (wan_real)t, g->v[1]);
    double c[2] = { g->scale, 1 - g->scale };
    const float *both[2] = { g->v[0], g->v[1] };
    MUST(g->d->ops->lincomb(g->d, v, 2, c, both, g->C * g->T * g->h * g->w));
}

static void check_solver(guided *g, const char *who, wan_st *in, wan_st *out, const char *name,
                         int steps, double shift)
{
    char solver[32], key[64];
    const char *schedule = split(name, solver, sizeof solver);
    wan_sampler_options o = {
        .solver = solver, .schedule = schedule, .steps = steps, .shift = shift
    };
    int64_t n = 0;
    float *x = tensor(in, "noise", NULL, &n), *v = malloc((size_t)n * 4);
    wan_sampler *s;
    double worst = 0;
    int compared = 0;
    MUST(wan_sampler_resolve(&o, "flow"));
    MUST(wan_sampler_new(&s, g->d, "flow", &o, n));
    MUST(wan_sampler_start(s, x));
    for (int i = 0; i < steps; i++) {
        const float *at;
        double t;
        MUST(wan_sampler_ask(s, i, 0, x, &at, &t));
        velocity(g, at, t, v);
        MUST(wan_sampler_answer(s, i, 0, x, v));
        snprintf(key, sizeof key, i + 1 < steps ? "latents.%s.%02d" : "latents.%s", name, i);
        float *want = tensor(out, key, NULL, NULL);
        if (want) {
            double e = rel_l2(x, want, (size_t)n);
            worst = worse(worst, e);
            compared++;
        }
        free(want);
    }
    ok(compared > 0 && worst <= 1e-4,
       "%s %s: latents after %d of %d steps, worst error %.2g (bound 1e-4)", who, name, compared,
       steps, worst);
    wan_sampler_free(&s);
    free(x);
    free(v);
}

static void *open_in(const char *dir, const char *name, wan_st **st)
{
    char path[640];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (!st) {
        json_t *j = wan_json_load(path);
        if (!j)
            must_die();
        return j;
    }
    MUST(wan_st_open(st, path));
    return NULL;
}

static void open_model(guided *g, const char *dir, const char *device, int64_t tokens)
{
    wan_arch arch;
    const wan_capacity cap = { .tokens = tokens, .samples = 1, .text_rows = 1 };
    char path[640];
    snprintf(path, sizeof path, "%s/transformer", dir);
    MUST(wan_dev_open(&g->d, device, 0));
    MUST(wan_modelio_config(&arch, path));
    MUST(netrun_open(&g->m, g->d, (const wan_net_config *)(const void *)arch.c, WAN_F32, 0, &cap));
    MUST(wan_modelio_load(g->m.s, path));
}

static void check_pipe(const char *dir, const char *device)
{
    static const char *const names[] = { "unipc", "dpm++", "euler", "unipc-official",
                                         "dpm++-official" };
    guided g = { 0 };
    wan_st *in, *out;
    char who[64];
    json_t *j = open_in(dir, "case.json", NULL);
    snprintf(who, sizeof who, "%.40s %s", refs_name(dir), device);
    open_in(dir, "in.safetensors", &in);
    open_in(dir, "out.safetensors", &out);
    const int64_t *shape = wan_st_find(in, "noise")->shape;
    g.C = shape[0], g.T = shape[1], g.h = shape[2], g.w = shape[3];
    memcpy(g.grid[0], (int64_t[]){ g.T, g.h / 2, g.w / 2 }, sizeof g.grid[0]);
    int64_t rows[2], n = g.C * g.T * g.h * g.w;
    float *text = tensor(in, "text", &rows[0], NULL);
    float *negative = tensor(in, "negative", &rows[1], NULL);
    open_model(&g, dir, device, n / 64);
    MUST(wan_model_context(&g.cond, g.m.a, g.m.s, WAN_RBUF(text), &rows[0], 1));
    MUST(wan_model_context(&g.uncond, g.m.a, g.m.s, WAN_RBUF(negative), &rows[1], 1));
    float **buffers[] = { &g.rows, &g.pred, &g.v[0], &g.v[1] };
    for (int i = 0; i < 4; i++)
        *buffers[i] = malloc((size_t)n * 4);
    g.scale = json_number_value(json_object_get(j, "guidance_scale"));
    for (int i = 0; i < 5; i++)
        check_solver(&g, who, in, out, names[i],
                     (int)json_integer_value(json_object_get(j, "steps")),
                     json_number_value(json_object_get(j, "flow_shift")));
    for (int i = 0; i < 4; i++)
        free(*buffers[i]);
    wan_model_context_free(g.m.arch.model, &g.cond);
    wan_model_context_free(g.m.arch.model, &g.uncond);
    netrun_close(&g.m);
    wan_dev_close(&g.d);
    wan_st_close(&in);
    wan_st_close(&out);
    json_decref(j);
    free(text);
    free(negative);
}

static void check_refusals(void)
{
    float s[1001];
    double t[1000];
    ok(wan_sampler_schedule("unipc", "official", 0, 5, s, t) < 0, "no steps: refused");
    ok(wan_sampler_schedule("unipc", "official", 1001, 5, s, t) < 0, "1001 steps: refused");
    ok(wan_sampler_schedule("unipc", "official", 10, 0, s, t) < 0, "shift 0: refused");
    ok(wan_sampler_schedule("unipc", "other", 10, 5, s, t) < 0, "unknown schedule: refused");
}

int main(void)
{
    refs cases = refs_find("pipe", "case.json");
    check_lists();
    ok(cases.n > 0, "%d pipelines in %s", cases.n, refs_root());
    for (int i = 0; i < cases.n; i++) {
        if (refs_small())
            check_pipe(cases.dir[i], "ref");
        check_pipe(cases.dir[i], "cpu");
    }
    check_refusals();
    return tap_done();
}
