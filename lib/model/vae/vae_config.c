/* SPDX-License-Identifier: Apache-2.0
 *
 * vae_config.c - config.json of an AutoencoderKLWan.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/model/vae/vae_net.h"

static const char *const known[] = {
    "_class_name",
    "_diffusers_version",
    "_name_or_path",
    "attn_scales",
    "base_dim",
    "decoder_base_dim",
    "dim_mult",
    "dropout",
    "in_channels",
    "is_residual",
    "latents_mean",
    "latents_std",
    "num_res_blocks",
    "out_channels",
    "patch_size",
    "scale_factor_spatial",
    "scale_factor_temporal",
    "temperal_downsample",
    "z_dim",
    "clip_output",
};

static int check_keys(const json_t *j, const char *path)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)j, key, value)
    {
        size_t i = 0, n = sizeof known / sizeof *known;
        while (i < n && strcmp(key, known[i]))
            i++;
        if (i == n)
            return wan_err("%s: unknown key \"%s\"", path, key);
    }
    return 0;
}

/* Numbers of an array of exactly n (n < 0: 1..max, the length returned). */
static int read_numbers(const json_t *j, const char *key, double *v, int n, int max,
                        const char *path)
{
    const json_t *a = json_object_get(j, key);
    size_t len = json_array_size(a);
    if (!json_is_array(a) || len < 1 || len > (size_t)max || (n >= 0 && len != (size_t)n))
        return wan_err("%s: key \"%s\" must be an array of %s%d values", path, key,
                       n < 0 ? "at most " : "", n < 0 ? max : n);
    for (size_t i = 0; i < len; i++) {
        const json_t *e = json_array_get(a, i);
        if (!json_is_number(e) && !json_is_boolean(e))
            return wan_err("%s: key \"%s\" holds something that is not a number", path, key);
        v[i] = json_is_boolean(e) ? json_is_true(e) : json_number_value(e);
    }
    return (int)len;
}

/* Variants of the class that this code does not compute are refused, not ignored. */
static int check_variant(const json_t *j, const char *path)
{
    const json_t *patch = json_object_get(j, "patch_size");
    int residual;
    int64_t in, out, base, decoder;
    WAN_TRY(wan_json_bool(j, "is_residual", 0, &residual, path));
    WAN_TRY(wan_json_int(j, "in_channels", 3, 1, 1024, &in, path));
    WAN_TRY(wan_json_int(j, "out_channels", 3, 1, 1024, &out, path));
    WAN_TRY(wan_json_int(j, "base_dim", 96, 1, 4096, &base, path));
    decoder = base;
    if (json_object_get(j, "decoder_base_dim") &&
        !json_is_null(json_object_get(j, "decoder_base_dim")))
        WAN_TRY(wan_json_int(j, "decoder_base_dim", base, 1, 4096, &decoder, path));
    if (residual || (patch && !json_is_null(patch)) || in != 3 || out != 3 || decoder != base ||
        json_array_size(json_object_get(j, "attn_scales")) != 0)
        return wan_err("%s: not a WAN 2.1 VAE (is_residual, patch_size, in_channels, out_channels, "
                       "decoder_base_dim and attn_scales must have their defaults)",
                       path);
    return 0;
}

static int read_levels(wan_vae_config *c, const json_t *j, const char *path)
{
    double v[WAN_VAE_MAX_LEVELS];
    c->levels = read_numbers(j, "dim_mult", v, -1, WAN_VAE_MAX_LEVELS, path);
    WAN_TRY(c->levels);
    for (int i = 0; i < c->levels; i++) {
        if (v[i] < 1 || v[i] > 64 || v[i] != (int)v[i])
            return wan_err("%s: key \"dim_mult\" must hold whole numbers of 1 to 64", path);
        c->dim_mult[i] = (int)v[i];
    }
    if (c->levels != 4)
        return wan_err("%s: %d levels; a WAN VAE has 4 (8x8 pixels per latent)", path, c->levels);
    WAN_TRY(read_numbers(j, "temperal_downsample", v, c->levels - 1, WAN_VAE_MAX_LEVELS, path));
    int timed = 0;
    for (int i = 0; i < c->levels - 1; i++)
        timed += c->time_down[i] = v[i] != 0;
    if (timed != 2)
        return wan_err("%s: %d temporal resamplers; a WAN VAE has 2 (4 frames per latent)", path,
                       timed);
    for (int i = 1; i < c->levels; i++)
        if (c->base_dim * c->dim_mult[i] % 2)
            return wan_err("%s: base_dim times dim_mult must be even", path);
    return 0;
}

static int read_latents(wan_vae_config *c, const json_t *j, const char *path)
{
    double v[WAN_VAE_MAX_Z];
    WAN_TRY(read_numbers(j, "latents_mean", v, c->z_dim, WAN_VAE_MAX_Z, path));
    for (int i = 0; i < c->z_dim; i++)
        c->mean[i] = WAN_C(v[i]);
    WAN_TRY(read_numbers(j, "latents_std", v, c->z_dim, WAN_VAE_MAX_Z, path));
    for (int i = 0; i < c->z_dim; i++) {
        if (!(v[i] > 0))
            return wan_err("%s: key \"latents_std\" must hold positive numbers", path);
        c->std[i] = WAN_C(v[i]);
    }
    return 0;
}

static int read_config(wan_vae_config *c, const json_t *j, const char *path)
{
    int64_t base, z, blocks;
    WAN_TRY(check_keys(j, path));
    WAN_TRY(check_variant(j, path));
    WAN_TRY(wan_json_int(j, "base_dim", 96, 1, 4096, &base, path));
    WAN_TRY(wan_json_int(j, "z_dim", 16, 1, WAN_VAE_MAX_Z, &z, path));
    WAN_TRY(wan_json_int(j, "num_res_blocks", 2, 1, 16, &blocks, path));
    c->base_dim = (int)base, c->z_dim = (int)z, c->num_res_blocks = (int)blocks;
    WAN_TRY(read_levels(c, j, path));
    return read_latents(c, j, path);
}

int wan_vae_config_load(wan_vae_config *c, const char *dir)
{
    memset(c, 0, sizeof *c);
    char *path = wan_path_join(dir, "config.json");
    json_t *j = path ? wan_json_load(path) : NULL;
    int rc = j ? read_config(c, j, path) : -1;
    json_decref(j);
    free(path);
    return rc;
}
