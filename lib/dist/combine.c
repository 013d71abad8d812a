/* SPDX-License-Identifier: Apache-2.0
 *
 * combine.c - see combine.h.
 */
#include "lib/dist/combine.h"

enum { BLOCK = 1024 }; /* elements kept in the first cache while all copies are added */

/* One type: how it is read into the accumulator, and written. */
#define REDUCE(name, T, A, GET, PUT)                                                               \
    static void name##_block(T *out, const void *const *copy, int copies, size_t at, size_t n,     \
                             wan_group_op op)                                                      \
    {                                                                                              \
        A acc[BLOCK];                                                                              \
        const T *x = (const T *)copy[0] + at;                                                      \
        for (size_t i = 0; i < n; i++)                                                             \
            acc[i] = GET(x[i]);                                                                    \
        for (int r = 1; r < copies; r++) {                                                         \
            x = (const T *)copy[r] + at;                                                           \
            if (op == WAN_SUM)                                                                     \
                for (size_t i = 0; i < n; i++)                                                     \
                    acc[i] += GET(x[i]);                                                           \
            else                                                                                   \
                for (size_t i = 0; i < n; i++) {                                                   \
                    A v = GET(x[i]);                                                               \
                    acc[i] = v > acc[i] || v != v ? v : acc[i]; /* a NaN stays: > is false */      \
                }                                                                                  \
        }                                                                                          \
        for (size_t i = 0; i < n; i++)                                                             \
            out[at + i] = PUT(acc[i]);                                                             \
    }                                                                                              \
    static void name(void *out, const void *const *copy, int copies, size_t n, wan_group_op op)    \
    {                                                                                              \
        for (size_t at = 0; at < n; at += BLOCK)                                                   \
            name##_block(out, copy, copies, at, n - at < BLOCK ? n - at : BLOCK, op);              \
    }
#define SAME(v) (v)

REDUCE(reduce_f32, float, float, SAME, SAME)
REDUCE(reduce_f64, double, double, SAME, SAME)
REDUCE(reduce_i64, int64_t, int64_t, SAME, SAME)
REDUCE(reduce_bf16, uint16_t, float, wan_bf16_to_f32, wan_f32_to_bf16)

int wan_combine_type(wan_dtype t)
{
    if (t == WAN_F32 || t == WAN_F64 || t == WAN_I64 || t == WAN_BF16)
        return 0;
    return wan_err("ranks cannot add numbers of type %s", wan_dtype_name(t));
}

int wan_combine_copies(void *out, const void *const *copy, int copies, size_t n, wan_dtype t,
                       wan_group_op op)
{
    WAN_TRY(wan_combine_type(t));
    if (t == WAN_F32)
        reduce_f32(out, copy, copies, n, op);
    else if (t == WAN_F64)
        reduce_f64(out, copy, copies, n, op);
    else if (t == WAN_I64)
        reduce_i64(out, copy, copies, n, op);
    else
        reduce_bf16(out, copy, copies, n, op);
    return 0;
}
