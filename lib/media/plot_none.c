/* SPDX-License-Identifier: Apache-2.0
 *
 * plot_none.c - what plot.h says in a build without Cairo and Pango.
 */
#include "lib/media/plot.h"

int wan_plot_write(const wan_plot *p, const char *path)
{
    (void)p;
    return wan_err("%s: this build has no Cairo and Pango (libpango1.0-dev) to draw with", path);
}
