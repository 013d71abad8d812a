/* SPDX-License-Identifier: Apache-2.0
 *
 * check_quiet.c - what a training run asks of its device step by step, over packs of ever new shapes: after the
 * first step nothing is allocated; on the emulated device (tests/gpu/emu/counts.h) waits and copies are
 * counted.  And that ops ask for no more work space than kernels/space.h says.  Under mpirun with
 * WAN_CHECK_TRANSPORT=nccl: the same of ranks that talk on the device.
 */
#include <dlfcn.h>

#include "kernels/space.h"
#include "lib/base/log.h"
#include "lib/base/rng.h"
#include "lib/model/sample/generate.h"
#include "lib/model/wan/net.h"
#include "lib/train/train_priv.h"
#include "tests/gpu/emu/counts.h"
#include "tests/tap.h"

enum { STEPS = 6 };

static const char *device, *transport;
static wan_comm *comm;

/* The device's counts; NULL: it is a real one. */
static const int64_t *counts(void)
{
    const char *path = getenv("WAN_CUDA_PLUGIN");
    void *so = path && !strncmp(device, "cuda", 4) ? dlopen(path, RTLD_LAZY | RTLD_NOLOAD) : NULL;
    void *fn = so ? dlsym(so, "emu_counts") : NULL;
    return fn ? ((emu_counts_fn *)fn)() : NULL;
}

static void must(int rc)
{
    if (rc < 0) {
        printf("Bail out! %s\n", wan_err_text());
        exit(1);
    }
}

/* ---- a run */

typedef struct seen {
    wan_train *t;
    int64_t at[STEPS][EMU_COUNTS];
    size_t allocated[STEPS], scratch[STEPS];
    int64_t tokens[STEPS];
    int n;
} seen;

static void look(seen *s, int64_t tokens)
{
    const int64_t *c = counts();
    must(s->n < STEPS ? 0 : wan_err("more steps than asked for"));
    if (c)
        memcpy(s->at[s->n], c, sizeof s->at[0]);
    s->allocated[s->n] = s->t->dev->allocated;
    s->scratch[s->n] = s->t->dev->scratch_bytes;
    s->tokens[s->n++] = tokens;
}

static int report(void *arg, const wan_report *r)
{
    look(arg, r->tokens);
    return 0;
}

/* fixed: micro-batches of few shapes, 1: recorded; cp: ranks that share out tokens, else one of each a micro-batch. */
static int eight; /* of the run that comes: products in eight bits */

static wan_config *config(const char *recompute, int fixed, int cp)
{
    char word[64], ranks[64];
    snprintf(word, sizeof word, "model.recompute_granularity=%s", recompute);
    snprintf(ranks, sizeof ranks, "model.context_parallel_size=%d", cp);
    const char *const words[] = { word,
                                  eight ? "model.compute_dtype=fp8" : "model.compute_dtype=bf16",
                                  ranks,
                                  fixed == 1 ? "train.graphs=true" : "train.graphs=false",
                                  fixed ? "flow.cfg_dropout_prob=0" : "flow.cfg_dropout_prob=0.1",
                                  fixed ? "dataset.mock_vary=false" : "dataset.mock_vary=true",
                                  "model.num_layers=1",
                                  "model.hidden_size=48",
                                  "model.num_attention_heads=3",
                                  "model.ffn_hidden_size=32",
                                  "model.text_dim=32",
                                  "model.text_len=8",
                                  "model.freq_dim=32",
                                  "dataset.F_latents=2",
                                  "dataset.H_latents=4",
                                  "dataset.W_latents=4",
                                  "dataset.context_seq_len=4",
                                  "dataset.mock_samples=24",
                                  "dataset.seq_length=24",
                                  "train.global_batch_size=4",
                                  "checkpoint.save=",
                                  "train.train_iters=6",
                                  "scheduler.lr_warmup_iters=0" };
    wan_config *c;
    must(wan_config_new(&c));
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        must(wan_config_word(c, words[i]));
    must(wan_config_finish(c, "pretrain"));
    return c;
}

/* Between the reports of two steps, from one with nothing due to the next: the host waits once, for the losses of
 * the step before the one it has just started, and nothing stands in the way of the kernels. */
