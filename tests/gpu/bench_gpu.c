/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_gpu.c - ceilings of the device, every op of a block at the size of the 14B model with
 * 37,440 tokens, training and sampling steps and the VAE, as markdown tables.
 *
 *     bench_gpu ceilings|rows|products|attention|ops [tiny]      ops: all of these
 *     bench_gpu step 1.3B|14B|pictures|tiny [layers [none|selective|full [fp8]]]  layers 0: as many as fit
 *     bench_gpu sample 1.3B|14B|tiny [steps [graphs|fp8]]
 *     bench_gpu decode|encode [tiny]
 *     bench_gpu nothing                                  exit 3 and a sentence: there is no device
 *
 * Times are wall-clock around enough repetitions, ended by waiting for the device.  Bytes count
 * each operand once; FLOPs are the algorithm's.  A floor is what the op would take at the rate of the
 * ceiling measured in the same run: of the copy for bytes, of the square product for FLOPs.  The last
 * line of a step is "layers N", for step_torch.py.
 */
#include "tests/gpu/bench_gpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"

enum { HD = 128 };

/* tiny: does the program work, on any device? */
static int64_t D = 5120, H = 40, FFN = 13824, S = 37440, CUBE = 8192, ADAM = (int64_t)400 << 20,
               TEXT = 129;
static double budget = 0.5; /* seconds of each row */

static void tiny(void)
{
    D = 256, H = 2, FFN = 256, S = 40, CUBE = 32, ADAM = S * FFN, TEXT = 9;
    budget = 0;
}

wan_dev *dev;
static const wan_ops *op;

void must(int rc)
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
    wan_real *res, *dres, *mod, *dmod, *mean, *rstd, *weight, *lse, *clse, *bias, *wgrad, *ffn;
    wan_real *p, *m, *g, *row;
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
OP(up_g, linear_forward(dev, B.big2, B.big, B.x, B.w2, B.ffn, S, FFN, D, WAN_ACT_GELU_TANH))
OP(down_d, linear_dgrad_act(dev, B.big2, B.x, B.w2, B.big, S, D, FFN, WAN_ACT_GELU_TANH))
OP(up_b, linear_wgrad(dev, B.wgrad, B.ffn, B.big, B.x, S, FFN, D, 1))
OP(up_w, linear_wgrad(dev, B.wgrad, NULL, B.big, B.x, S, FFN, D, 1))
OP(self_f, attention_forward(dev, &B.self, B.o, B.lse, B.q, B.k, B.v))
OP(self_b, attention_backward(dev, &B.self, B.dq, B.dk, B.dv, B.dout, B.o, B.lse, B.q, B.k, B.v))
OP(cross_f, attention_forward(dev, &B.cross, B.o, B.clse, B.q, B.k, B.v))
OP(cross_b, attention_backward(dev, &B.cross, B.dq, B.dk, B.dv, B.dout, B.o, B.clse, B.q, B.k, B.v))
OP(sumsq, sumsq(dev, B.sum, WAN_RBUF(B.g), B.adam, 0))
OP(cast, cast(dev, B.big, WAN_RBUF(B.g), B.adam))
OP(square, linear_forward(dev, B.big2, none, B.big, B.big, NULL, CUBE, CUBE, CUBE, WAN_ACT_NONE))
static const wan_adamw adamw = { 0.9, 0.95, 1e-8 };
static int adam(void)
{
    return op->adamw_step(dev, &adamw, B.row, B.p, B.m, B.m + B.adam, B.g, B.big, NULL, B.adam);
}
static int copy(void)
{
    return wan_dev_copy(dev, B.p, B.g, (size_t)B.adam * 4);
}

/* Seconds of one call: once to warm up, then at least three times and about the budget. */
static double seconds(int (*f)(void))
{
    must(f());
    must(wan_dev_sync(dev));
    double t = wan_now();
    must(f());
    must(wan_dev_sync(dev));
    t = wan_now() - t;
    int n = budget == 0 ? 1 : t > 0.15 ? 3 : (int)(budget / (t + 2.5e-4)) + 3;
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
    B.ffn = fill(WAN_F32, FFN, 1).p;
    B.bias = fill(WAN_F32, TEXT, 1).p, B.wgrad = fill(WAN_F32, D * FFN, 1).p;
    rotation();
    B.adam = ADAM;
    B.p = fill(WAN_F32, B.adam, 1).p, B.g = fill(WAN_F32, B.adam, 1).p;
    B.m = take((size_t)B.adam * 8);
    must(wan_dev_zero(dev, B.m, (size_t)B.adam * 8));
    B.sum = take(64);
    wan_real row[WAN_ADAMW_ROW];
    must(wan_adamw_row(row, &adamw, 1e-5, 0.01, 3));
    B.row = take(sizeof row);
    must(wan_dev_write(dev, B.row, row, sizeof row));
    B.self = (wan_attn){ &B.pack, &B.pack, (int)H, HD, 0.08838834764831845, D, D, D, D, NULL };
    B.cross = B.self;
    B.cross.pk = &B.text;
    B.cross.kbias = B.bias;
}

static double all(void)
{
    return (double)(S * D);
}

static double wide(void)
{
    return (double)(S * FFN);
}

static void ceilings(void)
{
    row("ceiling: device copy, read + write", copy, 8.0 * (double)B.adam, 0);
    row("ceiling: 8192^3 product, bf16", square, 0, 2.0 * (double)(CUBE * CUBE * CUBE));
}

