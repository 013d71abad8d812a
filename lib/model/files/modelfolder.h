/* SPDX-License-Identifier: Apache-2.0
 *
 * modelfolder.h - where the transformer lies in a HuggingFace folder or a checkpoint folder.
 */
#ifndef WAN_MODEL_MODELFOLDER_H
#define WAN_MODEL_MODELFOLDER_H

#include <stdint.h>

#include "lib/base/err.h"

/* What path stands for, malloc'ed into *out:
 *   - the root of a hub cache (models--OWNER--NAME): the snapshot that refs/main names;
 *   - RUN/LATEST: the newest step of a run, or the folder that a file LATEST names;
 *   - anything else, also what is not there: itself. */
int wan_model_folder(char **out, const char *path) WAN_MUST_CHECK;
/* Where config.json and weights of the transformer are, malloc'ed into *out, for path (as
 * wan_model_folder has it) being
 *   - a training run (rundir.h): DIR/iter_%07d/transformer, of `step`, when step < 0 of the newest;
 *   - one iteration of it, or a HuggingFace folder: DIR/transformer;
 *   - a step of Automodel: its model/consolidated;
 *   - a distributed checkpoint (dcp.h), in the place of any of these, for wan-convert;
 *   - the transformer folder itself, or one file of weights.
 * step >= 0 with anything but a training run is an error; so are a folder of WAN 2.2, whose other
 * expert would be left out, and one whose model_index.json names another pipeline. */
int wan_model_transformer(char **out, const char *path, int64_t step) WAN_MUST_CHECK;
/* Refuses a folder that is another pipeline's, as above. */
int wan_model_pipeline(const char *dir) WAN_MUST_CHECK;
/* DIR/part when that is a folder, else DIR (someone named the part itself), DIR as wan_model_folder
 * has it; NULL: out of memory, a pointer that leads nowhere, or a
 * folder that cannot be looked at. */
char *wan_model_part(const char *dir, const char *part);

#endif
