/* SPDX-License-Identifier: Apache-2.0
 *
 * metafile.h - the .meta files of the Automodel path of NeMo: a pickle or torch file of a map with
 * video_latents [1, 16, T', h, w], text_embeddings [1, rows, width] and texts and numbers
 * (wan-data(7), Automodel).
 */
#ifndef WAN_REC_METAFILE_H
#define WAN_REC_METAFILE_H

#include "lib/rec/record/record.h"

/* Fills *r (cleared first) with latent, text without its zero rows, and as metadata what else the file
 * holds: that of `metadata` and of the map itself, the caption from either. */
int wan_metafile_read(wan_record *r, const char *path, const char *key) WAN_MUST_CHECK;

/* A record as such a file: latent, text with rows of zeros up to `rows` of them, caption and what else it
 * tells; as torch saves it, or pickled.  -1 also when the text is longer. */
int wan_metafile_write(const char *path, const wan_record *r, int64_t rows, int pickled)
    WAN_MUST_CHECK;

/* The file of a record in a folder of such files, ".meta" included, and the key of a path below it: both malloc'ed,
 * NULL with an error.  A key's '/' is "%2F" in the name, so that one is told from the other; a name that no key has is
 * written as a clip's path would be (clip_key.h). */
char *wan_metafile_name(const char *key);
char *wan_metafile_key(const char *name);

/* Paths below dir that end in .meta or .pt (the same, torch files), relative, sorted; released with wan_shard_list_free. */
int wan_metafile_list(char ***names, size_t *n, const char *dir) WAN_MUST_CHECK;

/* Where a dataset was looked for in dir and not found: when .meta files are there, records the
 * sentence that says how to convert them, else `otherwise`.  Returns -1. */
int wan_metafile_hint(const char *dir, const char *otherwise);

#endif
