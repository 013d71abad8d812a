/* SPDX-License-Identifier: Apache-2.0
 *
 * check_debug.c - debug.batch and debug.dump: the tool itself, fed the exchanged batches of
 * tests/data/ref, gives diffusers' loss, predictions and gradients.
 *
 * With two file names it compares two dumps tensor by tensor and prints the largest relative error, of
 * the gradients, or of the tensors whose names begin with a third word (for tests/ranks.sh).
 */
#include "lib/rec/tensor/safetensors.h"
#include "tests/tap.h"

static float *whole(wan_st *st, const wan_st_tensor *x)
{
    float *host = malloc((size_t)(x->count + 1) * sizeof *host);
    if (!host || wan_st_load(st, x->name, x->shape, x->rank, host, WAN_F32) < 0) {
        printf("Bail out! %s: %s\n", x->name, wan_err_text());
        exit(1);
    }
    return host;
}

/* Largest relative L2 error of the tensors of b whose names start with `prefix`; how many in *n. */
static double worst(wan_st *a, wan_st *b, const char *prefix, int *n)
{
    double w = 0;
    *n = 0;
    for (size_t i = 0; i < wan_st_count(b); i++) {
        wan_st_tensor *y = wan_st_at(b, i), *x;
        if (strncmp(y->name, prefix, strlen(prefix)))
            continue;
        if (!(x = wan_st_find(a, y->name)) || x->count != y->count) {
            printf("# %s is missing\n", y->name);
            return INFINITY;
        }
        float *u = whole(a, x), *v = whole(b, y);
        w = worse(w, rel_l2(u, v, (size_t)y->count));
        free(u);
        free(v);
        ++*n;
    }
    return w;
}

static int compare(const char *one, const char *other, const char *prefix)
{
    wan_st *a, *b;
    int n;
    if (wan_st_open(&a, one) < 0 || wan_st_open(&b, other) < 0) {
        fprintf(stderr, "%s\n", wan_err_text());
        return 1;
    }
    printf("%.3g\n", worst(a, b, prefix, &n));
    wan_st_close(&a);
    wan_st_close(&b);
    return n == 0;
}

static void against_diffusers(const char *name, int batch, const char *more)
{
    char cmd[1024], want[256];
    wan_st *a, *b;
    int n;
    snprintf(want, sizeof want, "tests/data/ref/%s/out.safetensors", name);
    snprintf(cmd, sizeof cmd,
             "$BIN/wan-train -q --device cpu --precision fp32 --metrics /dev/null "
             "checkpoint.pretrained_checkpoint=tests/data/ref/%s/transformer checkpoint.save= "
             "debug.batch=tests/data/ref/%s/in.safetensors debug.dump=check_debug.tmp.safetensors "
             "train.train_iters=1 train.global_batch_size=%d flow.shift=3 "
             "scheduler.lr_decay_style=constant scheduler.lr_warmup_iters=0 %s",
             name, name, batch, more);
    if (!ok(system(cmd) == 0, "%s: wan-train runs the batch (%s)", name, more) ||
        !ok(wan_st_open(&a, "check_debug.tmp.safetensors") == 0 && wan_st_open(&b, want) == 0,
            "%s: the dump opens", name))
        return;
    double e = worst(a, b, "grad.", &n);
    ok_err(e, 1e-4, "%s: %d gradients against diffusers", name, n);
    ok_err(worst(a, b, "pred.", &n), 1e-5, "%s: %d predictions", name, n);
    wan_st_tensor *y = wan_st_find(b, "loss"), *x = wan_st_find(a, "loss");
    if (x && y) {
        float *u = whole(a, x), *v = whole(b, y);
        ok_err(fabs(*u - *v) / fabs(*v), 1e-5, "%s: loss", name);
        free(u);
        free(v);
    }
    wan_st_close(&a);
    wan_st_close(&b);
    remove("check_debug.tmp.safetensors");
}

/* Runs the tool on `batch` with these words; its exit status. */
static int tool(const char *batch, const char *words)
{
    char cmd[1024];
    snprintf(cmd, sizeof cmd,
             "$BIN/wan-train -q --device cpu --precision fp32 "
             "checkpoint.pretrained_checkpoint=tests/data/ref/net_b/transformer checkpoint.save= "
             "scheduler.lr_decay_style=constant scheduler.lr_warmup_iters=0 debug.batch=%s %s",
             batch, words);
    int rc = system(cmd);
    return rc >= 0 && rc < 256 * 256 ? rc / 256 : -1;
}

