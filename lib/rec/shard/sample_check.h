/* SPDX-License-Identifier: Apache-2.0
 *
 * sample_check.h - one sample by itself and beside the first one: does all of it parse, is every number finite, and do
 * shapes, the json member and what a training run demands (wan-data(7), What readers demand) agree?
 */
#ifndef WAN_REC_SAMPLE_CHECK_H
#define WAN_REC_SAMPLE_CHECK_H

#include "lib/rec/shard/shard.h"

/* What the first sample has, and all others must; 0 before it. */
typedef struct wan_sample_like {
    int known;
    int latent, text;        /* wan_dtype */
    int64_t channels, width; /* of latents, of rows of text */
} wan_sample_like;

/* A sample read with payload.  -1 with a sentence: shard, sample, part, and what is wrong. */
int wan_sample_check(wan_sample_like *like, const wan_shard_sample *s, const char *shard)
    WAN_MUST_CHECK;

#endif
