/* SPDX-License-Identifier: Apache-2.0
 *
 * wan-sample - prompts to videos: text encoder, transformer, VAE, one after the other.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/opt.h"
#include "lib/base/rng.h"
#include "lib/media/video.h"
#include "lib/model/generate.h"
#include "lib/model/modelfolder.h"
#include "lib/model/modelio.h"
#include "lib/model/prompt.h"
#include "lib/model/vae.h"
#include "lib/rec/record.h"

/* wan-model.md 6.6: sample_neg_prompt of the official wan/configs/shared_config.py */
static const char official_negative[] =
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，"
    "低质量，JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，"
    "形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走";

static struct {
    const char *task, *model, *checkpoint, *t5_dir, *vae_dir, *negative, *save_file, *solver;
    const char *schedule, *device, *precision, *rng, *noise, *text, *latents_out, *dump_steps;
    const char *offload;
    wan_strlist prompts, sizes, frames;
    int64_t step, steps, seed, fps, crf, ranks[3];
    double shift, scale;
    int use_official_negative, t5_cpu, sequence_parallel, strict, force;
} o = { .task = "t2v-14B", .negative = "", .save_file = "DefaultExp", .solver = "unipc",
        .schedule = "diffusers", .device = "auto", .precision = "bf16", .rng = "philox",
        .step = -1, .steps = 50, .seed = -1, .fps = 16, .crf = 10, .ranks = { 1, 1, 1 },
        .shift = 5, .scale = 5 };

