/* SPDX-License-Identifier: Apache-2.0
 *
 * check_config.c - layers, aliases, presets, errors with suggestions, DFM's files, and that what is
 * saved reads back as itself.
 */
#include "lib/train/config/config.h"
#include "tests/tap.h"

static wan_config *fresh(void)
{
    wan_config *c;
    if (wan_config_new(&c) < 0) {
        printf("Bail out! %s\n", wan_err_text());
        exit(1);
    }
    return c;
}

/* All of these words (up to NULL) and a YAML text; finished in `mode` unless NULL. */
static int build(wan_config *c, const char *yaml, const char *const *words, const char *mode)
{
    if (yaml && wan_config_yaml_text(c, yaml, strlen(yaml), "test.yaml") < 0)
        return -1;
    for (; words && *words; words++)
        if (wan_config_word(c, *words) < 0)
            return -1;
    return mode ? wan_config_finish(c, mode) : 0;
}

#define WORDS(...)                                                                                 \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

static void refused(const char *name, const char *yaml, const char *const *words, const char *say)
{
    wan_config *c = fresh();
    wan_err_clear();
    int rc = build(c, yaml, words, "pretrain");
    ok(rc < 0 && strstr(wan_err_text(), say), "%s: %s", name, wan_err_text());
    wan_config_free(&c);
}

static void layers(void)
{
    wan_config *c = fresh();
    ok(c->v.lr == 9e-5 && c->v.train_iters == 10000 && c->v.global_batch == 4 &&
           c->v.warmup_iters == 2000 && c->v.beta2 == 0.95 && c->v.clip_grad == 1 &&
           c->v.seed == 1234,
       "the recipe's defaults");
    const char *yaml = "optimizer:\n  lr: 1e-4\n  weight_decay: 0.1\ntrain:\n  train_iters: 100\n";
    int rc = build(c, yaml, WORDS("optimizer.lr=2e-4", "+flow.stratify=true"), "pretrain");
    ok(rc == 0 && c->v.lr == 2e-4 && c->v.weight_decay == 0.1 && c->v.train_iters == 100 &&
           c->v.stratify,
       "recipe < YAML < words");
    ok(c->v.min_lr == 2e-5 && c->v.decay_iters == 100 && c->v.warmup_iters == 20,
       "min_lr, lr_decay_iters and the warm-up follow");
    wan_config *long_run = fresh();
    rc = build(long_run, NULL, WORDS("train.train_iters=20000"), "pretrain");
    ok(rc == 0 && long_run->v.warmup_iters == 2000 && long_run->v.decay_iters == 20000,
       "a long run keeps the recipe's warm-up");
    wan_config_free(&long_run);
    wan_config_free(&c);
    c = fresh();
    rc = build(c, yaml, WORDS("~optimizer.weight_decay"), "pretrain");
    ok(rc == 0 && c->v.weight_decay == 0.033, "~key goes back to the default");
    wan_config_free(&c);
}

static void presets(void)
{
    wan_config *c = fresh();
    int rc = build(c, NULL, NULL, "pretrain");
    ok(rc == 0 && c->v.sampling == WAN_FLOW_LOGIT_NORMAL && c->v.logit_std == 1.5 &&
           c->v.shift == 2.5 && c->v.mix_uniform == 0.2 && c->v.loss_weighting,
       "pretrain preset");
    wan_config_free(&c);
    c = fresh();
    rc = build(c, NULL, NULL, "finetune");
    ok(rc == 0 && c->v.sampling == WAN_FLOW_UNIFORM && c->v.logit_std == 1 && c->v.shift == 3 &&
           c->v.mix_uniform == 0.1,
       "finetune preset");
    wan_config_free(&c);
    c = fresh();
    rc = build(c, "flow:\n  shift: 5\n", WORDS("flow.preset=pretrain"), "finetune");
    ok(rc == 0 && c->v.shift == 5 && c->v.logit_std == 1.5,
       "what is given wins over the preset, flow.preset over the mode");
    wan_config_free(&c);
}

