/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_whole.c - whole training steps, sampling steps and the VAE for bench_gpu, on random weights.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/model/flow.h"
#include "lib/model/vae/vae_net.h"
#include "lib/model/wan/net.h"
#include "lib/train/optim.h"
#include "lib/train/step.h"
#include "tests/gpu/bench_gpu.h"

enum { SHIFT = 3, MOST = 32 /* samples of a pack */ };

static const wan_flow flow = { .shift = SHIFT };

static const struct size {
    const char *name;
    int heads, ffn, layers;
    int64_t grid[3], video[3]; /* of a sample of a training step; of a video that is sampled */
    int samples;               /* of a training step; 0: 1 */
} sizes[] = {
    { "1.3B", 12, 8960, 30, { 21, 30, 52 }, { 21, 30, 52 }, 1 },
    { "14B", 40, 13824, 40, { 24, 30, 52 }, { 21, 30, 52 }, 1 },
    { "pictures",
      12,
      8960,
      30,
      { 1, 15, 26 },
      { 1, 15, 26 },
      MOST }, /* a pack of 240x416, of 1.3B */
    { "tiny", 1, 64, 1, { 1, 2, 4 }, { 1, 2, 4 }, 1 },
};

static const struct size *size_of(const char *name)
{
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (!strcmp(name, sizes[i].name))
            return &sizes[i];
    fprintf(stderr, "bench_gpu: size %s; one of 1.3B, 14B, pictures, tiny\n", name);
    exit(2);
}

/* tiny: does it work, on any device? */
static int is_small(const struct size *s)
{
    return s->heads == 1;
}

/* Rows of a prompt and the one that pads. */
static int64_t text_of(const struct size *s)
{
    return is_small(s) ? 4 : 129;
}

static wan_net_config config_of(const struct size *s, int layers)
{
    const int text_dim = is_small(s) ? 32 : 4096;
    return (wan_net_config){ s->heads, is_small(s) ? 32 : 128, layers, s->ffn, 16,  16, text_dim,
                             512,      is_small(s) ? 32 : 256, 2,      2,      1e-6 };
}

static float *normal(int64_t n, uint64_t from)
{
    float *x = calloc((size_t)n, sizeof *x);
    wan_rng r = wan_rng_stream(1, WAN_RNG_TEST, 0, 0);
    if (!x)
        exit(1);
    wan_rng_normal(&r, x, from, (size_t)n);
    return x;
}

/* ---- training */

static const char *const modes[] = { "none", "selective", "full" };

/* A model, its optimizer and the samples of a step, all of the same numbers. */
typedef struct job {
    const struct size *size;
    wan_capacity cap;
    wan_net_config c;
    wan_store *m;
    wan_step *s;
    wan_optim *o;
    wan_step_sample v[MOST];
    float *x0, *text;
} job;

/* Device memory that it takes, as the plan counts it. */
static int64_t need(const wan_arch *arch, const wan_capacity *cap, int64_t codes)
{
    const wan_acts_options o = { .compute = WAN_BF16, .train = 1, .cap = *cap };
    const wan_step_options step = { .cap = *cap, .batch = (int)cap->samples };
    wan_store_bytes w;
    wan_acts_bytes a;
    wan_params p;
    int64_t total;
    must(arch->model->params(&p, arch->c));
    must(wan_store_plan(&w, &total, &p, NULL, WAN_BF16, 1));
    must(wan_model_acts_plan(&a, arch, &o));
    wan_params_free(&p);
    /* attention's workspace and cuDNN and cuBLASLt themselves: at most 5 GB */
    return w.weights + w.grads + a.kept + a.work + wan_optim_bytes(total) +
           wan_step_bytes(arch, WAN_BF16, &step) + codes + ((int64_t)5 << 30);
}

/* Its zeros would make all gradients zero, and zeros draw less power. */
static void fill_head(wan_store *m)
{
    int head = wan_params_find(&m->params, "proj_out.weight");
    int64_t n = m->params.v[head].count;
    float *w = normal(n, 7);
    for (int64_t i = 0; i < n; i++)
        w[i] *= 0.02f;
    must(wan_store_put(m, head, w));
    free(w);
}

/* Of the layers of the model as many as fit. */
static int fitting(const job *j, int eight)
{
    wan_net_config c = j->c;
    /* operands in eight bits of the widest product, q, k and v at once or the ffn's */
    const int64_t D = (int64_t)c.heads * c.head_dim, widest = 3 * D > c.ffn ? 3 * D : c.ffn;
    const int64_t codes = eight ? (int64_t)wan_linear8_bytes(j->cap.tokens, widest, D) : 0;
    wan_arch arch;
    size_t has, total;
    must(dev->backend->memory(dev, &has, &total));
    if (is_small(j->size))
        return j->size->layers;
    for (c.layers = j->size->layers; c.layers > 1; c.layers--) {
        wan_model_arch(&arch, &wan_net_model, &c);
        if (need(&arch, &j->cap, codes) <= (int64_t)has)
            break;
    }
    return c.layers;
}

