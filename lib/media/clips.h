/* SPDX-License-Identifier: Apache-2.0
 *
 * clips.h - which files are clips: folders walked in a fixed order, captions, record keys.
 *
 *     wan_clips c = { 0 };
 *     wan_clips_add(&c, "clips/");                 // or a file; any number of times
 *     for (size_t i = 0; i < c.n; i++) {
 *         char *text = wan_clip_caption(&c.v[i]);
 *         char *key = wan_clips_key(&c, c.v[i].stem);
 *     }
 *     wan_clips_free(&c);
 */
#ifndef WAN_MEDIA_CLIPS_H
#define WAN_MEDIA_CLIPS_H

#include <stddef.h>

#include "lib/base/err.h"
#include "lib/base/json.h"

typedef struct wan_clip {
    char *path; /* as it can be opened */
    char *name; /* without folders */
    char *stem; /* path below the operand, without extension */
} wan_clip;

typedef struct wan_clips {
    wan_clip *v;
    size_t n;
    const char *prefix; /* in front of every key; NULL: nothing.  Borrowed */
    json_t *keys;       /* keys given out */
} wan_clips;

/* A file is taken as it is; of a folder and its subfolders the files named .mp4 .m4v .mov .mkv
 * .webm .avi (any case), in byte order of their names, hidden ones left out.  -1 when there is
 * nothing, or a folder without any. */
int wan_clips_add(wan_clips *c, const char *operand) WAN_MUST_CHECK;
/* The string "caption" of the sidecar (same name, .json), malloc'ed; NULL with the reason. */
char *wan_clip_caption(const wan_clip *clip);
/* A legal record key made from text that was not given out before (a, a_2, a_3 ...); malloc'ed. */
char *wan_clips_key(wan_clips *c, const char *text);
void wan_clips_free(wan_clips *c);

#endif
