/* SPDX-License-Identifier: Apache-2.0
 *
 * clip_caption.h - the captions of a clip: in its list's row, or in files beside it.
 *
 * Beside PATH/STEM.mp4 stand STEM.json (an object), STEM.jsonl (a caption on each line) or STEM.txt (one
 * caption); the first with a caption counts.  In JSON a caption is a string, or several are an array,
 * of a field with one of the known names: caption text prompt vila_caption gemini_v2_caption internvl
 * usr, the first of them that is there.
 */
#ifndef WAN_MEDIA_CLIP_CAPTION_H
#define WAN_MEDIA_CLIP_CAPTION_H

#include "lib/media/clips.h"

typedef struct wan_clip_captions {
    char **v;          /* owned; each at most WAN_MAX_CAPTION bytes, UTF-8 */
    char (*field)[64]; /* owned; where each was: a field's name; "" in a .txt */
    int n;             /* at least 1 */
} wan_clip_captions;

/* field: look only there; NULL: under the known names.  all: in each of them, not only in the first that is
 * there.  -1 "PATH: reason". */
int wan_clip_captions_read(wan_clip_captions *out, const wan_clip *clip, const char *field, int all)
    WAN_MUST_CHECK;
void wan_clip_captions_free(wan_clip_captions *c);
/* Whether there is a file of captions beside path. */
int wan_clip_captions_beside(const char *path);

#endif
