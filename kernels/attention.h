/* SPDX-License-Identifier: Apache-2.0
 *
 * attention.h - variable-length attention without a causal mask: sample i's queries see exactly
 * sample i's keys.
 *
 *   s = scale q k^T + kbias,  p = softmax(s),  o = p v,  lse = log sum_k exp(s)
 * backward (p recomputed from lse; delta = rowsum(do*o)):
 *   dv = p^T do,  ds = p*(do v^T - delta),  dq = scale ds k,  dk = scale ds^T q
 *
 * q, o [Sq, H, hd] and k, v [Sk, H, hd]; row strides ldq, ldk, ldv, ldo in elements (>= H*hd).
 * lse [H, Sq].  kbias [Sk] or NULL: added to the scaled score of that key in every head; the model
 * uses log(m) there so that one key stands for m equal keys (the zero-padded text rows).
 * q, k, v, o and the gradients share one type, WAN_REAL or WAN_BF16.  Gradients are overwritten;
 * they have the strides of their operands.
 *
 * A sample may have no queries, or no keys: its queries then get o = 0, lse = -INFINITY and dq = 0.
 *
 * Keys in parts (a ring of ranks): run attention_forward over each part, then attention_merge:
 *   lse = log(exp(lse) + exp(lse2)),  o = o exp(lse_before - lse) + o2 exp(lse2 - lse)
 * o and o2 [Sq, H, hd] with row stride ldo, each of any type; keep o in WAN_REAL until the last part
 * is in.  A part in which a query sees nothing has lse2 = -INFINITY.  Then attention_backward over
 * each part with the whole's o and lse gives that part's dk and dv, exact, and its share of dq: add
 * the shares up in WAN_REAL (axpy).  What one part of the queries gives to dk and dv adds up alike.
 *
 * bias form (T5): adds table[bucket(key - query), h] instead of kbias; scale is usually 1; the
 * buckets are those of wan-model(7), Buckets, with 32 buckets and distance 128.  Forward only.
 */
#ifndef WAN_KERNELS_ATTENTION_H
#define WAN_KERNELS_ATTENTION_H

#include "kernels/device.h"

typedef struct wan_attn {
    const wan_pack *pq, *pk; /* same n */
    int H;
    int64_t hd;
    double scale;
    int64_t ldq, ldk, ldv, ldo;
    const wan_real *kbias; /* device memory, or NULL */
} wan_attn;

typedef int wan_attention_forward_fn(wan_dev *d, const wan_attn *a, wan_buf o, wan_real *lse,
                                     wan_buf q, wan_buf k, wan_buf v) WAN_MUST_CHECK;
typedef int wan_attention_backward_fn(wan_dev *d, const wan_attn *a, wan_buf dq, wan_buf dk,
                                      wan_buf dv, wan_buf dout, wan_buf o, const wan_real *lse,
                                      wan_buf q, wan_buf k, wan_buf v) WAN_MUST_CHECK;
typedef int wan_attention_merge_fn(wan_dev *d, const wan_attn *a, wan_buf o, wan_real *lse,
                                   wan_buf o2, const wan_real *lse2) WAN_MUST_CHECK;
typedef int wan_attention_t5_fn(wan_dev *d, const wan_attn *a, wan_buf o, wan_buf q, wan_buf k,
                                wan_buf v, const wan_real *table /* [32, H] */) WAN_MUST_CHECK;
/* The relative position bucket 0..31 of key_pos - query_pos. */
int wan_attention_bucket(int64_t rel);

wan_attention_forward_fn wan_attention_forward_c, wan_attention_forward_simd,
    wan_attention_forward_cuda;
wan_attention_backward_fn wan_attention_backward_c, wan_attention_backward_simd,
    wan_attention_backward_cuda;
wan_attention_merge_fn wan_attention_merge_c, wan_attention_merge_cuda;
wan_attention_t5_fn wan_attention_t5_c, wan_attention_t5_simd, wan_attention_t5_cuda;

#endif
