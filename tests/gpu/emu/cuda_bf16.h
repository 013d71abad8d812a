/* SPDX-License-Identifier: Apache-2.0
 *
 * cuda_bf16.h (emulation) - conversion to bf16, by the program's own rounding.
 */
#ifndef WAN_EMU_CUDA_BF16_H
#define WAN_EMU_CUDA_BF16_H

extern "C" {
#include "lib/base/dtype.h"
}

struct __nv_bfloat16 {
    uint16_t bits;
};

static inline __nv_bfloat16 __float2bfloat16_rn(float f)
{
    __nv_bfloat16 h = { wan_f32_to_bf16(f) };
    return h;
}

static inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 h)
{
    return h.bits;
}

#endif
