/* SPDX-License-Identifier: Apache-2.0
 *
 * config.h - the configuration of a training run: one table of keys (keys_*.c) drives YAML,
 * key=value words, the printed and saved effective configuration, and the key table of
 * wan-train(1).
 *
 *     wan_config *c;
 *     WAN_TRY(wan_config_new(&c));
 *     WAN_TRY(wan_config_yaml(c, "run.yaml"));             // layer 2
 *     WAN_TRY(wan_config_word(c, "optimizer.lr=1e-4"));    // layer 3
 *     WAN_TRY(wan_config_finish(c, "pretrain"));           // presets, derived values, checks
 *     c->v.lr ...
 *     wan_config_free(&c);
 *
 * Layers: defaults of the recipe (wan-data(7), Recipe defaults) < flow preset of the training mode
 * (Flow presets) < YAML < words.  Keys are DFM's; Automodel's are aliases.  A key that DFM needs and this
 * program does not is accepted and reported; any other unknown key is an error that names the
 * nearest known one.  Two names of one setting that disagree within a layer are an error.
 */
#ifndef WAN_TRAIN_CONFIG_H
#define WAN_TRAIN_CONFIG_H

#include <stdint.h>
#include <stdio.h>

#include "lib/base/dtype.h"
#include "lib/base/err.h"
#include "lib/model/acts.h"
#include "lib/model/flow.h"
#include "lib/train/config/choices.h"

/* The values, named after the keys, which stand in the keys_*.c of their owner.  Strings are never
 * NULL ("" is unset) and owned by the table. */
typedef struct wan_train_config {
    /* model */
    enum wan_model_type model_type;
    enum wan_model_size model_size;
    enum wan_start model_mode;
    const char *model_config, *model_path;
    int64_t layers, hidden, ffn, heads, head_dim, in_ch, out_ch, cross_width; /* 0: not given */
    int64_t text_dim, text_len, freq_dim;
    double eps;
    enum wan_recompute recompute;
    int64_t tp, pp, cp, dp_shard, dp_replicate;
    int sequence_parallel;
    /* dataset */
    const char *data_path, *split, *empty_text;
    int64_t capacity, window, workers;
    int shuffle;
    int64_t mock_t, mock_h, mock_w, mock_packed, mock_text, mock_samples;
    int mock_vary;
    /* train */
    int64_t train_iters, epochs, global_batch, exit_interval, max_skipped, eval_interval,
        eval_iters;
    /* optimizer, scheduler */
    double lr, min_lr, beta1, beta2, adam_eps, weight_decay, clip_grad;
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
    /* checkpoint */
    const char *save, *load, *pretrained;
    wan_dtype ckpt_dtype;
    int64_t save_interval, keep, ckpt_step, max_shard;
    int load_optim, ckpt_enabled, verify;
    /* the rest */
    int64_t log_interval, seed, dead_seconds, timeout_minutes, bucket_bytes;
    const char *debug_batch, *debug_dump;
} wan_train_config;

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
    WAN_KEY_PLACE, /* used, but says where or for how long: not in run_config.yaml nor the digest */
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
    const char *help; /* NOTED: why it has no effect */
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
    const char *by; /* the name it was last set by */
} wan_key_value;

typedef struct wan_config {
    wan_train_config v;
    wan_key_value *value; /* [wan_config_n_keys()] */
    char **noted;         /* "name=value" of accepted keys without effect, sorted */
    int n_noted;
} wan_config;

int wan_config_new(wan_config **out) WAN_MUST_CHECK;
void wan_config_free(wan_config **c);
/* One key from a layer.  value NULL means YAML's null: unset. */
int wan_config_set(wan_config *c, const char *key, const char *value, enum wan_key_source from)
    WAN_MUST_CHECK;
/* "key=value", "+key=value" (Hydra's addition) or "~key" (back to the default). */
int wan_config_word(wan_config *c, const char *word) WAN_MUST_CHECK;
/* A YAML file: block and flow mappings of scalars and lists of scalars; no anchors, no tags.
 * ${oc.env:VAR} and ${oc.env:VAR,default} are replaced. */
int wan_config_yaml(wan_config *c, const char *path) WAN_MUST_CHECK;
int wan_config_yaml_text(wan_config *c, const char *text, size_t n, const char *name)
    WAN_MUST_CHECK;
/* Applies the flow preset of the mode ("pretrain" | "finetune"; flow.preset wins where given) to
 * flow keys nobody set, derives min_lr, lr_decay_iters, ..., checks what depends on several keys. */
int wan_config_finish(wan_config *c, const char *mode) WAN_MUST_CHECK;
/* Before that, what --mock changes of keys nobody set: no checkpoints; and where the capacity of a
 * pack was given, a video of the recipe's proportions that fits it. */
int wan_config_mock(wan_config *c) WAN_MUST_CHECK;
enum wan_key_source wan_config_source(const wan_config *c, const char *key);
/* The value of a key that is a number, flag or enum; its canonical text. */
double wan_config_number(const wan_config *c, const char *key);
const char *wan_config_text(const wan_config *c, const char *key);
/* Settings from the keys that their fields name; where `given` is not 0, only from keys that
 * somebody set (their default means "from elsewhere"). */
void wan_config_fields(const wan_config *c, const wan_field *fields, void *settings, int given);

/* "section:\n  key: value" for every used key, in table order; places only when asked. */
void wan_config_print(const wan_config *c, FILE *f, int places);
/* One number per key of the table that its value determines; 0 for places and keys without effect.
 * h [wan_config_n_keys()].  Ranks compare them to name the key in which they differ. */
void wan_config_marks(const wan_config *c, uint64_t *h);
/* The key table of the man page, mdoc. */
void wan_config_mdoc(FILE *f);

#endif
