/* SPDX-License-Identifier: Apache-2.0
 *
 * measure.h - the sizes of one sample from the heads of its members, and the digests of what no
 * other digest covers.
 */
#ifndef WAN_REC_MEASURE_H
#define WAN_REC_MEASURE_H

#include <stdint.h>

#include "lib/base/err.h"
#include "lib/rec/shard/shard.h"
#include "lib/rec/shard/sizes.h"
#include "lib/rec/tensor/torch.h"

typedef struct wan_sample_info {
    int64_t latent[4]; /* [C, T', h, w]; h and w even */
    /* [S, D]; S without the rows of zero bytes that DFM pads with, at least 1; of several captions the
     * longest */
    int64_t text_rows, text_dim;
} wan_sample_info;

/* A shard, mapped for reading. */
typedef struct wan_shard_map {
    const uint8_t *data;
    uint64_t size;
} wan_shard_map;

int wan_measure_map(wan_shard_map *m, const char *path) WAN_MUST_CHECK;
void wan_measure_unmap(wan_shard_map *m); /* zeroed or mapped */

/* Sizes of a sample whose headers were read (part.data is not looked at).  Of the payload only the
 * pages at the ends of pth and pickle are touched, and the padding of the text. */
int wan_measure_sizes(wan_sample_info *info, const wan_shard_sample *s, const wan_shard_map *m)
    WAN_MUST_CHECK;

/* Sizes and digests as samples.bin keeps them.  -1: they cannot be told, the sentence says why, and
 * the row says that (latent[0] = 0). */
int wan_measure_row(wan_sizes_row *row, const wan_shard_sample *s, const wan_shard_map *m)
    WAN_MUST_CHECK;

/* Sizes from one tensor (NULL: none): the latent, and the text, where a batch of one in front is
 * dropped (old DFM shards). */
int wan_measure_latent(wan_sample_info *info, const wan_torch_tensor *t) WAN_MUST_CHECK;
int wan_measure_text(wan_sample_info *info, const wan_torch_tensor *t) WAN_MUST_CHECK;

/* For wan_shard_reader_on_other: the CRC32C of payloads that belong to no sample. */
typedef struct wan_measure_others {
    const wan_shard_map *m;
    uint32_t crc;
} wan_measure_others;
void wan_measure_other(void *others, uint64_t at, uint64_t size);

/* Rows of text [rows, width bytes each] in front of the zero rows at its end; at least 1. */
int64_t wan_measure_rows(const void *text, int64_t rows, uint64_t width);

#endif
