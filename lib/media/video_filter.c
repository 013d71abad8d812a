/* SPDX-License-Identifier: Apache-2.0
 *
 * video_filter.c - libavfilter, opened at run time.
 */
#include "lib/media/video_filter.h"

#include <dlfcn.h>
#include <libavfilter/avfilter.h>
#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
#include <libavutil/avutil.h>
#include <libavutil/error.h>
#include <libavutil/mathematics.h>
#include <libavutil/mem.h>
#include <libavutil/pixdesc.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/media/video.h"
#include "lib/media/video_late.h"

#define CALLS(X)                                                                                   \
    X(avfilter_get_by_name)                                                                        \
    X(avfilter_graph_alloc)                                                                        \
    X(avfilter_graph_create_filter)                                                                \
    X(avfilter_graph_parse_ptr)                                                                    \
    X(avfilter_graph_config)                                                                       \
    X(avfilter_graph_free)                                                                         \
    X(avfilter_inout_alloc)                                                                        \
    X(avfilter_inout_free)                                                                         \
    X(av_buffersrc_add_frame_flags)                                                                \
    X(av_buffersink_get_frame)                                                                     \
    X(av_buffersink_get_time_base)

static struct {
    void *handle;
#define DECLARE(name) __typeof__(name) *name;
    CALLS(DECLARE)
} lav;

struct wan_video_filter {
    AVFilterGraph *graph;
    AVFilterContext *in, *out;
    AVRational time_base;
    int width, height, format;
};

static int sealed, wanted;

void wan_video_filter_seal(void)
{
    sealed = 1;
}

int wan_video_filter_wanted(void)
{
    return wanted;
}

int wan_video_filter_load(void)
{
    static const char name[] = "libavfilter.so." AV_STRINGIFY(LIBAVFILTER_VERSION_MAJOR);
    if (lav.handle)
        return 0;
    wanted = sealed;
    if (sealed)
        return wan_err("%s is not open", name);
    void *so = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    int missing = !so;
#define LOOK_UP(call)                                                                              \
    if (!missing && !(lav.call = (__typeof__(call) *)dlsym(so, #call)))                            \
        missing = 1;
    CALLS(LOOK_UP)
    if (missing)
        return wan_err("%s: %s", name, dlerror());
    lav.handle = so;
    return 0;
}

/* The chain between a source of frames like this one and a sink. */
static int build(wan_video_filter *f, const char *chain, const AVFrame *like)
{
    char args[256];
    AVFilterInOut *from = lav.avfilter_inout_alloc(), *to = lav.avfilter_inout_alloc();
    AVRational sar = like->sample_aspect_ratio;
    snprintf(args, sizeof args, "video_size=%dx%d:pix_fmt=%d:time_base=%d/%d:pixel_aspect=%d/%d",
             like->width, like->height, like->format, f->time_base.num, f->time_base.den, sar.num,
             sar.den > 0 ? sar.den : 1);
    int rc = from && to ? 0 : AVERROR(ENOMEM);
    if (rc >= 0)
        rc = lav.avfilter_graph_create_filter(&f->in, lav.avfilter_get_by_name("buffer"), "in",
                                              args, NULL, f->graph);
    if (rc >= 0)
        rc = lav.avfilter_graph_create_filter(&f->out, lav.avfilter_get_by_name("buffersink"),
                                              "out", NULL, NULL, f->graph);
    if (rc >= 0) {
        *from = (AVFilterInOut){ wan_video_late.av_strdup("in"), f->in, 0, NULL };
        *to = (AVFilterInOut){ wan_video_late.av_strdup("out"), f->out, 0, NULL };
        rc = lav.avfilter_graph_parse_ptr(f->graph, chain, &to, &from, NULL);
    }
    if (rc >= 0)
        rc = lav.avfilter_graph_config(f->graph, NULL);
    lav.avfilter_inout_free(&from);
    lav.avfilter_inout_free(&to);
    return rc;
}

static int failed(const char *what, int averror)
{
    char reason[AV_ERROR_MAX_STRING_SIZE];
    wan_video_late.av_strerror(averror, reason, sizeof reason);
    return wan_err("%s: %s", what, reason);
}

int wan_video_filter_open(wan_video_filter **out, const char *chain, const AVFrame *like,
                          AVRational time_base)
{
    *out = NULL;
    WAN_TRY(wan_video_filter_load());
    wan_video_filter *f = wan_calloc(1, sizeof *f, "filter");
    if (!f)
        return -1;
    f->time_base = time_base;
    f->width = like->width;
    f->height = like->height;
    f->format = like->format;
    f->graph = lav.avfilter_graph_alloc();
    int rc = f->graph ? build(f, chain, like) : AVERROR(ENOMEM);
    if (rc < 0) {
        wan_video_filter_close(&f);
        return failed(chain, rc);
    }
    *out = f;
    return 0;
}

int wan_video_filter_push(wan_video_filter *f, AVFrame *frame)
{
    if (frame &&
        (frame->width != f->width || frame->height != f->height || frame->format != f->format))
        return wan_err("frames of %d x %d pixels and of %d x %d among those to be filtered",
                       f->height, f->width, frame->height, frame->width);
    int rc = lav.av_buffersrc_add_frame_flags(f->in, frame, 0);
    return rc < 0 ? failed("filter", rc) : 0;
}

int wan_video_filter_pull(wan_video_filter *f, AVFrame *frame)
{
    int rc = lav.av_buffersink_get_frame(f->out, frame);
    if (rc == AVERROR(EAGAIN) || rc == AVERROR_EOF)
        return 0;
    if (rc < 0)
        return failed("filter", rc);
    if (frame->pts != AV_NOPTS_VALUE)
        frame->pts = wan_video_late.av_rescale_q(
            frame->pts, lav.av_buffersink_get_time_base(f->out), f->time_base);
    return 1;
}

void wan_video_filter_close(wan_video_filter **f)
{
    if (!*f)
        return;
    lav.avfilter_graph_free(&(*f)->graph);
    free(*f);
    *f = NULL;
}
