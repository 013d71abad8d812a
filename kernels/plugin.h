/* SPDX-License-Identifier: Apache-2.0
 *
 * plugin.h - the only agreement between the tools and libwan-cuda.so.
 *
 * The plugin exports one function, wan_cuda_backend, of type wan_plugin_entry_fn (extern "C").  It
 * keeps the pointer to `host` (which lives as long as the program) and returns its own table, or
 * NULL when host->abi or host->ops_bytes are not what it was compiled with.  Looking up the entry
 * must not touch the driver: probe() does that and says in one sentence (host->err) what is
 * missing.  Everything the plugin needs of the program comes through `host`, so it links alone.
 */
#ifndef WAN_KERNELS_PLUGIN_H
#define WAN_KERNELS_PLUGIN_H

#include "kernels/ops.h"
#include "kernels/ways.h"

#define WAN_PLUGIN_ABI 12
#define WAN_PLUGIN_SYMBOL "wan_cuda_backend"

typedef struct wan_plugin_host {
    int abi;                                           /* WAN_PLUGIN_ABI */
    size_t ops_bytes;                                  /* sizeof(wan_ops) */
    int (*err)(const char *fmt, ...) WAN_PRINTF(1, 2); /* wan_err: records a sentence, returns -1 */
    void *(*scratch)(wan_dev *d, size_t bytes);        /* wan_dev_scratch */
    void *(*aside)(wan_dev *d, size_t bytes);          /* wan_dev_aside */
    void (*warn)(const char *fmt, ...) WAN_PRINTF(1, 2); /* wan_warn: a slower path was taken */
    /* wan_ways_find, wan_ways_note: of d->ways */
    const char *(*ways_find)(const wan_ways *w, const char *kind, const char *shape);
    int (*ways_note)(wan_ways *w, const char *kind, const char *shape, const char *way);
} wan_plugin_host;

typedef struct wan_plugin {
    wan_backend backend;
    int (*probe)(int *devices); /* devices found; -1: no driver or no device, with the reason */
    void (*fill)(wan_ops *o);   /* slots it has; the others stay NULL */
} wan_plugin;

typedef const wan_plugin *wan_plugin_entry_fn(const wan_plugin_host *host);

#endif
