/* SPDX-License-Identifier: Apache-2.0
 *
 * video_canvas.c - marks on the memory that a decoder draws a frame into.
 *
 * libavcodec's HEVC, VP8 and VP9 decoders leave blocks of a damaged frame undrawn without a word:
 * what was in that memory shows, and it depends on the number of threads.  So each frame begins with
 * a mark in every block; a mark that is still there when the frame is let go was never drawn over.
 */
#include <libavutil/buffer.h>
#include <libavutil/mem.h>
#include <string.h>

#include "lib/media/video_internal.h"
#include "lib/media/video_late.h"

#define lav wan_video_late

enum { BLOCK = 16, TOP = 8, LEFT = 4 }; /* inside the block, away from what is filtered at edges */
static const uint8_t mark[8] = { 0x35, 0xca, 0x5b, 0x91, 0xe6, 0x1d, 0xb4, 0x47 };

typedef struct canvas {
    AVBufferRef *memory; /* of the first plane, as the decoder's pool has it */
    uint8_t *first;
    ptrdiff_t line;
    int height, width; /* in bytes */
    _Atomic int64_t *undrawn;
} canvas;

static void release(void *opaque, uint8_t *data)
{
    canvas *c = opaque;
    int left = 0;
    (void)data;
    for (int y = TOP; y < c->height && !left; y += BLOCK)
        for (int x = LEFT; x + (int)sizeof mark <= c->width && !left; x += BLOCK)
            left = !memcmp(c->first + y * c->line + x, mark, sizeof mark);
    *c->undrawn += left;
    lav.av_buffer_unref(&c->memory);
    lav.av_free(c);
}

static int get_buffer(AVCodecContext *dec, AVFrame *f, int flags)
{
    int rc = lav.avcodec_default_get_buffer2(dec, f, flags);
    if (rc < 0 || !f->buf[0])
        return rc;
    int most = f->linesize[0] < 0 ? -f->linesize[0] : f->linesize[0];
    canvas *c = lav.av_malloc(sizeof *c);
    AVBufferRef *wrapped =
        c ? lav.av_buffer_create(f->buf[0]->data, f->buf[0]->size, release, c, 0) : NULL;
    if (!wrapped) {
        lav.av_free(c);
        return AVERROR(ENOMEM);
    }
    *c = (canvas){ f->buf[0],
                   f->data[0],
                   f->linesize[0],
                   dec->height < f->height ? dec->height : f->height,
                   dec->width < most ? dec->width : most,
                   dec->opaque };
    f->buf[0] = wrapped;
    for (int y = TOP; y < c->height; y += BLOCK)
        for (int x = LEFT; x + (int)sizeof mark <= c->width; x += BLOCK)
            memcpy(c->first + y * c->line + x, mark, sizeof mark);
    return 0;
}

void wan_video_canvas(AVCodecContext *dec, _Atomic int64_t *undrawn)
{
    if (dec->codec_id != AV_CODEC_ID_HEVC && dec->codec_id != AV_CODEC_ID_VP8 &&
        dec->codec_id != AV_CODEC_ID_VP9)
        return;
    dec->opaque = undrawn;
    dec->get_buffer2 = get_buffer;
#if LIBAVCODEC_VERSION_MAJOR < 60 /* later ones take it for granted */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    dec->thread_safe_callbacks = 1;
#pragma GCC diagnostic pop
#endif
}
