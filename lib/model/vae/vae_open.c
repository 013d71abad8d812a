/* SPDX-License-Identifier: Apache-2.0
 *
 * vae_open.c - a VAE from its model folder.
 */
#include "lib/model/vae/vae_net.h"
#include "lib/rec/tensor/safetensors.h"

static int load(void *st, const char *name, const int64_t *shape, int rank, void *dst, wan_dtype dt)
{
    return wan_st_load(st, name, shape, rank, dst, dt);
}

static void release(void *st, const char *name)
{
    if (wan_st_find(st, name))
        wan_st_release(st, wan_st_find(st, name));
}

/* Every tensor of the file has been used. */
static int all_used(wan_st *st)
{
    const char *extra;
    if (wan_st_unused(st, &extra) > 0)
        return wan_err("%s: tensor %s: not part of this model", wan_st_find(st, extra)->file,
                       extra);
    return 0;
}

int wan_vae_open(wan_vae **out, wan_dev *d, const char *dir, int parts, wan_dtype compute)
{
    wan_vae_config c;
    wan_st *st;
    *out = NULL;
    WAN_TRY(wan_vae_config_load(&c, dir));
    WAN_TRY(wan_st_open(&st, dir));
    const wan_vae_source from = { st, load, release };
    int rc = wan_vae_make(out, d, &c, &from, parts, compute, dir);
    if (rc == 0 && all_used(st) < 0) {
        wan_vae_close(out);
        rc = -1;
    }
    wan_st_close(&st);
    return rc;
}
