/* SPDX-License-Identifier: Apache-2.0
 *
 * checkpoint_save.c - writing a checkpoint by all ranks; see checkpoint.h.
 *
 * Rank 0 makes the folder and the headers; then every rank writes its elements; then rank 0 writes what
 * is small, and the manifest from the digests of all, and gives the folder its name.  Between these three
 * the ranks agree that all is well.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/model/files/modelio.h"
#include "lib/model/files/rundir.h"
#include "lib/train/checkpoint/checkpoint.h"
#include "lib/model/files/manifest.h"
#include "lib/train/checkpoint/spread.h"

struct wan_checkpoint_job {
    char *dir, *tmp;
    wan_train_state st;
    wan_arch arch;
    wan_ranks *r;
    const wan_config *c;
    wan_spread *spread;
    wan_weight *weight; /* of the model's folder, in the order in which they lie in its files */
    int weights, weight_files;
    uint32_t *sum; /* [ranks][ranges] */
    int ranges;    /* of all files that have a digest */
    pthread_t thread;
    int behind; /* the thread is there */
    int done;   /* atomic: this rank has written, or failed */
    int rc;
    char *why;
};

/* ---- what the others must know ---- */

/* -1 on all ranks when it is on one. */
static int agree(wan_ranks *r, int rc)
{
    wan_group *world = r->mesh.group[WAN_WORLD];
    int64_t failed = rc < 0 ? world->size - world->rank : 0;
    char *why = rc < 0 ? strdup(wan_err_text()) : NULL;
    rc = wan_group_all_reduce(world, NULL, &failed, 1, WAN_I64, WAN_MAX);
    if (rc == 0 && failed > 0)
        rc = why ? wan_err("%s", why)
                 : wan_err("rank %" PRId64 " cannot write the checkpoint: see what it says",
                           world->size - failed);
    free(why);
    return rc;
}

/* ---- small files, by rank 0 ---- */

static int save_state(const char *dir, const wan_train_state *st)
{
    json_t *j = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:{s:s, s:I}}", "format", "wan-train 1",
                          "step", (json_int_t)st->step, "updates", (json_int_t)st->updates,
                          "consumed_samples", (json_int_t)st->position, "skipped_steps",
                          (json_int_t)st->skipped, "seed", (json_int_t)st->seed, "dataset",
                          "digest", st->digest, "samples", (json_int_t)st->samples);
    char *path = wan_path_join(dir, "train_state.json");
    if (j && *st->products &&
        json_object_set_new(j, "bf16_products", json_string(st->products)) < 0) {
        json_decref(j);
        j = NULL;
    }
    int rc = j && path ? wan_json_save(path, j, 1) : wan_err("out of memory");
    free(path);
    json_decref(j);
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

/* ---- what is written ---- */

/* The files of the weights, sorted and split as HuggingFace has them. */
static int add_weights(wan_checkpoint_job *j, const wan_store *s)
{
    const wan_params *p = &s->params;
    const char *const *files = j->arch.model->files;
    wan_dtype *type = wan_calloc((size_t)p->n, sizeof *type, "tensor types");
    char name[128], path[256];
    if (!type)
        return -1;
    for (int i = 0; i < p->n; i++)
        type[i] = j->c->v.ckpt_dtype;
    j->weight = wan_modelio_weights(p, WAN_NAMING_HF, type);
    free(type);
    if (!j->weight)
        return -1;
    j->weights = p->n;
    j->weight_files = wan_weights_split(j->weight, p->n, j->c->v.max_shard);
    for (int k = 0; k < p->n; k++) {
        const wan_weight *w = &j->weight[k];
        wan_weights_name(name, files[1], w->file, j->weight_files);
        snprintf(path, sizeof path, "%s/%s", files[0], name);
        if (k == 0 || w->file != w[-1].file)
            WAN_TRY(wan_spread_file(j->spread, path));
        WAN_TRY(wan_spread_add(j->spread, w->id, w->type, s->master));
    }
    return 0;
}

