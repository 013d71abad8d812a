/* SPDX-License-Identifier: Apache-2.0
 *
 * conv_wino_simd.h - 3x3 convolutions of many channels by Winograd's F(2x2, 3x3).
 */
#ifndef WAN_KERNELS_CONV_WINO_SIMD_H
#define WAN_KERNELS_CONV_WINO_SIMD_H

#include "kernels/conv.h"

/* Whether a convolution is of the kind: by its taps and channels alone, not by the size of its pictures, so
 * that pieces and bands of a video are made in the same way. */
int wan_conv_wino_fits(const wan_conv *c);

/* As conv_forward, for those; x and w of one type. */
int wan_conv_wino(wan_dev *d, const wan_conv *c, wan_buf y, wan_buf x, wan_buf w, const float *b,
                  int add) WAN_MUST_CHECK;

/* By `how` in fp32, operands and result of other types widened and narrowed: on the CPU fp16 is storage alone.
 * The weights are then at d->aside. */
int wan_conv_widened(wan_dev *d, wan_conv_forward_fn *how, const wan_conv *c, wan_buf y, wan_buf x,
                     wan_buf w, const float *b, int add) WAN_MUST_CHECK;

#endif
