/* SPDX-License-Identifier: Apache-2.0
 *
 * captions.h - captions to text rows: cleaned, tokenised, encoded; equal ones once.
 *
 *     wan_captions *c;
 *     wan_captions_open(&c, dev, "model", WAN_F32);     // model/tokenizer, model/text_encoder
 *     wan_caption_rows r[n];
 *     wan_captions_encode(c, r, captions, n);           // one walk over the encoder's layers
 *
 * Rows of captions met before are kept (up to 64 MiB) and used again.
 */
#ifndef WAN_MODEL_CAPTIONS_H
#define WAN_MODEL_CAPTIONS_H

#include "lib/model/text/text.h"

#define WAN_CAPTION_TOKENS 512 /* more are cut off, </s> stays last (wan-model(7), Text length) */

typedef struct wan_captions wan_captions;

typedef struct wan_caption_rows {
    const int32_t *ids; /* [n], belongs to the wan_captions until its next call */
    const float *rows;  /* [n, width], likewise */
    int64_t n;
    int64_t dropped; /* tokens beyond WAN_CAPTION_TOKENS */
} wan_caption_rows;

int wan_captions_open(wan_captions **out, wan_dev *d, const char *model, wan_dtype compute)
    WAN_MUST_CHECK;
void wan_captions_close(wan_captions **c);
int64_t wan_captions_width(const wan_captions *c);
/* Whether encoding these would run the text encoder (some are not kept). */
int wan_captions_missing(const wan_captions *c, const char *const *text, int n);
/* -1 also when a row comes out all zero or not finite (wan_captions_check). */
int wan_captions_encode(wan_captions *c, wan_caption_rows *out, const char *const *text, int n)
    WAN_MUST_CHECK;

/* -1 when one of the rows [n, width] of this text is all zero, which would be read as padding further
 * on, or not finite. */
int wan_captions_check(const float *rows, int64_t n, int64_t width, const char *text)
    WAN_MUST_CHECK;

#endif
