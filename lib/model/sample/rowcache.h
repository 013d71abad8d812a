/* SPDX-License-Identifier: Apache-2.0
 *
 * rowcache.h - text rows of prompts that were seen before, in a folder: a file for each, named after
 * whatever the rows depend on.
 */
#ifndef WAN_MODEL_ROWCACHE_H
#define WAN_MODEL_ROWCACHE_H

#include "lib/model/text/prompt.h"

/* wan_prompt_encode, but texts whose rows DIR has are not encoded, and those that are encoded are put
 * there; without any that are new the encoder is not opened.  dir is made where it is not there; NULL:
 * no cache.  A file depends on the text, on width, precision and length of the rows, and on path, names,
 * sizes and times of the files of encoder and tokenizer; one that cannot be read is an error. */
int wan_rowcache_encode(float **rows, int64_t *n, const char *const *text, int count,
                        const wan_prompt_encoder *e, const char *dir) WAN_MUST_CHECK;

#endif
