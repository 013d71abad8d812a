/* SPDX-License-Identifier: Apache-2.0
 *
 * video_internal.h - the parts behind video.c: source (file to frames) and fit (frame to RGB).
 */
#ifndef WAN_MEDIA_VIDEO_INTERNAL_H
#define WAN_MEDIA_VIDEO_INTERNAL_H

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>

#include "lib/media/resample.h"
#include "lib/media/stamps.h"
#include "lib/media/video.h"
#include "lib/media/video_colour.h"
#include "lib/media/video_filter.h"

/* How the picture stands in the file: its sides change places, and its rows or columns then run
 * backwards (a quarter turn clockwise is ACROSS | ROWS, half a turn ROWS | COLS). */
enum wan_turn { WAN_TURN_ACROSS = 1, WAN_TURN_ROWS = 2, WAN_TURN_COLS = 4 };

/* ---- canvas: *undrawn counts the frames of which a decoder left blocks undrawn.  Before the decoder
 * is opened; *undrawn is whole when the decoder and its frames are freed, and lives until then. */
void wan_video_canvas(AVCodecContext *dec, _Atomic int64_t *undrawn);

/* ---- exif: the turn (enum wan_turn, or'ed) that the open file states, if libav calls its container png_pipe, apng or
 * webp_pipe; its place in the file stays. */
int wan_video_exif(int file, const char *container);

/* ---- edits: how many edits of this track of an mp4 of `size` bytes are to be shown at another speed than 1. */
int wan_video_edits(int file, int64_t size, int track);

/* ---- tail: whether the open file was cut off, as far as that is to be seen, where libav does not look: the last packet
 * that it gave is n bytes and begins at `at`. */
int wan_video_tail_cut(int file, const char *container, int64_t at, int64_t n);

/* ---- source: the frames of the first real video stream, in order of display */
typedef struct wan_source {
    const char *path;             /* borrowed */
    const wan_video_options *opt; /* borrowed */
    int file;                     /* its descriptor */
    AVIOContext *io;
    AVFormatContext *fmt;
    AVCodecContext *dec;
    AVStream *stream;
    int picture; /* of the file only the first picture is meant: a photograph may hold others */
    int edits;   /* of an mp4, at another speed than 1: shown at 1 */
    int streams; /* of video, without cover pictures */
    int turn;    /* enum wan_turn, or'ed: of pictures of which libav does not tell it */
    AVPacket *pkt;
    AVFrame *ahead;           /* decoded, but not given yet: its stamp is judged by the next one */
    int sought, missed;       /* frames were passed over unread; too many */
    int left;                 /* not read to its end */
    int flushing, drained;    /* the decoder, the filter */
    wan_video_filter *fields; /* deinterlaces; NULL until there are fields */
    int64_t interlaced;       /* frames made of two fields */
    wan_stamps at;            /* at.frames: given so far */
    int64_t packets;          /* of the stream, read so far */
    int64_t last_at, last_n;  /* the last of all: its place in the file, -1 unknown, and bytes */
    int64_t errors;           /* signs of damage that libav gave by its return values */
    int64_t said;             /* and in its log, as far as it was looked at */
    int64_t bad_packets, bad_frames; /* with a sign of damage */
    _Atomic int64_t undrawn;         /* frames with blocks that were not decoded */
    int threads;                     /* of the decoder */
} wan_source;

int wan_source_open(wan_source *s, const char *path, const wan_video_options *opt, int threads)
    WAN_MUST_CHECK;
/* 1 a frame (with a usable pts that never falls), 0 end, -1 error. */
int wan_source_next(wan_source *s, AVFrame *frame) WAN_MUST_CHECK;
/* Whether what was read does not count: several decoder threads met damage (that there was some they
 * always log, but which errors they return, and what they make of the frames, is left to chance), or
 * there was some behind a seek, which may have brought it about. */
int wan_source_by_chance(const wan_source *s);
/* Goes near opt->start, where the container has an index that tells how.  Before the first frame. */
void wan_source_seek(wan_source *s);
/* Behind it: what comes is behind opt->start.  -1. */
int wan_source_miss(wan_source *s);
/* Ends the decoder: only then every sign of damage is there. */
void wan_source_end(wan_source *s);
/* Behind it: what was wrong, for out's damaged, repeated and damage. */
void wan_source_verdict(wan_source *s, wan_video *out);
/* How the container, or else the frame, says it is shown: enum wan_turn, or'ed. */
int wan_source_turn(const wan_source *s, const AVFrame *frame);
/* Frames the container says there are; 0 when it does not say.  Only a hint. */
int64_t wan_source_promised(const wan_source *s);
/* Its length by the container; 0 when it does not say.  Only a hint. */
double wan_source_seconds(const wan_source *s);
/* Average rate by the time stamps given so far. */
double wan_source_fps(const wan_source *s);
void wan_source_close(wan_source *s);

