/* SPDX-License-Identifier: Apache-2.0
 *
 * mem.h - checked memory.
 */
#ifndef WAN_BASE_MEM_H
#define WAN_BASE_MEM_H

#include <stddef.h>
#include <stdio.h>

/* malloc that records "out of memory (N bytes for WHAT)".  count*size is overflow-checked. */
void *wan_malloc(size_t count, size_t size, const char *what);
void *wan_calloc(size_t count, size_t size, const char *what);
/* A list of n elements of `size` bytes with room for one more: v, or a copy of twice the size, and v is gone.  *room: of
 * how many elements there is room (0 and v NULL: of none yet).  NULL: recorded as above, and v stays. */
void *wan_mem_grow(void *v, size_t n, size_t *room, size_t size, const char *what);
/* As open_memstream, whose text ends where there was no memory and whose fclose says nothing of it: a stream
 * into *text, which the caller frees, of *n bytes and a NUL, after wan_mem_close and also where that fails. */
FILE *wan_mem_open(char **text, size_t *n);
/* -1: some of what was written is not there. */
int wan_mem_close(FILE *f) __attribute__((warn_unused_result));

#endif
