/* SPDX-License-Identifier: Apache-2.0
 *
 * weights.h - a folder of weights as HuggingFace lays it out: STEM.safetensors, or numbered files
 * with STEM.safetensors.index.json.
 */
#ifndef WAN_MODEL_WEIGHTS_H
#define WAN_MODEL_WEIGHTS_H

#include "lib/rec/tensor/safetensors.h"

typedef struct wan_weight {
    char name[128];
    wan_dtype type; /* stored as */
    int rank;
    int64_t shape[WAN_MAX_RANK];
    int64_t count; /* elements */
    int id;        /* the caller's; handed to fetch */
    int file;      /* number of the file that it goes into, from 1; set by wan_weights_split */
} wan_weight;

/* The values of weight `id`: *data [count] of type *t, valid until the next call. */
typedef int wan_weights_fetch(void *arg, int id, const void **data, wan_dtype *t);

/* Sorts w by name and writes it into dir, which is made when it is not there; a new file begins
 * when one would hold more than max_shard bytes.  Equal weights make equal bytes. */
int wan_weights_write(const char *dir, const char *stem, wan_weight *w, int n, int64_t max_shard,
                      wan_weights_fetch *fetch, void *arg) WAN_MUST_CHECK;
/* The same in steps, for one who writes the files himself: sorts by name and returns how many files there
 * are; the name of one of them; the index, where they are several (and nothing where not). */
int wan_weights_split(wan_weight *w, int n, int64_t max_shard);
void wan_weights_name(char name[128], const char *stem, int file, int files);
int wan_weights_index(const char *dir, const char *stem, const wan_weight *w, int n, int files)
    WAN_MUST_CHECK;
/* DIR/name: keys sorted, two spaces of indentation, reals with `digits` digits.  Takes j, which may
 * be NULL (the error is recorded already). */
int wan_weights_json(const char *dir, const char *name, json_t *j, int digits) WAN_MUST_CHECK;
/* The fewest digits that give x back: "1e-6", not "9.9999999999999995e-7". */
int wan_weights_digits(double x);

#endif
