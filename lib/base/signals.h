/* SPDX-License-Identifier: Apache-2.0
 *
 * signals.h - what signals do to a tool.
 */
#ifndef WAN_BASE_SIGNALS_H
#define WAN_BASE_SIGNALS_H

/* Installs the filters' signal rules: SIGPIPE, SIGINT, SIGTERM and SIGHUP remove temporary files
 * and die by the signal, SIGHUP not where it was ignored (nohup); SIGABRT, which a library raises where it gets no memory, and SIGBUS, which
 * comes of a mapped file that has become shorter, remove them, say one sentence and end with 1.  Call once at the start of main. */
void wan_signals_filter(void);
/* Trainer: SIGPIPE ignored; SIGINT/SIGTERM/SIGUSR1 set a flag that wan_signals_stop() returns; a
 * second SIGINT kills; SIGABRT and SIGBUS as above. */
void wan_signals_trainer(void);
int wan_signals_stop(void);

#endif
