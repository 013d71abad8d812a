/* SPDX-License-Identifier: Apache-2.0
 *
 * keys_wan.c - what only the WAN transformer has.
 */
#include "lib/train/config/keys.h"

static const wan_word sizes[] = { { "1.3B", WAN_SIZE_1_3B }, { "14B", WAN_SIZE_14B }, { 0, 0 } };

static const wan_key keys[] = {
    ENUM("model.size", 0, model_size, "1.3B", sizes,
         "published geometry that the other geometry keys start from"),
    INT("model.text_dim", 0, text_dim, "0", 0, 1 << 20,
        "width of the text encoder's rows (0: as above)"),
    INT("model.text_len", 0, text_len, "0", 0, 1 << 16,
        "rows that a caption is zero-padded to (0: 512)"),
    INT("model.freq_dim", 0, freq_dim, "0", 0, 1 << 16, "width of the timestep sinusoid (0: 256)"),
};
WAN_KEYS(wan_keys_wan, keys, WAN_MODEL_WAN);
