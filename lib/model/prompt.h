/* SPDX-License-Identifier: Apache-2.0
 *
 * prompt.h - a few texts at once to the rows that the transformer attends to.
 */
#ifndef WAN_MODEL_PROMPT_H
#define WAN_MODEL_PROMPT_H

#include "kernels/ops.h"

typedef struct wan_prompt_encoder {
    wan_dev *d;
    const char *encoder, *tokenizer; /* folders */
    wan_dtype compute;
    int64_t width;                   /* of the rows, as the transformer wants them */
    int64_t max_len;                 /* tokens at most, </s> included */
} wan_prompt_encoder;

/* Cleans, tokenises and encodes count texts in one walk over the encoder's layers, which is open
 * only meanwhile.  rows[i] is malloc'ed host F32 [n[i], width]; on failure all are NULL. */
int wan_prompt_encode(float **rows, int64_t *n, const char *const *text, int count,
                      const wan_prompt_encoder *e) WAN_MUST_CHECK;

#endif
