/* SPDX-License-Identifier: Apache-2.0
 *
 * check_gguf.c - every type of block and of metadata as the package `gguf` of PyPI unpacked them
 * (tests/reference/ref_gguf.py), spoilt and cut files, and what we write.
 */
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/le.h"
#include "lib/base/rng.h"
#include "lib/rec/tensor/gguf.h"
#include "tests/tap.h"

#define REF "tests/data/ref/gguf/"

static char path[] = "/tmp/wan-gguf.XXXXXX";

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const wan_gguf_tensor *const *)a)->name,
                  (*(const wan_gguf_tensor *const *)b)->name);
}

static void values(const wan_gguf *g)
{
    const wan_gguf_tensor *t[32];
    char *data;
    size_t n, at = 0;
    if (!ok(wan_gguf_count(g) == 12 && wan_slurp(&data, &n, REF "types.f32", 1 << 20) == 0,
            "12 tensors"))
        return;
    for (size_t i = 0; i < 12; i++)
        t[i] = wan_gguf_at(g, i);
    qsort(t, 12, sizeof *t, by_name);
    for (size_t i = 0; i < 12; i++) {
        float f[2048];
        uint16_t h[2048];
        const float *want = (const float *)(data + at);
        size_t count = (size_t)t[i]->count;
        at += 4 * count;
        if (!ok(at <= n && count <= 2048 && wan_gguf_read(g, t[i], f, WAN_F32) == 0 &&
                    wan_gguf_read(g, t[i], h, WAN_BF16) == 0,
                "%s is read", t[i]->name))
            continue;
        ok_err(rel_l2(f, want, count), 1e-7, "%s", t[i]->name);
        size_t same = 0;
        for (size_t k = 0; k < count; k++)
            same += h[k] == wan_f32_to_bf16(f[k]);
        ok(same == count, "%s as bf16", t[i]->name);
    }
    ok(at == n, "all values are compared");
    free(data);
}

static void metadata(const wan_gguf *g)
{
    static const struct {
        const char *key;
        int64_t value;
    } n[] = { { "n.u8", 200 },
              { "n.i8", -5 },
              { "n.u16", 60000 },
              { "n.i16", -300 },
              { "n.i32", -70000 },
              { "n.u32", 4000000000 },
              { "n.u64", 1LL << 40 },
              { "n.bool", 1 },
              { "n.i64", -(1LL << 40) },
              { "n.f32", 7 /* other */ },
              { "array.i32", 7 },
              { "text", 7 },
              { "none", 7 } };
    for (size_t i = 0; i < sizeof n / sizeof *n; i++)
        ok(wan_gguf_number(g, n[i].key, 7) == n[i].value, "metadata %s", n[i].key);
    const char *s = wan_gguf_string(g, "text");
    ok(s && !strcmp(s, "Ein Text: \xc3\xa9 \xe7\x8c\xab"), "a string");
    ok(!wan_gguf_string(g, "n.u8") && !wan_gguf_string(g, "none"), "and none");
}

/* The file with other bytes at some place, or shorter. */
static int opens(const char *data, size_t n)
{
    wan_gguf *g = NULL;
    FILE *f0 = fopen(path, "wb");
    fwrite(data, 1, n, f0);
    fclose(f0);
    int rc = wan_gguf_open(&g, path) == 0;
    for (size_t i = 0; rc && i < wan_gguf_count(g); i++) {
        const wan_gguf_tensor *t = wan_gguf_at(g, i);
        float *f = t->count < 1 << 20 ? malloc((size_t)t->count * 4 + 4) : NULL;
        if (f && wan_gguf_read(g, t, f, WAN_F32) < 0)
            rc = -1;
        free(f);
    }
    wan_gguf_close(&g);
    return rc;
}

static void spoilt(void)
{
    char *data, *copy;
    size_t n, cut = 0, cuts = 0, named = 0;
    if (wan_slurp(&data, &n, REF "types.gguf", 1 << 20) < 0 || !(copy = malloc(n)))
        return;
    for (size_t k = 0; k < n - 32; k += k < 2000 ? 1 : 97, cuts++) {
        cut += opens(data, k) == 0;
        named += strstr(wan_err_text(), path) != NULL;
    }
    ok(cut == cuts && named == cuts, "cut anywhere it is refused (%zu of %zu), by name (%zu)", cut,
       cuts, named);
    for (size_t k = 0; k < 1500; k++) { /* whatever comes of it: no harm (ASan) */
        memcpy(copy, data, n);
        copy[k] = (char)(copy[k] ^ (1 << k % 8));
        opens(copy, n);
        memset(copy + k, 0xff, k + 8 < n ? 8 : 1);
        opens(copy, n);
    }
    ok(1, "3,000 spoilt headers do no harm");
    static const struct {
        size_t at;
        uint32_t value;
        const char *says;
    } bad[] = { { 0, 0x12345678, "not a GGUF file" },
                { 4, 1, "version 1" },
                { 4, 0x03000000, "big-endian" },
                { 12, 1, "tensors in" },
                { 20, 1, "metadata entries" } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memcpy(copy, data, n);
        wan_le_put32((uint8_t *)copy + bad[i].at, bad[i].value);
        ok(opens(copy, n) == 0 && strstr(wan_err_text(), bad[i].says), "\"%s\" (%s)", bad[i].says,
           wan_err_text());
    }
    free(copy);
    free(data);
}