static void aliases(void)
{
    wan_config *c = fresh();
    int rc = build(c, NULL,
                   WORDS("optim.learning_rate=1e-5", "optim.optimizer.betas=[0.8, 0.99]",
                         "step_scheduler.global_batch_size=16", "flow_matching.flow_shift=4",
                         "fsdp.activation_checkpointing=true", "train.train_iters=1e3"),
                   "finetune");
    ok(rc == 0 && c->v.lr == 1e-5 && c->v.beta1 == 0.8 && c->v.beta2 == 0.99 &&
           c->v.global_batch == 16 && c->v.shift == 4 && c->v.recompute == WAN_RECOMPUTE_FULL &&
           c->v.train_iters == 1000,
       "Automodel's names");
    wan_config_free(&c);
    c = fresh();
    rc = build(c, NULL,
               WORDS("train.micro_batch_size=1", "ddp.overlap_grad_reduce=false",
                     "logger.wandb_project=x"),
               "finetune");
    ok(rc == 0 && c->n_noted == 3 && !strcmp(c->noted[0], "ddp.overlap_grad_reduce=false"),
       "keys that DFM needs are accepted and listed");
    wan_config_free(&c);
}

static void unset(void)
{
    wan_config *c = fresh();
    int rc = build(c,
                   "train:\nflow:\n  timestep_sampling: null\n  shift: ~\ndataset:\n"
                   "  global_batch_size: 8\noptimizer:\n  adam_beta1: 0.5\n",
                   WORDS("train.global_batch_size=2", "train.global_batch_size=3",
                         "~optimizer.betas", "logger.note=a\nb"),
                   "pretrain");
    ok(rc == 0 && c->v.sampling == WAN_FLOW_LOGIT_NORMAL && c->v.shift == 2.5,
       "null leaves a key to the preset, a section may be empty%s%s", rc ? ": " : "",
       rc ? wan_err_text() : "");
    ok(c->v.global_batch == 3 && c->v.beta1 == 0.9, "the last word counts; ~ takes back");
    ok(c->n_noted == 1 && !strcmp(c->noted[0], "logger.note=a b"), "a noted key is one line");
    wan_config_free(&c);
}

