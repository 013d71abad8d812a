/* SPDX-License-Identifier: Apache-2.0
 *
 * attention_simd.h - how a pack is cut into blocks, shared by forward and backward.
 */
#ifndef WAN_KERNELS_ATTENTION_SIMD_H
#define WAN_KERNELS_ATTENTION_SIMD_H

#include "kernels/attention.h"
#include "kernels/tile.h"

/* First padded row of sample i when every sample starts on a multiple of WAN_TILE_K. */
static inline int64_t wan_attn_start(const wan_pack *p, int i)
{
    return wan_tile_up(p->cu_host[i], WAN_TILE_K) + (int64_t)i * WAN_TILE_K;
}

/* Blocks of `size` tokens in all samples. */
static inline int64_t wan_attn_blocks(const wan_pack *p, int64_t size)
{
    int64_t n = 0;
    for (int i = 0; i < p->n; i++)
        n += (p->cu_host[i + 1] - p->cu_host[i] + size - 1) / size;
    return n;
}

/* Block number *at of the pack: returns its sample, *at becomes its first token in the sample. */
static inline int wan_attn_find(const wan_pack *p, int64_t size, int64_t *at)
{
    int i = 0;
    for (int64_t n;; i++, *at -= n) {
        n = (p->cu_host[i + 1] - p->cu_host[i] + size - 1) / size;
        if (*at < n)
            break;
    }
    *at *= size;
    return i;
}

/* 1 when the blocked kernels take these operands; the reference takes (or refuses) the rest. */
static inline int wan_attn_fits(const wan_attn *a, wan_buf q, wan_buf k, wan_buf v, wan_buf o)
{
    return a->hd <= WAN_TILE_WIDTH - WAN_TILE_K && a->pq->n == a->pk->n && q.t == k.t &&
           q.t == v.t && q.t == o.t && (q.t == WAN_F32 || q.t == WAN_BF16);
}

#endif
