/* SPDX-License-Identifier: Apache-2.0
 *
 * rope.h - rotary embedding of tokens that lie on a grid of frames, rows and columns.
 *
 * The columns of a head are divided among the three axes, in this order.  Pair j of an axis of w
 * columns turns by the angle p * theta^(-2j/w), p the token's position on that axis (wan-model(7),
 * Rotary embedding).  The table is small and made once; a token brings only its three positions.
 */
#ifndef WAN_KERNELS_ROPE_H
#define WAN_KERNELS_ROPE_H

#include "kernels/real.h"

typedef struct wan_rope {
    const int32_t *pos;    /* [S, 3] device: frame, row, column of each token, all below P */
    const wan_real *table; /* [P, head_dim] device, 8-byte aligned: as wan_rope_table makes it */
    int64_t P;             /* positions in the table */
    int axis[3];           /* columns of a head for each axis: even, 0 or more */
} wan_rope;

/* Columns of a head. */
static inline int wan_rope_width(const int axis[3])
{
    return axis[0] + axis[1] + axis[2];
}

/* 1 when r can be the rotation of rows of D columns; NULL, no rotation, always can. */
static inline int wan_rope_fits(const wan_rope *r, int64_t D)
{
    if (!r)
        return 1;
    int hd = wan_rope_width(r->axis);
    for (int a = 0; a < 3; a++)
        if (r->axis[a] < 0 || r->axis[a] % 2)
            return 0;
    return hd > 0 && D % hd == 0 && r->P > 0 && r->P <= INT32_MAX / hd &&
           (uintptr_t)r->table % 8 == 0;
}

/* table: host [P, head_dim].  Row p has cosine and sine of every pair at position p of its axis;
 * they are computed in double and rounded once. */
void wan_rope_table(wan_real *table, int64_t P, const int axis[3], double theta);

/* pos: host [n, 3]: where tokens first .. first+n-1 of a sample lie, whose tokens go over the grid
 * (frames, rows, columns) with the column fastest. */
void wan_rope_positions(int32_t *pos, const int64_t grid[3], int64_t first, int64_t n);

#endif
