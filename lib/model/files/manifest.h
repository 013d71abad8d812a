/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest.h - manifest.json: size and digest of every file below a folder: SHA-256, or CRC32C of files
 * that several have written, whose sums add up (crc32c.h).  Larger files have the CRC32C of each range, too, so
 * that a change can be named.
 */
#ifndef WAN_MODEL_MANIFEST_H
#define WAN_MODEL_MANIFEST_H

#include <stdint.h>

#include "lib/base/err.h"

/* A file whose digest is known already. */
typedef struct wan_manifest_known {
    const char *name; /* below the folder */
    int64_t bytes;
    const uint32_t *crc32c; /* of each range of wan_ranges_each(bytes) bytes: ranges.h */
} wan_manifest_known;

/* Writes DIR/manifest.json over all regular files below DIR; the n known ones are not read. */
int wan_manifest_save(const char *dir, const wan_manifest_known *known, int n) WAN_MUST_CHECK;
/* Reads the files again; -1 names the first that is missing or differs.  Only every ranks-th, from number
 * `rank` on: ranks share the work. */
int wan_manifest_check(const char *dir, int rank, int ranks) WAN_MUST_CHECK;
/* The same of the files at path, a folder or a file (of weights that have a list, the folder of that), by the
 * manifest in it, or else in the folder above; of a file in the two above it.  Where none is there, nothing is
 * known. */
int wan_manifest_check_part(const char *path, int rank, int ranks) WAN_MUST_CHECK;

#endif
