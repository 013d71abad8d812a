/* SPDX-License-Identifier: Apache-2.0
 *
 * stat_svg.h - the table of index_stat.h as a picture.
 */
#ifndef WAN_REC_STAT_SVG_H
#define WAN_REC_STAT_SVG_H

#include <stdio.h>

#include "lib/base/err.h"

/* An SVG: a row for each part, with bars for its sizes, lengths and text rows, and mean and deviation of
 * each channel as a point on a line from -3 to 3.  tsv is the whole table, and is changed. */
int wan_stat_svg(FILE *out, char *tsv, const char *title) WAN_MUST_CHECK;

#endif
