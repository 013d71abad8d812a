/* SPDX-License-Identifier: Apache-2.0
 *
 * checkpoint.c - finding and loading; see checkpoint.h.
 */
#include "lib/train/checkpoint/checkpoint.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/file.h"
#include "lib/model/files/modelfolder.h"
#include "lib/model/files/modelio.h"
#include "lib/model/files/rundir.h"
#include "lib/rec/tensor/safetensors.h"
#include "lib/model/files/manifest.h"

/* 1, 0, or -1 with a sentence. */
static int look_for(const char *dir, const char *name)
{
    struct stat st;
    char *path = wan_path_join(dir, name);
    int rc = !path                                 ? -1
             : stat(path, &st) == 0                ? S_ISREG(st.st_mode) != 0
             : errno == ENOENT || errno == ENOTDIR ? 0
                                                   : wan_err_errno("%s", path);
    free(path);
    return rc;
}

/* What cannot be seen may be there: who reads it says why it cannot. */
static int is_file(const char *dir, const char *name)
{
    return look_for(dir, name) != 0;
}

/* ---- vectors beside the weights ---- */

static char *vector_path(const char *dir, const char *name)
{
    char file[80];
    snprintf(file, sizeof file, "%s.safetensors", name);
    return wan_path_join(dir, file);
}

/* x: NULL: the masters and their copies. */
static int load_vector(const char *dir, const char *name, wan_store *s, wan_real *x)
{
    wan_st *st = NULL;
    char *path = vector_path(dir, name);
    const char *extra = NULL;
    int rc = path ? wan_st_open(&st, path) : -1;
    for (int i = 0; i < s->params.n && rc == 0; i++) {
        const wan_param *p = &s->params.v[i];
        rc = wan_st_load(st, p->name, p->shape, p->rank, NULL, WAN_F32);
        if (rc == 0)
            rc = wan_modelio_fill(s, i, x, wan_st_find(st, p->name));
        if (rc == 0)
            wan_st_release(st, wan_st_find(st, p->name));
    }
    if (rc == 0 && wan_st_unused(st, &extra) > 0)
        rc = wan_err("%s: tensor %s is not the model's", path, extra);
    free(path);
    if (st)
        wan_st_close(&st);
    return rc;
}

/* ---- train_state.json ---- */

int wan_checkpoint_state(wan_train_state *st, const char *dir)
{
    char *path = wan_path_join(dir, "train_state.json");
    json_t *j = path ? wan_json_load(path) : NULL, *data = j ? json_object_get(j, "dataset") : NULL;
    const char *digest = "", *format = "", *products = "";
    const int64_t many = INT64_C(1) << 53;
    int rc = -1;
    memset(st, 0, sizeof *st);
    if (!j)
        goto done;
    WAN_GOTO(wan_json_str(j, "format", "", &format, path), done);
    if (strcmp(format, "wan-train 1")) {
        wan_err("%s: format \"%s\" is not \"wan-train 1\"", path, format);
        goto done;
    }
    WAN_GOTO(wan_json_int(j, "step", 0, 0, many, &st->step, path), done);
    WAN_GOTO(wan_json_int(j, "updates", 0, 0, many, &st->updates, path), done);
    WAN_GOTO(wan_json_int(j, "consumed_samples", 0, 0, many, &st->position, path), done);
    WAN_GOTO(wan_json_int(j, "skipped_steps", 0, 0, many, &st->skipped, path), done);
    WAN_GOTO(wan_json_int(j, "seed", 0, 0, many, &st->seed, path), done);
    WAN_GOTO(wan_json_str(j, "bf16_products", "", &products, path), done);
    snprintf(st->products, sizeof st->products, "%s", products);
    if (json_is_object(data)) {
        WAN_GOTO(wan_json_str(data, "digest", "", &digest, path), done);
        WAN_GOTO(wan_json_int(data, "samples", 0, 0, many, &st->samples, path), done);
        snprintf(st->digest, sizeof st->digest, "%s", digest);
    }
    rc = 0;
done:
    json_decref(j);
    free(path);
    return rc;
}

/* ---- finding and loading ---- */

int wan_checkpoint_find(char **path, const char *dir, int64_t step)
{
    int is_step = look_for(dir, "train_state.json");
    WAN_TRY(is_step);
    if (!is_step)
        return wan_rundir_find(path, dir, step);
    *path = strdup(dir);
    return *path ? 1 : wan_err("out of memory");
}

int wan_checkpoint_has_state(const char *path)
{
    return is_file(path, "train_state.json");
}

int wan_checkpoint_verify(const char *path, int rank, int ranks)
{
    return wan_checkpoint_has_state(path) || is_file(path, "manifest.json")
               ? wan_manifest_check(path, rank, ranks)
               : 0;
}

int wan_checkpoint_load(const char *path, wan_store *s, const wan_checkpoint_vector *v)
{
    char *weights = NULL, *optim = wan_path_join(path, "optimizer");
    int rc = optim ? wan_model_transformer(&weights, path, -1) : -1;
    int master = rc == 0 && is_file(optim, "master.safetensors");
    if (rc == 0)
        rc = master ? load_vector(optim, "master", s, NULL) : wan_modelio_load(s, weights);
    for (; rc == 0 && v && v->name; v++)
        rc = load_vector(optim, v->name, s, v->x);
    free(weights);
    free(optim);
    return rc;
}

int wan_checkpoint_has(const char *path, const char *name)
{
    char file[64];
    snprintf(file, sizeof file, "optimizer/%s.safetensors", name);
    return is_file(path, file);
}

int wan_checkpoint_load_vector(const char *path, wan_store *s, const wan_checkpoint_vector *v)
{
    char *optim = wan_path_join(path, "optimizer");
    int rc = optim ? load_vector(optim, v->name, s, v->x) : -1;
    free(optim);
    return rc;
}
