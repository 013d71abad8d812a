/* SPDX-License-Identifier: Apache-2.0
 *
 * modelio.h - model folders: config.json and safetensors, in HuggingFace's or the authors' naming,
 * for every model of the table (its row says which keys and names there are).
 */
#ifndef WAN_MODEL_MODELIO_H
#define WAN_MODEL_MODELIO_H

#include "lib/model/files/weights.h"
#include "lib/model/model.h"
#include "lib/rec/tensor/safetensors.h"

/* Which model DIR/config.json describes: its _class_name is looked up in the table.  Unknown keys,
 * and values that the model does not support, are errors; so are classes that are in no row. */
int wan_modelio_config(wan_arch *out, const char *dir) WAN_MUST_CHECK;

/* Finds every parameter of p in st under either naming (optional "model.diffusion_model." prefix):
 * tensor[i] [p->n] belongs to st.  Missing, extra and misshapen tensors and scaled FP8 files are
 * errors that name file and tensor; dir is for messages. */
int wan_modelio_match(wan_st_tensor **tensor, const wan_params *p, wan_st *st, const char *dir)
    WAN_MUST_CHECK;
/* Loads every parameter that s holds from DIR, one tensor at a time. */
int wan_modelio_load(wan_store *s, const char *dir) WAN_MUST_CHECK;

/* Writes DIR/config.json and the weights (weights.h); fetch is called with the index of a parameter,
 * which is stored as type[i]. */
int wan_modelio_write(const wan_arch *arch, const wan_params *p, const char *dir,
                      enum wan_naming naming, const wan_dtype *type, int64_t max_shard,
                      wan_weights_fetch *fetch, void *arg) WAN_MUST_CHECK;

/* modelio_config.c */
json_t *wan_modelio_json(const wan_arch *arch, enum wan_naming naming, int *digits);

#endif
