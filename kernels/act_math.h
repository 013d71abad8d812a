/* SPDX-License-Identifier: Apache-2.0
 *
 * act_math.h - the activations of act.h for one number: the definition all kernels are held to.
 */
#ifndef WAN_KERNELS_ACT_MATH_H
#define WAN_KERNELS_ACT_MATH_H

#include "kernels/real.h"

#define WAN_ACT_K WAN_C(0.79788456080286535588) /* sqrt(2/pi) */
#define WAN_ACT_A WAN_C(0.044715)

static inline wan_real wan_act_value(wan_real z, enum wan_act act)
{
    switch (act) {
    case WAN_ACT_GELU_TANH:
        return z / 2 * (1 + wan_r_tanh(WAN_ACT_K * (z + WAN_ACT_A * z * z * z)));
    case WAN_ACT_GELU_ERF: return z / 2 * (1 + wan_r_erf(z * WAN_C(0.70710678118654752440)));
    case WAN_ACT_SILU: return z / (1 + wan_r_exp(-z));
    default: return z;
    }
}

/* d act / d z (wan-model(7), Backward) */
static inline wan_real wan_act_slope(wan_real z, enum wan_act act)
{
    wan_real t;
    switch (act) {
    case WAN_ACT_GELU_TANH:
        t = wan_r_tanh(WAN_ACT_K * (z + WAN_ACT_A * z * z * z));
        return (1 + t) / 2 + z / 2 * (1 - t * t) * WAN_ACT_K * (1 + 3 * WAN_ACT_A * z * z);
    case WAN_ACT_GELU_ERF:
        return (1 + wan_r_erf(z * WAN_C(0.70710678118654752440))) / 2 +
               z * WAN_C(0.39894228040143267794) * wan_r_exp(-z * z / 2);
    case WAN_ACT_SILU: t = 1 / (1 + wan_r_exp(-z)); return t * (1 + z * (1 - t));
    default: return 1;
    }
}

#endif
