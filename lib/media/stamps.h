/* SPDX-License-Identifier: Apache-2.0
 *
 * stamps.h - when each frame of a video is shown: stamps that never fall, and what was wrong with
 * those in the file.  Stamps count ticks.
 */
#ifndef WAN_MEDIA_STAMPS_H
#define WAN_MEDIA_STAMPS_H

#include <stdint.h>

#define WAN_STAMP_NONE INT64_MIN /* libav's AV_NOPTS_VALUE */

typedef struct wan_stamps {
    double tick;         /* seconds */
    double max_gap;      /* seconds; 0: any */
    int64_t frames;      /* stamped so far */
    int64_t first, last; /* given to frames */
    int64_t duration;    /* of the last frame, 0 unknown */
    int64_t repeated;    /* frames that stand where the one before them does */
    int64_t wild;        /* out of order, or behind too large a gap */
    char first_wild[96]; /* says which and where */
} wan_stamps;

/* The stamp of the next frame, not below the one before it, from its raw stamp, that of the frame
 * behind it (WAN_STAMP_NONE: unknown or no frame) and its duration (0 unknown). */
int64_t wan_stamps_next(wan_stamps *s, int64_t raw, int64_t next, int64_t duration);
/* Behind the last frame. */
void wan_stamps_end(wan_stamps *s);
double wan_stamps_fps(const wan_stamps *s); /* average; 0 unknown */

#endif
