/* SPDX-License-Identifier: Apache-2.0
 *
 * check_combine.c - copies of a vector to one: every type and length against a sum written out, element
 * by element, to the bit.
 */
#include "lib/dist/combine.h"
#include "tests/tap.h"

#include "lib/base/rng.h"

enum { MOST = 2049, COPIES = 5 };

static void put(void *x, wan_dtype t, size_t i, double v)
{
    switch (t) {
    case WAN_F32: ((float *)x)[i] = (float)v; break;
    case WAN_F64: ((double *)x)[i] = v; break;
    case WAN_BF16: ((uint16_t *)x)[i] = wan_f32_to_bf16((float)v); break;
    default: ((int64_t *)x)[i] = (int64_t)(v * 1e12); break;
    }
}

/* Element i of all copies as one: added in this order in the type that sums are made in. */
static void by_hand(void *out, wan_dtype t, void *const *copy, int copies, size_t i,
                    wan_group_op op)
{
    double d = 0;
    float f = 0;
    int64_t n = 0;
    for (int r = 0; r < copies; r++) {
        double e = t == WAN_F64 ? ((double *)copy[r])[i] : 0;
        float g = t == WAN_F32    ? ((float *)copy[r])[i]
                  : t == WAN_BF16 ? wan_bf16_to_f32(((uint16_t *)copy[r])[i])
                                  : 0;
        int64_t k = t == WAN_I64 ? ((int64_t *)copy[r])[i] : 0;
        int first = r == 0, sum = op == WAN_SUM;
        d = first ? e : sum ? d + e : isnan(d) || isnan(e) ? NAN : fmax(d, e);
        f = first ? g : sum ? f + g : isnan(f) || isnan(g) ? NAN : fmaxf(f, g);
        n = first ? k : sum ? n + k : n > k ? n : k;
    }
    if (t == WAN_F64)
        ((double *)out)[i] = d;
    else if (t == WAN_I64)
        ((int64_t *)out)[i] = n;
    else if (t == WAN_F32)
        ((float *)out)[i] = f;
    else
        ((uint16_t *)out)[i] = wan_f32_to_bf16(f);
}

static int is_nan(const void *x, wan_dtype t, size_t i)
{
    switch (t) {
    case WAN_F32: return isnan(((const float *)x)[i]);
    case WAN_F64: return isnan(((const double *)x)[i]);
    case WAN_BF16: return isnan(wan_bf16_to_f32(((const uint16_t *)x)[i]));
    default: return 0;
    }
}

/* To the bit, but any NaN for a NaN. */
static int equal(const void *a, const void *b, wan_dtype t, size_t n)
{
    size_t w = wan_dtype_size(t);
    for (size_t i = 0; i < n; i++)
        if (!(is_nan(a, t, i) && is_nan(b, t, i)) &&
            memcmp((const char *)a + i * w, (const char *)b + i * w, w))
            return 0;
    return 1;
}

/* alias: the copy that the result goes to, or -1. */
static int one(wan_dtype t, int copies, size_t n, wan_group_op op, int alias)
{
    void *copy[COPIES], *want = calloc(MOST, 8), *out = calloc(MOST, 8);
    wan_rng r = wan_rng_stream(5, WAN_RNG_TEST, n, (uint64_t)copies);
    for (int k = 0; k < copies; k++) {
        float v[MOST];
        copy[k] = calloc(MOST, 8);
        wan_rng_normal(&r, v, (uint64_t)k * MOST, MOST);
        for (size_t i = 0; i < MOST; i++)
            put(copy[k], t, i, v[i] * pow(10, (double)(i % 7) - 3));
    }
    if (op == WAN_MAX && t != WAN_I64 && n > 3)
        put(copy[copies / 2], t, 2, NAN);
    for (size_t i = 0; i < n; i++)
        by_hand(want, t, copy, copies, i, op);
    void *to = alias < 0 ? out : copy[alias];
    int good = wan_combine_copies(to, (const void *const *)copy, copies, n, t, op) == 0 &&
               equal(to, want, t, n);
    for (int k = 0; k < copies; k++)
        free(copy[k]);
    free(want);
    free(out);
    return good;
}

int main(void)
{
    static const wan_dtype type[] = { WAN_F32, WAN_F64, WAN_I64, WAN_BF16 };
    static const size_t length[] = { 0, 1, 7, 1023, 1024, 1025, MOST };
    for (size_t k = 0; k < sizeof type / sizeof *type; k++)
        for (int op = WAN_SUM; op <= WAN_MAX; op++) {
            int good = 1, alias = 1;
            for (size_t i = 0; i < sizeof length / sizeof *length; i++)
                for (int c = 1; c <= COPIES; c++) {
                    good &= one(type[k], c, length[i], (wan_group_op)op, -1);
                    alias &= one(type[k], c, length[i], (wan_group_op)op, c / 2);
                }
            const char *what = op == WAN_SUM ? "sum" : "largest";
            ok(good, "%s of %s", what, wan_dtype_name(type[k]));
            ok(alias, "%s of %s into one of them", what, wan_dtype_name(type[k]));
        }
    uint8_t byte = 1;
    const void *bytes[1] = { &byte };
    ok(wan_combine_copies(&byte, bytes, 1, 1, WAN_U8, WAN_SUM) < 0, "bytes are not added: %s",
       wan_err_text());
    return tap_done();
}
