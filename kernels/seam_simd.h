/* SPDX-License-Identifier: Apache-2.0
 *
 * seam_simd.h - resnorm.h's ops, or one half of them: LayerNorm where y and dy are WAN_BUF_NONE, the gated residual where
 * u and du are.  What then is not asked for may be NULL.
 */
#ifndef WAN_KERNELS_SEAM_SIMD_H
#define WAN_KERNELS_SEAM_SIMD_H

#include "kernels/resnorm.h"

wan_resnorm_forward_fn wan_seam_forward;
/* Without the norm dx is not written. */
wan_resnorm_backward_fn wan_seam_backward;

#endif
