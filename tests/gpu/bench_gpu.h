/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_gpu.h - the parts of bench_gpu; each prints the rows of a markdown table and returns the
 * program's exit status.
 */
#ifndef WAN_TESTS_BENCH_GPU_H
#define WAN_TESTS_BENCH_GPU_H

#include "kernels/ops.h"

extern wan_dev *dev;
void must(int rc); /* ends the program with the recorded sentence where rc < 0 */

/* layers 0: as many as fit; recompute: none, selective or full (""); eight: products in fp8 */
int bench_step(const char *size, int layers, const char *recompute, int eight);
/* steps 0: 4; graphs: passes are recorded, and done again by one call each */
int bench_sample(const char *size, int steps, int graphs, int eight);
int bench_vae(int encode, int small);

/* bench_count.c: every row of the table of bounds on the device that only counts. */
int bench_count(void);
/* What is counted so far is forgotten; nothing on another device. */
void bench_count_begin(void);
/* One step each, counted; the model's FLOPs.  recompute: enum wan_recompute; eight: products in fp8. */
double bench_count_step(const char *size, int layers, int recompute, int eight);
double bench_count_sample(const char *size, int eight);

#endif
