/* SPDX-License-Identifier: Apache-2.0
 *
 * video_exif.c - how a PNG or WebP says it is to be turned: libav tells it of JPEG alone.
 *
 * Both are chunks of a length, a name and data; in one of them is an Exif block (CIPA DC-008), a TIFF
 * header and a table of tags, of which 0x112 is the orientation.
 */
#include <string.h>
#include <unistd.h>

#include "lib/media/video_internal.h"

enum { MAX_CHUNKS = 100000, MAX_EXIF = 1 << 16 };

static uint32_t number(const uint8_t *p, int n, int big)
{
    uint32_t v = 0;
    for (int i = 0; i < n; i++)
        v = v << 8 | p[big ? i : n - 1 - i];
    return v;
}

/* The orientation in an Exif block of n bytes; 1 (upright) when it says none. */
static unsigned orientation(const uint8_t *p, size_t n)
{
    if (n >= 6 && !memcmp(p, "Exif\0", 6)) {
        p += 6;
        n -= 6;
    }
    if (n < 8 || (memcmp(p, "II*", 4) && memcmp(p, "MM\0*", 4)))
        return 1;
    int big = p[0] == 'M';
    size_t at = number(p + 4, 4, big);
    if (at > n - 2)
        return 1;
    for (uint32_t left = number(p + at, 2, big); left && at + 14 <= n; left--, at += 12) {
        const uint8_t *tag = p + at + 2;
        if (number(tag, 2, big) == 0x112)
            return number(tag + 2, 2, big) == 3 ? number(tag + 8, 2, big) : 1;
    }
    return 1;
}

/* Its Exif block, of at most MAX_EXIF bytes; how many there are. */
static size_t find(int file, int png, uint8_t *exif)
{
    uint8_t head[8];
    int64_t at = png ? 8 : 12;
    for (int i = 0; i < MAX_CHUNKS && pread(file, head, 8, at) == 8; i++) {
        const uint8_t *name = png ? head + 4 : head;
        int64_t n = number(png ? head : head + 4, 4, png);
        if (!memcmp(name, png ? "eXIf" : "EXIF", 4)) {
            ssize_t got = pread(file, exif, n < MAX_EXIF ? (size_t)n : MAX_EXIF, at + 8);
            return got > 0 ? (size_t)got : 0;
        }
        at += 8 + n + (png ? 4 : n & 1); /* a CRC; an even number of bytes */
    }
    return 0;
}

int wan_video_exif(int file, const char *container)
{
    static const uint8_t turns[9] = { [2] = WAN_TURN_COLS,
                                      [3] = WAN_TURN_ROWS | WAN_TURN_COLS,
                                      [4] = WAN_TURN_ROWS,
                                      [5] = WAN_TURN_ACROSS,
                                      [6] = WAN_TURN_ACROSS | WAN_TURN_ROWS,
                                      [7] = WAN_TURN_ACROSS | WAN_TURN_ROWS | WAN_TURN_COLS,
                                      [8] = WAN_TURN_ACROSS | WAN_TURN_COLS };
    int png = !strcmp(container, "png_pipe") || !strcmp(container, "apng");
    if (!png && strcmp(container, "webp_pipe"))
        return 0;
    uint8_t exif[MAX_EXIF];
    unsigned o = orientation(exif, find(file, png, exif));
    return o < 9 ? turns[o] : 0;
}
