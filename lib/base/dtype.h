/* SPDX-License-Identifier: Apache-2.0
 *
 * dtype.h - element types, under their safetensors names, and bulk conversion.
 */
#ifndef WAN_BASE_DTYPE_H
#define WAN_BASE_DTYPE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lib/base/err.h"

typedef enum wan_dtype {
    WAN_F32 = 0,
    WAN_BF16,
    WAN_F16,
    WAN_F64,
    WAN_U8,
    WAN_I8,
    WAN_BOOL,
    WAN_I16,
    WAN_U16,
    WAN_I32,
    WAN_U32,
    WAN_I64,
    WAN_U64,
    WAN_DTYPES,
    WAN_BLOCKS = 32 /* + a wan_quant: blocks of weights (quant.h); few functions take them */
} wan_dtype;

size_t wan_dtype_size(wan_dtype t);      /* bytes per element */
const char *wan_dtype_name(wan_dtype t); /* "F32", "BF16", ... as safetensors writes it */
int wan_dtype_parse(wan_dtype *out, const char *name); /* -1: unknown name (error recorded) */

/* Shape to element count; -1 when it overflows or exceeds 2^40 elements. */
int wan_shape_count(int64_t *count, const int64_t *shape, int rank) WAN_MUST_CHECK;

static inline float wan_bf16_to_f32(uint16_t h)
{
    uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}

/* Round to nearest even; NaN stays NaN. */
static inline uint16_t wan_f32_to_bf16(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)((u >> 16) | 0x40);
    u += 0x7fffu + ((u >> 16) & 1);
    return (uint16_t)(u >> 16);
}

float wan_f16_to_f32(uint16_t h);
uint16_t wan_f32_to_f16(float f); /* round to nearest even, overflow to infinity */

/* Converts n elements between F32/BF16/F16/F64 (any pair).  dst and src must not overlap unless
 * equal with equal types.  -1: a type that is not floating point. */
int wan_convert(void *dst, wan_dtype dt, const void *src, wan_dtype st, size_t n) WAN_MUST_CHECK;

#endif
