/* SPDX-License-Identifier: Apache-2.0
 *
 * save.h - a generated clip to where it belongs: a video file, PNGs, or a record of a stream.
 *
 *     wan_save_clip c = { .path = "cat.mp4", .frames = 81, .height = 480, .width = 832, .fps = 16,
 *                         .crf = 10 };
 *     wan_save *s;
 *     wan_save_open(&s, &c);
 *     wan_save_frames(s, rgb, n);                  // until all 81 are there
 *     wan_save_finish(&s);
 *
 * A video and a sequence of PNGs are written as frames come; of a record the whole clip waits in
 * memory.  Files get their name when they are finished, the pictures of a sequence each its own; those
 * of one that is not finished are removed.
 */
#ifndef WAN_MEDIA_SAVE_H
#define WAN_MEDIA_SAVE_H

#include "lib/rec/record/record.h"

typedef struct wan_save_clip {
    const char *path; /* .png: a picture (frames 1), with %d or %04d in its name one for each frame;
                       * else a container that libav writes (video.h); NULL: a record */
    int64_t frames, height, width;
    double fps;          /* of a video */
    int crf;             /* of a video: 0 (best) .. 51 */
    wan_writer *records; /* for a record: where it goes, */
    const char *key;     /* its key, */
    json_t *meta;        /* and an object for its meta (NULL: none) */
} wan_save_clip;

typedef struct wan_save wan_save;

/* Whether the name is a file's: it ends with .png or as a container (wan_video_container). */
int wan_save_names_file(const char *name);
/* Where clip i of n goes for the name a user gave: the name of a file itself, NAME_00.mp4 and so on of
 * several (of a sequence of pictures NAME00_%d.png); any other name is a part of DFM's default name, made of task, index, size and the first
 * words of the prompt.  malloc'ed; NULL: out of memory. */
char *wan_save_path(const char *name, const wan_save_clip *c, int i, int n, const char *task,
                    const char *prompt);
int wan_save_is_sequence(const char *path);
/* Whether the whole clip is there: the file, or the last picture of a sequence. */
int wan_save_is_there(const wan_save_clip *c);

/* Whether the file could be written: a folder that cannot take it, or a build or size without an
 * encoder, is known before the work.  Leaves no trace. */
int wan_save_probe(const wan_save_clip *c) WAN_MUST_CHECK;

/* c is copied with its strings and a reference to meta; records must live until the end. */
int wan_save_open(wan_save **out, const wan_save_clip *c) WAN_MUST_CHECK;
/* rgb U8 [n, height, width, 3]; more than c->frames in all is an error. */
int wan_save_frames(wan_save *s, const uint8_t *rgb, int64_t n) WAN_MUST_CHECK;
/* Fewer frames than c->frames are an error.  Frees s and sets *s NULL, on failure too. */
int wan_save_finish(wan_save **s) WAN_MUST_CHECK;
void wan_save_discard(wan_save **s); /* NULL-safe; nothing is left */

#endif
