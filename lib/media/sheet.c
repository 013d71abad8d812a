/* SPDX-License-Identifier: Apache-2.0
 *
 * sheet.c - rows of frames, scaled as they come, put below each other at the end.  Needs no libav.
 */
#include "lib/media/sheet.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/media/video.h"

enum { GAP = 2, MAX_SIDE = 65536, MAX_TILE = 16384 };

typedef struct strip {
    uint8_t *rgb; /* [tile, width, 3] */
    int width;
} strip;

struct wan_sheet {
    strip *row;
    int rows, max_rows, columns, tile;
    int width; /* of the widest row */
};

int wan_sheet_open(wan_sheet **out, int rows, int columns, int tile)
{
    wan_sheet *s = wan_calloc(1, sizeof *s, "contact sheet");
    *out = s;
    if (!s)
        return -1;
    *s = (wan_sheet){ .max_rows = rows, .columns = columns, .tile = tile };
    s->row = wan_calloc((size_t)rows, sizeof *s->row, "contact sheet");
    if (!s->row)
        wan_sheet_close(out);
    return *out ? 0 : -1;
}

/* Frame k of the row to its place; tile [th, tw, 3] is room to work in. */
static int put_tile(strip *row, int k, uint8_t *tile, int th, int tw, const uint8_t *frame, int h,
                    int w)
{
    WAN_TRY(wan_image_scale(tile, th, tw, frame, h, w));
    for (int y = 0; y < th; y++)
        memcpy(row->rgb + ((size_t)y * (size_t)row->width + (size_t)k * (size_t)(tw + GAP)) * 3,
               tile + (size_t)y * (size_t)tw * 3, (size_t)tw * 3);
    return 0;
}

int wan_sheet_add(wan_sheet *s, const uint8_t *rgb, int64_t frames, int64_t height, int64_t width)
{
    if (frames < 1 || height < 1 || width < 1 || height > MAX_SIDE || width > MAX_SIDE)
        return wan_err("%lld frames of %lld x %lld pixels cannot be shown", (long long)frames,
                       (long long)height, (long long)width);
    if (s->rows == s->max_rows)
        return 0;
    strip *row = &s->row[s->rows++];
    int n = (int)(frames < s->columns ? frames : s->columns), th = s->tile;
    double wide = (double)width * th / (double)height + 0.5;
    int tw = wide < 1 ? 1 : wide > MAX_TILE ? MAX_TILE : (int)wide;
    row->width = n * (tw + GAP);
    row->rgb = wan_calloc((size_t)row->width * (size_t)th, 3, "contact sheet");
    uint8_t *tile = wan_malloc((size_t)tw * (size_t)th, 3, "contact sheet");
    int rc = row->rgb && tile ? 0 : -1;
    for (int k = 0; k < n && !rc; k++) {
        int64_t at = n > 1 ? k * (frames - 1) / (n - 1) : 0;
        rc = put_tile(row, k, tile, th, tw, rgb + at * height * width * 3, (int)height, (int)width);
    }
    free(tile);
    if (row->width > s->width)
        s->width = row->width;
    return rc < 0 ? -1 : 1;
}

int wan_sheet_write(const wan_sheet *s, const char *path)
{
    if (!s->rows)
        return wan_err("%s: a contact sheet without rows", path);
    size_t line = (size_t)s->width * 3, band = (size_t)(s->tile + GAP) * line;
    uint8_t *px = wan_calloc((size_t)s->rows, band, "contact sheet");
    if (!px)
        return -1;
    for (int i = 0; i < s->rows; i++) {
        size_t n = (size_t)s->row[i].width * 3;
        for (int y = 0; y < s->tile; y++)
            memcpy(px + (size_t)i * band + (size_t)y * line, s->row[i].rgb + (size_t)y * n, n);
    }
    int rc = wan_png_write(path, px, s->rows * (s->tile + GAP) - GAP, s->width);
    free(px);
    return rc;
}

void wan_sheet_close(wan_sheet **ps)
{
    wan_sheet *s = *ps;
    if (!s)
        return;
    for (int i = 0; i < s->rows; i++)
        free(s->row[i].rgb);
    free(s->row);
    free(s);
    *ps = NULL;
}