static const wan_opt table[] = {
    WAN_OPT_GROUP("Model"),
    WAN_OPT_STR("model", 'm', "DIR", &o.model,
                "HuggingFace folder with vae, text_encoder, tokenizer and, unless --checkpoint_dir "
                "is given, transformer"),
    WAN_OPT_STR("checkpoint_dir", 0, "DIR", &o.checkpoint,
                "transformer: a training run of wan-train, or a folder with transformer"),
    WAN_OPT_INT("checkpoint_step", 0, "N", &o.step, -1, 9999999,
                "iteration of the training run; -1: its latest"),
    WAN_OPT_STR("t5_checkpoint_dir", 0, "DIR", &o.t5_dir, "text_encoder and tokenizer from here"),
    WAN_OPT_STR("vae_checkpoint_dir", 0, "DIR", &o.vae_dir, "vae from here"),
    WAN_OPT_ENUM("task", 0, "t2v-14B|t2v-1.3B", &o.task,
                 "default size and part of the default file name; config.json says the rest"),
    WAN_OPT_GROUP("What to make"),
    WAN_OPT_LIST("prompts", 'p', "TEXT", &o.prompts, "one video for each"),
    WAN_OPT_STR("negative_prompt", 0, "TEXT", &o.negative, "what guidance leads away from"),
    WAN_OPT_FLAG("official-negative", 0, &o.use_official_negative,
                 "use the negative prompt of the official code (Chinese)"),
    WAN_OPT_LIST("sizes", 's', "W*H", &o.sizes,
                 "width*height in pixels, multiples of 16; one, or one for each prompt"),
    WAN_OPT_LIST("frame_nums", 'n', "N", &o.frames,
                 "frames, 4n+1 (1: a picture); one, or one for each prompt; default 81"),
    WAN_OPT_INT("base_seed", 0, "N", &o.seed, -1, 9007199254740991.,
                "seed of the noise of every video; -1: a random one, which is printed"),
    WAN_OPT_GROUP("How"),
    WAN_OPT_INT("sample_steps", 0, "N", &o.steps, 1, 1000, "solver steps"),
    WAN_OPT_REAL("sample_shift", 0, "X", &o.shift, 0.001, 1000, "shift of the noise schedule"),
    WAN_OPT_REAL("sample_guide_scale", 0, "X", &o.scale, 0, 1000, "guidance; 1 turns it off"),
    WAN_OPT_ENUM("sample_solver", 0, "unipc|dpm++|euler", &o.solver, "solver"),
    WAN_OPT_ENUM("schedule", 0, "official|diffusers", &o.schedule,
                 "whose list of noise levels for that solver"),
    WAN_OPT_ENUM("precision", 0, "fp32|bf16", &o.precision,
                 "of the operands in transformer and text encoder; the VAE runs in fp32"),
    WAN_OPT_STR("device", 0, "NAME", &o.device, "auto, cpu, ref, cuda or cuda:N"),
    WAN_OPT_FLAG("strict", 0, &o.strict, "refuse operations that have no kernel on the device"),
    WAN_OPT_FLAG("t5_cpu", 0, &o.t5_cpu, "run the text encoder on the CPU"),
    WAN_OPT_STR("offload_model", 0, "BOOL", &o.offload,
                "accepted; text encoder, transformer and VAE never share memory here"),
    WAN_OPT_FLAG("sequence_parallel", 0, &o.sequence_parallel, "refused: one process samples"),
    WAN_OPT_INT("tensor_parallel_size", 0, "N", &o.ranks[0], 1, 1, "accepted; only 1"),
    WAN_OPT_INT("context_parallel_size", 0, "N", &o.ranks[1], 1, 1, "accepted; only 1"),
    WAN_OPT_INT("pipeline_parallel_size", 0, "N", &o.ranks[2], 1, 1, "accepted; only 1"),
    WAN_OPT_GROUP("Output"),
    WAN_OPT_STR("save_file", 'o', "NAME", &o.save_file,
                "NAME.mp4 or NAME.png: that file (NAME_00, NAME_01... for several prompts); "
                "-: records to standard output; else a part of the default name"),
    WAN_OPT_INT("fps", 0, "N", &o.fps, 1, 240, "frames per second of the file"),
    WAN_OPT_INT("crf", 0, "N", &o.crf, 0, 51, "libx264 quality, 0 best"),
    WAN_OPT_FLAG("force", 'f', &o.force, "write records to a terminal"),
    WAN_OPT_GROUP("Exchange with Python (safetensors)"),
    WAN_OPT_ENUM("rng", 0, "philox|torch-cpu", &o.rng,
                 "random numbers: our own, or those of torch's CPU generator"),
    WAN_OPT_STR("noise", 0, "FILE", &o.noise, "noise from tensor noise, or noise.0, noise.1..."),
    WAN_OPT_STR("text", 0, "FILE", &o.text,
                "text rows from tensors text (or text.0...) and negative, not from a model"),
    WAN_OPT_STR("latents-out", 0, "FILE", &o.latents_out, "write tensor latents (or latents.0...)"),
    WAN_OPT_STR("dump-steps", 0, "FILE", &o.dump_steps,
                "write the latent after every step: latents.00... (or latents.0.00...)"),
    WAN_OPT_COMMON,
    WAN_OPT_END
};
static const wan_tool tool = { "wan-sample", "prompts to videos",
                               "[options] --model DIR --prompts TEXT...", table };

/* One video to make. */
typedef struct job {
    const char *prompt;
    int64_t width, height, frames;
    float *text;       /* [rows, width of the text encoder] */
    int64_t rows;
    float *latent;     /* [C, T, h, w]: noise, later the result */
    char *path;        /* NULL: records */
} job;

static struct {
    job *v;
    int n;
    float *negative;   /* text rows of the negative prompt; NULL without guidance */
    int64_t negative_rows;
    uint64_t seed;
    int64_t C;         /* latent channels */
    wan_dtype compute;
    char *transformer; /* its folder */
    wan_dit_config c;
} all;

static int64_t latent_frames(const job *j) { return 1 + (j->frames - 1) / 4; }
static int64_t latent_count(const job *j)
{
    return all.C * latent_frames(j) * (j->height / 8) * (j->width / 8);
}

/* ---- command line to jobs */

