/* SPDX-License-Identifier: Apache-2.0
 *
 * curve.h - one number of every line of a file of metrics, by another: what is drawn.
 */
#ifndef WAN_TRAIN_CURVE_H
#define WAN_TRAIN_CURVE_H

#include <stddef.h>

#include "lib/base/err.h"

typedef struct wan_curve {
    double *x, *y; /* [n]; y is NaN where a line has null */
    size_t n;
} wan_curve;

/* Lines without x are errors, as are lines that are no JSON objects (but a last one that was cut
 * off); lines without y are passed over.  No line with both leaves n 0, which is no error.  Of a key
 * with a list ("sigma_bins") "sigma_bins.3" is the mean in its fourth member.  Freed by wan_curve_free. */
int wan_curve_read(wan_curve *c, const char *path, const char *x, const char *y) WAN_MUST_CHECK;
void wan_curve_free(wan_curve *c);

#endif
