/* SPDX-License-Identifier: Apache-2.0
 *
 * modules.h - model.recompute_modules: what selective recompute does again.
 */
#ifndef WAN_TRAIN_MODULES_H
#define WAN_TRAIN_MODULES_H

#include "lib/base/err.h"

/* Of the words in text ("[layernorm, mlp_act]", "" for all), those that are not there: enum wan_redo. */
int wan_modules_spared(int *spared, const char *text) WAN_MUST_CHECK;

#endif