static int parse_size(job *j, const char *s)
{
    int end = -1;
    long long w = 0, h = 0;
    if (sscanf(s, "%5lld%*1[*xX]%5lld%n", &w, &h, &end) != 2 || end < 0 || s[end])
        return wan_err("--sizes: \"%s\" is not WIDTH*HEIGHT", s);
    if (w < 16 || h < 16 || w > 16384 || h > 16384 || w % 16 || h % 16)
        return wan_err("--sizes: \"%s\": width and height must be multiples of 16, 16 to 16384", s);
    j->width = w;
    j->height = h;
    return 0;
}

static int parse_frames(job *j, const char *s)
{
    WAN_TRY(wan_parse_int(&j->frames, s, 1, 4093, "--frame_nums"));
    if (j->frames % 4 != 1)
        return wan_err("--frame_nums: %" PRId64 " is not 4n+1; the nearest are %" PRId64
                       " and %" PRId64, j->frames, (j->frames - 1) / 4 * 4 + 1,
                       (j->frames - 1) / 4 * 4 + 5);
    return 0;
}

/* Element i of a list that has one element for all, or one for each. */
static const char *pick(const wan_strlist *l, int i)
{
    return l->n == 0 ? NULL : l->v[l->n == 1 ? 0 : (size_t)i];
}

static int check_list(const wan_strlist *l, int n, const char *name)
{
    if (l->n > 1 && (int)l->n != n)
        return wan_err("--%s has %zu values for %d videos: give one, or one for each", name, l->n,
                       n);
    return 0;
}

static int ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), k = strlen(end);
    return n > k && strcmp(s + n - k, end) == 0;
}

/* Up to 50 bytes of the prompt, cut between characters, that any file system takes. */
static void safe_words(char *out, size_t size, const char *prompt)
{
    size_t n = 0;
    for (const char *p = prompt; *p && n + 1 < size; p++)
        out[n++] = isalnum((unsigned char)*p) || (*p & 0x80) || strchr("-.,", *p) ? *p : '_';
    while (n && n + 1 == size && (out[n - 1] & 0x80)) /* perhaps cut inside a character */
        n--;
    out[n] = 0;
}

/* DFM's name, behind the folder that stands in front of the given part. */
static void default_name(char *name, size_t size, const job *j, int i)
{
    char words[51];
    const char *slash = strrchr(o.save_file, '/'), *part = slash ? slash + 1 : o.save_file;
    safe_words(words, sizeof words, j->prompt);
    snprintf(name, size, "%.*s%s_%s_videoindex%d_size%" PRId64 "x%" PRId64 "_%s.%s",
             (int)(part - o.save_file), o.save_file, o.task, part, i, j->width, j->height, words,
             j->frames == 1 ? "png" : "mp4");
}

static int name_output(job *j, int i, int n)
{
    char name[4096];
    const char *s = o.save_file, *dot = strrchr(s, '.');
    if (ends_with(s, ".png") && j->frames > 1)
        return wan_err("--save_file %s: a PNG holds one frame, not %" PRId64, s, j->frames);
    if (!ends_with(s, ".mp4") && !ends_with(s, ".png"))
        default_name(name, sizeof name, j, i);
    else if (n == 1)
        snprintf(name, sizeof name, "%s", s);
    else
        snprintf(name, sizeof name, "%.*s_%02d%s", (int)(dot - s), s, i, dot);
    j->path = strdup(name);
    return j->path ? 0 : wan_err("out of memory");
}

static int count_text(int *n)
{
    wan_st *st;
    char name[32];
    WAN_TRY(wan_st_open(&st, o.text));
    for (*n = 0;; ++*n) {
        snprintf(name, sizeof name, "text.%d", *n);
        if (!wan_st_find(st, name))
            break;
    }
    if (*n == 0)
        *n = 1; /* tensor "text", whose absence is reported when it is read */
    wan_st_close(&st);
    return 0;
}

