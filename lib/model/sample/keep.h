/* SPDX-License-Identifier: Apache-2.0
 *
 * keep.h - latents that wait beside the place of their video: what was made of a batch that is
 * interrupted before the VAE has its turn.
 *
 *     WAN_TRY(wan_keep_write(p, i, "cat.mp4", "philox"));       // .cat.mp4.latent
 *     found = wan_keep_read(p, i, "cat.mp4", "philox");         // in another process
 *     wan_keep_drop("cat.mp4");                                 // the video is there
 */
#ifndef WAN_MODEL_KEEP_H
#define WAN_MODEL_KEEP_H

#include "lib/model/sample/pipeline.h"

/* The latent of video i, with a digest of whatever it depends on: prompts, seed and kind of random
 * numbers, size, solver, precision, names, sizes and times of the weights. */
int wan_keep_write(const wan_pipeline *p, int i, const char *video, const char *rng) WAN_MUST_CHECK;
/* Reads it into p->v[i].latent: 1; 0: there is none, or it was made of something else. */
int wan_keep_read(wan_pipeline *p, int i, const char *video, const char *rng) WAN_MUST_CHECK;
void wan_keep_drop(const char *video); /* nothing there is no error */

#endif
