/* SPDX-License-Identifier: Apache-2.0
 *
 * video_log.h - libav's messages: kept for our sentence instead of printed.
 */
#ifndef WAN_MEDIA_VIDEO_LOG_H
#define WAN_MEDIA_VIDEO_LOG_H

#include "lib/base/err.h"

/* Forgets what was kept, and makes libav talk to us. */
void wan_video_log_start(void);
/* Records "PATH: what: libav's reason (its first complaint)".  Always -1. */
int wan_video_log_err(const char *path, const char *what, int averror);
/* Errors the demuxers told since wan_video_log_start: for some containers (Matroska) the only sign
 * of a truncated file. */
int wan_video_log_demuxer(void);

#endif
