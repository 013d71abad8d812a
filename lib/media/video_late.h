/* SPDX-License-Identifier: Apache-2.0
 *
 * video_late.h - what writing videos calls of libav, opened at run time: the 130 libraries behind it are nine tenths of what
 * a tool takes to start, and one that writes a video does so at its end.
 *
 * Tools that are linked with libav, because they read videos, have it from the start.
 */
#ifndef WAN_MEDIA_VIDEO_LATE_H
#define WAN_MEDIA_VIDEO_LATE_H

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/log.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>

#include "lib/base/err.h"

#define WAN_VIDEO_LATE(X)                                                                          \
    X(av_d2q)                                                                                      \
    X(av_frame_alloc)                                                                              \
    X(av_frame_free)                                                                               \
    X(av_frame_get_buffer)                                                                         \
    X(av_frame_make_writable)                                                                      \
    X(av_free)                                                                                     \
    X(av_freep)                                                                                    \
    X(av_guess_format)                                                                             \
    X(av_interleaved_write_frame)                                                                  \
    X(av_log_set_callback)                                                                         \
    X(av_malloc)                                                                                   \
    X(av_opt_set)                                                                                  \
    X(av_opt_set_double)                                                                           \
    X(av_opt_set_int)                                                                              \
    X(av_packet_alloc)                                                                             \
    X(av_packet_free)                                                                              \
    X(av_packet_rescale_ts)                                                                        \
    X(av_strerror)                                                                                 \
    X(av_write_trailer)                                                                            \
    X(avcodec_alloc_context3)                                                                      \
    X(avcodec_find_encoder_by_name)                                                                \
    X(avcodec_free_context)                                                                        \
    X(avcodec_open2)                                                                               \
    X(avcodec_parameters_from_context)                                                             \
    X(avcodec_receive_packet)                                                                      \
    X(avcodec_send_frame)                                                                          \
    X(avcodec_version)                                                                             \
    X(avformat_alloc_output_context2)                                                              \
    X(avformat_free_context)                                                                       \
    X(avformat_new_stream)                                                                         \
    X(avformat_query_codec)                                                                        \
    X(avformat_version)                                                                            \
    X(avformat_write_header)                                                                       \
    X(avio_alloc_context)                                                                          \
    X(avio_context_free)                                                                           \
    X(avio_flush)                                                                                  \
    X(sws_freeContext)                                                                             \
    X(sws_getContext)                                                                              \
    X(sws_getCoefficients)                                                                         \
    X(sws_scale)                                                                                   \
    X(sws_setColorspaceDetails)                                                                    \
    X(swscale_version)

struct wan_video_late {
#define WAN_VIDEO_LATE_CALL(name) __typeof__(name) *name;
    WAN_VIDEO_LATE(WAN_VIDEO_LATE_CALL)
#undef WAN_VIDEO_LATE_CALL
};

/* Whole once wan_video_late_open has said 0. */
extern struct wan_video_late wan_video_late;

int wan_video_late_open(void) WAN_MUST_CHECK;

#endif
