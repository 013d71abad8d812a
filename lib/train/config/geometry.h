/* SPDX-License-Identifier: Apache-2.0
 *
 * geometry.h - which model to train, and in which size: model.type, model.size, a config.json, or
 * the folder of the weights to start from; then the keys that were given.
 */
#ifndef WAN_TRAIN_GEOMETRY_H
#define WAN_TRAIN_GEOMETRY_H

#include "lib/model/model.h"
#include "lib/train/config/config.h"

/* weights: folder with config.json, or NULL.  Keys that contradict the weights are errors.  The keys
 * of c become what was found. */
int wan_geometry(wan_arch *out, wan_config *c, const char *weights) WAN_MUST_CHECK;

#endif
