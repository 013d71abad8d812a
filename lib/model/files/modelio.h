/* SPDX-License-Identifier: Apache-2.0
 *
 * modelio.h - model folders: config.json and safetensors in HuggingFace or official naming.
 */
#ifndef WAN_MODEL_MODELIO_H
#define WAN_MODEL_MODELIO_H

#include "lib/model/wan/net.h"
#include "lib/model/files/weights.h"
#include "lib/rec/tensor/safetensors.h"

enum wan_naming { WAN_NAMING_HF, WAN_NAMING_OFFICIAL };

/* DIR/config.json with diffusers' or the official keys; unknown keys and models other than text to
 * video are errors.  The official file leaves text_dim out: it is then read from the weights. */
int wan_net_config_load(wan_net_config *c, const char *dir) WAN_MUST_CHECK;
json_t *wan_net_config_json(const wan_net_config *c, enum wan_naming naming); /* new reference */

/* Finds every parameter of p in st under either naming (optional "model.diffusion_model." prefix):
 * tensor[i] [p->n] belongs to st.  Missing, extra and misshapen tensors and scaled FP8 files are
 * errors that name file and tensor; dir is for messages. */
int wan_net_match(wan_st_tensor **tensor, const wan_params *p, wan_st *st, const char *dir)
    WAN_MUST_CHECK;
/* Loads every parameter from DIR, one tensor at a time. */
int wan_net_load(wan_net *m, const char *dir) WAN_MUST_CHECK;

/* Writes DIR/config.json and DIR/diffusion_pytorch_model*.safetensors (weights.h); fetch is called
 * with the index of a parameter, which is stored as type[i]. */
int wan_net_write(const wan_net_config *c, const wan_params *p, const char *dir,
                  enum wan_naming naming, const wan_dtype *type, int64_t max_shard,
                  wan_weights_fetch *fetch, void *arg) WAN_MUST_CHECK;
/* The same for the parameters of m, all in type dt, HuggingFace names. */
int wan_net_save(const wan_net *m, const char *dir, wan_dtype dt, int64_t max_shard) WAN_MUST_CHECK;

#endif
