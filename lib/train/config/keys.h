/* SPDX-License-Identifier: Apache-2.0
 *
 * keys.h - how a keys_*.c declares its section of the table: one row per key, the owner of the
 * keys names the file.
 */
#ifndef WAN_TRAIN_KEYS_H
#define WAN_TRAIN_KEYS_H

#include <stddef.h>

#include "lib/train/config/config.h"

/* clang-format off */
#define ROW(n, al, k, f, d, h) \
    .name = n, .aliases = al, .kind = k, .offset = offsetof(wan_train_config, f), .def = d, .help = h
#define INT(n, al, f, d, l, u, h)  { ROW(n, al, WAN_KEY_INT, f, d, h), .lo = l, .hi = u }
#define REAL(n, al, f, d, l, u, h) { ROW(n, al, WAN_KEY_REAL, f, d, h), .lo = l, .hi = u }
#define BOOL(n, al, f, d, h)       { ROW(n, al, WAN_KEY_BOOL, f, d, h) }
#define STR(n, al, f, d, h)        { ROW(n, al, WAN_KEY_STR, f, d, h) }
#define ENUM(n, al, f, d, w, h)    { ROW(n, al, WAN_KEY_ENUM, f, d, h), .words = w }
/* says where or for how long, not what is computed: not saved with the run; OWN: of each rank by itself */
#define PLACE(n, al, f, d, h)      { ROW(n, al, WAN_KEY_STR, f, d, h), .class = WAN_KEY_PLACE }
#define RUN(n, al, f, d, l, u, h) \
    { ROW(n, al, WAN_KEY_INT, f, d, h), .lo = l, .hi = u, .class = WAN_KEY_PLACE }
#define OWN(n, al, f, d, l, u, h) \
    { ROW(n, al, WAN_KEY_INT, f, d, h), .lo = l, .hi = u, .class = WAN_KEY_OWN }
/* accepted without effect; h is why it has none */
#define NOTED(n, h) { .name = n, .kind = WAN_KEY_ANY, .class = WAN_KEY_NOTED, .help = h }
/* the same, but only with one of these values, separated by blanks */
#define ONLY(n, o, h) \
    { .name = n, .kind = WAN_KEY_ANY, .class = WAN_KEY_NOTED, .only = o, .help = h }
#define REFUSED(n, h) ONLY(n, "", h)
#define MANY 1e15

/* model: WAN_MODEL_ANY, or the only model.type that has these keys. */
#define WAN_KEYS(section, rows, type) \
    const wan_key_section section = { rows, (int)(sizeof rows / sizeof rows[0]), type }
/* clang-format on */

extern const wan_key_section wan_keys_model, wan_keys_wan, wan_keys_dit, wan_keys_parallel,
    wan_keys_data, wan_keys_run, wan_keys_optim, wan_keys_flow, wan_keys_checkpoint;

#endif
