/* SPDX-License-Identifier: Apache-2.0
 *
 * comm.c - calls of a group over MPI in host memory, beside the same calls of the MPI library:
 *
 *     make bench-dist                  2 ranks of this machine
 *
 * Both are timed in turns, and the best of all turns counts, so that another program's load falls on
 * both.  Prints one row per call and size: microseconds of each, their ratio, GB/s of ours.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/log.h"
#include "lib/dist/group.h"

enum { TURNS = 15 };

static wan_group *world;
static float *x, *y;

/* One call on n float32 in all; 0 ours, 1 MPI's. */
static int reduce(size_t n, int mpi)
{
    if (!mpi)
        return wan_group_all_reduce(world, NULL, x, n, WAN_F32, WAN_SUM);
    return MPI_Allreduce(MPI_IN_PLACE, x, (int)n, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD) ? -1 : 0;
}

static int scatter(size_t n, int mpi)
{
    const size_t part = n / (size_t)world->size;
    if (!mpi)
        return wan_group_reduce_scatter(world, NULL, y, x, part, WAN_F32, WAN_SUM);
    return MPI_Reduce_scatter_block(x, y, (int)part, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD) ? -1 : 0;
}

static int gather(size_t n, int mpi)
{
    const size_t part = n / (size_t)world->size;
    if (!mpi)
        return wan_group_all_gather(world, NULL, y, x, part, WAN_F32);
    return MPI_Allgather(x, (int)part, MPI_FLOAT, y, (int)part, MPI_FLOAT, MPI_COMM_WORLD) ? -1 : 0;
}

/* Seconds of one call, the mean of `times`. */
static double once(int (*call)(size_t, int), size_t n, int mpi, int times)
{
    MPI_Barrier(MPI_COMM_WORLD);
    double began = wan_now();
    for (int i = 0; i < times; i++)
        if (call(n, mpi) < 0)
            return -1;
    return (wan_now() - began) / times;
}

static int row(const char *name, int (*call)(size_t, int), size_t bytes)
{
    const size_t n = bytes / sizeof(float);
    const int times = bytes < 100000 ? 1000 : bytes < 10000000 ? 50 : 2;
    double best[2] = { 1e9, 1e9 };
    for (size_t i = 0; i < n; i++)
        x[i] = y[i] = 0;
    for (int t = 0; t < TURNS; t++)
        for (int mpi = 0; mpi < 2; mpi++) {
            double s = once(call, n, mpi, times);
            if (s < 0)
                return -1;
            best[mpi] = s < best[mpi] ? s : best[mpi];
        }
    if (world->rank == 0)
        printf("| %s | %zu | %.2f | %.2f | %.2f | %.2f |\n", name, bytes, best[0] * 1e6,
               best[1] * 1e6, best[0] / best[1], (double)bytes / best[0] / 1e9);
    fflush(stdout);
    return 0;
}

int main(void)
{
    static const size_t sizes[] = { 1 << 10, 1 << 14, 1 << 17, 1 << 20, 1 << 26 };
    const size_t most = sizes[sizeof sizes / sizeof sizes[0] - 1];
    wan_comm *c;
    wan_log_init("bench", 1);
    if (wan_comm_open(&c, "mpi", 30, 60) < 0)
        wan_die();
    world = wan_group_world(c);
    x = malloc(most);
    y = malloc(most);
    if (!x || !y)
        return 1;
    if (c->rank == 0)
        printf(
            "| call of %d ranks | bytes | ours, us | MPI's, us | ratio | GB/s |\n|---|---:|---:|---:|---:|---:|\n",
            c->size);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (row("all_reduce", reduce, sizes[i]) < 0 ||
            row("reduce_scatter", scatter, sizes[i]) < 0 || row("all_gather", gather, sizes[i]) < 0)
            wan_die();
    wan_comm_close(&c);
    free(x);
    free(y);
    return 0;
}
