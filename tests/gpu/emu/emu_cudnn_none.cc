/* SPDX-License-Identifier: Apache-2.0
 *
 * emu_cudnn_none.cc - the emulated device where cuDNN's headers are missing.
 */
#include "kernels/sdpa.cuh"

/* ---- cuDNN is not here: attention.cu takes its own kernels */

int cuda_sdpa_forward(wan_dev *, const wan_attn *, wan_buf, float *, wan_buf, wan_buf, wan_buf)
{
    return 1;
}

int cuda_sdpa_backward(wan_dev *, const wan_attn *, wan_buf, wan_buf, wan_buf, wan_buf, wan_buf,
                       const float *, wan_buf, wan_buf, wan_buf)
{
    return 1;
}

void cuda_sdpa_close(wan_dev *)
{
}
