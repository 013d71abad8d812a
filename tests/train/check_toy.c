/* SPDX-License-Identifier: Apache-2.0
 *
 * check_toy.c - a second model (toy.h) trains, saves, resumes and samples through the tables, without
 * a change elsewhere.
 */
#include <unistd.h>

#include "lib/base/log.h"
#include "lib/model/files/modelfolder.h"
#include "lib/model/files/modelio.h"
#include "lib/model/sample/generate.h"
#include "lib/model/sample/sampler.h"
#include "lib/train/train.h"
#include "tests/tap.h"
#include "tests/train/toy.h"

enum { STEPS = 60, C = 2, T = 2, SIDE = 4 };
static char root[] = "/tmp/wan-toy.XXXXXX";
static double loss[STEPS + 1];

static int report(void *arg, const wan_report *r)
{
    (void)arg;
    loss[r->step] = r->loss_unweighted;
    return 0;
}

/* Trains up to `steps` in folder `save`; the exit status, -1 on trouble. */
static int train(const char *save, int steps)
{
    char words[4][128];
    snprintf(words[0], sizeof words[0], "model.config=%s/toy", root);
    snprintf(words[1], sizeof words[1], "checkpoint.save=%s/%s", root, save);
    snprintf(words[2], sizeof words[2], "train.train_iters=%d", steps);
    const char *const more[] = { words[0],
                                 words[1],
                                 words[2],
                                 "dataset.F_latents=2",
                                 "dataset.H_latents=4",
                                 "dataset.W_latents=4",
                                 "dataset.context_seq_len=3",
                                 "dataset.mock_samples=5",
                                 "dataset.seq_length=24",
                                 "train.global_batch_size=6",
                                 "optimizer.lr=0.02",
                                 "flow.sigma_min=0.7",
                                 "scheduler.lr_warmup_iters=0",
                                 "scheduler.lr_decay_style=constant",
                                 "model.ffn_hidden_size=16" };
    const wan_train_options o = { .device = "cpu", .compute = WAN_BF16, .mock = 1 };
    wan_config *c;
    wan_comm *comm = NULL;
    wan_train *t = NULL;
    int rc = wan_config_new(&c);
    for (size_t i = 0; i < sizeof more / sizeof *more && rc == 0; i++)
        rc = wan_config_word(c, more[i]);
    if (rc == 0)
        rc = wan_config_finish(c, "pretrain");
    if (rc == 0)
        rc = wan_comm_open(&comm, "self", 1, 1);
    if (rc == 0)
        rc = wan_train_open(&t, c, comm, &o);
    if (rc == 0)
        rc = wan_train_start(t);
    if (rc == 0)
        rc = wan_train_run(t, report, NULL);
    wan_train_close(&t);
    wan_comm_close(&comm);
    wan_config_free(&c);
    return rc;
}

/* The file `name` of a step of a run. */
static char *bytes(const char *run, int step, const char *name, size_t *n)
{
    char path[256], *data = NULL;
    snprintf(path, sizeof path, "%s/%s/iter_%07d/%s", root, run, step, name);
    if (wan_slurp(&data, n, path, 1 << 20) < 0)
        printf("# %s\n", wan_err_text());
    return data;
}

static int same(const char *a, const char *b, int step, const char *name)
{
    size_t n = 0, m = 0;
    char *x = bytes(a, step, name, &n), *y = bytes(b, step, name, &m);
    int equal = x && y && n == m && !memcmp(x, y, n);
    free(x);
    free(y);
    return equal;
}

static double mean(int from, int to)
{
    double s = 0;
    for (int i = from; i < to; i++)
        s += loss[i] / (to - from);
    return s;
}

static void training(void)
{
    if (!ok(train("whole", STEPS) == WAN_EXIT_DONE, "%d steps: %s", STEPS, wan_err_text()))
        return;
    double begin = mean(1, 6), end = mean(STEPS - 5, STEPS + 1);
    ok(end < 0.7 * begin, "the loss falls from %.3f to %.3f", begin, end);
    ok(train("half", STEPS / 2) == WAN_EXIT_DONE && train("half", STEPS) == WAN_EXIT_DONE,
       "half of them, and the rest: %s", wan_err_text());
    ok(same("whole", "half", STEPS, "transformer/diffusion_pytorch_model.safetensors"),
       "are the same weights");
    ok(same("whole", "half", STEPS, "optimizer/exp_avg_sq.safetensors"), "and the same moments");
}

/* The answer of the model to one token, in double. */
static void by_hand(const wan_store *s, const double *x, double *y, int W, int H)
{
    float w1[16 * 8], b1[16], w2[8 * 16], b2[8];
    if (wan_store_get(s, 0, w1) < 0 || wan_store_get(s, 1, b1) < 0 || wan_store_get(s, 2, w2) < 0 ||
        wan_store_get(s, 3, b2) < 0)
        return;
    for (int j = 0; j < W; j++)
        y[j] = b2[j];
    for (int i = 0; i < H; i++) {
        double h = b1[i];
        for (int j = 0; j < W; j++)
            h += w1[i * W + j] * x[j];
        for (int j = 0; j < W; j++)
            y[j] += w2[j * H + i] * h;
    }
}

