/* SPDX-License-Identifier: Apache-2.0
 *
 * tile_rate_simd.c - how fast this CPU multiplies: the product kernel on a block that stays in its cache.
 */
#include <stdlib.h>
#include <time.h>

#include "kernels/rows.h"
#include "kernels/tile.h"

enum { M = 96, N = 192, K = 256, AGAIN = 20, TRIALS = 7 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Memory of one thread: C, A, B. */
static size_t bytes_of(const wan_tile *t)
{
    return M * N * sizeof(float) + (size_t)((M * K + K * N) * t->size);
}

static void multiply(const wan_tile *t, char *at)
{
    char *A = at + M * N * sizeof(float), *B = A + M * K * t->size;
    for (int i = 0; i < AGAIN; i++)
        t->mul((float *)(void *)at, N, A, K, B, K * WAN_TILE_N, M, N, K, 1);
}

double wan_tile_rate(wan_dtype type)
{
    wan_tile t = wan_tile_for(type);
    size_t mine = (bytes_of(&t) + 4095) / 4096 * 4096;
    int threads = wan_rows_threads();
    char *p = aligned_alloc(4096, mine * (size_t)threads);
    double best = 0;
    if (!p)
        return 0;
    memset(p, 0, mine * (size_t)threads);
    for (int k = 0; k < TRIALS; k++) {
        double s = now();
#pragma omp parallel
        multiply(&t, p + mine * (size_t)wan_rows_thread());
        s = now() - s;
        double rate = 2.0 * M * N * K * AGAIN * threads / s / 1e9;
        best = rate > best ? rate : best;
    }
    free(p);
    return best;
}