static int write_file(const float *x, wan_quant q)
{
    wan_gguf_writer *w;
    const int64_t shape[4] = { 2, 1, 4, 1024 };
    WAN_TRY(wan_gguf_create(&w, path));
    int rc = wan_gguf_set_string(w, "general.architecture", "wan") < 0 ||
                     wan_gguf_set_number(w, "k", 12) < 0 ||
                     wan_gguf_set_shape(w, "a", (int64_t[]){ 1, 2, 1, 4, 1024 }, 5) < 0 ||
                     wan_gguf_declare(w, "a", q, WAN_F32, shape, 4) < 0 ||
                     wan_gguf_declare(w, "b", WAN_Q_NONE, WAN_BF16, shape + 2, 1) < 0 ||
                     wan_gguf_put(w, "a", x) < 0 || wan_gguf_put(w, "b", x) < 0
                 ? -1
                 : wan_gguf_finish(&w);
    wan_gguf_abandon(&w);
    return rc;
}

/* What is written is read; the error of a type on normal values is that of its step: 2^-7 / sqrt(12) of the
 * largest of 32 for q8_0, about a fifteenth of the span / sqrt(12) for q4_k. */
static void written(const char *name, double least, double most)
{
    enum { N = 8192 };
    static float x[N], y[N], again[N];
    wan_quant q;
    wan_gguf *g;
    const wan_rng rng = wan_rng_stream(7, WAN_RNG_NOISE, 0, 0);
    wan_rng_normal(&rng, x, 0, N);
    for (int i = 0; i < N; i++) /* rows of several sizes, and a block of zeros */
        x[i] = i / 256 == 3 ? 0 : x[i] * (float)(1 + i / 1024);
    if (!ok(wan_quant_parse(&q, name) == 0 && write_file(x, q) == 0 && wan_gguf_open(&g, path) == 0,
            "%s is written and read (%s)", name, wan_err_text()))
        return;
    const wan_gguf_tensor *t = wan_gguf_at(g, 0);
    ok(t->quant == q && t->rank == 5 && t->shape[0] == 1 && t->shape[4] == 1024 &&
           wan_gguf_number(g, "k", 0) == 12,
       "%s: its type and the shape it had", name);
    ok(wan_gguf_at(g, 1)->dtype == WAN_BF16 && wan_gguf_at(g, 1)->count == 4,
       "%s: and the other one", name);
    ok(wan_gguf_read(g, t, y, WAN_F32) == 0, "%s: unpacked", name);
    double e = rel_l2(y, x, N);
    ok(e > least && e < most, "%s: error %.4f of normal values (%.4f to %.4f)", name, e, least,
       most);
    wan_gguf_close(&g);
    ok(write_file(y, q) == 0 && wan_gguf_open(&g, path) == 0 &&
           wan_gguf_read(g, wan_gguf_at(g, 0), again, WAN_F32) == 0,
       "%s: written again", name);
    ok_err(rel_l2(again, y, N), q == WAN_Q8_0 ? 1e-3 : 0.03, "%s: with nearly the same values",
           name);
    wan_gguf_close(&g);
}

/* Errors of many normal values cancel: a mean that drifts would add up over a row. */
static void unbiased(wan_quant q, double most)
{
    enum { N = 1 << 20 };
    float *x = malloc(N * sizeof *x), *y = malloc(N * sizeof *y);
    void *blocks = malloc(N * 2);
    const wan_rng rng = wan_rng_stream(8, WAN_RNG_NOISE, 0, 0);
    double sum = 0;
    wan_rng_normal(&rng, x, 0, N);
    int rc = wan_quant_encode(blocks, x, q, N);
    wan_quant_decode(y, blocks, q, N);
    for (int i = 0; i < N; i++)
        sum += y[i] - x[i];
    ok(rc == 0 && fabs(sum / N) < most,
       "%s: mean error %.1e of a million normal values (below %.0e)", wan_quant_name(q), sum / N,
       most);
    free(x);
    free(y);
    free(blocks);
}

/* What no block can hold, and what a reader would take the first of. */
static void refused(void)
{
    float x[256];
    uint8_t block[512];
    for (int i = 0; i < 256; i++)
        x[i] = i == 7 ? 1e8f : 1;
    ok(wan_quant_encode(block, x, WAN_Q8_0, 256) < 0, "q8_0: %s", wan_err_text());
    ok(wan_quant_encode(block, x, WAN_Q4_K, 256) < 0, "q4_k: %s", wan_err_text());
    wan_gguf_writer *w = NULL;
    int rc = wan_gguf_create(&w, path);
    for (uint32_t i = 0; rc == 0 && i < 2; i++)
        rc = wan_gguf_set_number(w, "n", i);
    ok(rc == 0 && wan_gguf_finish(&w) < 0 && strstr(wan_err_text(), "metadata n is there twice"),
       "a key twice: %s", wan_err_text());
}

int main(void)
{
    wan_gguf *g;
    int fd = mkstemp(path);
    close(fd);
    if (ok(wan_gguf_open(&g, REF "types.gguf") == 0, "a file of every type (%s)", wan_err_text())) {
        values(g);
        metadata(g);
        wan_gguf_close(&g);
    }
    spoilt();
    written("q8_0", 0.003, 0.009);
    written("q4_k", 0.03, 0.08);
    unbiased(WAN_Q8_0, 1e-4);
    unbiased(WAN_Q4_K, 4e-4);
    refused();
    wan_quant q;
    static float x[8192];
    ok(wan_quant_parse(&q, "q3_x") < 0, "a type that is none");
    ok(write_file(x, WAN_Q6_K) < 0 && strstr(wan_err_text(), "only as q8_0 and q4_k"),
       "a type without a writer");
    unlink(path);
    return tap_done();
}
