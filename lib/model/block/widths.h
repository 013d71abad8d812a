/* SPDX-License-Identifier: Apache-2.0
 *
 * widths.h - the widths of a transformer as one tensor parallel rank holds them.
 */
#ifndef WAN_MODEL_WIDTHS_H
#define WAN_MODEL_WIDTHS_H

#include "lib/model/store.h"

/* D: residual stream, whole on every rank.  A: columns of attention, whole heads.  F: feed-forward.
 * H: heads. */
typedef struct wan_widths {
    int64_t D, A, F, H;
} wan_widths;

/* What a rank with this slice (NULL: all) holds; -1 with a sentence when a rank would have nothing. */
int wan_widths_of(wan_widths *z, int heads, int head_dim, int ffn, const wan_slice *s)
    WAN_MUST_CHECK;

#endif