/* ---- window: the frames that are meant */
typedef struct wan_window {
    wan_source *src; /* borrowed, as opt */
    const wan_video_options *opt;
    int64_t taken;      /* frames given */
    int64_t origin;     /* stamp of the source's first frame */
    int64_t base, last; /* stamps of the first and the last one given */
    int64_t stop;       /* stamp of the first one behind the window, */
    int over;           /* where it was met */
} wan_window;

/* As wan_source_next. */
int wan_window_next(wan_window *w, AVFrame *f) WAN_MUST_CHECK;
int64_t wan_window_end(const wan_window *w); /* stamp of the end of the last frame given */
double wan_window_fps(const wan_window *w);  /* as wan_source_fps, of the frames given */

/* ---- marks: what is told of single frames */
typedef struct wan_video_marks {
    wan_video_filter *scenes;
    int width, height, format; /* it was made for */
    int cut;                   /* a scene begins with a frame met since this was cleared */
} wan_video_marks;

/* A frame of the file, all of them in their order. */
int wan_video_marks_meet(wan_video_marks *m, const AVFrame *f, double threshold,
                         AVRational time_base) WAN_MUST_CHECK;
void wan_video_marks_end(wan_video_marks *m);
/* WAN_MARK_BLACK and _STILL of an RGB frame; before: the one before it, or NULL. */
int wan_video_marks_look(const uint8_t *frame, const uint8_t *before, size_t pixels);

/* ---- alpha: transparency over a background, at the frame's own size */
typedef struct wan_alpha {
    struct SwsContext *sws;
    AVFrame *clear; /* GBRAP */
    AVFrame *solid; /* GBRP */
} wan_alpha;

int wan_alpha_begin(wan_alpha *a, const wan_colour *c, int h, int w) WAN_MUST_CHECK;
/* The frame over the colour 0xRRGGBB; the result is a's, until the next call. */
const AVFrame *wan_alpha_over(wan_alpha *a, const AVFrame *in, uint32_t background);
void wan_alpha_end(wan_alpha *a); /* may begin anew */

/* ---- scale: to RGB of another size */
typedef struct wan_video_scale {
    struct SwsContext *sws;
    wan_resample *taps; /* NULL: swscale does it all */
    AVFrame *whole;     /* what taps read: GBRP of the source's size */
} wan_video_scale;

/* For frames like `in` of colours c; NULL: GBRP. */
int wan_video_scale_begin(wan_video_scale *s, const wan_video_options *opt, const AVFrame *in,
                          const wan_colour *c, int oh, int ow) WAN_MUST_CHECK;
int wan_video_scale_run(wan_video_scale *s, AVFrame *dst, const AVFrame *in) WAN_MUST_CHECK;
void wan_video_scale_end(wan_video_scale *s); /* may begin anew */
/* A frame with room for its pixels; NULL with the reason. */
AVFrame *wan_video_planes(int format, int h, int w);

/* ---- fit: one frame scaled, cropped, turned, as RGB */
typedef struct wan_fit_state {
    wan_video_scale scale;
    const wan_video_options *opt;
    wan_video_options own; /* opt, where the size is chosen here */
    int turn;
    wan_colour colour;       /* of frames like `like` */
    wan_video_colour *said;  /* borrowed */
    AVFrame *like;           /* what scale, chain and alpha were made for; without data */
    wan_video_filter *chain; /* to SDR RGB; NULL none */
    AVFrame *shown;          /* what comes out of it */
    wan_alpha alpha;         /* over the background, where there is transparency */
    int scaled_h, scaled_w;  /* before cropping and turning */
    int crop_h, crop_w;      /* kept of it, centred */
    int out_h, out_w;        /* after turning */
    int source_h, source_w;  /* square pixels, after turning */
    AVFrame *scaled;         /* GBRP [scaled_h, scaled_w] */
} wan_fit_state;

/* Computes out_h and out_w from the first frame; what its colours are taken for goes to *said. */
int wan_fit_begin(wan_fit_state *f, const wan_video_options *opt, const AVFrame *first, int turn,
                  wan_video_colour *said) WAN_MUST_CHECK;
/* dst: [out_h, out_w, 3]. */
int wan_fit_frame(wan_fit_state *f, uint8_t *dst, const AVFrame *frame) WAN_MUST_CHECK;
void wan_fit_end(wan_fit_state *f);

#endif