/* loss_reduction=token weighs each sample's loss by its tokens: from the dump's own losses. */
static void token_reduction(void)
{
    const double tokens[3] = { 4, 18, 12 };
    wan_st *a, *in;
    if (!ok(tool("tests/data/ref/net_b/in.safetensors",
                 "train.train_iters=1 train.global_batch_size=3 flow.shift=3 --metrics /dev/null "
                 "flow.loss_reduction=token debug.dump=check_debug.tmp.safetensors") == 0 &&
                wan_st_open(&a, "check_debug.tmp.safetensors") == 0 &&
                wan_st_open(&in, "tests/data/ref/net_b/in.safetensors") == 0,
            "token reduction runs"))
        return;
    float *each = whole(a, wan_st_find(a, "each")), *loss = whole(a, wan_st_find(a, "loss"));
    float *sigma = whole(in, wan_st_find(in, "sigma"));
    double sum = 0;
    for (int i = 0; i < 3; i++)
        sum += tokens[i] / 34 * (1 + 3 * (double)sigma[i]) * each[i];
    ok_err(fabs(*loss - sum) / sum, 1e-6, "token reduction weighs by tokens");
    free(each);
    free(loss);
    free(sigma);
    wan_st_close(&a);
    wan_st_close(&in);
    remove("check_debug.tmp.safetensors");
}

/* A batch file of n samples of 4x4 latents; those in `bad` are too large to square. */
static int write_batch(const char *path, int n, unsigned bad)
{
    const int64_t latent[4] = { 16, 1, 4, 4 }, text[2] = { 1, 40 };
    float x[256], rows[40] = { 0.5f };
    wan_st_writer *w;
    char name[16];
    WAN_TRY(wan_st_create(&w, path));
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof name, "x0.%d", i);
        WAN_TRY(wan_st_declare(w, name, WAN_F32, latent, 4));
        snprintf(name, sizeof name, "text.%d", i);
        WAN_TRY(wan_st_declare(w, name, WAN_F32, text, 2));
    }
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < 256; j++)
            x[j] = bad >> i & 1 ? 1e30f : 0.01f * (float)(j % 7);
        snprintf(name, sizeof name, "x0.%d", i);
        WAN_TRY(wan_st_put(w, name, x, WAN_F32));
        snprintf(name, sizeof name, "text.%d", i);
        WAN_TRY(wan_st_put(w, name, rows, WAN_F32));
    }
    return wan_st_finish(&w);
}

/* Steps without a finite loss change nothing, are counted, and end the run when they go on. */
static void skipped(void)
{
    if (!ok(write_batch("check_debug.a.safetensors", 3, 2) == 0 &&
                write_batch("check_debug.b.safetensors", 1, 1) == 0,
            "batch files"))
        return;
    ok(tool("check_debug.a.safetensors",
            "train.train_iters=3 train.global_batch_size=1 "
            "train.max_skipped=1 --metrics check_debug.a.json 2>check_debug.a.err") == 0,
       "one bad step of three is survived");
    ok(system("grep -c skipped check_debug.a.json | grep -qx 1 && grep -q 'step 2 made no update: "
              "the loss is not finite' check_debug.a.err") == 0,
       "it is named");
    ok(system("! grep -qi 'nan\\|inf' check_debug.a.json") == 0, "and the metrics stay JSON");
    ok(tool("check_debug.b.safetensors",
            "train.train_iters=9 train.global_batch_size=1 "
            "train.max_skipped=3 --metrics check_debug.b.json 2>check_debug.b.err") == 1,
       "bad steps without end are given up");
    ok(system("grep -q 'step 4: the loss is not finite.*for 4 steps in a row (train.max_skipped)' "
              "check_debug.b.err") == 0,
       "after train.max_skipped");
    ok(system("rm -f check_debug.[ab].*") == 0, "clean");
}

int main(int argc, char **argv)
{
    if (argc == 3 || argc == 4)
        return compare(argv[1], argv[2], argc == 4 ? argv[3] : "grad.");
    if (!getenv("BIN")) {
        tap_skip("wan-train debug.batch", "BIN does not name the folder of the tools");
        return tap_done();
    }
    against_diffusers("net_b", 3, "dataset.seq_length=1");
    against_diffusers("net_b", 3, "dataset.seq_length=1000");
    against_diffusers("net_b", 3, "model.recompute_granularity=full");
    token_reduction();
    skipped();
    return tap_done();
}
