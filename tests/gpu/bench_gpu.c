/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_gpu.c - ceilings of the device, every op of a block at the size of the 14B model with
 * 37,440 tokens, and whole training steps, as markdown tables.
 *
 *     bench_gpu ops [tiny] | step 1.3B | step 14B [layers] | step tiny
 *
 * Times are wall-clock around enough repetitions, ended by waiting for the device.  Bytes count
 * each operand once; FLOPs are the algorithm's.  A floor is what the op would take at the rate of the
 * ceiling measured in the same run: of the copy for bytes, of the square product for FLOPs.  The last
 * line of a step is "layers N", for step_torch.py.
 */
#include "lib/model/flow.h"
#include "lib/model/wan/net.h"
#include "lib/train/optim.h"
#include "lib/train/step.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"

enum { HD = 128, TEXT = 129 };

/* tiny: does the program work, on any device? */
static int64_t D = 5120, H = 40, FFN = 13824, S = 37440, CUBE = 8192, ADAM = (int64_t)400 << 20;

static void tiny(void)
{
    D = 256, H = 2, FFN = 512, S = 200, CUBE = 128, ADAM = 60000;
}

static wan_dev *dev;
static const wan_ops *op;

static void must(int rc)
{
    if (rc < 0) {
        fprintf(stderr, "bench_gpu: %s\n", wan_err_text());
        exit(1);
    }
}

static void *take(size_t bytes)
{
    void *p = wan_dev_alloc(dev, bytes, "benchmark");
    must(p ? 0 : -1);
    return p;
}

/* n random numbers of deviation sd: the power, and so the clock, depends on the data. */
static wan_buf fill(wan_dtype t, int64_t n, double sd)
{
    static uint64_t key = 1;
    wan_buf b = wan_buf_of(take((size_t)n * wan_dtype_size(t)), t);
    wan_rng r = wan_rng_stream(key++, WAN_RNG_TEST, 0, 0);
    must(op->randn(dev, b, &r, 0, n));
    if (sd != 1)
        must(op->axpy(dev, b, sd - 1, b, n));
    return b;
}

/* ---- ops: each bench has its operands in these */
static struct bench {
    wan_buf x, x2, h, big, big2, w1, w2, q, k, v, o, dout, dq, dk, dv;
    wan_real *res, *dres, *mod, *dmod, *mean, *rstd, *weight, *lse, *clse, *bias, *wgrad;
    wan_real *p, *m, *g;
    double *sum;
    wan_pack pack, text;
    wan_attn self, cross;
    wan_rms rms;
    wan_rope rope;
    int64_t adam;
} B;

#define OP(name, call)                                                                             \
    static int name(void)                                                                          \
    {                                                                                              \
        return op->call;                                                                           \
    }
static const wan_buf none = WAN_BUF_NONE;
OP(ln_f, ln_mod_forward(dev, B.x, B.mean, B.rstd, B.res, B.mod, B.mod + D, 6 * D, &B.pack, D, 1e-6))
OP(ln_b, ln_mod_backward(dev, B.dres, B.dmod, B.dmod + D, 6 * D, B.x, B.res, B.mean, B.rstd, B.mod,
                         6 * D, &B.pack, D))
