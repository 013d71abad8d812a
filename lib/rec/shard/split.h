/* SPDX-License-Identifier: Apache-2.0
 *
 * split.h - .nv-meta/split.yaml: which shards belong to train, val, test (wan-data(7),
 * Parts), and the rule that divides shards by ratio.
 */
#ifndef WAN_REC_SPLIT_H
#define WAN_REC_SPLIT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/rec/shard/names.h"

typedef struct wan_split {
    struct wan_split_part {
        char *name;
        wan_names shards; /* expanded */
    } * part;
    size_t n;
    wan_names exclude; /* expanded: SHARD or SHARD/KEY */
} wan_split;

/* path: split.yaml or split.json.  Block or flow collections of plain scalars only: anchors, tags
 * and unknown keys are errors. */
int wan_split_load(wan_split *s, const char *path) WAN_MUST_CHECK;
int wan_split_save(const wan_split *s, const char *path) WAN_MUST_CHECK;
/* A name as a YAML scalar that reads back as the same text. */
void wan_split_put_name(FILE *f, const char *s);
struct wan_split_part *wan_split_add(wan_split *s, const char *name, size_t len);
const struct wan_split_part *wan_split_find(const wan_split *s, const char *name);
void wan_split_clear(wan_split *s);

/* end[k] of n shards for whole-number weights: floor(n * (w0+..+wk) / sum), the last one n; the
 * first part with a weight gets a shard whenever there is one.  So no shard is lost. */
void wan_split_ends(size_t *end, size_t n, const uint64_t *weight, size_t parts);

#endif
