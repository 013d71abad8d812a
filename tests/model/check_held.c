/* SPDX-License-Identifier: Apache-2.0
 *
 * check_held.c - a transformer of random weights through GGUF files: a store that keeps the blocks holds the
 * values of one that is unpacked to bf16, in less memory, and predicts what that predicts; and how far either is
 * from the weights before.
 */
#include <unistd.h>

#include "kernels/linear_simd.h"
#include "lib/base/rng.h"
#include "lib/model/files/modelio.h"
#include "lib/model/files/quantize.h"
#include "tests/must.h"
#include "tests/tap.h"
#include "tests/netrun.h"

enum { TEXT = 256, ROWS = 20, H = 12, W = 10, S = H * W };

static char file[] = "/tmp/wan-held.XXXXXX.gguf";
static const int64_t grid[1][3] = { { 1, H, W } }, text_len[1] = { ROWS };
static wan_real when[1] = { 500 };
static float in_rows[S * 64], text[ROWS * TEXT];

static void noise(float *v, int64_t n, uint64_t what, double std)
{
    wan_rng r = wan_rng_stream(3, WAN_RNG_TEST, what, 0);
    wan_rng_normal(&r, v, 0, (size_t)n);
    for (int64_t i = 0; i < n; i++)
        v[i] = (float)(v[i] * std);
}

/* Parameter i: random, and of a size that keeps all gates open. */
static float *value(const wan_param *q, int i)
{
    float *v = malloc((size_t)q->count * sizeof *v);
    int matrix = q->rank > 1 && q->role != WAN_ROLE_MODULATION;
    noise(v, q->count, 100 + (uint64_t)i,
          matrix ? 1 / sqrt((double)q->count / (double)q->shape[0]) : 0.2);
    for (int64_t k = 0; q->init == WAN_INIT_ONE && k < q->count; k++)
        v[k] += 1;
    return v;
}

static const wan_params *fetched;
static int fetch(void *arg, int i, const void **data, wan_dtype *t)
{
    float **last = arg;
    free(*last);
    *data = *last = value(&fetched->v[i], i);
    *t = WAN_F32;
    return 0;
}

/* A model whose store holds `compute`, and its prediction; from the file, or the values themselves. */
static void predict(netrun *m, wan_dev *d, const wan_net_config *c, wan_dtype compute,
                    int from_file, float *pred)
{
    wan_capacity cap = { S, 1, ROWS + 1, 0, 0 };
    MUST(netrun_open(m, d, c, WAN_BF16, 0, &cap));
    wan_store_free(&m->s);
    MUST(wan_model_store(&m->s, d, &m->arch, NULL, compute, 0));
    if (from_file)
        MUST(wan_modelio_load(m->s, file));
    for (int i = 0; i < m->s->params.n && !from_file; i++) {
        float *v = value(&m->s->params.v[i], i);
        MUST(wan_store_put(m->s, i, v));
        free(v);
    }
    wan_micro in = { .n = 1,
                     .grid = grid,
                     .t = when,
                     .text_len = text_len,
                     .rows = WAN_RBUF(in_rows),
                     .text = WAN_RBUF(text) };
    MUST(netrun_forward(m, &in, NULL, pred));
}

/* The same in products of bytes, where this CPU has them. */
static void in_bytes(wan_dev *d, const wan_net_config *c, const char *name, wan_dtype held,
                     const float *first, double most)
{
    static float pred[S * 64];
    netrun m;
    if (d->ops->linear_forward == wan_linear_forward_c)
        return; /* the reference has none */
    unsetenv("WAN_CPU_INT8");
    if (wan_linear_int8()) {
        predict(&m, d, c, held, 1, pred);
        double e = rel_l2(pred, first, S * 64);
        ok(e > most / 8 && e < most, "%s: its error in bytes: %.4f (bound %.3f)", name, e, most);
        netrun_close(&m);
    } else {
        tap_skip(name, "in bytes: no AVX512-VNNI, or AMX");
    }
    setenv("WAN_CPU_INT8", "0", 1);
}

static void through(wan_dev *d, const wan_net_config *c, const char *name, double most)
{
    static float first[S * 64], wide[S * 64], kept[S * 64];
    netrun before, bf16, blocks;
    wan_quant q;
    wan_dtype held;
    float *last = NULL;
    int n, same = 1;
    MUST(wan_quant_parse(&q, name));
    predict(&before, d, c, WAN_BF16, 0, first);
    fetched = &before.s->params;
    MUST(wan_quantize(&n, &before.arch, fetched, file, q, fetch, &last));
    free(last);
    MUST(wan_modelio_held(&held, fetched, file));
    ok(held == wan_quant_type(q), "%s: blocks of one type are kept", name);
    predict(&bf16, d, c, WAN_BF16, 1, wide);
    predict(&blocks, d, c, held, 1, kept);
    for (int i = 0; i < fetched->n; i++) {
        const size_t count = (size_t)fetched->v[i].count;
        float *a = malloc(count * 4), *b = malloc(count * 4);
        MUST(wan_store_get(bf16.s, i, a));
        MUST(wan_store_get(blocks.s, i, b));
        for (size_t k = 0; k < count; k++)
            same &= a[k] == (fetched->v[i].gemm ? wan_bf16_to_f32(wan_f32_to_bf16(b[k])) : b[k]);
        free(a);
        free(b);
    }
    ok(same, "%s: every value is that of the unpacked model", name);
    ok_err(rel_l2(kept, wide, S * 64), 4e-3, "%s: the prediction, beside the unpacked model's",
           name);
    double e = rel_l2(kept, first, S * 64);
    ok(e > most / 8 && e < most, "%s: its error against the weights before: %.4f (bound %.3f)",
       name, e, most);
    in_bytes(d, c, name, held, first, most);
    wan_store_bytes small, large;
    int64_t total;
    MUST(wan_store_plan(&small, &total, fetched, NULL, held, 0));
    MUST(wan_store_plan(&large, &total, fetched, NULL, WAN_BF16, 0));
    ok(small.weights < large.weights, "%s: planned in %lld bytes of weights, %lld as bf16", name,
       (long long)small.weights, (long long)large.weights);
    ok(wan_store_plan(&small, &total, fetched, NULL, held, 1) < 0, "%s: not for training", name);
    netrun_close(&before);
    netrun_close(&bf16);
    netrun_close(&blocks);
}

int main(void)
{
    static const char *const devices[] = { "ref", "cpu" };
    const wan_net_config c = { 2, 128, 2, 512, 16, 16, TEXT, 512, 256, 2, 2, 1e-6 };
    setenv("WAN_CPU_INT8", "0", 1);
    int fd = mkstemps(file, 5);
    close(fd);
    noise(in_rows, S * 64, 1, 1);
    noise(text, ROWS * TEXT, 2, 1);
    for (int k = 0; k < 2; k++) {
        wan_dev *d;
        MUST(wan_dev_open(&d, devices[k], 0));
        through(d, &c, "q8_0", 0.03);
        through(d, &c, "q4_k", 0.3);
        wan_dev_close(&d);
    }
    unlink(file);
    return tap_done();
}
