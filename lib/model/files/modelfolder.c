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
#include "lib/rec/tensor/dcp.h"

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

static const char two[] = "%s: a WAN 2.2 model of two experts (%s), and only models of one "
                          "transformer are supported";

/* WAN 2.2 is more than the one transformer that would be found. */
static int refuse_wan22(const char *dir)
{
    if (wan_exists_in(dir, "high_noise_model") || wan_exists_in(dir, "low_noise_model"))
        return wan_err(two, dir, "high_noise_model, low_noise_model");
    if (wan_exists_in(dir, "transformer_2"))
        return wan_err(two, dir, "transformer, transformer_2");
    return 0;
}

/* A pipeline of another class has other inputs or other weights, whatever its transformer looks like. */
static int refuse_class(const char *path, const json_t *index)
{
    const json_t *v = json_object_get(index, "_class_name");
    const char *name =
        json_is_array(v) ? json_string_value(json_array_get(v, 1)) : json_string_value(v);
    if (!v || (name && !strcmp(name, "WanPipeline")))
        return 0;
    return wan_err("%s: a %s, and only the text-to-video WanPipeline is supported", path,
                   !name                          ? "pipeline whose _class_name is no text"
                   : strstr(name, "ImageToVideo") ? "WanImageToVideoPipeline (image-to-video)"
                                                  : name);
}

static int refuse_index(const char *dir, const char *path)
{
    json_t *index = wan_json_load(path);
    int rc = index ? 0 : -1;
    if (rc == 0 && (says(index, "transformer_2") || says(index, "boundary_ratio")))
        rc = wan_err(two, dir, "transformer_2 in model_index.json");
    if (rc == 0 && says(index, "expand_timesteps"))
        rc = wan_err("%s: a WAN 2.2 model with a timestep for every token (expand_timesteps in "
                     "model_index.json), which is not supported",
                     dir);
    if (rc == 0)
        rc = refuse_class(path, index);
    json_decref(index);
    return rc;
}

int wan_model_pipeline(const char *dir)
{
    WAN_TRY(refuse_wan22(dir));
    if (!wan_exists_in(dir, "model_index.json"))
        return 0;
    char *path = wan_path_join(dir, "model_index.json");
    int rc = path ? refuse_index(dir, path) : -1;
    free(path);
    return rc;
}

/* ---- pointers */

/* The first line of a small file, malloc'ed; NULL with a sentence. */
static char *line_of(const char *path)
{
    char *text;
    size_t n;
    if (wan_slurp(&text, &n, path, 4096) < 0)
        return NULL;
    text[strcspn(text, "\r\n")] = 0;
    if (!*text || strlen(text) > n) {
        wan_err("%s: is empty", path);
        free(text);
        return NULL;
    }
    return text;
}

/* ROOT/refs/main names the folder in ROOT/snapshots. */
static int in_cache(char **out, const char *root)
{
    char *ref = wan_path_join(root, "refs/main"), *dir = wan_path_join(root, "snapshots");
    char *name = ref && dir ? line_of(ref) : NULL;
    if (name && !strchr(name, '/') && strcmp(name, ".."))
        *out = wan_path_join(dir, name);
    else if (name)
        wan_err("%s: \"%s\" is no name of a snapshot", ref, name);
    int there = *out ? wan_is_dir(*out) : -1;
    if (there == 0)
        wan_err("%s: names a snapshot that is not there: %s", ref, *out);
    free(name);
    free(dir);
    free(ref);
    return there > 0 ? 0 : -1;
}

/* A file RUN/LATEST holds the name of a folder beside it. */
static int named_by(char **out, const char *pointer)
{
    const char *slash = strrchr(pointer, '/');
    char *dir = slash ? strndup(pointer, (size_t)(slash - pointer)) : strdup(".");
    char *name = line_of(pointer);
    if (dir && name)
        *out = wan_path_join(*dir ? dir : "/", name);
    int there = *out ? wan_is_dir(*out) : -1;
    if (there == 0)
        wan_err("%s: names a folder that is not there: %s", pointer, name);
    free(dir);
    free(name);
    return there > 0 ? 0 : -1;
}