static void waits(const seen *s)
{
    int64_t most[EMU_COUNTS] = { 0 };
    for (int i = 1; i + 1 < s->n; i++)
        for (int k = 0; k < EMU_COUNTS; k++) {
            int64_t n = s->at[i][k] - s->at[i - 1][k];
            most[k] = n > most[k] ? n : most[k];
        }
    ok(most[EMU_WAITS] == 1 && most[EMU_TO_HOST] == 2,
       "  %lld wait and %lld reads a step: its norm and losses, one step late",
       (long long)most[EMU_WAITS], (long long)most[EMU_TO_HOST]);
    ok(most[EMU_TO_DEVICE] > 4 && most[EMU_IN_LINE] == 0,
       "  %lld uploads a step, none of them in the stream of the kernels",
       (long long)most[EMU_TO_DEVICE]);
}

/* Calls by which the host gave the device the work of a step, the last but one. */
static int64_t calls(const seen *s)
{
    return s->at[STEPS - 2][EMU_CALLS] - s->at[STEPS - 3][EMU_CALLS];
}

/* The plan counts them, in every mode (plan.c: 16 KiB each, eight shapes, two backward passes of each where a step may have
 * several micro-batches; here there is one), and not many more than there are. */
static void recordings(const seen *s)
{
    const double nodes = (double)s->at[STEPS - 1][EMU_NODES];
    const double planned = (double)s->t->plan.graphs / (16 << 10) / WAN_TAPES_SHAPES;
    ok(nodes > 0 && nodes <= planned && 5 * nodes > planned,
       "  %.0f kernels and copies in recordings, of %.0f in the plan", nodes, planned);
}

/* fixed: the same shapes again, 1: from recordings.  Kernels of a step of them. */
static int64_t run(const char *recompute, wan_dtype compute, int fixed, int cp)
{
    wan_config *c = config(recompute, fixed, cp);
    seen s = { .n = 0 };
    const wan_train_options o = { .device = device, .compute = compute, .mock = 1 };
    const char *type = wan_dtype_name(compute);
    int quiet = 1, other = 0;
    must(wan_train_open(&s.t, c, comm, &o));
    must(wan_train_start(s.t));
    const size_t before = s.t->dev->allocated;
    int rc = wan_train_run(s.t, report, &s);
    ok(rc == WAN_EXIT_DONE && s.n == STEPS, "%s%s, recompute %s%s%s: %d steps", type,
       eight ? " and fp8" : "", recompute, fixed == 1 ? ", recorded" : "",
       cp > 1 ? ", shared tokens" : "", s.n);
    for (int i = 1; i < s.n; i++) {
        other += s.tokens[i] != s.tokens[i - 1];
        quiet = quiet && s.allocated[i] == before && s.scratch[i] == s.scratch[0] &&
                s.at[i][EMU_ALLOCS] == s.at[0][EMU_ALLOCS];
    }
    ok(quiet && (fixed || other > 1),
       "  nothing is allocated after the first, in steps of other shapes (%d)", other);
    if (counts()) {
        waits(&s);
        ok(s.at[STEPS - 1][EMU_SEARCHES] == s.at[0][EMU_SEARCHES],
           "  no algorithm is looked for: numbers of tokens are rounded up");
    }
    const int64_t done = wan_step_replays(s.t->step);
    if (wan_dev_records(s.t->dev)) /* every part of every step but the first, both ways, at least */
        ok(fixed == 1 ? done >= (STEPS - 1) * 3 * 2 : done == 0, "  %lld parts from recordings",
           (long long)done);
    if (wan_dev_records(
            s.t->dev)) /* of every step but the first, which is run, like measurements */
        ok(wan_optim_replays(s.t->optim) == (fixed == 1 ? STEPS - 1 : 0), "  %lld updates",
           (long long)wan_optim_replays(s.t->optim));
    if (counts() && fixed == 1)
        recordings(&s);
    if (counts())
        printf("# %lld calls of the host a step\n", (long long)calls(&s));
    ok(s.scratch[0] == (size_t)s.t->plan.kernels, "  the work space is the plan's, %zu bytes",
       s.scratch[0]);
    wan_train_close(&s.t);
    wan_config_free(&c);
    return s.at[STEPS - 2][EMU_LAUNCHES] - s.at[STEPS - 3][EMU_LAUNCHES];
}

/* ---- a sampler, whose weights stay what they are */

enum { ASKED = 5, LATENT = 16 * 2 * 4 * 4 };

typedef struct sampled {
    float latent[LATENT];
    int64_t at[ASKED][EMU_COUNTS];
} sampled;

static int asked(void *arg, int i, const float *latent, const float *clean)
{
    (void)latent, (void)clean;
    if (counts())
        memcpy(((sampled *)arg)->at[i], counts(), sizeof((sampled *)arg)->at[i]);
    return 0;
}

