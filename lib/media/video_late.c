/* SPDX-License-Identifier: Apache-2.0
 *
 * video_late.c - a table of libav's functions, from the program where it is linked with them, else opened.
 */
#include "lib/media/video_late.h"

#include <dlfcn.h>

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

static void *look_up(void *const so[FILES], const char *name)
{
    void *p = NULL;
    for (int i = 0; i < FILES && !p; i++)
        p = dlsym(so[i], name);
    return p;
}

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
    for (int i = 0; i < FILES; i++) {
        so[i] = dlopen(file[i], RTLD_LAZY | RTLD_LOCAL);
        if (!so[i])
            return wan_err("videos cannot be written: %s", dlerror());
    }
#define LOOK_UP(name)                                                                              \
    if (!(wan_video_late.name = (__typeof__(name) *)look_up(so, #name)))                           \
        missing = #name;
    WAN_VIDEO_LATE(LOOK_UP)
    whole = !missing;
    return missing ? wan_err("videos cannot be written: libav has no %s", missing) : 0;
}
