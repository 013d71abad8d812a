/* SPDX-License-Identifier: Apache-2.0
 *
 * schedule.h - learning rate over steps (wan-data(7), Learning rate).
 *
 * With n steps done, W warm-up steps, D decay steps, x = (n - W) / (D - W):
 *   n < W                 init + (max - init) n / W
 *   constant              max
 *   n >= D                min
 *   linear                min + (max - min) (1 - x)
 *   cosine                min + (max - min) (1 + cos(pi x)) / 2
 *   inverse-square-root   max(min, max sqrt(max(W, 1)) / sqrt(max(n, 1)))
 *   WSD                   max, and over the last E steps before D, y = (n - (D - E)) / E:
 *                         min + (max - min) times 1 - y | 1 - sqrt(y) | (1 + cos(pi y)) / 2 |
 *                         2 * 0.5^y - 1   (linear, minus_sqrt, cosine, exponential)
 */
#ifndef WAN_TRAIN_SCHEDULE_H
#define WAN_TRAIN_SCHEDULE_H

#include <stdint.h>

#include "lib/train/config/config.h"

typedef struct wan_schedule {
    enum wan_lr_style style;
    enum wan_wsd_style wsd;
    double init, max, min;
    int64_t warmup, decay, tail; /* W, D, E */
} wan_schedule;

/* The schedule that the configuration asks for, after wan_config_length. */
wan_schedule wan_schedule_of(const wan_train_config *v);
/* Rate of the step that follows n finished steps. */
double wan_schedule_lr(const wan_schedule *s, int64_t n);

#endif
