/* SPDX-License-Identifier: Apache-2.0
 * Rows and columns of a matrix: provider against reference, and the reference against its definition. */
#include "tests/kernels/compare.h"

/* w columns from column c of x [R, ldx]; flip: written to the transpose. */
static void pick(int64_t n, int64_t w, int64_t ldx, int64_t c, int64_t ldy, int flip, int mapped,
                 wan_dtype t)
{
    int64_t R = n + 3, rows = flip ? w : n;
    int32_t *map = malloc((size_t)(n + 1) * sizeof *map);
    for (int64_t i = 0; i < n; i++)
        map[i] = (int32_t)((7 * i + 2) % R);
    vec *x = vec_new(t, (size_t)(R * ldx), 0, 1), *y = vec_new(t, (size_t)(rows * ldy), 7, 1);
    vec *ids = vec_of(WAN_I32, (size_t)n, map);
    int intact = 1;
    float *before = vec_read(y, 0, &intact), *from = vec_read(x, 0, &intact);
    CMP_BOTH(pick(d, (wan_view){ y->b[i], flip ? 1 : ldy, flip ? ldy : 1 },
                  (wan_view){ wan_buf_at(x->b[i], c), ldx, 1 },
                  mapped ? (const int32_t *)ids->b[i].p : NULL, n, w));
    vec_ok(y, 0, "pick n=%lld w=%lld flip %d map %d %s", (long long)n, (long long)w, flip, mapped,
           CMP_NAME(t));
    float *after = vec_read(y, 0, &intact);
    int64_t wrong = 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < w; j++) {
            int64_t to = flip ? j * ldy + i : i * ldy + j;
            wrong += after[to] != from[(mapped ? map[i] : i) * ldx + c + j];
            before[to] = after[to];
        }
    ok(!wrong && !memcmp(before, after, (size_t)(rows * ldy) * sizeof *after),
       "  what is asked for, and nothing else");
    free(map);
    free(before);
    free(from);
    free(after);
    cmp_reset();
}

int main(void)
{
    if (!cmp_open("pick"))
        return tap_done();
    for (int k = 0; k < 2; k++)
        for (int mapped = 0; mapped < 2; mapped++) {
            wan_dtype t = cmp_types[k];
            pick(1, 1, 1, 0, 1, 0, mapped, t);
            pick(5, 3, 9, 2, 4, 0, mapped, t);
            pick(65, 128, 384, 128, 128, 0, mapped, t);
            pick(33, 64, 200, 8, 72, 0, mapped, t);
            pick(300, 120, 384, 12, 120, 0, mapped, t);
            pick(17, 5, 5, 0, 19, 1, mapped, t);
        }
    return cmp_done();
}