static void job_open(job *j, int layers, int eight)
{
    const int64_t *g = j->size->grid, tokens = g[0] * g[1] * g[2], rows = text_of(j->size) - 1;
    const int n = j->size->samples;
    wan_arch arch;
    j->cap.tokens = n * tokens, j->cap.samples = n, j->cap.text_rows = n * (rows + 1);
    j->c = config_of(j->size, layers);
    j->c.layers = layers ? layers : fitting(j, eight);
    wan_model_arch(&arch, &wan_net_model, &j->c);
    must(wan_model_store(&j->m, dev, &arch, NULL, WAN_BF16, 1));
    if (dev->kind != WAN_DEV_DRY)
        must(wan_store_init(j->m, 1));
    j->m->eight = eight;
    must(wan_step_new(&j->s, dev, &arch, j->m, &j->cap, n));
    must(wan_optim_new(&j->o, j->m, 0.9, 0.95, 1e-8, 1));
    fill_head(j->m);
    j->x0 = normal(64 * tokens, 0);
    j->text = normal(rows * j->c.text_dim, 0);
    for (int i = 0; i < n; i++)
        j->v[i] = (wan_step_sample){ .latent = { 16, g[0], 2 * g[1], 2 * g[2] },
                                     .x0 = j->x0,
                                     .text = j->text,
                                     .text_rows = rows,
                                     .draw = wan_flow_objective.at_sigma(&flow, 0.6f),
                                     .coef = 1.0 / n,
                                     .stream = wan_rng_stream(2, WAN_RNG_NOISE, 0, (uint64_t)i) };
}

static void job_close(job *j)
{
    free(j->x0);
    free(j->text);
    wan_optim_free(&j->o);
    wan_step_free(&j->s);
    wan_store_free(&j->m);
}

static void step_once(job *j)
{
    double norm;
    must(wan_store_zero_grad(j->m));
    wan_dev_still(dev, 1);
    must(wan_step_run(j->s, j->v, j->size->samples, 0, 1, NULL));
    wan_dev_still(dev, 0);
    must(wan_optim_norm(j->o, &norm));
    must(wan_optim_step(j->o, 1e-5, 0.01, 1));
}

/* The model's FLOPs of a step. */
static double step_flops(const job *j)
{
    int64_t tokens[MOST];
    for (int i = 0; i < j->size->samples; i++)
        tokens[i] = j->cap.tokens / j->size->samples;
    return 3 * wan_net_flops(&j->c, j->size->samples, tokens);
}

double bench_count_step(const char *size, int layers, int recompute, int eight)
{
    job j = { .size = size_of(size), .cap.recompute = (enum wan_recompute)recompute };
    job_open(&j, layers, eight);
    bench_count_begin();
    step_once(&j);
    job_close(&j);
    return step_flops(&j);
}

int bench_step(const char *size, int layers, const char *recompute, int eight)
{
    job j = { .size = size_of(size), .cap.recompute = WAN_RECOMPUTE_FULL };
    for (int i = 0; i < 3; i++)
        if (!strcmp(recompute, modes[i]))
            j.cap.recompute = i;
    job_open(&j, layers, eight);
    double best = 1e30, flops = step_flops(&j);
    float loss[MOST] = { 0 };
    for (int i = 0; i < (is_small(j.size) ? 2 : 4); i++) {
        double t = wan_now();
        step_once(&j);
        must(wan_step_losses(j.s, loss, j.size->samples));
        t = wan_now() - t;
        best = i && t < best ? t : best;
    }
    printf("| %s%s, %d layers, %lld tokens, recompute %s, %s backward | wan-tools | %.3f | %.0f | "
           "%.1f GB | loss %.4f |\n",
           size, eight ? " fp8" : "", j.c.layers, (long long)j.cap.tokens, modes[j.cap.recompute],
           dev->flags & WAN_DEV_OWN                ? "two-pass"
           : dev->flags & WAN_DEV_NONDETERMINISTIC ? "any-order"
                                                   : "deterministic",
           best, flops / best / 1e12, (double)dev->peak / 1e9, loss[0]);
    printf("layers %d\n", j.c.layers);
    job_close(&j);
    return 0;
}

/* ---- sampling */

enum { STEPS = 50 };

