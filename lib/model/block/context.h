/* SPDX-License-Identifier: Apache-2.0
 *
 * context.h - keys and values of prompts for every block, made once and used for every step of a
 * sampler: they depend neither on the latent nor on the noise.
 */
#ifndef WAN_MODEL_CONTEXT_H
#define WAN_MODEL_CONTEXT_H

#include "lib/model/acts.h"
#include "lib/model/block/lengths.h"

struct wan_context {
    wan_dev *d;
    wan_dtype compute;
    wan_lengths pack; /* of the text rows (textrows.h) */
    wan_real *kbias;  /* device [R] */
    void *mem;        /* device [layers][key, value][R, width] */
    int64_t R, width;
};

/* Room for n prompts of text_len[i] <= all true rows; the caller fills kbias and the blocks. */
int wan_context_new(wan_context **out, const wan_store *s, int layers, int64_t width,
                    const int64_t *text_len, int n, int64_t all) WAN_MUST_CHECK;
void wan_context_free(wan_context **c); /* NULL-safe */
/* Keys and values of the text for one block, and how they are packed. */
typedef struct wan_context_kv {
    const wan_pack *pack;
    const wan_real *kbias;
    wan_buf k, v;
} wan_context_kv;
wan_context_kv wan_context_at(const wan_context *c, int l);
/* Keys and values of block l, [R, width]. */
wan_buf wan_context_key(const wan_context *c, int l);
wan_buf wan_context_value(const wan_context *c, int l);

#endif
