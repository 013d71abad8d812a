/* SPDX-License-Identifier: Apache-2.0
 * Times whole training steps (noise, forward, loss, backward, clip, AdamW) of one sample, and every op in
 * the best of them; arguments "bf16" or "fp32" pick a precision, a number then one of the models. */
#include <math.h>

#include "lib/model/flow.h"
#include "lib/model/wan/net.h"
#include "lib/train/optim.h"
#include "lib/train/step.h"
#include "tests/bench/table.h"

typedef struct job {
    const char *name;
    wan_net_config c;
    int64_t latent[4]; /* C, T', h, w */
    double budget;     /* seconds to spend */
} job;

typedef struct ctx {
    wan_step *s;
    wan_optim *o;
    wan_step_sample v;
    double best; /* seconds of the fastest step, and its ops */
    table_row row[TABLE_ROWS];
    int rows;
} ctx;

static int step(void *arg)
{
    ctx *c = (ctx *)arg;
    double norm, t = bench_now();
    table_clear();
    WAN_TRY(wan_store_zero_grad(c->s->store));
    WAN_TRY(wan_step_run(c->s, &c->v, 1, 0, 1, NULL));
    WAN_TRY(wan_optim_norm(c->o, &norm));
    if (!isfinite(norm))
        return wan_err("the gradient is not finite");
    WAN_TRY(wan_optim_step(c->o, 1e-5, 0.1, 1.0));
    t = bench_now() - t;
    table_keep(c->row, c->rows);
    if (t < c->best) {
        c->best = t;
        c->rows = table.rows;
        memcpy(c->row, table.row, sizeof c->row);
    }
    return 0;
}

static float *noise(int64_t n, uint64_t seed)
{
    float *x = malloc((size_t)n * sizeof *x);
    wan_rng r = wan_rng_stream(seed, WAN_RNG_TEST, 0, 0);
    if (!x)
        exit(1);
    wan_rng_normal(&r, x, 0, (size_t)n);
    return x;
}

static const wan_flow flow = { .shift = 3 };

static void run(const job *j, wan_dtype t, const bench_peaks *peak)
{
    const int64_t *l = j->latent;
    int64_t tokens = l[1] * (l[2] / 2) * (l[3] / 2), rows = j->c.text_len;
    wan_capacity cap = { .tokens = tokens, .samples = 1, .text_rows = rows + 1 };
    wan_dev *d;
    wan_arch arch;
    wan_store *m;
    ctx c = { .best = 1e30 };
    bench_must(wan_dev_open(&d, "cpu", 0));
    table_watch(d);
    wan_model_arch(&arch, &wan_net_model, &j->c);
    bench_must(wan_model_store(&m, d, &arch, NULL, t, 1));
    bench_must(wan_store_init(m, 1));
    bench_must(wan_step_new(&c.s, d, &arch, m, &cap, 1));
    bench_must(wan_optim_new(&c.o, m, 0.9, 0.95, 1e-8, 1));
    float *x0 = noise(l[0] * l[1] * l[2] * l[3], 1), *text = noise(rows * j->c.text_dim, 2);
    c.v = (wan_step_sample){ .latent = { l[0], l[1], l[2], l[3] },
                             .x0 = x0,
                             .text = text,
                             .text_rows = rows,
                             .draw = wan_flow_objective.at_sigma(&flow, 0.6f),
                             .coef = 1,
                             .stream = wan_rng_stream(3, WAN_RNG_TEST, 0, 0) };
    double s = bench_best(step, &c, j->budget);
    double flop = 3 * wan_net_flops(&j->c, 1, &tokens);
    printf("| %s | %s | %6.1f | %7.1f | %8.4f | %5.0f | %7.0f |\n", j->name,
           t == WAN_BF16 ? "bf16" : "fp32", (double)m->params.count / 1e6, flop / 1e9, s,
           flop / s / 1e9, (double)tokens / s);
    table_print(c.row, c.rows, c.best, t == WAN_BF16 ? peak->bf16 : peak->f32, peak->triad);
    table_leave(d);
    wan_optim_free(&c.o);
    wan_step_free(&c.s);
    wan_store_free(&m);
    wan_dev_close(&d);
    free(x0);
    free(text);
}

int main(int argc, char **argv)
{
    static const job jobs[] = {
        { "D 1536, 2 layers, ffn 8960, 1560 tokens, 512 text rows of 4096",
          { 12, 128, 2, 8960, 16, 16, 4096, 512, 256, 2, 2, 1e-6 },
          { 16, 1, 60, 104 },
          12 },
        { "D 256, 4 layers, ffn 1536, 400 tokens, 512 text rows of 256",
          { 4, 64, 4, 1536, 16, 16, 256, 512, 256, 2, 2, 1e-6 },
          { 16, 1, 40, 40 },
          2 },
        { "D 256, 6 layers, ffn 1024, 48 tokens, 24 text rows of 256",
          { 4, 64, 6, 1024, 16, 16, 256, 24, 256, 2, 2, 1e-6 },
          { 16, 3, 8, 8 },
          1 },
    };
    printf("\nTraining step, wan-tools, %d threads\n\n", wan_rows_threads());
    const char *head = "| model | precision | M param | GFLOP | s/step | GFLOP/s | tokens/s |\n"
                       "|---|---|---:|---:|---:|---:|---:|";
    bench_peaks peak = bench_peak();
    printf("peak: fp32 %.0f GFLOP/s, bf16 %.0f GFLOP/s, triad %.1f GB/s\n\n", peak.f32, peak.bf16,
           peak.triad);
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++)
        for (int t = 0; t < 2; t++)
            if ((argc < 2 || strcmp(argv[1], t ? "fp32" : "bf16") == 0) &&
                (argc < 3 || (size_t)atoi(argv[2]) == i)) {
                puts(head);
                run(&jobs[i], t ? WAN_REAL : WAN_BF16, &peak);
            }
    return 0;
}
