/* SPDX-License-Identifier: Apache-2.0
 *
 * conv_cudnn_none.cu - a build without cuDNN.
 */
#include "kernels/conv_cudnn.cuh"

int cuda_conv_dnn(wan_dev *, const wan_conv *, wan_buf, wan_buf, wan_buf, const float *, int)
{
    return 1;
}

int cuda_conv_dnn_has(wan_dev *, const wan_conv *, wan_buf, wan_buf, wan_buf, const float *, int)
{
    return 0;
}

void cuda_conv_close(wan_dev *) {}
