/* SPDX-License-Identifier: Apache-2.0
 *
 * train.c - opening a run: where to go on from, geometry, data, plan; then device and weights.
 */
#include "lib/train/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/cpu.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/model/files/manifest.h"
#include "lib/model/files/modelfolder.h"
#include "lib/model/files/modelio.h"
#include "lib/model/files/rundir.h"
#include "lib/rec/tensor/safetensors.h"
#include "lib/train/config/geometry.h"
#include "lib/train/config/modules.h"
#include "lib/train/data/blend.h"
#include "lib/train/parallel/place.h"
#include "lib/train/samples.h"
#include "lib/train/tune.h"

/* ---- before the device ---- */

static int find_resume(wan_train *t)
{
    const wan_train_config *v = &t->c->v;
    int same = !strcmp(v->load, "LATEST") || !strcmp(v->load, v->save);
    const char *dir = same ? v->save : v->load;
    int found = 0;
    if (!same && *dir && !wan_exists(dir))
        return wan_err("checkpoint.load: %s: no such folder", dir);
    if (*dir)
        found = wan_checkpoint_find(&t->resume, dir, v->ckpt_step);
    if (found < 0)
        return -1;
    if (!found && v->ckpt_step >= 0)
        return wan_err("checkpoint.ckpt_step %lld: no checkpoint in \"%s\"",
                       (long long)v->ckpt_step, dir);
    if (!found && !same && *dir)
        return wan_err("checkpoint.load: %s: no checkpoint there (the weights of a model folder "
                       "are for checkpoint.pretrained_checkpoint)",
                       dir);
    t->at_home = found && same;
    return 0;
}

/* The folder of weights: of the resume point, of pretrained_checkpoint, or of the model. */
static int find_weights(wan_train *t)
{
    const wan_train_config *v = &t->c->v;
    WAN_TRY(find_resume(t));
    if (t->resume)
        return wan_model_transformer(&t->weights, t->resume, -1);
    if (*v->pretrained)
        return wan_model_transformer(&t->weights, v->pretrained, -1);
    if (*v->model_path && v->model_mode != WAN_START_PRETRAIN)
        return wan_model_transformer(&t->weights, v->model_path, -1);
    if (v->model_mode == WAN_START_FINETUNE)
        return wan_err("model.mode=finetune needs weights: checkpoint.pretrained_checkpoint or "
                       "model.pretrained_model_name_or_path");
    return 0;
}

static int open_mesh(wan_train *t)
{
    const wan_train_config *v = &t->c->v;
    const int size[WAN_AXES] = { (int)v->pp, (int)v->dp_replicate, (int)v->dp_shard, (int)v->cp,
                                 (int)v->tp };
    WAN_TRY(wan_ranks_open(&t->ranks, size, t->comm));
    t->ranks.cp_kind = v->cp_comm;
    t->ranks.spread = v->sequence_parallel;
    wan_ranks_share(&t->ranks, v->fsdp    ? WAN_SHARD_FSDP
                               : v->zero1 ? WAN_SHARD_ZERO1
                                          : WAN_SHARD_NONE);
    return 0;
}

static int open_objective(wan_train *t)
{
    t->objective = wan_objective_find(t->arch.model->objective);
    if (!t->objective)
        WAN_BUG("no objective %s", t->arch.model->objective);
    wan_config_fields(t->c, t->objective->fields, t->settings, 0);
    return t->objective->check(t->settings);
}

/* The encoded empty prompt: dataset.empty_text, or empty_text.safetensors beside the shards. */
static int open_empty(wan_train *t)
{
    const wan_train_config *v = &t->c->v;
    char *path = NULL;
    wan_st *st = NULL;
    if (t->arch.model->text_dropped)
        return *v->empty_text ? wan_err("dataset.empty_text: a model of type %s takes a dropped "
                                        "caption as no rows",
                                        t->arch.model->type)
                              : 0;
    int rc = 0;
    if (*v->empty_text)
        rc = (path = strdup(v->empty_text)) ? 0 : wan_err("out of memory (path)");
    else if (*v->data_path && !t->opt.mock)
        rc = wan_blend_file(&path, v->data_path, v->split, "empty_text.safetensors");
    if (!path)
        return rc;
    rc = wan_st_open(&st, path);
    const wan_st_tensor *x = rc == 0 ? wan_st_find(st, "text") : NULL;
    if (rc == 0 &&
        (!x || x->rank != 2 || x->shape[1] != t->z.text_dim || x->shape[0] > t->z.text_len))
        rc = wan_err("%s: no tensor \"text\" of [rows <= %lld, %lld]", path,
                     (long long)t->z.text_len, (long long)t->z.text_dim);
    if (rc == 0) {
        t->empty_rows = x->shape[0];
        t->empty = wan_malloc((size_t)(x->count + 1), sizeof *t->empty, "empty prompt");
        rc = t->empty ? wan_st_load(st, "text", x->shape, 2, t->empty, WAN_F32) : -1;
    }
    if (st)
        wan_st_close(&st);
    free(path);
    return rc;
}

