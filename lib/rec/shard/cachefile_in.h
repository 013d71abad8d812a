/* SPDX-License-Identifier: Apache-2.0
 *
 * cachefile_in.h - between the two kinds of caches.
 */
#ifndef WAN_REC_CACHEFILE_IN_H
#define WAN_REC_CACHEFILE_IN_H

#include "lib/rec/shard/cachefile.h"

/* Adds text without its rows of zeros; takes data, also on error. */
int wan_cachefile_text(wan_record *r, wan_dtype t, int64_t rows, int64_t width, void *data)
    WAN_MUST_CHECK;
/* Those of diffusion-pipe; *n counts them. */
int wan_cachefile_db_each(const char *dir, wan_cachefile_fn *fn, void *arg, uint64_t *n)
    WAN_MUST_CHECK;

#endif
