/* SPDX-License-Identifier: Apache-2.0
 *
 * config_idle.c - keys that were given and that another one leaves without effect: each is named.
 */
#include <string.h>

#include "lib/train/config/config_priv.h"

static int no_samples(const wan_train_config *v)
{
    return v->sample_interval == 0;
}

static int no_tail(const wan_train_config *v)
{
    return v->lr_style != WAN_LR_WSD;
}

static int no_warmup(const wan_train_config *v)
{
    return v->warmup_iters == 0 && v->warmup_fraction == 0;
}

static int no_logit(const wan_train_config *v)
{
    return v->model_type == WAN_MODEL_WAN && v->sampling != WAN_FLOW_LOGIT_NORMAL;
}

static int no_context(const wan_train_config *v)
{
    return v->cp == 1;
}

static int no_recompute(const wan_train_config *v)
{
    return v->recompute == WAN_RECOMPUTE_NONE;
}

/* Uniform groups are of `full`. */
static int no_groups(const wan_train_config *v)
{
    return v->recompute == WAN_RECOMPUTE_SELECTIVE && !v->recompute_method;
}

static int no_offload(const wan_train_config *v)
{
    return !v->offload_acts;
}

/* Keys, and what stands against all of them. */
static const struct {
    int (*idle)(const wan_train_config *v);
    const char *why, *key[7];
} rules[] = {
    { no_samples,
      "train.sample_interval is 0",
      { "train.sample_prompts", "train.sample_steps", "train.sample_guidance", "train.sample_size",
        "train.sample_frames", "train.sample_seed" } },
    { no_tail,
      "it is of scheduler.lr_decay_style=WSD",
      { "scheduler.lr_wsd_decay_iters", "scheduler.lr_wsd_decay_style" } },
    { no_warmup, "there is no warm-up", { "scheduler.lr_warmup_init" } },
    { no_logit,
      "it is of flow.timestep_sampling=logit_normal",
      { "flow.logit_mean", "flow.logit_std" } },
    { no_context, "model.context_parallel_size is 1", { "model.cp_comm_type" } },
    { no_recompute, "model.recompute_granularity is none", { "model.recompute_num_layers" } },
    { no_groups,
      "model.recompute_granularity=selective does its part again block by block",
      { "model.recompute_num_layers" } },
    { no_offload, "model.cpu_offloading is false", { "model.cpu_offloading_num_layers" } },
};

/* What a file gives as its default is no wish. */
static int wished(const wan_config *c, const char *key)
{
    const int i = wan_config_find(key);
    return c->value[i].source > WAN_FROM_PRESET &&
           strcmp(c->value[i].text, wan_config_key(i)->def) != 0;
}

int wan_config_idle(wan_config *c)
{
    for (size_t r = 0; r < sizeof rules / sizeof *rules; r++)
        for (int k = 0; rules[r].idle(&c->v) && rules[r].key[k]; k++)
            if (wished(c, rules[r].key[k]))
                WAN_TRY(wan_config_note(c, rules[r].key[k], wan_config_text(c, rules[r].key[k]),
                                        rules[r].why));
    return 0;
}
