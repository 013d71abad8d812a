/* SPDX-License-Identifier: Apache-2.0
 *
 * sheet.h - a contact sheet: one row of frames for each clip, as one PNG.
 */
#ifndef WAN_MEDIA_SHEET_H
#define WAN_MEDIA_SHEET_H

#include <stdint.h>

#include "lib/base/err.h"

typedef struct wan_sheet wan_sheet;
/* At most `rows` rows of at most `columns` frames, each `tile` pixels high. */
int wan_sheet_open(wan_sheet **out, int rows, int columns, int tile) WAN_MUST_CHECK;
/* A row for frames rgb [frames, height, width, 3]: the first on the left, the last on the right,
 * the others evenly between.  1 shown, 0 there is no row left. */
int wan_sheet_add(wan_sheet *s, const uint8_t *rgb, int64_t frames, int64_t height, int64_t width)
    WAN_MUST_CHECK;
/* -1 also when there is no row.  path "-" is stdout. */
int wan_sheet_write(const wan_sheet *s, const char *path) WAN_MUST_CHECK;
void wan_sheet_close(wan_sheet **s); /* NULL-safe */

#endif
