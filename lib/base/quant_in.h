/* SPDX-License-Identifier: Apache-2.0
 *
 * quant_in.h - what the readers and writers of blocks share.
 */
#ifndef WAN_BASE_QUANT_IN_H
#define WAN_BASE_QUANT_IN_H

#include <stdint.h>

/* The eight scales and offsets of 6 bits in the 12 bytes of Q4_K and Q5_K: the first four of each are the
 * low 6 bits of bytes 0-3 and 4-7; of the others the low 4 bits are in bytes 8-11, the high 2 above those. */
void wan_quant_scales_k(int scale[8], int offset[8], const uint8_t *p);

#endif