static void errors(void)
{
    refused("unknown word", NULL, WORDS("optimizer.lrr=1"), "\"optimizer.lr\"");
    refused("unknown section", NULL, WORDS("optim.lr=1"), "\"optimizer.lr\"");
    refused("unknown key in YAML", "train:\n  global_batchsize: 2\n", NULL,
            "line 2: unknown key \"train.global_batchsize\"; the nearest known key is "
            "\"train.global_batch_size\"");
    refused("misspelled word", NULL, WORDS("flow.timestep_sampling=logitnormal"), "not one of");
    refused("out of range", NULL, WORDS("optimizer.adam_beta1=1.5"), "adam_beta1");
    refused("not a number", NULL, WORDS("optimizer.lr=fast"), "fast");
    refused("trailing text", NULL, WORDS("train.train_iters=10x"), "10x");
    refused("fraction of a step", NULL, WORDS("train.train_iters=1.5"), "1.5");
    refused("not key=value", NULL, WORDS("dataset.path"), "key=value");
    refused("one setting, two values",
            "train:\n  global_batch_size: 2\ndataset:\n"
            "  global_batch_size: 4\n",
            NULL, "disagrees");
    refused("key twice", "train:\n  train_iters: 2\n  train_iters: 2\n", NULL, "stands twice");
    refused("section twice", "train:\n  train_iters: 2\ntrain:\n  epochs: 2\n", NULL,
            "\"train\" stands twice");
    refused("a value for a section", "train: 5\n", NULL, "a section of keys");
    refused("one setting, two values in words", NULL,
            WORDS("train.global_batch_size=2", "dataset.global_batch_size=4"), "disagrees");
    refused("an empty word of a list", NULL, WORDS("flow.timestep_sampling="), "not one of");
    refused("not a number at all", NULL, WORDS("optimizer.lr=nan"), "nan");
    refused("beta 1", NULL, WORDS("optimizer.betas=[0.9, 1]"), "[0, 1)");
    refused("no epsilon", NULL, WORDS("optimizer.adam_eps=0"), "adam_eps");
    refused("anchor", "train: &a\n  train_iters: 2\n", NULL, "anchors");
    refused("alias", "train: *a\n", NULL, "anchors");
    refused("tag", "train: !!map\n  train_iters: 2\n", NULL, "anchors and tags");
    refused("two documents", "train:\n  train_iters: 2\n---\ntrain:\n  train_iters: 3\n", NULL,
            "more than one document");
    refused("a list of sections", "- train\n", NULL, "mapping");
    refused("broken YAML", "train: [1, 2\n", NULL, "line");
    refused("a missing variable", "dataset:\n  path: ${oc.env:WAN_NOT_SET}\n", NULL,
            "WAN_NOT_SET is not set");
    refused("another resolver", "dataset:\n  path: ${now:%Y}\n", NULL, "oc.env");
    refused("a number for a word", NULL, WORDS("flow.loss_reduction=1"), "not one of sample|token");
    refused("a boolean for a word", "model:\n  mode: true\n", NULL, "auto|pretrain|finetune");
    refused("junk after betas", NULL, WORDS("optimizer.betas=[0.9, 0.99)junk 0.5"), "not a pair");
    refused("an open bracket", NULL, WORDS("optimizer.betas=[0.9, 0.99"), "not a pair");
    refused("another model", NULL, WORDS("model.type=dit"), "model.type dit: not supported yet");
    refused("a third", NULL, WORDS("data.dataloader.model_type=hunyuan"), "not one of wan|dit");
    refused("DiT's key", NULL, WORDS("model.vae_cache_folder=x"), "DiT recipe; model.type dit");
    refused("DiT's key in a WAN", NULL, WORDS("model.type=wan", "model.vae_cache_folder=x"),
            "no key of the model");
    refused("min_lr above lr", NULL, WORDS("optimizer.lr=1e-5", "optimizer.min_lr=1e-4"), "min_lr");
    refused("an empty sigma range", NULL, WORDS("flow.sigma_min=0.5", "flow.sigma_max=0.5"),
            "sigma_min");
}

/* As OmegaConf reads them: YAML 1.1. */
static void booleans(void)
{
    static const char *const yes[] = { "TRUE", "Yes", "on", "1", "true" };
    static const char *const no[] = { "False", "NO", "Off", "0" };
    wan_config *c = fresh();
    char word[64];
    int good = 1;
    for (int i = 0; i < 5; i++) {
        snprintf(word, sizeof word, "flow.stratify=%s", yes[i]);
        good &= wan_config_word(c, word) == 0 && c->v.stratify == 1;
        snprintf(word, sizeof word, "fsdp.activation_checkpointing=%s", yes[i]);
        good &= wan_config_word(c, word) == 0 && c->v.recompute == WAN_RECOMPUTE_FULL;
    }
    for (int i = 0; i < 4; i++) {
        snprintf(word, sizeof word, "flow.stratify=%s", no[i]);
        good &= wan_config_word(c, word) == 0 && c->v.stratify == 0;
        snprintf(word, sizeof word, "fsdp.activation_checkpointing=%s", no[i]);
        good &= wan_config_word(c, word) == 0 && c->v.recompute == WAN_RECOMPUTE_NONE;
    }
    ok(good, "booleans in YAML's spellings, also for recompute%s%s", good ? "" : ": ",
       good ? "" : wan_err_text());
    ok(wan_config_word(c, "model.size=14b") == 0 && c->v.model_size == WAN_SIZE_14B &&
           wan_config_word(c, "checkpoint.dtype=BF16") == 0 && c->v.ckpt_dtype == WAN_BF16 &&
           wan_config_word(c, "flow.timestep_sampling=mix") == 0 &&
           c->v.sampling == WAN_FLOW_LOGNORM,
       "words become numbers");
    wan_config_free(&c);
}

