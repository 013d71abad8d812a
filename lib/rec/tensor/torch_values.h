/* SPDX-License-Identifier: Apache-2.0
 *
 * torch_values.h - what a torch file or pickle holds beside its tensors.
 */
#ifndef WAN_REC_TORCH_VALUES_H
#define WAN_REC_TORCH_VALUES_H

#include "lib/base/json.h"
#include "lib/rec/tensor/torch.h"

/* The root map with its texts, numbers, truth values, None, lists and maps, tensors and unknown
 * objects left out; {} when the root is no map.  New reference; NULL: out of memory, or a text that
 * is not UTF-8 or has a zero byte. */
json_t *wan_torch_values(const wan_torch *w);

#endif
