/* SPDX-License-Identifier: Apache-2.0
 *
 * mem.h - checked memory.
 */
#ifndef WAN_BASE_MEM_H
#define WAN_BASE_MEM_H

#include <stddef.h>

/* malloc that records "out of memory (N bytes for WHAT)".  count*size is overflow-checked. */
void *wan_malloc(size_t count, size_t size, const char *what);
void *wan_calloc(size_t count, size_t size, const char *what);

#endif
