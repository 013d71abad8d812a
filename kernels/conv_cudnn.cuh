/* SPDX-License-Identifier: Apache-2.0
 *
 * conv_cudnn.cuh - convolution by cuDNN's graph API, as conv.cu uses it: no laid-out rows; bias and
 * residual are added where the sums are written.
 */
#ifndef WAN_KERNELS_CONV_CUDNN_CUH
#define WAN_KERNELS_CONV_CUDNN_CUH

#include "kernels/cuda_util.cuh"

/* 0 done, -1 failed (error recorded), 1 not for cuDNN. */
int cuda_conv_dnn(wan_dev *d, const wan_conv *c, wan_buf y, wan_buf x, wan_buf w, const float *b,
                  int add);
/* Whether that will be for cuDNN; of addresses it looks at how they are aligned.  -1: failed. */
int cuda_conv_dnn_has(wan_dev *d, const wan_conv *c, wan_buf y, wan_buf x, wan_buf w,
                      const float *b, int add);
void cuda_conv_close(wan_dev *d);

#endif