static int make_jobs(void)
{
    int n = (int)o.prompts.n;
    if (!n && o.text)
        WAN_TRY(count_text(&n));
    if (!n)
        return wan_err("nothing to make: give --prompts");
    if (n > 10000)
        return wan_err("%d videos: at most 10000", n);
    WAN_TRY(check_list(&o.sizes, n, "sizes"));
    WAN_TRY(check_list(&o.frames, n, "frame_nums"));
    all.v = wan_calloc((size_t)n, sizeof *all.v, "list of videos");
    if (!all.v)
        return -1;
    all.n = n;
    for (int i = 0; i < n; i++) {
        job *j = &all.v[i];
        const char *size = pick(&o.sizes, i), *frames = pick(&o.frames, i);
        j->prompt = o.prompts.n ? o.prompts.v[i] : "";
        if (!size)
            size = strcmp(o.task, "t2v-14B") == 0 ? "720*1280" : "416*240";
        WAN_TRY(parse_size(j, size));
        WAN_TRY(parse_frames(j, frames ? frames : "81"));
        if (strcmp(o.save_file, "-") != 0)
            WAN_TRY(name_output(j, i, n));
    }
    return 0;
}

static int check_options(int operands)
{
    if (operands)
        return wan_err("unexpected operand; prompts go behind --prompts, in quotes");
    if (!o.model)
        return wan_err("--model is missing");
    if (o.sequence_parallel)
        return wan_err("--sequence_parallel: sampling runs in one process");
    if (*o.negative && o.use_official_negative)
        return wan_err("--negative_prompt and --official-negative: give one of them");
    if (o.use_official_negative)
        o.negative = official_negative;
    all.compute = strcmp(o.precision, "bf16") == 0 ? WAN_BF16 : WAN_F32;
    return make_jobs();
}

/* ---- files that are known to be needed before the hours begin */

/* A folder that cannot be written is found out now. */
static int probe(const char *path)
{
    wan_out *out;
    if (!path || strcmp(path, "-") == 0)
        return 0;
    WAN_TRY(wan_out_open(&out, path));
    wan_out_discard(&out);
    return 0;
}

/* So is a missing encoder. */
static int probe_video(const job *j)
{
    wan_video_writer *w;
    WAN_TRY(wan_video_writer_open(&w, j->path, (int)j->height, (int)j->width, (double)o.fps,
                                  (int)o.crf));
    wan_video_writer_discard(&w);
    return 0;
}

static int check_outputs(void)
{
    const job *j = &all.v[0]; /* the others go into the same folder */
    if (!j->path)
        WAN_TRY(wan_refuse_terminal(STDOUT_FILENO, o.force));
    else if (ends_with(j->path, ".mp4"))
        WAN_TRY(probe_video(j));
    else
        WAN_TRY(probe(j->path));
    WAN_TRY(probe(o.latents_out));
    return probe(o.dump_steps);
}

static int find_transformer(void)
{
    WAN_TRY(wan_model_transformer(&all.transformer, o.checkpoint ? o.checkpoint : o.model, o.step));
    WAN_TRY(wan_dit_config_load(&all.c, all.transformer));
    if (all.c.in_ch != all.c.out_ch)
        return wan_err("%s: %d channels in, %d out: not a text-to-video model", all.transformer,
                       all.c.in_ch, all.c.out_ch);
    all.C = all.c.in_ch;
    return 0;
}

/* NAME, or NAME.i where there are several videos. */
static void indexed(char *out, size_t size, const char *name, int i)
{
    if (all.n == 1)
        snprintf(out, size, "%s", name);
    else
        snprintf(out, size, "%s.%d", name, i);
}

/* ---- noise */

static int read_noise(wan_st *st, job *j, int i)
{
    char name[32];
    const int64_t shape[4] = { all.C, latent_frames(j), j->height / 8, j->width / 8 };
    indexed(name, sizeof name, "noise", i);
    return wan_st_load(st, name, shape, 4, j->latent, WAN_F32);
}

