/* SPDX-License-Identifier: Apache-2.0
 *
 * blend.h - what dataset.path names: a shard folder, shards by a pattern, a list of these, or a file
 * in the format of Energon's metadatasets (wan-data(7), Blends).
 *
 *     DIR                                    an indexed folder, its part `split`
 *     DIR/shard-{000000..000127}.tar         these shards of an indexed folder
 *     [a, b]                                 both, every sample once an epoch
 *     [{path: a, weight: 3}, {path: b, weight: 1}]        3 of 4 samples from a
 *     [{path: a, repetitions: 2}, b]                      those of a twice an epoch
 *     [{path: a, caption_field: vila_caption}, b]         captions of that field, of a
 *     FILE.yaml                              splits.SPLIT of a Metadataset or MetadatasetV2, nested
 *
 * Relative paths in a file are relative to that file.
 */
#ifndef WAN_TRAIN_BLEND_H
#define WAN_TRAIN_BLEND_H

#include "lib/base/err.h"
#include "lib/rec/shard/names.h"

typedef struct wan_blend_leaf {
    char *dir, *split; /* owned */
    wan_names shards;  /* relative to dir; none: those of the split */
    double share;      /* weight or repetitions */
    char *caption;     /* owned; the field whose captions are trained on; NULL: any */
} wan_blend_leaf;

typedef struct wan_blend {
    wan_blend_leaf *leaf;
    int n;
    int weighted; /* shares are weights, else repetitions */
} wan_blend;

/* A file that has no such split gives a blend of 0 leaves. */
int wan_blend_load(wan_blend *b, const char *path, const char *split) WAN_MUST_CHECK;
/* The first file of that name in the folders, malloc'ed; NULL with 0: none has one. */
int wan_blend_file(char **found, const char *path, const char *split, const char *name)
    WAN_MUST_CHECK;
void wan_blend_clear(wan_blend *b);

#endif
