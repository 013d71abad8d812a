/* SPDX-License-Identifier: Apache-2.0
 *
 * keys_wan.c - what only the WAN transformer has.
 */
#include "lib/train/config/keys.h"

static const wan_key keys[] = {
    INT("model.freq_dim", 0, freq_dim, "0", 0, 1 << 16, "width of the timestep sinusoid (0: 256)"),
};
WAN_KEYS(wan_keys_wan, keys, WAN_MODEL_WAN);
