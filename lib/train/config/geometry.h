/* SPDX-License-Identifier: Apache-2.0
 *
 * geometry.h - the size of the transformer to train: model.size, a config.json, or the folder of the
 * weights that will be loaded, with the model.* keys on top.
 */
#ifndef WAN_TRAIN_GEOMETRY_H
#define WAN_TRAIN_GEOMETRY_H

#include "lib/model/wan/net.h"
#include "lib/train/config/config.h"

/* weights: folder whose weights will be loaded, or NULL; keys that contradict it are an error.  The
 * resolved numbers go back into c, so that they are printed and saved. */
int wan_geometry(wan_net_config *out, wan_config *c, const char *weights) WAN_MUST_CHECK;

#endif
