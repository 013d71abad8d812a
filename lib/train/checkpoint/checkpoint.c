/* SPDX-License-Identifier: Apache-2.0
 *
 * checkpoint.c - see checkpoint.h.
 */
#include "lib/train/checkpoint/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/model/files/modelio.h"
#include "lib/rec/tensor/safetensors.h"
#include "lib/train/checkpoint/manifest.h"

#define POINTER "latest_checkpointed_iteration.txt"

static int is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int is_file(const char *dir, const char *name)
{
    struct stat st;
    char *path = wan_path_join(dir, name);
    int yes = path && stat(path, &st) == 0 && S_ISREG(st.st_mode);
    free(path);
    return yes;
}

/* ---- optimizer tensors ---- */

/* The flat device vector x as one safetensors file of fp32 tensors by HuggingFace name. */
static int save_vector(const char *dir, const char *name, const wan_net *m, const wan_real *x)
{
    wan_st_writer *w = NULL;
    char *path = wan_path_join(dir, name);
    float *host = NULL;
    int64_t most = 1;
    if (!path)
        return -1;
    for (int i = 0; i < m->params.n; i++)
        if (m->params.v[i].count > most)
            most = m->params.v[i].count;
    host = wan_malloc((size_t)most, sizeof *host, "a tensor");
    int rc = host ? wan_st_create(&w, path) : -1;
    for (int i = 0; i < m->params.n && rc == 0; i++) {
        const wan_param *p = &m->params.v[i];
        rc = wan_st_declare(w, p->name, WAN_F32, p->shape, p->rank);
    }
    for (int i = 0; i < m->params.n && rc == 0; i++) {
        const wan_param *p = &m->params.v[i];
        rc = wan_dev_read(m->d, host, x + p->offset, (size_t)p->count * sizeof *host);
        if (rc == 0)
            rc = wan_st_put(w, p->name, host, WAN_F32);
    }
    if (rc == 0)
        rc = wan_st_finish(&w);
    else if (w)
        wan_st_abandon(&w);
    free(host);
    free(path);
    return rc;
}

/* Tensor i of a loaded vector goes to the device. */
static int put_tensor(wan_net *m, wan_real *x, int i, const float *host)
{
    const wan_param *p = &m->params.v[i];
    return x ? wan_dev_write(m->d, x + p->offset, host, (size_t)p->count * sizeof *host)
             : wan_net_set(m, i, host);
}

