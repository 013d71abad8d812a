/* SPDX-License-Identifier: Apache-2.0
 *
 * clips.h - which files are clips: files, folders walked in a fixed order, lists; their record keys.
 *
 *     wan_clips c = { 0 };
 *     wan_clips_add(&c, "clips/");                 // or a file; any number of times
 *     wan_clips_list(&c, "more.csv");              // or a list of files
 *     for (size_t i = 0; i < c.n; i++) {
 *         if (c.v[i].why) ...                      // named and counted, there is nothing to read
 *         char *key = wan_clips_key(&c, &c.v[i], 0, 0, 0);
 *     }
 *     wan_clips_free(&c);
 */
#ifndef WAN_MEDIA_CLIPS_H
#define WAN_MEDIA_CLIPS_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/json.h"

/* Files that are passed over, which is no failure. */
enum wan_strange {
    WAN_STRANGE_NAME = 1, /* it has a caption, but not a video's name */
    WAN_STRANGE_PICTURE,  /* a picture without a caption of its own */
    WAN_STRANGE_CAPTION   /* it has one, but not as it was wanted */
};

typedef struct wan_clip {
    char *path;       /* as it can be opened */
    const char *name; /* in it, without folders */
    char *stem;       /* path below the operand or the list's folder, without extension */
    char *row; /* what a list says of it, a JSON object in a fifth of its memory; NULL: nothing */
    double start, end;              /* seconds of it that are meant; end 0: all */
    int64_t first_frame, end_frame; /* the frames of it that are meant; end 0: all */
    char *why;                      /* NULL: a clip; else why there is none here ("PATH: reason") */
    int strange;                    /* with why: enum wan_strange, or 0: a clip was meant */
} wan_clip;

typedef struct wan_clips {
    wan_clip *v;
    size_t n, room;
    const char *prefix; /* in front of every key; NULL: nothing.  Borrowed */
    json_t *keys;       /* keys given out */
    json_t *listed;     /* paths that the lists of folders name */
} wan_clips;

/* A file is taken as it is; of a folder and its subfolders the videos, in byte order of their names,
 * and the pictures with a caption, hidden ones left out.  A folder's own list (meta.json and the like)
 * comes first.  What cannot be a clip (a dead link, a loop of links, a folder that cannot be read or
 * holds none, an operand that is not there), and a file that has a caption but no video's name, is in
 * the list with its reason.  -1 only when memory is out. */
int wan_clips_add(wan_clips *c, const char *operand) WAN_MUST_CHECK;
/* The clips of a list of any form (clip_rows.h); paths in it start at its folder.  -1: it cannot be read. */
int wan_clips_list(wan_clips *c, const char *file) WAN_MUST_CHECK;
/* By the extension, in any case. */
int wan_clips_is_video(const char *name);
int wan_clips_is_picture(const char *name);
/* From the last dot of the name on; "" none. */
const char *wan_clips_extension(const char *path);
/* A key for the clip that was not given out before, malloc'ed (wan_clip_key_make).  Behind it come
 * _-s and milliseconds, or _-f and a frame, where it begins later than its file; _-p2, _-p3 for its
 * other pieces and _-c2, _-c3 for its other captions (both from 1 on, 0 none); _01, _02 for frames (0
 * none); and _-n2, _-n3 where the whole was given out already. */
char *wan_clips_key(wan_clips *c, const wan_clip *clip, int64_t piece, int64_t caption,
                    int64_t frame);
/* Leaves part i (from 0 on) of n: told by the path without extension, so that other clips that come or
 * go change nothing. */
void wan_clips_part(wan_clips *c, uint32_t i, uint32_t n);
void wan_clips_free(wan_clips *c);

/* For clips_walk.c: adds a file of which `below` names the clip; lists path as no clip, for the recorded
 * reason; adds what a folder's list says of files in it. */
wan_clip *wan_clips_put(wan_clips *c, const char *path, const char *below) WAN_MUST_CHECK;
int wan_clips_reject(wan_clips *c, const char *path, int strange /* enum wan_strange, 0 */)
    WAN_MUST_CHECK;
int wan_clips_rows(wan_clips *c, const char *file, const char *folder, size_t root) WAN_MUST_CHECK;

#endif
