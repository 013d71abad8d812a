/* SPDX-License-Identifier: Apache-2.0
 *
 * flowloss.h - flow matching on rows (wan-model(7), Objective): noise, target, loss.
 *
 *   noise:  xt = (1 - sigma[i]) x0 + sigma[i] eps
 *   loss:   v = eps - x0;  loss[i] = mean over the tokens and features of sample i of (pred - v)^2
 *           dpred = 2 coef[i] (pred - v)      (coef holds weight, mean and scaling: set by caller)
 *
 * All rows [S, F] WAN_REAL except xt; sigma, coef, loss [n].  pred, x0 and eps in the same feature
 * order.  dpred.p may be NULL (evaluation).  loss is overwritten.
 */
#ifndef WAN_KERNELS_FLOWLOSS_H
#define WAN_KERNELS_FLOWLOSS_H

#include "kernels/device.h"

typedef int wan_flow_noise_fn(wan_dev *d, wan_buf xt, const wan_real *x0, const wan_real *eps,
                              const wan_real *sigma, const wan_pack *pack, int64_t F)
    WAN_MUST_CHECK;
typedef int wan_flow_loss_fn(wan_dev *d, wan_real *loss, wan_buf dpred, const wan_real *pred,
                             const wan_real *x0, const wan_real *eps, const wan_real *coef,
                             const wan_pack *pack, int64_t F) WAN_MUST_CHECK;

wan_flow_noise_fn wan_flow_noise_c, wan_flow_noise_cuda;
wan_flow_loss_fn wan_flow_loss_c, wan_flow_loss_cuda;

#endif
