/* SPDX-License-Identifier: Apache-2.0
 *
 * text.h - from a caption to UMT5 rows: clean, tokenise, encode.
 */
#ifndef WAN_MODEL_TEXT_H
#define WAN_MODEL_TEXT_H

#include "kernels/ops.h"

/* ftfy-like fixes, html.unescape twice, whitespace collapse, strip (wan-model(7), Cleaning; what is
 * left out is listed in wan-numerics(7)).  UTF-8 in and out; invalid UTF-8 is an error.  Caller frees. */
int wan_text_clean(char **out, const char *text) WAN_MUST_CHECK;

typedef struct wan_tokenizer wan_tokenizer;
/* dir holds spiece.model (SentencePiece Unigram) and, optionally, tokenizer.json. */
int wan_tokenizer_open(wan_tokenizer **out, const char *dir) WAN_MUST_CHECK;
void wan_tokenizer_close(wan_tokenizer **t);
/* Ids as the HuggingFace fast tokenizer gives them, </s> appended, at most max_len ids with </s>
 * kept last.  *ids is malloc'ed. */
int wan_tokenizer_encode(wan_tokenizer *t, int32_t **ids, int64_t *n, const char *text,
                         int64_t max_len) WAN_MUST_CHECK;

typedef struct wan_umt5 wan_umt5;
/* dir holds config.json and model.safetensors[.index.json]; weights stay mapped and are streamed
 * layer by layer, so memory is about one layer (of a device two, unless all stay there: umt5_layers.h) plus the rows
 * of the window. */
int wan_umt5_open(wan_umt5 **out, wan_dev *d, const char *dir, wan_dtype compute) WAN_MUST_CHECK;
void wan_umt5_close(wan_umt5 **e);
int64_t wan_umt5_width(const wan_umt5 *e); /* d_model */
int64_t wan_umt5_bytes(const wan_umt5 *e); /* weights on a device while it runs, streamed */
/* Encodes n token lists at once (one walk over the layers).  rows: host F32 [sum len, d_model]. */
int wan_umt5_encode(wan_umt5 *e, float *rows, const int32_t *const *ids, const int64_t *len, int n)
    WAN_MUST_CHECK;

#endif
