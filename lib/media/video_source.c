/* SPDX-License-Identifier: Apache-2.0
 *
 * video_source.c - a file to decoded frames.  Only local files in video containers are opened, and
 * every packet the decoder could not use is counted.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/media/video_internal.h"
#include "lib/media/video_log.h"

/* Containers without references to other files; no playlists, no network. */
#define CONTAINERS                                                                                 \
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,gif,asf,"                       \
    "yuv4mpegpipe,ivf,h264,hevc,png_pipe,jpeg_pipe,webp_pipe"
enum { ERRORS_IN_A_ROW = 1000, MAX_PIXELS = 1 << 26 /* 8K has half of that */ };

/* What the file is, is told by its first bytes alone: an extension like .jpg would make libavformat
 * look for a numbered sequence of files. */
static int open_file(wan_source *s)
{
    AVDictionary *opts = NULL;
    size_t n = strlen(s->path) + 6;
    char *url = av_malloc(n);
    s->fmt = avformat_alloc_context();
    if (!url || !s->fmt) {
        av_free(url);
        return wan_err("%s: out of memory", s->path);
    }
    snprintf(url, n, "file:%s", s->path);
    int rc = avio_open(&s->io, url, AVIO_FLAG_READ);
    av_free(url);
    if (rc >= 0) {
        s->fmt->pb = s->io;
        av_dict_set(&opts, "protocol_whitelist", "", 0);
        av_dict_set(&opts, "format_whitelist", CONTAINERS, 0);
        rc = avformat_open_input(&s->fmt, "", NULL, &opts);
        av_dict_free(&opts);
    }
    if (rc < 0)
        return wan_video_log_err(s->path, "not a video this program can read", rc);
    s->said_before = wan_video_log_demuxer();
    rc = avformat_find_stream_info(s->fmt, NULL);
    return rc < 0 ? wan_video_log_err(s->path, "no usable streams", rc) : 0;
}

