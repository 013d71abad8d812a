/* SPDX-License-Identifier: Apache-2.0
 *
 * config_finish.c - what nobody gave: defaults of the recipe, of mock data and of the flow preset,
 * the global batch, the lengths of the run; and checks of several keys together.
 */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/train/config/config_priv.h"
#include "lib/train/config/modules.h"

static int given(const wan_config *c, const char *key)
{
    return wan_config_source(c, key) > WAN_FROM_PRESET;
}

/* Whether a key of that section was given, under the name that it has there. */
static int given_in(const wan_config *c, const char *section, enum wan_key_source from)
{
    size_t n = strlen(section);
    for (int i = 0; i < c->n_entries; i++)
        if (c->entry[i].source == from && !strncmp(c->entry[i].key, section, n))
            return 1;
    return 0;
}

static int derive_absent(wan_config *c, const char *key, const char *value, const char *origin)
{
    return given(c, key) ? 0 : wan_config_derive(c, key, value, origin);
}

/* ---- problems ---- */

static int report(wan_config *c)
{
    WAN_TRY(wan_config_resolve(c));
    for (int i = 0; i < c->n_entries; i++) {
        const wan_config_entry *e = &c->entry[i];
        if (!e->unknown || e->asked)
            continue;
        wan_config_unknown(e->key);
        WAN_TRY(wan_config_problem(c, e));
    }
    return c->problems ? wan_err("%s", c->problems) : 0;
}

/* Keys and sizes that only DFM's DiT has name the model, where nobody does. */
static int infer_model(wan_config *c)
{
    char origin[160];
    if (given(c, "model.type"))
        return 0;
    if (given(c, "model.size") && c->v.model_size >= WAN_SIZE_DIT_S)
        return wan_config_derive(c, "model.type", "dit", "model.size");
    for (int i = 0; i < wan_config_n_keys(); i++) {
        const char *key = wan_config_key(i)->name;
        if (wan_config_key_model(i) != WAN_MODEL_DIT || c->value[i].source <= WAN_FROM_PRESET)
            continue;
        snprintf(origin, sizeof origin, "%s, which only DFM's DiT has", key);
        return wan_config_derive(c, "model.type", "dit", origin);
    }
    return 0;
}

/* A key that another model has is refused. */
static int check_model(const wan_config *c)
{
    for (int i = 0; i < wan_config_n_keys(); i++) {
        const enum wan_model_type only = wan_config_key_model(i);
        if (only != WAN_MODEL_ANY && only != c->v.model_type &&
            c->value[i].source > WAN_FROM_PRESET)
            return wan_err("%s is no key of a model of type %s (%s)", wan_config_key(i)->name,
                           wan_config_text(c, "model.type"),
                           c->value[wan_config_find("model.type")].origin);
    }
    return 0;
}

/* ---- defaults ---- */

/* Automodel's defaults where they differ from the table's, which are those of DFM's Megatron recipe.
 * "sections": only with an lr_scheduler section; without one the rate is constant. */
static const struct {
    const char *key, *value;
} automodel[] = {
    { "train.train_iters", "-1" },
    { "optimizer.lr", "5e-06" },
    { "optimizer.adam_beta2", "0.999" },
    { "optimizer.weight_decay", "0.01" },
    { "rng.seed", "42" },
    { "logger.log_interval", "1" },
    { "checkpoint.save_every_epoch", "true" },
    { "checkpoint.save", "checkpoints" },
    { "dataset.F_latents", "16" },
    { "dataset.H_latents", "30" },
    { "dataset.W_latents", "52" },
    { "dataset.context_seq_len", "77" },
};

static int is_automodel(const wan_config *c)
{
    static const char *const sections[] = { "step_scheduler.", "optim.",   "lr_scheduler.",
                                            "flow_matching.",  "fsdp.",    "data.dataloader.",
                                            "batch.",          "training." };
    enum wan_key_source from = c->files ? WAN_FROM_YAML : WAN_FROM_WORD;
    if (c->v.recipe != WAN_RECIPE_AUTO)
        return c->v.recipe == WAN_RECIPE_AUTOMODEL;
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++)
        if (given_in(c, sections[i], from))
            return 1;
    return 0;
}

