/* SPDX-License-Identifier: Apache-2.0
 *
 * mse.h - the loss of a regression on rows, and its gradient.
 *
 *   loss[i] = mean over the tokens and features of sample i of (pred - target)^2; 0 where it has none
 *   dpred   = 2 coef[i] (pred - target)     (coef holds weight, mean and scaling: set by caller)
 *
 * pred, target [S, F] WAN_REAL, features in the same order; coef, loss [n]; dpred [S, F] of any
 * type.  dpred.p may be NULL (evaluation; coef is then unused).  loss and dpred are overwritten.
 */
#ifndef WAN_KERNELS_MSE_H
#define WAN_KERNELS_MSE_H

#include "kernels/device.h"

typedef int wan_mse_loss_fn(wan_dev *d, wan_real *loss, wan_buf dpred, const wan_real *pred,
                            const wan_real *target, const wan_real *coef, const wan_pack *pack,
                            int64_t F) WAN_MUST_CHECK;

wan_mse_loss_fn wan_mse_loss_c, wan_mse_loss_cuda;

#endif
