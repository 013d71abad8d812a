/* SPDX-License-Identifier: Apache-2.0
 *
 * video_log.c - the errors libav tells since wan_video_log_start, from any thread.
 */
#include "lib/media/video_log.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "lib/media/video.h"
#include "lib/media/video_late.h"

#define lav wan_video_late

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char first[200];
static int64_t from_demuxer, from_decoder; /* errors told */

static int is_demuxer(void *object)
{
    const AVClass *c = object ? *(const AVClass **)object : NULL;
    return c &&
           (c->get_category ? c->get_category(object) : c->category) == AV_CLASS_CATEGORY_DEMUXER;
}

/* Pictures that error concealment made up are told of as information. */
static int is_error(int level, const char *fmt)
{
    return level <= AV_LOG_ERROR ||
           (level <= AV_LOG_INFO && !strncmp(fmt, "concealing ", sizeof "concealing " - 1));
}

static void keep(void *object, int level, const char *fmt, va_list ap)
{
    if (!is_error(level, fmt))
        return;
    pthread_mutex_lock(&lock);
    if (is_demuxer(object))
        from_demuxer++;
    else
        from_decoder++;
    if (!first[0]) {
        vsnprintf(first, sizeof first, fmt, ap);
        first[strcspn(first, "\r\n")] = 0;
    }
    pthread_mutex_unlock(&lock);
}

void wan_video_log_start(void)
{
    pthread_mutex_lock(&lock);
    first[0] = 0;
    from_demuxer = from_decoder = 0;
    pthread_mutex_unlock(&lock);
    lav.av_log_set_callback(keep);
}

void wan_video_log_decoding(void)
{
    pthread_mutex_lock(&lock);
    from_decoder = 0;
    if (!from_demuxer)
        first[0] = 0;
    pthread_mutex_unlock(&lock);
}

int64_t wan_video_log_errors(void)
{
    pthread_mutex_lock(&lock);
    int64_t n = from_demuxer + from_decoder;
    pthread_mutex_unlock(&lock);
    return n;
}

void wan_video_log_first(char *text, size_t room)
{
    pthread_mutex_lock(&lock);
    snprintf(text, room, "%s", first);
    pthread_mutex_unlock(&lock);
}

int wan_video_log_err(const char *path, const char *what, int averror)
{
    char reason[AV_ERROR_MAX_STRING_SIZE], said[sizeof first];
    lav.av_strerror(averror, reason, sizeof reason);
    wan_video_log_first(said, sizeof said);
    if (said[0])
        return wan_err("%s: %s: %s (%s)", path, what, reason, said);
    return wan_err("%s: %s: %s", path, what, reason);
}

static void add(char *s, size_t room, const char *name, unsigned built, unsigned found)
{
    size_t n = strlen(s);
    snprintf(s + n, room - n, "%s%s %u.%u.%u (built with %u.%u.%u)", n ? ", " : "", name,
             AV_VERSION_MAJOR(found), AV_VERSION_MINOR(found), AV_VERSION_MICRO(found),
             AV_VERSION_MAJOR(built), AV_VERSION_MINOR(built), AV_VERSION_MICRO(built));
}

int wan_video_load(void)
{
    return wan_video_late_open();
}

const char *wan_video_version(void)
{
    static char text[256];
    if (wan_video_late_open() < 0)
        return wan_err_text();
    text[0] = 0;
    add(text, sizeof text, "libavformat", LIBAVFORMAT_VERSION_INT, lav.avformat_version());
    add(text, sizeof text, "libavcodec", LIBAVCODEC_VERSION_INT, lav.avcodec_version());
    add(text, sizeof text, "libswscale", LIBSWSCALE_VERSION_INT, lav.swscale_version());
    return text;
}
