/* SPDX-License-Identifier: Apache-2.0
 *
 * embed.h - timestep sinusoid, modulation rows, rows of a table, patches.
 *
 * sinusoid: y[i] = [cos(t_i w_0) .. cos(t_i w_{h-1}), sin(t_i w_0) ..], h = dim/2,
 *           w_j = 10000^(-j/h); t in [0, 1000] (not sigma), angles in double.  y [n, dim].
 * modulation: out[i, r] = table[r] + e[i, r];  table [R, D], out [n, R, D], e [n, R, D] or, with
 *           e_rows == 1, [n, 1, D] used for every r (the head).
 *           backward: dtable[r] += sum_i dout[i, r]; de[i, r] += dout[i, r] (summed over r when
 *           e_rows == 1).
 * gather_add: y[s] += table[id[s]];  y [S, D], table [V, D] WAN_REAL; ids checked by the caller.
 * patchify: latent [C, T, h, w] WAN_REAL of one sample -> rows [T*(h/2)*(w/2), 4*C], tokens in
 *           order (f, y, x); features in order WAN_PATCH_CHW (c, ph, pw; patch embedding weight) or
 *           WAN_PATCH_HWC (ph, pw, c; head output).  unpatchify is the exact inverse.
 */
#ifndef WAN_KERNELS_EMBED_H
#define WAN_KERNELS_EMBED_H

#include "kernels/device.h"

enum wan_patch_order { WAN_PATCH_CHW = 0, WAN_PATCH_HWC = 1 };

/* Column of channel c, row ph and column pw of a patch, in a row of 4*C. */
static inline int64_t wan_patch_feature(int64_t c, int64_t ph, int64_t pw, int64_t C,
                                        enum wan_patch_order order)
{
    return order == WAN_PATCH_CHW ? 4 * c + 2 * ph + pw : (2 * ph + pw) * C + c;
}

typedef int wan_sinusoid_fn(wan_dev *d, wan_real *y, const wan_real *t, int64_t n, int64_t dim)
    WAN_MUST_CHECK;
typedef int wan_modulation_forward_fn(wan_dev *d, wan_real *out, const wan_real *table,
                                      const wan_real *e, int64_t n, int64_t R, int64_t D,
                                      int64_t e_rows) WAN_MUST_CHECK;
typedef int wan_modulation_backward_fn(wan_dev *d, wan_real *dtable, wan_real *de,
                                       const wan_real *dout, int64_t n, int64_t R, int64_t D,
                                       int64_t e_rows) WAN_MUST_CHECK;
typedef int wan_gather_add_fn(wan_dev *d, wan_real *y, const wan_real *table, const int32_t *id,
                              int64_t S, int64_t D) WAN_MUST_CHECK;
typedef int wan_patchify_fn(wan_dev *d, wan_buf rows, const wan_real *latent, int64_t C, int64_t T,
                            int64_t h, int64_t w, enum wan_patch_order order) WAN_MUST_CHECK;
typedef int wan_unpatchify_fn(wan_dev *d, wan_real *latent, wan_buf rows, int64_t C, int64_t T,
                              int64_t h, int64_t w, enum wan_patch_order order) WAN_MUST_CHECK;

wan_sinusoid_fn wan_sinusoid_c, wan_sinusoid_cuda;
wan_modulation_forward_fn wan_modulation_forward_c, wan_modulation_forward_cuda;
wan_modulation_backward_fn wan_modulation_backward_c, wan_modulation_backward_cuda;
wan_gather_add_fn wan_gather_add_c, wan_gather_add_cuda;
wan_patchify_fn wan_patchify_c, wan_patchify_cuda;
wan_unpatchify_fn wan_unpatchify_c, wan_unpatchify_cuda;

#endif
