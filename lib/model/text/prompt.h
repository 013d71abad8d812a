/* SPDX-License-Identifier: Apache-2.0
 *
 * prompt.h - a few texts at once to the rows that the transformer attends to.
 */
#ifndef WAN_MODEL_PROMPT_H
#define WAN_MODEL_PROMPT_H

#include "kernels/ops.h"

/* sample_neg_prompt of the official code (wan-model(7), Negative prompt). */
#define WAN_PROMPT_NEGATIVE                                                                                                                             \
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，"        \
    "低质量，JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，" \
    "形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"

typedef struct wan_prompt_encoder {
    wan_dev *d;
    const char *encoder, *tokenizer; /* folders */
    wan_dtype compute;
    int64_t width;   /* of the rows, as the transformer wants them */
    int64_t max_len; /* tokens at most, </s> included */
} wan_prompt_encoder;

/* Cleans, tokenises and encodes count texts in one walk over the encoder's layers, which is open
 * only meanwhile.  rows[i] is malloc'ed host F32 [n[i], width]; on failure all are NULL.  A text of
 * more than max_len tokens is cut, with a warning. */
int wan_prompt_encode(float **rows, int64_t *n, const char *const *text, int count,
                      const wan_prompt_encoder *e) WAN_MUST_CHECK;

#endif
