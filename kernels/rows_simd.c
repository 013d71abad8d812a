/* SPDX-License-Identifier: Apache-2.0
 *
 * rows_simd.c - rounding rows to bf16 in one instruction where the CPU has it.
 */
#include "kernels/cpu.h"
#include "kernels/rows.h"
#include "kernels/wide_simd.h"

static void narrow_plain(uint16_t *restrict o, const float *restrict row, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        o[i] = wan_f32_to_bf16(row[i]);
}

#ifdef __x86_64__
WAN_WIDE static int64_t narrow_wide(uint16_t *o, const float *row, int64_t n)
{
    int64_t i = 0;
    for (; i + 32 <= n; i += 32)
        wan_wide_store(wan_buf_of(o, WAN_BF16), i, _mm512_loadu_ps(row + i),
                       _mm512_loadu_ps(row + i + 16));
    return i;
}
#else
#define narrow_wide(o, row, n) 0
#endif

void wan_rows_narrow(uint16_t *o, const float *row, int64_t n)
{
    int64_t done = wan_cpu_isa() >= WAN_CPU_BF16 ? narrow_wide(o, row, n) : 0;
    narrow_plain(o + done, row + done, n - done);
}