static int automodel_rate(wan_config *c, const char *origin)
{
    if (!given_in(c, "lr_scheduler.", WAN_FROM_YAML) &&
        !given_in(c, "lr_scheduler.", WAN_FROM_WORD)) {
        WAN_TRY(derive_absent(c, "scheduler.lr_decay_style", "constant", origin));
        return derive_absent(c, "scheduler.lr_warmup_iters", "0", origin);
    }
    if (!given(c, "optimizer.min_lr"))
        WAN_TRY(wan_config_derive_real(c, "optimizer.min_lr", 0.01 * c->v.lr, origin));
    if (!given(c, "scheduler.lr_warmup_init"))
        WAN_TRY(wan_config_derive_real(c, "scheduler.lr_warmup_init", 0.1 * c->v.lr, origin));
    return derive_absent(c, "scheduler.lr_wsd_decay_style", "cosine", origin);
}

/* DFM's recipe of the DiT, where it differs from the table's, which are those of its WAN. */
static const struct {
    const char *key, *value;
} dit[] = {
    { "model.size", "dit-xl" },        { "train.global_batch_size", "2" },
    { "train.eval_interval", "1000" }, { "dataset.seq_length", "8000" },
    { "dataset.F_latents", "1" },      { "dataset.H_latents", "256" },
    { "dataset.W_latents", "512" },
};

static int apply_recipe(wan_config *c)
{
    static const char origin[] = "Automodel's recipe";
    for (size_t i = 0; i < sizeof dit / sizeof dit[0] && c->v.model_type == WAN_MODEL_DIT; i++)
        WAN_TRY(derive_absent(c, dit[i].key, dit[i].value, "DFM's recipe of the DiT"));
    if (is_automodel(c)) {
        WAN_TRY(wan_config_derive(c, "train.recipe", "automodel", "the names of the keys"));
        for (size_t i = 0; i < sizeof automodel / sizeof automodel[0]; i++)
            WAN_TRY(derive_absent(c, automodel[i].key, automodel[i].value, origin));
        WAN_TRY(automodel_rate(c, origin));
        if (!given(c, "train.epochs") && !given(c, "train.train_iters"))
            return wan_config_derive(c, "train.epochs", "10", origin);
        return 0;
    }
    WAN_TRY(wan_config_derive(c, "train.recipe", "megatron",
                              given(c, "train.recipe") ? "given" : "the names of the keys"));
    if (c->v.epochs > 0)
        return derive_absent(c, "train.train_iters", "-1", "train.epochs");
    return 0;
}

/* One row per key of the flow presets: DFM's Megatron scripts, and Automodel's pipeline. */
static const struct {
    const char *key, *pretrain, *finetune, *automodel;
} presets[] = {
    { "flow.timestep_sampling", "logit_normal", "uniform", "logit_normal" },
    { "flow.logit_mean", "0", "0", "0" },
    { "flow.logit_std", "1.5", "1", "1" },
    { "flow.shift", "2.5", "3", "3" },
    { "flow.mix_uniform_ratio", "0.2", "0.1", "0.1" },
    { "flow.sigma_min", "0", "0", "0" },
    { "flow.sigma_max", "1", "1", "1" },
    { "flow.use_loss_weighting", "true", "true", "true" },
};

static int apply_preset(wan_config *c, const char *mode)
{
    if (c->v.preset == WAN_START_AUTO) {
        const char *from = mode ? "--training-mode" : "train.recipe";
        if (!mode)
            mode = c->v.recipe == WAN_RECIPE_AUTOMODEL ? "automodel" : "finetune";
        WAN_TRY(wan_config_derive(c, "flow.preset", mode, from));
    }
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        const char *value = c->v.preset == WAN_START_PRETRAIN   ? presets[i].pretrain
                            : c->v.preset == WAN_START_FINETUNE ? presets[i].finetune
                                                                : presets[i].automodel;
        WAN_TRY(derive_absent(c, presets[i].key, value, "flow.preset"));
    }
    return 0;
}

/* Automodel names mock data by the function that makes them. */
static int mock_loader(const wan_config *c)
{
    static const char name[] = "build_mock_dataloader";
    const size_t m = sizeof name - 1;
    for (int i = 0; i < c->n_entries; i++) {
        const wan_config_entry *e = &c->entry[i];
        size_t n = e->text ? strlen(e->text) : 0;
        if (!strcmp(e->key, "data.dataloader._target_") && n >= m && !strcmp(e->text + n - m, name))
            return 1;
    }
    return 0;
}

