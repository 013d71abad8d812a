/* SPDX-License-Identifier: Apache-2.0
 *
 * pp.h - pipeline parallel: the parts of the model on several ranks, micro-batches one after the other
 * through them.
 *
 *     rank 0 [parts 0..a)   rank 1 [a..b)   rank 2 [b..end)
 *        |---- rows that later parts read --->|
 *        |<--- sums of their gradients -------|
 *
 * All ranks of a pipeline read the same packs, so each knows the shapes of what comes.  The model says
 * what crosses a border (wan_model.border); what the first part makes for all of them travels along,
 * and its gradient comes back as one sum.  Every border has a group of its own for each direction, in
 * which micro-batches follow each other by number: nothing can be taken for something else.
 */
#ifndef WAN_TRAIN_PP_H
#define WAN_TRAIN_PP_H

#include "lib/dist/group.h"
#include "lib/train/parallel/pp_split.h"

typedef struct wan_pp wan_pp;

/* The micro-batches of this pipeline in one step. */
typedef struct wan_pp_job {
    int64_t micros;
    /* At least as many: those after the last are of nothing, so that pipelines which share the weights make
     * their calls in one order.  Neither loaded nor sent, but run forward and backward. */
    int64_t rounds;
    int train;
    /* Fills a seat (those of wan_pp_split_ranges, range by range); runs the parts it is for, forward; the
     * second half of wan_model_backward. */
    void *arg;
    int (*load)(void *arg, int64_t micro, int seat);
    int (*forward)(void *arg, int64_t micro, int seat);
    int (*backward)(void *arg, int64_t micro, int seat);
    wan_acts *(*acts)(void *arg, int seat);
} wan_pp_job;

/* g: the ranks of one pipeline; w: the memory of d; room for the sums of micro-batches of the capacity cap
 * on their way back.  s, g, w and d are borrowed.  Collective over g. */
int wan_pp_open(wan_pp **out, const wan_pp_split *s, wan_group *g, const wan_where *w, wan_dev *d,
                const wan_arch *arch, const wan_capacity *cap) WAN_MUST_CHECK;
/* Bytes of device memory that it takes on a rank. */
int64_t wan_pp_bytes(const wan_pp_split *s, int rank, const wan_arch *arch,
                     const wan_capacity *cap);
void wan_pp_free(wan_pp **p); /* NULL-safe */
/* Runs them all.  A pipeline of one rank runs them one after the other. */
int wan_pp_run(wan_pp *p, const wan_pp_job *j) WAN_MUST_CHECK;

#endif
