/* SPDX-License-Identifier: Apache-2.0
 *
 * json.h - jansson with our rules: duplicates rejected, one sentence per error, sorted compact
 * output (deterministic bytes), and nothing lost while a value is put together:
 *
 *     json_t *line = wan_json_object();
 *     wan_json_put(&line, "name", json_string(name));     // takes the value
 *     wan_json_put(&line, "shape", wan_json_ints(shape, rank));
 *     char *text = wan_json_dump(line);                    // NULL if anything above failed
 *     json_decref(line);
 *
 * A value in the making that lost something (memory, a text that is no UTF-8) becomes NULL, with the
 * sentence recorded; further calls change nothing, so that one look at the end is enough.
 */
#ifndef WAN_BASE_JSON_H
#define WAN_BASE_JSON_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/base/err.h"

/* 1 when JSON can hold it, 0 when it is not UTF-8, -1: out of memory, which says nothing of the text. */
int wan_json_is_text(const char *text, size_t n, const char *what) WAN_MUST_CHECK;
/* Parses n bytes; what names the source in the error.  Caller json_decref()s. */
json_t *wan_json_parse(const char *text, size_t n, const char *what);
json_t *wan_json_load(const char *path); /* file up to 64 MiB, a byte order mark before it or not */
size_t wan_json_mark(const char *text,
                     size_t n); /* bytes of the mark that editors of Windows write first */
/* Compact, sorted keys; caller frees.  NULL: it is NULL, something was lost, or no memory. */
char *wan_json_dump(const json_t *j);
/* With jansson's flags; the terminator may be written over, to end with a newline. */
char *wan_json_dump_as(const json_t *j, size_t flags);
/* An empty value; NULL: out of memory. */
json_t *wan_json_object(void);
json_t *wan_json_array(void);
/* Adds v, which is taken (NULL: making it failed), to *to, which a failure frees and makes NULL. */
void wan_json_put(json_t **to, const char *key, json_t *v);
void wan_json_push(json_t **to, json_t *v);
/* Adds all keys of the object from (borrowed; NULL: none). */
void wan_json_merge(json_t **to, const json_t *from);
json_t *wan_json_ints(const int64_t *v, int n); /* an array of numbers; NULL: out of memory */

/* A string of any bytes, a file name say; where they are not UTF-8, those from 0x80 on are written
 * as \xHH. */
json_t *wan_json_text(const char *bytes);
/* One compact line to f (name in the error); releases j. */
int wan_json_line(FILE *f, const char *name, json_t *j) WAN_MUST_CHECK;
int wan_json_save(const char *path, const json_t *j, int indent) WAN_MUST_CHECK; /* temp+rename */

/* Typed members: absent key -> default and 0; wrong type or out of range -> -1 with a sentence
 * "what: key "x" must be ...". */
int wan_json_int(const json_t *o, const char *key, int64_t def, int64_t lo, int64_t hi,
                 int64_t *out, const char *what) WAN_MUST_CHECK;
int wan_json_real(const json_t *o, const char *key, double def, double *out, const char *what)
    WAN_MUST_CHECK;
int wan_json_bool(const json_t *o, const char *key, int def, int *out, const char *what)
    WAN_MUST_CHECK;
/* The string belongs to o. */
int wan_json_str(const json_t *o, const char *key, const char *def, const char **out,
                 const char *what) WAN_MUST_CHECK;

#endif
