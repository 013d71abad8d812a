/* SPDX-License-Identifier: Apache-2.0
 *
 * st_layout.h - where everything lies in a safetensors file that is to be written: its header, and the
 * data of its tensors in the order in which they are added.
 *
 *     wan_st_layout *l;
 *     wan_st_layout_new(&l);
 *     wan_st_layout_add(l, "w", WAN_F32, shape, 2, &offset);
 *     wan_st_layout_head(l, &head, &n);        // the file: head [n], then the data; w at n + offset
 *     wan_st_layout_free(&l);
 */
#ifndef WAN_REC_ST_LAYOUT_H
#define WAN_REC_ST_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/dtype.h"
#include "lib/base/err.h"

typedef struct wan_st_layout wan_st_layout;

int wan_st_layout_new(wan_st_layout **out) WAN_MUST_CHECK;
/* offset (may be NULL): of its first byte from the end of the header.  A name twice is an error. */
int wan_st_layout_add(wan_st_layout *l, const char *name, wan_dtype t, const int64_t *shape,
                      int rank, uint64_t *offset) WAN_MUST_CHECK;
int wan_st_layout_metadata(wan_st_layout *l, const char *key, const char *value) WAN_MUST_CHECK;
/* The header with its length in front, padded so that the data begin at a multiple of 8; *head is
 * malloc'ed. */
int wan_st_layout_head(const wan_st_layout *l, char **head, size_t *n) WAN_MUST_CHECK;
uint64_t wan_st_layout_bytes(const wan_st_layout *l); /* of all data */
void wan_st_layout_free(wan_st_layout **l);           /* NULL-safe */

#endif
