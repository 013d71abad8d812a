/* SPDX-License-Identifier: Apache-2.0
 *
 * ahead.h - pieces of mapped files, read from the disk by a thread of their own while others compute.
 *
 *     WAN_TRY(wan_ahead_new(&a));
 *     WAN_TRY(wan_ahead_add(a, data, bytes));     // in the order in which they are wanted
 *     wan_ahead_start(a);
 *     wan_ahead_free(&a);                         // before the files are unmapped
 */
#ifndef WAN_MODEL_AHEAD_H
#define WAN_MODEL_AHEAD_H

#include <stddef.h>

#include "lib/base/err.h"

typedef struct wan_ahead wan_ahead;

int wan_ahead_new(wan_ahead **out) WAN_MUST_CHECK;
int wan_ahead_add(wan_ahead *a, const void *data, size_t bytes) WAN_MUST_CHECK;
void wan_ahead_start(
    wan_ahead *a); /* where no thread can be had, pages are read as they are touched */
void wan_ahead_free(wan_ahead **a); /* stops it; NULL-safe */

#endif
