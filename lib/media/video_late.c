/* SPDX-License-Identifier: Apache-2.0
 *
 * video_late.c - a table of libav's functions, from the program where it is linked with them, else opened.
 */
#include "lib/media/video_late.h"

#include "lib/base/dynlib.h"

#define WEAK(name) extern __typeof__(name) name __attribute__((weak));
WAN_VIDEO_LATE(WEAK)

#define LINKED(name) .name = name,
struct wan_video_late wan_video_late = { WAN_VIDEO_LATE(LINKED) };

#define FILE_OF(lib, major) "lib" lib ".so." AV_STRINGIFY(major)
static const char *const file[] = { FILE_OF("avutil", LIBAVUTIL_VERSION_MAJOR),
                                    FILE_OF("avcodec", LIBAVCODEC_VERSION_MAJOR),
                                    FILE_OF("avformat", LIBAVFORMAT_VERSION_MAJOR),
                                    FILE_OF("swscale", LIBSWSCALE_VERSION_MAJOR) };
enum { FILES = sizeof file / sizeof *file };

int wan_video_late_open(void)
{
    static int whole;
    void *so[FILES];
    const char *missing = NULL;
#define LACKS(name) whole &= wan_video_late.name != NULL;
    if (whole)
        return 0;
    whole = 1;
    WAN_VIDEO_LATE(LACKS)
    if (whole)
        return 0;
    WAN_TRY(wan_dynlib_system(so, file, FILES, "videos cannot be written"));
#define LOOK_UP(name)                                                                              \
    if (!(wan_video_late.name = (__typeof__(name) *)wan_dynlib_find(so, FILES, #name)))            \
        missing = #name;
    WAN_VIDEO_LATE(LOOK_UP)
    whole = !missing;
    return missing ? wan_err("videos cannot be written: libav has no %s", missing) : 0;
}
