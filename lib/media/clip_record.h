/* SPDX-License-Identifier: Apache-2.0
 *
 * clip_record.h - frames of a clip, and all that is known of it, as a record (wan-record(5)).
 */
#ifndef WAN_MEDIA_CLIP_RECORD_H
#define WAN_MEDIA_CLIP_RECORD_H

#include "lib/media/clip_caption.h"
#include "lib/media/video.h"
#include "lib/rec/record/record.h"

/* How clips are decoded, in the words of NeMo DFM; all borrowed. */
typedef struct wan_clip_settings {
    int height, width; /* asked for; 0: none */
    int budget;        /* they are chosen for each clip */
    const char *resize_mode, *mode, *background;
    int keep_aspect, center_crop;
    int all_captions; /* in one record: "caption_list" */
} wan_clip_settings;

/* Which frames of the video, and which caption. */
typedef struct wan_clip_part {
    int64_t first, frames;
    int64_t frame_index; /* mode frames: from 1 on; else 0 */
    int64_t piece;       /* of several of the video: from 1 on; else 0 */
    int64_t scene;       /* from 1 on; 0: scenes were not looked for */
    int caption;         /* from 0 on */
} wan_clip_part;

/* r borrows the pixels of v. */
int wan_clip_record(wan_record *r, const char *key, const wan_clip_settings *s,
                    const wan_clip *clip, const wan_clip_captions *captions, const wan_video *v,
                    const wan_clip_part *part) WAN_MUST_CHECK;

#endif
