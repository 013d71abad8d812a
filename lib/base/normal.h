/* SPDX-License-Identifier: Apache-2.0
 *
 * normal.h - the standard normal distribution function and its inverse, exact to double rounding.
 */
#ifndef WAN_BASE_NORMAL_H
#define WAN_BASE_NORMAL_H

double wan_normal_cdf(double x);
/* p in [0, 1]; -INFINITY and INFINITY at its ends. */
double wan_normal_quantile(double p);

#endif
