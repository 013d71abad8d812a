/* SPDX-License-Identifier: Apache-2.0
 *
 * log.h - everything a person reads while a tool runs; data never goes here.
 *
 * Levels: 0 quiet (-q), 1 normal, 2 verbose (-v), 3 debug (-vv).  Messages go to stderr as
 * "tool: text".  The progress line is drawn (with \r) only when stderr is a terminal, or when
 * --progress forces it; it is wiped before any message.
 */
#ifndef WAN_BASE_LOG_H
#define WAN_BASE_LOG_H

#include "lib/base/err.h"

void wan_log_init(const char *tool, int level);
const char *wan_log_tool(void);
int wan_log_level(void);
void wan_warn(const char *fmt, ...) WAN_PRINTF(1, 2);    /* always, also with -q */
void wan_info(const char *fmt, ...) WAN_PRINTF(1, 2);    /* level >= 1 */
void wan_verbose(const char *fmt, ...) WAN_PRINTF(1, 2); /* level >= 2 */
void wan_debug(const char *fmt, ...) WAN_PRINTF(1, 2);   /* level >= 3 */

/* -1 decide by isatty(stderr), 0 never, 1 always. */
void wan_progress_mode(int mode);
/* Redraws the progress line, at most 10 times a second (done 0), or in any case, because what follows may
 * take long (-1), or because it is the last (1: the line ends). */
void wan_progress(int done, const char *fmt, ...) WAN_PRINTF(2, 3);

/* Monotonic seconds. */
double wan_now(void);

/* cmd/ only: prints "tool: <wan_err_text()>" and exits with status (WAN_EXIT_FAILED). */
void wan_die(void) __attribute__((noreturn));
void wan_die_usage(void) __attribute__((noreturn)); /* same, status 2, and "try --help" */

#endif
