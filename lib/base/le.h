/* SPDX-License-Identifier: Apache-2.0
 *
 * le.h - little-endian integers in byte buffers, whatever the alignment.
 */
#ifndef WAN_BASE_LE_H
#define WAN_BASE_LE_H

#include <stdint.h>

static inline uint16_t wan_le_get16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t wan_le_get32(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t wan_le_get64(const uint8_t *p)
{
    return wan_le_get32(p) | (uint64_t)wan_le_get32(p + 4) << 32;
}

static inline void wan_le_put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void wan_le_put32(uint8_t *p, uint32_t v)
{
    wan_le_put16(p, (uint16_t)v);
    wan_le_put16(p + 2, (uint16_t)(v >> 16));
}

static inline void wan_le_put64(uint8_t *p, uint64_t v)
{
    wan_le_put32(p, (uint32_t)v);
    wan_le_put32(p + 4, (uint32_t)(v >> 32));
}

#endif
