/* SPDX-License-Identifier: Apache-2.0
 *
 * attention_cudnn_none.cu - a build without cuDNN: attention.cu takes its own kernels.
 */
#include "kernels/sdpa.cuh"

static int decline(wan_dev *d)
{
    static int said;
    if (!said)
        WAN_TRY(cuda_slower(d, "attention: built without cuDNN; the plain kernel is used, which is "
                               "slow"));
    said = 1;
    return 1;
}

int cuda_sdpa_forward(wan_dev *d, const wan_attn *, wan_buf, float *, wan_buf, wan_buf, wan_buf)
{
    return decline(d);
}

int cuda_sdpa_backward(wan_dev *d, const wan_attn *, wan_buf, wan_buf, wan_buf, wan_buf, wan_buf,
                       const float *, wan_buf, wan_buf, wan_buf)
{
    return decline(d);
}

size_t cuda_sdpa_version(void)
{
    return 0;
}

void cuda_sdpa_close(wan_dev *) {}
