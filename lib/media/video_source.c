/* SPDX-License-Identifier: Apache-2.0
 *
 * video_source.c - opening a file: its container, its stream and its decoder.  Only local files in
 * video containers are opened.
 */
#include <errno.h>
#include <fcntl.h>
#include <libavutil/dovi_meta.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/media/clips.h"
#include "lib/media/video_internal.h"
#include "lib/media/video_log.h"
#include "lib/media/video_late.h"

#define lav wan_video_late

/* Containers without references to other files; no playlists, no network. */
#define CONTAINERS                                                                                 \
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,gif,asf,"                       \
    "yuv4mpegpipe,ivf,h264,hevc,mpegvideo,m4v,obu,mxf,nut,dv,mjpeg,apng,png_pipe,jpeg_pipe,webp_pipe"
enum { MAX_PIXELS = 1 << 26 /* 8K has half of that */ };

static int read_some(void *opaque, uint8_t *buf, int size)
{
    const wan_source *s = opaque;
    ssize_t n;
    while ((n = read(s->file, buf, (size_t)size)) < 0 && errno == EINTR)
        ;
    return n > 0 ? (int)n : n < 0 ? AVERROR(errno) : AVERROR_EOF;
}

static int64_t go_to(void *opaque, int64_t at, int whence)
{
    const wan_source *s = opaque;
    struct stat st;
    if (whence & AVSEEK_SIZE)
        return fstat(s->file, &st) == 0 && S_ISREG(st.st_mode) ? st.st_size : AVERROR(ENOSYS);
    off_t to = lseek(s->file, at, whence & ~AVSEEK_FORCE);
    return to < 0 ? AVERROR(errno) : to;
}

/* The bytes of the file, by descriptor: a process without the right to open files can read it. */
static int open_bytes(wan_source *s)
{
    enum { BUFFER = 1 << 18 };
    s->file = s->opt->opened ? 0 : open(s->path, O_RDONLY | O_CLOEXEC);
    if (s->file < 0)
        return wan_err_errno("%s", s->path);
    int seeks = lseek(s->file, 0, SEEK_SET) == 0; /* it may be read a second time */
    uint8_t *buffer = lav.av_malloc(BUFFER);
    s->io =
        buffer ? lav.avio_alloc_context(buffer, BUFFER, 0, s, read_some, NULL, seeks ? go_to : NULL)
               : NULL;
    if (s->io)
        return 0;
    lav.av_free(buffer);
    return wan_err("%s: out of memory", s->path);
}

static void close_bytes(wan_source *s)
{
    if (s->io)
        lav.av_freep(&s->io->buffer);
    lav.avio_context_free(&s->io);
    if (s->file > 0)
        close(s->file);
    s->file = -1;
}

static const char unreadable[] = "not a video this program can read";

/* What the file is, is told by its first bytes alone: an extension like .jpg would make libavformat
 * look for a numbered sequence of files.  A JPEG that holds others (for HDR, depth, as an MPO) or a film looks like a
 * film of JPEGs, or like nothing: by its name it is a picture. */
static int find_format(wan_source *s, const AVInputFormat **format)
{
    uint8_t soi[3] = { 0 };
    *format = NULL;
    if (wan_clips_is_picture(s->path) && pread(s->file, soi, 3, 0) == 3 &&
        !memcmp(soi, "\xff\xd8\xff", 3)) {
        *format = lav.av_find_input_format("jpeg_pipe");
    } else {
        int rc = lav.av_probe_input_buffer2(s->io, format, "", NULL, 0, 0);
        if (rc < 0)
            return wan_video_log_err(s->path, unreadable, rc);
    }
    if (!*format || !lav.av_match_list((*format)->name, CONTAINERS, ','))
        return wan_err("%s: %s: it is taken for %s", s->path, unreadable,
                       *format ? (*format)->long_name : "nothing");
    size_t n = strlen((*format)->name);
    s->picture =
        wan_clips_is_picture(s->path) && n > 5 && !strcmp((*format)->name + n - 5, "_pipe");
    s->turn = wan_video_exif(s->file, (*format)->name);
    return 0;
}