static void rows(void)
{
    const double r = all(), w = wide();
    row("LayerNorm + modulation", ln_f, 6 * r, 0);
    row("  backward", ln_b, 14 * r, 0);
    row("RMSNorm + RoPE", rms_f, 4 * r, 0);
    row("  backward", rms_b, 6 * r, 0);
    row("gated residual", res_f, 10 * r, 0);
    row("  backward", res_b, 8 * r, 0);
    row("GELU", act_f, 4 * w, 0);
    row("  backward", act_b, 6 * w, 0);
    row("AdamW and bf16 copy, 419 M parameters", adam, 30.0 * (double)B.adam, 0);
    row("sum of squares", sumsq, 4.0 * (double)B.adam, 0);
    row("fp32 to bf16", cast, 6.0 * (double)B.adam, 0);
}

static void products(void)
{
    const double f = 2 * all() * (double)D, up = 2 * all() * (double)FFN;
    row("linear 5120 -> 5120 + bias", lin_f, 0, f);
    row("  gradient of x", lin_d, 0, f);
    row("  gradient of w and b, accumulated", lin_w, 0, f);
    row("linear 5120 -> 13824", up_f, 0, up);
    row("  gradient of x", up_d, 0, up);
    row("  gradient of w, accumulated", up_w, 0, up);
    row("  and of b", up_b, 0, up);
    row("  with bias and GELU, of what is kept", up_g, 0, up);
    row("  gradient of x through GELU, down", down_d, 0, up);
}

static void attention(void)
{
    const double r = all(), a = 4 * r * (double)S;
    row("self-attention", self_f, 0, a);
    row("  backward, deterministic", self_b, 0, 2.5 * a);
    dev->flags |= WAN_DEV_NONDETERMINISTIC;
    row("  backward, any order", self_b, 0, 2.5 * a);
    dev->flags &= ~WAN_DEV_NONDETERMINISTIC;
    dev->flags |= WAN_DEV_OWN;
    row("  backward, two passes", self_b, 0, 2.5 * a);
    dev->flags &= ~WAN_DEV_OWN;
    row("cross-attention, 129 keys with bias", cross_f, 4 * r, 0);
    row("  backward, deterministic", cross_b, 8 * r, 0);
    dev->flags |= WAN_DEV_OWN;
    row("  backward, two passes", cross_b, 8 * r, 0);
    dev->flags &= ~WAN_DEV_OWN;
}

/* what: one of these tables, or "ops": all. */
static void ops(const char *what)
{
    static void (*const table[])(void) = { rows, products, attention };
    static const char *const name[] = { "rows", "products", "attention" };
    ops_setup();
    printf("\n| at D 5120, 40 heads, ffn 13824, 37,440 tokens | ms | floor, ms | rate |\n"
           "|---|---:|---:|---:|\n");
    ceilings();
    for (int i = 0; i < 3; i++)
        if (!strcmp(what, name[i]) || !strcmp(what, "ops"))
            table[i]();
}

static int usage(void)
{
    fprintf(stderr,
            "usage: bench_gpu ceilings|rows|products|attention|ops [tiny]\n"
            "       bench_gpu step SIZE [layers [none|selective|full [fp8]]]\n"
            "       bench_gpu --count: floors, without a GPU\n"
            "       bench_gpu sample SIZE [steps [graphs|fp8]] | decode [tiny] | encode [tiny]\n"
            "SIZE: 1.3B, 14B or tiny\n");
    return 2;
}

/* argument i, "" where there is none */
static const char *word(int argc, char **argv, int i)
{
    return i < argc ? argv[i] : "";
}

static int run(int argc, char **argv)
{
    static const char *const tables[] = { "ceilings", "rows", "products", "attention", "ops" };
    const char *what = word(argc, argv, 1), *size = word(argc, argv, 2);
    const int small = !strcmp(size, "tiny");
    if (small)
        tiny();
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (!strcmp(what, tables[i]))
            return ops(what), 0;
    if (!strcmp(what, "step") && *size)
        return bench_step(size, atoi(word(argc, argv, 3)), word(argc, argv, 4),
                          !strcmp(word(argc, argv, 5), "fp8"));
    if (!strcmp(what, "sample") && *size)
        return bench_sample(size, atoi(word(argc, argv, 3)), !strcmp(word(argc, argv, 4), "graphs"),
                            !strcmp(word(argc, argv, 4), "fp8"));
    if (!strcmp(what, "decode") || !strcmp(what, "encode"))
        return bench_vae(!strcmp(what, "encode"), small);
    return strcmp(what, "nothing") ? usage() : 0;
}

int main(int argc, char **argv)
{
    char text[256];
    const char *device = getenv("WAN_CHECK_DEVICE");
    if (argc < 2)
        return usage();
    if (!strcmp(argv[1], "--count"))
        return bench_count();
    if (wan_dev_open(&dev, device && *device ? device : "cuda", 0) < 0) {
        fprintf(stderr, "bench_gpu: SKIPPED: %s\n", wan_err_text());
        return 3;
    }
    if (getenv("WAN_BENCH_ANY_ORDER"))
        dev->flags |= WAN_DEV_NONDETERMINISTIC;
    if (getenv("WAN_BENCH_TWO_PASSES"))
        dev->flags |= WAN_DEV_OWN;
    op = dev->ops;
    must(dev->backend->describe(dev, text, sizeof text));
    fprintf(stderr, "# %s\n", text);
    return run(argc, argv);
}