/* Every video starts from the same stream, so a prompt gives the same video alone and in a list. */
static void draw_noise(job *j)
{
    if (strcmp(o.rng, "torch-cpu") == 0) {
        wan_mt19937 g;
        wan_mt19937_seed(&g, all.seed);
        wan_torch_randn(&g, j->latent, (size_t)latent_count(j));
    } else {
        wan_rng r = wan_rng_stream(all.seed, WAN_RNG_SAMPLE, 0, 0);
        wan_rng_normal(&r, j->latent, 0, (size_t)latent_count(j));
    }
}

static int choose_seed(void)
{
    uint32_t random;
    all.seed = (uint64_t)o.seed;
    if (o.seed >= 0 || o.noise)
        return 0;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return wan_err_errno("no random seed");
    all.seed = random >> 1;
    wan_info("seed %" PRIu64, all.seed);
    return 0;
}

static int make_noise(void)
{
    wan_st *st = NULL;
    int rc = choose_seed();
    if (rc == 0 && o.noise)
        rc = wan_st_open(&st, o.noise);
    for (int i = 0; i < all.n && rc == 0; i++) {
        job *j = &all.v[i];
        j->latent = wan_malloc((size_t)latent_count(j), sizeof *j->latent, "latent");
        if (!j->latent)
            rc = -1;
        else if (st)
            rc = read_noise(st, j, i);
        else
            draw_noise(j);
    }
    wan_st_close(&st);
    return rc;
}

/* ---- text */

static int read_rows(float **rows, int64_t *n, wan_st *st, const char *name)
{
    const wan_st_tensor *t = wan_st_find(st, name);
    if (!t || t->rank != 2 || t->shape[0] < 1 || t->shape[1] != all.c.text_dim)
        return wan_err("%s: tensor %s: missing or not [rows, %d]", o.text, name, all.c.text_dim);
    if (t->shape[0] > all.c.text_len)
        return wan_err("%s: tensor %s: %" PRId64 " rows, at most %d", o.text, name, t->shape[0],
                       all.c.text_len);
    *n = t->shape[0];
    *rows = wan_malloc((size_t)t->count, sizeof **rows, name);
    return *rows ? wan_st_load(st, name, t->shape, 2, *rows, WAN_F32) : -1;
}

static int read_text(void)
{
    wan_st *st;
    char name[32];
    WAN_TRY(wan_st_open(&st, o.text));
    int rc = 0;
    for (int i = 0; i < all.n && rc == 0; i++) {
        indexed(name, sizeof name, "text", i);
        rc = read_rows(&all.v[i].text, &all.v[i].rows, st, name);
    }
    if (rc == 0 && o.scale != 1)
        rc = read_rows(&all.negative, &all.negative_rows, st, "negative");
    wan_st_close(&st);
    return rc;
}

/* The prompts through the text encoder, the negative one last. */
static int encode_prompts(const wan_prompt_encoder *e)
{
    int count = all.n + (o.scale != 1);
    const char **text = wan_calloc((size_t)count, sizeof *text, "prompts");
    float **rows = wan_calloc((size_t)count, sizeof *rows, "prompts");
    int64_t *n = wan_calloc((size_t)count, sizeof *n, "prompts");
    int rc = text && rows && n ? 0 : -1;
    for (int i = 0; rc == 0 && i < count; i++)
        text[i] = i < all.n ? all.v[i].prompt : o.negative;
    if (rc == 0)
        rc = wan_prompt_encode(rows, n, text, count, e);
    for (int i = 0; rc == 0 && i < count; i++) {
        *(i < all.n ? &all.v[i].text : &all.negative) = rows[i];
        *(i < all.n ? &all.v[i].rows : &all.negative_rows) = n[i];
    }
    free(text);
    free(rows);
    free(n);
    return rc;
}

