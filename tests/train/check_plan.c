/* SPDX-License-Identifier: Apache-2.0
 *
 * check_plan.c - what --plan promises: the published sizes' parameters and FLOPs as the literature
 * counts them, and memory as a run really takes it from the device.
 */
#include "lib/base/log.h"
#include "lib/train/train_priv.h"
#include "tests/tap.h"

static wan_config *config(const char *const *words)
{
    wan_config *c;
    int rc = wan_config_new(&c);
    for (; rc == 0 && *words; words++)
        rc = wan_config_word(c, *words);
    if (rc < 0 || wan_config_finish(c, "pretrain") < 0) {
        printf("Bail out! %s\n", wan_err_text());
        exit(1);
    }
    return c;
}

static int report(void *arg, const wan_report *r)
{
    (void)arg, (void)r;
    return 0;
}

/* wan-model(7), Sizes and FLOPs; the mock video has 37,440 tokens. */
static void published(const char *size, int64_t parameters, double pflop)
{
    char word[32];
    snprintf(word, sizeof word, "model.size=%s", size);
    wan_config *c = config(
        (const char *const[]){ word, "train.global_batch_size=1", "checkpoint.save=", NULL });
    wan_comm *comm;
    wan_train *t = NULL;
    const wan_train_options o = { .device = "cpu", .compute = WAN_BF16, .mock = 1 };
    if (wan_comm_open(&comm, "self", 1, 1) == 0 && wan_train_open(&t, c, comm, &o) == 0) {
        const wan_plan *p = wan_train_plan(t);
        ok(p->parameters == parameters, "%s: %lld parameters", size, (long long)p->parameters);
        ok_err(fabs(p->flops * 1e-15 - pflop) / pflop, 1e-3, "%s: %.4g PFLOP a step", size,
               p->flops * 1e-15);
        wan_plan cuda = *p, passes = *p;
        wan_plan_cuda(&cuda, 0);
        wan_plan_cuda(&passes, WAN_DEV_TWO_PASSES);
        const double all = 40960.0 * 40960 * 2, text = (double)p->space.heads * 40960 * 512 * 2;
        ok(fabs((double)(cuda.total - passes.total) - (all - text)) < 0.01 * all,
           "%s: two passes of attention's backward keep %.2f GB less", size,
           1e-9 * (double)(cuda.total - passes.total));
        t->opt.memory = p->total;
        ok(wan_train_fits(t) == 0, "%s: fits where it is allowed %lld bytes", size,
           (long long)p->total);
        t->opt.memory--;
        ok(wan_train_fits(t) < 0, "%s: not where it is allowed one less", size);
    } else {
        ok(0, "%s: %s", size, wan_err_text());
    }
    wan_train_close(&t);
    wan_comm_close(&comm);
    wan_config_free(&c);
}

/* What activations were planned to take.  blocks: of the method; 0: uniform without a number. */
static int64_t memory(const char *recompute, const char *method, int blocks, wan_dtype compute)
{
    char word[64], many[64], how[64];
    int64_t kept = 0;
    snprintf(word, sizeof word, "model.recompute_granularity=%s", recompute);
    snprintf(many, sizeof many, "model.recompute_num_layers=%d", blocks);
    snprintf(how, sizeof how, "model.recompute_method=%s", method);
    wan_config *c = config((const char *const[]){
        word, many, how, "model.num_layers=4", "model.hidden_size=128",
        "model.num_attention_heads=2", "model.ffn_hidden_size=256", "model.text_dim=64",
        "dataset.F_latents=3", "dataset.H_latents=16", "dataset.W_latents=16",
        "dataset.context_seq_len=20", "train.global_batch_size=4", "dataset.seq_length=400",
        "checkpoint.save=", "train.train_iters=2", "scheduler.lr_warmup_iters=0", NULL });
    wan_comm *comm;
    wan_train *t = NULL;
    const wan_train_options o = { .device = "cpu", .compute = compute, .mock = 1 };
    if (wan_comm_open(&comm, "self", 1, 1) < 0 || wan_train_open(&t, c, comm, &o) < 0 ||
        wan_train_start(t) < 0) {
        ok(0, "%s: %s", recompute, wan_err_text());
        return 0;
    }
    size_t before = t->dev->allocated;
    int rc = wan_train_run(t, report, NULL);
    double plan = (double)t->plan.total, peak = (double)t->dev->peak;
    kept = t->plan.acts.kept + t->plan.acts.work;
    ok(rc == WAN_EXIT_DONE, "recompute %s, %s %d, %s: two steps", recompute, method, blocks,
       wan_dtype_name(compute));
    ok(peak <= plan && peak >= 0.85 * plan, "planned %.0f bytes, %.0f taken (%.3f)", plan, peak,
       peak / plan);
    ok(peak <= (double)(before + t->dev->scratch_bytes) * 1.001,
       "steps take nothing but the ops' scratch (%.3f)", peak / (double)before);
    wan_train_close(&t);
    wan_comm_close(&comm);
    wan_config_free(&c);
    return kept;
}

int main(void)
{
    wan_log_init("check_plan", 0);
    published("1.3B", 1418996800, 1.067);
    published("14B", 14288491584, 6.184);
    memory("none", "uniform", 0, WAN_F32);
    memory("selective", "uniform", 0, WAN_F32);
    memory("full", "uniform", 3, WAN_F32);
    int64_t none = memory("none", "uniform", 0, WAN_BF16);
    int64_t full = memory("full", "uniform", 0, WAN_BF16);
    int64_t all = memory("full", "block", 4, WAN_BF16), one = memory("full", "block", 1, WAN_BF16);
    int64_t two = memory("full", "block", 2, WAN_BF16),
            three = memory("full", "block", 3, WAN_BF16);
    ok(all == full && one - two == two - three && two - three == three - full && two < none,
       "each of four blocks that is recomputed keeps as much less");
    int64_t pairs = memory("full", "uniform", 2, WAN_BF16);
    int64_t most = memory("full", "uniform", 3, WAN_BF16);
    /* An input of two samples of 192 tokens, 128 fp32 wide, and what else a block keeps that is not recomputed. */
    const int64_t input = 2 * 192 * 128 * 4, rest = one - two;
    ok(pairs == full - 2 * input + rest + input && most == full - 2 * input + 2 * (rest + input) &&
           most < none,
       "groups of two and of three: fewer inputs, a set of the rest for each block of a group");
    return tap_done();
}
