/* SPDX-License-Identifier: Apache-2.0
 *
 * video_colour.h - what the numbers of a frame mean, and the way from there to RGB.
 */
#ifndef WAN_MEDIA_VIDEO_COLOUR_H
#define WAN_MEDIA_VIDEO_COLOUR_H

#include <libavutil/frame.h>
#include <libswscale/swscale.h>

#include "lib/media/video.h"

typedef struct wan_colour {
    int format;      /* the frame's, deprecated "J" names as their plain twins */
    int matrix;      /* enum AVColorSpace; AVCOL_SPC_RGB where there is none */
    int full;        /* range */
    int alpha;       /* has transparency */
    char chain[320]; /* libav's filters that make SDR RGB of it; "" where swscale does */
} wan_colour;

/* -1: it cannot be shown as it is meant, for the recorded reason.  What is decided goes to *said. */
int wan_colour_of(wan_colour *c, wan_video_colour *said, const AVFrame *f,
                  const wan_video_options *opt) WAN_MUST_CHECK;
/* Makes a scaler from c->format to RGB read the frames so. */
int wan_colour_set(struct SwsContext *sws, const wan_colour *c) WAN_MUST_CHECK;
/* Whether b is of other colours than a. */
int wan_colour_differs(const AVFrame *a, const AVFrame *b);

#endif
