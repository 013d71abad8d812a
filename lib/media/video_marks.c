/* SPDX-License-Identifier: Apache-2.0
 *
 * video_marks.c - what is told of single frames: a scene begins (libavfilter's scdet, on the file's own
 * frames), black, still (on the frames that are kept).
 */
#include <stdlib.h>
#include <string.h>

#include "lib/media/video_internal.h"
#include "lib/media/video_late.h"

#define lav wan_video_late

/* A frame of another size or kind is another scene. */
static int begin(wan_video_marks *m, const AVFrame *f, double threshold, AVRational time_base)
{
    char chain[64];
    int first = !m->scenes;
    if (m->scenes && f->width == m->width && f->height == m->height && f->format == m->format)
        return 0;
    wan_video_filter_close(&m->scenes);
    snprintf(chain, sizeof chain, "scdet=threshold=%.6g", threshold);
    m->width = f->width;
    m->height = f->height;
    m->format = f->format;
    m->cut |= !first;
    return wan_video_filter_open(&m->scenes, chain, f, time_base);
}

int wan_video_marks_meet(wan_video_marks *m, const AVFrame *f, double threshold,
                         AVRational time_base)
{
    AVFrame *copy = lav.av_frame_clone(f), *seen = lav.av_frame_alloc();
    int rc = copy && seen ? begin(m, f, threshold, time_base) : wan_err("out of memory (frame)");
    if (rc == 0)
        rc = wan_video_filter_push(m->scenes, copy);
    while (rc == 0 && (rc = wan_video_filter_pull(m->scenes, seen)) > 0) {
        m->cut |= lav.av_dict_get(seen->metadata, "lavfi.scd.time", NULL, 0) != NULL;
        lav.av_frame_unref(seen);
        rc = 0;
        break; /* one comes for each */
    }
    lav.av_frame_free(&copy);
    lav.av_frame_free(&seen);
    return rc;
}

void wan_video_marks_end(wan_video_marks *m)
{
    wan_video_filter_close(&m->scenes);
}

/* 98 % of its pixels have a luma (BT.709) below 19 of 255: what ffmpeg's blackframe calls black, whose 32 are
 * of limited range. */
static int is_black(const uint8_t *p, size_t pixels)
{
    size_t dark = 0;
    for (size_t i = 0; i < pixels; i++, p += 3)
        dark += (54u * p[0] + 183u * p[1] + 19u * p[2]) < (19u << 8);
    return dark * 100 >= pixels * 98;
}

/* Its values are within 0.001 of 1 of those before on average, as ffmpeg's freezedetect has it. */
static int is_still(const uint8_t *p, const uint8_t *before, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (uint64_t)abs(p[i] - before[i]);
    return (double)sum <= 0.001 * 255 * (double)n;
}

int wan_video_marks_look(const uint8_t *frame, const uint8_t *before, size_t pixels)
{
    return (is_black(frame, pixels) ? WAN_MARK_BLACK : 0) |
           (before && is_still(frame, before, 3 * pixels) ? WAN_MARK_STILL : 0);
}