/* No checkpoints; and where the capacity of a pack was given, a video of the recipe's proportions
 * that fits it. */
static int apply_mock(wan_config *c)
{
    static const char *const key[3] = { "dataset.F_latents", "dataset.H_latents",
                                        "dataset.W_latents" };
    const int64_t h = c->v.mock_h / 2, w = c->v.mock_w / 2;
    const double room = (double)c->v.capacity, part = cbrt(room / (double)(c->v.mock_t * h * w));
    WAN_TRY(derive_absent(c, "checkpoint.save", "", "mock data"));
    if (!given(c, "dataset.seq_length") || part >= 1)
        return 0;
    for (int i = 0; i < 3; i++)
        if (given(c, key[i]))
            return 0;
    double t = floor((double)c->v.mock_t * part),
           side = t > 1 ? part : sqrt(room / (double)(h * w));
    const double n[3] = { t, floor((double)h * side), floor((double)w * side) };
    for (int i = 0; i < 3; i++)
        WAN_TRY(wan_config_derive_int(c, key[i], (int64_t)fmax(n[i], 1) * (i ? 2 : 1),
                                      "dataset.seq_length"));
    return 0;
}

/* A name on the HuggingFace hub that is no folder here: where no weights are needed, it stands for
 * the published size. */
static int apply_hub_name(wan_config *c)
{
    const char *name = c->v.model_path;
    const char *size = strstr(name, "Wan2.1-T2V-14B")    ? "14B"
                       : strstr(name, "Wan2.1-T2V-1.3B") ? "1.3B"
                                                         : NULL;
    const char *slash = strchr(name, '/');
    if (!slash || slash == name || *name == '.' || strchr(slash + 1, '/') || wan_exists(name))
        return 0; /* not "owner/model" */
    if (!c->v.mock && c->v.model_mode != WAN_START_PRETRAIN)
        return wan_err("model.pretrained_model_name_or_path: %s: no such folder, and nothing is "
                       "downloaded (huggingface-cli download %s --local-dir DIR does)",
                       name, name);
    if (!size)
        return wan_err("model.pretrained_model_name_or_path: %s: no such folder, and it is not the "
                       "name of a published WAN 2.1 text-to-video model",
                       name);
    if (!given(c, "model.size"))
        WAN_TRY(wan_config_derive(c, "model.size", size, "model.pretrained_model_name_or_path"));
    WAN_TRY(wan_config_note(c, "model.pretrained_model_name_or_path", name,
                            "it is not on this machine; its size is used, the weights are random"));
    WAN_TRY(wan_config_derive(c, "model.mode", "pretrain", "no weights on this machine"));
    return wan_config_derive(c, "model.pretrained_model_name_or_path", "", "not on this machine");
}

/* Automodel's fsdp section asks for FSDP; either way of sharing takes all ranks when it is not told how
 * many. */
static int apply_sharing(wan_config *c)
{
    if (given_in(c, "fsdp.", WAN_FROM_YAML) || given_in(c, "fsdp.", WAN_FROM_WORD))
        WAN_TRY(derive_absent(c, "dist.use_megatron_fsdp", "true", "the section fsdp"));
    if ((!c->v.fsdp && !c->v.zero1) || given(c, "dist.dp_replicate_size"))
        return 0;
    return derive_absent(c, "dist.dp_shard_size", "0",
                         c->v.fsdp ? "dist.use_megatron_fsdp"
                                   : "optimizer.use_distributed_optimizer");
}

/* ---- checks ---- */

static int check_recompute(const wan_train_config *v)
{
    int spared;
    if (v->recompute_method && !v->recompute_layers)
        return wan_err("model.recompute_method=block: of how many blocks "
                       "(model.recompute_num_layers)?");
    WAN_TRY(wan_modules_spared(&spared, v->recompute_modules));
    if (spared && v->recompute != WAN_RECOMPUTE_SELECTIVE)
        return wan_err("model.recompute_modules is for model.recompute_granularity=selective");
    if (v->offload_acts && v->recompute == WAN_RECOMPUTE_FULL && !v->recompute_method &&
        v->recompute_layers > 1)
        return wan_err("model.cpu_offloading: blocks that are recomputed in groups of %lld "
                       "(model.recompute_num_layers) keep nothing that could leave, but each "
                       "group's input",
                       (long long)v->recompute_layers);
    return 0;
}

