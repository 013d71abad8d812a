/* SPDX-License-Identifier: Apache-2.0
 *
 * tensorlist.h - the tensors of somebody's file by the names that they have without what programs put
 * around them, and which of them are the parameters of a model.
 *
 *     wan_tensorlist l = { .what = path };
 *     WAN_TRY(wan_tensorlist_add(&l, name, shape, rank));     // each, in the caller's order
 *     WAN_TRY(wan_tensorlist_done(&l));
 *     WAN_TRY(wan_tensorlist_match(index, &params, &l));      // index[i]: the caller's number
 *     wan_tensorlist_free(&l);
 *
 * Taken away are "model.diffusion_model." and "diffusion_model." (ComfyUI), "module." (DDP, Megatron),
 * "_orig_mod." (torch.compile), "model.", "transformer.", and FSDP's "_fsdp_wrapped_module." and
 * "_checkpoint_wrapped_module.", the last three also inside of a name.
 */
#ifndef WAN_MODEL_TENSORLIST_H
#define WAN_MODEL_TENSORLIST_H

#include "lib/base/json.h"
#include "lib/model/model.h"
#include "lib/rec/record/record.h"

typedef struct wan_tensorlist_item {
    char *name, *plain; /* as in the file, and without what is around it */
    int rank;
    int64_t shape[WAN_MAX_RANK];
    int id; /* the caller's number: the order in which it was added */
} wan_tensorlist_item;

typedef struct wan_tensorlist {
    const char *what; /* file or folder, for messages; the caller's */
    wan_tensorlist_item *v;
    int n;
    size_t room;
    int64_t heads; /* where somebody knows, for wan_tensorlist_config; 0: width / 128 */
    int others;    /* of VAE and text encoder in a file that holds them too: left out */
} wan_tensorlist;

/* Copies the name.  Shapes of more than WAN_MAX_RANK extents are errors. */
int wan_tensorlist_add(wan_tensorlist *l, const char *name, const int64_t *shape, int rank)
    WAN_MUST_CHECK;
/* Sorts, and finds tensors that are the same one twice. */
int wan_tensorlist_done(wan_tensorlist *l) WAN_MUST_CHECK;
const wan_tensorlist_item *wan_tensorlist_find(const wan_tensorlist *l, const char *plain);
void wan_tensorlist_free(wan_tensorlist *l);

/* Finds every parameter of p, under HuggingFace's names or the authors': index[i] [p->n] is the
 * number of its tensor.  Missing, extra and misshapen tensors, prefixes that are not known, and
 * files of another kind (8 and 4 bit with scales, LoRA, image-to-video) are errors that say so. */
int wan_tensorlist_match(int *index, const wan_params *p, const wan_tensorlist *l) WAN_MUST_CHECK;
/* What a config.json of the WAN transformer would say, from names and shapes alone, with heads of
 * 128, as all published ones have, where l->heads is 0; NULL with a sentence: this is none. */
json_t *wan_tensorlist_config(const wan_tensorlist *l);

#endif
