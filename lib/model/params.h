/* SPDX-License-Identifier: Apache-2.0
 *
 * params.h - the parameters of a model as one flat vector of named tensors.
 *
 * Order: all tensors that GEMMs read (is_gemm), block by block, then all others (norms, biases,
 * modulation tables), block by block; so the bf16 copy is one contiguous prefix [0, n_gemm), and the
 * optimizer, the gradient buckets and a sharded layout walk one vector.  Every offset is a multiple
 * of 64 elements; the gaps are zero and stay zero.
 */
#ifndef WAN_MODEL_PARAMS_H
#define WAN_MODEL_PARAMS_H

#include <stdint.h>

#include "lib/base/err.h"

typedef struct wan_param {
    char name[96];     /* HuggingFace name */
    char official[64]; /* name in the official repository */
    int rank;
    int64_t shape[5];
    int64_t count;  /* elements */
    int64_t offset; /* in the flat vector, elements */
    int is_gemm;
    int block; /* -1: outside the blocks */
} wan_param;

typedef struct wan_params {
    wan_param *v; /* owned */
    int n;
    int64_t n_gemm; /* length of the GEMM prefix, elements (padded) */
    int64_t total;  /* length of the whole vector, elements (padded) */
    int64_t count;  /* parameters, without padding */
} wan_params;

/* Appends a tensor (name, official, rank, shape, is_gemm, block given; count is computed).  After
 * the last one wan_params_layout gives the offsets and sorts the table by offset. */
int wan_params_add(wan_params *p, const wan_param *one) WAN_MUST_CHECK;
void wan_params_layout(wan_params *p);
int wan_params_find(const wan_params *p, const char *hf_name); /* index or -1 (no error recorded) */
void wan_params_free(wan_params *p);

#endif
