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

/* Tokens that a block is filled up to a multiple of, since products sum over them; tiles of AMX need more. */
static inline int64_t wan_attn_unit(const wan_tile *t)
{
    return t->mul == wan_tile_mul_amx ? WAN_TILE_K : WAN_TILE_N;
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

/* n tokens fall into as few parts of at most `most` as there must be, all of about one size: a short one at the end
 * would cost almost as much as a long one. */
static inline int64_t wan_attn_parts(int64_t n, int64_t most)
{
    return (n + most - 1) / most;
}

static inline int64_t wan_attn_all_parts(const wan_pack *p, int64_t most)
{
    int64_t n = 0;
    for (int i = 0; i < p->n; i++)
        n += wan_attn_parts(p->cu_host[i + 1] - p->cu_host[i], most);
    return n;
}

/* Whether a thread had better take whole heads: they come out even, up to a tenth. */
static inline int wan_attn_whole(int64_t heads, int64_t threads)
{
    return wan_attn_parts(heads, threads) * threads * 10 <= heads * 11;
}

/* In the backward a block of keys is one of so many parts of a head's keys, or two of them that follow each other
 * where that is enough for all threads. */
enum { WAN_ATTN_KEYS_BACK = 96 /* at most, of a part */ };
static inline int64_t wan_attn_halves(int64_t keys)
{
    return keys > WAN_ATTN_KEYS_BACK ? 2 * wan_attn_parts(keys, 2 * WAN_ATTN_KEYS_BACK) : 1;
}

/* Parts of a block: 1 or 2.  blocks: how many there are of two. */
static inline int64_t wan_attn_join(int64_t blocks, int64_t threads)
{
    return blocks < 4 * threads ? 1 : 2;
}

/* Heads whose blocks take turns, where each block follows the one before it through a head: enough that all threads
 * find one, in groups of about one size. */
static inline int64_t wan_attn_group(int64_t heads, int64_t blocks, int64_t threads)
{
    int64_t want = wan_attn_parts(2 * threads, blocks), groups = heads / want;
    return wan_attn_parts(heads, groups > 1 ? groups : 1);
}

/* First token of part i of `parts`, a multiple of `unit` that divides the most of them; the smaller ones first. */
static inline int64_t wan_attn_part(int64_t n, int64_t i, int64_t parts, int64_t unit)
{
    int64_t units = (n + unit - 1) / unit, small = parts - units % parts;
    int64_t at = (i * (units / parts) + (i > small ? i - small : 0)) * unit;
    return at < n ? at : n;
}

/* Part *at of all samples, each in parts: returns its sample, *at becomes its number in the sample. */
static inline int wan_attn_sample(const wan_pack *p, int64_t most, int64_t *at)
{
    int i = 0;
    for (int64_t n;; i++, *at -= n) {
        n = wan_attn_parts(p->cu_host[i + 1] - p->cu_host[i], most);
        if (*at < n)
            return i;
    }
}

/* 1 when the blocked kernels take these operands; the reference takes (or refuses) the rest. */
static inline int wan_attn_fits(const wan_attn *a, wan_buf q, wan_buf k, wan_buf v, wan_buf o)
{
    return a->hd <= WAN_TILE_WIDTH - WAN_TILE_K && a->pq->n == a->pk->n && q.t == k.t &&
           q.t == v.t && q.t == o.t && (q.t == WAN_F32 || q.t == WAN_BF16);
}

#endif
