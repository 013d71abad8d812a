/* SPDX-License-Identifier: Apache-2.0
 *
 * checkpoint.c - see checkpoint.h.
 */
#include "lib/train/checkpoint/checkpoint.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/file.h"
#include "lib/model/files/modelfolder.h"
#include "lib/model/files/modelio.h"
#include "lib/model/files/rundir.h"
#include "lib/rec/tensor/safetensors.h"
#include "lib/train/checkpoint/manifest.h"

static int is_file(const char *dir, const char *name)
{
    struct stat st;
    char *path = wan_path_join(dir, name);
    int yes = path && stat(path, &st) == 0 && S_ISREG(st.st_mode);
    free(path);
    return yes;
}

/* ---- vectors beside the weights ---- */

static char *vector_path(const char *dir, const char *name)
{
    char file[80];
    snprintf(file, sizeof file, "%s.safetensors", name);
    return wan_path_join(dir, file);
}

static int put_all(wan_st_writer *w, const wan_store *s, const wan_real *x, float *host)
{
    for (int i = 0; i < s->params.n; i++) {
        const wan_param *p = &s->params.v[i];
        WAN_TRY(wan_st_declare(w, p->name, WAN_F32, p->shape, p->rank));
    }
    for (int i = 0; i < s->params.n; i++) {
        const wan_real *at = x + s->part[s->params.v[i].part].at + s->item[i].at;
        WAN_TRY(wan_dev_read(s->d, host, at, (size_t)s->item[i].count * sizeof *host));
        WAN_TRY(wan_st_put(w, s->params.v[i].name, host, WAN_F32));
    }
    return 0;
}

/* The flat device vector x as one safetensors file of fp32 tensors by HuggingFace name. */
static int save_vector(const char *dir, const char *name, const wan_store *s, const wan_real *x)
{
    wan_st_writer *w = NULL;
    char *path = vector_path(dir, name);
    float *host = wan_malloc((size_t)wan_store_largest(s), sizeof *host, "a tensor");
    int rc = path && host ? wan_st_create(&w, path) : -1;
    if (rc == 0)
        rc = put_all(w, s, x, host);
    if (rc == 0)
        rc = wan_st_finish(&w);
    else if (w)
        wan_st_abandon(&w);
    free(host);
    free(path);
    return rc;
}

/* Tensor i of a loaded vector goes to the device. */
static int put_tensor(wan_store *s, wan_real *x, int i, const float *host)
{
    if (!x)
        return wan_store_set(s, i, host);
    wan_real *at = x + s->part[s->params.v[i].part].at + s->item[i].at;
    return wan_dev_write(s->d, at, host, (size_t)s->item[i].count * sizeof *host);
}

/* x NULL: the masters, through wan_store_set. */
static int load_vector(const char *dir, const char *name, wan_store *s, wan_real *x)
{
    wan_st *st = NULL;
    char *path = vector_path(dir, name);
    const char *extra = NULL;
    float *host = wan_malloc((size_t)wan_store_largest(s), sizeof *host, "a tensor");
    int rc = path && host ? wan_st_open(&st, path) : -1;
    for (int i = 0; i < s->params.n && rc == 0; i++) {
        const wan_param *p = &s->params.v[i];
        rc = wan_st_load(st, p->name, p->shape, p->rank, host, WAN_F32);
        if (rc == 0)
            rc = put_tensor(s, x, i, host);
        if (rc == 0)
            wan_st_release(st, wan_st_find(st, p->name));
    }
    if (rc == 0 && wan_st_unused(st, &extra) > 0)
        rc = wan_err("%s: tensor %s is not the model's", path, extra);
    free(host);
    free(path);
    if (st)
        wan_st_close(&st);
    return rc;
}

/* ---- train_state.json ---- */

static int save_state(const char *dir, const wan_train_state *st)
{
    json_t *j = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:{s:s, s:I}}", "format", "wan-train 1",
                          "step", (json_int_t)st->step, "updates", (json_int_t)st->updates,
                          "consumed_samples", (json_int_t)st->position, "skipped_steps",
                          (json_int_t)st->skipped, "seed", (json_int_t)st->seed, "dataset",
                          "digest", st->digest, "samples", (json_int_t)st->samples);
    char *path = wan_path_join(dir, "train_state.json");
    int rc = j && path ? wan_json_save(path, j, 1) : wan_err("out of memory");
    free(path);
    json_decref(j);
    return rc;
}

