/* SPDX-License-Identifier: Apache-2.0
 *
 * plan.h - what a run will take, known before it starts: tokens, bytes per rank by class, FLOPs.
 */
#ifndef WAN_TRAIN_PLAN_H
#define WAN_TRAIN_PLAN_H

#include <stdio.h>

#include "kernels/space.h"
#include "lib/model/model.h"
#include "lib/train/parallel/ranks.h"
#include "lib/train/data/data.h"

typedef struct wan_plan {
    wan_arch arch;
    wan_capacity cap;
    int64_t parameters;
    wan_store_bytes store; /* weights, gradients */
    wan_acts_bytes acts;   /* kept for the backward; work space */
    int64_t modes[3];      /* what is kept under each enum wan_recompute, in all blocks */
    int64_t modules[3];    /* of what selective does again, each bit of enum wan_redo */
    int vectors;           /* of the optimizer: moments, an average */
    int64_t optimizer,
        rows; /* moments; latents, noise and text of a micro-batch, scratch of the ops */
    int64_t
        kernels; /* of rows: what kernels take inside an op, of a CPU or as wan_plan_cuda says */
    int64_t libraries; /* of rows: what cuBLASLt and copies have beside that */
    int64_t aside;     /* ... and operands in eight bits (wan_plan_eight) */
    int eight;         /* they are part of rows */
    int64_t
        rounded; /* ... and weights in eight bits that a GPU keeps through a step (wan_plan_keeps) */
    int keeps;   /* they are, too */
    int64_t graphs;   /* ... and recordings (wan_plan_graphs); 0: none */
    wan_space space;  /* what kernels on a GPU depend on */
    int64_t total;    /* on the device */
    int64_t far;      /* in host memory, which belongs to it (WAN_TRAIN_FAR, wan_capacity.away) */
    int away;         /* the moments are there */
    int64_t saving;   /* host memory while a checkpoint is written or read; 0: none is */
    int64_t snapshot; /* ... and of one that is written behind the steps */
    int64_t samples, batch; /* in the dataset, per step */
    int64_t tokens, micros; /* of the first step, all ranks */
    int64_t longest;        /* tokens of the longest sample */
    double imbalance; /* of the first step: FLOPs of the busiest data parallel rank over the mean */
    int64_t most_micros; /* packs of the data parallel rank that has the most of them */
    int pieces;          /* of a pipeline stage */
    int busiest;         /* which one it is */
    double flops;        /* of the first step, forward and backward */
    int ranks;
    char layout[80]; /* of the mesh */
} wan_plan;

int wan_plan_make(wan_plan *p, const wan_arch *arch, const wan_ranks *ranks, wan_dtype compute,
                  const wan_capacity *cap, enum wan_training training, wan_data *data,
                  const wan_feed *feed, int64_t batch, int64_t position) WAN_MUST_CHECK;
/* The kernels are those of a GPU (kernels/space.h), with these flags of the device: any order of the sums of
 * attention's backward, two passes.  The memory that the CUDA libraries' own code takes is not in it. */
void wan_plan_cuda(wan_plan *p, int device_flags);
/* Counts the average of the weights (ema.h), where one is kept; before wan_plan_saves. */
void wan_plan_average(wan_plan *p);
/* Counts what products in eight bits keep aside; behind wan_plan_cuda. */
void wan_plan_eight(wan_plan *p);
/* Counts weights in eight bits that are kept through a step, once. */
void wan_plan_keeps(wan_plan *p);
/* Counts the recordings of train.graphs on a GPU, at most, once; behind wan_plan_eight. */
void wan_plan_graphs(wan_plan *p, const wan_ranks *ranks);
/* Counts bytes for videos that the run makes (samples.h). */
void wan_plan_videos(wan_plan *p, int64_t bytes);
/* Checkpoints are written; behind the steps. */
void wan_plan_saves(wan_plan *p, int behind);
void wan_plan_print(const wan_plan *p, FILE *f);
/* Its lines about checkpoints, in MiB. */
void wan_plan_print_saving(const wan_plan *p, FILE *f);
/* -1 with a sentence when `share` ranks that use one memory of `bytes` do not fit. */
int wan_plan_fits(const wan_plan *p, int64_t bytes, int share, const char *where) WAN_MUST_CHECK;

#endif
