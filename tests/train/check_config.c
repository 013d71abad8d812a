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

/* All of these words (up to NULL) and a YAML text; finished in `mode` ("": none was chosen) unless
 * NULL. */
static int build(wan_config *c, const char *yaml, const char *const *words, const char *mode)
{
    if (yaml && wan_config_yaml_text(c, yaml, strlen(yaml), "test.yaml") < 0)
        return -1;
    for (; words && *words; words++)
        if (wan_config_word(c, *words) < 0)
            return -1;
    return mode ? wan_config_finish(c, *mode ? mode : NULL) : 0;
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
           c->v.warmup_iters == -1 && c->v.beta2 == 0.95 && c->v.clip_grad == 1 &&
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
    rc = build(
        c, NULL,
        WORDS("train.manual_gc=true", "ddp.overlap_grad_reduce=false", "logger.wandb_project=x"),
        "finetune");
    ok(rc == 0 && c->n_noted == 3 &&
           strstr(c->noted[0], "ddp.overlap_grad_reduce=false: ") == c->noted[0],
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
    ok(c->n_noted == 1 && !strncmp(c->noted[0], "logger.note=a\\x0ab: ", 20),
       "a noted key is one line");
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
}

static void yaml_errors(void)
{
    refused("alias", "train: *a\n", NULL, "no anchor");
    refused("tag", "train: !dict\n  train_iters: 2\n", NULL, "tag");
    refused("two documents", "train:\n  train_iters: 2\n---\ntrain:\n  train_iters: 3\n", NULL,
            "more than one document");
    refused("a list of sections", "- train\n", NULL, "a map of sections");
    refused("broken YAML", "train: [1, 2\n", NULL, "line");
    refused("a missing variable", "dataset:\n  path: ${oc.env:WAN_NOT_SET}\n", NULL,
            "WAN_NOT_SET is not set");
    refused("another resolver", "dataset:\n  path: ${now:%Y}\n", NULL, "oc.env");
    refused("references in a circle",
            "dataset:\n  path: ${dataset.split}\n  split: ${dataset.path}\n", NULL, "in a circle");
    refused("a reference to nothing", "dataset:\n  path: ${no.such}\n", NULL, "neither a key nor");
    refused("null inside of a text", "dataset:\n  path: a/${oc.env:WAN_NOT_SET,null}\n", NULL,
            "is null");
    refused("not closed", "dataset:\n  path: a/${oc.env:HOME\n", NULL, "not closed");
}

static void other_models(void)
{
    refused("a patch of another size", NULL, WORDS("model.patch_spatial=1"), "1x2x2");
    refused("LoRA", "peft:\n  dim: 8\n  alpha: 8\n", NULL, "peft.dim");
    refused("another optimizer", NULL, WORDS("optimizer._target_=torch.optim.SGD"), "AdamW");
    refused("images to video", NULL, WORDS("flow.i2v_prob=0.3"), "text to video");
    refused("sigma without shift", NULL, WORDS("flow_matching.use_sigma_noise=false"), "uniform");
    refused("another adapter", NULL, WORDS("flow_matching.adapter_type=flux"), "another model");
    refused("another pipeline", NULL,
            WORDS("model.pipeline_spec.transformer_cls=FluxTransformer2DModel"), "another model");
    refused("a hub name that is not here", NULL,
            WORDS("model.pretrained_model_name_or_path=Wan-AI/Wan2.1-T2V-14B-Diffusers"),
            "nothing is downloaded");
    refused("a run without an end", NULL, WORDS("train.train_iters=-1"), "no end");
    refused("a number for a word", NULL, WORDS("flow.loss_reduction=1"), "not one of sample|token");
    refused("a boolean for a word", "model:\n  mode: true\n", NULL, "auto|pretrain|finetune");
    refused("junk after betas", NULL, WORDS("optimizer.betas=[0.9, 0.99)junk 0.5"), "not a pair");
    refused("an open bracket", NULL, WORDS("optimizer.betas=[0.9, 0.99"), "not a pair");
    refused("a third", NULL, WORDS("data.dataloader.model_type=hunyuan"), "not one of wan|dit");
    refused("flow matching of a DiT", NULL, WORDS("model.type=dit", "flow.shift=2"),
            "flow.shift is no key of a model of type dit");
    refused("EDM of a WAN", NULL, WORDS("model.type=wan", "edm.p_mean=1"),
            "edm.p_mean is no key of a model of type wan");
    refused("DiT's key in a WAN", NULL, WORDS("model.type=wan", "model.vae_cache_folder=x"),
            "no key of a model of type wan");
}

static void value_errors(void)
{
    refused("a list for a word", "model:\n  mode: [pretrain]\n", NULL, "line 2: key model.mode");
    refused("a list for a text", "dataset:\n  split: [a, b]\n", NULL, "a list stands where a text");
    refused("a map for a value", "train:\n  train_iters: {}\n", NULL, "an empty map");
    refused("a boolean for a text", "dataset:\n  split: yes\n", NULL, "quotes make it one");
    refused("an octal word", NULL, WORDS("train.train_iters=010"), "octal");
    refused("sixty to the left", "train:\n  train_iters: 1:30\n", NULL, "1:30");
    refused("infinity", "optimizer:\n  lr: .inf\n", NULL, ".inf");
    refused("two unknown keys", "train:\n  iters: 3\n  spam: 4\n", WORDS("optimizer.lrr=1"),
            "line 3: unknown key \"train.spam\"");
    refused("and a third", "train:\n  iters: 3\n  spam: 4\n", WORDS("optimizer.lrr=1"),
            "\nunknown key \"optimizer.lrr\"");
    refused("and a bad value", "train:\n  iters: 3\noptimizer:\n  lr: x\n", NULL,
            "line 4: key optimizer.lr: \"x\"");
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

/* Values as OmegaConf reads them. */
static void numbers(void)
{
    wan_config *c = fresh();
    int rc = build(c,
                   "train:\n  train_iters: 1_000\n  global_batch_size: 0x10\n  eval_iters: 017\n"
                   "optimizer:\n  lr: 5e-6\n  betas: [0.85, 0.975]\n  weight_decay: 1_0.5\n",
                   NULL, NULL);
    ok(rc == 0 && !c->problems && c->v.train_iters == 1000 && c->v.global_batch == 16 &&
           c->v.eval_iters == 15 && c->v.lr == 5e-6 && c->v.beta1 == 0.85 && c->v.beta2 == 0.975 &&
           c->v.weight_decay == 10.5,
       "1_000, 0x10, 017, 5e-6%s%s", c->problems ? ": " : "", c->problems ? c->problems : "");
    wan_config_free(&c);
}

static void references(void)
{
    wan_config *c = fresh();
    setenv("WAN_TEST_DIR", "/data/x", 1);
    int rc = build(
        c,
        "root: /big\n"
        "dataset:\n  path: ${oc.env:WAN_TEST_DIR}/shards\n"
        "  global_batch_size: ${train.global_batch_size}\n  split: ${.part}\n  part: val\n"
        "checkpoint:\n  save: ${oc.env:WAN_NOT_SET,'ck'}\n"
        "  load: ${oc.env:WAN_NOT_SET,null}\n"
        "  pretrained_checkpoint: ${root}/${oc.env:WAN_NOT_SET,${dataset.split}}/\\${x}\n"
        "train:\n  global_batch_size: 7\n  train_iters: ${oc.decode:${oc.env:WAN_NOT_SET,5}}\n"
        "flow:\n  shift: ${oc.select:no.such,2.25}\n",
        WORDS("train.global_batch_size=3"), "pretrain");
    ok(rc == 0 && !strcmp(c->v.data_path, "/data/x/shards") && !strcmp(c->v.save, "ck"),
       "${oc.env:VAR} and its default%s%s", rc ? ": " : "", rc ? wan_err_text() : "");
    ok(c->v.global_batch == 3, "a reference takes what the command line says");
    ok(!strcmp(c->v.load, ""), "${oc.env:VAR,null} is null");
    ok(!strcmp(c->v.split, "val"), "a sibling, and a key of ours need not be what is referred to");
    ok(!strcmp(c->v.pretrained, "/big/val/${x}"), "inside of a text, and \\${: %s",
       c->v.pretrained);
    ok(c->v.train_iters == 5 && c->v.shift == 2.25, "oc.decode and oc.select");
    wan_config_free(&c);
}

static void layers_of_files(void)
{
    static const char one[] = "common: &c {lr: 1e-3, adam_beta1: 0.5}\noptimizer:\n  <<: *c\n"
                              "  lr: 2e-3\ntrain: {global_batch_size: 2}\n";
    static const char two[] = "dataset: {global_batch_size: 6}\n";
    wan_config *c = fresh();
    int rc = wan_config_yaml_text(c, one, strlen(one), "one.yaml") < 0 ||
             wan_config_yaml_text(c, two, strlen(two), "two.yaml") < 0 ||
             wan_config_word(c, "optimizer.adam_beta1=0.25") < 0;
    ok(rc == 0 && c->v.lr == 2e-3 && c->v.beta1 == 0.25, "merge keys");
    ok(c->v.global_batch == 6, "a later file overrides an earlier one, under another name too");
    ok(wan_config_finish(c, NULL) == 0, "a section that is there for its anchor is no unknown key");
    wan_config_free(&c);
}

/* lengths of the run: steps, epochs counted in samples, warm-up and decay laid over them */
static void lengths(void)
{
    wan_config *c = fresh();
    int rc = build(c, NULL, WORDS("train.epochs=3", "train.global_batch_size=4"), "pretrain");
    ok(rc == 0 && c->v.train_iters == -1 && wan_config_length(c, 28, 0, 0) == 0 &&
           c->v.train_iters == 21 && c->v.decay_iters == 21 && c->v.warmup_iters == 4,
       "three epochs of 28 samples are 21 steps of 4, a fifth of them warm-up");
    ok(wan_config_length(c, 28, 14, 28) == 0 && c->v.train_iters == 28,
       "after 14 steps of 2 the two epochs that are left take 14 steps of 4");
    ok(wan_config_length(c, 28, 50, 84) == 0 && c->v.train_iters == 50, "none are left");
    wan_config_free(&c);
    c = fresh();
    rc = build(c, NULL, WORDS("train.epochs=3", "train.train_iters=5"), "pretrain");
    ok(rc == 0 && wan_config_length(c, 28, 0, 0) == 0 && c->v.train_iters == 5,
       "the earlier of both ends the run");
    wan_config_free(&c);
    c = fresh();
    rc = build(c, "lr_scheduler: {lr_warmup_steps: 0.25}\nstep_scheduler: {max_steps: 40}\n", NULL,
               "");
    ok(rc == 0 && c->v.warmup_iters == 10, "a warm-up below 1 is a part of the run%s%s",
       rc ? ": " : "", rc ? wan_err_text() : "");
    wan_config_free(&c);
}

static void automodel(void)
{
    wan_config *c = fresh();
    int rc = build(c, "step_scheduler: {global_batch_size: 2}\noptim: {learning_rate: 5e-5}\n",
                   NULL, "");
    ok(rc == 0 && c->v.epochs == 10 && c->v.lr_style == WAN_LR_CONSTANT &&
           c->v.weight_decay == 0.01 && c->v.beta2 == 0.999 && c->v.seed == 42 &&
           c->v.sampling == WAN_FLOW_LOGIT_NORMAL && c->v.shift == 3 &&
           wan_config_length(c, 20, 0, 0) == 0 && c->v.train_iters == 100 && c->v.warmup_iters == 0,
       "Automodel's names, Automodel's defaults%s%s", rc ? ": " : "", rc ? wan_err_text() : "");
    wan_config_free(&c);
    c = fresh();
    rc = build(c, "optim: {learning_rate: 5e-5}\nlr_scheduler: {lr_decay_style: cosine}\n", NULL,
               "");
    ok(rc == 0 && fabs(c->v.min_lr - 5e-7) < 1e-15 && fabs(c->v.warmup_init - 5e-6) < 1e-15 &&
           wan_config_length(c, 4000, 0, 0) == 0 && c->v.train_iters == 10000 &&
           c->v.warmup_iters == 1000,
       "its schedule: a warm-up of 1000 from a tenth, down to a hundredth");
    wan_config_free(&c);
    c = fresh();
    rc = build(c,
               "data: {dataloader: {_target_: a.build_mock_dataloader, length: 4, spatial_h: 8}}\n",
               NULL, "");
    ok(rc == 0 && c->v.mock && c->v.mock_samples == 4 && c->v.mock_h == 8 && c->v.mock_w == 52 &&
           c->v.mock_text == 77 && !*c->v.save,
       "its mock loader is mock data of its shape");
    wan_config_free(&c);
    c = fresh();
    rc = build(c, NULL, WORDS("optim.learning_rate=5e-5", "train.recipe=megatron"), "");
    ok(rc == 0 && c->v.seed == 1234 && c->v.preset == WAN_START_FINETUNE, "unless told otherwise");
    wan_config_free(&c);
    c = fresh();
    rc = build(c, "model: {pretrained_model_name_or_path: Wan-AI/Wan2.1-T2V-14B-Diffusers}\n",
               WORDS("dataset.mock=true"), "");
    ok(rc == 0 && c->v.model_size == WAN_SIZE_14B && c->v.model_mode == WAN_START_PRETRAIN &&
           !*c->v.model_path && c->n_noted == 1,
       "a name on the hub stands for its size where no weights are needed");
    wan_config_free(&c);
}

static void batch(const char *name, const char *yaml, int ranks, int machines, int64_t want)
{
    wan_config *c = fresh();
    int rc = build(c, yaml, NULL, "") < 0 ? -1 : wan_config_ranks(c, ranks, machines);
    ok(want ? rc == 0 && c->v.global_batch == want : rc < 0, "%s: %lld%s%s", name,
       (long long)c->v.global_batch, rc ? ", " : "", rc ? wan_err_text() : "");
    wan_config_free(&c);
}

static void batches(void)
{
    batch("nothing said", "", 8, 2, 4);
    batch("per node, two nodes", "batch: {batch_size_per_node: 8}\n", 8, 2, 16);
    batch("accumulated", "gradient_accumulation_steps: 4\ntrain: {micro_batch_size: 2}\n", 4, 1,
          32);
    batch("with tensor parallel",
          "gradient_accumulation_steps: 4\n"
          "model: {tensor_model_parallel_size: 2}\n",
          4, 1, 8);
    batch("Automodel's micro-batches", "step_scheduler: {local_batch_size: 3}\n", 4, 1, 12);
    batch("Megatron's say nothing", "train: {micro_batch_size: 3}\n", 4, 1, 4);
    batch("of the data loader", "data: {dataloader: {batch_size: 2}}\n", 4, 1, 8);
    batch("a global batch beside it",
          "step_scheduler: {local_batch_size: 3, global_batch_size: 24}\n", 4, 1, 24);
    batch("that agrees", "gradient_accumulation_steps: 6\ntrain: {global_batch_size: 24}\n", 4, 1,
          24);
    batch("that contradicts", "gradient_accumulation_steps: 5\ntrain: {global_batch_size: 24}\n", 4,
          1, 0);
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
        int rc = wan_config_yaml(c, path) < 0 || wan_config_word(c, "dataset.mock=true") < 0
                     ? -1
                     : wan_config_finish(c, "finetune");
        ok(rc == 0 && c->v.layers == files[i].layers && c->v.hidden == files[i].hidden &&
               c->v.global_batch == files[i].batch && c->v.capacity == files[i].capacity &&
               c->v.lr == files[i].lr,
           "%s.yaml%s%s", files[i].file, rc ? ": " : "", rc ? wan_err_text() : "");
        wan_config_free(&c);
    }
    wan_config *c = fresh();
    ok(build(c, "model: {patch_spatial: 2, patch_temporal: 1}\n", NULL, "") == 0 &&
           c->v.model_type == WAN_MODEL_WAN,
       "a key that both models have makes no DiT");
    wan_config_free(&c);
    c = fresh();
    ok(wan_config_yaml(c, "tests/data/yaml/dit_pretrain.yaml") == 0 &&
           wan_config_finish(c, NULL) == 0 && c->v.model_type == WAN_MODEL_DIT &&
           !strcmp(wan_config_text(c, "model.size"), "dit-xl") && c->v.heads == 16 &&
           c->v.capacity == 15360 && c->v.global_batch == 8 && c->v.eval_interval == 1000 &&
           c->v.edm_dropout == 0.2,
       "DFM's DiT recipe is a DiT");
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
    int rc =
        build(a, "dataset:\n  empty_text: 'None'\n",
              WORDS("optimizer.lr=0.3e-4", "dataset.path=a: b #c\t\"d\\\x01\xe2\x80\xa8\xc2\x85",
                    "dataset.split=\\${x}\\\\\\${y}", "checkpoint.pretrained_checkpoint=caf\xe9",
                    "train.train_iters=7", "scheduler.lr_warmup_iters=1", "checkpoint.save=here",
                    "optimizer.betas=0.85,0.975"),
              "pretrain");
    char *text = printed(a, 0);
    rc |= build(b, text, NULL, "finetune");
    char *again = printed(b, 0);
    wan_config_marks(a, x);
    wan_config_marks(b, y);
    ok(rc == 0 && !strcmp(text, again) && !memcmp(x, y, marks),
       "the saved configuration reads back%s%s", rc ? ": " : "", rc ? wan_err_text() : "");
    ok(!strcmp(a->v.data_path, b->v.data_path) && !strcmp(a->v.split, b->v.split) &&
           !strcmp(a->v.pretrained, b->v.pretrained) && !strcmp(b->v.empty_text, "None"),
       "texts that YAML would take for something else: %s", b->v.split);
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
    yaml_errors();
    other_models();
    value_errors();
    booleans();
    numbers();
    references();
    layers_of_files();
    lengths();
    automodel();
    batches();
    dfm_files();
    round_trip();
    return tap_done();
}