static int open_file(wan_source *s)
{
    AVDictionary *opts = NULL;
    const AVInputFormat *format;
    WAN_TRY(open_bytes(s));
    WAN_TRY(find_format(s, &format));
    s->fmt = lav.avformat_alloc_context();
    if (!s->fmt)
        return wan_err("%s: out of memory", s->path);
    s->fmt->pb = s->io;
    s->fmt->flags |=
        AVFMT_FLAG_CUSTOM_IO; /* also where it is closed before it was opened: ours is ours */
    int rc = lav.av_dict_set(&opts, "protocol_whitelist", "", 0);
    if (rc >= 0)
        rc = lav.av_dict_set(&opts, "format_whitelist", CONTAINERS, 0);
    if (rc >= 0)
        rc = lav.avformat_open_input(&s->fmt, "", format, &opts);
    lav.av_dict_free(&opts);
    if (rc < 0)
        return wan_video_log_err(s->path, unreadable, rc);
    wan_video_log_start(); /* what was told about the head alone is no damage of frames */
    rc = lav.avformat_find_stream_info(s->fmt, NULL);
    return rc < 0 ? wan_video_log_err(s->path, "no usable streams", rc) : 0;
}

/* What the container says beside the stream; newer libavformat keeps it with the codec parameters. */
static const uint8_t *side_data(const AVStream *st, enum AVPacketSideDataType type, size_t *size)
{
#if LIBAVFORMAT_VERSION_INT >= AV_VERSION_INT(60, 15, 100)
    const AVPacketSideData *d = av_packet_side_data_get(st->codecpar->coded_side_data,
                                                        st->codecpar->nb_coded_side_data, type);
    *size = d ? d->size : 0;
    return d ? d->data : NULL;
#else
    *size = 0;
    return lav.av_stream_get_side_data(st, type, size);
#endif
}

static const int32_t *display_matrix(const AVStream *st)
{
    size_t size;
    const uint8_t *d = side_data(st, AV_PKT_DATA_DISPLAYMATRIX, &size);
    return d && size >= 9 * sizeof(int32_t) ? (const int32_t *)d : NULL;
}

/* Pixel (x, y) of the file is shown at (a x + c y, b x + d y); other angles than right ones are taken
 * as the nearest of these. */
static int turn_by(const int32_t *m)
{
    int64_t a = m[0], b = m[1], c = m[3], d = m[4];
    int across = llabs(b) > llabs(a);
    return (across ? WAN_TURN_ACROSS : 0) | ((across ? c : d) < 0 ? WAN_TURN_ROWS : 0) |
           ((across ? b : a) < 0 ? WAN_TURN_COLS : 0);
}

int wan_source_turn(const wan_source *s, const AVFrame *frame)
{
    const int32_t *m = display_matrix(s->stream);
    const AVFrameSideData *d = lav.av_frame_get_side_data(frame, AV_FRAME_DATA_DISPLAYMATRIX);
    if (!m && d && d->size >= 9 * sizeof *m)
        m = (const int32_t *)d->data;
    return m ? turn_by(m) : s->turn;
}

/* Dolby Vision whose base layer is in colours of its own. */
static int needs_dolby(const AVStream *st)
{
    size_t size;
    const AVDOVIDecoderConfigurationRecord *d = (void *)side_data(st, AV_PKT_DATA_DOVI_CONF, &size);
    return d && size >= sizeof *d && d->dv_bl_signal_compatibility_id == 0;
}

/* Only libvpx decodes the transparency of VP8 and VP9, which stands beside their pictures. */
static int see_through(const wan_source *s, const AVCodec **codec)
{
    const AVDictionaryEntry *e = lav.av_dict_get(s->stream->metadata, "alpha_mode", NULL, 0);
    const AVCodec *vpx = NULL;
    if (!e || strcmp(e->value, "1"))
        return 0;
    if ((*codec)->id == AV_CODEC_ID_VP8)
        vpx = lav.avcodec_find_decoder_by_name("libvpx");
    else if ((*codec)->id == AV_CODEC_ID_VP9)
        vpx = lav.avcodec_find_decoder_by_name("libvpx-vp9");
    if (!vpx)
        return wan_err("%s: no decoder for its transparency", s->path);
    *codec = vpx;
    return 0;
}

/* One per core, but no more than hold about 50 MB of frames, as each thread has some of its own, and
 * no more than small pictures keep busy: waking one costs as much as decoding 32K pixels. */
static int default_threads(const AVCodecParameters *p, const wan_video_options *opt)
{
    int64_t pixels = (int64_t)p->width * p->height, room = (50 << 20) / (pixels * 3 / 2 + 1);
    int64_t busy = 1 + pixels / (1 << 15), most = room < busy ? room : busy;
    long cores = opt->cores ? opt->cores : sysconf(_SC_NPROCESSORS_ONLN);
    if (most > cores)
        most = cores;
    return most < 1 ? 1 : (int)most;
}

