/* SPDX-License-Identifier: Apache-2.0
 *
 * source.h - where samples come from: an indexed shard folder, or mock data (spec training.md 3.3).
 */
#ifndef WAN_TRAIN_SOURCE_H
#define WAN_TRAIN_SOURCE_H

#include "lib/rec/dataset.h"
#include "lib/train/config.h"

typedef struct wan_source wan_source;

/* path "": mock data of the dataset.* keys of c, with `channels` and `text_dim`.  split: a part of
 * split.yaml.  All samples are measured here. */
int wan_source_open(wan_source **out, const wan_train_config *c, const char *path,
                    const char *split, int64_t channels, int64_t text_dim) WAN_MUST_CHECK;
void wan_source_close(wan_source **s);
int64_t wan_source_count(const wan_source *s);
const wan_sample_info *wan_source_info(const wan_source *s, int64_t i);
/* Names the data: equal digests mean equal samples under equal numbers. */
const char *wan_source_digest(const wan_source *s);
/* Reads sample i; trailing rows of zeros are cut off the text (DFM's shards pad it), rows beyond
 * text_len too.  May be called from one thread while another asks for infos. */
int wan_source_read(wan_source *s, int64_t i, int64_t text_len, wan_sample *out) WAN_MUST_CHECK;

#endif
