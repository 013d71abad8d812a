/* SPDX-License-Identifier: Apache-2.0
 *
 * quant.h - weights in blocks of few bits, as GGUF files hold them: sizes, values of a block, blocks of
 * values.  The layout of every type is in wan-data(7), GGUF.
 *
 * A block is 32 or 256 neighbours along the last dimension; its values are d q or d q - m, with small
 * integers q and a scale d (and an offset m) that it brings along.
 */
#ifndef WAN_BASE_QUANT_H
#define WAN_BASE_QUANT_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/dtype.h"

typedef enum wan_quant {
    WAN_Q_NONE = 0, /* plain elements */
    WAN_Q4_0,
    WAN_Q4_1,
    WAN_Q5_0,
    WAN_Q5_1,
    WAN_Q8_0,
    WAN_Q4_K,
    WAN_Q5_K,
    WAN_Q6_K,
    WAN_QUANTS
} wan_quant;

/* Blocks as a type of operands (WAN_BLOCKS + q), and back: WAN_Q_NONE for plain elements. */
static inline wan_dtype wan_quant_type(wan_quant q)
{
    return (wan_dtype)(WAN_BLOCKS + (int)q);
}

static inline wan_quant wan_quant_of(wan_dtype t)
{
    return t > WAN_BLOCKS ? (wan_quant)((int)t - WAN_BLOCKS) : WAN_Q_NONE;
}

const char *wan_quant_name(wan_quant q); /* "q8_0" */
int wan_quant_parse(wan_quant *out, const char *name) WAN_MUST_CHECK;
size_t wan_quant_values(wan_quant q); /* of a block: 32 or 256 */
size_t wan_quant_bytes(wan_quant q);  /* of a block */
/* Bytes of n elements of t, which may be blocks: n is then whole blocks. */
size_t wan_quant_span(wan_dtype t, int64_t n);
/* dst [n] = the values of blocks src; n is a multiple of wan_quant_values. */
void wan_quant_decode(float *dst, const void *src, wan_quant q, size_t n);
/* src [n], finite, to blocks, rounded to the nearest values they can hold (Q4_K: with the scale and the
 * offset of least squared error of those tried).  -1: there is no writer of this type (Q8_0 and Q4_K),
 * or a scale would be beyond half precision. */
int wan_quant_encode(void *dst, const float *src, wan_quant q, size_t n) WAN_MUST_CHECK;

#endif
