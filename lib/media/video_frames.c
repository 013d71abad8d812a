/* SPDX-License-Identifier: Apache-2.0
 *
 * video_frames.c - an opened file to frames: packets, decoder, fields, time stamps; every sign of damage
 * is counted on the way.
 */
#include <stdio.h>
#include <string.h>

#include "lib/media/video_internal.h"
#include "lib/media/video_log.h"
#include "lib/media/video_late.h"

#define lav wan_video_late

enum { ERRORS_IN_A_ROW = 1000 };

/* 1 the next packet of our stream is in s->pkt, 0 there are no more. */
static int read_packet(wan_source *s)
{
    if (s->picture && s->packets)
        return 0;
    for (int bad = 0; bad < ERRORS_IN_A_ROW;) {
        int rc = lav.av_read_frame(s->fmt, s->pkt);
        if (s->opt->beat)
            s->opt->beat();
        if (rc >= 0) {
            s->last_at = s->pkt->pos;
            s->last_n = s->pkt->size;
        }
        if (rc >= 0 && s->pkt->stream_index == s->stream->index)
            return 1;
        lav.av_packet_unref(s->pkt);
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
    int rc = lav.avcodec_send_packet(s->dec, more ? s->pkt : NULL);
    lav.av_packet_unref(s->pkt);
    if (rc == AVERROR(ENOMEM))
        return wan_err("out of memory (decoder)");
    s->bad_packets += new_sign(s, bad || rc < 0);
    return 0;
}

/* The next decoded frame: 1, 0 end, -1. */
static int decode(wan_source *s, AVFrame *frame)
{
    for (;;) {
        int rc = lav.avcodec_receive_frame(s->dec, frame);
        if (rc == AVERROR(ENOMEM))
            return wan_err("out of memory (decoder)");
        int end = rc == AVERROR_EOF, hungry = rc == AVERROR(EAGAIN);
        if (s->opt->beat)
            s->opt->beat();
        s->bad_packets += new_sign(s, rc < 0 && !end && !hungry);
        if (rc >= 0) {
            s->bad_frames += (frame->flags & AV_FRAME_FLAG_CORRUPT) || frame->decode_error_flags;
            frame->sample_aspect_ratio = lav.av_guess_sample_aspect_ratio(s->fmt, s->stream, frame);
            return 1;
        }
        if (end || (hungry && s->flushing))
            return 0;
        if (!s->flushing)
            WAN_TRY(feed(s));
    }
}

static int is_interlaced(const AVFrame *f)
{
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(58, 7, 100)
    return (f->flags & AV_FRAME_FLAG_INTERLACED) != 0;
#else
    return f->interlaced_frame;
#endif
}

/* From the first interlaced frame on all go through the filter, which changes only such ones. */
static int meet_fields(wan_source *s, const AVFrame *frame)
{
    s->interlaced += is_interlaced(frame);
    if (s->fields || !is_interlaced(frame) || s->opt->interlaced == WAN_INTERLACED_KEEP)
        return 0;
    if (s->opt->interlaced == WAN_INTERLACED_REFUSE)
        return wan_err("interlaced, which --interlaced refuse leaves out");
    return wan_video_filter_open(&s->fields, "bwdif=mode=send_frame:deint=interlaced", frame,
                                 s->stream->time_base);
}

/* The next frame to be shown, of one moment: 1, 0 end, -1. */
static int next_whole(wan_source *s, AVFrame *frame)
{
    for (;;) {
        int rc = s->fields ? wan_video_filter_pull(s->fields, frame) : 0;
        if (rc) {
            frame->best_effort_timestamp = frame->pts;
            return rc;
        }
        if (s->drained)
            return 0;
        rc = decode(s, frame);
        if (rc < 0 || (rc > 0 && meet_fields(s, frame) < 0))
            return -1;
        if (!s->fields)
            return rc;
        s->drained = !rc;
        frame->pts = frame->best_effort_timestamp;
        WAN_TRY(wan_video_filter_push(s->fields, rc ? frame : NULL));
    }
}

/* A picture has none: it is one frame at any rate. */
static int64_t duration_of(const wan_source *s, const AVFrame *f)
{
    if (s->picture)
        return 0;
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
    return s->missed || ((s->threads > 1 || s->sought) && hurt(s));
}

int wan_source_miss(wan_source *s)
{
    s->missed = 1;
    return wan_err("the container's index leads astray");
}

int wan_source_next(wan_source *s, AVFrame *frame)
{
    int more = 1;
    if (wan_source_by_chance(s))
        return wan_err("damaged"); /* one thread will say more */
    if (!s->at.frames && !s->ahead->buf[0])
        more = next_whole(s, s->ahead);
    if (more < 0 || !s->ahead->buf[0])
        return more < 0 ? -1 : 0;
    lav.av_frame_move_ref(frame, s->ahead);
    WAN_TRY(next_whole(s, s->ahead));
    int64_t next = s->ahead->buf[0] ? s->ahead->best_effort_timestamp : AV_NOPTS_VALUE;
    frame->pts = wan_stamps_next(&s->at, frame->best_effort_timestamp, next, duration_of(s, frame));
    return 1;
}

/* Packets that the table of contents of an mp4 has, behind its edit list, and the file has not. */
static int64_t missing(const wan_source *s)
{
    int64_t n = s->left || s->sought ? 0
                : strstr(s->fmt->iformat->name, "mp4")
                    ? lav.avformat_index_get_entries_count(s->stream)
                    : 0;
    return n > s->packets ? n - s->packets : 0;
}

/* Whether another file is cut off.  An AVI that has all its packets misses its index alone. */
static int cut_off(const wan_source *s)
{
    const char *container = s->fmt->iformat->name;
    int whole =
        !strcmp(container, "avi") && s->stream->nb_frames > 0 && s->packets >= s->stream->nb_frames;
    return !s->left && !s->sought && !whole &&
           wan_video_tail_cut(s->file, container, s->last_at, s->last_n);
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
    if (!worse && !cut)
        cut = cut_off(s); /* how many is not known */
    out->repeated = s->at.repeated;
    out->interlaced = s->interlaced;
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
