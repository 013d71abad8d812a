/* SPDX-License-Identifier: Apache-2.0
 *
 * plot.h - lines over axes, with a legend, as PNG or SVG (Cairo and Pango).
 *
 *     wan_plot_line a = { .x = step, .y = loss, .n = n, .name = "shift 3" };
 *     wan_plot p = { .title = "loss", .x_name = "step", .y_name = "loss", .width = 900,
 *                    .height = 500, .smooth = 50, .line = &a, .n = 1 };
 *     WAN_TRY(wan_plot_write(&p, "loss.svg"));
 */
#ifndef WAN_MEDIA_PLOT_H
#define WAN_MEDIA_PLOT_H

#include <stddef.h>

#include "lib/base/err.h"

typedef struct wan_plot_line { /* all borrowed */
    const double *x, *y;       /* [n]; x ascends; a y that is not finite leaves a gap */
    size_t n;
    const char *name; /* in the legend, UTF-8; NULL: not there */
    int dots;         /* marks at the values, not smoothed: a few measurements */
    int colour;       /* number of its colour, 0..; lines of one run share it */
} wan_plot_line;

typedef struct wan_plot {
    const char *title, *x_name, *y_name; /* UTF-8; title may be NULL */
    int width, height;                   /* pixels, 200..8192 */
    size_t
        smooth; /* mean over so many values up to each, over a pale line of the values; 1: none */
    int log_y;  /* logarithmic; values of 0 and less are left out */
    const wan_plot_line *line;
    int n;
} wan_plot;

/* path: .png or .svg, under its name when it is whole.  No finite value at all is an error; so is a
 * build without Cairo. */
int wan_plot_write(const wan_plot *p, const char *path) WAN_MUST_CHECK;

#endif
