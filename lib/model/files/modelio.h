/* SPDX-License-Identifier: Apache-2.0
 *
 * modelio.h - model folders: config.json and safetensors (or a GGUF file), in HuggingFace's or the authors'
 * naming, for every model of the table (its row says which keys and names there are).
 */
#ifndef WAN_MODEL_MODELIO_H
#define WAN_MODEL_MODELIO_H

#include "lib/model/files/tensorlist.h"
#include "lib/model/files/weights.h"
#include "lib/model/model.h"
#include "lib/rec/tensor/safetensors.h"

/* Which model path describes, a folder or one file of weights.  The folder's config.json (the
 * file's own) says it: its _class_name is looked up in the table; unknown keys, values that the model
 * does not support and classes that are in no row are errors.  A file of weights without a config.json
 * beside it is taken for what its tensors are (tensorlist.h). */
int wan_modelio_config(wan_arch *out, const char *path) WAN_MUST_CHECK;

/* Finds every parameter of p in st (tensorlist.h): tensor[i] [p->n] belongs to st.  Errors name path
 * and tensor. */
int wan_modelio_match(wan_st_tensor **tensor, const wan_params *p, wan_st *st, const char *path)
    WAN_MUST_CHECK;
/* The tensors of st in their order, done; to be freed also on failure. */
int wan_modelio_list(wan_tensorlist *l, wan_st *st, const char *path) WAN_MUST_CHECK;
/* Whether a folder or file has every parameter of p, and nothing else: an error says what not. */
int wan_modelio_check(const wan_params *p, const char *path) WAN_MUST_CHECK;
/* Marks the operands that a store in bf16 can read as a file has them: bf16 ones, and in a GGUF file those of the
 * blocks of the model that are blocks of few bits (wan_param.mapped, .blocks).  Nothing where they must be
 * converted. */
int wan_modelio_held(wan_params *p, const char *path) WAN_MUST_CHECK;
/* Loads every parameter that s holds from a folder or file (safetensors, GGUF), one tensor at a time; those that are
 * mapped stay in the file, which the store keeps open, and are read ahead. */
int wan_modelio_load(wan_store *s, const char *path) WAN_MUST_CHECK;

/* What s has of tensor i, from tensor t of a file, as wan_store_take. */
int wan_modelio_fill(wan_store *s, int i, wan_real *x, const wan_st_tensor *t) WAN_MUST_CHECK;

/* The list of parameters for weights.h, malloc'ed: names in a naming, parameter i stored as type[i]. */
wan_weight *wan_modelio_weights(const wan_params *p, enum wan_naming naming, const wan_dtype *type);
/* DIR/config.json. */
int wan_modelio_describe(const wan_arch *arch, const char *dir, enum wan_naming naming)
    WAN_MUST_CHECK;
/* Writes DIR/config.json and the weights (weights.h); fetch is called with the index of a parameter,
 * which is stored as type[i]. */
int wan_modelio_write(const wan_arch *arch, const wan_params *p, const char *dir,
                      enum wan_naming naming, const wan_dtype *type, int64_t max_shard,
                      wan_weights_fetch *fetch, void *arg) WAN_MUST_CHECK;

/* modelio_config.c */
/* The path of a file in the folder, or beside the file, that path is; malloc'ed, NULL: out of memory. */
char *wan_modelio_beside(const char *path, const char *name);
/* The model that a list of tensors is of, without a config.json. */
int wan_modelio_config_of(wan_arch *out, const wan_tensorlist *l) WAN_MUST_CHECK;
json_t *wan_modelio_json(const wan_arch *arch, enum wan_naming naming, int *digits);

#endif
