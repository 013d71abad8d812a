/* SPDX-License-Identifier: Apache-2.0
 *
 * check_held.c - a transformer of random weights through GGUF files, of one type of blocks and of several: a store
 * that keeps the blocks holds the values of one that is unpacked to bf16, in less memory, and predicts what that
 * predicts; and how far either is from the weights before.
 */
#include <unistd.h>

#include "kernels/linear_simd.h"
#include "lib/base/rng.h"
#include "lib/model/files/modelio.h"
#include "lib/model/files/quantize.h"
#include "lib/rec/tensor/gguf.h"
#include "lib/rec/tensor/safetensors.h"
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

enum source { VALUES, UNPACKED, KEPT };

/* A model with the values themselves, or those of the file, and its prediction. */
static void predict(netrun *m, wan_dev *d, const wan_net_config *c, enum source from, float *pred)
{
    wan_capacity cap = { .tokens = S, .samples = 1, .text_rows = ROWS + 1 };
    MUST(netrun_open(m, d, c, WAN_BF16, 0, &cap));
    wan_store_free(&m->s);
    wan_params params;
    MUST(m->arch.model->params(&params, m->arch.c));
    if (from == KEPT)
        MUST(wan_modelio_held(&params, file));
    MUST(wan_store_new(&m->s, d, &params, NULL, WAN_BF16, 0));
    if (from != VALUES)
        MUST(wan_modelio_load(m->s, file));
    for (int i = 0; i < m->s->params.n && from == VALUES; i++) {
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
static void in_bytes(wan_dev *d, const wan_net_config *c, const char *name, const float *first,
                     double most)
{
    static float pred[S * 64];
    netrun m;
    if (d->ops->linear_forward == wan_linear_forward_c)
        return; /* the reference has none */
    unsetenv("WAN_CPU_INT8");
    if (wan_linear_int8()) {
        predict(&m, d, c, KEPT, pred);
        double e = rel_l2(pred, first, S * 64);
        ok(e > most / 8 && e < most, "%s: its error in bytes: %.4f (bound %.3f)", name, e, most);
        netrun_close(&m);
    } else {
        tap_skip(name, "in bytes: no AVX512-VNNI, or AMX");
    }
    setenv("WAN_CPU_INT8", "0", 1);
}

/* Every value of a is that of b, as its operands hold it. */
static int same_values(const wan_store *a, const wan_store *b)
{
    int same = 1;
    for (int i = 0; i < a->params.n; i++) {
        const size_t count = (size_t)a->params.v[i].count;
        float *x = malloc(count * 4), *y = malloc(count * 4);
        MUST(wan_store_get(a, i, x));
        MUST(wan_store_get(b, i, y));
        for (size_t k = 0; k < count; k++)
            same &= x[k] == (a->params.v[i].gemm ? wan_bf16_to_f32(wan_f32_to_bf16(y[k])) : y[k]);
        free(x);
        free(y);
    }
    return same;
}

static void planned(const wan_store *s, const char *name)
{
    wan_store_bytes small, large;
    int64_t total;
    wan_params plain = s->params;
    plain.v = malloc((size_t)plain.n * sizeof *plain.v);
    memcpy(plain.v, s->params.v, (size_t)plain.n * sizeof *plain.v);
    for (int i = 0; i < plain.n; i++)
        plain.v[i].blocks = WAN_Q_NONE;
    MUST(wan_store_plan(&small, &total, &s->params, NULL, WAN_BF16, 0));
    MUST(wan_store_plan(&large, &total, &plain, NULL, WAN_BF16, 0));
    ok(small.weights < large.weights, "%s: planned in %lld bytes of weights, %lld as bf16", name,
       (long long)small.weights, (long long)large.weights);
    ok(wan_store_plan(&small, &total, &s->params, NULL, WAN_BF16, 1) < 0 &&
           wan_store_plan(&small, &total, &s->params, NULL, WAN_REAL, 0) < 0,
       "%s: neither for training nor for fp32", name);
    free(plain.v);
}

/* The file is written: held is the number of matrices of each type that it has in the blocks of the model. */
static void through(wan_dev *d, const wan_net_config *c, const char *name, const int *held,
                    const float *first, double most)
{
    static float wide[S * 64], kept[S * 64];
    netrun bf16, blocks;
    int n[WAN_QUANTS] = { 0 };
    predict(&bf16, d, c, UNPACKED, wide);
    predict(&blocks, d, c, KEPT, kept);
    for (int i = 0; i < blocks.s->params.n; i++)
        n[blocks.s->params.v[i].blocks]++;
    ok(n[WAN_Q8_0] == held[WAN_Q8_0] && n[WAN_Q4_K] == held[WAN_Q4_K],
       "%s: %d matrices stay q8_0, %d q4_k", name, n[WAN_Q8_0], n[WAN_Q4_K]);
    ok(same_values(bf16.s, blocks.s), "%s: every value is that of the unpacked model", name);
    ok_err(rel_l2(kept, wide, S * 64), 4e-3, "%s: the prediction, beside the unpacked model's",
           name);
    double e = rel_l2(kept, first, S * 64);
    ok(e > most / 8 && e < most, "%s: its error against the weights before: %.4f (bound %.3f)",
       name, e, most);
    in_bytes(d, c, name, first, most);
    planned(blocks.s, name);
    netrun_close(&bf16);
    netrun_close(&blocks);
}

/* All matrices in one type of blocks; returns how many of the model's blocks. */
static int write_one(const netrun *m, wan_quant q)
{
    float *last = NULL;
    int n, inner = 0;
    fetched = &m->s->params;
    MUST(wan_quantize(&n, &m->arch, fetched, file, q, fetch, &last));
    free(last);
    for (int i = 0; i < fetched->n; i++)
        inner += fetched->v[i].gemm && fetched->v[i].part;
    return inner;
}

/* In turn q4_k, q8_0, fp16 and fp32; counts those of the model's blocks. */
static void write_mixed(const netrun *m, int held[WAN_QUANTS])
{
    static const wan_quant turn[4] = { WAN_Q4_K, WAN_Q8_0, WAN_Q_NONE, WAN_Q_NONE };
    const wan_params *p = &m->s->params;
    wan_gguf_writer *w;
    MUST(wan_gguf_create(&w, file));
    MUST(wan_gguf_set_string(w, "general.architecture", "wan"));
    MUST(
        wan_gguf_set_number(w, "wan.attention.head_count", (uint32_t)(m->z.width / m->z.head_dim)));
    for (int i = 0, k = 0; i < p->n; i++) {
        const wan_param *q = &p->v[i];
        wan_quant t = q->gemm && q->rank == 2 ? turn[k++ % 4] : WAN_Q_NONE;
        wan_dtype plain = q->gemm && k % 4 == 3 ? WAN_F16 : WAN_F32;
        int64_t flat[2] = { q->shape[0], q->count / q->shape[0] };
        held[t] += q->gemm && q->part;
        if (q->rank > 4) /* as many extents as ggml has room for */
            MUST(wan_gguf_set_shape(w, q->official, q->shape, q->rank));
        MUST(wan_gguf_declare(w, q->official, t, plain, q->rank > 4 ? flat : q->shape,
                              q->rank > 4 ? 2 : q->rank));
    }
    for (int i = 0; i < p->n; i++) {
        float *v = value(&p->v[i], i);
        MUST(wan_gguf_put(w, p->v[i].official, v));
        free(v);
    }
    MUST(wan_gguf_finish(&w));
    wan_gguf_abandon(&w);
}

/* A safetensors file of bf16: its matrices are read where they are. */
static void plain(wan_dev *d, const wan_net_config *c, const netrun *m, const float *first)
{
    static float pred[S * 64];
    const wan_params *p = &m->s->params;
    char before[sizeof file];
    int operands = 0, mapped = 0;
    netrun n;
    wan_st_writer *w;
    memcpy(before, file, sizeof file);
    memcpy(file + strlen(file) - 5, ".st", 4);
    MUST(wan_st_create(&w, file));
    for (int i = 0; i < p->n; i++)
        MUST(wan_st_declare(w, p->v[i].name, p->v[i].gemm ? WAN_BF16 : WAN_F32, p->v[i].shape,
                            p->v[i].rank));
    for (int i = 0; i < p->n; i++) {
        float *v = value(&p->v[i], i);
        MUST(wan_st_put(w, p->v[i].name, v, WAN_F32));
        free(v);
    }
    MUST(wan_st_finish(&w));
    predict(&n, d, c, KEPT, pred);
    for (int i = 0; i < p->n; i++) {
        operands += p->v[i].gemm;
        mapped += n.s->item[i].mapped != NULL;
    }
    ok(operands && mapped == operands && n.s->own == 0, "bf16: all %d matrices stay in the file",
       mapped);
    ok(same_values(m->s, n.s), "bf16: every value is that of the file");
    ok_err(rel_l2(pred, first, S * 64), 2e-3, "bf16: the prediction is that of the weights");
    netrun_close(&n);
    unlink(file);
    memcpy(file, before, sizeof file);
}

static void device(wan_dev *d, const wan_net_config *c)
{
    static float first[S * 64];
    netrun before;
    int q8_0[WAN_QUANTS] = { 0 }, q4_k[WAN_QUANTS] = { 0 }, mixed[WAN_QUANTS] = { 0 };
    predict(&before, d, c, VALUES, first);
    q8_0[WAN_Q8_0] = write_one(&before, WAN_Q8_0);
    through(d, c, "q8_0", q8_0, first, 0.03);
    q4_k[WAN_Q4_K] = write_one(&before, WAN_Q4_K);
    through(d, c, "q4_k", q4_k, first, 0.3);
    write_mixed(&before, mixed);
    through(d, c, "mixed", mixed, first, 0.15);
    ok(mixed[WAN_Q8_0] > 4 && mixed[WAN_Q4_K] > 4, "mixed: both types are there");
    plain(d, c, &before, first);
    netrun_close(&before);
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
        device(d, &c);
        wan_dev_close(&d);
    }
    unlink(file);
    return tap_done();
}
