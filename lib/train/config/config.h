/* SPDX-License-Identifier: Apache-2.0
 *
 * config.h - the configuration of a training run: one table of keys (keys_*.c) drives YAML,
 * key=value words, the printed and saved effective configuration, and the key table of
 * wan-train(1).
 *
 *     wan_config *c;
 *     WAN_TRY(wan_config_new(&c));
 *     WAN_TRY(wan_config_yaml(c, "run.yaml"));
 *     WAN_TRY(wan_config_word(c, "optimizer.lr=1e-4"));
 *     WAN_TRY(wan_config_finish(c, NULL));                 // defaults, presets, checks
 *     WAN_TRY(wan_config_ranks(c, ranks, machines));       // the global batch
 *     ... c->v.lr ...                                      // the data are opened
 *     WAN_TRY(wan_config_length(c, samples, step, position));
 *     ... c->v.train_iters, c->v.warmup_iters ...
 *     wan_config_free(&c);
 *
 * Layers: defaults of the recipe < flow preset of the training mode < YAML files < words.  Keys are
 * those of DFM's Megatron scripts; Automodel's are other names of them, and a file that is written in
 * Automodel's names takes Automodel's defaults.  A key that those systems need and this program does
 * not is accepted with a reason, or refused where it would change what is learned.  Unknown keys and
 * bad values are collected, so that one run names all of them.  Two names of one setting that
 * disagree within a layer are an error.
 */
#ifndef WAN_TRAIN_CONFIG_H
#define WAN_TRAIN_CONFIG_H

#include <stdint.h>
#include <stdio.h>

#include "lib/base/dtype.h"
#include "lib/base/err.h"
#include "lib/model/acts.h"
#include "lib/model/flow.h"
#include "lib/model/wing/cp.h"
#include "lib/train/config/choices.h"

/* The values, named after the keys, which stand in the keys_*.c of their owner.  Strings are never
 * NULL ("" is unset) and owned by the table. */
typedef struct wan_train_config {
    /* model */
    enum wan_model_type model_type;
    enum wan_model_size model_size;
    enum wan_start model_mode;
    const char *model_config, *model_path, *components;
    int64_t layers, hidden, ffn, heads, head_dim, in_ch, out_ch, cross_width; /* 0: not given */
    int64_t text_dim, text_len, freq_dim;
    double eps;
    int compute; /* of GEMM and attention operands: wan_config_compute, wan_config_eight */
    enum wan_recompute recompute;
    int64_t recompute_method, recompute_layers;
    const char *recompute_modules;
    int offload_optim, offload_acts, autotune, graphs;
    int64_t offload_layers;
    int64_t tp, pp, vpp, cp, dp_shard, dp_replicate;
    enum wan_cp_kind cp_comm;
    int fsdp, zero1; /* how dp_shard x cp ranks share one copy */
    int sequence_parallel;
    /* dataset */
    const char *data_path, *split, *empty_text;
    int64_t capacity, window, workers;
    int shuffle;
    int64_t mock_t, mock_h, mock_w, mock_packed, mock_text, mock_samples;
    int mock, mock_vary, draw_captions;
    /* train; train_iters is -1 until wan_config_length where the epochs say it */
    enum wan_recipe recipe;
    int64_t train_iters, epochs, global_batch, exit_interval, max_skipped, eval_interval,
        eval_iters;
    const char *sample_prompts, *sample_size;
    int64_t sample_interval, sample_steps, sample_frames, sample_seed;
    double sample_guidance;
    int64_t node_batch, micro_batch, accumulate; /* 0: not given; global_batch follows from them */
    /* optimizer, scheduler */
    double lr, min_lr, beta1, beta2, adam_eps, weight_decay, clip_grad, ema_decay;
    int no_decay_1d;
    enum wan_lr_style lr_style;
    enum wan_wsd_style wsd_style;
    int64_t warmup_iters, decay_iters, wsd_iters;
    double warmup_fraction, warmup_init;
    /* flow */
    enum wan_start preset;
    enum wan_flow_dist sampling;
    enum wan_reduction reduction;
    double logit_mean, logit_std, shift, mix_uniform, sigma_min, sigma_max, cfg_dropout;
    int loss_weighting, stratify;
    /* edm */
    double p_mean, p_std, edm_dropout;
    int edm_stratify;
    /* checkpoint */
    const char *save, *load, *pretrained;
    wan_dtype ckpt_dtype;
    int64_t save_interval, keep, ckpt_step, max_shard;
    int per_pack;    /* one noise level for all samples of a pack */
    int save_anyway; /* training goes on when a checkpoint cannot be written */
    int load_optim, ckpt_enabled, verify, save_every_epoch, async_save;
    /* the rest */
    int64_t log_interval, seed, dead_seconds, timeout_minutes, bucket_bytes;
    const char *debug_batch, *debug_dump, *tensorboard;
} wan_train_config;

/* What GEMMs and attention compute in; whether blocks multiply in eight bits where they can. */
enum { WAN_COMPUTE_FP8 = WAN_DTYPES };
static inline wan_dtype wan_config_compute(const wan_train_config *v)
{
    return v->compute == WAN_COMPUTE_FP8 ? WAN_BF16 : (wan_dtype)v->compute;
}
static inline int wan_config_eight(const wan_train_config *v)
{
    return v->compute == WAN_COMPUTE_FP8;
}

