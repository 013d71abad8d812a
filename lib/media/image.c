/* SPDX-License-Identifier: Apache-2.0
 *
 * image.c - single pictures: PNG through zlib, and scaling for contact sheets.  Needs no libav.
 */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "lib/base/crc32c.h"
#include "lib/base/file.h"
#include "lib/media/resample.h"
#include "lib/media/video.h"

static void put_be32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

/* One PNG chunk: length, type, data, CRC-32 of type and data. */
static int put_chunk(FILE *f, const char *type, const uint8_t *data, size_t n)
{
    uint8_t head[8], tail[4];
    put_be32(head, (uint32_t)n);
    memcpy(head + 4, type, 4);
    put_be32(tail, wan_crc32(wan_crc32(0, head + 4, 4), data, n));
    return fwrite(head, 1, 8, f) == 8 && fwrite(data, 1, n, f) == n && fwrite(tail, 1, 4, f) == 4
               ? 0
               : -1;
}

static int paeth(int a, int b, int c)
{
    int pa = abs(b - c), pb = abs(a - c), pc = abs(a + b - 2 * c);
    return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
}

/* Rows with filter type 4 (Paeth), which suits photographs. */
static uint8_t *filter_rows(const uint8_t *rgb, size_t h, size_t row)
{
    uint8_t *raw = wan_malloc(h, row + 1, "PNG rows");
    for (size_t y = 0; raw && y < h; y++) {
        const uint8_t *p = rgb + y * row;
        uint8_t *out = raw + y * (row + 1);
        *out++ = 4;
        for (size_t x = 0; x < row; x++) {
            int a = x >= 3 ? p[x - 3] : 0, b = y ? p[x - row] : 0;
            int c = x >= 3 && y ? p[x - row - 3] : 0;
            out[x] = (uint8_t)(p[x] - paeth(a, b, c));
        }
    }
    return raw;
}

static int put_png(FILE *f, const uint8_t *rgb, int height, int width)
{
    uint8_t head[13] = { 0 };
    size_t row = (size_t)width * 3, raw_size = (size_t)height * (row + 1);
    uLongf size = compressBound(raw_size);
    uint8_t *raw = filter_rows(rgb, (size_t)height, row);
    uint8_t *packed = raw ? wan_malloc(size, 1, "PNG data") : NULL;
    int rc = -1;
    if (!packed)
        goto done;
    if (compress2(packed, &size, raw, raw_size, 6) != Z_OK || size > INT32_MAX) {
        wan_err("picture of %d x %d pixels is too large for PNG", height, width);
        goto done;
    }
    put_be32(head, (uint32_t)width);
    put_be32(head + 4, (uint32_t)height);
    head[8] = 8; /* bits */
    head[9] = 2; /* RGB */
    rc = fwrite("\x89PNG\r\n\x1a\n", 1, 8, f) != 8 || put_chunk(f, "IHDR", head, 13) < 0 ||
                 put_chunk(f, "IDAT", packed, size) < 0 || put_chunk(f, "IEND", head, 0) < 0
             ? wan_err_errno("write failed")
             : 0;
done:
    free(raw);
    free(packed);
    return rc;
}

int wan_png_write(const char *path, const uint8_t *rgb, int height, int width)
{
    wan_out *o;
    if (height < 1 || width < 1)
        return wan_err("%s: a picture of %d x %d pixels", path, height, width);
    WAN_TRY(wan_out_open(&o, path));
    if (put_png(wan_out_file(o), rgb, height, width) < 0) {
        wan_err_prefix("%s", wan_out_name(o));
        wan_out_discard(&o);
        return -1;
    }
    return wan_out_finish(&o);
}

int wan_image_scale(uint8_t *dst, int dh, int dw, const uint8_t *src, int sh, int sw)
{
    wan_resample *r;
    WAN_TRY(wan_resample_open(&r, dh, dw, dh < sh ? WAN_TAPS_AREA : WAN_TAPS_LINEAR, sh, sw,
                              dw < sw ? WAN_TAPS_AREA : WAN_TAPS_LINEAR, 3));
    wan_resample_run(r, dst, (ptrdiff_t)dw * 3, src, (ptrdiff_t)sw * 3);
    wan_resample_close(&r);
    return 0;
}
