/* SPDX-License-Identifier: Apache-2.0
 *
 * err.h - the error idiom of the whole library.
 *
 * A fallible function returns 0 on success and -1 (or NULL) on failure, and has then recorded
 * one sentence that names the file, the record and the reason.  Nothing below cmd/ prints or
 * exits; cmd/ prints the sentence once:
 *
 *     if (wan_record_next(r, &rec) < 0)
 *         return wan_err("record %" PRIu64 ": bad checksum", n);      // library: build it here
 *     ...
 *     wan_die();                                                       // tool: print it, exit 1
 *
 * The sentence is per thread.  A caller may add context in front with wan_err_prefix().
 */
#ifndef WAN_BASE_ERR_H
#define WAN_BASE_ERR_H

#include <stdarg.h>

#define WAN_MUST_CHECK __attribute__((warn_unused_result))
#define WAN_PRINTF(a, b) __attribute__((format(printf, a, b)))

/* Exit statuses, the same for every tool. */
enum wan_exit {
    WAN_EXIT_DONE = 0,   /* done */
    WAN_EXIT_FAILED = 1, /* I/O, data or device failed */
    WAN_EXIT_USAGE = 2,  /* bad command line or configuration */
    WAN_EXIT_AGAIN = 75, /* checkpoint written, run me again */
};

/* Records a sentence, replacing the one before.  Always returns -1, so `return wan_err(...)`. */
int wan_err(const char *fmt, ...) WAN_PRINTF(1, 2);
/* As wan_err, with ": " and strerror(errno) at the end. */
int wan_err_errno(const char *fmt, ...) WAN_PRINTF(1, 2);
/* Puts "text: " in front of the recorded sentence.  Always returns -1. */
int wan_err_prefix(const char *fmt, ...) WAN_PRINTF(1, 2);
/* Puts text behind it. */
int wan_err_suffix(const char *fmt, ...) WAN_PRINTF(1, 2);
/* The recorded sentence, never NULL; valid until the next wan_err* of this thread. */
const char *wan_err_text(void);
void wan_err_clear(void);
/* Whether it says that memory was lacking: then nothing is known about the data. */
int wan_err_memory(void);
/* Whether it ends with what the system said (wan_err_errno). */
int wan_err_system(void);

/* Return -1 / jump to fail when expr < 0: the error has been recorded by the callee. */
#define WAN_TRY(expr)                                                                              \
    do {                                                                                           \
        if ((expr) < 0)                                                                            \
            return -1;                                                                             \
    } while (0)
#define WAN_GOTO(expr, label)                                                                      \
    do {                                                                                           \
        if ((expr) < 0)                                                                            \
            goto label;                                                                            \
    } while (0)

/* An inconsistency inside the program (never caused by input): says where, aborts. */
#define WAN_BUG(...) wan_bug(__FILE__, __LINE__, __VA_ARGS__)
void wan_bug(const char *file, int line, const char *fmt, ...) WAN_PRINTF(3, 4)
    __attribute__((noreturn));

#endif