static int add_vector(wan_checkpoint_job *j, const wan_store *s, const char *name,
                      const wan_real *x)
{
    char path[128];
    snprintf(path, sizeof path, "optimizer/%s.safetensors", name);
    WAN_TRY(wan_spread_file(j->spread, path));
    for (int i = 0; i < s->params.n; i++)
        WAN_TRY(wan_spread_add(j->spread, i, WAN_F32, x));
    return 0;
}

static int add_all(wan_checkpoint_job *j, const wan_store *s, const wan_checkpoint_vector *v)
{
    WAN_TRY(wan_spread_new(&j->spread, j->r, s));
    WAN_TRY(add_weights(j, s));
    for (; v->name; v++)
        WAN_TRY(add_vector(j, s, v->name, v->x));
    if (j->c->v.ckpt_dtype == WAN_BF16)
        WAN_TRY(add_vector(j, s, "master", s->master));
    if ((j->ranges = wan_spread_sized(j->spread)) < 0)
        return -1;
    size_t n = (size_t)j->r->mesh.group[WAN_WORLD]->size * (size_t)j->ranges;
    j->sum = wan_calloc(n, sizeof *j->sum, "digests");
    return j->sum ? 0 : -1;
}

/* ---- the three acts ---- */

static int is_root(const wan_checkpoint_job *j)
{
    return j->r->mesh.group[WAN_WORLD]->rank == 0;
}

static int make_folder(const char *top, const char *name)
{
    char *path = wan_path_join(top, name);
    int rc = path ? wan_mkdirs(path) : -1;
    free(path);
    return rc;
}

static int prepare(wan_checkpoint_job *j)
{
    char *tmp;
    WAN_TRY(wan_rundir_next(&tmp, j->dir, j->st.step));
    free(tmp);
    WAN_TRY(make_folder(j->tmp, j->arch.model->files[0]));
    WAN_TRY(make_folder(j->tmp, "optimizer"));
    return wan_spread_create(j->spread, j->tmp);
}

/* By the thread, or in its place: touches nothing that training does. */
static void *write_own(void *arg)
{
    wan_checkpoint_job *j = arg;
    j->rc = wan_spread_write(j->spread, j->tmp);
    if (j->rc < 0)
        j->why = strdup(wan_err_text());
    __atomic_store_n(&j->done, 1, __ATOMIC_RELEASE);
    return NULL;
}

static int save_manifest(const wan_checkpoint_job *j)
{
    const int n = wan_spread_files(j->spread), ranks = j->r->mesh.group[WAN_WORLD]->size;
    wan_manifest_known *known = wan_calloc((size_t)n, sizeof *known, "digests");
    if (!known)
        return -1;
    for (int k = 0; k < n; k++)
        known[k] =
            (wan_manifest_known){ wan_spread_name(j->spread, k), wan_spread_bytes(j->spread, k),
                                  wan_spread_digests(j->spread, k, j->sum, ranks) };
    int rc = wan_manifest_save(j->tmp, known, n);
    free(known);
    return rc;
}

static int sync_folder(const char *top, const char *name)
{
    char *path = wan_path_join(top, name);
    int rc = path ? wan_fsync_dir(path) : -1;
    free(path);
    return rc;
}

static int complete(const wan_checkpoint_job *j)
{
    const char *const *files = j->arch.model->files;
    char *weights = wan_path_join(j->tmp, files[0]);
    int rc =
        weights ? wan_weights_index(weights, files[1], j->weight, j->weights, j->weight_files) : -1;
    if (rc == 0)
        rc = wan_modelio_describe(&j->arch, weights, WAN_NAMING_HF);
    free(weights);
    WAN_TRY(rc);
    WAN_TRY(save_state(j->tmp, &j->st));
    WAN_TRY(save_config(j->tmp, j->c));
    WAN_TRY(save_manifest(j));
    WAN_TRY(sync_folder(j->tmp, files[0]));
    WAN_TRY(sync_folder(j->tmp, "optimizer"));
    WAN_TRY(wan_fsync_dir(j->tmp));
    return wan_rundir_replace(j->dir, j->st.step);
}

