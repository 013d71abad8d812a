/* SPDX-License-Identifier: Apache-2.0
 *
 * clips.h - which files are clips: folders walked in a fixed order, captions, record keys.
 *
 *     wan_clips c = { 0 };
 *     wan_clips_add(&c, "clips/");                 // or a file; any number of times
 *     for (size_t i = 0; i < c.n; i++) {
 *         if (c.v[i].why) ...                      // named and counted, there is nothing to read
 *         char *text = wan_clip_caption(&c.v[i]);
 *         char *key = wan_clips_key(&c, c.v[i].stem, 0);
 *     }
 *     wan_clips_free(&c);
 */
#ifndef WAN_MEDIA_CLIPS_H
#define WAN_MEDIA_CLIPS_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/json.h"

typedef struct wan_clip {
    char *path;  /* as it can be opened */
    char *name;  /* without folders */
    char *stem;  /* path below the operand, without extension */
    char *why;   /* NULL: a clip; else why there is none here ("PATH: reason") */
    int strange; /* with why: only its name keeps it from being taken for a clip */
} wan_clip;

typedef struct wan_clips {
    wan_clip *v;
    size_t n, room;
    const char *prefix; /* in front of every key; NULL: nothing.  Borrowed */
    json_t *keys;       /* keys given out */
} wan_clips;

/* A file is taken as it is; of a folder and its subfolders the files named like a video
 * (wan_clips_is_video), in byte order of their names, hidden ones left out.  What cannot be a clip
 * (a dead link, a loop of links, a folder that cannot be read or holds none, an operand that is not
 * there), and a file that has a caption but no video's name, is in the list with its reason.  -1
 * only when memory is out. */
int wan_clips_add(wan_clips *c, const char *operand) WAN_MUST_CHECK;
/* By the extension, in any case. */
int wan_clips_is_video(const char *name);
/* The string "caption" of the sidecar (same name, .json), malloc'ed; NULL with the reason. */
char *wan_clip_caption(const wan_clip *clip);
/* A key for a path that was not given out before, malloc'ed (wan_clip_key_make); with frame > 0
 * followed by _01, _02 and so on; where it was given out already by _-n2, _-n3 and so on. */
char *wan_clips_key(wan_clips *c, const char *path, int64_t frame);
void wan_clips_free(wan_clips *c);

#endif
