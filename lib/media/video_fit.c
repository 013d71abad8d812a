/* SPDX-License-Identifier: Apache-2.0
 *
 * video_fit.c - one decoded frame to RGB of the wanted size: scale, centre crop, quarter turns.
 *
 * The sizes follow wan-data(7), Resizing, except that no result ever has a side that is no multiple
 * of 16, and that the cover size is never smaller than the target.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/media/pieces.h"
#include "lib/media/video_internal.h"
#include "lib/media/video_late.h"

#define lav wan_video_late

static int at_least(int a, int b)
{
    return a > b ? a : b;
}

static int down16(int n)
{
    return n < 16 ? 16 : n / 16 * 16;
}

/* From the source's h, w to the scaled and the cropped size, both upright. */
static void plan(const wan_video_options *o, int h, int w, int *sh, int *sw, int *ch, int *cw)
{
    double source = (double)w / h, target = o->height ? (double)o->width / o->height : 0;
    if (!o->height) {
        *sh = at_least(h, 16);
        *sw = at_least(w, 16);
    } else if (o->fit == WAN_FIT_STRETCH) {
        *sh = o->height;
        *sw = o->width;
    } else if ((o->fit == WAN_FIT_CROP) == (source > target)) { /* height decides */
        *sh = o->height;
        *sw = (int)(o->height * source + 1e-9);
    } else {
        *sw = o->width;
        *sh = (int)(o->width / source + 1e-9);
    }
    if (o->height && o->fit == WAN_FIT_CROP) {
        *ch = o->height;
        *cw = o->width;
    } else {
        *ch = down16(*sh);
        *cw = down16(*sw);
    }
    *sh = at_least(*sh, *ch);
    *sw = at_least(*sw, *cw);
}

/* What is needed for frames like this one: a stream may change its size or colours. */
static int adapt(wan_fit_state *f, const AVFrame *in)
{
    const wan_colour *c = &f->colour;
    lav.av_frame_unref(f->like);
    if (lav.av_frame_copy_props(f->like, in) < 0)
        return wan_err("out of memory (frame)");
    f->like->width = in->width;
    f->like->height = in->height;
    f->like->format = in->format;
    WAN_TRY(wan_colour_of(&f->colour, f->said, in, f->opt));
    wan_video_filter_close(&f->chain);
    if (c->chain[0] && wan_video_filter_open(&f->chain, c->chain, in, (AVRational){ 1, 1 }) < 0)
        return wan_err_prefix("its colours need libav's zscale");
    if (!f->chain && c->alpha)
        WAN_TRY(wan_alpha_begin(&f->alpha, c, in->height, in->width));
    return wan_video_scale_begin(&f->scale, f->opt, in, f->chain || c->alpha ? NULL : c,
                                 f->scaled_h, f->scaled_w);
}

int wan_fit_begin(wan_fit_state *f, const wan_video_options *opt, const AVFrame *first, int turn,
                  wan_video_colour *said)
{
    *f = (wan_fit_state){ .opt = opt, .turn = turn, .said = said };
    f->like = lav.av_frame_alloc();
    f->shown = lav.av_frame_alloc();
    if (!f->like || !f->shown)
        return wan_err("out of memory (frame)");
    AVRational sar = first->sample_aspect_ratio;
    double stretch = sar.num > 0 && sar.den > 0 ? av_q2d(sar) : 1;
    double wide = first->width * stretch;
    if (!(wide >= 1 && wide <= 65536))
        return wan_err("frames of %d x %d pixels with aspect %d:%d", first->height, first->width,
                       sar.num, sar.den);
    int h = first->height, w = (int)lround(wide), across = turn & WAN_TURN_ACROSS;
    f->source_h = across ? w : h;
    f->source_w = across ? h : w;
    if (opt->max_pixels && !opt->height) {
        f->own = *opt;
        f->own.fit = opt->fit == WAN_FIT_STRETCH ? WAN_FIT_STRETCH : WAN_FIT_CROP;
        WAN_TRY(wan_pieces_size(opt->max_pixels, f->source_h, f->source_w, &f->own.height,
                                &f->own.width));
        opt = f->opt = &f->own;
    }
    plan(opt, f->source_h, f->source_w, &f->scaled_h, &f->scaled_w, &f->out_h, &f->out_w);
    f->crop_h = across ? f->out_w : f->out_h;
    f->crop_w = across ? f->out_h : f->out_w;
    if (across) {
        int swap = f->scaled_h;
        f->scaled_h = f->scaled_w;
        f->scaled_w = swap;
    }
    if ((int64_t)(f->scaled_h + 128) * (f->scaled_w + 128) >= INT32_MAX / 8) /* libav's limit */
        return wan_err("scaling %d x %d pixels to %d x %d is too much", h, w, f->scaled_h,
                       f->scaled_w);
    f->scaled = wan_video_planes(AV_PIX_FMT_GBRP, f->scaled_h, f->scaled_w);
    if (!f->scaled)
        return -1;
    return adapt(f, first);
}

