/* SPDX-License-Identifier: Apache-2.0
 *
 * check_umt5.c - text rows against transformers' UMT5EncoderModel (every umt5* of WAN_REF).
 *
 * 1e-5 relative L2 in float: the dump's own distance from double is 3e-7.  bf16: 2e-2, two layers
 * of 8-bit operands.
 */
#include "tests/refs.h"
#include "tests/tap.h"

#include "kernels/ops.h"
#include "lib/model/text/text.h"
#include "lib/rec/tensor/safetensors.h"

#define CASES 8

static void check(const char *dir, const char *dev, wan_dtype compute, double bound)
{
    char path[640];
    wan_dev *d;
    wan_umt5 *e;
    wan_st *in, *out;
    const int32_t *ids[CASES];
    int64_t len[CASES], S = 0;
    int cases = 0, rc;
    snprintf(path, sizeof path, "%s/in.safetensors", dir);
    rc = wan_dev_open(&d, dev, 0) | wan_st_open(&in, path);
    snprintf(path, sizeof path, "%s/out.safetensors", dir);
    rc |= wan_st_open(&out, path);
    snprintf(path, sizeof path, "%s/text_encoder", dir);
    if (rc || !ok(wan_umt5_open(&e, d, path, compute) == 0, "%s: opened", dev)) {
        fprintf(stderr, "%s\n", wan_err_text());
        exit(1);
    }
    int64_t D = wan_umt5_width(e);
    for (int i = 0; i < CASES; i++) {
        char name[32];
        snprintf(name, sizeof name, "ids.%d", i);
        wan_st_tensor *t = wan_st_find(in, name);
        if (!t)
            break;
        cases++;
        int32_t *copy = malloc(t->bytes);
        memcpy(copy, t->data, t->bytes);
        ids[i] = copy;
        S += len[i] = t->count;
    }
    float *rows = malloc((size_t)(S * D) * sizeof *rows), *p = rows;
    rc = wan_umt5_encode(e, rows, ids, len, cases);
    ok(rc == 0 && cases >= 3, "%s %s: %d captions in one walk", refs_name(dir), dev, cases);
    for (int i = 0; i < cases; p += len[i++] * D) {
        char name[32];
        snprintf(name, sizeof name, "rows.%d", i);
        int64_t n = len[i] * D, shape[2] = { len[i], D };
        float *want = malloc((size_t)n * sizeof *want), *alone = malloc((size_t)n * sizeof *alone);
        if (wan_st_load(out, name, shape, 2, want, WAN_F32) < 0)
            exit(1);
        ok_err(rel_l2(p, want, (size_t)n), bound, "%s %s %s: %d tokens", refs_name(dir), dev,
               wan_dtype_name(compute), (int)len[i]);
        rc = wan_umt5_encode(e, alone, &ids[i], &len[i], 1);
        ok_err(rc < 0 ? INFINITY : rel_l2(alone, p, (size_t)n), bound / 10, "  the same as alone");
        free(want), free(alone);
    }
    int32_t bad = 1 << 20;
    const int32_t *list = &bad;
    int64_t one = 1;
    rc = wan_umt5_encode(e, rows, &list, &one, 1);
    ok(rc < 0, "an id too large: %s", wan_err_text());
    wan_umt5_close(&e);
    ok(d->allocated == d->scratch_bytes, "%s: all memory given back", dev);
    for (int i = 0; i < cases; i++)
        free((void *)ids[i]);
    free(rows);
    wan_st_close(&in);
    wan_st_close(&out);
    wan_dev_close(&d);
}

int main(void)
{
    wan_dev *d;
    wan_umt5 *e;
    const char *dev = refs_device();
    refs cases = refs_find("umt5", "case.json");
    ok(cases.n > 0, "%d cases in %s", cases.n, refs_root());
    for (int i = 0; i < cases.n; i++) {
        if (refs_small())
            check(cases.dir[i], "ref", WAN_F32, 1e-5);
        check(cases.dir[i], dev, WAN_F32, 1e-5);
        check(cases.dir[i], dev, WAN_BF16, 2e-2);
    }
    ok(wan_dev_open(&d, "cpu", 0) == 0 &&
           wan_umt5_open(&e, d, REFS_SMALL "/vae_r1/vae", WAN_F32) < 0 && !e,
       "another model's folder is refused: %s", wan_err_text());
    wan_dev_close(&d);
    return tap_done();
}
