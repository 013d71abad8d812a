/* SPDX-License-Identifier: Apache-2.0
 *
 * foreign.h - transformers in files that are no safetensors: distributed checkpoints of Megatron
 * (DFM, Megatron-Bridge) and Automodel, and torch.save's.  Names and layout: wan-model(7), Megatron
 * names.
 *
 *     wan_foreign *f;
 *     WAN_TRY(wan_foreign_open(&f, path));
 *     WAN_TRY(wan_foreign_match(&arch, &params, f));          // params: to be freed
 *     WAN_TRY(wan_foreign_read(f, i, dst, WAN_BF16));          // parameter i, whole
 *     wan_foreign_close(&f);
 */
#ifndef WAN_MODEL_FOREIGN_H
#define WAN_MODEL_FOREIGN_H

#include "lib/model/model.h"

typedef struct wan_foreign wan_foreign;

/* Whether path is one: a folder with .metadata, or a file that ends with .pth, .pt or .bin. */
int wan_foreign_is(const char *path);
/* Tensors of optimizer and random generators are left out, counted in a line of the log. */
int wan_foreign_open(wan_foreign **out, const char *path) WAN_MUST_CHECK;
/* The model: config.json beside the tensors, else their shapes (with the heads that a run_config.yaml
 * of Megatron says, else of 128), and which tensor is which parameter.  Errors as wan_tensorlist_match. */
int wan_foreign_match(wan_arch *arch, wan_params *params, wan_foreign *f) WAN_MUST_CHECK;
/* Element type in which parameter i of params is stored. */
wan_dtype wan_foreign_type(const wan_foreign *f, int i);
/* Parameter i as dt to dst [its count]. */
int wan_foreign_read(wan_foreign *f, int i, void *dst, wan_dtype dt) WAN_MUST_CHECK;
void wan_foreign_close(wan_foreign **f); /* NULL-safe */

#endif
