/* SPDX-License-Identifier: Apache-2.0
 *
 * clip_jobs.h - clips decoded in child processes of their own, several at once; their results come in
 * the order they were asked for.
 *
 *     while (more to put || some put and not taken) {
 *         while (more to put && wan_clip_jobs_room(j))
 *             wan_clip_jobs_put(j, &task, how many more);
 *         if (wan_clip_jobs_wait(j)) {
 *             rc = wan_clip_jobs_take(j, &v);              // of the oldest one
 *             ... wan_clip_jobs_pixels(j, &v) ...
 *             wan_clip_jobs_done(j);                       // v's pixels are gone
 *         }
 *     }
 */
#ifndef WAN_MEDIA_CLIP_JOBS_H
#define WAN_MEDIA_CLIP_JOBS_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/child.h"
#include "lib/media/pieces.h"
#include "lib/media/video.h"

typedef struct wan_clip_task {
    const char *path;        /* borrowed until it is done */
    wan_video_options video; /* without cores, opened and beat */
    int64_t chosen;          /* so many frames by wan_video_read_frames; 0: wan_video_read */
    int middle;              /* of video.max_frames: those in the middle of the clip */
    wan_pieces pieces;       /* what becomes of it, where the size depends on that: */
    int64_t max_tokens;      /* of a piece; 0: any */
    int stream; /* its frames are wanted as they come, by wan_clip_jobs_frames; no `chosen`, no `middle` */
} wan_clip_task;

/* What has come of a clip that is streamed. */
typedef struct wan_clip_frames {
    const uint8_t *rgb; /* bytes of frames, not always whole ones; until the next call */
    size_t bytes;
    int first;      /* the clip begins with these, whatever came before; and then: */
    wan_video like; /* what it will be, as far as is known */
} wan_clip_frames;

typedef struct wan_clip_jobs wan_clip_jobs;

/* At most `jobs` at once (0: as many as there are cores), each of at most max_bytes of frames.  The
 * cores are shared among those that run.  No other thread may run while tasks are put. */
int wan_clip_jobs_open(wan_clip_jobs **out, int jobs, const wan_child_limits *limits,
                       int64_t max_bytes) WAN_MUST_CHECK;
/* Whether one more may be put now.  Results that wait for their turn take up to 1 GiB. */
int wan_clip_jobs_room(const wan_clip_jobs *j);
size_t wan_clip_jobs_most(const wan_clip_jobs *j); /* are put and not done at any time */
/* behind: how many will be put after it, as far as is known.  1: not now, as no more processes or descriptors
 * can be had; -1: not even one. */
int wan_clip_jobs_put(wan_clip_jobs *j, const wan_clip_task *t, size_t behind) WAN_MUST_CHECK;
/* 1 the oldest one has ended; 2 it is streamed, and there are frames; 0 another has ended; -1 none was put, or no
 * process can be had. */
int wan_clip_jobs_wait(wan_clip_jobs *j) WAN_MUST_CHECK;
/* As wan_video_read, but v->rgb is NULL: the pixels are fetched by wan_clip_jobs_pixels.  They and the
 * marks live until wan_clip_jobs_done.  Of a streamed one the frames, 4k+1 of them, come by wan_clip_jobs_frames: 1 some,
 * 0 no more (then *v is given its marks); before it has ended too, v is NULL then. */
int wan_clip_jobs_take(wan_clip_jobs *j, wan_video *v) WAN_MUST_CHECK;
int wan_clip_jobs_pixels(wan_clip_jobs *j, wan_video *v) WAN_MUST_CHECK;
int wan_clip_jobs_streams(const wan_clip_jobs *j);
int wan_clip_jobs_frames(wan_clip_jobs *j, wan_video *v, wan_clip_frames *out) WAN_MUST_CHECK;
void wan_clip_jobs_done(wan_clip_jobs *j);
/* Why the oldest ran without a filter of system calls; NULL: it did not. */
const char *wan_clip_jobs_unfiltered(const wan_clip_jobs *j);
void wan_clip_jobs_close(wan_clip_jobs **j); /* with those that still run */

#endif
