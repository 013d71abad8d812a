/* SPDX-License-Identifier: Apache-2.0
 *
 * beside.h - videos that are decoded while the next ones are sampled: on a stream of their own of the same GPU, piece
 * by piece between the steps of the sampler, so that one thread drives both.  The same values.
 */
#ifndef WAN_MODEL_BESIDE_H
#define WAN_MODEL_BESIDE_H

#include "kernels/space.h"
#include "lib/model/sample/pipeline.h"

typedef struct wan_beside wan_beside;

/* Work space of the decoder's ops: rows of a convolution that are laid out, and the widest attention. */
enum { WAN_BESIDE_WORK = 512 << 20 };

/* ... with the decoder's weights in fp32, and what a second stream's libraries and copies have: about. */
#define WAN_BESIDE_MORE (WAN_BESIDE_WORK + (double)WAN_SPACE_PRODUCTS + WAN_SPACE_RING + 0x1p29)

/* Whether it is for such a run at all: a GPU, a second video, one rank. */
int wan_beside_may(const wan_pipeline *p, const wan_dev *d);
/* wan_pipeline_vae, which is above this in the order of files. */
typedef int wan_beside_vae(wan_vae **vae, const wan_pipeline *p, wan_dev *d, int parts);
/* NULL in *out: there is no GPU, no second video, several ranks, or no memory beside what the sampler on d, which has
 * its weights and activations, will still take; they are decoded afterwards then. */
int wan_beside_open(wan_beside **out, const wan_pipeline *p, const wan_dev *d, wan_beside_vae *vae,
                    double sampler, wan_pipeline_take *take, void *arg) WAN_MUST_CHECK;
void wan_beside_close(wan_beside **b); /* NULL-safe */
/* Videos below i have their latents: one more piece of the first that has not been decoded, or all of all of them.
 * b may be NULL. */
int wan_beside_go(wan_beside *b, int i, int all) WAN_MUST_CHECK;
/* Videos that have been decoded, and with one that has begun: the first so many. */
int wan_beside_begun(const wan_beside *b);
int wan_beside_done(const wan_beside *b);

#endif