/* Rank 0, after all have written. */
static int publish(const wan_checkpoint_job *j)
{
    WAN_TRY(complete(j));
    WAN_TRY(wan_rundir_point(j->dir, j->st.step));
    return wan_rundir_prune(j->dir, j->st.step, j->c->v.keep);
}

int64_t wan_checkpoint_bytes(int64_t parameters, const wan_config *c)
{
    const int64_t moments = c->v.ema_decay > 0 ? 12 : 8,
                  weights = c->v.ckpt_dtype == WAN_BF16 ? 2 + 4 : 4;
    return parameters * (moments + weights) + (1 << 20);
}

static void close_job(wan_checkpoint_job **pj)
{
    wan_checkpoint_job *j = *pj;
    wan_spread_free(&j->spread);
    free(j->dir);
    free(j->tmp);
    free(j->weight);
    free(j->sum);
    free(j->why);
    free(j);
    *pj = NULL;
}

/* Its names, its files, and the folder with their headers. */
static int open_job(wan_checkpoint_job *j, const char *dir, const wan_store *s,
                    const wan_checkpoint_vector *v)
{
    j->dir = strdup(dir);
    j->tmp = wan_rundir_unfinished(dir, j->st.step);
    if (!j->dir || !j->tmp)
        return wan_err("out of memory (checkpoint)");
    WAN_TRY(add_all(j, s, v));
    return is_root(j) ? prepare(j) : 0;
}

static int start_thread(wan_checkpoint_job *j)
{
    WAN_TRY(wan_spread_copy(j->spread));
    int rc = pthread_create(&j->thread, NULL, write_own, j);
    if (rc)
        return wan_err("no thread to write the checkpoint: %s", strerror(rc));
    j->behind = 1;
    return 0;
}

int wan_checkpoint_begin(wan_checkpoint_job **out, const char *dir, const wan_train_state *st,
                         const wan_arch *arch, wan_ranks *r, const wan_store *s,
                         const wan_checkpoint_vector *v, const wan_config *c, int behind)
{
    wan_checkpoint_job *j = wan_calloc(1, sizeof *j, "checkpoint");
    int rc = j ? 0 : -1;
    *out = NULL;
    if (j) {
        j->st = *st;
        j->arch = *arch;
        j->r = r;
        j->c = c;
        rc = open_job(j, dir, s, v);
    }
    rc = agree(r, rc);
    if (rc == 0 && behind)
        rc = agree(r, start_thread(j));
    else if (rc == 0)
        write_own(j);
    if (rc < 0) {
        if (j)
            wan_checkpoint_abandon(&j);
        return -1;
    }
    *out = j;
    return 0;
}

int wan_checkpoint_written(const wan_checkpoint_job *j)
{
    return __atomic_load_n(&j->done, __ATOMIC_ACQUIRE);
}

static void join(wan_checkpoint_job *j)
{
    if (j->behind)
        pthread_join(j->thread, NULL);
    j->behind = 0;
}

int wan_checkpoint_end(wan_checkpoint_job **pj)
{
    wan_checkpoint_job *j = *pj;
    wan_group *world = j->r->mesh.group[WAN_WORLD];
    const size_t own = (size_t)world->rank * (size_t)j->ranges;
    join(j);
    int rc = j->rc < 0 ? wan_err("%s", j->why ? j->why : "out of memory") : 0;
    wan_spread_sums(j->spread, j->sum + own);
    rc = agree(j->r, rc);
    if (rc == 0)
        rc = wan_group_all_gather(world, NULL, j->sum, j->sum + own,
                                  (size_t)j->ranges * sizeof *j->sum, WAN_U8);
    if (rc == 0)
        rc = agree(j->r, is_root(j) ? publish(j) : 0);
    if (rc < 0)
        wan_checkpoint_abandon(pj);
    else
        close_job(pj);
    return rc;
}

void wan_checkpoint_abandon(wan_checkpoint_job **pj)
{
    wan_checkpoint_job *j = *pj;
    char *why = strdup(wan_err_text()); /* clearing up must not say it otherwise */
    join(j);
    if (is_root(j) && j->tmp)
        wan_remove_tree(j->tmp);
    close_job(pj);
    if (why)
        wan_err("%s", why);
    free(why);
}
