/* SPDX-License-Identifier: Apache-2.0
 *
 * linear8.c - operands rounded to eight bits, kept as bf16, and the provider's own bf16 products.
 */
#include "kernels/linear8.h"

#include "kernels/linear8_wide.h"
#include "kernels/rows.h"

/* What a format is: bits of mantissa, exponent of the largest and of the smallest normal number. */
typedef struct format {
    int mantissa, top, low;
} format;
static const format formats[] = { [WAN_E4M3] = { 3, 8, -6 }, [WAN_E5M2] = { 2, 15, -14 } };
enum {
    LARGEST = 0x600000, /* mantissa of the largest number of either: 1.75 */
    INFINITE = 0x7f800000
};

static uint32_t bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

static float number(uint32_t u)
{
    float f;
    memcpy(&f, &u, 4);
    return f;
}

/* 2^e as a normal number */
static float power(int e)
{
    return number((uint32_t)(e + 127) << 23);
}

/* Bits of the largest |x|: of numbers without sign, bits order as the numbers do, infinity and NaN last. */
static uint32_t largest(wan_buf x, int64_t n)
{
    uint32_t most = 0;
#pragma omp parallel for reduction(max : most) if (n > WAN_ROWS_PARALLEL)
    for (int64_t i = 0; i < n; i += WAN_ROWS_CHUNK) {
        int64_t c = n - i < WAN_ROWS_CHUNK ? n - i : WAN_ROWS_CHUNK;
        wan_real row[WAN_ROWS_CHUNK];
        const wan_real *v = wan_row_load(x, i, c, row);
        uint32_t here = 0;
        for (int64_t k = 0; k < c; k++) {
            uint32_t u = bits((float)v[k]) & 0x7fffffff;
            here = u > here ? u : here;
        }
        most = here > most ? here : most;
    }
    return most;
}

/* Exponent of the scale of a tensor whose largest |value| has these bits. */
static int exponent(uint32_t most, const format *f)
{
    int e = f->top - ((int)(most >> 23) - 127) - ((most & 0x7fffff) > LARGEST);
    return e > 120 ? 120 : e; /* what is left of numbers that small is 0 */
}

/* How the values of one tensor are rounded. */
typedef struct rounding {
    float s, back; /* the scale, and what undoes it */
    float small;   /* the adder's ulp next to it is the step of the smallest numbers */
    uint32_t low;  /* bits of the smallest normal number */
    int shift;     /* bits of a float's mantissa that go */
} rounding;

static rounding rounding_of(wan_buf x, int64_t n, enum wan_eight to)
{
    const format *f = &formats[to];
    const uint32_t most = largest(x, n);
    const int e = most ? exponent(most, f) : 0;
    return (rounding){ .s = most >= INFINITE ? NAN : power(e),
                       .back = power(-e),
                       .small = power(f->low - f->mantissa + 23),
                       .low = bits(power(f->low)),
                       .shift = 23 - f->mantissa };
}

/* round(v s) / s, where |v s| is at most the largest number of the format */
static inline float nearest(float v, rounding q)
{
    const uint32_t u = bits(v * q.s), a = u & 0x7fffffff;
    const uint32_t step = (uint32_t)1 << q.shift, under = bits((number(a) + q.small) - q.small);
    uint32_t r = (a + step / 2 - 1 + ((a >> q.shift) & 1)) & ~(step - 1);
    r = a < q.low ? under : r;
    return number(r | (u & 0x80000000)) * q.back;
}

int wan_round8_c(wan_dev *d, wan_buf y, wan_buf x, int64_t n, enum wan_eight to)
{
    (void)d;
    WAN_ROWS_CHECK("round8", x, y);
    if (y.t != WAN_BF16)
        return wan_err("round8: rounded values are kept as bf16");
    const rounding q = rounding_of(x, n, to);
#pragma omp parallel for if (n > WAN_ROWS_PARALLEL)
    for (int64_t i = 0; i < n; i += WAN_ROWS_CHUNK) {
        int64_t c = n - i < WAN_ROWS_CHUNK ? n - i : WAN_ROWS_CHUNK;
        wan_real row[WAN_ROWS_CHUNK];
        const wan_real *v = wan_row_load(x, i, c, row);
        uint16_t *o = (uint16_t *)y.p + i;
        for (int64_t k = 0; k < c; k++)
            o[k] = (uint16_t)(bits(nearest((float)v[k], q)) >> 16);
    }
    return 0;
}

/* ---- products */

int wan_linear8_forward_c(wan_dev *d, wan_buf y, wan_buf pre, wan_buf x, wan_buf w,
                          const wan_real *b, int64_t M, int64_t N, int64_t K, enum wan_act act)
{
    char *aside = (char *)wan_dev_aside(d, wan_linear8_bytes(M, N, K));
    return aside ? wan_linear8_wide_forward(d, aside, y, pre, x, w, b, M, N, K, act) : -1;
}

/* db += columns of dy as it is. */
static void bias_grad(wan_real *db, wan_buf dy, int64_t M, int64_t N)
{
#pragma omp parallel for if (M * N > WAN_ROWS_PARALLEL)
    for (int64_t n0 = 0; n0 < N; n0 += WAN_ROWS_CHUNK) {
        int64_t c = N - n0 < WAN_ROWS_CHUNK ? N - n0 : WAN_ROWS_CHUNK;
        wan_real sum[WAN_ROWS_CHUNK] = { 0 }, row[WAN_ROWS_CHUNK];
        for (int64_t m = 0; m < M; m++)
            wan_row_axpy(sum, 1, wan_row_load(dy, m * N + n0, c, row), c);
        wan_row_axpy(db + n0, 1, sum, c);
    }
}

int wan_linear8_backward_c(wan_dev *d, wan_buf dx, wan_real *dw, wan_real *db, wan_buf dy,
                           wan_buf z, enum wan_act act, wan_buf x, wan_buf w, int64_t M, int64_t N,
                           int64_t K, int add)
{
    char *aside = (char *)wan_dev_aside(d, wan_linear8_bytes(M, N, K));
    if (!aside)
        return -1;
    WAN_ROWS_CHECK("linear8_backward", dy);
    if (z.p)
        WAN_TRY(d->ops->act_backward(d, dy, dy, z, M * N, act));
    if (db)
        bias_grad(db, dy, M, N);
    return wan_linear8_wide_backward(d, aside, dx, dw, dy, x, w, M, N, K, add);
}
