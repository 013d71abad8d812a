/* SPDX-License-Identifier: Apache-2.0
 *
 * dataset.h - random access to the samples of an indexed shard folder (wan-index, Energon).
 *
 *     wan_dataset *d;
 *     WAN_TRY(wan_dataset_open(&d, "ds1", "train"));
 *     for (int64_t i = 0; i < wan_dataset_count(d); i++)
 *         WAN_TRY(wan_dataset_info(d, i, &info));         // from the index
 *     wan_sample s = WAN_SAMPLE_INIT;
 *     WAN_TRY(wan_dataset_read(d, 7, &s));                // tensors as float, checked
 *     wan_sample_clear(&s);
 *     wan_dataset_close(&d);
 *
 * Sample i is the i-th of the split: shards in the order split.yaml lists them, samples in file
 * order, excluded ones left out (wan-data(7), Parts), so the index stays valid as long
 * as the digest does.  info and read may be called from several threads at once.
 */
#ifndef WAN_REC_DATASET_H
#define WAN_REC_DATASET_H

#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/json.h"
#include "lib/rec/shard/measure.h"
#include "lib/rec/shard/names.h"

typedef struct wan_dataset wan_dataset;

typedef struct wan_sample {
    char *key; /* owned */
    wan_sample_info info;
    float *latent; /* owned, [C, T', h, w] */
    float *text;   /* owned, [S, D] */
    json_t *json;  /* owned: the json member as stored (caption, ...) */
} wan_sample;

#define WAN_SAMPLE_INIT                                                                            \
    {                                                                                              \
        0, { { 0 }, 0, 0 }, 0, 0, 0                                                                \
    }

/* dir: folder with .nv-meta/.info.json, .nv-meta/split.yaml and a .tar.idx beside each shard.
 * split: "train", "val", "test" or another part of split.yaml.  Index files are checked against
 * each other and the shards' sizes.  An empty split opens with count 0.
 *
 * The sizes of samples come from .nv-meta/samples.bin (sizes.h), so that no shard is opened.  Shards
 * that it does not know are measured, once: the result is written there, or where that is not
 * possible kept in memory, which is logged. */
int wan_dataset_open(wan_dataset **out, const char *dir, const char *split) WAN_MUST_CHECK;
/* 1 when the folder's split.yaml has that part, which may be empty, 0 when not. */
int wan_dataset_has(const char *dir, const char *split) WAN_MUST_CHECK;
/* The shards that are named (paths below dir) instead of those of a part. */
int wan_dataset_open_shards(wan_dataset **out, const char *dir, const wan_names *shards)
    WAN_MUST_CHECK;
/* Says in the log how many shards lie in dir that came after its index was made, and names the first. */
int wan_dataset_tell_unknown(const char *dir) WAN_MUST_CHECK;
int64_t wan_dataset_count(const wan_dataset *d);
/* SHA-256 (64 hex digits) over shard names, counts, offsets and exclusions of this split: equal
 * digests mean that sample numbers mean the same thing.  Owned by d. */
const char *wan_dataset_digest(const wan_dataset *d);
/* Sizes of sample i; -1: it cannot be read as a sample. */
int wan_dataset_info(const wan_dataset *d, int64_t i, wan_sample_info *info) WAN_MUST_CHECK;
/* The same for all samples: info [count]. */
int wan_dataset_infos(const wan_dataset *d, wan_sample_info *info) WAN_MUST_CHECK;
/* Reads and checks sample i: checksums, shapes, finite values, |latent| <= 1000.  Padding rows of
 * the text are cut off.  Clears and fills *s.  The sentence names shard and key. */
int wan_dataset_read(const wan_dataset *d, int64_t i, wan_sample *s) WAN_MUST_CHECK;
/* Of a sample with several captions one (wan-record(5), caption_list): of those of `field` (NULL: of all) that
 * at draw / 2^64 of their number; first: the first.  A sample without one of this field is an error. */
typedef struct wan_caption_choice {
    const char *field;
    uint64_t draw;
    int first;
} wan_caption_choice;

int wan_dataset_read_caption(const wan_dataset *d, int64_t i, const wan_caption_choice *choice,
                             wan_sample *s) WAN_MUST_CHECK;
void wan_sample_clear(wan_sample *s);
void wan_dataset_close(wan_dataset **d);

#endif
