/* SPDX-License-Identifier: Apache-2.0
 *
 * adamw.h - AdamW with decoupled weight decay (Loshchilov & Hutter 2019) and the clip factor.
 *
 *   clip:   coef[0] = min(1, max_norm / (sqrt(sumsq[0]) + 1e-6))   (torch's clip_grad_norm_; max_norm 0: 1)
 *           NaN where sumsq[0] or sumsq[1] is not finite: such a step then changes nothing
 *   step t: g' = coef[0] g;  m = b1 m + (1-b1) g';  v = b2 v + (1-b2) g'^2
 *           p = p (1 - lr wd) - lr (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps)
 *           shadow = p in shadow.t, when shadow.p is not NULL (the bf16 copy GEMMs read)
 *
 * p, m, v, g [n] WAN_REAL; coef one WAN_REAL in device memory or NULL (1); sumsq [2]: of the gradient, and of
 * whatever else has to be finite, or 0.  What changes from step to step lies in device memory too, so that a step can
 * be recorded and done again (wan_dev_record): row [WAN_ADAMW_ROW] WAN_REAL is
 *
 *           1 - lr wd,   lr / (1-b1^t),   1 / (1-b2^t)
 *
 * in double, rounded once.
 */
#ifndef WAN_KERNELS_ADAMW_H
#define WAN_KERNELS_ADAMW_H

#include "kernels/device.h"

typedef struct wan_adamw {
    double beta1, beta2, eps;
} wan_adamw;

enum { WAN_ADAMW_ROW = 3 };
/* row: host; step: t, from 1. */
int wan_adamw_row(wan_real row[WAN_ADAMW_ROW], const wan_adamw *a, double lr, double weight_decay,
                  int64_t step) WAN_MUST_CHECK;

typedef int wan_adamw_step_fn(wan_dev *d, const wan_adamw *a, const wan_real *row, wan_real *p,
                              wan_real *m, wan_real *v, const wan_real *g, wan_buf shadow,
                              const wan_real *coef, int64_t n) WAN_MUST_CHECK;
typedef int wan_clip_coef_fn(wan_dev *d, wan_real *coef, const double *sumsq, double max_norm)
    WAN_MUST_CHECK;

wan_adamw_step_fn wan_adamw_step_c, wan_adamw_step_cuda;
wan_clip_coef_fn wan_clip_coef_c, wan_clip_coef_cuda;

#endif
