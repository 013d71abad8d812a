/* SPDX-License-Identifier: Apache-2.0
 *
 * video_late.c - a table of libav's functions: those that the program has already (a test is linked with libav, or a
 * decoder was put before it), else those of the libraries, opened now.
 */
#include "lib/media/video_late.h"

#include <dlfcn.h>

#include "lib/base/dynlib.h"

struct wan_video_late wan_video_late;

#define FILE_OF(lib, major) "lib" lib ".so." AV_STRINGIFY(major)
static const char *const file[] = { FILE_OF("avutil", LIBAVUTIL_VERSION_MAJOR),
                                    FILE_OF("avcodec", LIBAVCODEC_VERSION_MAJOR),
                                    FILE_OF("avformat", LIBAVFORMAT_VERSION_MAJOR),
                                    FILE_OF("swscale", LIBSWSCALE_VERSION_MAJOR) };
enum { FILES = sizeof file / sizeof *file };

int wan_video_late_open(void)
{
    static const char what[] = "videos cannot be read or written";
    static int whole;
    void *so[1 + FILES] = { RTLD_DEFAULT };
    const char *missing = NULL;
    if (whole)
        return 0;
    WAN_TRY(wan_dynlib_system(so + 1, file, FILES, what));
#define LOOK_UP(name)                                                                              \
    if (!wan_video_late.name &&                                                                    \
        !(wan_video_late.name = (__typeof__(name) *)wan_dynlib_find(so, 1 + FILES, #name)))        \
        missing = #name;
    WAN_VIDEO_LATE(LOOK_UP)
    whole = !missing;
    return missing ? wan_err("%s: libav has no %s", what, missing) : 0;
}
