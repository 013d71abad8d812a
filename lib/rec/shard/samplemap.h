/* SPDX-License-Identifier: Apache-2.0
 *
 * samplemap.h - a record as the members of one shard sample, and back.
 *
 *     latent        KEY.pth      one tensor [C, T', h, w]
 *     text          KEY.pickle   one tensor [S, D], true length
 *     others        KEY.tN.wan   raw little-endian bytes of tensor N; DFM and Energon pass them by
 *     meta          KEY.json     DFM's keys (wan-data(7), Keys of the json), and below "wan": the
 *                                record's own metadata, the table of tensors with CRC32C digests,
 *                                the id of the program that wrote the record, and in the first
 *                                sample of a shard or stream the header of the stream (history)
 *
 * What goes in comes out again: pack then unpack gives the same record.
 */
#ifndef WAN_REC_SAMPLEMAP_H
#define WAN_REC_SAMPLEMAP_H

#include "lib/rec/record/record.h"
#include "lib/rec/shard/shard.h"

#define WAN_SAMPLE_LATENT_MAX 1000.0f /* DFM skips samples with larger latents */
#define WAN_SAMPLE_TEXT_ROWS 512      /* DFM cuts off what is longer */

typedef struct wan_samplemap_options {
    int latent_dtype, text_dtype; /* wan_dtype, or -1: as in the record */
    const char *provenance;       /* id of the last program of the chain, or NULL */
    const json_t *history;        /* header of the stream, where this sample tells it, or NULL */
} wan_samplemap_options;

typedef struct wan_samplemap {
    wan_shard_part *part; /* owned, with names and data */
    int n;
    wan_dtype latent_dtype, text_dtype; /* as stored */
} wan_samplemap;

/* Checks and converts.  Refused: no latent or text, odd h or w, more than 512 text rows, values
 * that are not finite or too large, before or after conversion. */
int wan_samplemap_pack(wan_samplemap *m, const wan_record *r, const wan_samplemap_options *opt)
    WAN_MUST_CHECK;
void wan_samplemap_clear(wan_samplemap *m);

/* Fills *r (cleared first) from a sample read with payload; verifies shapes and digests where the
 * json member has them.  A sample made by DFM: meta is its json, padding rows of the text go.  A key
 * that no record can have is written as a clip's path would be (clip_key.h).  *history (or NULL): the
 * header that the sample tells, a new reference, or NULL.  what names the shard. */
int wan_samplemap_unpack(wan_record *r, json_t **history, const wan_shard_sample *s,
                         const char *what) WAN_MUST_CHECK;

/* Tensor `name` of a sample of ours, root its parsed json member; checked as by unpack; data is
 * malloc'ed.  1, 0 it has none, -1. */
int wan_samplemap_tensor(wan_tensor *out, const wan_shard_sample *s, const json_t *root,
                         const char *name) WAN_MUST_CHECK;

/* Whether a json member is ours: it then holds a digest of every other part. */
int wan_samplemap_own(const void *json, size_t n);

/* -1 with a sentence when a value is not finite or |x| > limit (0: none). */
int wan_samplemap_finite(const float *x, int64_t n, float limit, const char *what) WAN_MUST_CHECK;

#endif
