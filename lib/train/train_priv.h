/* SPDX-License-Identifier: Apache-2.0
 *
 * train_priv.h - what train.c (opening), loop.c (stepping), validate.c and debug.c share.
 */
#ifndef WAN_TRAIN_TRAIN_PRIV_H
#define WAN_TRAIN_TRAIN_PRIV_H

#include "lib/train/checkpoint/checkpoint.h"
#include "lib/train/parallel/dp.h"
#include "lib/train/parallel/fsdp.h"
#include "lib/train/parallel/ranks.h"
#include "lib/model/flow.h"
#include "lib/train/ema.h"
#include "lib/train/optim.h"
#include "lib/train/schedule.h"
#include "lib/train/step.h"
#include "lib/train/train.h"

/* A micro-batch of this rank: its number in the batch, its first loss, its samples while they are
 * needed. */
typedef struct wan_train_micro {
    int64_t k, at;
    int here; /* loaded */
    wan_loaded loaded;
} wan_train_micro;

/* The step that has been started last, where its losses are read after the next one has been started too. */
typedef struct wan_train_late {
    int open; /* nobody has read them */
    wan_report r;
    wan_draw *draw; /* [batch] */
    double *factors;
    int64_t *index, own; /* as wan_train.own_index; how many */
    /* Several ranks: device [shares * batch + 3], summed over them: losses of the batch as each of the ranks that
     * share out its tokens has them, how many were asked to stop, how many have written their part of the checkpoint,
     * mean seconds that they waited.  NULL: not so. */
    float *sums;
    int64_t *tokens; /* [batch]: of which each share has its part */
    int stop;        /* some were */
} wan_train_late;

struct wan_train {
    wan_config *c;
    wan_comm *comm;
    int local_ranks; /* on this machine */
    wan_train_options opt;
    wan_ranks ranks;
    wan_arch arch;
    wan_sizes z;
    char *resume;  /* iter_* folder, or NULL */
    int hold;      /* lock of checkpoint.save + 1, on rank 0; 0: none */
    int at_home;   /* resume lies in checkpoint.save */
    char *weights; /* folder with weights to start from, or NULL */
    const wan_objective *objective;
    _Alignas(16) unsigned char settings[WAN_OBJECTIVE_BYTES]; /* of the objective */
    wan_schedule schedule;
    wan_feed *feed, *val_feed;
    wan_data *data, *val;
    float *empty; /* encoded empty prompt [empty_rows, text_dim] */
    int64_t empty_rows;
    wan_plan plan;
    wan_train_state st;
    int64_t saved;           /* step of the last checkpoint written by this run, -1 */
    wan_checkpoint_job *job; /* being written, of step `saving`; NULL: none */
    int64_t saving;
    int written; /* by all ranks */
    int64_t row; /* skipped steps in a row */
    /* on the device */
    wan_dev *dev;
    wan_store *store;
    wan_optim *optim;
    wan_ema *ema;     /* NULL: none is kept */
    int64_t averaged; /* updates before the moments started anew: the average goes on */
    wan_step *step;
    wan_fsdp *fsdp; /* NULL: whole copies */
    wan_dp *dp;     /* sums over copies */
    /* per step */
    wan_draw *draw; /* [batch] */
    /* [batch + 2]: unweighted loss of each sample; how many ranks were asked to stop, and have written
     * their part of the checkpoint */
    double *losses;
    double *factors; /* [batch]: of each loss in the objective */
    wan_train_late late;
    double looked;                 /* when the last step's losses were read; 0: none were */
    float *own;                    /* [batch] */
    wan_step_sample *samples;      /* [cap.samples] */
    int64_t *own_index;            /* [batch]: place in the batch of this rank's k-th loss */
    struct wan_train_micro *micro; /* [batch]: what this rank runs in a step */
    double spent[WAN_TIMES];       /* since the last report */
    struct wan_debug_dump *dump;   /* NULL: none */
    struct wan_samples *videos;    /* NULL: none are made */
    struct wan_ways *ways;         /* tune.h */
};

/* Draws of the batch, whose samples are those of f, as training step `step`; eval: at the fixed noise
 * levels of a validation. */
void wan_train_draw(wan_train *t, const wan_feed *f, const wan_batch *b, uint64_t step, int eval);
/* Forward (and backward) of this rank's micro-batches of b, read from d and f; fills
 * t->losses[0..n) with zeros for the samples of other ranks. */
int wan_train_micros(wan_train *t, wan_data *d, const wan_feed *f, const wan_batch *b,
                     uint64_t step, int train) WAN_MUST_CHECK;
/* Mean unweighted loss over train.eval_iters batches of the val split at fixed sigmas. */
int wan_train_validate(wan_train *t, double *loss) WAN_MUST_CHECK;

/* Makes the outcome of what rank 0 did alone (rc, 0 on the others) that of all ranks. */
int wan_train_settle(wan_train *t, int rc) WAN_MUST_CHECK;
/* Whether the run writes checkpoints. */
int wan_train_saves(const wan_train *t);
/* Whether weights in eight bits are rounded once for all micro-batches of a step; those that are gathered anew for each
 * (FSDP), once for a forward and the backward behind it, which pays where full recompute has one there. */
int wan_train_keeps(const wan_train *t);

typedef struct wan_samples wan_samples; /* samples.h */

/* debug.dump */
typedef struct wan_debug_dump wan_debug_dump;
int wan_debug_open(wan_train *t) WAN_MUST_CHECK;
int wan_debug_micro(wan_train *t, const wan_loaded *p, const int64_t *index) WAN_MUST_CHECK;
int wan_debug_write(wan_train *t, const wan_batch *b, double loss) WAN_MUST_CHECK;
void wan_debug_close(wan_train *t);

#endif
