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
    "yuv4mpegpipe,ivf,h264,hevc,mpegvideo,m4v,obu,mxf,nut,png_pipe,jpeg_pipe,webp_pipe"
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
    wan_video_log_start(); /* what was told about the head alone is no damage of frames */
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
    s->at.tick = av_q2d(s->stream->time_base);
    for (unsigned j = 0; j < s->fmt->nb_streams; j++)
        if ((int)j != i)
            s->fmt->streams[j]->discard = AVDISCARD_ALL;
    s->dec = avcodec_alloc_context3(codec);
    s->pkt = av_packet_alloc();
    s->ahead = av_frame_alloc();
    int rc = s->dec && s->pkt && s->ahead
                 ? avcodec_parameters_to_context(s->dec, s->stream->codecpar)
                 : AVERROR(ENOMEM);
    if (rc >= 0) {
        s->dec->thread_count = threads > 0 ? threads : default_threads(s->stream->codecpar);
        s->dec->pkt_timebase = s->stream->time_base;
        s->dec->err_recognition = AV_EF_CRCCHECK;
        s->dec->max_pixels = MAX_PIXELS;
        wan_video_canvas(s->dec, &s->undrawn);
        rc = avcodec_open2(s->dec, codec, NULL);
        s->threads = s->dec->thread_count;
    }
    if (rc < 0)
        return wan_video_log_err(s->path, "cannot open the decoder", rc);
    s->turn = turn_of(s->stream);
    return 0;
}

int wan_source_open(wan_source *s, const char *path, const wan_video_options *opt, int threads)
{
    memset(s, 0, sizeof *s);
    s->path = path;
    s->at.max_gap = opt->max_gap;
    wan_video_log_start();
    if (open_file(s) < 0 || open_decoder(s, threads) < 0) {
        wan_source_close(s);
        return -1;
    }
    wan_video_log_decoding();
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

/* Looks into the log; whether it, or the caller, has a new sign of damage. */
static int new_sign(wan_source *s, int returned)
{
    int64_t said = wan_video_log_errors();
    int fresh = returned || said > s->said;
    s->errors += returned;
    s->said = said;
    return fresh;
}

/* Gives the decoder the next packet, or the sign that there are no more. */
static int feed(wan_source *s)
{
    int more = read_packet(s);
    if (more)
        s->packets++;
    else
        s->flushing = 1;
    int bad = more && s->pkt->flags & AV_PKT_FLAG_CORRUPT;
    int rc = avcodec_send_packet(s->dec, more ? s->pkt : NULL);
    av_packet_unref(s->pkt);
    if (rc == AVERROR(ENOMEM))
        return wan_err("out of memory (decoder)");
    s->bad_packets += new_sign(s, bad || rc < 0);
    return 0;
}

/* The next decoded frame: 1, 0 end, -1. */
static int decode(wan_source *s, AVFrame *frame)
{
    for (;;) {
        int rc = avcodec_receive_frame(s->dec, frame);
        if (rc == AVERROR(ENOMEM))
            return wan_err("out of memory (decoder)");
        int end = rc == AVERROR_EOF, hungry = rc == AVERROR(EAGAIN);
        s->bad_packets += new_sign(s, rc < 0 && !end && !hungry);
        if (rc >= 0) {
            s->bad_frames += (frame->flags & AV_FRAME_FLAG_CORRUPT) || frame->decode_error_flags;
            frame->sample_aspect_ratio = av_guess_sample_aspect_ratio(s->fmt, s->stream, frame);
            return 1;
        }
        if (end || (hungry && s->flushing))
            return 0;
        if (!s->flushing)
            WAN_TRY(feed(s));
    }
}

static int64_t duration_of(const AVFrame *f)
{
#if LIBAVUTIL_VERSION_MAJOR >= 58
    return f->duration;
#else
    return f->pkt_duration;
#endif
}

static int hurt(const wan_source *s)
{
    return s->errors || s->bad_frames || s->undrawn || wan_video_log_errors() > 0;
}

int wan_source_by_chance(const wan_source *s)
{
    return s->threads > 1 && hurt(s);
}

int wan_source_next(wan_source *s, AVFrame *frame)
{
    int more = 1;
    if (wan_source_by_chance(s))
        return wan_err("damaged"); /* one thread will say more */
    if (!s->at.frames && !s->ahead->buf[0])
        more = decode(s, s->ahead);
    if (more < 0 || !s->ahead->buf[0])
        return more < 0 ? -1 : 0;
    av_frame_move_ref(frame, s->ahead);
    WAN_TRY(decode(s, s->ahead));
    int64_t next = s->ahead->buf[0] ? s->ahead->best_effort_timestamp : AV_NOPTS_VALUE;
    frame->pts = wan_stamps_next(&s->at, frame->best_effort_timestamp, next, duration_of(frame));
    return 1;
}

/* Packets that the table of contents of an mp4 has, behind its edit list, and the file has not. */
static int64_t missing(const wan_source *s)
{
    int64_t n =
        strstr(s->fmt->iformat->name, "mp4") ? avformat_index_get_entries_count(s->stream) : 0;
    return n > s->packets ? n - s->packets : 0;
}

void wan_source_verdict(wan_source *s, wan_video *out)
{
    int64_t cut = missing(s), worse = s->undrawn;
    if (worse < s->bad_packets)
        worse = s->bad_packets;
    if (worse < s->bad_frames)
        worse = s->bad_frames;
    char said[200];
    if (s->at.frames)
        wan_stamps_end(&s->at);
    if (!worse && hurt(s))
        worse = 1; /* told by the demuxer alone */
    out->repeated = s->at.repeated;
    out->damaged = worse + cut + s->at.wild;
    wan_video_log_first(said, sizeof said);
    if (said[0])
        snprintf(out->damage, sizeof out->damage, "libav: %s", said);
    else if (s->undrawn)
        snprintf(out->damage, sizeof out->damage, "parts of them are not there");
    else if (worse)
        snprintf(out->damage, sizeof out->damage, "libav marks them so");
    else if (cut)
        snprintf(out->damage, sizeof out->damage, "the file ends before them");
    else if (s->at.wild)
        snprintf(out->damage, sizeof out->damage, "%s", s->at.first_wild);
}

int64_t wan_source_promised(const wan_source *s)
{
    int64_t listed =
        strstr(s->fmt->iformat->name, "mp4") ? avformat_index_get_entries_count(s->stream) : 0;
    return listed > 0 ? listed : s->stream->nb_frames > 0 ? s->stream->nb_frames : 0;
}

double wan_source_seconds(const wan_source *s)
{
    double seconds = s->stream->duration > 0 ? (double)s->stream->duration * s->at.tick
                     : s->fmt->duration > 0  ? (double)s->fmt->duration / AV_TIME_BASE
                                             : 0;
    return isfinite(seconds) ? seconds : 0;
}

double wan_source_fps(const wan_source *s)
{
    double fps = wan_stamps_fps(&s->at), said = av_q2d(s->stream->avg_frame_rate);
    return fps > 0 ? fps : isfinite(said) && said > 0 ? said : 1;
}

void wan_source_end(wan_source *s)
{
    av_frame_free(&s->ahead);
    avcodec_free_context(&s->dec);
}

void wan_source_close(wan_source *s)
{
    wan_source_end(s);
    avformat_close_input(&s->fmt);
    avio_closep(&s->io);
    av_packet_free(&s->pkt);
}
