/* SPDX-License-Identifier: Apache-2.0
 *
 * video_log.h - libav's messages: counted and kept for our sentence instead of printed.
 */
#ifndef WAN_MEDIA_VIDEO_LOG_H
#define WAN_MEDIA_VIDEO_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

/* Forgets what was kept, and makes libav talk to us. */
void wan_video_log_start(void);
/* From here on the decoder is ours: forgets what the one told that found out what streams there are,
 * as ours will tell it again; what a demuxer told stays, since nothing is read twice. */
void wan_video_log_decoding(void);
/* Errors told so far, those of decoder threads included: for some decoders (MJPEG, HEVC) and
 * containers (Matroska) the only sign of damage. */
int64_t wan_video_log_errors(void);
/* The first of them; "" when there was none. */
void wan_video_log_first(char *text, size_t room);
/* Records "PATH: what: libav's reason (its first complaint)".  Always -1. */
int wan_video_log_err(const char *path, const char *what, int averror);

#endif
