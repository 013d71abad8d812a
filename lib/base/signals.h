/* SPDX-License-Identifier: Apache-2.0
 *
 * signals.h - what signals do to a tool.
 */
#ifndef WAN_BASE_SIGNALS_H
#define WAN_BASE_SIGNALS_H

/* Installs the filters' signal rules: SIGPIPE, SIGINT, SIGTERM, SIGQUIT, SIGXCPU and SIGHUP remove temporary files and
 * die by the signal; SIGABRT, which a library raises where it gets no memory, and SIGBUS, which comes of a mapped file
 * that has become shorter, remove them, say one sentence and end with 1.  SIGINT, SIGQUIT and SIGHUP stay ignored
 * where they were (nohup, a script's background).  Call once at the start of main. */
void wan_signals_filter(void);
/* Trainer: SIGPIPE ignored; SIGINT/SIGTERM/SIGUSR1 set a flag that wan_signals_stop() returns; a
 * second SIGINT kills, none does where it was ignored; SIGABRT and SIGBUS as above. */
void wan_signals_trainer(void);
int wan_signals_stop(void);

#endif
