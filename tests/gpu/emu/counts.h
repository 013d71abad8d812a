/* SPDX-License-Identifier: Apache-2.0
 *
 * counts.h - what a program has asked of the emulated device so far; tests read it with dlsym.
 */
#ifndef WAN_EMU_COUNTS_H
#define WAN_EMU_COUNTS_H

#include <stdint.h>

enum emu_count {
    EMU_ALLOCS,    /* of device or pinned memory; frees too */
    EMU_WAITS,     /* the host waits for a stream, or for an event that was recorded */
    EMU_TO_DEVICE, /* copies from host memory, on whatever stream */
    EMU_IN_LINE,   /* of them, those in the stream of the kernels */
    EMU_TO_HOST,
    EMU_LAUNCHES, /* those of graphs too */
    EMU_GRAPHS,   /* times that one was run */
    EMU_CALLS, /* by which the host gave work to streams: kernels, products, copies, clears, graphs, events */
    EMU_NODES,    /* of graphs that can be run now: kernels, products, copies, clears */
    EMU_SEARCHES, /* for algorithms of a product */
    EMU_COUNTS
};

typedef const int64_t *emu_counts_fn(void);

/* What ops move, of a plugin whose kernels say so (emu_trace.cc); with the others the names are not there. */
typedef struct emu_moved {
    double read,
        written; /* bytes of device memory, each as often as it is asked for; what is asked for more than
                           * eight times, a vector that all rows share, once */
    double flops; /* of products */
} emu_moved;
typedef void emu_trace_fn(int on, emu_moved *so_far);

#endif