/* Values that leave nothing out. */
static void values(wan_store *s)
{
    for (int i = 0; i < s->params.n; i++) {
        const wan_param *q = &s->params.v[i];
        wan_rng r = wan_rng_stream(5, WAN_RNG_TEST, (uint64_t)i, 0);
        float *v = malloc((size_t)q->count * sizeof *v);
        must(v ? 0 : -1);
        wan_rng_normal(&r, v, 0, (size_t)q->count);
        for (int64_t k = 0; k < q->count; k++)
            v[k] *= 0.2f;
        must(wan_store_take(s, i, NULL, v, WAN_F32));
        free(v);
    }
}

/* Five steps in eight bits. */
static void sample(sampled *out, int still, int graphs)
{
    const wan_net_config c = { 3, 16, 2, 64, 16, 16, 32, 8, 32, 2, 2, 1e-6 };
    const wan_acts_options ao = { .compute = WAN_BF16,
                                  .cap = { .tokens = 8, .samples = 1, .text_rows = 9 } };
    const int64_t len = 4;
    wan_generate_options g = { .sampler.steps = ASKED,
                               .T = 2,
                               .h = 4,
                               .w = 4,
                               .on_step = asked,
                               .arg = out,
                               .graphs = graphs };
    wan_arch arch;
    wan_dev *d;
    wan_store *s;
    wan_acts *a;
    wan_context *ctx;
    float rows[4 * 32];
    wan_rng r = wan_rng_stream(6, WAN_RNG_TEST, 0, 0);
    must(wan_dev_open(&d, device, 0));
    wan_model_arch(&arch, &wan_net_model, &c);
    must(wan_sampler_resolve(&g.sampler, "flow"));
    must(wan_model_store(&s, d, &arch, NULL, WAN_BF16, 0));
    s->eight = 1;
    values(s);
    must(wan_model_acts(&a, d, &arch, &ao, NULL));
    wan_rng_normal(&r, rows, 0, 4 * 32);
    wan_rng_normal(&r, out->latent, 4 * 32, LATENT);
    void *text = wan_dev_alloc(d, sizeof rows, "text");
    must(text ? wan_dev_write(d, text, rows, sizeof rows) : -1);
    must(wan_model_context(&ctx, a, s, wan_buf_of(text, WAN_F32), &len, 1));
    wan_dev_still(d, still ? WAN_STILL_FORWARD : WAN_STILL_NOT);
    must(wan_generate(s, a, &arch, &g, out->latent, ctx, NULL));
    wan_dev_forget(d);
    wan_model_context_free(&wan_net_model, &ctx);
    wan_dev_free(d, text);
    wan_model_acts_free(&a);
    wan_store_free(&s);
    wan_dev_close(&d);
}

/* Weights are rounded in the first step alone, whether the others are recorded or not; the same bytes. */
static void samples(void)
{
    static sampled v[4];
    int64_t kernels[4], first[4], nodes[4];
    for (int i = 0; i < 4; i++) {
        sample(&v[i], i & 1, i & 2);
        kernels[i] = v[i].at[4][EMU_LAUNCHES] - v[i].at[3][EMU_LAUNCHES];
        first[i] = v[i].at[3][EMU_LAUNCHES] - v[i].at[2][EMU_LAUNCHES];
        nodes[i] = v[i].at[4][EMU_CALLS] - v[i].at[3][EMU_CALLS];
        if (i)
            ok(!memcmp(v[i].latent, v[0].latent, sizeof v[0].latent),
               "a sampler in fp8%s%s: the same bytes", i & 1 ? ", weights rounded once" : "",
               i & 2 ? ", recorded" : "");
    }
    if (!counts())
        return;
    printf("# kernels of a step %lld, kept %lld, recorded %lld, both %lld\n", (long long)kernels[0],
           (long long)kernels[1], (long long)kernels[2], (long long)kernels[3]);
    /* two blocks of eight products, their largest values and their codes; the text's are not asked for */
    ok(kernels[0] - kernels[1] == 2 * 8 * 2 && kernels[2] - kernels[3] == 2 * 8 * 2,
       "  a step is %lld kernels less", (long long)(kernels[0] - kernels[1]));
    ok(first[3] == first[1] && 10 * nodes[3] < nodes[1],
       "  %lld calls of the host a step, recorded %lld", (long long)nodes[1], (long long)nodes[3]);
}

