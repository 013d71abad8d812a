/* SPDX-License-Identifier: Apache-2.0
 *
 * log.c - messages and the progress line on stderr.
 */
#include "lib/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const char *log_tool = "wan";
static int log_level = 1;
static int progress_mode = -1;
static int progress_drawn;
static double progress_last;

void wan_log_init(const char *tool, int level)
{
    log_tool = tool;
    log_level = level;
}

const char *wan_log_tool(void)
{
    return log_tool;
}

int wan_log_level(void)
{
    return log_level;
}

double wan_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void progress_wipe(void)
{
    if (progress_drawn)
        fputs("\r\033[K", stderr);
    progress_drawn = 0;
}

/* In one piece, as other threads and processes write there too. */
static void say(const char *fmt, va_list ap)
{
    char text[4096];
    va_list again;
    va_copy(again, ap);
    progress_wipe();
    if (vsnprintf(text, sizeof text, fmt, ap) < (int)sizeof text) {
        for (char *p = text; *p; p++) /* names of files may hold what terminals obey */
            if (((unsigned char)*p < ' ' && *p != '\n' && *p != '\t') || *p == 0x7f)
                *p = '?';
        fprintf(stderr, "%s: %s\n", log_tool, text);
    } else {
        fprintf(stderr, "%s: ", log_tool);
        vfprintf(stderr, fmt, again);
        fputc('\n', stderr);
    }
    va_end(again);
}

#define WAN_SAY(name, level)                                                                       \
    void name(const char *fmt, ...)                                                                \
    {                                                                                              \
        if (log_level < (level))                                                                   \
            return;                                                                                \
        va_list ap;                                                                                \
        va_start(ap, fmt);                                                                         \
        say(fmt, ap);                                                                              \
        va_end(ap);                                                                                \
    }
WAN_SAY(wan_warn, 0)
WAN_SAY(wan_info, 1)
WAN_SAY(wan_verbose, 2)
WAN_SAY(wan_debug, 3)

void wan_progress_mode(int mode)
{
    progress_mode = mode;
}

static int progress_on(void)
{
    if (progress_mode < 0)
        progress_mode = isatty(STDERR_FILENO) ? 1 : 0;
    return progress_mode && log_level >= 1;
}

void wan_progress(int done, const char *fmt, ...)
{
    if (!progress_on())
        return;
    double now = wan_now();
    if (!done && now - progress_last < 0.1)
        return;
    progress_last = now;
    va_list ap;
    va_start(ap, fmt);
    fputs("\r\033[K", stderr);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    progress_drawn = done <= 0;
    if (done > 0)
        fputc('\n', stderr);
    fflush(stderr);
}

void wan_die(void)
{
    wan_warn("%s", wan_err_text());
    exit(WAN_EXIT_FAILED);
}

void wan_die_usage(void)
{
    /* nothing is wrong with what was typed, or stands in a file */
    if (wan_err_memory() || wan_err_system())
        wan_die();
    wan_warn("%s (try %s --help)", wan_err_text(), log_tool);
    exit(WAN_EXIT_USAGE);
}
