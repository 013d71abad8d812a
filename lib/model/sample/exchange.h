/* SPDX-License-Identifier: Apache-2.0
 *
 * exchange.h - what goes in and out of a pipeline as safetensors files, for exchange with Python.
 *
 * With one video the tensors are `noise`, `text` and `latents`, with several `noise.0`, `noise.1`...;
 * `negative` belongs to all.  Read in any floating type, written F32.  Errors name file and tensor.
 */
#ifndef WAN_MODEL_EXCHANGE_H
#define WAN_MODEL_EXCHANGE_H

#include "lib/model/sample/pipeline.h"
#include "lib/rec/tensor/safetensors.h"

/* How many videos the text rows of a file are for, 1 when it has no text.0: absence of `text` is
 * reported by wan_exchange_text. */
int wan_exchange_videos(int *n, const char *path) WAN_MUST_CHECK;
/* Noise [C, T, h, w] of every video into p->v[i].latent. */
int wan_exchange_noise(wan_pipeline *p, const char *path) WAN_MUST_CHECK;
/* Text rows [rows, text_dim] of every video and, with guidance, of the negative prompt; a model that
 * guidance leads away from no rows needs none. */
int wan_exchange_text(wan_pipeline *p, const char *path) WAN_MUST_CHECK;
/* Writes the latents of all videos. */
int wan_exchange_latents(const wan_pipeline *p, const char *path) WAN_MUST_CHECK;

/* The latent after every step, latents.STEP or latents.VIDEO.STEP: open declares all of them, step
 * writes one, in order; wan_st_finish or wan_st_abandon ends it. */
int wan_exchange_steps_open(wan_st_writer **w, const wan_pipeline *p, const char *path)
    WAN_MUST_CHECK;
int wan_exchange_step(wan_st_writer *w, const wan_pipeline *p, int video, int step,
                      const float *latent) WAN_MUST_CHECK;

#endif
