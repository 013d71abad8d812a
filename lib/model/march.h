/* SPDX-License-Identifier: Apache-2.0
 *
 * march.h - the order in which parts run backward.  Where blocks are recomputed in groups of several (acts.h), those of
 * a group run forward again before the last of them runs backward:
 *
 *     blocks in groups of two, the head last     forward   0 1 2 3 4 5
 *     5, again 3 4, 4 3, again 1 2, 2 1, 0       groups      (1 2)(3 4)
 */
#ifndef WAN_MODEL_MARCH_H
#define WAN_MODEL_MARCH_H

typedef struct wan_march {
    int first, end;   /* parts that run: [first, end) */
    int base, blocks; /* the first block of the first group; behind the last block */
    int group;        /* blocks of one; <= 1: there are none */
    int part, again;  /* what runs now; forward, again */
} wan_march;

/* Parts [first, end) of `parts`, of acts whose parts begin with `base`; stands in front of the first step. */
static inline wan_march wan_march_back(int first, int end, int parts, int base, int group)
{
    return (wan_march){ .first = first,
                        .end = end,
                        .base = base > 1 ? base : 1,
                        .blocks = end < parts ? end : parts - 1,
                        .group = group,
                        .part = end };
}

/* The first block of the group that ends with this part; 0: none does. */
static inline int wan_march_group(const wan_march *m, int part)
{
    const int at = part - m->base;
    const int ends = part == m->blocks - 1 || (at + 1) % (m->group > 1 ? m->group : 1) == 0;
    return m->group > 1 && at >= 0 && part < m->blocks && ends ? part - at % m->group : 0;
}

/* On to the next; 0: it was the last. */
static inline int wan_march_next(wan_march *m)
{
    if (m->again) {
        m->again = !wan_march_group(m, m->part);
        m->part += m->again;
        return 1;
    }
    const int start = wan_march_group(m, m->part - 1);
    m->part--;
    if (m->part < m->first)
        return 0;
    m->again = start != 0;
    m->part = start ? start : m->part;
    return 1;
}

/* The part that runs then; first - 1 behind the last. */
static inline int wan_march_then(const wan_march *m)
{
    wan_march next = *m;
    return wan_march_next(&next) ? next.part : m->first - 1;
}

#endif
