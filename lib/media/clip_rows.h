/* SPDX-License-Identifier: Apache-2.0
 *
 * clip_rows.h - the rows of a list of clips: CSV, TSV, JSON Lines, or one JSON file, by its extension.
 *
 * A row is a JSON object.  CSV (RFC 4180: "" in quoted fields, line ends too) and TSV (no quotes) begin
 * with a line of names, and their values are strings.  A JSON file is an array of objects, or holds
 * one as "items" or "data", or is an object of captions by the names of files, as diffusion-pipe has it:
 * {"a.mp4": "a caption", "b.mp4": ["one", "another"]}.
 */
#ifndef WAN_MEDIA_CLIP_ROWS_H
#define WAN_MEDIA_CLIP_ROWS_H

#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/json.h"

/* One row, borrowed, and its line (its place from 1 on in a JSON file); NULL: it cannot be read, for
 * the recorded reason, which names file and line.  -1 ends the reading. */
typedef int wan_clip_rows_fn(void *arg, json_t *row, int64_t line);

/* -1: the file as a whole cannot be read. */
int wan_clip_rows_each(const char *path, wan_clip_rows_fn *fn, void *arg) WAN_MUST_CHECK;
/* The rows of a JSON file, a new reference; NULL: it is no list of rows. */
json_t *wan_clip_rows_in(const json_t *file);

#endif