static int text_phase(wan_dev *d)
{
    if (o.text)
        return read_text();
    const char *base = o.t5_dir ? o.t5_dir : o.model;
    char *enc = wan_model_part(base, "text_encoder"), *tok = wan_model_part(base, "tokenizer");
    wan_dev *cpu = NULL;
    double start = wan_now();
    int rc = enc && tok ? 0 : -1;
    if (rc == 0 && o.t5_cpu)
        rc = wan_dev_open(&cpu, "cpu", 0);
    wan_prompt_encoder e = { cpu ? cpu : d, enc, tok, all.compute, all.c.text_dim, all.c.text_len };
    if (rc == 0)
        rc = encode_prompts(&e);
    if (rc == 0)
        wan_verbose("text encoder: %.1f s", wan_now() - start);
    wan_dev_close(&cpu);
    free(enc);
    free(tok);
    return rc;
}

/* ---- transformer */

typedef struct progress {
    int video;
    double start;
    wan_st_writer *dump;
} progress;

static void step_name(char *out, size_t size, int video, int step)
{
    char base[32];
    indexed(base, sizeof base, "latents", video);
    snprintf(out, size, "%s.%02d", base, step);
}

static int on_step(void *arg, int i, const float *latent)
{
    progress *p = arg;
    char name[64];
    wan_progress(0, "video %d of %d: step %d of %" PRId64 ", %.2f s/step", p->video + 1, all.n,
                 i + 1, o.steps, (wan_now() - p->start) / (i + 1));
    if (!p->dump)
        return 0;
    step_name(name, sizeof name, p->video, i);
    return wan_st_put(p->dump, name, latent, WAN_F32);
}

static int declare_latent(wan_st_writer *w, const char *name, const job *j)
{
    const int64_t shape[4] = { all.C, latent_frames(j), j->height / 8, j->width / 8 };
    return wan_st_declare(w, name, WAN_F32, shape, 4);
}

static int open_dump(wan_st_writer **w)
{
    WAN_TRY(wan_st_create(w, o.dump_steps));
    for (int i = 0; i < all.n; i++)
        for (int s = 0; s < o.steps; s++) {
            char name[64];
            step_name(name, sizeof name, i, s);
            WAN_TRY(declare_latent(*w, name, &all.v[i]));
        }
    return 0;
}

/* Keys and values of one prompt. */
static int make_context(wan_dit_context **ctx, wan_dit *m, const float *rows, int64_t n)
{
    size_t bytes = (size_t)(n * all.c.text_dim) * sizeof *rows;
    void *dev = wan_dev_alloc(m->d, bytes, "text rows");
    int rc = dev ? wan_dev_write(m->d, dev, rows, bytes) : -1;
    if (rc == 0)
        rc = wan_dit_context_new(ctx, m, wan_buf_of(dev, WAN_F32), &n, 1);
    wan_dev_free(m->d, dev);
    return rc;
}

static int generate_one(wan_dit *m, int i, const wan_dit_context *uncond, wan_st_writer *dump)
{
    job *j = &all.v[i];
    wan_dit_context *cond = NULL;
    progress p = { i, wan_now(), dump };
    wan_generate_options g = { .solver = o.solver, .schedule = o.schedule, .steps = (int)o.steps,
                               .shift = o.shift, .guidance = o.scale, .T = latent_frames(j),
                               .h = j->height / 8, .w = j->width / 8, .on_step = on_step, .arg = &p,
                               .want_latent = dump != NULL };
    WAN_TRY(make_context(&cond, m, j->text, j->rows));
    int rc = wan_generate(m, &g, j->latent, cond, uncond);
    wan_progress(1, "video %d of %d: %.1f s", i + 1, all.n, wan_now() - p.start);
    wan_dit_context_free(&cond);
    return rc;
}

static int generate_all(wan_dit *m, wan_st_writer *dump)
{
    wan_dit_capacity cap = { 0, 1, 1, WAN_RECOMPUTE_NONE };
    for (int i = 0; i < all.n; i++) {
        int64_t S = latent_frames(&all.v[i]) * (all.v[i].height / 16) * (all.v[i].width / 16);
        cap.tokens = S > cap.tokens ? S : cap.tokens;
    }
    WAN_TRY(wan_dit_reserve(m, &cap));
    wan_dit_context *uncond = NULL;
    if (all.negative)
        WAN_TRY(make_context(&uncond, m, all.negative, all.negative_rows));
    int rc = 0;
    for (int i = 0; i < all.n && rc == 0; i++)
        rc = generate_one(m, i, uncond, dump);
    wan_dit_context_free(&uncond);
    return rc;
}

