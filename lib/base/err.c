/* SPDX-License-Identifier: Apache-2.0
 *
 * err.c - one recorded sentence per thread.
 */
#include "lib/base/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ERR_MAX = 2048 };
static _Thread_local char err_text[ERR_MAX];
static _Thread_local int err_system; /* the system has said why */
static _Thread_local int err_memory; /* there was no memory */

/* Whether a sentence of ours says so: words of a file or of a user are arguments. */
static int of_memory(const char *fmt)
{
    return strstr(fmt, "out of memory") != NULL;
}

/* Long sentences keep their beginning, where file and record are named. */
static void err_set(const char *fmt, va_list ap)
{
    char buf[ERR_MAX]; /* an argument may point into err_text */
    vsnprintf(buf, sizeof buf, fmt, ap);
    memcpy(err_text, buf, sizeof buf);
}

int wan_err(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    err_set(fmt, ap);
    va_end(ap);
    err_memory = of_memory(strcmp(fmt, "%s") != 0 ? fmt : err_text); /* "%s": one is said again */
    err_system = 0;
    return -1;
}

int wan_err_errno(const char *fmt, ...)
{
    int e = errno;
    va_list ap;
    va_start(ap, fmt);
    err_set(fmt, ap);
    va_end(ap);
    err_memory = of_memory(fmt);
    size_t n = strlen(err_text);
    snprintf(err_text + n, sizeof err_text - n, ": %s", strerror(e));
    err_system = 1;
    errno = e;
    return -1;
}

int wan_err_prefix(const char *fmt, ...)
{
    char old[ERR_MAX];
    memcpy(old, err_text, sizeof old);
    va_list ap;
    va_start(ap, fmt);
    err_set(fmt, ap);
    va_end(ap);
    size_t n = strlen(err_text);
    snprintf(err_text + n, sizeof err_text - n, ": %s", old);
    return -1;
}

int wan_err_suffix(const char *fmt, ...)
{
    size_t n = strlen(err_text);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err_text + n, sizeof err_text - n, fmt, ap);
    va_end(ap);
    return -1;
}

const char *wan_err_text(void)
{
    return err_text[0] ? err_text : "failed without a recorded reason";
}

void wan_err_clear(void)
{
    err_text[0] = '\0';
    err_system = err_memory = 0;
}

int wan_err_memory(void)
{
    return err_memory;
}

int wan_err_system(void)
{
    return err_system;
}

void wan_bug(const char *file, int line, const char *fmt, ...)
{
    va_list ap;
    fprintf(stderr, "%s:%d: internal error: ", file, line);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    abort();
}