OP(rms_f, rmsnorm_forward(dev, &B.rms, B.x2, B.rstd, B.x, B.weight))
OP(rms_b, rmsnorm_backward(dev, &B.rms, B.h, B.wgrad, B.x2, B.x, B.rstd, B.weight))
OP(res_f, residual_forward(dev, B.res, B.res, B.x, B.mod, 6 * D, &B.pack, D))
OP(res_b, residual_backward(dev, B.h, B.dmod, 6 * D, B.dres, B.x, B.mod, 6 * D, &B.pack, D))
OP(act_f, act_forward(dev, B.big2, B.big, S *FFN, WAN_ACT_GELU_TANH))
OP(act_b, act_backward(dev, B.big2, B.big2, B.big, S *FFN, WAN_ACT_GELU_TANH))
OP(lin_f, linear_forward(dev, B.h, none, B.x, B.w1, B.weight, S, D, D, WAN_ACT_NONE))
OP(lin_d, linear_dgrad(dev, B.h, B.x, B.w1, S, D, D, 0))
OP(lin_w, linear_wgrad(dev, B.wgrad, B.weight, B.h, B.x, S, D, D, 1))
OP(up_f, linear_forward(dev, B.big, none, B.x, B.w2, NULL, S, FFN, D, WAN_ACT_NONE))
OP(up_d, linear_dgrad(dev, B.h, B.big, B.w2, S, FFN, D, 0))
OP(up_w, linear_wgrad(dev, B.wgrad, NULL, B.big, B.x, S, FFN, D, 1))
OP(self_f, attention_forward(dev, &B.self, B.o, B.lse, B.q, B.k, B.v))
OP(self_b, attention_backward(dev, &B.self, B.dq, B.dk, B.dv, B.dout, B.o, B.lse, B.q, B.k, B.v))
OP(cross_f, attention_forward(dev, &B.cross, B.o, B.clse, B.q, B.k, B.v))
OP(cross_b, attention_backward(dev, &B.cross, B.dq, B.dk, B.dv, B.dout, B.o, B.clse, B.q, B.k, B.v))
OP(sumsq, sumsq(dev, B.sum, WAN_RBUF(B.g), B.adam, 0))
OP(cast, cast(dev, B.big, WAN_RBUF(B.g), B.adam))
OP(square, linear_forward(dev, B.big2, none, B.big, B.big, NULL, CUBE, CUBE, CUBE, WAN_ACT_NONE))
static int adam(void)
{
    wan_adamw a = { 1e-5, 0.9, 0.95, 1e-8, 0.01, 3 };
    return op->adamw_step(dev, &a, B.p, B.m, B.m + B.adam, B.g, B.big, NULL, B.adam);
}
static int copy(void)
{
    return wan_dev_copy(dev, B.p, B.g, (size_t)B.adam * 4);
}

/* Seconds of one call: once to warm up, then at least three times and about half a second. */
static double seconds(int (*f)(void))
{
    must(f());
    must(wan_dev_sync(dev));
    double t = wan_now();
    must(f());
    must(wan_dev_sync(dev));
    t = wan_now() - t;
    int n = t > 0.15 ? 3 : (int)(0.5 / (t + 2.5e-4)) + 3;
    double start = wan_now();
    for (int i = 0; i < n; i++)
        must(f());
    must(wan_dev_sync(dev));
    return (wan_now() - start) / n;
}

/* Bytes and FLOPs per second of the first two rows: what the floors of the others come from. */
static double top_bytes, top_flops;

static void row(const char *name, int (*f)(void), double bytes, double flops)
{
    double s = seconds(f), top = bytes > 0 ? top_bytes : top_flops;
    double rate = (bytes > 0 ? bytes : flops) / s;
    printf("| %-44s | %9.3f | ", name, 1e3 * s);
    if (top > 0)
        printf("%9.3f | ", 1e3 * (bytes > 0 ? bytes : flops) / top);
    else
        printf("%9s | ", "");
    printf(bytes > 0 ? "%6.0f GB/s |\n" : "%6.0f TFLOP/s |\n", rate / (bytes > 0 ? 1e9 : 1e12));
    fflush(stdout);
    if (bytes > 0 && top_bytes == 0)
        top_bytes = rate;
    if (bytes <= 0 && top_flops == 0)
        top_flops = rate;
}

