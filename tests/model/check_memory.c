/* SPDX-License-Identifier: Apache-2.0
 *
 * check_memory.c - peak resident memory of wan-encode with full-width random weights, against what
 * wan-encode(1) promises: one layer of UMT5-XXL's size, and the VAE of 96 channels.
 *
 * A picture of 480x832 takes a minute a pass, so `make check` runs the full width on 64x64, where
 * weights are all that counts, and a narrow VAE on a larger picture, where activations are: with
 * it, 41 frames must not take more than 25.  With WAN_REF (make check-reference) the promised size
 * is run.
 */
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/rec/record/record.h"
#include "tests/refs.h"
#include "tests/must.h"
#include "tests/tap.h"

#define MIB 1048576.0
/* 64x64 measured: 472 and 646, of which weights, padded for oneDNN, 205 and 280, each twice while a
 * file is read. */
#define SMALL_ENCODE_MIB 600.0
#define SMALL_DECODE_MIB 800.0
#define ENCODE_MIB (2.3 * 1024)
#define DECODE_MIB (3.2 * 1024)
#define TEXT_MIB (1.2 * 1024)

static char folder[] = "/tmp/wan-check-memory.XXXXXX";

/* Runs a shell command in FOLDER; its peak resident MiB, or infinity when it failed. */
static double peak(const char *fmt, ...)
{
    char cmd[2048];
    va_list ap;
    int status;
    struct rusage u;
    va_start(ap, fmt);
    vsnprintf(cmd, sizeof cmd, fmt, ap);
    va_end(ap);
    pid_t pid = fork();
    if (pid == 0) {
        if (chdir(folder) == 0)
            execl("/bin/sh", "sh", "-c", cmd, (char *)NULL);
        _exit(127);
    }
    if (pid < 0 || wait4(pid, &status, 0, &u) < 0 || status)
        return INFINITY;
    return (double)u.ru_maxrss / 1024;
}

/* One clip of T frames, as FOLDER/name. */
static void write_clip(const char *name, int64_t T, int64_t H, int64_t W)
{
    const int64_t shape[4] = { T, H, W, 3 };
    size_t n = (size_t)(T * H * W * 3);
    uint8_t *rgb = malloc(n);
    char *path = wan_path_join(folder, name);
    FILE *f = fopen(path, "w");
    wan_writer *w;
    wan_record r = WAN_RECORD_INIT;
    for (size_t i = 0; i < n; i++)
        rgb[i] = (uint8_t)(i * 37 + i / 977);
    if (!f)
        MUST(wan_err_errno("%s", path));
    MUST(wan_writer_open(&w, f, path, NULL));
    MUST(wan_record_set_key(&r, "clip"));
    json_object_set_new(r.meta, "caption", json_string("x"));
    MUST(wan_record_add(&r, "frames", WAN_U8, shape, 4, rgb, WAN_BORROW));
    MUST(wan_writer_put(w, &r));
    MUST(wan_writer_finish(&w));
    wan_record_clear(&r);
    fclose(f);
    free(path);
    free(rgb);
}

/* A model folder FOLDER/name; the demo's small parts stand in for what is not measured. */
static void make_model(const char *name, const char *part, const char *args)
{
    char cmd[2048], cwd[1024];
    if (!getcwd(cwd, sizeof cwd))
        MUST(wan_err_errno("working directory"));
    snprintf(cmd, sizeof cmd,
             "cd %s && mkdir -p %s/%s && for p in vae text_encoder tokenizer; do [ $p = %s ] || "
             "ln -s %s/examples/tiny/$p %s/$p; done && $BIN/../bench/make_model %s %s/%s %s >&2",
             folder, name, part, part, cwd, name, strcmp(part, "vae") ? "umt5" : "vae", name, part,
             args);
    if (system(cmd) != 0)
        MUST(wan_err("%s: make_model failed", name));
}

/* Encodes and decodes T frames. */
static void run_clip(const char *model, int T, int H, int W, double *encode, double *decode)
{
    write_clip("f.wan", T, H, W);
    *encode = peak("exec wan-encode -q --device cpu --model %s -o l.wan f.wan", model);
    *decode = peak("exec wan-encode -q -d --device cpu --model %s -o d.wan l.wan", model);
}

static void check_vae(void)
{
    int large = !refs_small();
    double e, d,
        bound[2] = { large ? ENCODE_MIB : SMALL_ENCODE_MIB, large ? DECODE_MIB : SMALL_DECODE_MIB };
    const char *size = large ? "480x832" : "64x64";
    make_model("wide", "vae", "96");
    if (large)
        run_clip("wide", 5, 480, 832, &e, &d);
    else
        run_clip("wide", 5, 64, 64, &e, &d);
    ok(e <= bound[0], "full-width VAE, %s: encodes in %.0f MiB of %.0f", size, e, bound[0]);
    ok(d <= bound[1], "full-width VAE, %s: decodes in %.0f MiB of %.0f", size, d, bound[1]);
}

/* Pieces of 32 MiB are full at 25 frames; what is longer costs the clip itself, in a few copies. */
static void check_length(void)
{
    double e25, d25, e41, d41, clip = 16 * 160 * 304 * 3 / MIB;
    make_model("narrow", "vae", "16");
    run_clip("narrow", 25, 160, 304, &e25, &d25);
    run_clip("narrow", 41, 160, 304, &e41, &d41);
    ok(isfinite(e41) && e41 <= e25 + 4 * clip,
       "41 frames encode in the memory of 25: %.0f and %.0f MiB", e41, e25);
    ok(isfinite(d41) && d41 <= d25 + 4 * clip,
       "41 frames decode in the memory of 25: %.0f and %.0f MiB", d41, d25);
}

static void check_text(void)
{
    char prompts[1600] = "";
    make_model("text", "text_encoder", "4096 64 10240 1 960");
    for (int i = 0; i < 32; i++)
        snprintf(prompts + strlen(prompts), sizeof prompts - strlen(prompts), " 'circle %d'", i);
    double mib = peak("exec wan-encode -q --device cpu --model text -o t.wan --prompt %s", prompts);
    ok(mib <= TEXT_MIB, "a layer of UMT5-XXL, 32 captions: %.0f MiB of %.0f", mib, TEXT_MIB);
}

int main(void)
{
#ifdef __SANITIZE_ADDRESS__
    tap_skip("peak memory", "sanitizers have memory of their own");
    return tap_done();
#endif
    if (!getenv("BIN")) {
        tap_skip("peak memory", "BIN does not name the folder of the tools");
        return tap_done();
    }
    if (!mkdtemp(folder))
        MUST(wan_err_errno("%s", folder));
    check_text();
    check_vae();
    check_length();
    wan_remove_tree(folder);
    return tap_done();
}