int wan_checkpoint_state(wan_train_state *st, const char *dir)
{
    char *path = wan_path_join(dir, "train_state.json");
    json_t *j = path ? wan_json_load(path) : NULL, *data = j ? json_object_get(j, "dataset") : NULL;
    const char *digest = "", *format = "";
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

static int save_config(const char *dir, const wan_config *c)
{
    char *path = wan_path_join(dir, "run_config.yaml");
    wan_out *o = NULL;
    int rc = path ? wan_out_open(&o, path) : -1;
    if (rc == 0) {
        fprintf(wan_out_file(o), "# effective configuration of this run; --config-file reads it\n");
        for (int i = 0; i < c->n_noted; i++)
            fprintf(wan_out_file(o), "# accepted without effect: %s\n", c->noted[i]);
        wan_config_print(c, wan_out_file(o), 0);
        rc = wan_out_finish(&o);
    }
    free(path);
    return rc;
}

/* ---- saving ---- */

static int save_vectors(const char *dir, const wan_store *s, const wan_checkpoint_vector *v)
{
    for (; v->name; v++)
        WAN_TRY(save_vector(dir, v->name, s, v->x));
    return 0;
}

static int fill(const char *tmp, const wan_train_state *st, const wan_arch *arch,
                const wan_store *s, const wan_checkpoint_vector *v, const wan_config *c)
{
    int bf16 = c->v.ckpt_dtype == WAN_BF16, rc = -1;
    char *weights = wan_path_join(tmp, arch->model->files[0]),
         *optim = wan_path_join(tmp, "optimizer");
    if (!weights || !optim)
        goto done;
    WAN_GOTO(wan_mkdirs(weights), done);
    WAN_GOTO(wan_mkdirs(optim), done);
    WAN_GOTO(wan_modelio_save(s, arch, weights, c->v.ckpt_dtype, c->v.max_shard), done);
    WAN_GOTO(save_vectors(optim, s, v), done);
    if (bf16)
        WAN_GOTO(save_vector(optim, "master", s, s->master), done);
    WAN_GOTO(save_state(tmp, st), done);
    WAN_GOTO(save_config(tmp, c), done);
    WAN_GOTO(wan_manifest_save(tmp), done);
    WAN_GOTO(wan_fsync_dir(weights), done);
    WAN_GOTO(wan_fsync_dir(optim), done);
    rc = wan_fsync_dir(tmp);
done:
    free(weights);
    free(optim);
    return rc;
}

int64_t wan_checkpoint_bytes(int64_t parameters, const wan_config *c)
{
    const int64_t moments = 8, weights = c->v.ckpt_dtype == WAN_BF16 ? 2 + 4 : 4;
    return parameters * (moments + weights) + (1 << 20);
}

int wan_checkpoint_save(const char *dir, const wan_train_state *st, const wan_arch *arch,
                        const wan_store *s, const wan_checkpoint_vector *v, const wan_config *c)
{
    char *tmp;
    WAN_TRY(wan_rundir_next(&tmp, dir, st->step));
    int rc = fill(tmp, st, arch, s, v, c);
    if (rc == 0)
        rc = wan_rundir_replace(dir, st->step);
    if (rc < 0)
        wan_remove_tree(tmp);
    free(tmp);
    WAN_TRY(rc);
    WAN_TRY(wan_rundir_point(dir, st->step));
    return wan_rundir_prune(dir, st->step, c->v.keep);
}

/* ---- finding and loading ---- */

int wan_checkpoint_find(char **path, const char *dir, int64_t step)
{
    if (!is_file(dir, "train_state.json"))
        return wan_rundir_find(path, dir, step);
    *path = strdup(dir);
    return *path ? 1 : wan_err("out of memory");
}

int wan_checkpoint_has_state(const char *path)
{
    return is_file(path, "train_state.json");
}

int wan_checkpoint_verify(const char *path)
{
    return wan_checkpoint_has_state(path) || is_file(path, "manifest.json")
               ? wan_manifest_check(path)
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