/* RUN/LATEST where RUN is one of our runs, which have no such file: RUN. */
static int of_run(char **out, const char *pointer, size_t end)
{
    char *run = end ? strndup(pointer, end) : strdup(".");
    int is = run ? wan_rundir_is(run) : -1;
    if (is > 0) {
        *out = run;
        return 0;
    }
    free(run);
    *out = is < 0 ? NULL : strdup(pointer);
    return *out ? 0 : is < 0 ? -1 : wan_err("out of memory (path)");
}

int wan_model_folder(char **out, const char *path)
{
    *out = NULL;
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    size_t base = n;
    while (base && path[base - 1] != '/')
        base--;
    int dir = wan_is_dir(path);
    if (dir > 0 && n - base > 8 && !strncmp(path + base, "models--", 8) &&
        wan_exists_in(path, "snapshots"))
        return in_cache(out, path);
    if (dir == 0 && n - base == 6 && !strncmp(path + base, "LATEST", 6))
        return wan_exists(path) ? named_by(out, path) : of_run(out, path, base);
    *out = strdup(path);
    return *out ? 0 : wan_err("out of memory (path)");
}

/* ---- the transformer */

/* 1 with where a distributed checkpoint lies in a folder, malloc'ed; 0: there is none. */
static int distributed(char **out, const char *dir)
{
    const int here = wan_dcp_is(dir);
    if (!here && !wan_exists_in(dir, "model/.metadata"))
        return 0;
    *out = here ? strdup(dir) : wan_path_join(dir, "model");
    return *out ? 1 : wan_err("out of memory (path)");
}

/* A step of Automodel holds model/consolidated, or shards that are for wan-convert: 1, 0, -1. */
static int of_automodel(char **out, const char *dir)
{
    static const char *const where[] = { "model/consolidated", "consolidated" };
    for (size_t i = 0; i < 2; i++)
        if (wan_exists_in(dir, where[i]))
            return (*out = wan_path_join(dir, where[i])) ? 1 : -1;
    return 0;
}

static int in_run(char **out, const char *run, int64_t step)
{
    char *path;
    if (wan_rundir_find(&path, run, step) <= 0)
        return -1;
    *out = wan_path_join(path, "transformer");
    int there = *out ? wan_is_dir(*out) : -1;
    if (there <= 0) {
        free(*out);
        *out = NULL;
    }
    if (there == 0 && (there = distributed(out, path)) == 0)
        wan_err("%s: no transformer/", path);
    free(path);
    return there > 0 ? 0 : -1;
}

static int in_folder(char **out, const char *dir, int64_t step)
{
    int run = wan_rundir_is(dir);
    if (run)
        return run < 0 ? -1 : in_run(out, dir, step);
    if (step >= 0)
        return wan_err("%s: a checkpoint step was given, but this is no training run: it has "
                       "neither " WAN_RUNDIR_POINTER " nor iter_*",
                       dir);
    WAN_TRY(wan_model_pipeline(dir));
    int found = of_automodel(out, dir);
    if (found || (found = distributed(out, dir)))
        return found < 0 ? -1 : 0;
    if (!wan_exists_in(dir, "transformer") && !wan_exists_in(dir, "config.json"))
        return wan_err("%s: neither a training run, nor a model folder with transformer/, nor a "
                       "transformer",
                       dir);
    *out = wan_model_part(dir, "transformer");
    return *out ? 0 : -1;
}

int wan_model_transformer(char **out, const char *path, int64_t step)
{
    char *dir = NULL;
    *out = NULL;
    WAN_TRY(wan_model_folder(&dir, path));
    int there = wan_is_dir(dir);
    if (there > 0) {
        there = in_folder(out, dir, step);
    } else if (there == 0 && access(dir, F_OK) < 0) {
        there = wan_err("%s: no such folder (nothing is downloaded: fetch the model first)", dir);
    } else if (there == 0 && step >= 0) {
        there = wan_err("%s: a checkpoint step was given, but this is a file", dir);
    } else if (there == 0) {
        *out = dir;
        return 0;
    }
    free(dir);
    return there;
}

char *wan_model_part(const char *dir, const char *part)
{
    char *base = NULL;
    if (wan_model_folder(&base, dir) < 0)
        return NULL;
    char *path = wan_path_join(base, part);
    int there = path ? wan_is_dir(path) : -1;
    if (there == 0) {
        free(path);
        return base;
    }
    free(base);
    if (there < 0) {
        free(path);
        return NULL;
    }
    return path;
}
