/* SPDX-License-Identifier: Apache-2.0
 *
 * checkpoint.h - writing, finding and loading checkpoints.
 *
 *     DIR/latest_checkpointed_iteration.txt               step of the newest finished checkpoint
 *     DIR/iter_0000010/transformer/                       HuggingFace folder of the weights
 *     DIR/iter_0000010/optimizer/exp_avg.safetensors      moments in fp32 by HuggingFace name,
 *                               exp_avg_sq.safetensors    and master.safetensors, fp32 weights,
 *                               ema.safetensors           when transformer/ is bf16; the average of
 *                                                         the weights, where one is kept (ema.h)
 *     DIR/iter_0000010/{train_state.json, run_config.yaml, manifest.json}
 *
 * Everything is written beside its place, fsynced and renamed; the pointer file follows (rundir.h).  All
 * ranks write, each the elements that it holds (spread.h), and read no more than those.
 * The bytes depend on the run alone: no time, host or absolute path, and not on the number of ranks.
 */
#ifndef WAN_TRAIN_CHECKPOINT_H
#define WAN_TRAIN_CHECKPOINT_H

#include "lib/model/model.h"
#include "lib/train/config/config.h"
#include "lib/train/parallel/ranks.h"

typedef struct wan_train_state {
    int64_t step;     /* finished steps, skipped ones included */
    int64_t updates;  /* optimizer updates */
    int64_t position; /* samples consumed: where the data go on (data.h) */
    int64_t skipped;  /* steps without an update */
    int64_t seed;
    int64_t samples; /* in the dataset */
    char digest[65]; /* of the dataset */
    char products
        [16]; /* how bf16 operands are multiplied (cpu.h); "": none are, or not on the CPU */
} wan_train_state;

/* A vector laid out as the store's, kept beside it: "exp_avg". */
typedef struct wan_checkpoint_vector {
    const char *name;
    wan_real *x; /* device [store->total] */
} wan_checkpoint_vector;

/* A checkpoint being written. */
typedef struct wan_checkpoint_job wan_checkpoint_job;

/* Writes the checkpoint of st->step, every rank what it holds, in two calls that are collective over the
 * world; -1 on all ranks where one has failed, and nothing is left of it then.  v: what stands beside the
 * weights, up to a name NULL.  behind: returns with a copy of all in host memory, which a thread writes;
 * masters and vectors may change meanwhile, the other arguments stay. */
int wan_checkpoint_begin(wan_checkpoint_job **out, const char *dir, const wan_train_state *st,
                         const wan_arch *arch, wan_ranks *r, const wan_store *s,
                         const wan_checkpoint_vector *v, const wan_config *c, int behind)
    WAN_MUST_CHECK;
/* Whether this rank has written its part: _end does not wait for it then. */
int wan_checkpoint_written(const wan_checkpoint_job *j);
/* The checkpoint gets its name; those older than the `keep` newest (0: none) are removed. */
int wan_checkpoint_end(wan_checkpoint_job **j) WAN_MUST_CHECK;
/* Of a run that has failed; not collective. */
void wan_checkpoint_abandon(wan_checkpoint_job **j);
/* Whether a checkpoint has the vector of that name; the vector, to v->x. */
int wan_checkpoint_has(const char *path, const char *name);
int wan_checkpoint_load_vector(const char *path, wan_store *s, const wan_checkpoint_vector *v)
    WAN_MUST_CHECK;
/* Bytes that a checkpoint of so many parameters takes on the disk, nearly. */
int64_t wan_checkpoint_bytes(int64_t parameters, const wan_config *c);
/* The checkpoint of a step (-1: the newest) in dir; dir may be an iter_* folder itself.  Returns 1
 * with a malloc'ed *path, 0 when dir does not exist or holds none, -1 on trouble (a step that was
 * asked for and is not there, a pointer to a checkpoint that is gone). */
int wan_checkpoint_find(char **path, const char *dir, int64_t step) WAN_MUST_CHECK;
/* Whether the folder is a training checkpoint: imported weights (wan-convert) have no state. */
int wan_checkpoint_has_state(const char *path);
/* Compares every file with manifest.json, which only imported weights may lack; of `ranks` ranks each
 * some of them. */
int wan_checkpoint_verify(const char *path, int rank, int ranks) WAN_MUST_CHECK;
int wan_checkpoint_state(wan_train_state *st, const char *path) WAN_MUST_CHECK;
/* Weights into s, vectors into v (NULL: weights alone).  path: an iter_* folder. */
int wan_checkpoint_load(const char *path, wan_store *s, const wan_checkpoint_vector *v)
    WAN_MUST_CHECK;

#endif
