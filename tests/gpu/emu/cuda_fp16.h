/* SPDX-License-Identifier: Apache-2.0
 *
 * cuda_fp16.h (emulation) - conversion to and from fp16, to nearest even.
 */
#ifndef WAN_EMU_CUDA_FP16_H
#define WAN_EMU_CUDA_FP16_H

#include <cstdint>

float emu_f16_value(uint16_t bits); /* emu.cc */
uint16_t emu_f16_bits(float f);

struct __half {
    uint16_t bits;
};

static inline __half __ushort_as_half(unsigned short bits)
{
    __half h = { bits };
    return h;
}

static inline unsigned short __half_as_ushort(__half h)
{
    return h.bits;
}

static inline __half __float2half_rn(float f)
{
    __half h = { emu_f16_bits(f) };
    return h;
}

static inline float __half2float(__half h)
{
    return emu_f16_value(h.bits);
}

#endif
