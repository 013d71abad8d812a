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
#include "lib/train/checkpoint/gather.h"
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

/* The next vector of g as one safetensors file of fp32 tensors by HuggingFace name. */
static int save_vector(const char *dir, const char *name, wan_gather *g)
{
    const wan_params *ps = &g->s->params;
    wan_st_writer *w = NULL;
    char *path = vector_path(dir, name);
    int rc = path ? wan_st_create(&w, path) : -1;
    for (int i = 0; i < ps->n && rc == 0; i++)
        rc = wan_st_declare(w, ps->v[i].name, WAN_F32, ps->v[i].shape, ps->v[i].rank);
    for (int i = 0; i < ps->n && rc == 0; i++) {
        rc = wan_gather_next(g, i);
        if (rc == 0)
            rc = wan_st_put(w, ps->v[i].name, g->whole, WAN_F32);
    }
    if (rc == 0)
        rc = wan_st_finish(&w);
    else if (w)
        wan_st_abandon(&w);
    free(path);
    return rc;
}

/* One weight for the writer of the model's folder. */
static int fetch(void *arg, int i, const void **data, wan_dtype *t)
{
    wan_gather *g = arg;
    *data = g->whole;
    *t = WAN_F32;
    return wan_gather_next(g, i);
}

static int save_weights(const char *dir, const wan_arch *arch, wan_gather *g, const wan_config *c)
{
    const wan_params *ps = &g->s->params;
    wan_dtype *type = wan_calloc((size_t)ps->n, sizeof *type, "tensor types");
    if (!type)
        return -1;
    for (int i = 0; i < ps->n; i++)
        type[i] = c->v.ckpt_dtype;
    int rc = wan_modelio_write(arch, ps, dir, WAN_NAMING_HF, type, c->v.max_shard, fetch, g);
    free(type);
    return rc;
}

/* Tensor i of a loaded vector goes to the device. */
static int put_tensor(wan_store *s, wan_real *x, int i, const float *host)
{
    if (!x)
        return wan_store_set(s, i, host);
    const wan_piece p = wan_store_piece(s, i);
    if (p.n == s->params.v[i].count || !p.n)
        return p.n ? wan_dev_write(s->d, x + p.at, host, (size_t)p.n * sizeof *host) : 0;
    float *held = wan_malloc((size_t)p.n, sizeof *held, "a tensor");
    if (!held)
        return -1;
    wan_store_gather(&s->params.v[i], &s->item[i], &p, held, host);
    int rc = wan_dev_write(s->d, x + p.at, held, (size_t)p.n * sizeof *held);
    free(held);
    return rc;
}

/* x NULL: the masters, through wan_store_set. */
static int load_vector(const char *dir, const char *name, wan_store *s, wan_real *x)
{
    wan_st *st = NULL;
    char *path = vector_path(dir, name);
    const char *extra = NULL;
    int64_t most = 1;
    for (int i = 0; i < s->params.n; i++)
        most = s->params.v[i].count > most ? s->params.v[i].count : most;
    float *host = wan_malloc((size_t)most, sizeof *host, "a tensor");
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

static int fill(const char *tmp, const wan_train_state *st, const wan_arch *arch, wan_gather *g,
                const wan_checkpoint_vector *v, const wan_config *c)
{
    int rc = -1;
    char *weights = wan_path_join(tmp, arch->model->files[0]),
         *optim = wan_path_join(tmp, "optimizer");
    if (!weights || !optim)
        goto done;
    WAN_GOTO(wan_mkdirs(weights), done);
    WAN_GOTO(wan_mkdirs(optim), done);
    WAN_GOTO(save_weights(weights, arch, g, c), done);
    for (; v->name; v++)
        WAN_GOTO(save_vector(optim, v->name, g), done);
    if (c->v.ckpt_dtype == WAN_BF16)
        WAN_GOTO(save_vector(optim, "master", g), done);
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

/* Rank 0 writes; its errors are said after the others have been let go. */
static int write_all(const char *dir, const wan_train_state *st, const wan_arch *arch,
                     wan_gather *g, const wan_checkpoint_vector *v, const wan_config *c)
{
    char *tmp = NULL, *why = NULL;
    int rc = wan_rundir_next(&tmp, dir, st->step);
    if (rc == 0)
        rc = fill(tmp, st, arch, g, v, c);
    if (rc < 0)
        why = strdup(wan_err_text());
    if (wan_gather_rest(g) < 0 && rc == 0)
        rc = -1;
    if (rc == 0)
        rc = wan_rundir_replace(dir, st->step);
    if (rc < 0 && tmp)
        wan_remove_tree(tmp);
    if (why)
        wan_err("%s", why);
    free(tmp);
    free(why);
    WAN_TRY(rc);
    WAN_TRY(wan_rundir_point(dir, st->step));
    return wan_rundir_prune(dir, st->step, c->v.keep);
}

int wan_checkpoint_save(const char *dir, const wan_train_state *st, const wan_arch *arch,
                        wan_ranks *r, const wan_store *s, const wan_checkpoint_vector *v,
                        const wan_config *c)
{
    const wan_real *vector[8];
    wan_gather g;
    int n = 0;
    for (; v[n].name; n++)
        vector[n] = v[n].x;
    if (c->v.ckpt_dtype == WAN_BF16)
        vector[n++] = s->master;
    WAN_TRY(wan_gather_open(&g, r, s, vector, n));
    int rc = r->mesh.group[WAN_WORLD]->rank == 0 ? write_all(dir, st, arch, &g, v, c)
                                                 : wan_gather_rest(&g);
    wan_gather_close(&g);
    return rc;
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