/* Element of a latent [C, T, SIDE, SIDE] that is channel c of place (p, q) in the patch of a token. */
static int place(int c, int token, int p, int q)
{
    int t = token / (SIDE * SIDE / 4), r = token / (SIDE / 2) % (SIDE / 2), k = token % (SIDE / 2);
    return ((c * T + t) * SIDE + 2 * r + p) * SIDE + 2 * k + q;
}

/* One Euler step over the distance `step` in sigma; the answer, token by token. */
static double error(const wan_store *s, const float *noise, const float *made, double step)
{
    double d = 0, n = 0;
    for (int token = 0; token < T * SIDE * SIDE / 4; token++) {
        double x[8], y[8] = { 0 };
        for (int c = 0; c < C; c++)
            for (int i = 0; i < 4; i++)
                x[i * C + c] = noise[place(c, token, i / 2, i % 2)]; /* in: (p, q, c) */
        by_hand(s, x, y, 8, 16);
        for (int c = 0; c < C; c++)
            for (int i = 0; i < 4; i++) {
                int at = place(c, token, i / 2, i % 2);
                double want = noise[at] + step * y[c * 4 + i]; /* out: (c, p, q) */
                d += (made[at] - want) * (made[at] - want);
                n += want * want;
            }
    }
    return d >= 0 ? sqrt(d / n) : INFINITY;
}

static int sample(wan_dev *d, const char *folder)
{
    wan_arch arch;
    wan_store *s = NULL;
    wan_acts *a = NULL;
    wan_context *none = NULL;
    float noise[C * T * SIDE * SIDE], made[C * T * SIDE * SIDE];
    float sigma[2];
    double t;
    const int64_t no_text[1] = { 0 };
    wan_acts_options ao = { .compute = WAN_F32, .cap = { T * SIDE * SIDE / 4, 1, 1, 0 } };
    wan_generate_options go = {
        .sampler = { .solver = "euler", .schedule = "official", .steps = 1, .shift = 1 },
        .T = T,
        .h = SIDE,
        .w = SIDE
    };
    for (int i = 0; i < C * T * SIDE * SIDE; i++)
        made[i] = noise[i] = (float)sin(1 + 3.7 * i);
    WAN_TRY(wan_modelio_config(&arch, folder));
    ok(arch.model == &toy_model, "the checkpoint says what it is of");
    WAN_TRY(wan_model_store(&s, d, &arch, NULL, WAN_F32, 0));
    WAN_TRY(wan_modelio_load(s, folder));
    WAN_TRY(wan_model_acts(&a, d, &arch, &ao, NULL));
    WAN_TRY(wan_model_context(&none, a, s, (wan_buf){ 0 }, no_text, 1));
    WAN_TRY(wan_generate(s, a, &arch, &go, made, none, NULL));
    WAN_TRY(wan_sampler_schedule(go.sampler.solver, go.sampler.schedule, 1, go.sampler.shift, sigma,
                                 &t));
    ok_err(error(s, noise, made, sigma[1] - sigma[0]), 1e-5,
           "a step of the sampler is the network worked by hand");
    go.sampler.steps = 20;
    WAN_TRY(wan_generate(s, a, &arch, &go, made, none, NULL));
    wan_model_context_free(arch.model, &none);
    wan_model_acts_free(&a);
    wan_store_free(&s);
    return 0;
}

static void sampling(void)
{
    char run[128], *folder = NULL;
    wan_dev *d = NULL;
    snprintf(run, sizeof run, "%s/whole", root);
    int rc = wan_dev_open(&d, "cpu", 0);
    if (rc == 0)
        rc = wan_model_transformer(&folder, run, -1);
    if (rc == 0)
        rc = sample(d, folder);
    ok(rc == 0, "sampling: %s", wan_err_text());
    free(folder);
    wan_dev_close(&d);
}

int main(void)
{
    char path[128];
    static const char json[] = "{\"_class_name\": \"Toy\", \"hidden\": 8}\n";
    wan_log_init("check_toy", 0);
    if (!mkdtemp(root))
        return 1;
    ok(wan_model_register(&toy_model) == 0 && wan_model_find("toy") == &toy_model, "a row more");
    ok(wan_model_register(&toy_model) < 0, "but once: %s", wan_err_text());
    snprintf(path, sizeof path, "%s/toy", root);
    if (wan_mkdirs(path) < 0)
        return 1;
    snprintf(path, sizeof path, "%s/toy/config.json", root);
    if (wan_spew(path, json, sizeof json - 1) < 0)
        return 1;
    training();
    sampling();
    wan_remove_tree(root);
    return tap_done();
}
