/* SPDX-License-Identifier: Apache-2.0
 *
 * video_write.c - a video in the container that its name asks for, the same bytes for the same frames:
 * fixed thread count, no creation time, exact rounding.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/media/video.h"
#include "lib/media/video_late.h"
#include "lib/media/video_log.h"

#define lav wan_video_late

enum { THREADS = 2, IO_BYTES = 1 << 16 }; /* x264's bytes depend on the number of threads */

struct wan_video_writer {
    wan_out *out;
    const char *name;
    const struct coding *coding;
    AVFormatContext *fmt;
    AVStream *stream;
    AVCodecContext *enc;
    struct SwsContext *sws;
    AVFrame *frame;
    AVPacket *pkt;
    int64_t frames;
};

#if LIBAVFORMAT_VERSION_MAJOR < 61
static int io_write(void *f, uint8_t *buf, int n)
#else
static int io_write(void *f, const uint8_t *buf, int n)
#endif
{
    return fwrite(buf, 1, (size_t)n, f) == (size_t)n ? n : AVERROR(errno);
}

static int64_t io_seek(void *f, int64_t at, int whence)
{
    if (whence == AVSEEK_SIZE)
        return -1;
    return fseeko(f, at, whence & ~AVSEEK_FORCE) ? AVERROR(errno) : ftello(f);
}

/* A codec that is written, its encoder, and the pixels that it gets. */
static const struct coding {
    enum AVCodecID id;
    const char *encoder;
    enum AVPixelFormat pixels;
} codings[] = { { AV_CODEC_ID_H264, "libx264", AV_PIX_FMT_YUV420P },
                { AV_CODEC_ID_VP9, "libvpx-vp9", AV_PIX_FMT_YUV420P },
                { AV_CODEC_ID_VP8, "libvpx", AV_PIX_FMT_YUV420P },
                { AV_CODEC_ID_THEORA, "libtheora", AV_PIX_FMT_YUV420P },
                { AV_CODEC_ID_GIF, "gif", AV_PIX_FMT_RGB8 },
                { AV_CODEC_ID_APNG, "apng", AV_PIX_FMT_RGB24 } };

/* H.264 where the container takes it, else what it is made for; NULL: it holds no video. */
static const struct coding *coding_of(const AVOutputFormat *fmt)
{
    if (!fmt || fmt->flags & AVFMT_NOFILE || fmt->video_codec == AV_CODEC_ID_NONE)
        return NULL;
    if (lav.avformat_query_codec(fmt, AV_CODEC_ID_H264, FF_COMPLIANCE_NORMAL) == 1 &&
        fmt->video_codec != AV_CODEC_ID_GIF)
        return &codings[0];
    for (size_t i = 0; i < sizeof codings / sizeof *codings; i++)
        if (codings[i].id == fmt->video_codec)
            return &codings[i];
    return NULL;
}

int wan_video_container(const char *path)
{
    if (wan_video_late_open() < 0)
        return 1; /* who opens it is told why not */
    return coding_of(lav.av_guess_format(NULL, path, NULL)) != NULL;
}

static int open_muxer(wan_video_writer *w, const char *path)
{
    const AVOutputFormat *fmt = lav.av_guess_format(NULL, path, NULL);
    w->coding = coding_of(fmt);
    if (!w->coding)
        return wan_err("%s: its ending names no container of videos that libav writes", w->name);
    FILE *f = wan_out_file(w->out);
    if (fseeko(f, 0, SEEK_CUR))
        return wan_err("%s: video can only be written to a file that can be rewound", w->name);
    uint8_t *buf = lav.av_malloc(IO_BYTES);
    AVIOContext *io =
        buf ? lav.avio_alloc_context(buf, IO_BYTES, 1, f, NULL, io_write, io_seek) : NULL;
    int rc = io ? lav.avformat_alloc_output_context2(&w->fmt, fmt, NULL, NULL) : AVERROR(ENOMEM);
    if (rc < 0) {
        if (io)
            lav.av_freep(&io->buffer);
        else
            lav.av_free(buf);
        lav.avio_context_free(&io);
        return wan_video_log_err(w->name, "cannot make the file", rc);
    }
    w->fmt->pb = io;
    w->fmt->flags |= AVFMT_FLAG_BITEXACT | AVFMT_FLAG_CUSTOM_IO;
    w->stream = lav.avformat_new_stream(w->fmt, NULL);
    return w->stream ? 0 : wan_err("%s: out of memory (stream)", w->name);
}