static int check_together(const wan_train_config *v)
{
    WAN_TRY(check_recompute(v));
    if (v->sigma_min >= v->sigma_max)
        return wan_err("flow.sigma_min %g is not below flow.sigma_max %g", v->sigma_min,
                       v->sigma_max);
    if (v->min_lr > v->lr)
        return wan_err("optimizer.min_lr %g is above optimizer.lr %g", v->min_lr, v->lr);
    if (v->warmup_init > v->lr)
        return wan_err("scheduler.lr_warmup_init %g is above optimizer.lr %g", v->warmup_init,
                       v->lr);
    if (v->sequence_parallel && v->tp == 1)
        return wan_err("model.sequence_parallel needs model.tensor_model_parallel_size > 1");
    return 0;
}

/* A key, where a later layer says the same under another name: named, and as if not given. */
static int give_way(wan_config *c, const char *key, const char *to)
{
    char why[128];
    snprintf(why, sizeof why, "%s %s counts", to,
             wan_config_source(c, to) == WAN_FROM_WORD ? "on the command line" : "of a later file");
    WAN_TRY(wan_config_note(c, key, wan_config_text(c, key), why));
    return wan_config_derive(c, key, wan_config_key(wan_config_find(key))->def, to);
}

/* Warm-up in steps and as a part of the run are one setting. */
static int check_warmup(wan_config *c)
{
    static const char steps[] = "scheduler.lr_warmup_iters",
                      part[] = "scheduler.lr_warmup_fraction";
    const wan_key_value *a = &c->value[wan_config_find(steps)],
                        *b = &c->value[wan_config_find(part)];
    if (!given(c, steps) || !given(c, part) || c->v.warmup_iters < 0 || c->v.warmup_fraction == 0)
        return 0;
    if (a->source == b->source && a->layer == b->layer)
        return wan_err("%s %s and %s %s: give one of them", steps, a->text, part, b->text);
    return a->source > b->source || (a->source == b->source && a->layer > b->layer)
               ? give_way(c, part, steps)
               : give_way(c, steps, part);
}

/* Heads and their width of a file, of which the command line has the one and the product. */
static int check_head_width(wan_config *c)
{
    static const char hidden[] = "model.hidden_size", heads[] = "model.num_attention_heads",
                      width[] = "model.kv_channels";
    const wan_train_config *v = &c->v;
    if (!v->hidden || !v->heads || !v->head_dim || v->heads * v->head_dim == v->hidden ||
        wan_config_source(c, hidden) != WAN_FROM_WORD)
        return 0;
    if (wan_config_source(c, heads) == WAN_FROM_WORD &&
        wan_config_source(c, width) != WAN_FROM_WORD)
        return give_way(c, width, hidden);
    if (wan_config_source(c, width) == WAN_FROM_WORD &&
        wan_config_source(c, heads) != WAN_FROM_WORD)
        return give_way(c, heads, hidden);
    return 0;
}

/* The width of what cross attention reads is that of the model: DFM's files say both, and who makes the
 * model small on the command line says one. */
static int check_cross_width(wan_config *c)
{
    static const char cross[] = "model.crossattn_emb_size", hidden[] = "model.hidden_size";
    const wan_train_config *v = &c->v;
    if (v->model_type != WAN_MODEL_WAN || !v->cross_width || !v->hidden ||
        v->cross_width == v->hidden)
        return 0;
    if (wan_config_source(c, cross) < wan_config_source(c, hidden))
        return give_way(c, cross, hidden);
    return wan_err("%s %lld is not %s %lld", cross, (long long)v->cross_width, hidden,
                   (long long)v->hidden);
}

/* The folder of the weights, or the one around its transformer/, is that of the other parts, where it
 * has them. */
