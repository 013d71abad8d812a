/* SPDX-License-Identifier: Apache-2.0
 *
 * video_colour.c - matrix, range, transfer and primaries: stated, or by the usual rule.
 *
 * swscale knows the matrices of Y'CbCr and takes transfer and primaries for those of the screen.  That
 * holds for BT.601 and BT.709 (whose primaries differ little); what has other ones goes through
 * libav's zscale, and HDR through its tonemap too, with a nominal peak of 100 cd/m2.
 */
#include "lib/media/video_colour.h"
#include "lib/media/video_late.h"

#define lav wan_video_late

#include <libavutil/pixdesc.h>
#include <stdio.h>
#include <string.h>

/* The deprecated "J" formats are their plain twins with full range. */
static int plain_format(int format, int *full)
{
    switch (format) {
    case AV_PIX_FMT_YUVJ420P: *full = 1; return AV_PIX_FMT_YUV420P;
    case AV_PIX_FMT_YUVJ422P: *full = 1; return AV_PIX_FMT_YUV422P;
    case AV_PIX_FMT_YUVJ444P: *full = 1; return AV_PIX_FMT_YUV444P;
    case AV_PIX_FMT_YUVJ440P: *full = 1; return AV_PIX_FMT_YUV440P;
    case AV_PIX_FMT_YUVJ411P: *full = 1; return AV_PIX_FMT_YUV411P;
    default: return format;
    }
}

static int is_hdr(const AVFrame *f)
{
    return f->color_trc == AVCOL_TRC_SMPTE2084 || f->color_trc == AVCOL_TRC_ARIB_STD_B67;
}

/* Light that is not coded for a screen of today. */
static int odd_transfer(const AVFrame *f)
{
    return f->color_trc == AVCOL_TRC_LINEAR || f->color_trc == AVCOL_TRC_LOG ||
           f->color_trc == AVCOL_TRC_LOG_SQRT || f->color_trc == AVCOL_TRC_SMPTE428;
}

static int wide_primaries(const AVFrame *f)
{
    return f->color_primaries == AVCOL_PRI_BT2020 || f->color_primaries == AVCOL_PRI_SMPTE428 ||
           f->color_primaries == AVCOL_PRI_SMPTE431 || f->color_primaries == AVCOL_PRI_SMPTE432;
}

/* Matrices that swscale would take for another one. */
static int odd_matrix(int m)
{
    return m == AVCOL_SPC_YCGCO || m >= AVCOL_SPC_BT2020_CL;
}

/* What players take untagged video for: BT.709 from 720 lines on, BT.601 below. */
static int usual_matrix(const AVFrame *f, const wan_video_options *opt)
{
    if (is_hdr(f) || f->color_primaries == AVCOL_PRI_BT2020)
        return AVCOL_SPC_BT2020_NCL;
    if (opt->untagged != WAN_UNTAGGED_AUTO)
        return opt->untagged == WAN_UNTAGGED_BT709 ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M;
    return f->width >= 1280 || f->height > 576 ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M;
}

/* zscale's numbers are those of ITU-T H.273, as libav's are.  What is not said of its output it takes from the frame,
 * not from what was said of the input. */
static void make_chain(wan_colour *c, const AVFrame *f)
{
    int wide = c->matrix == AVCOL_SPC_BT2020_NCL || c->matrix == AVCOL_SPC_BT2020_CL || is_hdr(f);
    int from = f->color_primaries != AVCOL_PRI_UNSPECIFIED ? (int)f->color_primaries
               : wide                                      ? AVCOL_PRI_BT2020
                                                           : AVCOL_PRI_BT709;
    int curve = f->color_trc != AVCOL_TRC_UNSPECIFIED ? (int)f->color_trc : AVCOL_TRC_BT709;
    int derived = c->matrix >= AVCOL_SPC_BT2020_CL; /* from primaries, or of linear light */
    if (!is_hdr(f) && !odd_transfer(f) && from == AVCOL_PRI_BT709 && !derived)
        snprintf(c->chain, sizeof c->chain,
                 "zscale=matrixin=%d:rangein=%d:matrix=gbr:range=full,format=gbrp", c->matrix,
                 c->full);
    else
        snprintf(
            c->chain, sizeof c->chain,
            "zscale=matrixin=%d:rangein=%d:primariesin=%d:transferin=%d:matrix=gbr:primaries=%d:"
            "transfer=linear:npl=100,format=gbrpf32le,zscale=primaries=709%s,zscale=transfer=709:matrix=gbr:"
            "range=full,format=gbrp",
            c->matrix, c->full, from, curve, from,
            is_hdr(f) ? ",tonemap=tonemap=hable:desat=0" : "");
}

