/* SPDX-License-Identifier: Apache-2.0
 *
 * video_log.c - the first error line libav says since wan_video_log_start, from any thread.
 */
#include "lib/media/video_log.h"

#include <libavutil/avutil.h>
#include <libavutil/error.h>
#include <libavutil/log.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char first[200];

static void keep(void *object, int level, const char *fmt, va_list ap)
{
    (void)object;
    if (level > AV_LOG_ERROR)
        return;
    pthread_mutex_lock(&lock);
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
    pthread_mutex_unlock(&lock);
    av_log_set_callback(keep);
}

int wan_video_log_err(const char *path, const char *what, int averror)
{
    char reason[AV_ERROR_MAX_STRING_SIZE], said[sizeof first];
    av_strerror(averror, reason, sizeof reason);
    pthread_mutex_lock(&lock);
    memcpy(said, first, sizeof said);
    pthread_mutex_unlock(&lock);
    if (said[0])
        return wan_err("%s: %s: %s (%s)", path, what, reason, said);
    return wan_err("%s: %s: %s", path, what, reason);
}
