/* SPDX-License-Identifier: Apache-2.0
 *
 * shared.h - norms whose columns tensor parallel ranks share out: the local op, and the sum over ranks
 * (acts.wing.sum) where there are several.
 */
#ifndef WAN_MODEL_SHARED_H
#define WAN_MODEL_SHARED_H

#include "lib/model/acts.h"
#include "lib/model/block/dense.h"

/* x [n] summed over the ranks that share a product; nothing on one rank. */
int wan_shared_sum(const wan_acts *a, wan_buf x, int64_t n) WAN_MUST_CHECK;
/* One of the norms that are made together, so that their sums over ranks are one call. */
typedef struct wan_shared_norm {
    const wan_rms *rms; /* rmsnorm.h; width is that of all ranks together */
    wan_buf y, x;       /* forward: out, in; backward: gradient of y, the forward's in */
    wan_real *rstd;     /* [rms->S] */
    wan_dense_vector w;
    wan_buf dx; /* backward: out; may be y where rms->lddx is rms->ldy */
} wan_shared_norm;

/* n norms of as many rows each.  sums: device [n * S], used on several ranks only. */
int wan_shared_rms(const wan_acts *a, const wan_shared_norm *v, int n, wan_buf sums) WAN_MUST_CHECK;
/* The gradients of the weights are added. */
int wan_shared_rms_back(const wan_acts *a, const wan_shared_norm *v, int n, wan_buf sums)
    WAN_MUST_CHECK;

#endif
