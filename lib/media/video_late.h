/* SPDX-License-Identifier: Apache-2.0
 *
 * video_late.h - what reading and writing videos calls of libav, opened at run time: the 130 libraries behind it are nine
 * tenths of what a tool takes to start.
 */
#ifndef WAN_MEDIA_VIDEO_LATE_H
#define WAN_MEDIA_VIDEO_LATE_H

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/avstring.h>
#include <libavutil/log.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>

#include "lib/base/err.h"

#define WAN_VIDEO_LATE(X)                                                                          \
    X(av_buffer_create)                                                                            \
    X(av_buffer_unref)                                                                             \
    X(av_color_primaries_name)                                                                     \
    X(av_color_space_name)                                                                         \
    X(av_color_transfer_name)                                                                      \
    X(av_d2q)                                                                                      \
    X(av_dict_free)                                                                                \
    X(av_dict_get)                                                                                 \
    X(av_dict_set)                                                                                 \
    X(av_find_best_stream)                                                                         \
    X(av_find_input_format)                                                                        \
    X(av_frame_alloc)                                                                              \
    X(av_frame_clone)                                                                              \
    X(av_frame_copy_props)                                                                         \
    X(av_frame_free)                                                                               \
    X(av_frame_get_buffer)                                                                         \
    X(av_frame_get_side_data)                                                                      \
    X(av_frame_make_writable)                                                                      \
    X(av_frame_move_ref)                                                                           \
    X(av_frame_unref)                                                                              \
    X(av_free)                                                                                     \
    X(av_freep)                                                                                    \
    X(av_get_pix_fmt_name)                                                                         \
    X(av_guess_format)                                                                             \
    X(av_guess_sample_aspect_ratio)                                                                \
    X(av_interleaved_write_frame)                                                                  \
    X(av_log_set_callback)                                                                         \
    X(av_malloc)                                                                                   \
    X(av_match_list)                                                                               \
    X(av_opt_set)                                                                                  \
    X(av_opt_set_double)                                                                           \
    X(av_opt_set_int)                                                                              \
    X(av_packet_alloc)                                                                             \
    X(av_packet_free)                                                                              \
    X(av_packet_rescale_ts)                                                                        \
    X(av_packet_unref)                                                                             \
    X(av_pix_fmt_desc_get)                                                                         \
    X(av_probe_input_buffer2)                                                                      \
    X(av_read_frame)                                                                               \
    X(av_rescale_q)                                                                                \
    X(av_rescale_q_rnd)                                                                            \
    X(av_seek_frame)                                                                               \
    X(av_strdup)                                                                                   \
    X(av_stream_get_side_data)                                                                     \
    X(av_strerror)                                                                                 \
    X(av_write_trailer)                                                                            \
    X(avcodec_alloc_context3)                                                                      \
    X(avcodec_default_get_buffer2)                                                                 \
    X(avcodec_find_decoder_by_name)                                                                \
    X(avcodec_find_encoder_by_name)                                                                \
    X(avcodec_free_context)                                                                        \
    X(avcodec_open2)                                                                               \
    X(avcodec_parameters_from_context)                                                             \
    X(avcodec_parameters_to_context)                                                               \
    X(avcodec_receive_frame)                                                                       \
    X(avcodec_receive_packet)                                                                      \
    X(avcodec_send_frame)                                                                          \
    X(avcodec_send_packet)                                                                         \
    X(avcodec_version)                                                                             \
    X(avformat_alloc_context)                                                                      \
    X(avformat_alloc_output_context2)                                                              \
    X(avformat_close_input)                                                                        \
    X(avformat_find_stream_info)                                                                   \
    X(avformat_free_context)                                                                       \
    X(avformat_index_get_entries_count)                                                            \
    X(avformat_new_stream)                                                                         \
    X(avformat_open_input)                                                                         \
    X(avformat_query_codec)                                                                        \
    X(avformat_version)                                                                            \
    X(avformat_write_header)                                                                       \
    X(avio_alloc_context)                                                                          \
    X(avio_context_free)                                                                           \
    X(avio_flush)                                                                                  \
    X(avio_size)                                                                                   \
    X(sws_alloc_context)                                                                           \
    X(sws_freeContext)                                                                             \
    X(sws_getCoefficients)                                                                         \
    X(sws_getColorspaceDetails)                                                                    \
    X(sws_getContext)                                                                              \
    X(sws_init_context)                                                                            \
    X(sws_scale)                                                                                   \
    X(sws_scale_frame)                                                                             \
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
