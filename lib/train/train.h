/* SPDX-License-Identifier: Apache-2.0
 *
 * train.h - a training run: opened from a configuration, run step by step, reported to the caller.
 *
 *     wan_train *t;
 *     WAN_TRY(wan_train_open(&t, config, comm, &options));      // data, geometry, plan
 *     wan_plan_print(wan_train_plan(t), ...);                   // --plan ends here
 *     WAN_TRY(wan_train_start(t));                              // device, weights, resume
 *     status = wan_train_run(t, report, arg);
 *     wan_train_close(&t);
 */
#ifndef WAN_TRAIN_TRAIN_H
#define WAN_TRAIN_TRAIN_H

#include "lib/dist/comm.h"
#include "lib/dist/traffic.h"
#include "lib/train/config/config.h"
#include "lib/train/plan.h"

typedef struct wan_train_options {
    const char *device; /* wan_dev_open */
    int device_flags;
    wan_dtype compute; /* WAN_F32 or WAN_BF16 */
    int mock;          /* mock data */
    int64_t memory;    /* bytes that a rank may take; 0: what the device has */
    int rehearse;      /* on the device "dry": no data, weights or messages */
} wan_train_options;

/* Where the seconds of a step went, as the host of this rank sees it. */
enum wan_time {
    WAN_TIME_DATA, /* waiting for samples, and bringing them to the device */
    WAN_TIME_FORWARD,
    WAN_TIME_BACKWARD,
    WAN_TIME_OPTIMIZER, /* with the norm */
    WAN_TIME_SAVE,      /* checkpoints, since the step before */
    WAN_TIMES
};

/* One step, the same on every rank. */
typedef struct wan_report {
    int64_t step, steps; /* finished, of the run */
    int64_t position;    /* samples consumed */
    double epoch;
    double loss, loss_unweighted;
    double lr, grad_norm; /* the rate of the update */
    double next_lr;       /* and of the one after it, as Automodel logs it */
    int64_t samples, tokens, micros;
    double padding;        /* part of the micro-batches' capacity without a token */
    double seconds, flops; /* of the step; forward and backward of all ranks */
    int64_t dropped;       /* samples trained without caption */
    int ranks;
    int64_t memory, workspace; /* bytes that this rank has on the device; of them, of its kernels */
    double imbalance;    /* FLOPs of the data parallel rank with the most of them, over the mean */
    double waited;       /* seconds in calls of other ranks, mean over all */
    wan_traffic traffic; /* the calls of this rank */
    double spent[WAN_TIMES];
    char skipped[256];               /* why the step made no update, or "" */
    double bin_loss[WAN_SIGMA_BINS]; /* unweighted, mean over the step's samples in sigma bins */
    int64_t bin_count[WAN_SIGMA_BINS];
    int has_val;
    double val_loss; /* unweighted, after this step */
} wan_report;

typedef struct wan_train wan_train;
/* A negative return ends the run with the recorded sentence. */
typedef int wan_report_fn(void *arg, const wan_report *r);

/* config: finished; borrowed, geometry and the like are filled in.  comm: borrowed. */
int wan_train_open(wan_train **out, wan_config *c, wan_comm *comm, const wan_train_options *o)
    WAN_MUST_CHECK;
const wan_plan *wan_train_plan(const wan_train *t);
/* -1 when the plan does not fit into the memory allowed, or of this machine (device cpu). */
int wan_train_fits(const wan_train *t) WAN_MUST_CHECK;
int wan_train_start(wan_train *t) WAN_MUST_CHECK;
/* The device, after wan_train_start; the run's. */
wan_dev *wan_train_device(wan_train *t);
/* Finished steps. */
int64_t wan_train_step(const wan_train *t);
int64_t wan_train_position(const wan_train *t); /* samples consumed in them */
int64_t wan_train_epoch(const wan_train *t);    /* samples of an epoch, repetitions counted */
/* enum wan_exit: DONE; AGAIN after a signal or train.exit_interval, checkpoint written; or -1. */
int wan_train_run(wan_train *t, wan_report_fn *report, void *arg) WAN_MUST_CHECK;
void wan_train_close(wan_train **t);

#endif
