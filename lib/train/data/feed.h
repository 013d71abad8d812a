/* SPDX-License-Identifier: Apache-2.0
 *
 * feed.h - where samples come from: one or several indexed shard folders (blend.h), or mock data
 * (wan-data(7), Mock data).
 */
#ifndef WAN_TRAIN_FEED_H
#define WAN_TRAIN_FEED_H

#include "lib/rec/shard/dataset.h"
#include "lib/train/config/config.h"
#include "lib/train/data/mix.h"

typedef struct wan_feed wan_feed;

/* path "": mock data of the dataset.* keys of c, with `channels` and `text_dim`; else what blend.h
 * says.  split: a part of split.yaml.  All samples are measured here. */
int wan_feed_open(wan_feed **out, const wan_train_config *c, const char *path, const char *split,
                  int64_t channels, int64_t text_dim) WAN_MUST_CHECK;
/* The val part of the datasets that have one, every sample once. */
int wan_feed_open_val(wan_feed **out, const wan_train_config *c, const char *path, int64_t channels,
                      int64_t text_dim) WAN_MUST_CHECK;
/* debug.batch: a safetensors file with x0.K [C, T', h, w], text.K [rows, text_dim] and, where
 * given, noise.K (as x0.K) and sigma [n], K = 0..n-1; samples come in this order, unshuffled. */
int wan_feed_open_batch(wan_feed **out, const char *path, int64_t channels, int64_t text_dim)
    WAN_MUST_CHECK;
/* Says in the log which of its folders have shards that their index does not know. */
void wan_feed_tell_unknown(const wan_feed *s);
/* 1 when there is a val part with samples, 0 when not. */
int wan_feed_has_val(const char *path) WAN_MUST_CHECK;
void wan_feed_close(wan_feed **s);
/* Positions of an epoch: every sample, as often as it is repeated; with weights as many as there are
 * samples. */
int64_t wan_feed_epoch(const wan_feed *s);
/* How its datasets are mixed; samples of a dataset follow each other from wan_feed_first on. */
const wan_mix_part *wan_feed_mix(const wan_feed *s, int *parts, int *spread);
int64_t wan_feed_first(const wan_feed *s, int part);
const char *wan_feed_name(const wan_feed *s, int part);
int64_t wan_feed_count(const wan_feed *s);
/* From now on samples have their size and no contents, and no file is read. */
void wan_feed_blank(wan_feed *s);
const wan_sample_info *wan_feed_info(const wan_feed *s, int64_t i);
/* Names the data: equal digests mean equal samples under equal numbers. */
const char *wan_feed_digest(const wan_feed *s);
/* The sigma of sample i that a debug batch prescribes: 1, or 0 when there is none. */
int wan_feed_sigma(const wan_feed *s, int64_t i, float *sigma);
/* The noise that it prescribes, or NULL. */
const float *wan_feed_noise(const wan_feed *s, int64_t i);
/* Reads sample i at that position of the run, which says which of several captions it has
 * (dataset.draw_captions); trailing rows of zeros are cut off the text (DFM's shards pad it), rows beyond
 * text_len too.  May be called from one thread while another asks for infos. */
int wan_feed_read(wan_feed *s, int64_t i, int64_t position, int64_t text_len, wan_sample *out)
    WAN_MUST_CHECK;

#endif
