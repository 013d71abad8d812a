/* SPDX-License-Identifier: Apache-2.0
 *
 * conv_own.cuh - convolution by a kernel of ours, for conv.cu: nothing is laid out, nor enlarged in memory.
 */
#ifndef WAN_KERNELS_CONV_OWN_CUH
#define WAN_KERNELS_CONV_OWN_CUH

#include "kernels/cuda_util.cuh"

/* As wan_conv_forward; 1: not for these operands (x and w of different types). */
int cuda_conv_own(wan_dev *d, const wan_conv *c, wan_buf y, wan_buf x, wan_buf w, const float *b,
                  int add);

#endif
