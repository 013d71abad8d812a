/* SPDX-License-Identifier: Apache-2.0
 *
 * plot_late.c - a table of the functions of Cairo and Pango.
 */
#include "lib/media/plot_late.h"

#include <dlfcn.h>
#include <stddef.h>

struct wan_plot_late wan_plot_late;

static const char *const file[] = { "libcairo.so.2", "libpango-1.0.so.0", "libpangocairo-1.0.so.0",
                                    "libgobject-2.0.so.0" };
enum { FILES = sizeof file / sizeof *file };

static void *look_up(void *const so[FILES], const char *name)
{
    void *p = NULL;
    for (int i = 0; i < FILES && !p; i++)
        p = dlsym(so[i], name);
    return p;
}

int wan_plot_late_open(void)
{
    static int whole;
    void *so[FILES];
    const char *missing = NULL;
    for (int i = 0; !whole && i < FILES; i++) {
        so[i] = dlopen(file[i], RTLD_LAZY | RTLD_LOCAL);
        if (!so[i])
            return wan_err("curves are drawn with Cairo and Pango (libpangocairo-1.0-0): %s",
                           dlerror());
    }
#define LOOK_UP(result, name, parameters)                                                          \
    if (!(wan_plot_late.name = (result(*) parameters)look_up(so, #name)))                          \
        missing = #name;
    if (!whole) {
        WAN_PLOT_LATE(LOOK_UP)
    }
    whole = !missing;
    return missing ? wan_err("curves cannot be drawn: Cairo and Pango have no %s", missing) : 0;
}
