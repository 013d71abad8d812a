/* SPDX-License-Identifier: Apache-2.0
 *
 * video_edits.c - the speeds in an mp4's edit list, which libav passes over without a word (ISO/IEC 14496-12: boxes of a
 * length, a name and data; moov > trak > edts > elst, and tkhd has the number of the track).
 */
#include <string.h>
#include <unistd.h>

#include "lib/media/video_internal.h"

enum { MAX_BOXES = 10000, MAX_EDITS = 1000 };

typedef struct box {
    int file;
    int64_t at, end; /* of its data */
} box;

static uint64_t big(const uint8_t *p, int n)
{
    uint64_t v = 0;
    while (n--)
        v = v << 8 | *p++;
    return v;
}

static int get(const box *b, int64_t at, void *buf, size_t n)
{
    return at >= b->at && at <= b->end && (int64_t)n <= b->end - at &&
           pread(b->file, buf, n, at) == (ssize_t)n;
}

/* The next box of this name in b from *from on, which then is behind it. */
static int next(box *out, const box *b, int64_t *from, const char *name)
{
    uint8_t h[16];
    for (int i = 0; i < MAX_BOXES && get(b, *from, h, 8); i++) {
        uint64_t n = big(h, 4), head = 8, left = (uint64_t)(b->end - *from);
        if (n == 1 && get(b, *from, h, 16)) {
            n = big(h + 8, 8);
            head = 16;
        }
        if (n == 0 || n > left) /* to the end */
            n = left;
        if (n < head)
            return 0;
        *out = (box){ b->file, *from + (int64_t)head, *from + (int64_t)n };
        *from += (int64_t)n;
        if (!memcmp(h + 4, name, 4))
            return 1;
    }
    return 0;
}

static int first(box *out, const box *b, const char *name)
{
    int64_t from = b->at;
    return next(out, b, &from, name);
}

static int is_track(const box *trak, int id)
{
    box tkhd;
    uint8_t h[24];
    return first(&tkhd, trak, "tkhd") && get(&tkhd, tkhd.at, h, sizeof h) &&
           big(h + (h[0] ? 20 : 12), 4) == (uint64_t)id;
}

/* Edits at another speed than 1; those that show nothing have none. */
static int odd_edits(const box *elst)
{
    uint8_t h[20];
    if (!get(elst, elst->at, h, 8))
        return 0;
    int each = h[0] ? 20 : 12, word = h[0] ? 8 : 4, odd = 0;
    uint64_t n = big(h + 4, 4);
    for (uint64_t i = 0; i < n && i < MAX_EDITS; i++) {
        if (!get(elst, elst->at + 8 + (int64_t)i * each, h, (size_t)each))
            break;
        odd += !(h[word] & 0x80) && big(h + 2 * word, 4) != 0x10000;
    }
    return odd;
}

int wan_video_edits(int file, int64_t size, int track)
{
    const box all = { file, 0, size };
    box moov, trak, edts, elst;
    if (!first(&moov, &all, "moov"))
        return 0;
    for (int64_t from = moov.at; next(&trak, &moov, &from, "trak");)
        if (is_track(&trak, track))
            return first(&edts, &trak, "edts") && first(&elst, &edts, "elst") ? odd_edits(&elst)
                                                                              : 0;
    return 0;
}