/* Tokens of sample 0. */
static int64_t first_tokens(const wan_train *t)
{
    int64_t grid[3];
    return wan_model_grid(grid, &t->z, wan_feed_info(t->feed, 0)->latent);
}

static int open_feed(wan_train *t, const char *path)
{
    const wan_train_config *v = &t->c->v;
    if (*v->debug_batch)
        return wan_feed_open_batch(&t->feed, v->debug_batch, t->z.in_channels, t->z.text_dim);
    if (!*path && !t->opt.mock)
        return wan_err("no data: give dataset.path=DIR, or --mock");
    return wan_feed_open(&t->feed, v, path, v->split, t->z.in_channels, t->z.text_dim);
}

/* The val split, read in order and without a thread. */
static int open_val(wan_train *t, const char *path, const wan_data_options *o)
{
    wan_data_options own = *o;
    own.shuffle = own.workers = 0;
    WAN_TRY(wan_feed_open_val(&t->val_feed, &t->c->v, path, t->z.in_channels, t->z.text_dim));
    return wan_data_new(&t->val, t->val_feed, &own);
}

static enum wan_training training(const wan_train *t)
{
    return t->c->v.offload_optim ? WAN_TRAIN_FAR : WAN_TRAIN;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Blocks that run forward again together: of uniform recompute, no more than this rank has in a row. */
static int64_t group(const wan_train *t)
{
    int64_t most = 0;
    for (int i = 0; i < t->ranks.ranges; i++) {
        const wan_pp_range *r = &t->ranks.range[i];
        const int first = r->first > 1 ? r->first : 1;
        const int end = r->end < t->z.parts ? r->end : t->z.parts - 1;
        most = larger(most, end - first);
    }
    if (t->c->v.recompute_method || t->c->v.recompute != WAN_RECOMPUTE_FULL)
        return 0;
    return t->c->v.recompute_layers < most ? t->c->v.recompute_layers : most;
}

/* Room for every micro-batch that training and validation can bring. */
static wan_capacity capacity(const wan_train *t)
{
    wan_capacity cap, val;
    wan_data_capacity(t->data, &cap);
    if (wan_modules_spared(&cap.spared, t->c->v.recompute_modules) < 0)
        WAN_BUG("modules that were checked");
    cap.recompute = t->c->v.recompute;
    cap.recompute_blocks = t->c->v.recompute_method ? t->c->v.recompute_layers : 0;
    cap.recompute_group = t->c->v.recompute_layers > 1 ? group(t) : 0;
    cap.away = !t->c->v.offload_acts    ? 0
               : t->c->v.offload_layers ? t->c->v.offload_layers
                                        : INT64_MAX;
    wan_samples_capacity(t, &cap);
    if (!t->val)
        return cap;
    wan_data_capacity(t->val, &val);
    cap.tokens = larger(cap.tokens, val.tokens);
    cap.samples = larger(cap.samples, val.samples);
    cap.text_rows = larger(cap.text_rows, val.text_rows);
    return cap;
}

static int open_data(wan_train *t)
{
    const wan_train_config *v = &t->c->v;
    const wan_sizes *z = &t->z;
    const char *path = t->opt.mock ? "" : v->data_path;
    wan_data_options o = { .seed = (uint64_t)v->seed,
                           .shuffle = v->shuffle && !*v->debug_batch,
                           .batch = v->global_batch,
                           .capacity = v->capacity,
                           .window = v->window,
                           .text_len = z->text_len,
                           .empty_text = t->empty_rows,
                           .rank = t->ranks.mesh.dp_rank,
                           .ranks = t->ranks.mesh.dp,
                           .workers = (int)v->workers,
                           .quad = z->quad,
                           .patch = { z->patch[0], z->patch[1], z->patch[2] } };
    WAN_TRY(open_feed(t, path));
    if (t->opt.rehearse)
        wan_feed_blank(t->feed);
    else if (t->comm->rank == 0)
        wan_feed_tell_unknown(t->feed);
    if (t->opt.mock) {
        int64_t tokens = first_tokens(t);
        WAN_TRY(tokens);
        o.capacity = larger(o.capacity, v->mock_packed * tokens);
    }
    WAN_TRY(wan_data_new(&t->data, t->feed, &o));
    if (t->opt.rehearse)
        return 0;
    int eval = v->eval_interval > 0 && v->eval_iters > 0 && !*v->debug_batch;
    if (*path && eval)
        WAN_TRY(eval = wan_feed_has_val(path));
    else if (!*path) /* mock data need not be validated unless somebody says so */
        eval = eval && wan_config_source(t->c, "train.eval_interval") != WAN_FROM_DEFAULT;
    return eval ? open_val(t, path, &o) : 0;
}

/* Where the run goes on: the state of the resume point, or step 0. */
static int open_state(wan_train *t)
{
    const wan_train_config *v = &t->c->v;
    t->saved = -1;
    if (t->resume && wan_checkpoint_has_state(t->resume)) {
        WAN_TRY(wan_checkpoint_state(&t->st, t->resume));
        if (strcmp(t->st.digest, wan_feed_digest(t->feed)))
            wan_warn("%s was trained on other data; samples go on at position %lld", t->resume,
                     (long long)t->st.position);
        if (t->st.seed != v->seed)
            wan_warn("%s was trained with seed %lld, this run uses %lld", t->resume,
                     (long long)t->st.seed, (long long)v->seed);
        if (*t->st.products && t->opt.compute == WAN_BF16 && wan_cpu_choose(t->st.products) < 0)
            wan_warn(
                "%s was trained with bf16 products by \"%s\", which this CPU does not have: sums "
                "are rounded otherwise from here on",
                t->resume, t->st.products);
        t->saved = t->at_home ? t->st.step : -1;
    }
    t->st.seed = v->seed;
    t->st.samples = wan_feed_epoch(t->feed);
    snprintf(t->st.digest, sizeof t->st.digest, "%s", wan_feed_digest(t->feed));
    return 0;
}

/* What a rehearsal is of, too. */
static int on_gpu(const wan_train_options *o)
{
    return o->rehearse || strncmp(o->device, "cuda", 4) == 0;
}

int wan_train_open(wan_train **out, wan_config *c, wan_comm *comm, const wan_train_options *o)
{
    wan_train *t = wan_calloc(1, sizeof *t, "training run");
    int local;
    *out = NULL;
    if (!t)
        return -1;
    t->c = c;
    t->comm = comm;
    t->opt = *o;
    WAN_GOTO(open_mesh(t), fail);
    WAN_GOTO(wan_comm_local(comm, &local, &t->local_ranks), fail);
    WAN_GOTO(find_weights(t), fail);
    WAN_GOTO(wan_geometry(&t->arch, c, t->weights), fail);
    wan_model_sizes(&t->z, &t->arch);
    WAN_GOTO(wan_step_check(&t->z), fail);
    WAN_GOTO(wan_ranks_slice(&t->ranks, &t->arch, (int)c->v.vpp, c->v.capacity, c->v.global_batch),
             fail);
    WAN_GOTO(open_objective(t), fail);
    WAN_GOTO(open_empty(t), fail);
    WAN_GOTO(open_data(t), fail);
    WAN_GOTO(open_state(t), fail);
    WAN_GOTO(wan_samples_open(t), fail);
    WAN_GOTO(wan_config_length(c, t->st.samples, t->st.step, t->st.position), fail);
    t->schedule = wan_schedule_of(&c->v);
    wan_capacity cap = capacity(t);
    WAN_GOTO(wan_plan_make(&t->plan, &t->arch, &t->ranks, o->compute, &cap, training(t), t->data,
                           t->feed, c->v.global_batch, t->st.position),
             fail);
    if (strncmp(o->device, "cuda", 4) == 0)
        wan_plan_cuda(&t->plan, o->device_flags);
    if (wan_config_eight(&c->v))
        wan_plan_eight(&t->plan);
    if (wan_train_keeps(t) && on_gpu(o))
        wan_plan_keeps(&t->plan);
    if (c->v.graphs && on_gpu(o))
        wan_plan_graphs(&t->plan, &t->ranks);
    if (c->v.ema_decay > 0)
        wan_plan_average(&t->plan);
    if (wan_train_saves(t))
        wan_plan_saves(&t->plan, (int)c->v.async_save);
    if (t->videos)
        wan_plan_videos(&t->plan, t->videos->bytes);
    *out = t;
    return 0;
fail:
    wan_train_close(&t);
    return -1;
}

const wan_plan *wan_train_plan(const wan_train *t)
{
    return &t->plan;
}

wan_dev *wan_train_device(wan_train *t)
{
    return t->dev;
}

int64_t wan_train_step(const wan_train *t)
{
    return t->st.step;
}

int64_t wan_train_position(const wan_train *t)
{
    return t->st.position;
}

int64_t wan_train_epoch(const wan_train *t)
{
    return t->st.samples;
}

int wan_train_fits(const wan_train *t)
{
    int64_t bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    if (t->opt.memory)
        return wan_plan_fits(&t->plan, t->opt.memory, 1, "the memory allowed");
    const int cuda = strncmp(t->opt.device, "cuda", 4) == 0;
    const int64_t all = t->plan.far + t->plan.snapshot;
    if (cuda && all * t->local_ranks > bytes)
        return wan_err("the run needs %.1f MiB of host memory, this machine has %.1f MiB",
                       (double)(all * t->local_ranks) / (1 << 20), (double)bytes / (1 << 20));
    if (!cuda) /* a GPU's memory is not known before it is taken */
        return wan_plan_fits(&t->plan, bytes - all * t->local_ranks, t->local_ranks,
                             "this machine's memory");
    return 0;
}

/* ---- on the device ---- */

static int check_memory(wan_train *t)
{
    size_t available, total;
    if (t->opt.memory)
        return wan_plan_fits(&t->plan, t->opt.memory, 1, "the memory allowed");
    WAN_TRY(t->dev->backend->memory(t->dev, &available, &total));
    if (t->dev->kind ==
        WAN_DEV_CPU) /* ranks of one machine share it; the page cache can make room */
        return wan_plan_fits(&t->plan,
                             (int64_t)total - (t->plan.far + t->plan.snapshot) * t->local_ranks,
                             t->local_ranks, "this machine's memory");
    return wan_plan_fits(&t->plan, (int64_t)available, 1, "the device's memory");
}

/* What the weights come from, a checkpoint or a model, against its digests. */
static int verify(const wan_train *t)
{
    static const char leaf[] = "/transformer";
    size_t n = t->weights ? strlen(t->weights) : 0, m = sizeof leaf - 1;
    if (n == 0)
        return 0;
    char *dir = strndup(t->weights, n > m && !strcmp(t->weights + n - m, leaf) ? n - m : 0);
    int rc = !dir ? wan_err("out of memory")
             : *dir && (t->resume || wan_checkpoint_has_state(dir))
                 ? wan_checkpoint_verify(dir, t->comm->rank, t->comm->size)
                 : wan_manifest_check_part(t->weights, t->comm->rank, t->comm->size);
    free(dir);
    return rc;
}

static int load_weights(wan_train *t)
{
    const wan_train_config *v = &t->c->v;
    const wan_checkpoint_vector moments[] = { { "exp_avg", t->optim->exp_avg },
                                              { "exp_avg_sq", t->optim->exp_avg_sq },
                                              { NULL, NULL } };
    if (t->opt.rehearse)
        return 0;
    if (v->verify)
        WAN_TRY(verify(t));
    if (t->resume) {
        int state = wan_checkpoint_has_state(t->resume);
        WAN_TRY(wan_checkpoint_load(t->resume, t->store, v->load_optim && state ? moments : NULL));
        t->optim->step = t->st.updates = v->load_optim && state ? t->st.updates : 0;
        if (t->comm->rank == 0)
            wan_info("going on from %s at step %lld%s", t->resume, (long long)t->st.step,
                     t->optim->step ? "" : ", with a new optimizer");
        return 0;
    }
    if (t->weights) {
        if (t->comm->rank == 0)
            wan_info("weights from %s", t->weights);
        return wan_modelio_load(t->store, t->weights);
    }
    if (t->comm->rank == 0)
        wan_info("random weights from seed %lld", (long long)v->seed);
    return wan_store_init(t->store, (uint64_t)v->seed);
}

/* The average of the weights, from where it was or from these weights. */
static int open_ema(wan_train *t)
{
    if (t->c->v.ema_decay == 0)
        return 0;
    WAN_TRY(wan_ema_new(&t->ema, t->store, t->c->v.ema_decay));
    t->averaged = t->st.step - t->st.skipped - t->st.updates;
    if (!t->resume || !wan_checkpoint_has(t->resume, "ema"))
        return 0;
    return wan_checkpoint_load_vector(t->resume, t->store,
                                      &(wan_checkpoint_vector){ "ema", t->ema->x });
}

/* What every rank has read on its own. */
typedef struct origin {
    double weights;
    int64_t step;
    char data[sizeof((wan_train_state *)0)->digest];
} origin;

/* Adds squares to those in front of them. */
static int square(void *arg, wan_real *const x[], int64_t at, int64_t n)
{
    wan_train *t = arg;
    return t->dev->ops->sumsq(t->dev, t->optim->sumsq, WAN_RBUF(x[0]), n, at > 0);
}

/* A file that differs on one machine must not go unnoticed. */
static int same_origin(wan_train *t)
{
    origin mine, *all = wan_calloc((size_t)t->comm->size, sizeof *all, "digests");
    int rc = all ? 0 : -1;
    memset(&mine, 0, sizeof mine);
    mine.step = t->st.step;
    memcpy(mine.data, t->st.digest, sizeof mine.data);
    const wan_rooms_vector v = { t->store->master, 0 };
    if (rc == 0)
        rc = wan_rooms_pass(t->store->rooms, &v, 1, t->store->total, square, t);
    if (rc == 0)
        rc = wan_dev_read(t->dev, &mine.weights, t->optim->sumsq, sizeof mine.weights);
    if (rc == 0)
        rc = wan_comm_gather(t->comm, &mine, sizeof mine, all);
    int twin = t->ranks.mesh.group[t->fsdp ? WAN_DP_REPLICATE : WAN_DP_CP]->member[0];
    for (int r = 0; r < t->comm->size && rc == 0; r++)
        if (!isfinite(all[r].weights))
            rc = wan_err("%s: not all of these weights are finite", t->weights);
    if (rc == 0 && all[t->comm->rank].weights != all[twin].weights)
        rc = wan_err("rank %d starts with other weights than rank %d", t->comm->rank, twin);
    for (int r = 1; r < t->comm->size && rc == 0; r++)
        if (all[r].step != all[0].step)
            rc = wan_err("rank %d starts at step %lld, rank 0 at %lld", r, (long long)all[r].step,
                         (long long)all[0].step);
        else if (strcmp(all[r].data, all[0].data))
            rc = wan_err("rank %d reads other data than rank 0 in %s", r, t->c->v.data_path);
    free(all);
    return rc;
}

/* What the plan could not know before the device was open: that "auto" is a GPU, and the larger pieces that a
 * VAE makes there. */
static int count_device(wan_train *t)
{
    if (t->dev->kind == WAN_DEV_CUDA)
        wan_plan_cuda(&t->plan, t->dev->flags);
    if (wan_train_keeps(t) && t->dev->kind == WAN_DEV_CUDA)
        wan_plan_keeps(&t->plan);
    if (t->c->v.graphs && t->dev->kind == WAN_DEV_CUDA)
        wan_plan_graphs(&t->plan, &t->ranks);
    if (!t->videos || t->dev->kind == WAN_DEV_CPU)
        return 0;
    const int64_t before = t->videos->bytes;
    WAN_TRY(wan_samples_plan(t, t->dev));
    wan_plan_videos(&t->plan, t->videos->bytes - before);
    return 0;
}

static int alloc_step(wan_train *t)
{
    size_t n = (size_t)t->c->v.global_batch;
    t->draw = wan_calloc(n, sizeof *t->draw, "draws");
    t->losses = wan_calloc(n + 2, sizeof *t->losses, "losses");
    t->factors = wan_calloc(n, sizeof *t->factors, "losses");
    t->late.draw = wan_calloc(n, sizeof *t->late.draw, "draws");
    t->late.factors = wan_calloc(n, sizeof *t->late.factors, "losses");
    t->late.index = wan_calloc(n, sizeof *t->late.index, "losses");
    t->late.tokens = wan_calloc(n, sizeof *t->late.tokens, "losses");
    t->own = wan_calloc(n, sizeof *t->own, "losses");
    t->own_index = wan_calloc(n, sizeof *t->own_index, "losses");
    t->samples = wan_calloc((size_t)t->plan.cap.samples, sizeof *t->samples, "samples");
    t->micro = wan_calloc(n, sizeof *t->micro, "micro-batches");
    const int late =
        t->factors && t->late.draw && t->late.factors && t->late.index && t->late.tokens;
    const size_t all = n * (size_t)t->ranks.mesh.size[WAN_CP] + 3;
    if (t->comm->size > 1 && wan_dev_fetches(t->dev) &&
        !(t->late.sums = wan_dev_alloc(t->dev, all * sizeof(float), "losses")))
        return -1;
    return late && t->draw && t->losses && t->own && t->own_index && t->samples && t->micro ? 0
                                                                                            : -1;
}

/* What ops take inside of themselves, for the largest pack: no step has to allocate. */
static int reserve(wan_train *t)
{
    if (t->opt.rehearse)
        return 0;
    if (t->plan.eight && !wan_dev_aside(t->dev, (size_t)t->plan.aside))
        return -1;
    return wan_dev_scratch(t->dev, (size_t)t->plan.kernels) ? 0 : -1;
}

/* What the sums of this run depend on besides its configuration, for those who go on with it. */
static void note_products(wan_train *t)
{
    const char *way =
        t->opt.compute == WAN_BF16 && t->dev->kind == WAN_DEV_CPU ? wan_cpu_isa_name() : "";
    snprintf(t->st.products, sizeof t->st.products, "%s", way);
}

static int say_device(const wan_train *t)
{
    char text[512];
    WAN_TRY(t->dev->backend->describe(t->dev, text, sizeof text));
    if (t->comm->size > 1)
        wan_info("%d ranks, the first on %s", t->comm->size, text);
    else
        wan_info("on %s", text);
    return 0;
}

/* The datasets of a mixture, and what part of the run each is. */
static void say_mix(const wan_train *t)
{
    int n, spread;
    const wan_mix_part *p = wan_feed_mix(t->feed, &n, &spread);
    int64_t total = 0;
    for (int i = 0; i < n; i++)
        total += p[i].quota;
    for (int i = 0; i < n && n > 1; i++)
        wan_info("%s: %lld samples, %.4g %% of the run", wan_feed_name(t->feed, i),
                 (long long)p[i].count, 100 * (double)p[i].quota / (double)total);
}

/* The longest sample raises the capacity: said once, because dataset.seq_length says otherwise. */
static void say_capacity(const wan_train *t)
{
    if (t->plan.longest > t->c->v.capacity)
        wan_info("dataset.seq_length=%lld is less than the longest sample: packs hold %lld tokens",
                 (long long)t->c->v.capacity, (long long)t->plan.longest);
    for (const wan_field *f = t->objective->fields; f->key; f++)
        if (strstr(f->key, ".cfg_dropout_prob") && wan_config_number(t->c, f->key) > 0)
            wan_info("a dropped caption (%s=%g) is replaced by %s", f->key,
                     wan_config_number(t->c, f->key),
                     t->empty ? "the encoded empty prompt"
                              : "no text rows, which the model sees as zeros");
    if (t->c->v.warmup_iters >= t->c->v.train_iters && t->c->v.train_iters > 0)
        wan_warn("the warm-up of %lld steps takes the whole run (scheduler.lr_warmup_iters)",
                 (long long)t->c->v.warmup_iters);
    if (t->plan.micros < t->ranks.mesh.dp)
        wan_warn("only %lld samples a step for %d data parallel ranks: some have no work",
                 (long long)t->c->v.global_batch, t->ranks.mesh.dp);
}

/* What would fail hours later, at the first checkpoint. */
static int try_save(wan_train *t)
{
    int rc = 0;
    if (!wan_train_saves(t))
        return 0;
    if (t->comm->rank == 0)
        rc = wan_rundir_probe(t->c->v.save, wan_checkpoint_bytes(t->plan.parameters, t->c));
    if (rc < 0)
        wan_err_prefix("checkpoint.save");
    return wan_train_settle(t, rc);
}

/* How the gradients of all ranks come together: over shards, over copies. */
static int open_sums(wan_train *t)
{
    const wan_mesh *m = &t->ranks.mesh;
    const int shared = t->ranks.sharding != WAN_SHARD_NONE;
    if (shared)
        WAN_TRY(wan_fsdp_new(&t->fsdp, t->store, m->group[WAN_FSDP], t->ranks.where,
                             t->ranks.sharding));
    WAN_TRY(wan_dp_new(&t->dp, t->store, m->group[shared ? WAN_DP_REPLICATE : WAN_DP_CP],
                       t->ranks.where, t->c->v.bucket_bytes));
    if (shared)
        wan_fsdp_then(t->fsdp, wan_dp_part, t->dp);
    return 0;
}

/* Where this rank runs micro-batches. */
static int open_step(wan_train *t)
{
    wan_ranks *r = &t->ranks;
    const wan_step_options o = { .cap = t->plan.cap,
                                 .batch = t->c->v.global_batch,
                                 .share = r->mesh.at[WAN_CP],
                                 .shares = r->mesh.size[WAN_CP],
                                 .cp = r->cp,
                                 .wing = wan_ranks_wing(r),
                                 .range = r->range,
                                 .ranges = r->ranges };
    return wan_step_open(&t->step, t->dev, &t->arch, t->store, &o);
}

int wan_train_start(wan_train *t)
{
    const wan_train_config *v = &t->c->v;
    WAN_TRY(try_save(t));
    WAN_TRY(wan_place_device(&t->dev, t->comm, t->opt.device, t->opt.device_flags));
    note_products(t);
    WAN_TRY(wan_tune_open(t));
    WAN_TRY(count_device(t));
    WAN_TRY(check_memory(t));
    WAN_TRY(reserve(t));
    if (t->comm->rank == 0 && !t->opt.rehearse) {
        WAN_TRY(say_device(t));
        say_mix(t);
        say_capacity(t);
    }
    WAN_TRY(wan_samples_start(t));
    WAN_TRY(wan_ranks_device(&t->ranks, t->dev, &t->arch, t->opt.compute, &t->plan.cap));
    WAN_TRY(
        wan_model_store(&t->store, t->dev, &t->arch, &t->ranks.slice, t->opt.compute, training(t)));
    t->store->eight = t->plan.eight;
    WAN_TRY(wan_optim_new(&t->optim, t->store, v->beta1, v->beta2, v->adam_eps, v->no_decay_1d));
    WAN_TRY(open_step(t));
    WAN_TRY(open_sums(t));
    WAN_TRY(alloc_step(t));
    WAN_TRY(load_weights(t));
    WAN_TRY(open_ema(t));
    WAN_TRY(same_origin(t));
    if (t->fsdp)
        WAN_TRY(wan_fsdp_changed(t->fsdp));
    return *v->debug_dump ? wan_debug_open(t) : 0;
}

void wan_train_close(wan_train **pt)
{
    wan_train *t = *pt;
    if (!t)
        return;
    if (t->hold)
        close(t->hold - 1);
    wan_debug_close(t);
    wan_samples_close(t);
    if (t->job)
        wan_checkpoint_abandon(&t->job);
    wan_data_free(&t->data);
    wan_data_free(&t->val);
    wan_feed_close(&t->feed);
    wan_feed_close(&t->val_feed);
    wan_fsdp_free(&t->fsdp);
    wan_dp_free(&t->dp);
    wan_step_free(&t->step);
    if (t->late.sums)
        wan_dev_free(t->dev, t->late.sums);
    wan_ema_free(&t->ema);
    wan_optim_free(&t->optim);
    wan_store_free(&t->store);
    wan_ranks_close(&t->ranks);
    wan_dev_close(&t->dev);
    wan_tune_close(t);
    free(t->draw);
    free(t->losses);
    free(t->factors);
    free(t->late.draw);
    free(t->late.factors);
    free(t->late.index);
    free(t->late.tokens);
    free(t->own);
    free(t->own_index);
    free(t->samples);
    free(t->micro);
    free(t->empty);
    free(t->resume);
    free(t->weights);
    free(t);
    *pt = NULL;
}