static void say(wan_video_colour *said, const wan_colour *c, const AVFrame *f, const char *assumed)
{
    const char *trc = lav.av_color_transfer_name(f->color_trc);
    const char *pri = lav.av_color_primaries_name(f->color_primaries);
    const char *matrix = lav.av_color_space_name((enum AVColorSpace)c->matrix);
    *said = (wan_video_colour){ .tone_mapped = is_hdr(f), .alpha = c->alpha };
    snprintf(said->pixels, sizeof said->pixels, "%s", lav.av_get_pix_fmt_name(c->format));
    snprintf(said->matrix, sizeof said->matrix, "%s", matrix ? matrix : "unknown");
    snprintf(said->range, sizeof said->range, "%s", c->full ? "full" : "limited");
    snprintf(said->transfer, sizeof said->transfer, "%s", trc ? trc : "unknown");
    snprintf(said->primaries, sizeof said->primaries, "%s", pri ? pri : "unknown");
    snprintf(said->assumed, sizeof said->assumed, "%s", assumed);
}

int wan_colour_of(wan_colour *c, wan_video_colour *said, const AVFrame *f,
                  const wan_video_options *opt)
{
    int full = 0, stated = f->color_range != AVCOL_RANGE_UNSPECIFIED;
    *c = (wan_colour){ .format = plain_format(f->format, &full) };
    const AVPixFmtDescriptor *d = lav.av_pix_fmt_desc_get((enum AVPixelFormat)c->format);
    if (!d)
        return wan_err("its pixel format has no name");
    int palette = (d->flags & AV_PIX_FMT_FLAG_PAL) != 0, grey = d->nb_components <= 2 && !palette;
    int rgb = palette || (d->flags & AV_PIX_FMT_FLAG_RGB) || c->format == AV_PIX_FMT_XYZ12LE ||
              c->format == AV_PIX_FMT_XYZ12BE;
    int no_matrix = f->colorspace == AVCOL_SPC_UNSPECIFIED || f->colorspace == AVCOL_SPC_RESERVED ||
                    f->colorspace == AVCOL_SPC_RGB;
    c->full = rgb || full || (stated ? f->color_range == AVCOL_RANGE_JPEG : grey);
    c->matrix = rgb || grey ? AVCOL_SPC_RGB : no_matrix ? usual_matrix(f, opt) : (int)f->colorspace;
    c->alpha = (d->flags & AV_PIX_FMT_FLAG_ALPHA) || palette;
    int no_range = !rgb && !full && !stated;
    say(said, c, f,
        rgb || grey ? (no_range ? "range" : "")
        : no_matrix ? (no_range ? "matrix range" : "matrix")
                    : (no_range ? "range" : ""));
    if (is_hdr(f) && opt->hdr == WAN_HDR_REFUSE)
        return wan_err("HDR (%s), which --hdr refuse leaves out", said->transfer);
    if (is_hdr(f) || odd_transfer(f) || wide_primaries(f) || odd_matrix(c->matrix)) {
        if (c->alpha && !palette)
            return wan_err("transparency in %s colours of %s primaries", said->transfer,
                           said->primaries);
        make_chain(c, f);
    }
    return 0;
}

int wan_colour_set(struct SwsContext *sws, const wan_colour *c)
{
    int *matrix, *rgb, range, to, brightness, contrast, saturation;
    if (lav.sws_getColorspaceDetails(sws, &matrix, &range, &rgb, &to, &brightness, &contrast,
                                     &saturation) < 0)
        return 0; /* RGB to RGB */
    const int *stated = c->matrix == AVCOL_SPC_RGB ? matrix : lav.sws_getCoefficients(c->matrix);
    return lav.sws_setColorspaceDetails(sws, stated, c->full, rgb, to, brightness, contrast,
                                        saturation) < 0
               ? wan_err("cannot convert its colours to RGB")
               : 0;
}

int wan_colour_differs(const AVFrame *a, const AVFrame *b)
{
    return a->format != b->format || a->color_range != b->color_range ||
           a->colorspace != b->colorspace || a->color_trc != b->color_trc ||
           a->color_primaries != b->color_primaries;
}
