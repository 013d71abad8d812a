/* SPDX-License-Identifier: Apache-2.0
 *
 * params.h - the parameters that a model declares: a table of names, shapes and roles.  What anyone
 * wants to know of a parameter stands in its row; nothing is guessed from its name.
 *
 * A model is cut into parts: 0 is everything before the blocks (embeddings, conditioning), 1..L are
 * the blocks, L+1 is the head.  A part is what a pipeline stage, a flat shard or a hook deals with.
 */
#ifndef WAN_MODEL_PARAMS_H
#define WAN_MODEL_PARAMS_H

#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/quant.h"

enum wan_role {
    WAN_ROLE_COLUMN,     /* matrix [N, K] whose outputs N tensor parallel ranks share out */
    WAN_ROLE_ROW,        /* matrix [N, K] whose inputs K they share out: products are summed */
    WAN_ROLE_REPLICATED, /* matrix that every rank holds */
    WAN_ROLE_NORM,       /* weight or bias of a norm */
    WAN_ROLE_BIAS,
    WAN_ROLE_MODULATION, /* table added to the conditioning rows */
    WAN_ROLE_EMBEDDING   /* matrix that brings something into the model's width */
};

enum wan_init {
    WAN_INIT_ZERO,
    WAN_INIT_ONE,
    WAN_INIT_NORMAL,  /* N(0, scale^2) */
    WAN_INIT_UNIFORM, /* U(-scale, scale) */
    WAN_INIT_XAVIER   /* U(-a, a), a = sqrt(6 / (fan in + fan out)) of the whole tensor */
};

typedef struct wan_param {
    char name[96];     /* HuggingFace name */
    char official[64]; /* name in the authors' own repository, "" where there is none */
    int rank;
    int64_t shape[5]; /* of the whole tensor */
    int64_t count;    /* elements of it */
    int part;
    enum wan_role role;
    int cut;      /* the dimension that tensor parallel ranks share out, -1: each holds all of it */
    int64_t unit; /* elements along it that stay together (a head), >= 1 */
    enum wan_init init;
    double scale;
    int gemm;         /* a GEMM reads it, in the type it computes in */
    wan_quant blocks; /* ... or in these, which stay as a file has them (wan_modelio_held) */
    int mapped;       /* ... from the file itself */
    int eight;        /* ... and in eight bits where that is asked for (linear8.h) */
    int decays;       /* weight decay applies under optimizer.no_decay_1d */
    int frozen;       /* never updated */
    int dense; /* its gradient is made by wan_dense_* alone: the first of a step overwrites what is there */
} wan_param;

typedef struct wan_params {
    wan_param *v; /* owned; parts in ascending order */
    int n;
    int parts;     /* L + 2 */
    int64_t count; /* elements in all */
} wan_params;

/* Appends a row (count is computed; unit 0 becomes 1).  Parts must not descend. */
int wan_params_add(wan_params *p, const wan_param *one) WAN_MUST_CHECK;
int wan_params_find(const wan_params *p, const char *name); /* index or -1 (no error recorded) */
void wan_params_free(wan_params *p);
/* What products in eight bits keep aside (wan_dev_aside): bytes of the operands of the largest of `tokens` rows, of
 * three layers where they are one product. */
int64_t wan_params_aside(const wan_params *p, int64_t tokens);

/* The initial values of elements [first, first + n) of the whole tensor, drawn from seed and the name
 * alone.  v: host [n]. */
void wan_params_init(const wan_param *q, uint64_t seed, int64_t first, int64_t n, float *v);

#endif
