/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest.h - manifest.json: size and SHA-256 of every file below a folder.
 */
#ifndef WAN_TRAIN_MANIFEST_H
#define WAN_TRAIN_MANIFEST_H

#include "lib/base/err.h"

/* Writes DIR/manifest.json over all regular files below DIR. */
int wan_manifest_save(const char *dir) WAN_MUST_CHECK;
/* Reads the files again; -1 names the first that is missing or differs. */
int wan_manifest_check(const char *dir) WAN_MUST_CHECK;

#endif
