/* SPDX-License-Identifier: Apache-2.0
 *
 * dense.h - a dense layer of a store, with or without a bias, and its gradients.
 */
#ifndef WAN_MODEL_DENSE_H
#define WAN_MODEL_DENSE_H

#include "lib/model/store.h"

/* w [N, K] as this rank holds it, in the type GEMMs read it (WAN_REAL where none does); bias and
 * gradients in WAN_REAL, NULL where there are none. */
typedef struct wan_dense {
    wan_buf w;
    wan_real *b, *dw, *db;
    int64_t N, K;
    int eight;      /* operands in eight bits (linear8.h) */
    uint8_t *unset; /* dw is to be overwritten where this is not 0 (store.h); NULL: added to */
    int joined,
        step; /* so many layers in one, each with its mark, `step` of them further on; 0: one */
} wan_dense;

/* A norm's weight or bias, or a modulation table, with its gradient. */
typedef struct wan_dense_vector {
    wan_real *p, *g;
} wan_dense_vector;

/* Weight i of the store where the running part has it; bias: parameter i+1 belongs to it. */
void wan_dense_bind(wan_dense *w, const wan_store *s, int i, int bias);
void wan_dense_bind_vector(wan_dense_vector *v, const wan_store *s, int i);

/* y [M, N] = act(x w^T + b), keeping what act was applied to in pre unless pre.p is NULL. */
int wan_dense_act(wan_dev *d, const wan_dense *w, wan_buf y, wan_buf pre, wan_buf x, int64_t M,
                  enum wan_act act) WAN_MUST_CHECK;
int wan_dense_forward(wan_dev *d, const wan_dense *w, wan_buf y, wan_buf x, int64_t M)
    WAN_MUST_CHECK;
/* Adds the gradients of weight and bias, or overwrites theirs, from dy [M, N] and x [M, K]; this and the next are of layers that
 * are never in eight bits. */
int wan_dense_wgrad(wan_dev *d, const wan_dense *w, wan_buf dy, wan_buf x, int64_t M)
    WAN_MUST_CHECK;
/* dx [M, K] = dy w, or += where add. */
int wan_dense_dgrad(wan_dev *d, const wan_dense *w, wan_buf dx, wan_buf dy, int64_t M, int add)
    WAN_MUST_CHECK;
/* Both. */
int wan_dense_backward(wan_dev *d, const wan_dense *w, wan_buf dx, wan_buf dy, wan_buf x, int64_t M,
                       int add) WAN_MUST_CHECK;
/* Both, of two layers with an activation between, z = first(x), h = act(z), y = second(h): dx from dy, by way of
 * dh [M, second->K], which is work space. */
int wan_dense_backward_two(wan_dev *d, const wan_dense *first, const wan_dense *second, wan_buf dx,
                           wan_buf dh, wan_buf dy, wan_buf x, wan_buf z, wan_buf h, int64_t M,
                           enum wan_act act) WAN_MUST_CHECK;
/* Both, of a layer that reads act(z): dx [M, K] is the gradient of z [M, K]. */
int wan_dense_backward_act(wan_dev *d, const wan_dense *w, wan_buf dx, wan_buf dy, wan_buf x,
                           wan_buf z, int64_t M, enum wan_act act) WAN_MUST_CHECK;

#endif
