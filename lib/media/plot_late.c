/* SPDX-License-Identifier: Apache-2.0
 *
 * plot_late.c - a table of the functions of Cairo and Pango.
 */
#include "lib/media/plot_late.h"

#include <stddef.h>

#include "lib/base/dynlib.h"

struct wan_plot_late wan_plot_late;

static const char *const file[] = { "libcairo.so.2", "libpango-1.0.so.0", "libpangocairo-1.0.so.0",
                                    "libgobject-2.0.so.0" };
enum { FILES = sizeof file / sizeof *file };

int wan_plot_late_open(void)
{
    static int whole;
    void *so[FILES];
    const char *missing = NULL;
    if (!whole)
        WAN_TRY(wan_dynlib_system(so, file, FILES,
                                  "curves are drawn with Cairo and Pango (libpangocairo-1.0-0)"));
#define LOOK_UP(result, name, parameters)                                                          \
    if (!(wan_plot_late.name = (result(*) parameters)wan_dynlib_find(so, FILES, #name)))           \
        missing = #name;
    if (!whole) {
        WAN_PLOT_LATE(LOOK_UP)
    }
    whole = !missing;
    return missing ? wan_err("curves cannot be drawn: Cairo and Pango have no %s", missing) : 0;
}