enum wan_key_kind {
    WAN_KEY_INT,
    WAN_KEY_REAL,
    WAN_KEY_BOOL,
    WAN_KEY_STR,
    WAN_KEY_ENUM,
    WAN_KEY_BETAS,
    WAN_KEY_ANY
};
enum wan_key_class {
    WAN_KEY_USED,
    WAN_KEY_LINK,  /* used, saved with the run, but no two ranks need agree on it */
    WAN_KEY_PLACE, /* used, but says where or for how long: not in run_config.yaml nor the digest */
    WAN_KEY_OWN,   /* the same, and each rank's own */
    WAN_KEY_NOTED, /* DFM needs it, we do not: accepted and reported; "x.*" is a whole section */
};
enum wan_key_source { WAN_FROM_DEFAULT, WAN_FROM_PRESET, WAN_FROM_YAML, WAN_FROM_WORD };

typedef struct wan_word {
    const char *name;
    int value;
} wan_word;

typedef struct wan_key {
    const char *name;
    const char *aliases; /* separated by spaces, or NULL */
    enum wan_key_kind kind;
    enum wan_key_class class;
    size_t offset;   /* in wan_train_config */
    const char *def; /* as text */
    double lo, hi;   /* INT, REAL */
    /* ENUM, up to a name NULL; later names of one value are other spellings of it */
    const wan_word *words;
    /* NOTED: the values that are accepted, "*x" for any that ends in x; NULL: any */
    const char *only;
    const char *help; /* NOTED: why it has no effect, or is refused */
    int list;         /* STR: may be a list, kept as flow YAML */
    int larger;       /* names that disagree: the larger value counts */
} wan_key;

/* The keys of one owner (keys_*.c). */
typedef struct wan_key_section {
    const wan_key *key;
    int n;
    enum wan_model_type model; /* ANY, or the only model that has them */
} wan_key_section;

int wan_config_n_keys(void);
const wan_key *wan_config_key(int i);
enum wan_model_type wan_config_key_model(int i);

typedef struct wan_key_value {
    char *text; /* canonical */
    enum wan_key_source source;
    int layer;    /* of several files the later one counts */
    char *by;     /* the name it was last set by, or NULL */
    char *origin; /* "recipe", "run.yaml: line 12", "command line", ... */
} wan_key_value;

typedef struct wan_config_entry wan_config_entry; /* config_priv.h */

typedef struct wan_config {
    wan_train_config v;
    wan_key_value *value; /* [wan_config_n_keys()] */
    char **noted;         /* "name=value: why" of accepted keys without effect, sorted */
    int n_noted;
    wan_config_entry *entry; /* everything that was given, in order */
    int n_entries, files;
    char *problems; /* sentences, one a line; NULL: none */
} wan_config;

int wan_config_new(wan_config **out) WAN_MUST_CHECK;
void wan_config_free(wan_config **c);
/* One key.  value NULL means YAML's null: unset. */
int wan_config_set(wan_config *c, const char *key, const char *value, enum wan_key_source from)
    WAN_MUST_CHECK;
/* "key=value", "+key=value" (Hydra's addition) or "~key" (back to the default).  -1: not of that
 * form; an unknown key or a bad value is a problem that wan_config_finish reports. */
int wan_config_word(wan_config *c, const char *word) WAN_MUST_CHECK;
/* A YAML file of maps of scalars and lists, with anchors and merge keys.  ${section.key} is replaced
 * by that key's value after all layers, ${oc.env:VAR} and ${oc.env:VAR,default} by a variable.  A
 * later file overrides an earlier one.  -1: not YAML; the rest as for words. */
int wan_config_yaml(wan_config *c, const char *path) WAN_MUST_CHECK;
int wan_config_yaml_text(wan_config *c, const char *text, size_t n, const char *name)
    WAN_MUST_CHECK;
/* Reports the problems of all layers; then defaults of the recipe, of mock data and of the flow
 * preset for keys nobody set, what follows from other keys, and checks of several keys together.
 * mode: "pretrain", "finetune", or NULL where nobody chose (flow.preset wins where given). */
int wan_config_finish(wan_config *c, const char *mode) WAN_MUST_CHECK;
/* The global batch where it was given per node, or as micro-batches of all ranks, of which machines need not
 * have equally many. */
int wan_config_ranks(wan_config *c, int ranks, int machines) WAN_MUST_CHECK;
/* v.train_iters, v.decay_iters, v.warmup_iters and v.wsd_iters of a run over `samples` that stands
 * at `step`, `position` samples seen: epochs are counted in samples.  The keys keep their text. */
int wan_config_length(wan_config *c, int64_t samples, int64_t step, int64_t position)
    WAN_MUST_CHECK;
/* Who set a key last. */
enum wan_key_source wan_config_source(const wan_config *c, const char *key);
/* The value of a key that is a number, flag or enum; its canonical text. */
double wan_config_number(const wan_config *c, const char *key);
const char *wan_config_text(const wan_config *c, const char *key);
/* Settings from the keys that their fields name; where `given` is not 0, only from keys that
 * somebody set (their default means "from elsewhere"). */
void wan_config_fields(const wan_config *c, const wan_field *fields, void *settings, int given);

/* "section:\n  key: value" for every used key, in table order; places only when asked. */
void wan_config_print(const wan_config *c, FILE *f, int places);
/* All of them, each with its origin, and the keys without effect, as comments. */
void wan_config_print_origins(const wan_config *c, FILE *f);
/* One number per key of the table that its value determines, or of a place that there is one; 0 for what each
 * rank has of its own and keys without effect.
 * h [wan_config_n_keys()].  Ranks compare them to name the key in which they differ. */
void wan_config_marks(const wan_config *c, uint64_t *h);
/* The key table of the man page, mdoc. */
void wan_config_mdoc(FILE *f);

#endif
