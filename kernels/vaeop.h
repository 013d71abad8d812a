/* SPDX-License-Identifier: Apache-2.0
 *
 * vaeop.h - the small ops of the video VAE (wan-model(7), VAE layers), channels last, of WAN_REAL, WAN_BF16 or
 * WAN_F16.
 *
 *   norm:     y = act(x / max(|x|_2, 1e-12) * sqrt(C) * gamma), |.| over the C channels of one
 *             position; x, y [P, C]; act NONE or SILU; y may equal x
 *   interleave: x [T, P, 2C] -> y [2T, P, C]: the first C channels of frame t become frame 2t, the
 *             last C frame 2t+1
 *   from_rgb: u8 [P, 3] -> x/255*2 - 1;     to_rgb: clamp to [-1, 1], (x+1)/2*255 truncated (NaN: 0)
 *   to_cfirst: x [T, P, C] -> y [C, T, P], y = x*a[c] + b[c];  to_clast: the inverse layout,
 *             y [T, P, C] = x [C, T, P]*a[c] + b[c]  (a, b [C] or NULL: 1 and 0)
 */
#ifndef WAN_KERNELS_VAEOP_H
#define WAN_KERNELS_VAEOP_H

#include "kernels/device.h"

typedef int wan_vae_norm_fn(wan_dev *d, wan_buf y, wan_buf x, const wan_real *gamma, int64_t P,
                            int64_t C, enum wan_act act) WAN_MUST_CHECK;
typedef int wan_vae_interleave_fn(wan_dev *d, wan_buf y, wan_buf x, int64_t T, int64_t P, int64_t C)
    WAN_MUST_CHECK;
typedef int wan_vae_from_rgb_fn(wan_dev *d, wan_buf y, const uint8_t *rgb, int64_t P)
    WAN_MUST_CHECK;
typedef int wan_vae_to_rgb_fn(wan_dev *d, uint8_t *rgb, wan_buf x, int64_t P) WAN_MUST_CHECK;
typedef int wan_vae_to_cfirst_fn(wan_dev *d, wan_real *y, wan_buf x, const wan_real *a,
                                 const wan_real *b, int64_t T, int64_t P, int64_t C) WAN_MUST_CHECK;
typedef int wan_vae_to_clast_fn(wan_dev *d, wan_buf y, const wan_real *x, const wan_real *a,
                                const wan_real *b, int64_t T, int64_t P, int64_t C) WAN_MUST_CHECK;

wan_vae_norm_fn wan_vae_norm_c, wan_vae_norm_cuda;
wan_vae_interleave_fn wan_vae_interleave_c, wan_vae_interleave_cuda;
wan_vae_from_rgb_fn wan_vae_from_rgb_c, wan_vae_from_rgb_cuda;
wan_vae_to_rgb_fn wan_vae_to_rgb_c, wan_vae_to_rgb_cuda;
wan_vae_to_cfirst_fn wan_vae_to_cfirst_c, wan_vae_to_cfirst_cuda;
wan_vae_to_clast_fn wan_vae_to_clast_c, wan_vae_to_clast_cuda;

#endif
