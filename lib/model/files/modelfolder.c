/* SPDX-License-Identifier: Apache-2.0
 *
 * modelfolder.c - looking for the transformer in a folder.
 */
#include "lib/model/files/modelfolder.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/file.h"
#include "lib/base/opt.h"

#define LATEST "latest_checkpointed_iteration.txt"

static int is_dir(const char *path)
{
    struct stat st;
    return path && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int has(const char *dir, const char *name)
{
    struct stat st;
    char *path = wan_path_join(dir, name);
    int found = path && stat(path, &st) == 0;
    free(path);
    return found;
}

/* The highest iteration of the run, -1 when there is none. */
static int64_t highest(const char *dir)
{
    int64_t best = -1;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        long long step;
        char rest;
        if (sscanf(e->d_name, "iter_%18lld%c", &step, &rest) == 1 && step > best)
            best = step;
    }
    if (d)
        closedir(d);
    return best;
}

/* The iteration the run itself calls its latest. */
static int latest(int64_t *step, const char *dir)
{
    char *path = wan_path_join(dir, LATEST), *text = NULL;
    size_t size;
    int rc = path ? wan_slurp(&text, &size, path, 64) : -1;
    if (rc == 0) {
        text[strcspn(text, "\r\n \t")] = 0;
        rc = wan_parse_int(step, text, 0, 9999999, path);
    }
    free(text);
    free(path);
    return rc;
}

static int in_run(char **out, const char *dir, int64_t step)
{
    char name[64];
    if (step < 0 && has(dir, LATEST))
        WAN_TRY(latest(&step, dir));
    else if (step < 0)
        step = highest(dir);
    snprintf(name, sizeof name, "iter_%07lld/transformer", (long long)step);
    *out = wan_path_join(dir, name);
    if (!*out || is_dir(*out))
        return *out ? 0 : -1;
    free(*out);
    *out = NULL;
    return wan_err("%s: no %s", dir, name);
}

int wan_model_transformer(char **out, const char *dir, int64_t step)
{
    *out = NULL;
    if (!is_dir(dir)) {
        return wan_err("%s: no such folder (nothing is downloaded: fetch the model first)", dir);
    }
    if (has(dir, LATEST) || highest(dir) >= 0)
        return in_run(out, dir, step);
    if (step >= 0)
        return wan_err("%s: a checkpoint step was given, but this is no training run: it has "
                       "neither " LATEST " nor iter_*",
                       dir);
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
    if (path && is_dir(path))
        return path;
    free(path);
    path = strdup(dir);
    if (!path)
        wan_err("out of memory (path)");
    return path;
}
