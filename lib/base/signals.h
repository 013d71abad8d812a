/* SPDX-License-Identifier: Apache-2.0
 *
 * signals.h - what signals do to a tool.
 */
#ifndef WAN_BASE_SIGNALS_H
#define WAN_BASE_SIGNALS_H

/* Installs the filters' signal rules: SIGPIPE, SIGINT, SIGTERM and SIGHUP remove temporary files
 * and die by the signal.  Call once at the start of main. */
void wan_signals_filter(void);
/* Trainer: SIGPIPE ignored; SIGINT/SIGTERM/SIGUSR1 set a flag that wan_signals_stop() returns; a
 * second SIGINT kills. */
void wan_signals_trainer(void);
int wan_signals_stop(void);

#endif
