/* SPDX-License-Identifier: Apache-2.0
 *
 * samples.h - videos that a run makes of prompts while it trains, from the weights as they are (their
 * average, where one is kept), as a contact sheet beside the checkpoints.
 *
 *     wan_samples_open(t);       // prompts and sizes; before the plan
 *     wan_samples_start(t);      // text rows, while the device is empty
 *     wan_samples_make(t);       // after a step; collective
 *     wan_samples_close(t);
 *
 * The model runs as a micro-batch of training does, so every layout of ranks can do it; data parallel
 * ranks make different videos.  Nothing that training reads is changed, and what is drawn is keyed by
 * the prompts' own seed.  The numbers are those of wan-sample of the same weights, prompt and seed.
 */
#ifndef WAN_TRAIN_SAMPLES_H
#define WAN_TRAIN_SAMPLES_H

#include "lib/model/sample/pipeline.h"
#include "lib/model/sample/wishes.h"
#include "lib/train/train_priv.h"

struct wan_samples {
    wan_wishes wishes;
    wan_pipeline_video *v; /* [n] size, seed, text rows; latent: host, of the last call */
    int n;
    float *negative; /* host [negative_rows, text_dim]; NULL without guidance */
    int64_t negative_rows;
    wan_sampler_options sampler;
    char *folder, *vae; /* of the sheets; of the decoder */
    int64_t most;       /* elements of the largest latent */
    int64_t bytes;      /* of a rank's device, that the plan has counted */
};

/* t->videos from train.sample_*; NULL where no samples are wanted. */
int wan_samples_open(wan_train *t) WAN_MUST_CHECK;
void wan_samples_close(wan_train *t);
/* Room that they need in a micro-batch. */
void wan_samples_capacity(const wan_train *t, wan_capacity *cap);
/* Counts in the plan what they take on d beside that; the last call holds. */
int wan_samples_plan(wan_train *t, wan_dev *d) WAN_MUST_CHECK;
int wan_samples_start(wan_train *t) WAN_MUST_CHECK;
/* What goes wrong with a picture is a warning: -1 only when the model or a rank fails. */
int wan_samples_make(wan_train *t) WAN_MUST_CHECK;

#endif
