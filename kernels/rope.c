/* SPDX-License-Identifier: Apache-2.0
 *
 * rope.c - see rope.h.
 */
#include "kernels/rope.h"

void wan_rope_table(wan_real *table, int64_t P, const int axis[3], double theta)
{
    for (int64_t p = 0; p < P; p++)
        for (int a = 0; a < 3; a++)
            for (int j = 0; j < axis[a] / 2; j++) {
                double angle = (double)p * pow(theta, -2.0 * j / axis[a]);
                *table++ = (wan_real)cos(angle);
                *table++ = (wan_real)sin(angle);
            }
}

void wan_rope_positions(int32_t *pos, const int64_t grid[3], int64_t first, int64_t n)
{
    int64_t h = grid[1], w = grid[2];
    for (int64_t s = first; s < first + n; s++) {
        *pos++ = (int32_t)(s / (h * w));
        *pos++ = (int32_t)(s / w % h);
        *pos++ = (int32_t)(s % w);
    }
}
