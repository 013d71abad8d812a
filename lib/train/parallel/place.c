/* SPDX-License-Identifier: Apache-2.0
 *
 * place.c - ranks that share a machine take its devices apart.
 */
#include "lib/train/parallel/place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"

enum { PLACE_HOST = 128, PLACE_BYTES = 512 };

/* The GPU with the local number; or the first, which a launcher may have made the only one. */
static int open_own(wan_dev **out, int local, int flags)
{
    char spec[32];
    snprintf(spec, sizeof spec, "cuda:%d", local);
    if (wan_dev_open(out, spec, flags) == 0 || local == 0)
        return *out ? 0 : -1;
    return wan_dev_open(out, "cuda:0", flags);
}

/* The smallest rank that opened the same device; our own where none did, -1 on failure.  `d` may be
 * NULL: this rank has none. */
static int first_owner(wan_comm *c, wan_dev *d, char text[PLACE_BYTES])
{
    char(*all)[PLACE_BYTES] = wan_calloc((size_t)c->size, sizeof *all, "device names");
    if (!all)
        return -1;
    memset(text, 0, PLACE_BYTES);
    gethostname(text, PLACE_HOST - 1);
    size_t n = strlen(text);
    int owner = c->rank, rc = 0;
    n += (size_t)snprintf(text + n, PLACE_BYTES - n, ": ");
    if (d)
        rc = d->backend->describe(d, text + n, PLACE_BYTES - n);
    else
        snprintf(text + n, PLACE_BYTES - n, "none, rank %d", c->rank);
    if (rc == 0)
        rc = wan_comm_gather(c, text, PLACE_BYTES, all);
    for (int i = c->rank; rc == 0 && i >= 0; i--)
        if (!memcmp(all[i], text, PLACE_BYTES))
            owner = i;
    free(all);
    return rc < 0 ? -1 : owner;
}

int wan_place_device(wan_dev **out, wan_comm *c, const char *spec, int flags)
{
    int local, ranks, automatic = !strcmp(spec, "auto");
    char text[PLACE_BYTES];
    *out = NULL;
    WAN_TRY(wan_comm_local(c, &local, &ranks));
    if (c->size == 1 || (!automatic && strcmp(spec, "cuda")))
        return wan_dev_open(out, spec, flags);
    if (open_own(out, local, flags) < 0 && !automatic)
        return -1;
    int owner = first_owner(c, *out, text);
    if (owner < 0)
        return -1;
    if (owner != c->rank && !automatic)
        return wan_err("ranks %d and %d have the same GPU (%s): start one rank for each, or say "
                       "--device cuda:0 to share it",
                       owner, c->rank, text);
    double without = !*out || owner != c->rank;
    if (!automatic)
        return 0;
    WAN_TRY(wan_comm_sum_f64(c, &without, 1));
    if (without == 0)
        return 0;
    wan_dev_close(out);
    return wan_dev_open(out, "cpu", flags);
}
