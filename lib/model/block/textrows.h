/* SPDX-License-Identifier: Apache-2.0
 *
 * textrows.h - the text rows that cross-attention sees.
 *
 * A model attends to a fixed number of rows per sample, of which all but the true ones are zero and
 * therefore become one and the same key and value.  So a sample keeps its n true rows and one zero
 * row whose score is raised by log(all - n): exp(s + log m) = m exp(s).  The result, and every
 * gradient, is that of all rows.
 */
#ifndef WAN_MODEL_TEXTROWS_H
#define WAN_MODEL_TEXTROWS_H

#include "kernels/ops.h"

/* Rows kept of a sample with n true rows out of all. */
static inline int64_t wan_textrows_kept(int64_t n, int64_t all)
{
    return n < all ? n + 1 : n;
}

/* Rows kept of samples with n[i] true rows, into kept [count]; their sum.  -1 with a sentence when
 * one has more than all; who: "transformer", for it. */
int64_t wan_textrows_count(int64_t *kept, const int64_t *n, int count, int64_t all, const char *who)
    WAN_MUST_CHECK;

/* The true rows text [sum n, width] and the zero row of every sample into x [pack->S, width], as
 * pack has them; logarithms of the multiplicities into kbias, device [pack->S].  staging: host
 * [pack->S]. */
int wan_textrows_lay(wan_dev *d, wan_buf x, wan_real *kbias, const wan_pack *pack, wan_buf text,
                     const int64_t *n, int64_t width, int64_t all, wan_real *staging)
    WAN_MUST_CHECK;

#endif