/* What two passes of guidance need; prompts' keys and values are made once. */
typedef struct sampling {
    wan_store *m;
    wan_acts *a;
    wan_context *ctx[2];
    wan_real *rows, *pred, *v;
    int64_t n, tokens, grid[1][3];
    int parts;
    int graphs; /* passes are recorded from the second step on */
    wan_tape *tape[2];
} sampling;

static void *take(size_t bytes)
{
    void *p = wan_dev_alloc(dev, bytes, "benchmark");
    must(p ? 0 : -1);
    return p;
}

static void sampling_open(sampling *s, const struct size *size, int eight)
{
    const wan_net_config c = config_of(size, size->layers);
    const int64_t len[2] = { text_of(size) / 2, 1 };
    wan_arch arch;
    wan_sizes z;
    memcpy(s->grid[0], size->video, sizeof s->grid[0]);
    s->tokens = size->video[0] * size->video[1] * size->video[2];
    wan_model_arch(&arch, &wan_net_model, &c);
    wan_model_sizes(&z, &arch);
    const wan_acts_options o = { .compute = WAN_BF16, .cap = { s->tokens, 1, text_of(size), 0 } };
    must(wan_model_store(&s->m, dev, &arch, NULL, WAN_BF16, 0));
    s->m->eight = eight;
    if (dev->kind != WAN_DEV_DRY)
        must(wan_store_init(s->m, 1));
    must(wan_model_acts(&s->a, dev, &arch, &o, NULL));
    s->n = s->tokens * z.in_width, s->parts = z.parts;
    s->rows = take((size_t)s->n * sizeof(float));
    s->pred = take((size_t)s->n * sizeof(float));
    s->v = take(2 * (size_t)s->n * sizeof(float));
    wan_buf text = wan_buf_of(take((size_t)(len[0] * c.text_dim) * 2), WAN_BF16);
    const wan_rng r = wan_rng_stream(3, WAN_RNG_TEST, 0, 0);
    must(dev->ops->randn(dev, text, &r, 0, len[0] * c.text_dim));
    must(dev->ops->randn(dev, WAN_RBUF(s->rows), &r, 0, s->n));
    for (int i = 0; i < 2; i++)
        must(wan_model_context(&s->ctx[i], s->a, s->m, text, &len[i], 1));
    wan_dev_free(dev, text.p);
}

/* The model on what has been filled in; the answer of pass i. */
static int one_pass(sampling *s, int i)
{
    const int64_t *g = s->grid[0];
    WAN_TRY(wan_model_forward(s->a, s->m, 0, s->parts, NULL));
    return dev->ops->unpatchify(dev, s->v + i * s->n, WAN_RBUF(s->pred), 16, g[0], 2 * g[1],
                                2 * g[2], WAN_PATCH_HWC);
}

static void recorded_pass(sampling *s, int i)
{
    if (!s->tape[i]) {
        must(wan_dev_record(dev));
        int rc = one_pass(s, i);
        must(wan_dev_recorded(dev, &s->tape[i]));
        must(rc);
    }
    must(wan_dev_replay(dev, s->tape[i]));
}

/* A step of a solver: two passes, guidance, and the next sample. */
static void sampling_step(sampling *s)
{
    const double c[2] = { 5, -4 };
    const wan_real t = 500, *both[2] = { s->v, s->v + s->n };
    for (int i = 0; i < 2; i++) {
        wan_micro in = {
            .n = 1, .grid = (const int64_t(*)[3])s->grid, .rows = WAN_RBUF(s->rows), .t = &t
        };
        must(wan_model_fill(s->a, &in, s->ctx[i]));
        s->a->pred = s->pred;
        if (s->graphs)
            recorded_pass(s, i);
        else
            must(one_pass(s, i));
    }
    must(dev->ops->lincomb(dev, s->v, 2, c, both, s->n));
    must(dev->ops->axpy(dev, WAN_RBUF(s->rows), 0.02, WAN_RBUF(s->v), s->n));
    must(wan_dev_sync(dev));
}

