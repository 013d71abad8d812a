/* SPDX-License-Identifier: Apache-2.0
 *
 * snap.h - copies of a folder at each moment of a program, each state once: TO/0, TO/1, ...; TO/points has a
 * line "LABEL STATE" for each moment.
 */
#ifndef WAN_TESTS_SNAP_H
#define WAN_TESTS_SNAP_H

#include <stddef.h>
#include <stdint.h>

/* -1: errno says why, here and below. */
int snap_begin(const char *from, const char *to);
int snap_take(const char *label);
/* The folder with these bytes at that place of a file in it; one that is gone: as snap_take. */
int snap_written(const char *label, const char *file, const void *data, size_t n, int64_t at);
int snap_end(void);

#endif
