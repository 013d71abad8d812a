/* SPDX-License-Identifier: Apache-2.0
 *
 * video_write.c - H.264 in mp4, the same bytes for the same frames: fixed thread count, no
 * creation time, exact rounding.
 */
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/media/video.h"
#include "lib/media/video_log.h"

enum { THREADS = 2, IO_BYTES = 1 << 16 }; /* x264's bytes depend on the number of threads */

struct wan_video_writer {
    wan_out *out;
    const char *name;
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

static int open_muxer(wan_video_writer *w)
{
    FILE *f = wan_out_file(w->out);
    if (fseeko(f, 0, SEEK_CUR))
        return wan_err("%s: mp4 can only be written to a file that can be rewound", w->name);
    uint8_t *buf = av_malloc(IO_BYTES);
    AVIOContext *io = buf ? avio_alloc_context(buf, IO_BYTES, 1, f, NULL, io_write, io_seek) : NULL;
    int rc = io ? avformat_alloc_output_context2(&w->fmt, NULL, "mp4", NULL) : AVERROR(ENOMEM);
    if (rc < 0) {
        if (io)
            av_freep(&io->buffer);
        else
            av_free(buf);
        avio_context_free(&io);
        return wan_video_log_err(w->name, "cannot make an mp4 file", rc);
    }
    w->fmt->pb = io;
    w->fmt->flags |= AVFMT_FLAG_BITEXACT | AVFMT_FLAG_CUSTOM_IO;
    w->stream = avformat_new_stream(w->fmt, NULL);
    return w->stream ? 0 : wan_err("%s: out of memory (mp4 stream)", w->name);
}

static void set_up(AVCodecContext *c, int height, int width, AVRational fps, int crf)
{
    c->width = width;
    c->height = height;
    c->pix_fmt = AV_PIX_FMT_YUV420P;
    c->time_base = av_inv_q(fps);
    c->framerate = fps;
    c->thread_count = THREADS;
    c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_BITEXACT;
    c->color_range = AVCOL_RANGE_MPEG;
    c->colorspace = AVCOL_SPC_BT709;
    c->color_primaries = AVCOL_PRI_BT709;
    c->color_trc = AVCOL_TRC_BT709;
    av_opt_set_double(c->priv_data, "crf", crf, 0);
    av_opt_set(c->priv_data, "preset", "medium", 0);
}

static int open_encoder(wan_video_writer *w, int height, int width, double fps, int crf)
{
    AVRational rate = av_d2q(fps, 1001000);
    const AVCodec *codec = avcodec_find_encoder_by_name("libx264");
    if (!codec)
        return wan_err("%s: this libavcodec has no libx264 encoder", w->name);
    w->enc = avcodec_alloc_context3(codec);
    if (!w->enc)
        return wan_err("%s: out of memory (encoder)", w->name);
    set_up(w->enc, height, width, rate, crf);
    int rc = avcodec_open2(w->enc, codec, NULL);
    if (rc < 0)
        return wan_video_log_err(w->name, "cannot open the H.264 encoder", rc);
    w->stream->time_base = w->enc->time_base;
    w->stream->avg_frame_rate = rate;
    rc = avcodec_parameters_from_context(w->stream->codecpar, w->enc);
    if (rc >= 0)
        rc = avformat_write_header(w->fmt, NULL);
    return rc < 0 ? wan_video_log_err(w->name, "cannot start the mp4 file", rc) : 0;
}

/* Full-range RGB to limited-range BT.709, rounded the same on every CPU. */
static int open_scaler(wan_video_writer *w, int height, int width)
{
    w->sws = sws_getContext(width, height, AV_PIX_FMT_RGB24, width, height, AV_PIX_FMT_YUV420P,
                            SWS_BICUBIC | SWS_ACCURATE_RND | SWS_BITEXACT | SWS_FULL_CHR_H_INP,
                            NULL, NULL, NULL);
    if (!w->sws ||
        sws_setColorspaceDetails(w->sws, sws_getCoefficients(SWS_CS_DEFAULT), 1,
                                 sws_getCoefficients(SWS_CS_ITU709), 0, 0, 1 << 16, 1 << 16) < 0)
        return wan_err("%s: cannot convert RGB to YUV", w->name);
    w->frame = av_frame_alloc();
    w->pkt = av_packet_alloc();
    if (!w->frame || !w->pkt)
        return wan_err("%s: out of memory (frame)", w->name);
    w->frame->format = AV_PIX_FMT_YUV420P;
    w->frame->width = width;
    w->frame->height = height;
    return av_frame_get_buffer(w->frame, 0) < 0 ? wan_err("%s: out of memory (frame)", w->name) : 0;
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
    wan_video_log_start();
    wan_video_writer *w = wan_calloc(1, sizeof *w, "video writer");
    if (!w)
        return -1;
    if (wan_out_open(&w->out, path) < 0) {
        free(w);
        return -1;
    }
    w->name = wan_out_name(w->out);
    if (open_muxer(w) < 0 || open_encoder(w, height, width, fps, crf) < 0 ||
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
    int rc = avcodec_send_frame(w->enc, frame);
    while (rc >= 0) {
        rc = avcodec_receive_packet(w->enc, w->pkt);
        if (rc == AVERROR(EAGAIN) || rc == AVERROR_EOF)
            return 0;
        if (rc < 0)
            break;
        w->pkt->stream_index = 0;
        w->pkt->duration = 1;
        av_packet_rescale_ts(w->pkt, w->enc->time_base, w->stream->time_base);
        rc = av_interleaved_write_frame(w->fmt, w->pkt);
    }
    return wan_video_log_err(w->name, "cannot encode", rc);
}

int wan_video_writer_frame(wan_video_writer *w, const uint8_t *rgb)
{
    const uint8_t *src[4] = { rgb };
    int stride[4] = { w->enc->width * 3 };
    if (av_frame_make_writable(w->frame) < 0)
        return wan_err("%s: out of memory (frame)", w->name);
    sws_scale(w->sws, src, stride, 0, w->enc->height, w->frame->data, w->frame->linesize);
    w->frame->pts = w->frames++;
    return encode(w, w->frame);
}

int wan_video_writer_finish(wan_video_writer **pw)
{
    wan_video_writer *w = *pw;
    int rc = w->frames ? encode(w, NULL) : wan_err("%s: a video without frames", w->name);
    if (!rc) {
        int av = av_write_trailer(w->fmt);
        avio_flush(w->fmt->pb);
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
    avcodec_free_context(&w->enc);
    sws_freeContext(w->sws);
    av_frame_free(&w->frame);
    av_packet_free(&w->pkt);
    if (w->fmt) {
        av_freep(&w->fmt->pb->buffer);
        avio_context_free(&w->fmt->pb);
        avformat_free_context(w->fmt);
    }
    wan_out_discard(&w->out);
    free(w);
    *pw = NULL;
}