static int find_components(wan_config *c)
{
    static const char leaf[] = "/transformer";
    const char *from = *c->v.pretrained ? c->v.pretrained : c->v.model_path;
    const size_t n = strlen(from), m = sizeof leaf - 1;
    const int inner = n > m && !strcmp(from + n - m, leaf);
    char given[PATH_MAX], path[PATH_MAX], whole[PATH_MAX + 8];
    if (*c->v.components || !*from || n >= sizeof given)
        return 0;
    snprintf(given, sizeof given, "%.*s", (int)(inner ? n - m : n), from);
    if (!realpath(given, path))
        return wan_exists(given) ? wan_err_errno("%s", given) : 0;
    snprintf(whole, sizeof whole, "%s/vae", path);
    return !wan_exists(whole) ? 0 : wan_config_derive(c, "model.components", path, "the weights");
}

/* DIR/LATEST is the newest checkpoint in DIR, as Automodel writes it. */
static int strip_latest(wan_config *c)
{
    static const char leaf[] = "/LATEST";
    const size_t n = strlen(c->v.load), m = sizeof leaf - 1;
    if (n <= m || strcmp(c->v.load + n - m, leaf))
        return 0;
    char *dir = strndup(c->v.load, n - m);
    int rc = dir ? wan_config_derive(c, "checkpoint.load", dir, "the newest in it")
                 : wan_err("out of memory");
    free(dir);
    return rc;
}

int wan_config_finish(wan_config *c, const char *mode)
{
    wan_train_config *v = &c->v;
    WAN_TRY(report(c));
    WAN_TRY(infer_model(c));
    WAN_TRY(check_model(c));
    WAN_TRY(apply_recipe(c));
    if (mock_loader(c) && wan_config_source(c, "dataset.path") != WAN_FROM_WORD)
        WAN_TRY(derive_absent(c, "dataset.mock", "true", "data.dataloader._target_"));
    if (v->mock)
        WAN_TRY(apply_mock(c));
    WAN_TRY(apply_hub_name(c));
    WAN_TRY(apply_preset(c, mode));
    if (v->min_lr < 0)
        WAN_TRY(wan_config_derive_real(c, "optimizer.min_lr", 0.1 * v->lr, "optimizer.lr"));
    WAN_TRY(apply_sharing(c));
    WAN_TRY(strip_latest(c));
    WAN_TRY(find_components(c));
    WAN_TRY(check_warmup(c));
    WAN_TRY(check_head_width(c));
    WAN_TRY(check_cross_width(c));
    WAN_TRY(check_together(v));
    WAN_TRY(wan_config_idle(c));
    return v->train_iters < 0 && v->epochs > 0 ? 0 : wan_config_length(c, 0, 0, 0);
}

/* ---- the global batch ---- */

/* Whether micro-batches say the global batch: Automodel's, or with their number. */
static int batch_of_micro(const wan_config *c)
{
    return c->v.accumulate > 0 ||
           (c->v.recipe == WAN_RECIPE_AUTOMODEL && given(c, "train.micro_batch_size") &&
            !given(c, "train.global_batch_size"));
}

/* Of a global batch on the command line and what makes another one in a file, or the other way round,
 * the command line counts. */
static int batch_of_words(wan_config *c)
{
    static const char whole[] = "train.global_batch_size", node[] = "train.batch_size_per_node",
                      times[] = "train.gradient_accumulation_steps";
    const enum wan_key_source w = wan_config_source(c, whole), n = wan_config_source(c, node),
                              t = wan_config_source(c, times);
    if (w == WAN_FROM_YAML && (n == WAN_FROM_WORD || t == WAN_FROM_WORD))
        return give_way(c, whole, n == WAN_FROM_WORD ? node : times);
    if (w == WAN_FROM_WORD && n == WAN_FROM_YAML && t != WAN_FROM_WORD)
        WAN_TRY(give_way(c, node, whole));
    if (w == WAN_FROM_WORD && t == WAN_FROM_YAML && n != WAN_FROM_WORD)
        WAN_TRY(give_way(c, times, whole));
    return 0;
}

