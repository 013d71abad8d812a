/* SPDX-License-Identifier: Apache-2.0
 *
 * check_debug.c - debug.batch and debug.dump: the tool itself, fed the exchanged batches of
 * tests/data/ref, gives diffusers' loss, predictions and gradients.
 *
 * With two file names it compares two dumps tensor by tensor and prints the largest relative error
 * (for tests/dist/dp.sh).
 */
#include "lib/rec/safetensors.h"
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
        w = fmax(w, rel_l2(u, v, (size_t)y->count));
        free(u);
        free(v);
        ++*n;
    }
    return w;
}

static int compare(const char *one, const char *other)
{
    wan_st *a, *b;
    int n;
    if (wan_st_open(&a, one) < 0 || wan_st_open(&b, other) < 0) {
        fprintf(stderr, "%s\n", wan_err_text());
        return 1;
    }
    printf("%.3g\n", worst(a, b, "grad.", &n));
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

int main(int argc, char **argv)
{
    if (argc == 3)
        return compare(argv[1], argv[2]);
    if (!getenv("BIN")) {
        tap_skip("wan-train debug.batch", "BIN does not name the folder of the tools");
        return tap_done();
    }
    against_diffusers("dit_b", 3, "dataset.seq_length=1");
    against_diffusers("dit_b", 3, "dataset.seq_length=1000");
    against_diffusers("dit_b", 3, "model.recompute_granularity=full");
    return tap_done();
}
