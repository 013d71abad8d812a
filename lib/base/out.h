/* SPDX-License-Identifier: Apache-2.0
 *
 * out.h - output files that have their final name only when they are whole.
 *
 *     wan_out *o;
 *     WAN_TRY(wan_out_open(&o, path));          // path "-": stdout; else a temp file beside path
 *     WAN_TRY(wan_out_put(o, data, n));         // or fwrite(..., wan_out_file(o))
 *     WAN_TRY(wan_out_finish(&o));              // flush, fsync, read back, rename into place
 *
 * wan_out_discard() (or exit, or a caught signal) removes the temporary file, so that nothing
 * half-written ever keeps a final name.  While it is open no other process can open the same path
 * for writing.  A file written by wan_out_put alone is read back before it gets its name: its size
 * and CRC32C must be those of the data that were put.  Of a link the file is written that it leads to; the
 * file that standard output is, /dev/stdout say, is written as "-" is.
 */
#ifndef WAN_BASE_OUT_H
#define WAN_BASE_OUT_H

#include <stddef.h>
#include <stdio.h>

#include "lib/base/err.h"

typedef struct wan_out wan_out;

/* -1 with errno EWOULDBLOCK: another process is writing it. */
int wan_out_open(wan_out **out, const char *path) WAN_MUST_CHECK;
/* Appends n bytes; not mixed with writing to wan_out_file. */
int wan_out_put(wan_out *o, const void *data, size_t n) WAN_MUST_CHECK;
FILE *wan_out_file(wan_out *o);
const char *wan_out_name(const wan_out *o); /* "<stdout>" or the final path, for messages */
/* Everything put is in the temporary file, whose path is returned, for one who wants to look at it
 * before it is finished; "" when there is none (stdout, a device); NULL: it could not be written. */
const char *wan_out_flushed(wan_out *o);
int wan_out_finish(wan_out **o) WAN_MUST_CHECK; /* sets *o to NULL also on failure */
void wan_out_discard(wan_out **o);              /* NULL-safe */

/* Whether wan_out_open would succeed, without a trace: asked before long work. */
int wan_out_probe(const char *path) WAN_MUST_CHECK;
/* Removes all temporary files; async-signal-safe. */
void wan_out_remove_all(void);

/* Closes standard output; -1: some of what was printed has not arrived. */
int wan_out_close_stdout(void) WAN_MUST_CHECK;

/* Writes bytes to path through open, put and finish. */
int wan_spew(const char *path, const void *data, size_t size) WAN_MUST_CHECK;

#endif