static int transformer_phase(wan_dev *d)
{
    wan_dit *m = NULL;
    wan_st_writer *dump = NULL;
    double start = wan_now();
    int rc = o.dump_steps ? open_dump(&dump) : 0;
    if (rc == 0)
        rc = wan_dit_new(&m, d, &all.c, all.compute, 0);
    if (rc == 0)
        rc = wan_dit_load(m, all.transformer);
    if (rc == 0)
        wan_verbose("transformer %s: %.3f B parameters, loaded in %.1f s", all.transformer,
                    (double)m->params.count / 1e9, wan_now() - start);
    if (rc == 0)
        rc = generate_all(m, dump);
    if (rc == 0 && dump)
        rc = wan_st_finish(&dump);
    wan_st_abandon(&dump);
    wan_dit_free(&m);
    return rc;
}

static int write_latents(void)
{
    wan_st_writer *w;
    char name[32];
    WAN_TRY(wan_st_create(&w, o.latents_out));
    int rc = 0;
    for (int i = 0; i < all.n && rc == 0; i++) {
        indexed(name, sizeof name, "latents", i);
        rc = declare_latent(w, name, &all.v[i]);
    }
    for (int i = 0; i < all.n && rc == 0; i++) {
        indexed(name, sizeof name, "latents", i);
        rc = wan_st_put(w, name, all.v[i].latent, WAN_F32);
    }
    if (rc == 0)
        rc = wan_st_finish(&w);
    wan_st_abandon(&w);
    return rc;
}

/* ---- VAE and files */

typedef struct sink {
    const job *j;
    wan_video_writer *video;
    uint8_t *rgb;      /* records and pictures: the whole clip */
    int64_t frames;    /* received */
} sink;

static int put_frames(void *arg, const uint8_t *rgb, const float *pixels, int64_t n, int64_t H,
                      int64_t W)
{
    sink *s = arg;
    (void)pixels;
    if (s->rgb)
        memcpy(s->rgb + s->frames * H * W * 3, rgb, (size_t)(n * H * W * 3));
    for (int64_t i = 0; i < n && s->video; i++)
        WAN_TRY(wan_video_writer_frame(s->video, rgb + i * H * W * 3));
    s->frames += n;
    return 0;
}

static int put_record(wan_writer *w, const sink *s, int i)
{
    char key[32];
    const job *j = s->j;
    const int64_t shape[4] = { j->frames, j->height, j->width, 3 };
    wan_record r = WAN_RECORD_INIT;
    snprintf(key, sizeof key, "sample_%06d", i);
    int rc = wan_record_set_key(&r, key);
    if (rc == 0) {
        json_object_set_new(r.meta, "caption", json_string(j->prompt));
        json_object_set_new(r.meta, "fps", json_integer(o.fps));
        if (!o.noise)
            json_object_set_new(r.meta, "seed", json_integer((json_int_t)all.seed));
        rc = wan_record_add(&r, "frames", WAN_U8, shape, 4, s->rgb, WAN_BORROW);
    }
    if (rc == 0)
        rc = wan_writer_put(w, &r);
    wan_record_clear(&r);
    return rc;
}

static int finish_one(sink *s, wan_writer *records, int i)
{
    const job *j = s->j;
    if (s->frames != j->frames)
        return wan_err("the VAE made %" PRId64 " frames, not %" PRId64, s->frames, j->frames);
    if (records)
        WAN_TRY(put_record(records, s, i));
    else if (s->video)
        WAN_TRY(wan_video_writer_finish(&s->video));
    else
        WAN_TRY(wan_png_write(j->path, s->rgb, (int)j->height, (int)j->width));
    if (j->path)
        wan_info("%s: %" PRId64 " frame%s of %" PRId64 "x%" PRId64, j->path, j->frames,
                 j->frames == 1 ? "" : "s", j->width, j->height);
    return 0;
}

