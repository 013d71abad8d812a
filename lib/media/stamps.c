/* SPDX-License-Identifier: Apache-2.0
 *
 * stamps.c - time stamps that never fall.
 *
 * A stamp is judged beside the one before it and the raw one after it: when the next frame is earlier
 * but still behind the last good one, it is this stamp that is wild.
 */
#include "lib/media/stamps.h"

#include <stdio.h>

/* Held at the ends of the range. */
static int64_t sum(int64_t a, int64_t b)
{
    int64_t c;
    return !__builtin_add_overflow(a, b, &c) ? c : b < 0 ? INT64_MIN + 1 : INT64_MAX;
}

static void complain(wan_stamps *s, int64_t frame, const char *what, double at)
{
    if (!s->wild++)
        snprintf(s->first_wild, sizeof s->first_wild, "frame %lld %s %.6g s", (long long)frame,
                 what, at);
}

static double seconds(const wan_stamps *s, int64_t from, int64_t to)
{
    return ((double)to - (double)from) * s->tick;
}

/* The stamp of a frame of raw stamp t, when `next` follows (either may be unknown). */
static int64_t judge(wan_stamps *s, int64_t t, int64_t next)
{
    int64_t step = s->duration > 0 ? s->duration : 1;
    if (t == WAN_STAMP_NONE)
        return s->frames ? sum(s->last, step) : next != WAN_STAMP_NONE ? next : 0;
    int early = next != WAN_STAMP_NONE && next < t && (!s->frames || next > s->last);
    if (early || (s->frames && t < s->last)) {
        complain(s, s->frames + 1, "is out of order at",
                 seconds(s, s->frames ? s->first : next, t));
        int64_t made = s->frames ? sum(s->last, step) : next;
        return early && made > next ? next : made;
    }
    if (!s->frames)
        return t;
    s->repeated += t == s->last;
    if (s->max_gap > 0 && seconds(s, s->last, t) > s->max_gap)
        complain(s, s->frames + 1, "comes after a gap of", seconds(s, s->last, t));
    return t;
}

int64_t wan_stamps_next(wan_stamps *s, int64_t raw, int64_t next, int64_t duration)
{
    int64_t t = judge(s, raw, next);
    if (!s->frames)
        s->first = t;
    s->duration = duration > 0 ? duration : s->frames ? sum(t, -s->last) : 0;
    s->last = t;
    s->frames++;
    return t;
}

void wan_stamps_end(wan_stamps *s)
{
    double length = seconds(s, 0, s->duration);
    if (s->frames > 1 && s->last == s->first)
        complain(s, s->frames, "and all before it stand at", 0);
    else if (s->max_gap > 0 && length > s->max_gap)
        complain(s, s->frames, "lasts", length);
}

double wan_stamps_fps(const wan_stamps *s)
{
    double span = seconds(s, s->first, s->last);
    return s->frames > 1 && span > 0 ? (double)(s->frames - 1) / span : 0;
}