/* x NULL: the masters, through wan_net_set. */
static int load_vector(const char *dir, const char *name, wan_net *m, wan_real *x)
{
    wan_st *st = NULL;
    char *path = wan_path_join(dir, name);
    const char *extra = NULL;
    float *host = NULL;
    int rc = path ? wan_st_open(&st, path) : -1;
    for (int i = 0; i < m->params.n && rc == 0; i++) {
        const wan_param *p = &m->params.v[i];
        free(host);
        host = wan_malloc((size_t)p->count, sizeof *host, "a tensor");
        rc = host ? wan_st_load(st, p->name, p->shape, p->rank, host, WAN_F32) : -1;
        if (rc == 0)
            rc = put_tensor(m, x, i, host);
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

static int fill(const char *tmp, const wan_train_state *st, const wan_net *m, const wan_optim *o,
                const wan_config *c)
{
    int bf16 = c->v.ckpt_dtype == WAN_BF16, rc = -1;
    char *weights = wan_path_join(tmp, "transformer"), *optim = wan_path_join(tmp, "optimizer");
    if (!weights || !optim)
        goto done;
    WAN_GOTO(wan_mkdirs(weights), done);
    WAN_GOTO(wan_mkdirs(optim), done);
    WAN_GOTO(wan_net_save(m, weights, c->v.ckpt_dtype, c->v.max_shard), done);
    WAN_GOTO(save_vector(optim, "exp_avg.safetensors", m, o->exp_avg), done);
    WAN_GOTO(save_vector(optim, "exp_avg_sq.safetensors", m, o->exp_avg_sq), done);
    if (bf16)
        WAN_GOTO(save_vector(optim, "master.safetensors", m, m->master), done);
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

/* Renames tmp to path; a checkpoint of the same step makes room first and is removed last. */
static int replace(const char *tmp, const char *path, const char *old)
{
    int had = is_dir(path);
    if (had && rename(path, old) < 0)
        return wan_err_errno("%s: rename to %s", path, old);
    if (wan_rename_dir(tmp, path) < 0) {
        if (had && !is_dir(path) && rename(old, path) < 0)
            return wan_err_prefix("%s stays in %s", path, old);
        return -1;
    }
    if (had)
        wan_remove_tree(old);
    return 0;
}

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Steps of the iter_* folders of dir, ascending.  Caller frees *steps. */
static int list_steps(int64_t **steps, size_t *n, const char *dir)
{
    DIR *d = opendir(dir);
    *steps = NULL;
    *n = 0;
    if (!d)
        return errno == ENOENT ? 0 : wan_err_errno("%s", dir);
    for (struct dirent *e; (e = readdir(d));) {
        int64_t step;
        int end = 0;
        if (sscanf(e->d_name, "iter_%" SCNd64 "%n", &step, &end) != 1 || e->d_name[end] || step < 0)
            continue;
        int64_t *grown = realloc(*steps, (*n + 1) * sizeof **steps);
        if (!grown) {
            closedir(d);
            return wan_err("out of memory");
        }
        *steps = grown;
        grown[(*n)++] = step;
    }
    closedir(d);
    if (*n)
        qsort(*steps, *n, sizeof **steps, by_number);
    return 0;
}

static char *iter_path(const char *dir, int64_t step, const char *before, const char *after)
{
    char name[64];
    snprintf(name, sizeof name, "%siter_%07" PRId64 "%s", before, step, after);
    return wan_path_join(dir, name);
}

/* Removes what a killed run left of a checkpoint it was writing. */
static void sweep(const char *dir)
{
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        size_t n = strlen(e->d_name);
        if (strncmp(e->d_name, ".iter_", 6) || n < 10 ||
            (strcmp(e->d_name + n - 4, ".tmp") && strcmp(e->d_name + n - 4, ".old")))
            continue;
        char *path = wan_path_join(dir, e->d_name);
        if (path)
            wan_remove_tree(path);
        free(path);
    }
    if (d)
        closedir(d);
}

/* Removes all but the keep newest checkpoints up to step.  Half-removed ones must not keep the name. */
static int prune(const char *dir, int64_t step, int64_t keep)
{
    int64_t *steps;
    size_t n, mine = 0;
    WAN_TRY(list_steps(&steps, &n, dir));
    while (mine < n && steps[mine] <= step)
        mine++;
    for (size_t i = 0; keep > 0 && i + (size_t)keep < mine; i++) {
        char *path = iter_path(dir, steps[i], "", ""), *old = iter_path(dir, steps[i], ".", ".old");
        if (path && old && rename(path, old) == 0)
            wan_remove_tree(old);
        free(path);
        free(old);
    }
    free(steps);
    return 0;
}

int wan_checkpoint_save(const char *dir, const wan_train_state *st, const wan_net *m,
                        const wan_optim *o, const wan_config *c)
{
    char *tmp = iter_path(dir, st->step, ".", ".tmp"), *path = iter_path(dir, st->step, "", "");
    char *old = iter_path(dir, st->step, ".", ".old"), *pointer = wan_path_join(dir, POINTER);
    char text[32];
    int rc = -1;
    if (!tmp || !path || !old || !pointer)
        goto done;
    WAN_GOTO(wan_mkdirs(dir), done);
    sweep(dir);
    WAN_GOTO(wan_mkdirs(tmp), done);
    if (fill(tmp, st, m, o, c) < 0 || replace(tmp, path, old) < 0) {
        wan_remove_tree(tmp);
        goto done;
    }
    int n = snprintf(text, sizeof text, "%" PRId64 "\n", st->step);
    WAN_GOTO(wan_spew(pointer, text, (size_t)n), done);
    rc = prune(dir, st->step, c->v.keep);
done:
    free(tmp);
    free(path);
    free(old);
    free(pointer);
    return rc;
}

/* ---- finding and loading ---- */

/* Step named by the pointer file: 1, or 0 when there is none. */
static int read_pointer(int64_t *step, const char *dir)
{
    char *path = wan_path_join(dir, POINTER), *text = NULL;
    size_t n;
    int rc;
    if (!path)
        return -1;
    if (access(path, F_OK) < 0) {
        rc = 0;
    } else if ((rc = wan_slurp(&text, &n, path, 4096)) == 0) {
        text[strcspn(text, "\r\n \t")] = 0;
        rc = wan_parse_step(step, text) < 0 ? wan_err("%s: \"%s\" is not a step", path, text) : 1;
    }
    free(text);
    free(path);
    return rc;
}

/* For a run that was killed between its first checkpoint and the pointer: folders are complete. */
static int newest(int64_t *step, const char *dir)
{
    int64_t *steps;
    size_t n;
    WAN_TRY(list_steps(&steps, &n, dir));
    if (n) {
        *step = steps[n - 1];
        wan_warn("%s: no " POINTER ": taking the newest step, %" PRId64, dir, *step);
    }
    free(steps);
    return n > 0;
}

int wan_checkpoint_find(char **path, const char *dir, int64_t step)
{
    *path = NULL;
    if (is_file(dir, "train_state.json")) {
        *path = strdup(dir);
        return *path ? 1 : wan_err("out of memory");
    }
    if (step < 0) {
        int found = read_pointer(&step, dir);
        if (found == 0)
            found = newest(&step, dir);
        if (found <= 0)
            return found;
    }
    *path = iter_path(dir, step, "", "");
    if (!*path)
        return -1;
    if (is_dir(*path))
        return 1;
    wan_err("%s: no such checkpoint", *path);
    free(*path);
    *path = NULL;
    return -1;
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

int wan_checkpoint_load(const char *path, wan_net *m, wan_optim *o)
{
    char *weights = wan_path_join(path, "transformer"), *optim = wan_path_join(path, "optimizer");
    int rc = weights && optim ? 0 : -1;
    int master = rc == 0 && is_file(optim, "master.safetensors");
    if (rc == 0)
        rc = master ? load_vector(optim, "master.safetensors", m, NULL) : wan_net_load(m, weights);
    if (rc == 0 && o)
        rc = load_vector(optim, "exp_avg.safetensors", m, o->exp_avg);
    if (rc == 0 && o)
        rc = load_vector(optim, "exp_avg_sq.safetensors", m, o->exp_avg_sq);
    free(weights);
    free(optim);
    return rc;
}
