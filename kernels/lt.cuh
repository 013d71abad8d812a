/* SPDX-License-Identifier: Apache-2.0
 *
 * lt.cuh - cuBLASLt as linear.cu, linear8.cu and conv.cu share it: opened by the first product of a device, its
 * plans, and which of the algorithms that it proposes is taken.
 *
 *   column-major  d [m, n] = (accumulate ? d : 0) + op(a) op(b) + bias [m]
 *   op(a) is [m, k]: a stored so (ta 0) or as [k, m] (ta 1), columns lda apart; op(b) is [k, n] likewise.
 *   d may pass through GELU, or through its derivative, on the way to memory, and sums of op(b) along k may be
 *   had beside it (lt_then).
 *
 * An algorithm is asked for with n and k rounded up (space.h), and taken for every product of that bound which it
 * can do: packs bring ever new numbers of tokens, and the order of sums must not depend on which came first.
 * Where the device has ways (ways.h), theirs goes before; while they are being tried, the proposals are measured.
 */
#ifndef WAN_KERNELS_LT_CUH
#define WAN_KERNELS_LT_CUH

#include <cublasLt.h>

#include "kernels/cuda_util.cuh"
#include "kernels/space.h"

/* Operands: both so, but LT_E5M2: a in e4m3, b in e5m2. */
enum lt_type { LT_F32, LT_BF16, LT_E4M3, LT_E5M2 };

/* What else happens where d is written.  cuBLASLt's GELU is the tanh form of act.h: its documentation does not say,
 * but XLA writes that form, and no other, as this epilogue (gemm_rewriter.cc); check_linear asks the device.  aux is
 * [m, n] of d's type, columns m apart. */
enum lt_then {
    LT_AS_IT_IS,
    LT_GELU,
    LT_GELU_KEPT, /* aux: what GELU was applied to */
    LT_DGELU,     /* d times GELU' of aux */
    LT_SUM_B      /* aux [n]: sums of op(b) along k, in d's type */
};

/* Everything the choice of an algorithm depends on; compared by bytes. */
struct lt_shape {
    int64_t m, n, k, lda, ldb;
    int ta, tb, type, out_bf16, bias, then, accumulate,
        align; /* of addresses; in eight bits, of d's */
};

enum { LT_MOST = 8 }; /* proposals that are measured */

struct lt_plan {
    lt_shape shape;
    cublasLtMatmulDesc_t op;
    cublasLtMatrixLayout_t a, b, d;
    cublasLtMatmulAlgo_t algo[LT_MOST]; /* the first is taken */
    int found;                          /* so many; 0: cuBLASLt has none */
    int said, settled;                  /* that there is none; that the first is the way */
};

struct lt_call {
    const void *a, *b;
    void *d;
    const float *bias;            /* [m], or NULL */
    const float *a_back, *b_back; /* what undoes the scales of eight bits, device */
    void *aux;                    /* of lt_then */
};

/* The plan of a shape, the device's, until the next is asked for; NULL: failed (error recorded). */
lt_plan *cuda_lt_plan(wan_dev *d, const lt_shape *s);
int cuda_lt_run(wan_dev *d, const char *op, lt_plan *p, const lt_call *c);
/* Largest power of two that divides the addresses in u, ored, at most 256. */
static inline int cuda_lt_alignment(uintptr_t u)
{
    u |= 256;
    return (int)(u & (~u + 1));
}
/* Called when the device closes. */
void cuda_lt_close(wan_dev *d);

#endif
