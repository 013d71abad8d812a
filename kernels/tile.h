/* SPDX-License-Identifier: Apache-2.0
 *
 * tile.h - products of small matrices that stay in cache: the core of attention on the CPU.
 *
 *   C[m, n] (+)= A[m, k] B[k, n]     C fp32; A and B bf16, or fp32 where the CPU has no bf16
 *
 * A is plain rows.  B is packed in panels of 16 columns; in a panel, units of 32 bits (one fp32 or
 * two bf16 neighbours along k) stand as [unit of k][16 columns], so that one 64-byte row feeds one
 * vector instruction or one row of an AMX tile.  m, n are multiples of 16 and k of WAN_TILE_K
 * (of 16 will do but for AMX): packing fills up with zeros.
 */
#ifndef WAN_KERNELS_TILE_H
#define WAN_KERNELS_TILE_H

#include "kernels/cpu.h"
#include "kernels/real.h"

enum { WAN_TILE_N = 16, WAN_TILE_K = 32, WAN_TILE_WIDTH = 1024 /* longest row packed */ };

/* lda in elements, ldc in floats, ldb: elements from one panel of B to the next. */
typedef void wan_tile_mul_fn(float *C, int64_t ldc, const void *A, int64_t lda, const void *B,
                             int64_t ldb, int64_t m, int64_t n, int64_t k, int add);

/* dst [n] elements <- src [n] floats */
typedef void wan_tile_store_fn(void *dst, const float *src, int64_t n);

/* sum [m] += what stands in each column of panels, lda apart: k deep, m columns, filled up with zeros. */
typedef void wan_tile_sum_fn(float *sum, const void *A, int64_t lda, int64_t m, int64_t k);

typedef struct wan_tile {
    wan_dtype t; /* of A and B */
    int size;    /* bytes of an element */
    wan_tile_mul_fn *mul;
    wan_tile_store_fn *store;
    wan_tile_mul_fn *mul_cols; /* A packed as B is, lda from one panel to the next; NULL: none */
    wan_tile_sum_fn *sum_cols; /* with it */
    int past; /* whole panels are packed past the caches, which hold less than is packed */
} wan_tile;

/* The fastest for operands of type t on this CPU. */
wan_tile wan_tile_for(wan_dtype t);

/* GFLOP/s of it by all threads, operands in their caches; the best of several trials, some milliseconds.
 * 0: no memory. */
double wan_tile_rate(wan_dtype t);

wan_tile_mul_fn wan_tile_mul_bf16, wan_tile_mul_bf16_cols, wan_tile_mul_amx;
/* In fp32, with vectors that this CPU must have: in the same order of sums. */
wan_tile_mul_fn *wan_tile_mul_f32(enum wan_cpu_vectors v);
/* mul_cols and sum_cols in fp32; NULL: none with such vectors. */
wan_tile_mul_fn *wan_tile_mul_f32_cols(enum wan_cpu_vectors v);
wan_tile_sum_fn *wan_tile_sum_f32_cols(enum wan_cpu_vectors v);
wan_tile_sum_fn wan_tile_sum_bf16_cols;
wan_tile_store_fn wan_tile_store_f32, wan_tile_store_bf16;

/* p += n, and the compiler does not know: it would keep the address of every row, on the stack. */
#define WAN_TILE_STEP(p, n)                                                                        \
    do {                                                                                           \
        (p) += (n);                                                                                \
        __asm__("" : "+r"(p));                                                                     \
    } while (0)

static inline int64_t wan_tile_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

/* dst [mp, lda] <- rows of src (first element at off, ld apart), zeros outside [m, k]. */
void wan_tile_rows(const wan_tile *t, void *dst, int64_t lda, wan_buf src, int64_t off, int64_t ld,
                   int64_t m, int64_t k, int64_t mp);
/* dst [kp, ldt] <- the transpose of the same rows (row i of src becomes column i). */
void wan_tile_transpose(const wan_tile *t, void *dst, int64_t ldt, wan_buf src, int64_t off,
                        int64_t ld, int64_t m, int64_t k, int64_t kp);
/* B = src^T: row j of src (k elements) is column j of B.  Panels of kp*16 elements, np columns. */
void wan_tile_pack_rows(const wan_tile *t, void *dst, wan_buf src, int64_t off, int64_t ld,
                        int64_t n, int64_t k, int64_t np, int64_t kp);
/* B = src: rows of src are rows of B.  Panels ldb elements apart, kp rows, np columns. */
void wan_tile_pack_cols(const wan_tile *t, void *dst, int64_t ldb, wan_buf src, int64_t off,
                        int64_t ld, int64_t k, int64_t n, int64_t kp, int64_t np);

#endif
