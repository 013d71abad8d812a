/* SPDX-License-Identifier: Apache-2.0
 *
 * stash.c - see stash.h.
 */
#include "lib/model/stash.h"

#include <stdlib.h>

#include "lib/base/file.h"

enum { ROOMS = WAN_STASH_ROOMS };

struct wan_stash {
    wan_dev *d;
    char *room, *host;
    wan_stash_plan p;
};

/* Blocks that leave: others take their rooms. */
static int leavers(const wan_stash_plan *p)
{
    return p->blocks > ROOMS ? p->blocks - ROOMS : 0;
}

int64_t wan_stash_bytes(const wan_stash_plan *p)
{
    return leavers(p) * p->bytes;
}

int wan_stash_new(wan_stash **out, wan_dev *d, void *rooms, const wan_stash_plan *p)
{
    wan_stash *s = *out = wan_calloc(1, sizeof *s, "activations in host memory");
    if (!s)
        return -1;
    *s = (wan_stash){ .d = d, .room = rooms, .p = *p };
    s->host = wan_dev_alloc_far(d, (size_t)wan_stash_bytes(p), "activations");
    if (s->host)
        return 0;
    wan_stash_free(out);
    return -1;
}

void wan_stash_free(wan_stash **s)
{
    if (*s)
        wan_dev_free((*s)->d, (*s)->host);
    free(*s);
    *s = NULL;
}

static char *room(const wan_stash *s, int k)
{
    return s->room + k % ROOMS * s->p.bytes;
}

int wan_stash_forward(wan_stash *s, int part)
{
    const int k = s ? part - s->p.first : -1;
    if (k < 0 || k >= s->p.blocks)
        return 0;
    WAN_TRY(wan_dev_meet(s->d, WAN_WORK_AFTER_COPIES));
    if (k < 1 || k - 1 >= leavers(&s->p))
        return 0;
    WAN_TRY(wan_dev_meet(s->d, WAN_COPIES_AFTER_WORK));
    return wan_dev_bring(s->d, s->host + (k - 1) * s->p.bytes, room(s, k - 1), (size_t)s->p.bytes);
}

int wan_stash_backward(wan_stash *s, int part)
{
    const int k = s ? part - s->p.first : -1, next = k - (ROOMS - 1);
    if (k < 0 || k >= s->p.blocks)
        return 0;
    WAN_TRY(wan_dev_meet(s->d, WAN_WORK_AFTER_COPIES));
    if (next < 0 || next >= leavers(&s->p))
        return 0;
    WAN_TRY(wan_dev_meet(s->d, WAN_COPIES_AFTER_WORK));
    WAN_TRY(wan_dev_meet(s->d, WAN_SENDS_AFTER_BRINGS));
    return wan_dev_send(s->d, room(s, next), s->host + next * s->p.bytes, (size_t)s->p.bytes);
}
