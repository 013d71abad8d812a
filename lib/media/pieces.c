/* SPDX-License-Identifier: Apache-2.0
 *
 * pieces.c - lengths, places and sizes of records.
 */
#include "lib/media/pieces.h"

#include <math.h>
#include <stdlib.h>

int wan_pieces_parse(wan_pieces *p, const char *text)
{
    const char *at = text;
    p->n_lengths = 0;
    for (;;) {
        char *end;
        long long n = strtoll(at, &end, 10);
        if (end == at || n < 1 || n > INT32_MAX || (*end && *end != ','))
            return wan_err("%s: not a list of lengths like 17,33,81", text);
        if (p->n_lengths && n <= p->length[p->n_lengths - 1])
            return wan_err("%s: lengths must ascend", text);
        if (p->n_lengths == WAN_LENGTHS)
            return wan_err("%s: more than %d lengths", text, WAN_LENGTHS);
        if (n % 4 != 1)
            return wan_err("%s: %lld is not 4n+1 frames", text, n);
        p->length[p->n_lengths++] = n;
        if (!*end)
            return 0;
        at = end + 1;
    }
}

int64_t wan_pieces_length(const wan_pieces *p, int64_t n)
{
    int64_t length = 0;
    int whole = p->take != WAN_TAKE_FIRST && p->take != WAN_TAKE_MIDDLE;
    if (n < 1 || n < p->least)
        return 0;
    if (!p->n_lengths)
        return !p->frames || (n < p->frames && !whole) ? n : n < p->frames ? 0 : p->frames;
    for (int i = 0; i < p->n_lengths && p->length[i] <= n; i++)
        length = p->length[i];
    return length;
}

static int64_t step(const wan_pieces *p, int64_t length)
{
    return p->take == WAN_TAKE_EVERY ? length : p->stride ? p->stride : (length + 1) / 2;
}

int64_t wan_pieces_count(const wan_pieces *p, int64_t n, int64_t length)
{
    int64_t left = n - length, count = 1;
    if (p->take == WAN_TAKE_EVERY || p->take == WAN_TAKE_SLIDE)
        count = 1 + left / step(p, length);
    if (p->take == WAN_TAKE_EVEN)
        count = p->most ? p->most : (n + length - 1) / length;
    if (p->most && count > p->most)
        count = p->most;
    return count > left + 1 ? left + 1 : count; /* even: no place twice */
}

int64_t wan_pieces_at(const wan_pieces *p, int64_t n, int64_t length, int64_t i)
{
    int64_t left = n - length, count;
    switch (p->take) {
    case WAN_TAKE_MIDDLE: return left / 2;
    case WAN_TAKE_EVERY:
    case WAN_TAKE_SLIDE: return i * step(p, length);
    case WAN_TAKE_EVEN:
        count = wan_pieces_count(p, n, length);
        return count < 2 ? 0 : (int64_t)((__int128)i * left / (count - 1));
    default: return 0;
    }
}

int wan_pieces_all(const wan_pieces *p)
{
    return p->n_lengths > 0 || (p->take != WAN_TAKE_FIRST && p->take != WAN_TAKE_MIDDLE);
}

/* ---- sizes */

enum { STEP = 16 };

/* As Python rounds: halves to even. */
static int64_t nearest(double x)
{
    return (int64_t)nearbyint(x / STEP) * STEP;
}

/* The size of aspect a:b (width to height); 0: it has none. */
static int size_of(int64_t budget, double r, int *h, int *w)
{
    int64_t y = nearest(floor(sqrt((double)budget / r)));
    int64_t x = nearest(floor((double)y * r));
    while (x > 0 && y > 0 && x * y > budget) {
        if (x > y)
            x -= STEP;
        else
            y -= STEP;
    }
    *h = (int)y;
    *w = (int)x;
    return x >= STEP && y >= STEP && x <= 16384 && y <= 16384;
}

int wan_pieces_size(int64_t max_pixels, int source_h, int source_w, int *h, int *w)
{
    static const int aspects[][2] = { { 1, 2 }, { 9, 16 }, { 2, 3 }, { 3, 4 }, { 4, 5 },
                                      { 1, 1 }, { 5, 4 },  { 4, 3 }, { 3, 2 }, { 16, 10 },
                                      { 5, 3 }, { 16, 9 }, { 2, 1 }, { 21, 9 } };
    double shape = (double)source_w / source_h, best = INFINITY;
    for (size_t i = 0; i < sizeof aspects / sizeof *aspects; i++) {
        int y, x;
        if (!size_of(max_pixels, (double)aspects[i][0] / aspects[i][1], &y, &x))
            continue;
        double off = fabs((double)x / y - shape);
        if (off < best) {
            best = off;
            *h = y;
            *w = x;
        }
    }
    return isfinite(best) ? 0
                          : wan_err("%lld pixels are too few for a picture", (long long)max_pixels);
}

int64_t wan_pieces_tokens(int64_t frames, int h, int w)
{
    return ((frames - 1) / 4 + 1) * (h / 16) * (w / 16);
}
