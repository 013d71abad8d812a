/* SPDX-License-Identifier: Apache-2.0
 *
 * dynlib.h - parts of the tools that are opened at run time, so that no tool needs them to start.
 */
#ifndef WAN_BASE_DYNLIB_H
#define WAN_BASE_DYNLIB_H

#include "lib/base/err.h"

enum { WAN_DYNLIB_PATH = 4200 };

/* dlopen of `file` beside the program or in ../lib of it; only of what the variable `env` names
 * where it is set.  The handle stays open for good; path gets the name it was opened by.  NULL with
 * "what: ..." where it is not there (with the hint) or cannot be loaded. */
void *wan_dynlib_open(char path[WAN_DYNLIB_PATH], const char *file, const char *env,
                      const char *what, const char *hint);

/* so[n]: the system's libraries of these names, open for good; -1 with "what: ..." where one cannot be. */
int wan_dynlib_system(void *so[], const char *const file[], int n, const char *what) WAN_MUST_CHECK;
/* The address of the name in the first of them (RTLD_DEFAULT, too) that has it; NULL without a sentence where none has. */
void *wan_dynlib_find(void *const so[], int n, const char *name);

#endif