/* The display matrix; newer libavformat keeps it with the codec parameters. */
static const int32_t *display_matrix(const AVStream *st)
{
#if LIBAVFORMAT_VERSION_INT >= AV_VERSION_INT(60, 15, 100)
    const AVPacketSideData *d = av_packet_side_data_get(
        st->codecpar->coded_side_data, st->codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
    return d && d->size >= 9 * sizeof(int32_t) ? (const int32_t *)d->data : NULL;
#else
    size_t size = 0;
    uint8_t *d = av_stream_get_side_data(st, AV_PKT_DATA_DISPLAYMATRIX, &size);
    return d && size >= 9 * sizeof(int32_t) ? (const int32_t *)d : NULL;
#endif
}

/* Pixel (x, y) of the file is shown at (a x + c y, b x + d y); other angles than right ones are taken
 * as the nearest of these. */
static int turn_of(const AVStream *st)
{
    const int32_t *m = display_matrix(st);
    if (!m)
        return 0;
    int64_t a = m[0], b = m[1], c = m[3], d = m[4];
    int across = llabs(b) > llabs(a);
    return (across ? WAN_TURN_ACROSS : 0) | ((across ? c : d) < 0 ? WAN_TURN_ROWS : 0) |
           ((across ? b : a) < 0 ? WAN_TURN_COLS : 0);
}

/* One per core, but no more than hold about 50 MB of frames, as each thread has some of its own, and
 * no more than small pictures keep busy: waking one costs as much as decoding 32K pixels. */
static int default_threads(const AVCodecParameters *p)
{
    int64_t pixels = (int64_t)p->width * p->height, room = (50 << 20) / (pixels * 3 / 2 + 1);
    int64_t busy = 1 + pixels / (1 << 15), most = room < busy ? room : busy;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (most > cores)
        most = cores;
    return most < 1 ? 1 : (int)most;
}

static int open_decoder(wan_source *s, int threads)
{
    const AVCodec *codec = NULL;
    int i = av_find_best_stream(s->fmt, AVMEDIA_TYPE_VIDEO, -1, -1, &codec, 0);
    if (i < 0 || (s->fmt->streams[i]->disposition & AV_DISPOSITION_ATTACHED_PIC))
        return wan_err("%s: %s", s->path,
                       i == AVERROR_DECODER_NOT_FOUND ? "no decoder for its video"
                                                      : "no video stream in it");
    s->stream = s->fmt->streams[i];
    s->time_base = s->stream->time_base;
    for (unsigned j = 0; j < s->fmt->nb_streams; j++)
        if ((int)j != i)
            s->fmt->streams[j]->discard = AVDISCARD_ALL;
    s->dec = avcodec_alloc_context3(codec);
    s->pkt = av_packet_alloc();
    int rc = s->dec && s->pkt ? avcodec_parameters_to_context(s->dec, s->stream->codecpar)
                              : AVERROR(ENOMEM);
    if (rc >= 0) {
        s->dec->thread_count = threads > 0 ? threads : default_threads(s->stream->codecpar);
        s->dec->pkt_timebase = s->time_base;
        s->dec->max_pixels = MAX_PIXELS;
        rc = avcodec_open2(s->dec, codec, NULL);
    }
    if (rc < 0)
        return wan_video_log_err(s->path, "cannot open the decoder", rc);
    s->turn = turn_of(s->stream);
    return 0;
}

int wan_source_open(wan_source *s, const char *path, int threads)
{
    memset(s, 0, sizeof *s);
    s->path = path;
    wan_video_log_start();
    if (open_file(s) < 0 || open_decoder(s, threads) < 0) {
        wan_source_close(s);
        return -1;
    }
    return 0;
}

/* 1 the next packet of our stream is in s->pkt, 0 there are no more. */
static int read_packet(wan_source *s)
{
    for (int bad = 0; bad < ERRORS_IN_A_ROW;) {
        int rc = av_read_frame(s->fmt, s->pkt);
        if (rc >= 0 && s->pkt->stream_index == s->stream->index)
            return 1;
        av_packet_unref(s->pkt);
        if (rc >= 0 || rc == AVERROR(EAGAIN))
            continue;
        if (rc == AVERROR_EOF)
            return 0;
        s->errors++;
        bad = rc == AVERROR_INVALIDDATA ? bad + 1 : ERRORS_IN_A_ROW;
    }
    return 0;
}

/* Gives the decoder the next packet, or the sign that there are no more. */
static int feed(wan_source *s)
{
    int more = read_packet(s);
    if (more) {
        s->packets++;
        s->errors += (s->pkt->flags & AV_PKT_FLAG_CORRUPT) != 0;
    } else {
        s->flushing = 1;
        if (!s->errors) /* the only sign of a truncated Matroska file is that it is said */
            s->errors = wan_video_log_demuxer() - s->said_before;
    }
    int rc = avcodec_send_packet(s->dec, more ? s->pkt : NULL);
    av_packet_unref(s->pkt);
    if (rc == AVERROR(ENOMEM))
        return -1;
    s->errors += rc < 0; /* of this packet, or one before it on another thread */
    return 0;
}

/* Gives every frame a time stamp later than the one before it. */
static void stamp(wan_source *s, AVFrame *f)
{
    int64_t t = f->best_effort_timestamp;
#if LIBAVUTIL_VERSION_MAJOR >= 58
    int64_t d = f->duration;
#else
    int64_t d = f->pkt_duration;
#endif
    int64_t step = s->duration > 0 ? s->duration : 1;
    if (s->frames && (t == AV_NOPTS_VALUE || t <= s->last))
        t = av_sat_add64(s->last, step);
    else if (t == AV_NOPTS_VALUE)
        t = 0;
    if (!s->frames)
        s->first = t;
    s->duration = d > 0 ? d : s->frames ? av_sat_sub64(t, s->last) : 0;
    s->last = f->pts = t;
    s->frames++;
}

int wan_source_next(wan_source *s, AVFrame *frame)
{
    for (;;) {
        int rc = avcodec_receive_frame(s->dec, frame);
        if (rc == AVERROR_EOF)
            return 0;
        if (rc >= 0) {
            s->errors += (frame->flags & AV_FRAME_FLAG_CORRUPT) || frame->decode_error_flags;
            stamp(s, frame);
            return 1;
        }
        if (rc == AVERROR(ENOMEM))
            return wan_err("out of memory (decoder)");
        if (rc != AVERROR(EAGAIN))
            s->errors++;
        else if (s->flushing)
            return 0;
        if (!s->flushing && feed(s) < 0)
            return wan_err("out of memory (decoder)");
    }
}

int64_t wan_source_promised(const wan_source *s)
{
    return s->stream->nb_frames > 0 ? s->stream->nb_frames : 0;
}

double wan_source_seconds(const wan_source *s)
{
    double seconds = s->stream->duration > 0 ? (double)s->stream->duration * av_q2d(s->time_base)
                     : s->fmt->duration > 0  ? (double)s->fmt->duration / AV_TIME_BASE
                                             : 0;
    return isfinite(seconds) ? seconds : 0;
}

int wan_source_cut(const wan_source *s)
{
    return strstr(s->fmt->iformat->name, "mp4") && s->packets < s->stream->nb_frames;
}

double wan_source_fps(const wan_source *s)
{
    double span = (double)(s->last - s->first) * av_q2d(s->time_base);
    if (s->frames > 1 && span > 0)
        return (double)(s->frames - 1) / span;
    double said = av_q2d(s->stream->avg_frame_rate);
    return isfinite(said) && said > 0 ? said : 1;
}

void wan_source_close(wan_source *s)
{
    avcodec_free_context(&s->dec);
    avformat_close_input(&s->fmt);
    avio_closep(&s->io);
    av_packet_free(&s->pkt);
}
