/* SPDX-License-Identifier: Apache-2.0
 *
 * modelio.h - model folders: config.json and safetensors in HuggingFace or official naming.
 */
#ifndef WAN_MODEL_MODELIO_H
#define WAN_MODEL_MODELIO_H

#include "lib/model/dit.h"
#include "lib/rec/safetensors.h"

/* DIR/config.json with diffusers' or the official keys; unknown architecture keys are errors. */
int wan_dit_config_load(wan_dit_config *c, const char *dir) WAN_MUST_CHECK;
json_t *wan_dit_config_json(const wan_dit_config *c);  /* diffusers' config.json */
/* Loads every parameter from DIR (either naming, optional "model.diffusion_model." prefix);
 * missing, extra or misshapen tensors are errors that name file and tensor. */
int wan_dit_load(wan_dit *m, const char *dir) WAN_MUST_CHECK;
/* Writes DIR/config.json and DIR/diffusion_pytorch_model*.safetensors (+ index when more than one
 * file of max_shard bytes is needed) in type dt, HuggingFace names. */
int wan_dit_save(const wan_dit *m, const char *dir, wan_dtype dt, int64_t max_shard)
    WAN_MUST_CHECK;

#endif