/* ---- attention of a pack, forward and backward */

enum { HEADS = 4, HEAD = 8, MOST = 4 };

static wan_buf rows(wan_dev *d, int64_t n)
{
    void *p = wan_dev_alloc(d, (size_t)n * HEADS * HEAD * 2, "rows");
    must(p ? 0 : -1);
    must(wan_dev_zero(d, p, (size_t)n * HEADS * HEAD * 2));
    return wan_buf_of(p, WAN_BF16);
}

static void attention(const int64_t *q, const int64_t *k, int n, int any_order)
{
    wan_dev *d;
    wan_pack pq, pk;
    must(wan_dev_open(&d, device, any_order ? WAN_DEV_NONDETERMINISTIC : 0));
    must(wan_pack_new(d, &pq, q, n));
    must(wan_pack_new(d, &pk, k, n));
    const int64_t W = HEADS * HEAD;
    const wan_attn a = { &pq, &pk, HEADS, HEAD, 0.3, W, W, W, W, NULL };
    wan_buf x[4], y[4];
    for (int i = 0; i < 4; i++) { /* q k v o; dq dk dv dout */
        int64_t S = i == 1 || i == 2 ? pk.S : pq.S;
        x[i] = rows(d, S);
        y[i] = rows(d, S);
    }
    float *lse = wan_dev_alloc(d, (size_t)(HEADS * pq.S) * sizeof *lse, "lse");
    must(d->ops->attention_forward(d, &a, x[3], lse, x[0], x[1], x[2]));
    must(d->ops->attention_backward(d, &a, y[0], y[1], y[2], y[3], x[3], lse, x[0], x[1], x[2]));
    must(wan_dev_sync(d));
    const wan_space s = { .tokens = pq.S,
                          .longest = pq.max_len,
                          .samples = n,
                          .text_len = pk.max_len,
                          .heads = HEADS,
                          .head_dim = HEAD,
                          .bf16 = 1,
                          .any_order = any_order };
    double most = (double)wan_space_attention(&s), used = (double)d->scratch_bytes;
    ok(used <= most, "attention of %d samples, %lld and %lld rows%s: %.0f bytes, %.2f of the bound",
       n, (long long)pq.S, (long long)pk.S, any_order ? ", any order" : "", used, used / most);
    wan_pack_free(d, &pq);
    wan_pack_free(d, &pk);
    wan_dev_close(&d);
}

int main(void)
{
    static const int64_t one[1] = { 300 }, even[3] = { 130, 140, 120 }, odd[3] = { 3, 400, 2 },
                         tiny[4] = { 5, 3, 1, 9 }, text[3] = { 9, 2, 17 };
    wan_dev *d;
    device = getenv("WAN_CHECK_DEVICE");
    device = device && *device ? device : "cpu";
    transport = getenv("WAN_CHECK_TRANSPORT");
    transport = transport && *transport ? transport : "self";
    wan_log_init("check_quiet", 0);
    if (wan_dev_open(&d, device, 0) < 0) {
        tap_skip("steps on a device", wan_err_text());
        return tap_done();
    }
    int gpu = d->kind == WAN_DEV_CUDA;
    wan_dev_close(&d);
    must(wan_comm_open(&comm, transport, 30, 600));
    const int one_rank = !strcmp(transport, "self");
    run("none", WAN_F32, 0, 1);
    run("selective", WAN_BF16, 0, 1);
    run("full", WAN_BF16, 1, 1);
    for (int i = 0; i < 2 && gpu; i++) { /* nothing is recorded elsewhere */
        eight = i;
        const int64_t kernels = run(i ? "full" : "none", i ? WAN_BF16 : WAN_F32, 1, 1);
        if (i && counts()) { /* weights are rounded once a step, in front of what is recorded */
            const int64_t as_run = run("full", WAN_BF16, 2, 1);
            ok(kernels == as_run, "fp8: %lld kernels a step, recorded %lld", (long long)as_run,
               (long long)kernels);
        }
    }
    eight = 0;
    if (gpu && one_rank)
        samples();
    if (!one_rank)
        run("none", WAN_BF16, 0, 2);
    wan_comm_close(&comm);
    for (int any = 0; any < 2 && gpu && one_rank; any++) {
        attention(one, one, 1, any);
        attention(even, even, 3, any);
        attention(odd, odd, 3, any);
        attention(tiny, tiny, 4, any);
        attention(even, text, 3, any);
    }
    return tap_done();
}