static int decode_one(wan_vae *v, wan_writer *records, int i)
{
    job *j = &all.v[i];
    sink s = { .j = j };
    int rc = 0;
    if (j->path && ends_with(j->path, ".mp4"))
        rc = wan_video_writer_open(&s.video, j->path, (int)j->height, (int)j->width, (double)o.fps,
                                   (int)o.crf);
    else if (!(s.rgb = wan_malloc((size_t)(j->frames * j->height), (size_t)j->width * 3, "frames")))
        rc = -1;
    if (rc == 0)
        rc = wan_vae_decode(v, j->latent, latent_frames(j), j->height / 8, j->width / 8, put_frames,
                            &s);
    if (rc == 0)
        rc = finish_one(&s, records, i);
    wan_video_writer_discard(&s.video);
    free(s.rgb);
    return rc;
}

static json_t *provenance(void)
{
    json_t *options = json_pack("{s:s, s:I, s:f, s:f, s:s, s:s, s:s}", "task", o.task,
                                "sample_steps", (json_int_t)o.steps, "sample_shift", o.shift,
                                "sample_guide_scale", o.scale, "sample_solver", o.solver,
                                "schedule", o.schedule, "precision", o.precision);
    json_t *header = wan_provenance_append(NULL, "wan-sample", options);
    json_decref(options);
    return header;
}

static int decode_all(wan_vae *v)
{
    wan_writer *records = NULL;
    if (!all.v[0].path) {
        json_t *header = provenance();
        int rc = header ? wan_writer_open(&records, stdout, "<stdout>", header) : -1;
        json_decref(header);
        WAN_TRY(rc);
    }
    int rc = 0;
    for (int i = 0; i < all.n && rc == 0; i++)
        rc = decode_one(v, records, i);
    if (rc == 0 && records)
        return wan_writer_finish(&records);
    wan_writer_abandon(&records);
    return rc;
}

static int vae_phase(wan_dev *d)
{
    char *dir = wan_model_part(o.vae_dir ? o.vae_dir : o.model, "vae");
    wan_vae *v = NULL;
    double start = wan_now();
    int rc = dir ? wan_vae_open(&v, d, dir, WAN_VAE_DECODER, WAN_F32) : -1;
    if (rc == 0 && wan_vae_channels(v) != all.C)
        rc = wan_err("%s: %d latent channels, the transformer has %" PRId64, dir,
                     wan_vae_channels(v), all.C);
    if (rc == 0)
        rc = decode_all(v);
    if (rc == 0)
        wan_verbose("VAE: %.1f s", wan_now() - start);
    wan_vae_close(&v);
    free(dir);
    return rc;
}

static int run(void)
{
    wan_dev *d;
    WAN_TRY(find_transformer());
    WAN_TRY(check_outputs());
    WAN_TRY(make_noise());
    WAN_TRY(wan_dev_open(&d, o.device, o.strict ? WAN_DEV_STRICT : 0));
    int rc = text_phase(d);
    if (rc == 0)
        rc = transformer_phase(d);
    if (rc == 0 && o.latents_out)
        rc = write_latents();
    if (rc == 0)
        rc = vae_phase(d);
    wan_dev_close(&d);
    return rc;
}

int main(int argc, char **argv)
{
    wan_signals_filter();
    int argi = wan_opt_parse(&tool, argc, argv);
    if (check_options(argc - argi) < 0)
        wan_die_usage();
    int rc = run();
    for (int i = 0; i < all.n; i++) {
        free(all.v[i].text);
        free(all.v[i].latent);
        free(all.v[i].path);
    }
    free(all.v);
    free(all.negative);
    free(all.transformer);
    if (rc < 0)
        wan_die();
    if (fclose(stdout) != 0) {
        wan_err_errno("<stdout>");
        wan_die();
    }
    return WAN_EXIT_DONE;
}