int wan_config_ranks(wan_config *c, int ranks, int machines)
{
    const wan_train_config *v = &c->v;
    WAN_TRY(batch_of_words(c));
    const int64_t model = v->tp * v->pp * v->cp, dp = ranks > model ? ranks / model : 1;
    const int64_t micro = v->micro_batch ? v->micro_batch : 1;
    const char *origin = v->node_batch ? "train.batch_size_per_node" : "micro-batches of all ranks";
    int64_t batch = v->node_batch ? v->node_batch * machines : micro * dp;
    batch *= v->accumulate ? v->accumulate : 1;
    if (v->micro_batch && (v->node_batch || !batch_of_micro(c)))
        WAN_TRY(wan_config_note(c, "train.micro_batch_size",
                                wan_config_text(c, "train.micro_batch_size"),
                                "a micro-batch is one pack, filled by tokens; the global batch is "
                                "the same"));
    if (!v->node_batch && !batch_of_micro(c))
        return 0;
    if (!given(c, "train.global_batch_size"))
        return wan_config_derive_int(c, "train.global_batch_size", batch, origin);
    if (batch == v->global_batch)
        return 0;
    return wan_err("train.global_batch_size %lld is not the %lld of %s (%d rank%s, %d node%s)",
                   (long long)v->global_batch, (long long)batch, origin, ranks,
                   ranks == 1 ? "" : "s", machines, machines == 1 ? "" : "s");
}

/* ---- lengths ---- */

static int64_t number(const wan_config *c, const char *key)
{
    return strtoll(wan_config_text(c, key), NULL, 10);
}

/* Steps from `step` on until the samples of all epochs have been seen; INT64_MAX when that is more
 * than can be counted. */
static int64_t epoch_steps(const wan_train_config *v, int64_t samples, int64_t step,
                           int64_t position)
{
    int64_t total;
    if (__builtin_mul_overflow(v->epochs, samples, &total))
        return INT64_MAX;
    int64_t left = total > position ? total - position : 0;
    int64_t steps = left / v->global_batch + (left % v->global_batch > 0);
    return steps > INT64_MAX - step ? INT64_MAX : step + steps;
}

static int64_t warmup(const wan_config *c)
{
    const wan_train_config *v = &c->v;
    int64_t n = number(c, "scheduler.lr_warmup_iters");
    if (v->warmup_fraction > 0)
        return (int64_t)llround(v->warmup_fraction * (double)v->decay_iters);
    if (n >= 0)
        return n;
    if (v->recipe == WAN_RECIPE_AUTOMODEL)
        return v->decay_iters / 10 < 1000 ? v->decay_iters / 10 : 1000;
    /* the recipe's 2000 of 10000, kept in proportion for shorter runs */
    return v->decay_iters / 5 < 2000 ? v->decay_iters / 5 : 2000;
}

int wan_config_length(wan_config *c, int64_t samples, int64_t step, int64_t position)
{
    wan_train_config *v = &c->v;
    int64_t n = number(c, "train.train_iters");
    if (v->epochs > 0 && samples > 0) {
        int64_t end = epoch_steps(v, samples, step, position);
        n = n < 0 || end < n ? end : n;
    }
    if (n < 0)
        return wan_err("the run has no end: neither train.train_iters nor train.epochs is given");
    v->train_iters = n;
    v->decay_iters = number(c, "scheduler.lr_decay_iters");
    if (!v->decay_iters)
        v->decay_iters = n;
    v->warmup_iters = warmup(c);
    if (number(c, "scheduler.lr_decay_iters") && v->lr_style != WAN_LR_CONSTANT &&
        v->warmup_iters >= v->decay_iters)
        return wan_err(
            "a warm-up of %lld steps, but scheduler.lr_decay_iters is %lld: the rate would fall "
            "to its end before it is up",
            (long long)v->warmup_iters, (long long)v->decay_iters);
    v->wsd_iters = number(c, "scheduler.lr_wsd_decay_iters");
    if (v->lr_style == WAN_LR_WSD && !v->wsd_iters && v->recipe == WAN_RECIPE_AUTOMODEL)
        v->wsd_iters = v->decay_iters > 10 ? v->decay_iters / 10 : 1;
    if (v->wsd_iters > v->decay_iters)
        return wan_err("scheduler.lr_wsd_decay_iters %lld exceeds scheduler.lr_decay_iters %lld",
                       (long long)v->wsd_iters, (long long)v->decay_iters);
    if (v->lr_style == WAN_LR_WSD && v->wsd_iters == 0)
        return wan_err("scheduler.lr_decay_style WSD needs scheduler.lr_wsd_decay_iters");
    return 0;
}
