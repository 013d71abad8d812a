/* SPDX-License-Identifier: Apache-2.0
 *
 * soft_simd.h - what attention does to rows of scores between two products: they become operands of the next
 * one while they are in registers.
 */
#ifndef WAN_KERNELS_SOFT_SIMD_H
#define WAN_KERNELS_SOFT_SIMD_H

#include "kernels/tile.h"

/* Rows of two neighbouring keys in the backward, n queries of each; p and ds are operands of type t.
 *   p = 2^(c s + bias - lse),  ds = p (dp - delta)
 * s, dp, p, ds: the second row ld behind the first; p may be s and ds dp where t is fp32. */
typedef struct wan_soft_rows {
    const float *s, *dp;
    void *p, *ds;
    int64_t ld;
    void *packed; /* ds as rows of B (tile.h), panels ldb elements apart */
    int64_t ldb;
    const float *lse, *delta; /* [n]; lse in powers of two */
    float c, bias[2];
    int keys; /* 1: the second row is padding and becomes 0 */
} wan_soft_rows;

/* The same of a block of `keys` keys, with its products
 *   s = K Q^T,  dp = V G^T    K, V rows [keys up to a multiple of 4, k]; Q, G packed, panels of k rows
 * What comes behind the panels of these queries is fetched into the cache. */
typedef struct wan_soft_block {
    const void *K, *V, *Q, *G;
    int64_t k, keys;
    const float *bias; /* [keys], not yet in powers of two; or NULL */
} wan_soft_block;

typedef void wan_soft_block_fn(const wan_soft_block *b, const wan_soft_rows *r, int64_t n);
wan_soft_block_fn wan_softblock_bf16;

/* n: a multiple of WAN_TILE_N; of grads, where there is no block, of WAN_TILE_K */
typedef struct wan_soft {
    float (*top)(const float *s, int64_t n); /* the largest */
    /* p [n] = 2^(c s - top); returns the sum of them before they are rounded, made in 16 lanes that are added in
     * pairs; p may be s where t is fp32 */
    float (*exponents)(void *p, const float *s, float c, float top, int64_t n);
    void (*grads)(const wan_soft_rows *r, int64_t n);
    /* p, ds and packed of all keys, up to a multiple of 4 (those are 0), where it is faster than products by themselves
     * and grads; else NULL.  r: as for the first rows, without s, dp, bias and keys. */
    wan_soft_block_fn *block;
} wan_soft;

/* For operands of type t, as wan_tile_for gives them on this CPU. */
wan_soft wan_soft_for(wan_dtype t);

#endif
