/* SPDX-License-Identifier: Apache-2.0
 *
 * real.h - the type of everything kept in full precision: residual stream, statistics, masters.
 *
 * float in the product.  Built with -DWAN_REAL_F64 the reference kernels and the model become
 * double (build/f64/libwan64.a, tests only), so that backward passes can be checked by finite
 * differences.  Reference code therefore has no float literals and no f-suffixed maths: use
 * wan_real, WAN_C(0.5) and the wan_exp()... names below.
 */
#ifndef WAN_KERNELS_REAL_H
#define WAN_KERNELS_REAL_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/dtype.h"
#include "lib/base/err.h"

#ifdef WAN_REAL_F64
typedef double wan_real;
#define WAN_REAL WAN_F64
#define wan_r_exp exp
#define wan_r_tanh tanh
#define wan_r_sqrt sqrt
#define wan_r_erf erf
#define wan_r_log log
#else
typedef float wan_real;
#define WAN_REAL WAN_F32
#define wan_r_exp expf
#define wan_r_tanh tanhf
#define wan_r_sqrt sqrtf
#define wan_r_erf erff
#define wan_r_log logf
#endif
#define WAN_C(x) ((wan_real)(x))

/* An operand that may be of several types: WAN_REAL or WAN_BF16 (host or device memory).  scale: the
 * factor of a type too narrow to do without (device memory), NULL for those there are today. */
typedef struct wan_buf {
    void *p;
    wan_dtype t;
    const float *scale;
} wan_buf;
#define WAN_BUF_NONE                                                                               \
    {                                                                                              \
        NULL, WAN_REAL, NULL                                                                       \
    } /* where an operand may be left out */

static inline wan_buf wan_buf_of(void *p, wan_dtype t)
{
    wan_buf b = { p, t, NULL };
    return b;
}
#define WAN_RBUF(p) wan_buf_of((void *)(p), WAN_REAL)
/* b advanced by n elements. */
static inline wan_buf wan_buf_at(wan_buf b, int64_t n)
{
    b.p = (char *)b.p + n * (int64_t)wan_dtype_size(b.t);
    return b;
}

/* n samples laid end to end: token s belongs to sample seg[s]; cu[i]..cu[i+1] are sample i's. */
typedef struct wan_pack {
    int n;                  /* samples, >= 1 */
    int64_t S;              /* tokens in all = cu[n] */
    int64_t max_len;        /* longest sample */
    const int32_t *cu;      /* [n+1], device memory */
    const int32_t *seg;     /* [S], device memory */
    const int32_t *cu_host; /* [n+1], host memory: the same numbers */
} wan_pack;

enum wan_act { WAN_ACT_NONE = 0, WAN_ACT_GELU_TANH, WAN_ACT_GELU_ERF, WAN_ACT_SILU };

#endif
