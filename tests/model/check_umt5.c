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

typedef struct captions {
    wan_st *in, *out; /* token ids; rows of the reference */
    int32_t *ids[CASES];
    int64_t len[CASES], S;
    int n;
} captions;

static int open_captions(captions *c, const char *dir)
{
    char path[640], name[32];
    *c = (captions){ 0 };
    snprintf(path, sizeof path, "%s/in.safetensors", dir);
    WAN_TRY(wan_st_open(&c->in, path));
    snprintf(path, sizeof path, "%s/out.safetensors", dir);
    WAN_TRY(wan_st_open(&c->out, path));
    for (; c->n < CASES; c->n++) {
        snprintf(name, sizeof name, "ids.%d", c->n);
        wan_st_tensor *t = wan_st_find(c->in, name);
        if (!t)
            break;
        c->ids[c->n] = malloc(t->bytes);
        memcpy(c->ids[c->n], t->data, t->bytes);
        c->S += c->len[c->n] = t->count;
    }
    return 0;
}

static void close_captions(captions *c)
{
    for (int i = 0; i < c->n; i++)
        free(c->ids[i]);
    wan_st_close(&c->in);
    wan_st_close(&c->out);
}

/* Caption i, whose rows are p: against the reference, and encoded alone. */
static void compare(wan_umt5 *e, const captions *c, int i, const float *p, double bound,
                    const char *what)
{
    char name[32];
    int64_t D = wan_umt5_width(e), n = c->len[i] * D, shape[2] = { c->len[i], D };
    const int32_t *ids = c->ids[i];
    float *want = malloc((size_t)n * sizeof *want), *alone = malloc((size_t)n * sizeof *alone);
    snprintf(name, sizeof name, "rows.%d", i);
    int rc = wan_st_load(c->out, name, shape, 2, want, WAN_F32);
    ok_err(rc < 0 ? INFINITY : rel_l2(p, want, (size_t)n), bound, "%s: %d tokens", what,
           (int)c->len[i]);
    if (bound > 1e-3) /* what is left of it where single roundings do not count */
        ok_err(rel_scale(p, want, (size_t)n), bound / 5, "  their size");
    rc = wan_umt5_encode(e, alone, &ids, &c->len[i], 1);
    ok_err(rc < 0 ? INFINITY : rel_l2(alone, p, (size_t)n), bound / 10, "  the same as alone");
    free(want);
    free(alone);
}

static void check(const char *dir, const char *dev, wan_dtype compute, double bound)
{
    char path[640], what[128];
    wan_dev *d;
    wan_umt5 *e;
    captions c;
    snprintf(path, sizeof path, "%s/text_encoder", dir);
    int rc = wan_dev_open(&d, dev, 0) | open_captions(&c, dir);
    if (rc || !ok(wan_umt5_open(&e, d, path, compute) == 0, "%s: opened", dev)) {
        fprintf(stderr, "%s\n", wan_err_text());
        exit(1);
    }
    int64_t D = wan_umt5_width(e);
    float *rows = malloc((size_t)(c.S * D) * sizeof *rows), *p = rows;
    rc = wan_umt5_encode(e, rows, (const int32_t *const *)c.ids, c.len, c.n);
    ok(rc == 0 && c.n >= 3, "%s %s: %d captions in one walk", refs_name(dir), dev, c.n);
    snprintf(what, sizeof what, "%s %s %s", refs_name(dir), dev, wan_dtype_name(compute));
    for (int i = 0; i < c.n; p += c.len[i++] * D)
        compare(e, &c, i, p, bound, what);
    const int32_t bad = 1 << 20, *list = &bad;
    int64_t one = 1;
    rc = wan_umt5_encode(e, rows, &list, &one, 1);
    ok(rc < 0, "an id too large: %s", wan_err_text());
    wan_umt5_close(&e);
    ok(d->allocated == d->scratch_bytes, "%s: all memory given back", dev);
    free(rows);
    close_captions(&c);
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
