/* SPDX-License-Identifier: Apache-2.0
 *
 * info.h - .nv-meta/.info.json, or the .info.yaml that Energon wrote before 7.0: the number of
 * samples in each shard.
 */
#ifndef WAN_REC_INFO_H
#define WAN_REC_INFO_H

#include "lib/base/json.h"

/* The folder of metadata, malloc'ed: dir/.nv-meta, or .nv-meta.old where a killed wan-index left only
 * that (file systems that cannot exchange two names). */
char *wan_info_meta(const char *dir);

/* {shard: count, ...} of the dataset in dir, in the order of the file; counts are at least 1 and
 * names are safe.  New reference; NULL on error. */
json_t *wan_info_load(const char *dir);

#endif