/* An option that this libavcodec does not have is left out; one that found no memory is not. */
static int option(AVCodecContext *c, const char *name, const char *value)
{
    return lav.av_opt_set(c->priv_data, name, value, 0) == AVERROR(ENOMEM)
               ? wan_err("out of memory (encoder)")
               : 0;
}

/* crf: of libx264, 0 to 51; libvpx's scale ends at 63. */
static int set_quality(AVCodecContext *c, enum AVCodecID id, int crf)
{
    if (id == AV_CODEC_ID_H264) {
        lav.av_opt_set_double(c->priv_data, "crf", crf, 0);
        WAN_TRY(option(c, "preset", "medium"));
        /* what x264 has for AVX-512 made other bytes of the same 32x32 frames, by what lay in memory */
        return option(c, "x264-params", "cpu-independent=1");
    }
    if (id == AV_CODEC_ID_VP9 || id == AV_CODEC_ID_VP8) {
        lav.av_opt_set_int(c->priv_data, "crf", crf * 63 / 51, 0);
        lav.av_opt_set_int(c->priv_data, "cpu-used", 4, 0);
        c->bit_rate = 0;
        return option(c, "deadline", "good");
    }
    if (id == AV_CODEC_ID_THEORA) {
        c->flags |= AV_CODEC_FLAG_QSCALE;
        c->global_quality = FF_QP2LAMBDA * (10 - crf * 10 / 51);
    }
    return 0;
}

static int set_up(AVCodecContext *c, const struct coding *how, int height, int width,
                  AVRational fps, int crf)
{
    c->width = width;
    c->height = height;
    c->pix_fmt = how->pixels;
    c->time_base = av_inv_q(fps);
    c->framerate = fps;
    c->thread_count = THREADS;
    c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_BITEXACT;
    WAN_TRY(set_quality(c, how->id, crf));
    if (how->pixels != AV_PIX_FMT_YUV420P)
        return 0;
    c->color_range = AVCOL_RANGE_MPEG;
    c->colorspace = AVCOL_SPC_BT709;
    c->color_primaries = AVCOL_PRI_BT709;
    c->color_trc = AVCOL_TRC_BT709;
    return 0;
}

static int open_encoder(wan_video_writer *w, int height, int width, double fps, int crf)
{
    AVRational rate = lav.av_d2q(fps, 1001000);
    const AVCodec *codec = lav.avcodec_find_encoder_by_name(w->coding->encoder);
    if (!codec)
        return wan_err("%s: this libavcodec has no %s encoder", w->name, w->coding->encoder);
    w->enc = lav.avcodec_alloc_context3(codec);
    if (!w->enc)
        return wan_err("%s: out of memory (encoder)", w->name);
    WAN_TRY(set_up(w->enc, w->coding, height, width, rate, crf));
    int rc = lav.avcodec_open2(w->enc, codec, NULL);
    if (rc < 0)
        return wan_video_log_err(w->name, "cannot open the encoder", rc);
    w->stream->time_base = w->enc->time_base;
    w->stream->avg_frame_rate = rate;
    rc = lav.avcodec_parameters_from_context(w->stream->codecpar, w->enc);
    if (rc >= 0)
        rc = lav.avformat_write_header(w->fmt, NULL);
    return rc < 0 ? wan_video_log_err(w->name, "cannot start the file", rc) : 0;
}

/* Full-range RGB to limited-range BT.709, rounded the same on every CPU. */
static int open_scaler(wan_video_writer *w, int height, int width)
{
    const enum AVPixelFormat to = w->coding->pixels;
    const int yuv = to == AV_PIX_FMT_YUV420P;
    w->sws = lav.sws_getContext(width, height, AV_PIX_FMT_RGB24, width, height, to,
                                SWS_BICUBIC | SWS_ACCURATE_RND | SWS_BITEXACT |
                                    (yuv ? SWS_FULL_CHR_H_INP : SWS_ERROR_DIFFUSION),
                                NULL, NULL, NULL);
    if (!w->sws || (yuv && lav.sws_setColorspaceDetails(
                               w->sws, lav.sws_getCoefficients(SWS_CS_DEFAULT), 1,
                               lav.sws_getCoefficients(SWS_CS_ITU709), 0, 0, 1 << 16, 1 << 16) < 0))
        return wan_err("%s: cannot convert RGB to the encoder's pixels", w->name);
    w->frame = lav.av_frame_alloc();
    w->pkt = lav.av_packet_alloc();
    if (!w->frame || !w->pkt)
        return wan_err("%s: out of memory (frame)", w->name);
    w->frame->format = to;
    w->frame->width = width;
    w->frame->height = height;
    return lav.av_frame_get_buffer(w->frame, 0) < 0 ? wan_err("%s: out of memory (frame)", w->name)
                                                    : 0;
}

