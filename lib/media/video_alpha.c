/* SPDX-License-Identifier: Apache-2.0
 *
 * video_alpha.c - a frame with transparency laid over a background, before it is scaled: scaled first,
 * the colour of what cannot be seen would come in at the edges.
 */
#include "lib/media/video_internal.h"
#include "lib/media/video_late.h"

#define lav wan_video_late

int wan_alpha_begin(wan_alpha *a, const wan_colour *c, int h, int w)
{
    wan_alpha_end(a);
    a->sws = lav.sws_getContext(w, h, (enum AVPixelFormat)c->format, w, h, AV_PIX_FMT_GBRAP,
                                SWS_BILINEAR | SWS_ACCURATE_RND | SWS_BITEXACT |
                                    SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP,
                                NULL, NULL, NULL);
    a->clear = wan_video_planes(AV_PIX_FMT_GBRAP, h, w);
    a->solid = wan_video_planes(AV_PIX_FMT_GBRP, h, w);
    if (!a->clear || !a->solid)
        return -1;
    if (!a->sws)
        return wan_err("cannot convert pixels with transparency to RGB");
    return wan_colour_set(a->sws, c);
}

/* v over the background b: exactly rounded. */
static uint8_t over(int v, int alpha, int b)
{
    return (uint8_t)((v * alpha + b * (255 - alpha) + 127) / 255);
}

const AVFrame *wan_alpha_over(wan_alpha *a, const AVFrame *in, uint32_t background)
{
    static const int shift[3] = { 8, 0, 16 }; /* planes are green, blue, red */
    if (lav.sws_scale_frame(a->sws, a->clear, in) < 0) {
        wan_err("cannot convert a frame with transparency");
        return NULL;
    }
    for (int p = 0; p < 3; p++)
        for (int y = 0; y < in->height; y++) {
            const uint8_t *from = a->clear->data[p] + (ptrdiff_t)y * a->clear->linesize[p];
            const uint8_t *alpha = a->clear->data[3] + (ptrdiff_t)y * a->clear->linesize[3];
            uint8_t *to = a->solid->data[p] + (ptrdiff_t)y * a->solid->linesize[p];
            for (int x = 0; x < in->width; x++)
                to[x] = over(from[x], alpha[x], background >> shift[p] & 255);
        }
    return a->solid;
}

void wan_alpha_end(wan_alpha *a)
{
    lav.sws_freeContext(a->sws);
    lav.av_frame_free(&a->clear);
    lav.av_frame_free(&a->solid);
    a->sws = NULL;
}
