/* SPDX-License-Identifier: Apache-2.0
 *
 * schedule.c - see schedule.h.
 */
#include "lib/train/schedule.h"

#include <math.h>

static double wsd_factor(const wan_schedule *s, int64_t n)
{
    int64_t start = s->decay - s->tail;
    if (n <= start)
        return 1;
    double y = (double)(n - start) / (double)s->tail;
    switch (s->wsd) {
    case WAN_WSD_MINUS_SQRT: return 1 - sqrt(y);
    case WAN_WSD_LINEAR: return 1 - y;
    case WAN_WSD_COSINE: return 0.5 * (1 + cos(M_PI * y));
    case WAN_WSD_EXPONENTIAL: return 2 * pow(0.5, y) - 1;
    }
    return 1;
}

wan_schedule wan_schedule_of(const wan_train_config *v)
{
    return (wan_schedule){ .style = v->lr_style,
                           .wsd = v->wsd_style,
                           .init = v->warmup_init,
                           .max = v->lr,
                           .min = v->min_lr,
                           .warmup = v->warmup_iters,
                           .decay = v->decay_iters,
                           .tail = v->wsd_iters };
}

double wan_schedule_lr(const wan_schedule *s, int64_t n)
{
    double range = s->max - s->min;
    if (n < s->warmup)
        return s->init + (s->max - s->init) * (double)n / (double)s->warmup;
    if (s->style == WAN_LR_CONSTANT)
        return s->max;
    if (n >= s->decay)
        return s->min;
    double x = (double)(n - s->warmup) / (double)(s->decay - s->warmup);
    switch (s->style) {
    case WAN_LR_LINEAR: return s->min + range * (1 - x);
    case WAN_LR_COSINE: return s->min + range * 0.5 * (1 + cos(M_PI * x));
    case WAN_LR_INVERSE_SQRT: {
        double w = s->warmup > 1 ? (double)s->warmup : 1, k = n > 1 ? (double)n : 1;
        return fmax(s->min, s->max * sqrt(w) / sqrt(k));
    }
    case WAN_LR_WSD: return s->min + range * wsd_factor(s, n);
    case WAN_LR_CONSTANT: break;
    }
    return s->max;
}
