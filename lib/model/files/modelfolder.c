/* SPDX-License-Identifier: Apache-2.0
 *
 * modelfolder.c - looking for the transformer in a folder.
 */
#include "lib/model/files/modelfolder.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/model/files/rundir.h"

static int has(const char *dir, const char *name)
{
    char *path = wan_path_join(dir, name);
    int found = path && access(path, F_OK) == 0;
    free(path);
    return found;
}

/* A key of model_index.json that says anything: not null, false, nor a list of nulls. */
static int says(const json_t *index, const char *key)
{
    const json_t *v = json_object_get(index, key);
    size_t i = 0;
    while (json_is_array(v) && i < json_array_size(v) && json_is_null(json_array_get(v, i)))
        i++;
    return v && !json_is_null(v) && !json_is_false(v) &&
           !(json_is_array(v) && i == json_array_size(v));
}

/* WAN 2.2 is more than the one transformer that would be found. */
static int refuse_wan22(const char *dir)
{
    static const char two[] = "%s: a WAN 2.2 model of two experts (%s), and only models of one "
                              "transformer are supported";
    if (has(dir, "high_noise_model") || has(dir, "low_noise_model"))
        return wan_err(two, dir, "high_noise_model, low_noise_model");
    if (has(dir, "transformer_2"))
        return wan_err(two, dir, "transformer, transformer_2");
    if (!has(dir, "model_index.json"))
        return 0;
    char *path = wan_path_join(dir, "model_index.json");
    json_t *index = path ? wan_json_load(path) : NULL;
    int rc = index ? 0 : -1;
    if (rc == 0 && (says(index, "transformer_2") || says(index, "boundary_ratio")))
        rc = wan_err(two, dir, "transformer_2 in model_index.json");
    if (rc == 0 && says(index, "expand_timesteps"))
        rc = wan_err("%s: a WAN 2.2 model with a timestep for every token (expand_timesteps in "
                     "model_index.json), which is not supported",
                     dir);
    json_decref(index);
    free(path);
    return rc;
}

static int in_run(char **out, const char *run, int64_t step)
{
    char *path;
    if (wan_rundir_find(&path, run, step) <= 0)
        return -1;
    *out = wan_path_join(path, "transformer");
    int there = *out ? wan_is_dir(*out) : -1;
    if (there == 0)
        wan_err("%s: no transformer/", path);
    free(path);
    if (there > 0)
        return 0;
    free(*out);
    *out = NULL;
    return -1;
}

int wan_model_transformer(char **out, const char *dir, int64_t step)
{
    *out = NULL;
    int there = wan_is_dir(dir), run = there > 0 ? wan_rundir_is(dir) : there;
    if (there == 0)
        return wan_err("%s: no such folder (nothing is downloaded: fetch the model first)", dir);
    if (run)
        return run < 0 ? -1 : in_run(out, dir, step);
    if (step >= 0)
        return wan_err("%s: a checkpoint step was given, but this is no training run: it has "
                       "neither " WAN_RUNDIR_POINTER " nor iter_*",
                       dir);
    WAN_TRY(refuse_wan22(dir));
    if (!has(dir, "transformer") && !has(dir, "config.json"))
        return wan_err("%s: neither a training run, nor a model folder with transformer/, nor a "
                       "transformer",
                       dir);
    *out = wan_model_part(dir, "transformer");
    return *out ? 0 : -1;
}

char *wan_model_part(const char *dir, const char *part)
{
    char *path = wan_path_join(dir, part);
    if (path && wan_is_dir(path) > 0)
        return path;
    free(path);
    path = strdup(dir);
    if (!path)
        wan_err("out of memory (path)");
    return path;
}