/* Tokens of frames of 40 by 64. */
static void rotation(void)
{
    enum { POSITIONS = 64, SIDE = 2 * (HD / 6) };
    const int64_t grid[3] = { POSITIONS, 40, 64 };
    float *table = malloc(sizeof(float) * POSITIONS * HD);
    int32_t *pos = malloc(sizeof(int32_t) * 3 * S);
    if (!table || !pos)
        abort();
    B.rope = (wan_rope){ NULL, NULL, POSITIONS, { HD - 2 * SIDE, SIDE, SIDE } };
    wan_rope_table(table, POSITIONS, B.rope.axis, 10000);
    wan_rope_positions(pos, grid, 0, S);
    void *t = take(sizeof(float) * POSITIONS * HD), *p = take(sizeof(int32_t) * 3 * S);
    must(wan_dev_write(dev, t, table, sizeof(float) * POSITIONS * HD));
    must(wan_dev_write(dev, p, pos, sizeof(int32_t) * 3 * S));
    B.rope.pos = p, B.rope.table = t;
    B.rms = wan_rms_of(S, D, 1e-6);
    B.rms.rope = &B.rope;
    free(table), free(pos);
}

static void ops_setup(void)
{
    int64_t one = S, text = TEXT;
    const int64_t rows = S * D, wide = S * FFN;
    must(wan_pack_new(dev, &B.pack, &one, 1));
    must(wan_pack_new(dev, &B.text, &text, 1));
    wan_buf *half[] = { &B.x, &B.x2, &B.h, &B.q, &B.k, &B.v, &B.o, &B.dout, &B.dq, &B.dk, &B.dv };
    for (size_t i = 0; i < sizeof half / sizeof *half; i++)
        *half[i] = fill(WAN_BF16, rows, 1);
    B.big = fill(WAN_BF16, wide, 1), B.big2 = fill(WAN_BF16, wide, 1);
    B.w1 = fill(WAN_BF16, D * D, 0.02), B.w2 = fill(WAN_BF16, D * FFN, 0.02);
    B.res = fill(WAN_F32, rows, 1).p, B.dres = fill(WAN_F32, rows, 1).p;
    B.mod = fill(WAN_F32, 6 * D, 0.1).p, B.dmod = fill(WAN_F32, 6 * D, 0.1).p;
    B.mean = fill(WAN_F32, S, 1).p, B.rstd = fill(WAN_F32, S, 1).p;
    B.weight = fill(WAN_F32, D, 1).p;
    B.lse = fill(WAN_F32, S * H, 1).p, B.clse = fill(WAN_F32, S * H, 1).p;
    B.bias = fill(WAN_F32, TEXT, 1).p, B.wgrad = fill(WAN_F32, D * FFN, 1).p;
    rotation();
    B.adam = ADAM;
    B.p = fill(WAN_F32, B.adam, 1).p, B.g = fill(WAN_F32, B.adam, 1).p;
    B.m = take((size_t)B.adam * 8);
    must(wan_dev_zero(dev, B.m, (size_t)B.adam * 8));
    B.sum = take(64);
    B.self = (wan_attn){ &B.pack, &B.pack, (int)H, HD, 0.08838834764831845, D, D, D, D, NULL };
    B.cross = B.self;
    B.cross.pk = &B.text;
    B.cross.kbias = B.bias;
}

