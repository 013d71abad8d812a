/* SPDX-License-Identifier: Apache-2.0
 *
 * video_filter.h - a chain of libav's own filters, for what few clips need: deinterlacing, HDR.
 *
 * libavfilter is opened when the first chain is: with all it needs it would double the time that
 * every start takes.
 */
#ifndef WAN_MEDIA_VIDEO_FILTER_H
#define WAN_MEDIA_VIDEO_FILTER_H

#include <libavutil/frame.h>
#include <libavutil/rational.h>

#include "lib/base/err.h"

typedef struct wan_video_filter wan_video_filter;

/* chain: as ffmpeg -vf takes it.  like: a frame as all will be.  pts count in time_base. */
int wan_video_filter_open(wan_video_filter **out, const char *chain, const AVFrame *like,
                          AVRational time_base) WAN_MUST_CHECK;
/* Takes the frame's data; NULL: there are no more.  Frames of another size or format are an error. */
int wan_video_filter_push(wan_video_filter *f, AVFrame *frame) WAN_MUST_CHECK;
/* 1 a frame with its pts in time_base, 0 none until more are pushed (or ever), -1. */
int wan_video_filter_pull(wan_video_filter *f, AVFrame *frame) WAN_MUST_CHECK;
void wan_video_filter_close(wan_video_filter **f); /* NULL-safe */

#endif
