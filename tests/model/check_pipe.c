/* SPDX-License-Identifier: Apache-2.0
 *
 * check_pipe.c - wan-sample and wan-encode as a user runs them, against diffusers' WanPipeline
 * (every pipe* of WAN_REF): latents within 1e-4, video within 1 of every value, from exchanged noise
 * and text, and from the prompt and a seed; token ids and text rows of the prompt.
 */
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/rec/record/record.h"
#include "lib/rec/tensor/safetensors.h"
#include "tests/refs.h"
#include "tests/must.h"
#include "tests/tap.h"

/* Truncation turns an error of 1e-6 into a step of one value near whole numbers only: diffusers in
 * float32 and in float64 differ in 1 value of 10000.  Rounding would differ in every second. */
#define U8_SHARE 1e-3

static char folder[] = "/tmp/wan-check-pipe.XXXXXX";
static const char *ref; /* folder of the case */
static json_t *params;  /* its case.json */
static wan_st *want;    /* its out.safetensors */

static float *tensor(wan_st *st, const char *name, size_t *n)
{
    wan_st_tensor *t = wan_st_find(st, name);
    if (!t) {
        wan_err("no tensor %s", name);
        must_die();
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
    ok(t && worst <= 1 && (double)differ <= U8_SHARE * (double)t->bytes,
       "%s: %s: %zu of %zu values differ, by at most %d", what, key, differ, t ? t->bytes : 0,
       worst);
    wan_record_clear(&rec);
    wan_reader_close(&r);
    wan_in_close(f);
}

static long long number(const char *key)
{
    return (long long)json_integer_value(json_object_get(params, key));
}

static const char *word(const char *key)
{
    return json_string_value(json_object_get(params, key));
}

/* Runs wan-sample with the case's sizes and these options, frames to FOLDER/v.wan. */
static int sample(const char *what, const char *options)
{
    char cmd[4096];
    snprintf(cmd, sizeof cmd,
             "wan-sample -q --model %s --sizes %lld*%lld --frame_nums %lld --sample_steps %lld "
             "--sample_shift %lld --sample_guide_scale 5 --precision fp32 --device cpu "
             "--save_file - --latents-out %s/l.safetensors --dump-steps %s/s.safetensors %s "
             "> %s/v.wan",
             ref, number("width"), number("height"), number("frames"), number("steps"),
             (long long)json_number_value(json_object_get(params, "flow_shift")), folder, folder,
             options, folder);
    return ok(system(cmd) == 0, "%s: wan-sample", what);
}

static void check_solvers(void)
{
    static const struct {
        const char *name, *options;
    } run[] = {
        { "unipc", "--sample_solver unipc --schedule diffusers" },
        { "dpm++", "--sample_solver dpm++ --schedule diffusers" },
        { "euler", "--sample_solver euler --schedule diffusers" },
        { "unipc-official", "--sample_solver unipc --schedule official" },
        { "dpm++-official", "--sample_solver dpm++ --schedule official" },
    };
    for (size_t i = 0; i < sizeof run / sizeof *run; i++) {
        char options[2048], key[64];
        snprintf(options, sizeof options, "%s --noise %s/in.safetensors --text %s/in.safetensors",
                 run[i].options, ref, ref);
        if (!sample(run[i].name, options))
            continue;
        snprintf(key, sizeof key, "latents.%s", run[i].name);
        compare(run[i].name, "l.safetensors", "latents", key, 1e-4);
        compare_video(run[i].name, "v.wan", run[i].name);
        for (int s = 0; i < 3 && s < 19; s++) {
            char mine[32];
            snprintf(mine, sizeof mine, "latents.%02d", s);
            snprintf(key, sizeof key, "latents.%s.%02d", run[i].name, s);
            compare(run[i].name, "s.safetensors", mine, key, 1e-4);
        }
    }
}

/* Through tokenizer and text encoder, and from torch's random numbers: what a user of diffusers
 * gets from the same prompt and seed. */
static void check_prompt(void)
{
    char options[1024];
    snprintf(options, sizeof options,
             "--prompts '%s' --negative_prompt '%s' --rng torch-cpu --base_seed %lld",
             word("prompt"), word("negative_prompt"), number("seed"));
    if (sample("prompt and seed", options)) {
        compare("prompt and seed", "l.safetensors", "latents", "latents.unipc", 1e-4);
        compare_video("prompt and seed", "v.wan", "unipc");
    }
}

/* Token ids (identical) and text rows of one record against the reference's tensors. */
static void compare_text(const wan_record *rec, wan_st *in, const char *ids, const char *rows)
{
    const wan_tensor *i = wan_record_find(rec, "token_ids"), *x = wan_record_find(rec, "text");
    const wan_st_tensor *wi = wan_st_find(in, ids);
    ok(i && wi && i->dtype == WAN_I32 && i->bytes == wi->bytes &&
           !memcmp(i->data, wi->data, wi->bytes),
       "wan-encode --text-only: %s", ids);
    size_t n;
    float *want_rows = tensor(in, rows, &n);
    ok_err(x && x->dtype == WAN_F32 && x->bytes == n * 4 ? rel_l2(x->data, want_rows, n) : INFINITY,
           1e-5, "wan-encode --text-only: %s", rows);
    free(want_rows);
}

/* Records that another model encoded are encoded anew. */
static void check_text_only(void)
{
    static const char *const keys[2][2] = { { "ids", "text" }, { "negative_ids", "negative" } };
    char path[640], cmd[2048];
    FILE *f;
    const char *name;
    wan_reader *r;
    wan_record rec = WAN_RECORD_INIT;
    wan_st *in;
    snprintf(cmd, sizeof cmd,
             "wan-encode -q --model examples/tiny --prompt '%s' '%s' | wan-encode -q --text-only "
             "--precision fp32 --device cpu --model %s > %s/t.wan",
             word("prompt"), word("negative_prompt"), ref, folder);
    if (!ok(system(cmd) == 0, "wan-encode --text-only"))
        return;
    snprintf(path, sizeof path, "%s/in.safetensors", ref);
    MUST(wan_st_open(&in, path));
    snprintf(path, sizeof path, "%s/t.wan", folder);
    MUST(wan_in_open(&f, path, &name));
    MUST(wan_reader_open(&r, f, name));
    for (int i = 0; i < 2; i++) {
        ok(wan_reader_next(r, &rec) == 1, "wan-encode --text-only: record %d", i + 1);
        compare_text(&rec, in, keys[i][0], keys[i][1]);
        wan_record_clear(&rec);
    }
    wan_reader_close(&r);
    wan_in_close(f);
    wan_st_close(&in);
}

static void check_case(const char *dir)
{
    char path[640];
    ref = dir;
    snprintf(path, sizeof path, "%s/case.json", dir);
    if (!(params = wan_json_load(path)))
        must_die();
    snprintf(path, sizeof path, "%s/out.safetensors", dir);
    MUST(wan_st_open(&want, path));
    check_solvers();
    check_prompt();
    check_text_only();
    wan_st_close(&want);
    json_decref(params);
}

int main(void)
{
    refs cases = refs_find("pipe", "case.json");
    if (!mkdtemp(folder)) {
        wan_err_errno("%s", folder);
        must_die();
    }
    ok(cases.n > 0, "%d cases in %s", cases.n, refs_root());
    for (int i = 0; i < cases.n; i++)
        check_case(cases.dir[i]);
    wan_remove_tree(folder);
    return tap_done();
}