static void ops(void)
{
    const double r = (double)(S * D), w = (double)(S * FFN), f = 2 * r * (double)D;
    const double up = 2 * r * (double)FFN;
    const double a = 4 * r * (double)S;
    ops_setup();
    printf("\n| at D 5120, 40 heads, ffn 13824, 37,440 tokens | ms | floor, ms | rate |\n"
           "|---|---:|---:|---:|\n");
    row("ceiling: device copy, read + write", copy, 8.0 * (double)B.adam, 0);
    row("ceiling: 8192^3 product, bf16", square, 0, 2.0 * (double)(CUBE * CUBE * CUBE));
    row("LayerNorm + modulation", ln_f, 6 * r, 0);
    row("  backward", ln_b, 14 * r, 0);
    row("RMSNorm + RoPE", rms_f, 4 * r, 0);
    row("  backward", rms_b, 6 * r, 0);
    row("gated residual", res_f, 10 * r, 0);
    row("  backward", res_b, 8 * r, 0);
    row("GELU", act_f, 4 * w, 0);
    row("  backward", act_b, 6 * w, 0);
    row("linear 5120 -> 5120 + bias", lin_f, 0, f);
    row("  gradient of x", lin_d, 0, f);
    row("  gradient of w and b, accumulated", lin_w, 0, f);
    row("linear 5120 -> 13824", up_f, 0, up);
    row("  gradient of x", up_d, 0, up);
    row("  gradient of w, accumulated", up_w, 0, up);
    row("self-attention", self_f, 0, a);
    row("  backward, deterministic", self_b, 0, 2.5 * a);
    dev->flags |= WAN_DEV_NONDETERMINISTIC;
    row("  backward, any order", self_b, 0, 2.5 * a);
    dev->flags &= ~WAN_DEV_NONDETERMINISTIC;
    row("cross-attention, 129 keys with bias", cross_f, 4 * r, 0);
    row("  backward, deterministic", cross_b, 8 * r, 0);
    row("AdamW and bf16 copy, 419 M parameters", adam, 30.0 * (double)B.adam, 0);
    row("sum of squares", sumsq, 4.0 * (double)B.adam, 0);
    row("fp32 to bf16", cast, 6.0 * (double)B.adam, 0);
}

/* ---- whole steps */

static int64_t need(const wan_arch *arch, const wan_capacity *cap)
{
    const wan_acts_options o = { .compute = WAN_BF16, .train = 1, .cap = *cap };
    const wan_step_options step = { .cap = *cap, .batch = 1 };
    wan_store_bytes w;
    wan_acts_bytes a;
    wan_params p;
    int64_t total;
    must(arch->model->params(&p, arch->c));
    must(wan_store_plan(&w, &total, &p, NULL, WAN_BF16, 1));
    must(arch->model->acts_plan(&a, arch->c, &o));
    wan_params_free(&p);
    /* attention's workspace and cuDNN and cuBLASLt themselves: at most 5 GB */
    return w.weights + w.grads + a.kept + a.work + wan_optim_bytes(total) +
           wan_step_bytes(arch, WAN_BF16, &step) + ((int64_t)5 << 30);
}

static const wan_flow flow = { .shift = 3 };

/* A model, its optimizer and one sample that fills it. */
typedef struct job {
    wan_net_config c;
    wan_store *m;
    wan_step *s;
    wan_optim *o;
    wan_step_sample v;
    float *x0, *text;
} job;

static const struct {
    const char *name;
    int heads, ffn, layers;
    int64_t grid[3];
} sizes[] = {
    { "1.3B", 12, 8960, 30, { 21, 30, 52 } },
    { "14B", 40, 13824, 40, { 24, 30, 52 } },
    { "tiny", 1, 256, 2, { 2, 3, 4 } },
};

