/* SPDX-License-Identifier: Apache-2.0
 *
 * video_tail.c - whether a file goes on to its end, where libav takes the end of the bytes for it: AVI by the lengths
 * of its RIFF chunks, GIF and JPEG by their last marker, Ogg by its last page, MXF and YUV4MPEG2 by what stands behind the
 * last packet.
 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/media/video_internal.h"

typedef struct tail {
    int file;
    int64_t size;
    int64_t at, n; /* the last packet */
} tail;

static int get(const tail *t, int64_t at, void *buf, size_t n)
{
    return at >= 0 && at <= t->size && pread(t->file, buf, n, at) == (ssize_t)n;
}

static int64_t little(const uint8_t *p, int n)
{
    int64_t v = 0;
    while (n--)
        v = v << 8 | p[n];
    return v;
}

/* One chunk, or several behind each other; a length of 0 or of all bits: written where nothing could be filled in later.
 * Some count the chunk's head, too. */
static int avi_cut(const tail *t)
{
    uint8_t h[8];
    for (int64_t at = 0, n; get(t, at, h, 8) && !memcmp(h, "RIFF", 4); at += 8 + n) {
        n = little(h + 4, 4);
        if (n == 0 || n == UINT32_MAX)
            return 0;
        if (n > t->size - at)
            return 1;
        n += n & 1;
    }
    return 0;
}

/* Behind the blocks of data from `at` on, each with its length in front; past the end when they are cut. */
static int64_t behind_blocks(const tail *t, int64_t at)
{
    uint8_t n;
    while (get(t, at, &n, 1)) {
        at += 1 + n;
        if (!n)
            return at;
    }
    return t->size + 1;
}

static int64_t table(int flags)
{
    return flags & 0x80 ? 3 << ((flags & 7) + 1) : 0;
}

static int gif_cut(const tail *t)
{
    uint8_t h[13], d[10];
    if (!get(t, 0, h, 13))
        return 1;
    int64_t at = 13 + table(h[10]);
    while (get(t, at, d, 1) && (d[0] == '!' || d[0] == ',')) {
        if (d[0] == ',' && !get(t, at, d, 10))
            return 1;
        at = behind_blocks(t, d[0] == '!' ? at + 2 : at + 11 + table(d[9]));
    }
    return at >= t->size;
}

static int ogg_cut(const tail *t)
{
    enum { PAGE = 27 + 255 + 255 * 255 };
    uint8_t h[2 * PAGE];
    size_t n = t->size < 2 * PAGE ? (size_t)t->size : 2 * PAGE, from = n < 27 ? 0 : n - 26;
    if (!get(t, t->size - (int64_t)n, h, n))
        return 1;
    while (from--) { /* the last page: its head, the lengths of its parts, these */
        size_t end = from + 27;
        if (memcmp(h + from, "OggS", 5))
            continue;
        end += h[from + 26];
        for (size_t i = from + 27; i < n && i < from + 27 + h[from + 26]; i++)
            end += h[i];
        return end > n;
    }
    return 1;
}

/* Keys of 16 bytes, lengths as BER has them. */
static int mxf_cut(const tail *t)
{
    uint8_t h[25];
    int64_t at = t->at, n;
    for (; get(t, at, h, 17) && !memcmp(h, "\x06\x0e\x2b\x34", 4); at += n) {
        int more = h[16] & 0x80 ? h[16] & 0x7f : 0;
        if (more > 8)
            return 0;
        if (!get(t, at, h, 17 + (size_t)more))
            return 1;
        n = more ? 0 : h[16];
        for (int i = 0; i < more; i++)
            n = (int64_t)((uint64_t)n << 8 | h[17 + i]);
        if (n < 0 || n > t->size - at - 17 - more)
            return 1;
        n += 17 + more;
    }
    return at >= 0 && at < t->size && at > t->size - 17;
}

static int y4m_cut(const tail *t)
{
    return t->at >= 0 && t->at + t->n < t->size;
}

/* The next marker behind the coded data at `at`; -1 the file ends before. */
static int64_t next_marker(const tail *t, int64_t at)
{
    uint8_t b[4096];
    ssize_t n;
    while ((n = pread(t->file, b, sizeof b, at)) > 1) {
        for (ssize_t i = 0; i + 1 < n; i++)
            if (b[i] == 0xff && b[i + 1] && b[i + 1] != 0xff && (b[i + 1] & 0xf8) != 0xd0)
                return at + i;
        at += n - 1; /* a marker may lie across the border */
    }
    return -1;
}

static int jpeg_cut(const tail *t)
{
    uint8_t h[4];
    int64_t at = next_marker(t, 2); /* behind the first, SOI */
    while (at >= 0 && get(t, at, h, 2) && h[1] != 0xd9) {
        if (!get(t, at, h,
                 4)) /* a segment with its length, which is jumped over: it may hold a picture */
            return 1;
        at = next_marker(t, at + 2 + (h[2] << 8 | h[3]));
    }
    return at < 0;
}

int wan_video_tail_cut(int file, const char *container, int64_t at, int64_t n)
{
    static const struct {
        const char *container;
        int (*cut)(const tail *);
    } known[] = { { "avi", avi_cut }, { "gif", gif_cut },          { "ogg", ogg_cut },
                  { "mxf", mxf_cut }, { "yuv4mpegpipe", y4m_cut }, { "jpeg_pipe", jpeg_cut } };
    struct stat st;
    if (fstat(file, &st) < 0 || !S_ISREG(st.st_mode))
        return 0;
    const tail t = { file, st.st_size, at, n };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(container, known[i].container))
            return known[i].cut(&t);
    return 0;
}