/* One row of the centre of the scaled picture, as RGB. */
static void pack_row(const wan_fit_state *f, uint8_t *restrict dst, size_t y, size_t left)
{
    const AVFrame *s = f->scaled; /* planes of green, blue and red */
    const uint8_t *restrict g = s->data[0] + y * (size_t)s->linesize[0] + left;
    const uint8_t *restrict b = s->data[1] + y * (size_t)s->linesize[1] + left;
    const uint8_t *restrict r = s->data[2] + y * (size_t)s->linesize[2] + left;
    for (int x = 0; x < f->crop_w; x++) {
        dst[3 * x] = r[x];
        dst[3 * x + 1] = g[x];
        dst[3 * x + 2] = b[x];
    }
}

/* The centre of the scaled picture as RGB, turned as the file says. */
static void crop_and_turn(const wan_fit_state *f, uint8_t *dst)
{
    size_t top = (size_t)(f->scaled_h - f->crop_h) / 2,
           left = (size_t)(f->scaled_w - f->crop_w) / 2;
    size_t rows = (size_t)f->out_h, cols = (size_t)f->out_w;
    static const int plane[3] = { 2, 0, 1 };
    if (!f->turn) {
        for (size_t y = 0; y < rows; y++)
            pack_row(f, dst + y * cols * 3, top + y, left);
        return;
    }
    for (size_t y = 0; y < rows; y++)
        for (size_t x = 0; x < cols; x++, dst += 3) {
            size_t sy = f->turn & WAN_TURN_ACROSS ? x : y, sx = f->turn & WAN_TURN_ACROSS ? y : x;
            sy = top + (f->turn & WAN_TURN_ROWS ? (size_t)f->crop_h - 1 - sy : sy);
            sx = left + (f->turn & WAN_TURN_COLS ? (size_t)f->crop_w - 1 - sx : sx);
            for (int c = 0; c < 3; c++)
                dst[c] = f->scaled->data[plane[c]][sy * (size_t)f->scaled->linesize[plane[c]] + sx];
        }
}

/* The frame as the scaler takes it: SDR, and nothing to be seen through. */
static const AVFrame *prepare(wan_fit_state *f, const AVFrame *in)
{
    if (!f->chain)
        return f->colour.alpha ? wan_alpha_over(&f->alpha, in, f->opt->background) : in;
    AVFrame *copy = lav.av_frame_clone(in);
    lav.av_frame_unref(f->shown);
    if (!copy)
        return wan_err("out of memory (frame)"), NULL;
    copy->pts = 0;
    int rc = wan_video_filter_push(f->chain, copy);
    lav.av_frame_free(&copy);
    if (rc == 0)
        rc = wan_video_filter_pull(f->chain, f->shown);
    if (rc == 0)
        wan_err("no frame comes out of it");
    if (rc <= 0)
        wan_err_prefix("its colours (matrix %s, transfer %s, primaries %s) need libav's zscale",
                       f->said->matrix, f->said->transfer, f->said->primaries);
    return f->shown->buf[0] ? f->shown : NULL;
}

int wan_fit_frame(wan_fit_state *f, uint8_t *dst, const AVFrame *in)
{
    if (in->height != f->like->height || in->width != f->like->width ||
        wan_colour_differs(in, f->like))
        WAN_TRY(adapt(f, in));
    const AVFrame *ready = prepare(f, in);
    if (!ready)
        return -1;
    WAN_TRY(wan_video_scale_run(&f->scale, f->scaled, ready));
    crop_and_turn(f, dst);
    return 0;
}

void wan_fit_end(wan_fit_state *f)
{
    wan_video_scale_end(&f->scale);
    wan_video_filter_close(&f->chain);
    wan_alpha_end(&f->alpha);
    lav.av_frame_free(&f->scaled);
    lav.av_frame_free(&f->shown);
    lav.av_frame_free(&f->like);
}