int bench_sample(const char *name, int steps, int graphs, int eight)
{
    const struct size *size = size_of(name);
    sampling s = { .m = NULL };
    steps = steps > 0 ? steps : 4;
    sampling_open(&s, size, eight);
    sampling_step(&s); /* plans are made and kernels compiled */
    s.graphs = graphs;
    if (graphs)
        sampling_step(&s);
    double t = wan_now();
    for (int i = 0; i < steps; i++)
        sampling_step(&s);
    t = (wan_now() - t) / steps;
    const wan_net_config c = config_of(size, size->layers);
    double flops = 2 * wan_net_flops(&c, 1, &s.tokens);
    printf(
        "| sampling %s%s, %lld tokens, one step with guidance%s | wan-tools | %.3f | %.0f | %.1f GB "
        "| %d steps: %.1f s, text and VAE not in it |\n",
        name, eight ? " fp8" : "", (long long)s.tokens, graphs ? ", recorded" : "", t,
        flops / t / 1e12, (double)dev->peak / 1e9, STEPS, STEPS * t);
    for (int i = 0; i < 2; i++) {
        wan_dev_unrecord(dev, &s.tape[i]);
        wan_model_context_free(&wan_net_model, &s.ctx[i]);
    }
    wan_model_acts_free(&s.a);
    wan_store_free(&s.m);
    wan_dev_free(dev, s.rows), wan_dev_free(dev, s.pred), wan_dev_free(dev, s.v);
    return 0;
}

double bench_count_sample(const char *name, int eight)
{
    const struct size *size = size_of(name);
    const wan_net_config c = config_of(size, size->layers);
    sampling s = { .m = NULL };
    sampling_open(&s, size, eight);
    bench_count_begin();
    sampling_step(&s);
    return 2 * wan_net_flops(&c, 1, &s.tokens);
}

/* ---- the VAE */

/* A tensor of plausible size by its shape: gains are 1. */
static int made(void *arg, const char *name, const int64_t *shape, int rank, void *dst,
                wan_dtype dt)
{
    int64_t n = 1, in = 1;
    (void)arg;
    for (int i = 0; i < rank; i++) {
        n *= shape[i];
        in *= i ? shape[i] : 1;
    }
    if (!dst)
        return 0;
    const int gain = strstr(name, "gamma") != NULL;
    float *x = normal(n, (uint64_t)(4 * n));
    for (int64_t i = 0; i < n; i++)
        x[i] = gain ? 1 : x[i] / sqrtf((float)in);
    int rc = wan_convert(dst, dt, x, WAN_F32, (size_t)n);
    free(x);
    return rc;
}

static int drop(void *arg, const uint8_t *rgb, const float *pixels, int64_t n, int64_t H, int64_t W)
{
    (void)rgb, (void)pixels, (void)H, (void)W;
    *(int64_t *)arg += n;
    return 0;
}

static double decode_once(wan_vae *v, const float *latent, int64_t T, int64_t h, int64_t w)
{
    int64_t frames = 0;
    double t = wan_now();
    must(wan_vae_decode(v, latent, T, h, w, drop, &frames));
    must(frames == 4 * T - 3 ? 0 : wan_err("%lld frames", (long long)frames));
    return wan_now() - t;
}

static double encode_once(wan_vae *v, float *latent, const uint8_t *rgb, int64_t T, int64_t h,
                          int64_t w)
{
    double t = wan_now();
    must(wan_vae_encode(v, latent, rgb, 4 * T - 3, 8 * h, 8 * w, 0));
    return wan_now() - t;
}

int bench_vae(int encode, int small)
{
    const int64_t T = small ? 2 : 21, h = small ? 1 : 60, w = small ? 1 : 104, z = small ? 4 : 16;
    const wan_vae_source from = { NULL, made, NULL };
    wan_vae_config c = { .base_dim = small ? 4 : 96,
                         .z_dim = (int)z,
                         .num_res_blocks = 2,
                         .levels = 4,
                         .dim_mult = { 1, 2, 4, 4 },
                         .time_down = { 0, 1, 1 } };
    wan_vae *v;
    for (int i = 0; i < c.z_dim; i++)
        c.std[i] = 1;
    must(wan_vae_make(&v, dev, &c, &from, encode ? WAN_VAE_ENCODER : WAN_VAE_DECODER, WAN_BF16,
                      "VAE"));
    float *latent = normal(z * T * h * w, 0);
    uint8_t *rgb = calloc((size_t)(4 * T - 3), (size_t)(192 * h * w));
    if (!rgb)
        return 1;
    double best = 1e30;
    bench_count_begin();
    for (int i = 0; i < (dev->kind == WAN_DEV_DRY ? 1 : 3); i++) {
        double t = encode ? encode_once(v, latent, rgb, T, h, w) : decode_once(v, latent, T, h, w);
        best = t < best ? t : best;
    }
    if (dev->kind != WAN_DEV_DRY)
        printf(
            "| VAE %s, %lldx%lldx%lld, bf16 | wan-tools | %.3f | | %.1f GB | with host copies |\n",
            encode ? "encode" : "decode", (long long)(4 * T - 3), (long long)(8 * h),
            (long long)(8 * w), best, (double)dev->peak / 1e9);
    free(rgb);
    free(latent);
    wan_vae_close(&v);
    return 0;
}
