/* SPDX-License-Identifier: Apache-2.0
 *
 * video_none.c - stands in for the video files of this folder in a build without FFmpeg.
 */
#include "lib/media/video.h"

static int missing(const char *path)
{
    return wan_err("%s: this build has no FFmpeg (libavformat, libavcodec, libswscale): it can "
                   "neither read nor write video",
                   path);
}

int wan_video_read(wan_video *out, const char *path, const wan_video_options *opt)
{
    (void)opt;
    *out = (wan_video){ 0 };
    return missing(path);
}

int wan_video_read_frames(wan_video *out, int64_t *index, int64_t n, const char *path,
                          const wan_video_options *opt)
{
    (void)index;
    (void)n;
    return wan_video_read(out, path, opt);
}

void wan_video_free(wan_video *v)
{
    (void)v;
}

int wan_video_container(const char *path)
{
    (void)path;
    return 0;
}

int wan_video_writer_open(wan_video_writer **out, const char *path, int height, int width,
                          double fps, int crf)
{
    (void)height;
    (void)width;
    (void)fps;
    (void)crf;
    *out = 0;
    return missing(path);
}

int wan_video_writer_frame(wan_video_writer *w, const uint8_t *rgb)
{
    (void)w;
    (void)rgb;
    return missing("video");
}

int wan_video_writer_finish(wan_video_writer **w)
{
    *w = 0;
    return missing("video");
}

void wan_video_writer_discard(wan_video_writer **w)
{
    *w = 0;
}

/* Each video says what is missing. */
int wan_video_load(void)
{
    return 0;
}

int wan_video_filter_load(void)
{
    return missing("video");
}

void wan_video_filter_seal(void) {}

int wan_video_filter_wanted(void)
{
    return 0;
}

const char *wan_video_version(void)
{
    return "no FFmpeg";
}
