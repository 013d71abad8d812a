/* SPDX-License-Identifier: Apache-2.0
 *
 * wishes.h - a file of prompts: what to make, and of each how large, how long and from which seed.
 *
 *     wan_wishes w = { 0 };
 *     WAN_TRY(wan_wishes_read(&w, "prompts.txt"));
 *     for (int i = 0; i < w.n; i++)
 *         use(w.v[i].prompt);
 *     wan_wishes_free(&w);
 *
 * The file is text with a prompt on each line; or a JSON object on each line, with "prompt" (or
 * "caption") and, where they are wanted, "size", "frame_num" and "seed"; or a record stream, whose
 * captions are taken.  Empty lines count for nothing.
 */
#ifndef WAN_MODEL_WISHES_H
#define WAN_MODEL_WISHES_H

#include <stdint.h>

#include "lib/base/err.h"

typedef struct wan_wish {
    char *prompt; /* UTF-8 */
    char *size;   /* "W*H", or NULL: not said */
    char *frames; /* a number, or NULL */
    int64_t seed; /* -1: not said */
} wan_wish;

typedef struct wan_wishes {
    wan_wish *v;
    int n;
} wan_wishes;

/* Appends what path holds ("-": standard input); at most 10,000 prompts of at most 1 MiB each.  Errors
 * name file and line, or record.  To be freed also on failure. */
int wan_wishes_read(wan_wishes *w, const char *path) WAN_MUST_CHECK;
/* Appends one; the strings are copied, size and frames may be NULL. */
int wan_wishes_add(wan_wishes *w, const char *prompt, const char *size, const char *frames,
                   int64_t seed) WAN_MUST_CHECK;
void wan_wishes_free(wan_wishes *w);

#endif