static float *normal(int64_t n, uint64_t from)
{
    float *x = calloc((size_t)n, sizeof *x);
    wan_rng r = wan_rng_stream(1, WAN_RNG_TEST, 0, 0);
    if (!x)
        exit(1);
    wan_rng_normal(&r, x, from, (size_t)n);
    return x;
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

/* layers 0: as many as fit. */
static void job_open(job *j, int k, int layers)
{
    const int64_t *g = sizes[k].grid, tokens = g[0] * g[1] * g[2], rows = TEXT - 1;
    wan_capacity cap = { tokens, 1, TEXT, WAN_RECOMPUTE_FULL };
    wan_arch arch;
    size_t has, total;
    j->c = (wan_net_config){ sizes[k].heads,
                             128,
                             layers ? layers : sizes[k].layers,
                             sizes[k].ffn,
                             16,
                             16,
                             4096,
                             512,
                             256,
                             2,
                             2,
                             1e-6 };
    must(dev->backend->memory(dev, &has, &total));
    wan_model_arch(&arch, &wan_net_model, &j->c);
    while (!layers && k < 2 && j->c.layers > 1 && need(&arch, &cap) > (int64_t)has) {
        j->c.layers--;
        wan_model_arch(&arch, &wan_net_model, &j->c);
    }
    must(wan_model_store(&j->m, dev, &arch, NULL, WAN_BF16, 1));
    must(wan_store_init(j->m, 1));
    must(wan_step_new(&j->s, dev, &arch, j->m, &cap, 1));
    must(wan_optim_new(&j->o, j->m, 0.9, 0.95, 1e-8, 1));
    fill_head(j->m);
    j->x0 = normal(64 * tokens, 0);
    j->text = normal(rows * 4096, 0);
    j->v = (wan_step_sample){ .latent = { 16, g[0], 2 * g[1], 2 * g[2] },
                              .x0 = j->x0,
                              .text = j->text,
                              .text_rows = rows,
                              .draw = wan_flow_objective.at_sigma(&flow, 0.6f),
                              .coef = 1,
                              .stream = wan_rng_stream(2, WAN_RNG_NOISE, 0, 0) };
}

static void step(const char *name, int layers)
{
    job j = { .m = NULL };
    int k = 0;
    while (k < 2 && strcmp(name, sizes[k].name))
        k++;
    job_open(&j, k, layers);
    int64_t tokens = sizes[k].grid[0] * sizes[k].grid[1] * sizes[k].grid[2];
    double best = 1e30, norm, flops = 3 * wan_net_flops(&j.c, 1, &tokens);
    float loss = 0;
    for (int i = 0; i < 4; i++) {
        double t = wan_now();
        must(wan_store_zero_grad(j.m));
        must(wan_step_run(j.s, &j.v, 1, 0, 1, NULL));
        must(wan_optim_norm(j.o, &norm));
        must(wan_optim_step(j.o, 1e-5, 0.01, 1));
        must(wan_step_losses(j.s, &loss, 1));
        t = wan_now() - t;
        best = i && t < best ? t : best;
    }
    printf("| %s, %d layers, %lld tokens, %s backward | wan-tools | %.3f | %.0f | %.1f GB | "
           "loss %.4f |\n",
           name, j.c.layers, (long long)tokens,
           dev->flags & WAN_DEV_NONDETERMINISTIC ? "any-order" : "deterministic", best,
           flops / best / 1e12, (double)dev->peak / 1e9, loss);
    printf("layers %d\n", j.c.layers);
    free(j.x0);
    free(j.text);
    wan_optim_free(&j.o);
    wan_step_free(&j.s);
    wan_store_free(&j.m);
}

int main(int argc, char **argv)
{
    char text[256];
    const char *device = getenv("WAN_CHECK_DEVICE");
    if (argc < 2 || (strcmp(argv[1], "ops") && (strcmp(argv[1], "step") || argc < 3))) {
        fprintf(stderr, "usage: bench_gpu ops [tiny] | step 1.3B|14B|tiny [layers]\n");
        return 2;
    }
    if (wan_dev_open(&dev, device && *device ? device : "cuda", 0) < 0) {
        fprintf(stderr, "bench_gpu: SKIPPED: %s\n", wan_err_text());
        return 3;
    }
    if (getenv("WAN_BENCH_ANY_ORDER"))
        dev->flags |= WAN_DEV_NONDETERMINISTIC;
    op = dev->ops;
    must(dev->backend->describe(dev, text, sizeof text));
    fprintf(stderr, "# %s\n", text);
    if (argc > 2 && !strcmp(argv[1], "ops"))
        tiny();
    if (!strcmp(argv[1], "ops"))
        ops();
    else
        step(argv[2], argc > 3 ? atoi(argv[3]) : 0);
    return 0;
}
