/* SPDX-License-Identifier: Apache-2.0
 *
 * bench.h - timing for the benchmarks: the best of several runs, because other programs on the
 * machine can only make a run slower; and what the machine could do at most.
 */
#ifndef WAN_BENCH_H
#define WAN_BENCH_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/cpu.h"
#include "kernels/ops.h"
#include "kernels/rows.h"

typedef int bench_fn(void *arg);

typedef struct bench_peaks {
    double f32, bf16; /* GFLOP/s of all threads: fp32 FMA; bf16 by AMX, AVX512-BF16 or widened */
    double triad;     /* GB/s from memory: a = b + s c or a = a + s b, 12 bytes an element */
} bench_peaks;

static void bench_must(int rc)
{
    if (rc < 0) {
        fprintf(stderr, "bench: %s\n", wan_err_text());
        exit(1);
    }
}

/* Seconds on the wall; with WAN_BENCH_CLOCK=cpu (and OMP_NUM_THREADS=1) seconds this thread really
 * had, which tells something even when other programs keep every core busy. */
static double bench_now(void)
{
    static int cpu = -1;
    struct timespec t;
    if (cpu < 0)
        cpu = getenv("WAN_BENCH_CLOCK") && strcmp(getenv("WAN_BENCH_CLOCK"), "cpu") == 0;
    clock_gettime(cpu ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds of the fastest of at least 3 and at most 200 runs within about `budget` seconds. */
__attribute__((unused)) static double bench_best(bench_fn *f, void *arg, double budget)
{
    double best = 1e30, start = bench_now();
    bench_must(f(arg)); /* caches, page faults, primitives */
    for (int i = 0; i < 200 && (i < 3 || bench_now() - start < budget); i++) {
        double t = bench_now();
        bench_must(f(arg));
        t = bench_now() - t;
        best = t < best ? t : best;
    }
    return best;
}

#endif
