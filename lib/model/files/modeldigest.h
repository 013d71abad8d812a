/* SPDX-License-Identifier: Apache-2.0
 *
 * modeldigest.h - a cheap name for the contents of a model folder, for provenance.
 */
#ifndef WAN_MODEL_MODELDIGEST_H
#define WAN_MODEL_MODELDIGEST_H

#include "lib/base/err.h"
#include "lib/base/sha256.h"

/* SHA-256 over the names, in order, of the .json, .model and .safetensors files directly in dir and
 * their contents; of .safetensors only the size and the header, so that no weights are read: two
 * files whose weights alone differ have one digest.  A folder that is not there has none: "". */
int wan_modeldigest(char hex[65], const char *dir) WAN_MUST_CHECK;

/* The same with all of what is in the files: SHA-256 over the CRC32C of each MiB.  What has been read once is
 * kept in the folder `memo` (recordcache.h) for as long as no file changes (name, size, times). */
int wan_modeldigest_contents(char hex[65], const char *dir, const char *memo) WAN_MUST_CHECK;

/* Adds path, names, sizes and times (of change, too) of the files of a folder, in the order of names, or of one file; what
 * is not there adds its path. */
int wan_modeldigest_stamp(wan_sha256 *s, const char *path) WAN_MUST_CHECK;

#endif
