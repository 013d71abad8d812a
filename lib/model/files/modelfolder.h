/* SPDX-License-Identifier: Apache-2.0
 *
 * modelfolder.h - where the transformer lies in a HuggingFace folder or a checkpoint folder.
 */
#ifndef WAN_MODEL_MODELFOLDER_H
#define WAN_MODEL_MODELFOLDER_H

#include <stdint.h>

#include "lib/base/err.h"

/* The folder that holds config.json and weights, malloc'ed into *out, for dir being
 *   - a training run (rundir.h): DIR/iter_%07d/transformer, of `step`, when step < 0 of the newest;
 *   - one iteration of it, or a HuggingFace folder: DIR/transformer;
 *   - the transformer folder itself.
 * step >= 0 with anything but a training run is an error; so is a folder of WAN 2.2, whose other
 * expert would be left out. */
int wan_model_transformer(char **out, const char *dir, int64_t step) WAN_MUST_CHECK;
/* DIR/part when that is a folder, else DIR (someone named the part itself); NULL: out of memory. */
char *wan_model_part(const char *dir, const char *part);

#endif
