/* SPDX-License-Identifier: Apache-2.0
 *
 * seccomp.h - a process gives up all system calls but those of computing, for good (seccomp(2)).
 *
 * What remains: reading, writing and seeking what is open, private memory that is not executable,
 * threads, clocks, and the end.  What is gone: opening files, sockets, other processes, programs,
 * signals to others, descriptors over sockets, shared memory, devices.
 */
#ifndef WAN_BASE_SECCOMP_H
#define WAN_BASE_SECCOMP_H

#include "lib/base/err.h"

/* One thread, no other running.  A forbidden call is not carried out; its number goes to *tried, and
 * the process ends with status WAN_SECCOMP_STATUS, or, where its handler was taken away, by SIGSYS.
 * Only the files that libraries look for by themselves (processors, locale, time zone) are answered
 * "not there".  tried must live as long as the process.  -1: this kernel or machine has no filter. */
int wan_seccomp_seal(volatile int *tried) WAN_MUST_CHECK;

enum { WAN_SECCOMP_STATUS = 131 };

/* What the call of that number does, in words: "open a file". */
const char *wan_seccomp_call(int number);

#endif
