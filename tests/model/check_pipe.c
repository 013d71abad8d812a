/* SPDX-License-Identifier: Apache-2.0
 *
 * check_pipe.c - wan-sample as a user runs it, against diffusers' WanPipeline
 * (tests/data/ref/pipe): latents within 1e-4, video within 1 of every value, from exchanged noise
 * and text, and from the prompt and a seed.
 *
 *     check_pipe DIR     the large case pipe_81 of `make.py --large`
 */
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/rec/record.h"
#include "lib/rec/safetensors.h"
#include "tests/tap.h"

static const char *ref = "tests/data/ref/pipe";
static json_t *about; /* case.json */
static char folder[] = "/tmp/wan-check-pipe.XXXXXX";
static wan_st *want;

static void die(void)
{
    printf("Bail out! %s\n", wan_err_text());
    exit(1);
}
#define MUST(e) do { if ((e) < 0) die(); } while (0)

static float *tensor(wan_st *st, const char *name, size_t *n)
{
    wan_st_tensor *t = wan_st_find(st, name);
    if (!t) {
        wan_err("no tensor %s", name);
        die();
    }
    float *v = malloc((size_t)t->count * sizeof *v);
    MUST(wan_st_load(st, name, t->shape, t->rank, v, WAN_F32));
    *n = (size_t)t->count;
    return v;
}

/* Tensor `name` of FOLDER/file against `key` of the reference. */
static void compare(const char *what, const char *file, const char *name, const char *key,
                    double bound)
{
    char path[128];
    wan_st *st;
    size_t n, m;
    snprintf(path, sizeof path, "%s/%s", folder, file);
    MUST(wan_st_open(&st, path));
    float *a = tensor(st, name, &n), *b = tensor(want, key, &m);
    ok_err(n == m ? rel_l2(a, b, n) : INFINITY, bound, "%s: %s", what, key);
    free(a);
    free(b);
    wan_st_close(&st);
}

/* The frames of the one record in FOLDER/file against rgb.SOLVER. */
static void compare_video(const char *what, const char *file, const char *solver)
{
    char path[128], key[64];
    FILE *f;
    const char *name;
    wan_reader *r;
    wan_record rec = WAN_RECORD_INIT;
    snprintf(path, sizeof path, "%s/%s", folder, file);
    snprintf(key, sizeof key, "rgb.%s", solver);
    MUST(wan_in_open(&f, path, &name));
    MUST(wan_reader_open(&r, f, name));
    ok(wan_reader_next(r, &rec) == 1, "%s: a record", what);
    const wan_tensor *t = wan_record_find(&rec, "frames");
    const wan_st_tensor *b = wan_st_find(want, key);
    int worst = 256;
    size_t differ = 0;
    if (t && b && t->bytes == b->bytes && t->rank == 4 && memcmp(t->shape, b->shape, 32) == 0) {
        worst = 0;
        for (size_t i = 0; i < t->bytes; i++) {
            int d = abs(((const uint8_t *)t->data)[i] - ((const uint8_t *)b->data)[i]);
            worst = d > worst ? d : worst;
            differ += d != 0;
        }
    }
    ok(worst <= 1 && differ * 100 < t->bytes, "%s: %s: %zu of %zu values differ, by at most %d",
       what, key, differ, t ? t->bytes : 0, worst);
    wan_record_clear(&rec);
    wan_reader_close(&r);
    wan_in_close(f);
}

static int number(const char *key)
{
    return (int)json_number_value(json_object_get(about, key));
}

/* Runs wan-sample with the case's sizes and these options, frames to FOLDER/v.wan. */
static int sample(const char *what, const char *options)
{
    char cmd[4096];
    snprintf(cmd, sizeof cmd,
             "wan-sample -q --model %s --sizes '%d*%d' --frame_nums %d --sample_steps %d "
             "--sample_shift %d --sample_guide_scale %d --precision fp32 --device cpu --save_file - "
             "--latents-out %s/l.safetensors --dump-steps %s/s.safetensors %s > %s/v.wan",
             ref, number("width"), number("height"), number("frames"), number("steps"),
             number("flow_shift"), number("guidance_scale"), folder, folder, options, folder);
    return ok(system(cmd) == 0, "%s: wan-sample", what);
}

static void check_solvers(void)
{
    static const struct { const char *name, *options; } run[] = {
        { "unipc", "--sample_solver unipc --schedule diffusers" },
        { "dpm++", "--sample_solver dpm++ --schedule diffusers" },
        { "euler", "--sample_solver euler --schedule diffusers" },
        { "unipc-official", "--sample_solver unipc --schedule official" },
        { "dpm++-official", "--sample_solver dpm++ --schedule official" },
    };
    for (size_t i = 0; i < sizeof run / sizeof *run; i++) {
        char options[1024], key[64];
        snprintf(options, sizeof options,
                 "%s --noise %s/in.safetensors --text %s/in.safetensors", run[i].options, ref, ref);
        if (!sample(run[i].name, options))
            continue;
        snprintf(key, sizeof key, "latents.%s", run[i].name);
        compare(run[i].name, "l.safetensors", "latents", key, 1e-4);
        compare_video(run[i].name, "v.wan", run[i].name);
        for (int s = 4; i < 3 && s < 20; s += 5) {
            char mine[32];
            snprintf(mine, sizeof mine, "latents.%02d", s);
            snprintf(key, sizeof key, "latents.%s.%02d", run[i].name, s);
            compare(run[i].name, "s.safetensors", mine, key, 1e-4);
        }
    }
}

/* Through tokenizer and text encoder, and from torch's random numbers. */
static void check_prompt(void)
{
    char options[1024];
    snprintf(options, sizeof options,
             "--prompts '%s' --negative_prompt '%s' --rng torch-cpu --base_seed %lld",
             json_string_value(json_object_get(about, "prompt")),
             json_string_value(json_object_get(about, "negative_prompt")),
             (long long)json_integer_value(json_object_get(about, "seed")));
    if (sample("prompt and seed", options)) {
        compare("prompt and seed", "l.safetensors", "latents", "latents.unipc", 1e-4);
        compare_video("prompt and seed", "v.wan", "unipc");
    }
}

int main(int argc, char **argv)
{
    char path[1024];
    if (argc > 1)
        ref = argv[1];
    snprintf(path, sizeof path, "%s/case.json", ref);
    if (!(about = wan_json_load(path)))
        die();
    if (!mkdtemp(folder)) {
        wan_err_errno("%s", folder);
        die();
    }
    snprintf(path, sizeof path, "%s/out.safetensors", ref);
    MUST(wan_st_open(&want, path));
    check_solvers();
    check_prompt();
    wan_st_close(&want);
    json_decref(about);
    wan_remove_tree(folder);
    return tap_done();
}
