/* SPDX-License-Identifier: Apache-2.0
 *
 * cachefile.h - latents and text rows that other trainers keep beside their data (wan-data(7), Caches of
 * other trainers).
 *
 *     musubi-tuner     NAME_WWWWxHHHH_wan.safetensors, videos NAME_FFFFF-FFF_WWWWxHHHH_wan.safetensors, each
 *                      with latents_FxHxW_TYPE [16, F, H, W]; NAME_wan_te.safetensors with varlen_t5_TYPE
 *                      [rows, width] and the caption
 *     diffusion-pipe   cache_BUCKET/latents and cache_BUCKET/text_embeddings_1, each metadata.db (SQLite:
 *                      items in their order, places in shards) and shard_N.bin (a torch file for each item)
 */
#ifndef WAN_REC_CACHEFILE_H
#define WAN_REC_CACHEFILE_H

#include "lib/rec/record/record.h"

/* One record, borrowed: latent, text without its padding, what else is known.  -1 ends the reading. */
typedef int wan_cachefile_fn(void *arg, const wan_record *r);

/* All that is below dir, of both kinds, in the order of paths.  -1 also when there is nothing; *without is
 * how many have no caption, because diffusion-pipe keeps these elsewhere. */
int wan_cachefile_each(const char *dir, wan_cachefile_fn *fn, void *arg, uint64_t *without)
    WAN_MUST_CHECK;

#endif