int wan_video_writer_open(wan_video_writer **out, const char *path, int height, int width,
                          double fps, int crf)
{
    *out = NULL;
    if (height < 2 || width < 2 || height % 2 || width % 2 || height > 16384 || width > 16384)
        return wan_err("%s: cannot write video of %d x %d pixels: both must be even", path, height,
                       width);
    if (!(fps >= 0.01 && fps <= 1000) || crf < 0 || crf > 51)
        return wan_err("%s: cannot write video with %g frames per second and crf %d", path, fps,
                       crf);
    WAN_TRY(wan_video_late_open());
    wan_video_log_start();
    wan_video_writer *w = wan_calloc(1, sizeof *w, "video writer");
    if (!w)
        return -1;
    if (wan_out_open(&w->out, path) < 0) {
        free(w);
        return -1;
    }
    w->name = wan_out_name(w->out);
    if (open_muxer(w, path) < 0 || open_encoder(w, height, width, fps, crf) < 0 ||
        open_scaler(w, height, width) < 0) {
        wan_video_writer_discard(&w);
        return -1;
    }
    *out = w;
    return 0;
}

/* Sends one frame (NULL: the end) and writes the packets that are ready. */
static int encode(wan_video_writer *w, AVFrame *frame)
{
    int rc = lav.avcodec_send_frame(w->enc, frame);
    while (rc >= 0) {
        rc = lav.avcodec_receive_packet(w->enc, w->pkt);
        if (rc == AVERROR(EAGAIN) || rc == AVERROR_EOF)
            return 0;
        if (rc < 0)
            break;
        w->pkt->stream_index = 0;
        w->pkt->duration = 1;
        lav.av_packet_rescale_ts(w->pkt, w->enc->time_base, w->stream->time_base);
        rc = lav.av_interleaved_write_frame(w->fmt, w->pkt);
    }
    return wan_video_log_err(w->name, "cannot encode", rc);
}

int wan_video_writer_frame(wan_video_writer *w, const uint8_t *rgb)
{
    const uint8_t *src[4] = { rgb };
    int stride[4] = { w->enc->width * 3 };
    if (lav.av_frame_make_writable(w->frame) < 0)
        return wan_err("%s: out of memory (frame)", w->name);
    if (lav.sws_scale(w->sws, src, stride, 0, w->enc->height, w->frame->data, w->frame->linesize) !=
        w->enc->height)
        return wan_err("%s: cannot convert a frame to the encoder's pixels", w->name);
    w->frame->pts = w->frames++;
    return encode(w, w->frame);
}

int wan_video_writer_finish(wan_video_writer **pw)
{
    wan_video_writer *w = *pw;
    int rc = w->frames ? encode(w, NULL) : wan_err("%s: a video without frames", w->name);
    if (!rc) {
        int av = lav.av_write_trailer(w->fmt);
        lav.avio_flush(w->fmt->pb);
        if (av >= 0)
            av = w->fmt->pb->error;
        rc = av < 0 ? wan_video_log_err(w->name, "write failed", av) : wan_out_finish(&w->out);
    }
    wan_video_writer_discard(pw);
    return rc;
}

void wan_video_writer_discard(wan_video_writer **pw)
{
    wan_video_writer *w = *pw;
    if (!w)
        return;
    lav.avcodec_free_context(&w->enc);
    lav.sws_freeContext(w->sws);
    lav.av_frame_free(&w->frame);
    lav.av_packet_free(&w->pkt);
    if (w->fmt) {
        lav.av_freep(&w->fmt->pb->buffer);
        lav.avio_context_free(&w->fmt->pb);
        lav.avformat_free_context(w->fmt);
    }
    wan_out_discard(&w->out);
    free(w);
    *pw = NULL;
}
