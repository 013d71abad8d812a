/* SPDX-License-Identifier: Apache-2.0
 *
 * video_scale.c - a frame to planes of RGB of the wanted size: by swscale, whose filters grow wider as
 * a picture is made smaller; or, as OpenCV does it, to RGB first and then by filters of fixed width.
 */
#include <unistd.h>

#include "lib/media/video_internal.h"
#include "lib/media/video_late.h"

#define lav wan_video_late

enum { SCALE_THREADS = 4, THREAD_PIXELS = 1 << 18 /* worth waking a thread for */ };

static int method(enum wan_resize r)
{
    switch (r) {
    case WAN_RESIZE_BICUBIC: return SWS_BICUBIC;
    case WAN_RESIZE_NEAREST: return SWS_POINT;
    case WAN_RESIZE_AREA: return SWS_AREA;
    case WAN_RESIZE_LANCZOS: return SWS_LANCZOS;
    default: return SWS_BILINEAR;
    }
}

static int64_t scale_threads(const wan_video_options *opt, int64_t pixels)
{
    long cores = opt->cores ? opt->cores : sysconf(_SC_NPROCESSORS_ONLN),
         most = cores < SCALE_THREADS ? cores : SCALE_THREADS;
    int64_t n = pixels / THREAD_PIXELS < most ? pixels / THREAD_PIXELS : most;
    return n < 1 ? 1 : n;
}

/* As sws_getContext, but the rows of large pictures are shared by threads; the pixels are the same.
 * Planar, because swscale has vector code for exact rounding and full chroma only there. */
static struct SwsContext *scaler(const wan_video_options *opt, int iw, int ih, int format, int ow,
                                 int oh, int flags)
{
    struct SwsContext *sws = lav.sws_alloc_context();
    const int64_t value[] = { iw,     ih,
                              format, ow,
                              oh,     AV_PIX_FMT_GBRP,
                              flags,  scale_threads(opt, (int64_t)iw * ih + (int64_t)ow * oh) };
    static const char *const key[] = { "srcw", "srch",       "src_format", "dstw",
                                       "dsth", "dst_format", "sws_flags",  "threads" };
    int rc = sws ? 0 : -1;
    for (int i = 0; i < 8 && rc >= 0; i++)
        rc = lav.av_opt_set_int(sws, key[i], value[i], 0);
    if (rc >= 0 && lav.sws_init_context(sws, NULL, NULL) >= 0)
        return sws;
    lav.sws_freeContext(sws);
    return NULL;
}

static int open_taps(wan_video_scale *s, enum wan_resize how, int ih, int iw, int oh, int ow)
{
    static const enum wan_taps taps[] = { WAN_TAPS_LINEAR, WAN_TAPS_CUBIC, WAN_TAPS_NEAREST,
                                          WAN_TAPS_AREA, WAN_TAPS_LANCZOS };
    enum wan_taps t = taps[how];
    if (t == WAN_TAPS_AREA && (oh > ih || ow > iw))
        t = WAN_TAPS_AREA_GROW;
    s->whole = wan_video_planes(AV_PIX_FMT_GBRP, ih, iw);
    return s->whole ? wan_resample_open(&s->taps, oh, ow, t, ih, iw, t, 1) : -1;
}

int wan_video_scale_begin(wan_video_scale *s, const wan_video_options *opt, const AVFrame *in,
                          const wan_colour *c, int oh, int ow)
{
    int ih = in->height, iw = in->width;
    enum wan_resize how = opt->aliased ? WAN_RESIZE_BILINEAR : opt->resize; /* of colours, there */
    int flags = method(how) | SWS_ACCURATE_RND | SWS_BITEXACT | SWS_FULL_CHR_H_INT;
    wan_video_scale_end(s);
    if (opt->aliased)
        WAN_TRY(open_taps(s, opt->resize, ih, iw, oh, ow));
    s->sws = scaler(opt, iw, ih, c ? c->format : AV_PIX_FMT_GBRP, s->taps ? iw : ow,
                    s->taps ? ih : oh, flags);
    if (!s->sws)
        return wan_err("cannot convert its pixels (%s, %d x %d) to RGB",
                       lav.av_get_pix_fmt_name(in->format), ih, iw);
    return c ? wan_colour_set(s->sws, c) : 0;
}

int wan_video_scale_run(wan_video_scale *s, AVFrame *dst, const AVFrame *in)
{
    if (lav.sws_scale_frame(s->sws, s->taps ? s->whole : dst, in) < 0)
        return wan_err("cannot scale a frame of %d x %d pixels", in->height, in->width);
    for (int p = 0; s->taps && p < 3; p++)
        wan_resample_run(s->taps, dst->data[p], dst->linesize[p], s->whole->data[p],
                         s->whole->linesize[p]);
    return 0;
}

void wan_video_scale_end(wan_video_scale *s)
{
    lav.sws_freeContext(s->sws);
    s->sws = NULL;
    lav.av_frame_free(&s->whole);
    wan_resample_close(&s->taps);
}

AVFrame *wan_video_planes(int format, int h, int w)
{
    AVFrame *f = lav.av_frame_alloc();
    if (f) {
        f->format = format;
        f->height = h;
        f->width = w;
        if (lav.av_frame_get_buffer(f, 0) < 0)
            lav.av_frame_free(&f);
    }
    if (!f)
        wan_err("out of memory (%d x %d pixels)", h, w);
    return f;
}
