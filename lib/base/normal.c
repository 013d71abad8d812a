/* SPDX-License-Identifier: Apache-2.0
 *
 * normal.c - see normal.h.  The quantile is Acklam's rational start refined by one step of Halley's
 * method on erfc, which leaves it exact to double rounding.
 */
#include "lib/base/normal.h"

#include <math.h>

double wan_normal_cdf(double x)
{
    return 0.5 * erfc(-x * M_SQRT1_2);
}

double wan_normal_quantile(double p)
{
    static const double a[6] = { -3.969683028665376e+01, 2.209460984245205e+02,
                                 -2.759285104469687e+02, 1.383577518672690e+02,
                                 -3.066479806614716e+01, 2.506628277459239e+00 };
    static const double b[5] = { -5.447609879822406e+01, 1.615858368580409e+02,
                                 -1.556989798598866e+02, 6.680131188771972e+01,
                                 -1.328068155288572e+01 };
    static const double c[6] = { -7.784894002430293e-03, -3.223964580411365e-01,
                                 -2.400758277161838e+00, -2.549732539343734e+00,
                                 4.374664141464968e+00,  2.938163982698783e+00 };
    static const double d[4] = { 7.784695709041462e-03, 3.224671290700398e-01,
                                 2.445134137142996e+00, 3.754408661907416e+00 };
    double x, q = p < 0.5 ? p : 1 - p;
    if (q <= 0)
        return p < 0.5 ? -INFINITY : INFINITY;
    if (q < 0.02425) {
        double r = sqrt(-2 * log(q));
        x = (((((c[0] * r + c[1]) * r + c[2]) * r + c[3]) * r + c[4]) * r + c[5]) /
            ((((d[0] * r + d[1]) * r + d[2]) * r + d[3]) * r + 1);
    } else {
        double s = q - 0.5, r = s * s;
        x = (((((a[0] * r + a[1]) * r + a[2]) * r + a[3]) * r + a[4]) * r + a[5]) * s /
            (((((b[0] * r + b[1]) * r + b[2]) * r + b[3]) * r + b[4]) * r + 1);
    }
    double e = (wan_normal_cdf(x) - q) * sqrt(2 * M_PI) * exp(0.5 * x * x);
    x -= e / (1 + 0.5 * x * e);
    return p < 0.5 ? x : -x;
}
