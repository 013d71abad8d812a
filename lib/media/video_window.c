/* SPDX-License-Identifier: Apache-2.0
 *
 * video_window.c - the part of a video that is meant, by seconds or by numbers of frames.
 */
#include "lib/media/video_internal.h"
#include "lib/media/video_late.h"

#define lav wan_video_late

/* Within this many seconds two moments are the same: written by hand, they are rounded. */
#define SAME 1e-6

/* Seconds behind the source's first frame. */
static double moment(const wan_window *w, const AVFrame *f)
{
    return ((double)f->pts - (double)w->origin) * w->src->at.tick;
}

/* Whether the frame that was just given is in the window: 0 before it, 1 in it, 2 behind it. */
static int place(const wan_window *w, const AVFrame *f)
{
    const wan_video_options *o = w->opt;
    int64_t number = w->src->at.frames - 1;
    double t = moment(w, f);
    if (number < o->first_frame || t < o->start - SAME)
        return 0;
    int behind = (o->end_frame > 0 && number >= o->end_frame) || (o->end > 0 && t >= o->end - SAME);
    return behind ? 2 : 1;
}

int wan_window_next(wan_window *w, AVFrame *f)
{
    for (;;) {
        int rc = w->over ? 0 : wan_source_next(w->src, f);
        if (rc <= 0)
            return rc;
        if (w->src->at.frames == 1) {
            w->origin = w->src->sought ? w->src->stream->start_time : f->pts;
            if (w->src->sought && moment(w, f) > w->opt->start + SAME) /* and those before it? */
                return wan_source_miss(w->src);
        }
        int at = place(w, f);
        if (at == 2) {
            w->over = w->src->left = 1;
            w->stop = f->pts;
        } else if (at == 1) {
            if (!w->taken++)
                w->base = f->pts;
            w->last = f->pts;
            return 1;
        }
        lav.av_frame_unref(f);
    }
}

int64_t wan_window_end(const wan_window *w)
{
    const wan_stamps *at = &w->src->at;
    int64_t end = w->over ? w->stop : av_sat_add64(w->last, at->duration);
    double most = w->opt->end / at->tick;
    int64_t cut =
        w->opt->end > 0 && most < 9e18 ? av_sat_add64(w->origin, (int64_t)most) : INT64_MAX;
    return end < cut ? end : cut;
}

double wan_window_fps(const wan_window *w)
{
    double span = ((double)w->last - (double)w->base) * w->src->at.tick;
    return w->taken > 1 && span > 0 ? (double)(w->taken - 1) / span : wan_source_fps(w->src);
}