static int too_large(const wan_source *s)
{
    const AVCodecParameters *p = s->stream->codecpar;
    return (int64_t)p->width * p->height <= MAX_PIXELS
               ? 0
               : wan_err("%s: pictures of %d x %d pixels, more than %d in all", s->path, p->height,
                         p->width, MAX_PIXELS);
}

static int open_decoder(wan_source *s, int threads)
{
    const AVCodec *codec = NULL;
    int i = lav.av_find_best_stream(s->fmt, AVMEDIA_TYPE_VIDEO, -1, -1, &codec, 0);
    if (i < 0 || (s->fmt->streams[i]->disposition & AV_DISPOSITION_ATTACHED_PIC))
        return wan_err("%s: %s", s->path,
                       i == AVERROR_DECODER_NOT_FOUND ? "no decoder for its video"
                                                      : "no video stream in it");
    s->stream = s->fmt->streams[i];
    if (needs_dolby(s->stream))
        return wan_err("%s: Dolby Vision that is nothing without its decoder", s->path);
    WAN_TRY(too_large(s));
    WAN_TRY(see_through(s, &codec));
    if (strstr(s->fmt->iformat->name, "mp4"))
        s->edits = wan_video_edits(s->file, lav.avio_size(s->fmt->pb), s->stream->id);
    s->at.tick = av_q2d(s->stream->time_base);
    for (unsigned j = 0; j < s->fmt->nb_streams; j++) {
        AVStream *other = s->fmt->streams[j];
        s->streams += other->codecpar->codec_type == AVMEDIA_TYPE_VIDEO &&
                      !(other->disposition & AV_DISPOSITION_ATTACHED_PIC);
        if ((int)j != i)
            other->discard = AVDISCARD_ALL;
    }
    s->dec = lav.avcodec_alloc_context3(codec);
    s->pkt = lav.av_packet_alloc();
    s->ahead = lav.av_frame_alloc();
    int rc = s->dec && s->pkt && s->ahead
                 ? lav.avcodec_parameters_to_context(s->dec, s->stream->codecpar)
                 : AVERROR(ENOMEM);
    if (rc >= 0) {
        s->dec->thread_count = threads > 0 ? threads : default_threads(s->stream->codecpar, s->opt);
        s->dec->pkt_timebase = s->stream->time_base;
        s->dec->err_recognition = AV_EF_CRCCHECK;
        s->dec->max_pixels = MAX_PIXELS;
        wan_video_canvas(s->dec, &s->undrawn);
        rc = lav.avcodec_open2(s->dec, codec, NULL);
        s->threads = s->dec->thread_count;
    }
    if (rc < 0)
        return wan_video_log_err(s->path, "cannot open the decoder", rc);
    return 0;
}

int wan_source_open(wan_source *s, const char *path, const wan_video_options *opt, int threads)
{
    memset(s, 0, sizeof *s);
    s->path = path;
    s->opt = opt;
    s->file = -1;
    s->at.max_gap = opt->max_gap;
    WAN_TRY(wan_video_late_open());
    wan_video_log_start();
    if (open_file(s) < 0 || open_decoder(s, threads) < 0) {
        wan_source_close(s);
        return -1;
    }
    wan_video_log_decoding();
    return 0;
}

void wan_source_seek(wan_source *s)
{
    enum { WORTH = 5 /* seconds */ };
    const char *name = s->fmt->iformat->name;
    double at = s->opt->start / s->at.tick;
    if (s->opt->start < WORTH || s->opt->first_frame || s->opt->end_frame || at > 9e18 ||
        (!strstr(name, "mp4") && !strstr(name, "matroska")) ||
        s->stream->start_time == AV_NOPTS_VALUE)
        return;
    s->sought = lav.av_seek_frame(s->fmt, s->stream->index, s->stream->start_time + (int64_t)at,
                                  AVSEEK_FLAG_BACKWARD) >= 0;
}

int64_t wan_source_promised(const wan_source *s)
{
    int64_t listed =
        strstr(s->fmt->iformat->name, "mp4") ? lav.avformat_index_get_entries_count(s->stream) : 0;
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
    lav.av_frame_free(&s->ahead);
    wan_video_filter_close(&s->fields);
    lav.avcodec_free_context(&s->dec);
}

void wan_source_close(wan_source *s)
{
    wan_source_end(s);
    lav.avformat_close_input(&s->fmt);
    close_bytes(s);
    lav.av_packet_free(&s->pkt);
}