static void environment(void)
{
    wan_config *c = fresh();
    setenv("WAN_TEST_DIR", "/data/x", 1);
    int rc = build(c,
                   "dataset:\n  path: ${oc.env:WAN_TEST_DIR}/shards\n"
                   "checkpoint:\n  save: ${oc.env:WAN_NOT_SET,ck}\n",
                   NULL, "pretrain");
    ok(rc == 0 && !strcmp(c->v.data_path, "/data/x/shards") && !strcmp(c->v.save, "ck"),
       "${oc.env:VAR} and its default");
    wan_config_free(&c);
}

static void dfm_files(void)
{
    static const struct {
        const char *file;
        int64_t layers, hidden, batch, capacity;
        double lr;
    } files[] = {
        { "wan_1_3B", 30, 1536, 2, 1024, 9e-5 },
        { "wan_14B", 40, 5120, 1, 1024, 9e-5 },
        { "h100_perf", 40, 5120, 128, 2048, 5e-6 },
        { "b200_perf", 40, 5120, 64, 2048, 5e-6 },
        { "wan_pretrain_sample_data", 3, 1536, 2, 2048, 5e-6 },
        { "wan_pretrain_override_example", 0, 0, 4, 1024, 9e-5 },
        { "automodel_finetune", 0, 0, 8, 1024, 5e-6 },
    };
    setenv("DATASET_PATH", "/data/shards", 1);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[256];
        wan_config *c = fresh();
        snprintf(path, sizeof path, "tests/data/yaml/%s.yaml", files[i].file);
        int rc = wan_config_yaml(c, path) < 0 ? -1 : wan_config_finish(c, "finetune");
        ok(rc == 0 && c->v.layers == files[i].layers && c->v.hidden == files[i].hidden &&
               c->v.global_batch == files[i].batch && c->v.capacity == files[i].capacity &&
               c->v.lr == files[i].lr,
           "%s.yaml%s%s", files[i].file, rc ? ": " : "", rc ? wan_err_text() : "");
        wan_config_free(&c);
    }
    wan_config *c = fresh();
    ok(wan_config_yaml(c, "tests/data/yaml/dit_pretrain.yaml") == 0 &&
           wan_config_finish(c, "finetune") < 0 && strstr(wan_err_text(), "not supported yet"),
       "DFM's DiT recipe trains no WAN: %s", wan_err_text());
    wan_config_free(&c);
}

static char *printed(const wan_config *c, int places)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    wan_config_print(c, f, places);
    fclose(f);
    return text;
}

static void round_trip(void)
{
    wan_config *a = fresh(), *b = fresh();
    uint64_t *x = calloc((size_t)wan_config_n_keys(), sizeof *x);
    uint64_t *y = calloc((size_t)wan_config_n_keys(), sizeof *y);
    const size_t marks = (size_t)wan_config_n_keys() * sizeof *x;
    int rc = build(a, NULL,
                   WORDS("optimizer.lr=0.3e-4", "dataset.path=a: b #c\t\"d\\\x01",
                         "train.train_iters=7", "scheduler.lr_warmup_iters=1",
                         "checkpoint.save=here", "optimizer.betas=0.85,0.975"),
                   "pretrain");
    char *text = printed(a, 0);
    rc |= build(b, text, NULL, "finetune");
    char *again = printed(b, 0);
    wan_config_marks(a, x);
    wan_config_marks(b, y);
    ok(rc == 0 && !strcmp(text, again) && !memcmp(x, y, marks),
       "the saved configuration reads back%s%s", rc ? ": " : "", rc ? wan_err_text() : "");
    ok(!strstr(text, "here"), "places are not saved");
    ok(wan_config_set(b, "checkpoint.save", "there", WAN_FROM_WORD) == 0 &&
           (wan_config_marks(b, y), 1) && !memcmp(x, y, marks),
       "another place, the same marks");
    ok(wan_config_set(b, "rng.seed", "5", WAN_FROM_WORD) == 0 && (wan_config_marks(b, y), 1) &&
           memcmp(x, y, marks),
       "another value, another mark");
    free(x);
    free(y);
    free(text);
    free(again);
    wan_config_free(&a);
    wan_config_free(&b);
}

int main(void)
{
    layers();
    presets();
    aliases();
    unset();
    errors();
    booleans();
    environment();
    dfm_files();
    round_trip();
    return tap_done();
}
