/* SPDX-License-Identifier: Apache-2.0
 *
 * wan-sample - prompts to videos: options to a pipeline (lib/model/sample/pipeline.h), frames to files.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/base/ends.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/opt.h"
#include "lib/base/signals.h"
#include "lib/dist/group.h"
#include "lib/media/save.h"
#include "lib/media/sheet.h"
#include "lib/model/files/rundir.h"
#include "lib/model/sample/cost.h"
#include "lib/model/sample/exchange.h"
#include "lib/model/sample/keep.h"
#include "lib/model/sample/wishes.h"
#include "lib/model/text/prompt.h"
#include "lib/train/config/config.h"
#include "lib/train/parallel/place.h"

/* Seconds to wait for a rank that gives no sign of life, and for one that does. */
enum { DEAD = 30, LATE = 86400, PREVIEW_FRAMES = 4 };

static struct {
    const char *task, *model, *checkpoint, *t5_dir, *vae_dir, *negative, *save_file, *solver;
    const char *schedule, *passes, *device, *precision, *vae_precision, *rng, *noise, *text,
        *latents_out, *dump_steps;
    const char *offload, *cp_comm, *transport, *cache, *ways;
    const char *prompt_file, *preview, *folder;
    wan_strlist prompts, sizes, frames, seeds;
    int64_t step, steps, copies, fps, crf, tp, cp, pp, height, width;
    double shift, scale, sigma_min, sigma_max, rho;
    int graphs, last, trusted, use_official_negative, t5_cpu, from_host, cfg_parallel,
        sequence_parallel, strict, force, plan, go_on;
} o = { .task = "t2v-14B",
        .save_file = "DefaultExp",
        .solver = "auto",
        .schedule = "auto",
        .device = "auto",
        .passes = "auto",
        .precision = "bf16",
        .vae_precision = "fp32",
        .rng = "philox",
        .step = -1,
        .copies = 1,
        .fps = 16,
        .crf = 10,
        .cp_comm = "auto",
        .transport = "auto",
        .pp = 1,
        .scale = -1 };

static const wan_opt table[] = {
    WAN_OPT_GROUP("Model"),
    WAN_OPT_STR("model", 'm', "DIR", &o.model,
                "HuggingFace folder with vae, text_encoder, tokenizer and, unless --checkpoint_dir "
                "is given, transformer; without it the folder that the training run of "
                "--checkpoint_dir names (model.components)"),
    WAN_OPT_ALSO("ckpt_dir"),
    WAN_OPT_ALSO("pretrained_model_name_or_path"),
    WAN_OPT_ALSO("model_id"),
    WAN_OPT_STR(
        "checkpoint_dir", 0, "DIR", &o.checkpoint,
        "transformer: a training run of wan-train, a folder with transformer, or a GGUF file"),
    WAN_OPT_ALSO("checkpoint"),
    WAN_OPT_INT("checkpoint_step", 0, "N", &o.step, -1, 999999999999999,
                "iteration of the training run; -1: its latest"),
    WAN_OPT_FLAG("last_weights", 0, &o.last,
                 "the weights of the step itself, where the run keeps an average of them "
                 "(optimizer.ema_decay), which is sampled otherwise"),
    WAN_OPT_FLAG(
        "no-verify", 0, &o.trusted,
        "a checkpoint and the parts of a model are not held against their manifest.json first"),
    WAN_OPT_STR("t5_checkpoint_dir", 0, "DIR", &o.t5_dir, "text_encoder and tokenizer from here"),
    WAN_OPT_STR("vae_checkpoint_dir", 0, "DIR", &o.vae_dir, "vae from here"),
    WAN_OPT_ENUM("task", 0, "t2v-14B|t2v-1.3B", &o.task,
                 "default size and part of the default file name; config.json says the rest"),
    WAN_OPT_GROUP("What to make"),
    WAN_OPT_LIST("prompts", 'p', "TEXT", &o.prompts, "one video for each"),
    WAN_OPT_ALSO("prompt"),
    WAN_OPT_STR("prompt_file", 'P', "FILE", &o.prompt_file,
                "prompts from here: a line for each, JSON lines with prompt, size, frame_num and "
                "seed, or records with captions; -: standard input"),
    WAN_OPT_INT("num_videos_per_prompt", 0, "N", &o.copies, 1, 10000,
                "videos of each prompt, with the seeds that follow on its own"),
    WAN_OPT_STR("negative_prompt", 0, "TEXT", &o.negative,
                "what guidance leads away from; without it the empty prompt, of a DiT no text at "
                "all"),
    WAN_OPT_FLAG("official-negative", 0, &o.use_official_negative,
                 "use the negative prompt of the official code (Chinese)"),
    WAN_OPT_LIST("sizes", 's', "W*H", &o.sizes,
                 "width*height in pixels, multiples of 16; one, or one for each prompt"),
    WAN_OPT_ALSO("size"),
    WAN_OPT_INT("height", 0, "PIXELS", &o.height, 0, 16384,
                "with --width: the size of every video"),
    WAN_OPT_INT("width", 0, "PIXELS", &o.width, 0, 16384, "with --height"),
    WAN_OPT_LIST("frame_nums", 'n', "N", &o.frames,
                 "frames, 4n+1 (1: a picture); one, or one for each prompt; default 81"),
    WAN_OPT_ALSO("frame_num"),
    WAN_OPT_ALSO("num_frames"),
    WAN_OPT_LIST("base_seed", 0, "N", &o.seeds,
                 "seed of the noise; one for every video, or one for each prompt; -1 or none: a "
                 "random one, which is printed"),
    WAN_OPT_ALSO("seed"),
    WAN_OPT_GROUP("How"),
    WAN_OPT_INT("sample_steps", 0, "N", &o.steps, 0, 1000, "solver steps; 0: 50, of a DiT 35"),
    WAN_OPT_ALSO("num_inference_steps"),
    WAN_OPT_REAL("sample_guide_scale", 0, "X", &o.scale, -1, 1000,
                 "guidance; 1 turns it off; -1: 5, of a DiT 8 (DFM's guidance is one less)"),
    WAN_OPT_ALSO("guidance_scale"),
    WAN_OPT_ENUM(
        "sample_solver", 0, "auto|unipc|dpm++|euler|heun", &o.solver,
        "solver; auto: unipc, of a DiT heun; a DiT knows heun and euler, a WAN the others"),
    WAN_OPT_REAL("sample_shift", 0, "X", &o.shift, 0, 1000,
                 "WAN: shift of the noise schedule; 0: 5"),
    WAN_OPT_ALSO("flow_shift"),
    WAN_OPT_ENUM("schedule", 0, "auto|official|diffusers", &o.schedule,
                 "WAN: whose list of noise levels for that solver; auto: diffusers"),
    WAN_OPT_REAL("sample_sigma_max", 0, "X", &o.sigma_max, 0, 1e6, "DiT: first noise level; 0: 80"),
    WAN_OPT_REAL("sample_sigma_min", 0, "X", &o.sigma_min, 0, 1e6,
                 "DiT: last noise level but 0; 0: 0.002"),
    WAN_OPT_REAL("sample_rho", 0, "X", &o.rho, 0, 1000,
                 "DiT: how the levels crowd at the end; 0: 7"),
    WAN_OPT_ENUM("passes", 0, "auto|together|apart", &o.passes,
                 "the two of guidance: as one pack, or one after the other; auto: together where "
                 "the largest video has at most 8192 tokens, and never on several ranks"),
    WAN_OPT_ENUM(
        "precision", 0, "fp32|bf16|fp8", &o.precision,
        "of the operands in transformer and text encoder; fp8: bf16, but the large products of the "
        "transformer's blocks in e4m3, their weights rounded once where a GPU has room for that"),
    WAN_OPT_ENUM("vae_precision", 0, "fp32|bf16|fp16", &o.vae_precision,
                 "of the operands in the VAE; 16 bits take less memory, and bf16 less time, "
                 "with the errors that wan-numerics(7) states"),
    WAN_OPT_STR("device", 0, "NAME", &o.device, "auto, cpu, ref, cuda or cuda:N"),
    WAN_OPT_FLAG("plan", 0, &o.plan,
                 "print memory and time that it would take, and exit: 1 if it does not fit"),
    WAN_OPT_FLAG("strict", 0, &o.strict, "refuse the slower kernels that else are warned of"),
    WAN_OPT_FLAG("t5_cpu", 0, &o.t5_cpu, "run the text encoder on the CPU"),
    WAN_OPT_FLAG("offload", 0, &o.from_host,
                 "weights of the transformer stay in host memory and come to the device block by "
                 "block, the next while one computes: for a device that they do not fit"),
    WAN_OPT_FLAG(
        "graphs", 0, &o.graphs,
        "CUDA: record the passes of the second step, and let the host start each of those that "
        "follow by one call; the same bytes; not with --offload or several ranks"),
    WAN_OPT_STR("cache", 0, "DIR", &o.cache,
                "keep the text rows of prompts here, and take those that are there: the text "
                "encoder then reads nothing"),
    WAN_OPT_STR(
        "ways", 0, "FILE", &o.ways,
        "CUDA: of up to eight ways to compute each product of the transformer, the fastest: measured "
        "in front of the first video and written where the file is not there, else read, so that a "
        "repeated run adds in the same order; ways.txt of a training run will do"),
    WAN_OPT_STR("offload_model", 0, "BOOL", &o.offload,
                "accepted; text encoder, transformer and VAE never share memory here"),
    WAN_OPT_GROUP("Several ranks (mpirun -n N wan-sample)"),
    WAN_OPT_FLAG("cfg_parallel", 0, &o.cfg_parallel,
                 "make the two passes of guidance on two halves of the ranks; done by itself where "
                 "the ranks are even and the options below leave it"),
    WAN_OPT_INT("context_parallel_size", 0, "N", &o.cp, 0, 4096,
                "ranks that share out the tokens of a pass; 0: those that are left"),
    WAN_OPT_ALSO("context_parallel"),
    WAN_OPT_ALSO("cp_size"),
    WAN_OPT_ENUM(
        "cp_comm_type", 0, "auto|p2p|a2a|a2a+p2p", &o.cp_comm,
        "their attention: keys in a ring, all-to-all of heads, or both; auto: a2a where the "
        "heads divide, else p2p"),
    WAN_OPT_INT("tensor_parallel_size", 0, "N", &o.tp, 0, 4096,
                "ranks that share out heads and columns, and with them the weights; 0: 1"),
    WAN_OPT_ALSO("tensor_parallel"),
    WAN_OPT_ALSO("tp_size"),
    WAN_OPT_FLAG("sequence_parallel", 0, &o.sequence_parallel,
                 "accepted; without a backward pass it saves nothing"),
    WAN_OPT_INT("pipeline_parallel_size", 0, "N", &o.pp, 1, 1, "accepted; only 1"),
    WAN_OPT_ALSO("pp_size"),
    WAN_OPT_ENUM(
        "transport", 0, "auto|self|mpi|nccl", &o.transport,
        "how ranks talk; auto: MPI where mpirun or srun started them, nccl: GPUs directly"),
    WAN_OPT_GROUP("Output"),
    WAN_OPT_STR(
        "save_file", 'o', "NAME", &o.save_file,
        "NAME.mp4, .webm, .mkv, .gif or another container: that file; NAME_%04d.png: a "
        "picture for each frame, NAME.png: of a single one (NAME_00, NAME_01... for several "
        "videos); -: records to standard output; else a part of the default name"),
    WAN_OPT_ALSO("output"),
    WAN_OPT_STR("output_dir", 0, "DIR", &o.folder,
                "the folder of these files, made when absent; also -o DIR/ and -o of a folder that "
                "is there"),
    WAN_OPT_STR("preview", 0, "FILE", &o.preview,
                "PNG, new after every step: a few frames of the clean latent that the step points "
                "to, in colours that are linear in its channels"),
    WAN_OPT_FLAG("continue", 'C', &o.go_on,
                 "go on after an interruption: videos that are there are left out, latents that "
                 "wait for the VAE are taken"),
    WAN_OPT_INT("fps", 0, "N", &o.fps, 1, 240, "frames per second of the file"),
    WAN_OPT_INT("crf", 0, "N", &o.crf, 0, 51, "libx264 quality, 0 best"),
    WAN_OPT_FLAG("force", 'f', &o.force,
                 "write records to a terminal, and under mpirun, which gives its ranks one"),
    WAN_OPT_GROUP("Exchange with Python (safetensors)"),
    WAN_OPT_ENUM("rng", 0, "philox|torch-cpu", &o.rng,
                 "random numbers: our own, or those of torch's CPU generator"),
    WAN_OPT_STR("noise", 0, "FILE", &o.noise, "noise from tensor noise, or noise.0, noise.1..."),
    WAN_OPT_STR("text", 0, "FILE", &o.text,
                "text rows from tensors text (or text.0...) and negative, not from a model"),
    WAN_OPT_STR("latents-out", 0, "FILE", &o.latents_out, "write tensor latents (or latents.0...)"),
    WAN_OPT_STR("dump-steps", 0, "FILE", &o.dump_steps,
                "write the latent after every step: latents.00... (or latents.0.00...)"),
    WAN_OPT_ELSEWHERE("ulysses_size", "--context_parallel_size N --cp_comm_type a2a does that"),
    WAN_OPT_ELSEWHERE("ring_size", "--context_parallel_size N --cp_comm_type p2p does that"),
    WAN_OPT_ELSEWHERE("dit_fsdp", "--tensor_parallel_size N shares out the weights"),
    WAN_OPT_ELSEWHERE("t5_fsdp", "the text encoder is read layer by layer; it is gone before the "
                                 "transformer is there"),
    WAN_OPT_ELSEWHERE("use_prompt_extend", "prompts are taken as they are"),
    WAN_OPT_ELSEWHERE("image", "image-to-video is not supported"),
    WAN_OPT_ELSEWHERE("guidance_scale_2",
                      "it is of WAN 2.2's second transformer, which is not supported"),
    WAN_OPT_ELSEWHERE("max_sequence_length", "a prompt has at most the model's 512 tokens"),
    WAN_OPT_COMMON,
    WAN_OPT_END
};
static const wan_tool tool = { "wan-sample", "prompts to videos",
                               "[options] --model DIR --prompts TEXT...", table };

static struct {
    int n;
    wan_pipeline_video *v; /* [n] what to make */
    char **path;           /* [n] where it goes; NULL: records */
    char *seeded;          /* [n] whether somebody gave its seed */
    wan_wishes wishes;     /* what they are made from, --num_videos_per_prompt of each */
    wan_writer *records;
} all;

static wan_comm *comm;

/* Rank 0 alone writes and speaks. */
static int first_rank(void)
{
    return comm->rank == 0;
}

/* ---- command line to videos */

static int64_t frames_of(int i)
{
    return 4 * (all.v[i].T - 1) + 1;
}

static wan_save_clip clip_of(int i)
{
    return (wan_save_clip){ .path = all.path[i],
                            .frames = frames_of(i),
                            .height = 8 * all.v[i].h,
                            .width = 8 * all.v[i].w,
                            .fps = (double)o.fps,
                            .crf = (int)o.crf,
                            .records = all.records };
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

/* Video i of n is number `copy` of what is wished for. */
static int make_video(int i, int n, const wan_wish *w, int64_t copy)
{
    wan_pipeline_video *v = &all.v[i];
    v->prompt = w->prompt;
    all.seeded[i] = w->seed >= 0;
    v->seed = (uint64_t)(w->seed >= 0 ? w->seed + copy : copy);
    const char *size = w->size ? w->size : strcmp(o.task, "t2v-14B") ? "416*240" : "720*1280";
    if (wan_pipeline_parse_size(v, size) < 0)
        return wan_err_prefix("--sizes");
    if (wan_pipeline_parse_frames(v, w->frames ? w->frames : "81") < 0)
        return wan_err_prefix("--frame_nums");
    if (strcmp(o.save_file, "-") == 0)
        return 0;
    wan_save_clip c = clip_of(i);
    if (c.frames > 1 && wan_ends_with(o.save_file, ".png") && !wan_save_is_sequence(o.save_file))
        return wan_err("--save_file %s: a PNG holds one frame, not %" PRId64
                       " (of several: NAME_%%04d.png)",
                       o.save_file, c.frames);
    all.path[i] = wan_save_path(o.save_file, &c, i, n, o.task, v->prompt);
    return all.path[i] ? 0 : -1;
}

/* What the file, the options, or the text rows in place of prompts ask for. */
static int read_wishes(void)
{
    int rows = 0;
    if (o.prompt_file)
        WAN_TRY(wan_wishes_read(&all.wishes, o.prompt_file));
    for (size_t i = 0; i < o.prompts.n; i++)
        if (wan_wishes_add(&all.wishes, o.prompts.v[i], NULL, NULL, -1) < 0)
            return wan_err_prefix("--prompts: prompt %zu", i + 1);
    if (!all.wishes.n && o.text)
        WAN_TRY(wan_exchange_videos(&rows, o.text));
    for (int i = 0; i < rows; i++)
        WAN_TRY(wan_wishes_add(&all.wishes, "", NULL, NULL, -1));
    return all.wishes.n ? 0 : wan_err("nothing to make: give --prompts or --prompt_file");
}

/* The lists of options say what a wish leaves open. */
static int complete_wish(wan_wish *w, int i)
{
    const char *size = pick(&o.sizes, i), *frames = pick(&o.frames, i), *seed = pick(&o.seeds, i);
    if (size && !w->size && !(w->size = strdup(size)))
        return wan_err("out of memory (prompts)");
    if (frames && !w->frames && !(w->frames = strdup(frames)))
        return wan_err("out of memory (prompts)");
    if (seed && w->seed < 0 && wan_parse_int(&w->seed, seed, -1, 9007199254740991, "a seed") < 0)
        return wan_err_prefix("--base_seed");
    return 0;
}

static int make_videos(void)
{
    WAN_TRY(read_wishes());
    int wishes = all.wishes.n, n = wishes * (int)o.copies;
    WAN_TRY(check_list(&o.sizes, wishes, "sizes"));
    WAN_TRY(check_list(&o.frames, wishes, "frame_nums"));
    WAN_TRY(check_list(&o.seeds, wishes, "base_seed"));
    if (n > 10000)
        return wan_err("%d videos: at most 10000", n);
    all.v = wan_calloc((size_t)n, sizeof *all.v, "list of videos");
    all.path = wan_calloc((size_t)n, sizeof *all.path, "list of videos");
    all.seeded = wan_calloc((size_t)n, 1, "list of videos");
    if (!all.v || !all.path || !all.seeded)
        return -1;
    all.n = n;
    for (int i = 0; i < wishes; i++)
        WAN_TRY(complete_wish(&all.wishes.v[i], i));
    for (int i = 0; i < n; i++)
        WAN_TRY(make_video(i, n, &all.wishes.v[i / o.copies], i % o.copies));
    return 0;
}

/* Without --model: the folder that the training run names for the other parts. */
static int model_of_run(void)
{
    static char model[PATH_MAX];
    char *step = NULL, *path = NULL;
    wan_config *c = NULL;
    int found = o.checkpoint ? wan_rundir_find(&step, o.checkpoint, o.step) : 0;
    int rc = found < 0 || (found > 0 && !(path = wan_path_join(step, "run_config.yaml"))) ? -1 : 0;
    if (path && wan_exists(path)) {
        rc = wan_config_new(&c);
        if (rc == 0)
            rc = wan_config_yaml(c, path);
        if (rc == 0)
            snprintf(model, sizeof model, "%s", wan_config_text(c, "model.components"));
    }
    if (rc == 0 && !*model)
        rc =
            wan_err("--model is missing%s%s",
                    found > 0 ? ", and no model.components stands in " : "", found > 0 ? path : "");
    o.model = model;
    wan_config_free(&c);
    free(step);
    free(path);
    return rc;
}

/* --height and --width, diffusers' way to give a size. */
static int one_size(void)
{
    static char text[32];
    static const char *list[1] = { text };
    if (!o.height && !o.width)
        return 0;
    if (!o.height || !o.width)
        return wan_err("--height and --width: give both");
    if (o.sizes.n)
        return wan_err("give --sizes or --height and --width, not both");
    snprintf(text, sizeof text, "%" PRId64 "*%" PRId64, o.width, o.height);
    o.sizes = (wan_strlist){ list, 1 };
    return 0;
}

/* NAME.xyz is meant to be a kind of file; NAME2.1 and NAME.final are parts of the default name. */
static int check_end(void)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    const char *dot = strrchr(o.save_file, '.');
    const size_t n = dot ? strlen(dot + 1) : 0;
    if ((n == 3 || n == 4) && strspn(dot + 1, letters) == n && !wan_save_names_file(o.save_file))
        return wan_err("--save_file %s: no file of that kind can be written", o.save_file);
    return 0;
}

/* --output_dir, or an -o that is a folder, goes in front of the name. */
static int find_folder(void)
{
    static const char part[] = "DefaultExp";
    const size_t n = strlen(o.save_file);
    const int slash = n && o.save_file[n - 1] == '/';
    int folder = slash;
    if (!o.folder && !slash && !wan_save_names_file(o.save_file))
        WAN_TRY(folder = wan_is_dir(o.save_file));
    if (!o.folder && folder) {
        o.folder = o.save_file;
        o.save_file = part;
    }
    if (!o.folder)
        return 0;
    if (strchr(o.save_file, '/') || !strcmp(o.save_file, "-"))
        return wan_err("--output_dir and --save_file %s: both say where it goes", o.save_file);
    o.save_file = wan_path_join(o.folder, o.save_file);
    return o.save_file ? 0 : -1;
}

static int check_options(int operands)
{
    if (operands)
        return wan_err("unexpected operand; prompts go behind --prompts, in quotes");
    if (!o.model && model_of_run() < 0)
        return -1;
    WAN_TRY(one_size());
    WAN_TRY(find_folder());
    WAN_TRY(check_end());
    if (o.go_on &&
        (o.noise || o.text || o.latents_out || o.dump_steps || !strcmp(o.save_file, "-")))
        return wan_err("--continue: for files of videos alone, not with --save_file - nor with "
                       "files of noise, text, latents or steps");
    if (o.negative && o.use_official_negative)
        return wan_err("--negative_prompt and --official-negative: give one of them");
    if (o.use_official_negative)
        o.negative = WAN_PROMPT_NEGATIVE;
    const int is_text =
        o.negative ? wan_json_is_text(o.negative, strlen(o.negative), "--negative_prompt") : 1;
    WAN_TRY(is_text);
    if (!is_text)
        return wan_err("--negative_prompt: not valid UTF-8");
    return make_videos();
}

static wan_share_options share_options(void)
{
    return (wan_share_options){ .passes = o.cfg_parallel ? 2 : 0,
                                .cp = (int)o.cp,
                                .tp = (int)o.tp,
                                .automatic = strcmp(o.cp_comm, "auto") == 0,
                                .cp_kind = strcmp(o.cp_comm, "a2a") == 0       ? WAN_CP_A2A
                                           : strcmp(o.cp_comm, "a2a+p2p") == 0 ? WAN_CP_A2A_P2P
                                                                               : WAN_CP_P2P };
}

static wan_dtype vae_compute(void)
{
    return !strcmp(o.vae_precision, "bf16")   ? WAN_BF16
           : !strcmp(o.vae_precision, "fp16") ? WAN_F16
                                              : WAN_F32;
}

static wan_pipeline_options pipeline_options(void)
{
    return (wan_pipeline_options){
        .model = o.model,
        .transformer = o.checkpoint,
        .last = o.last,
        .trusted = o.trusted,
        .iteration = o.step,
        .text = o.t5_dir,
        .vae = o.vae_dir,
        .negative = o.negative,
        .cache = o.cache,
        .sampler = { .solver = strcmp(o.solver, "auto") ? o.solver : NULL,
                     .schedule = strcmp(o.schedule, "auto") ? o.schedule : NULL,
                     .steps = (int)o.steps,
                     .shift = o.shift,
                     .guidance = o.scale,
                     .guided = o.scale >= 0,
                     .sigma_min = o.sigma_min,
                     .sigma_max = o.sigma_max,
                     .rho = o.rho },
        .compute = strcmp(o.precision, "fp32") == 0 ? WAN_F32 : WAN_BF16,
        .eight = strcmp(o.precision, "fp8") == 0,
        .vae_compute = vae_compute(),
        .passes = strcmp(o.passes, "together") == 0 ? WAN_PASSES_TOGETHER
                  : strcmp(o.passes, "apart") == 0  ? WAN_PASSES_APART
                                                    : WAN_PASSES_AUTO,
        .graphs = o.graphs,
        .ways = o.ways,
        .offload = o.from_host,
        .comm = comm,
        .ranks = share_options(),
    };
}

/* ---- files */

/* What cannot be written is found out before the hours begin. */
static int check_outputs(void)
{
    if (!first_rank())
        return 0;
    if (o.folder)
        WAN_TRY(wan_mkdirs(o.folder));
    wan_save_clip first = clip_of(0); /* the others go into the same folder */
    if (!first.path)
        WAN_TRY(wan_refuse_terminal(STDOUT_FILENO, o.force));
    WAN_TRY(wan_save_probe(&first));
    if (o.latents_out)
        WAN_TRY(wan_out_probe(o.latents_out));
    if (o.preview)
        WAN_TRY(wan_out_probe(o.preview));
    if (o.ways && !wan_exists(o.ways))
        WAN_TRY(wan_out_probe(o.ways));
    return o.dump_steps ? wan_out_probe(o.dump_steps) : 0;
}

static int open_clip(wan_save **save, int i)
{
    char key[32];
    wan_save_clip c = clip_of(i);
    snprintf(key, sizeof key, "sample_%06d", i);
    c.key = key;
    c.meta = json_pack("{s:s, s:I}", "caption", all.v[i].prompt, "fps", (json_int_t)o.fps);
    if (c.meta && !o.noise)
        json_object_set_new(c.meta, "seed", json_integer((json_int_t)all.v[i].seed));
    int rc = wan_save_open(save, &c);
    json_decref(c.meta);
    return rc;
}

/* ---- the run */

/* One random seed for all videos that have none; several of one prompt count on from it. */
static int choose_seed(void)
{
    uint32_t random;
    uint64_t seed;
    if (o.noise || !memchr(all.seeded, 0, (size_t)all.n))
        return 0;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return wan_err_errno("no random seed");
    seed = random >> 1;
    WAN_TRY(wan_group_broadcast(wan_group_world(comm), NULL, &seed, sizeof seed, WAN_U8, 0));
    wan_info("seed %" PRIu64, seed);
    for (int i = 0; i < all.n; i++)
        all.v[i].seed += all.seeded[i] ? 0 : seed;
    return 0;
}

static int noise(wan_pipeline *p)
{
    if (o.noise)
        return wan_exchange_noise(p, o.noise);
    for (int i = 0; i < all.n; i++)
        p->v[i].seed = all.v[i].seed;
    wan_pipeline_noise(p, o.rng);
    return 0;
}

static int text(wan_pipeline *p, wan_dev *d)
{
    if (o.text)
        return wan_exchange_text(p, o.text);
    if (!o.t5_cpu)
        return wan_pipeline_encode(p, d);
    wan_dev *cpu;
    WAN_TRY(wan_dev_open(&cpu, "cpu", 0));
    int rc = wan_pipeline_encode(p, cpu);
    wan_dev_close(&cpu);
    return rc;
}

typedef struct steps {
    const wan_pipeline *p;
    wan_st_writer *dump; /* NULL: only progress is shown */
    wan_preview map;     /* while o.preview */
} steps;

/* A row of frames, each pixel of the latent as two. */
static int draw_preview(const steps *s, int i, const float *latent)
{
    const wan_pipeline_video *v = &s->p->v[i];
    wan_sheet *sheet = NULL;
    uint8_t *rgb = wan_malloc((size_t)v->T, (size_t)(v->h * v->w * 3), "preview");
    for (int64_t t = 0; rgb && t < v->T; t++)
        wan_preview_frame(&s->map, rgb + t * v->h * v->w * 3, latent, v->T, v->h, v->w, t);
    int rc = rgb ? wan_sheet_open(&sheet, 1, PREVIEW_FRAMES, (int)(2 * v->h)) : -1;
    if (rc == 0)
        rc = wan_sheet_add(sheet, rgb, v->T, v->h, v->w) < 0 ? -1 : 0;
    if (rc == 0)
        rc = wan_sheet_write(sheet, o.preview);
    wan_sheet_close(&sheet);
    free(rgb);
    return rc;
}

static int on_step(void *arg, int i, int step, double seconds, const float *latent,
                   const float *clean)
{
    steps *s = arg;
    const int last = s->p->o.sampler.steps;
    wan_progress(0, "video %d of %d: step %d of %d, %.2f s/step", i + 1, all.n, step + 1, last,
                 seconds / (step + 1));
    if (step + 1 == last)
        wan_progress(1, "video %d of %d: %.1f s", i + 1, all.n, seconds);
    if (o.preview && draw_preview(s, i, clean) < 0) { /* no reason to end hours of work */
        wan_warn("no more previews: %s", wan_err_text());
        o.preview = NULL;
    }
    return s->dump ? wan_exchange_step(s->dump, s->p, i, step, latent) : 0;
}

/* Whether latents wait beside their videos until these are there. */
static int keeps(void)
{
    return all.path[0] && !o.noise && !o.text;
}

static int on_made(void *arg, int i)
{
    const steps *s = arg;
    return wan_keep_write(s->p, i, all.path[i], o.rng);
}

/* What the records say of how they were made. */
static json_t *how(const wan_sampler_options *s)
{
    const struct {
        const char *name;
        double value;
    } number[] = { { "sample_shift", s->shift },
                   { "sample_sigma_max", s->sigma_max },
                   { "sample_sigma_min", s->sigma_min },
                   { "sample_rho", s->rho } };
    json_t *j = json_pack("{s:s, s:I, s:f, s:s, s:s}", "task", o.task, "sample_steps",
                          (json_int_t)s->steps, "sample_guide_scale", s->guidance, "sample_solver",
                          s->solver, "precision", o.precision);
    for (size_t i = 0; j && i < sizeof number / sizeof number[0]; i++)
        if (number[i].value != 0)
            json_object_set_new(j, number[i].name, json_real(number[i].value));
    if (j && s->schedule)
        json_object_set_new(j, "schedule", json_string(s->schedule));
    return j;
}

static int open_records(const wan_pipeline *p)
{
    json_t *options = how(&p->o.sampler);
    json_t *header = wan_provenance_append(NULL, "wan-sample", options);
    int rc = header ? wan_writer_open(&all.records, stdout, "<stdout>", header) : -1;
    json_decref(options);
    json_decref(header);
    return rc;
}

/* Where frames go. */
typedef struct target {
    const wan_pipeline *p;
    wan_save *save; /* of the video at work */
} target;

static int take_frames(void *arg, int i, const uint8_t *rgb, int64_t first, int64_t n)
{
    target *to = arg;
    int64_t frames = frames_of(i);
    if (first == 0 && !all.path[0] && !all.records)
        WAN_TRY(open_records(to->p));
    if (first == 0)
        WAN_TRY(open_clip(&to->save, i));
    WAN_TRY(wan_save_frames(to->save, rgb, n));
    wan_progress(first + n == frames, "video %d of %d: frame %" PRId64 " of %" PRId64, i + 1, all.n,
                 first + n, frames);
    if (first + n < frames)
        return 0;
    WAN_TRY(wan_save_finish(&to->save));
    if (all.path[i] && keeps())
        wan_keep_drop(all.path[i]);
    if (all.path[i])
        wan_info("%s: %" PRId64 " frame%s of %" PRId64 "x%" PRId64, all.path[i], frames,
                 frames == 1 ? "" : "s", 8 * all.v[i].w, 8 * all.v[i].h);
    return 0;
}

static int latents(wan_pipeline *p, wan_dev *d, target *to)
{
    steps s = { .p = p };
    if (!first_rank())
        return wan_pipeline_generate(p, d, NULL);
    if (o.preview)
        WAN_TRY(wan_pipeline_preview(p, d, &s.map));
    if (o.dump_steps)
        WAN_TRY(wan_exchange_steps_open(&s.dump, p, o.dump_steps));
    wan_pipeline_watch watch = {
        on_step, keeps() ? on_made : NULL, &s, s.dump != NULL, o.preview != NULL, take_frames, to
    };
    int rc = wan_pipeline_generate(p, d, &watch);
    if (rc == 0 && s.dump)
        rc = wan_st_finish(&s.dump);
    wan_st_abandon(&s.dump);
    return rc == 0 && o.latents_out ? wan_exchange_latents(p, o.latents_out) : rc;
}

static int videos(wan_pipeline *p, wan_dev *d, target *to)
{
    const int rc = wan_pipeline_decode(p, d, take_frames, to);
    return rc == 0 && all.records ? wan_writer_finish(&all.records) : rc;
}

/* What it would take; the plan is printed first, also where it does not fit. */
static int plan(wan_pipeline *p, wan_dev *d)
{
    wan_cost c;
    WAN_TRY(wan_cost_measure(&c, p, d));
    if (first_rank()) {
        wan_cost_print(&c, stdout);
        if (fflush(stdout) != 0 || ferror(stdout))
            return wan_err_errno("<stdout>");
    }
    return wan_pipeline_check(p, d, !o.text);
}

/* Latents that an interrupted call left, to all ranks, which share out the frames; *left: how many are still to
 * be made. */
static int take_kept(wan_pipeline *p, int *left)
{
    wan_group *world = wan_group_world(comm);
    *left = all.n;
    for (int i = 0; o.go_on && i < all.n; i++) {
        int found = first_rank() ? wan_keep_read(p, i, all.path[i], o.rng) : 0;
        WAN_TRY(found);
        WAN_TRY(wan_group_broadcast(world, NULL, &found, sizeof found, WAN_U8, 0));
        if (found)
            WAN_TRY(wan_group_broadcast(world, NULL, p->v[i].latent,
                                        (size_t)wan_pipeline_count(p, i), WAN_F32, 0));
        p->v[i].ready = found;
        *left -= found;
    }
    if (*left < all.n)
        wan_info("%d latent%s of an earlier call taken", all.n - *left,
                 all.n - *left == 1 ? "" : "s");
    return 0;
}

static int make_with(wan_pipeline *p, wan_dev *d, target *to)
{
    int left;
    WAN_TRY(wan_pipeline_check(p, d, !o.text));
    WAN_TRY(choose_seed());
    WAN_TRY(noise(p));
    WAN_TRY(take_kept(p, &left));
    double t[4] = { wan_now() };
    if (left) {
        wan_progress(-1, "text");
        WAN_TRY(text(p, d));
        t[1] = wan_now();
        wan_progress(-1, "weights of the transformer");
        WAN_TRY(latents(p, d, to));
    }
    t[2] = wan_now();
    t[1] = left ? t[1] : t[2];
    WAN_TRY(videos(p, d, to));
    t[3] = wan_now();
    wan_info("%.1f s: text %.1f, weights %.1f, steps %.1f, VAE and files %.1f", t[3] - t[0],
             t[1] - t[0], p->loading, t[2] - t[1] - p->loading, t[3] - t[2]);
    return 0;
}

static int make_all(wan_pipeline *p, wan_dev *d)
{
    target to = { .p = p };
    const int rc = make_with(p, d, &to);
    wan_save_discard(&to.save);
    wan_writer_abandon(&all.records); /* where it was not finished */
    return rc;
}

/* --continue: videos that are there are left out, as rank 0 sees it. */
static int leave_out(void)
{
    int n = 0;
    for (int i = 0; o.go_on && i < all.n; i++) {
        const wan_save_clip c = clip_of(i);
        int there = first_rank() && wan_save_is_there(&c);
        WAN_TRY(wan_group_broadcast(wan_group_world(comm), NULL, &there, sizeof there, WAN_U8, 0));
        if (there) {
            if (first_rank()) /* of a call that ended between the two */
                wan_keep_drop(all.path[i]);
            free(all.path[i]);
            continue;
        }
        all.v[n] = all.v[i];
        all.path[n] = all.path[i];
        all.seeded[n++] = all.seeded[i];
    }
    if (o.go_on && n < all.n)
        wan_info("%d video%s there already", all.n - n, all.n - n == 1 ? " is" : "s are");
    all.n = o.go_on ? n : all.n;
    return 0;
}

/* Options that others leave nothing to do. */
static void say_idle(void)
{
    const struct {
        int idle;
        const char *name, *why;
    } option[] = {
        { o.scale == 1 && o.negative && !o.text, "the negative prompt",
          "--sample_guide_scale 1 makes one pass" },
        { o.text && o.negative, "the negative prompt", "--text has the rows of tensor negative" },
        { o.text && (o.t5_dir || o.t5_cpu || o.cache), "what says how text is encoded",
          "--text has its rows" },
        { o.noise && o.seeds.n, "--base_seed", "--noise has the numbers" },
        { o.noise && strcmp(o.rng, "philox"), "--rng", "--noise has the numbers" },
        { comm->size > 1 && !strcmp(o.passes, "together"), "--passes together",
          "several ranks make them one after the other, or apart" },
    };
    for (size_t i = 0; i < sizeof option / sizeof *option && first_rank(); i++)
        if (option[i].idle)
            wan_warn("%s: no effect: %s", option[i].name, option[i].why);
}

static int check_graphs(const wan_dev *d)
{
    if (!o.graphs)
        return 0;
    if (o.from_host || comm->size > 1)
        return wan_err("--graphs: passes cannot be recorded with %s",
                       o.from_host ? "--offload, whose weights come and go" : "several ranks");
    if (!wan_dev_records(d))
        wan_warn("--graphs: nothing is recorded on this device");
    return 0;
}

static int run(void)
{
    wan_pipeline_options options = pipeline_options();
    wan_pipeline *p = NULL;
    wan_dev *d = NULL;
    say_idle();
    WAN_TRY(leave_out());
    if (!all.n)
        return 0;
    int rc = wan_pipeline_open(&p, &options, all.v, all.n);
    if (rc == 0 && !o.plan)
        rc = check_outputs();
    if (rc == 0)
        rc = wan_place_device(&d, comm, o.device, o.strict ? WAN_DEV_STRICT : 0);
    if (rc == 0)
        rc = check_graphs(d);
    if (rc == 0 && o.ways && d->kind != WAN_DEV_CUDA && first_rank())
        wan_warn("--ways: nothing is measured on this device");
    if (rc == 0)
        rc = o.plan ? plan(p, d) : make_all(p, d);
    wan_pipeline_close(&p);
    wan_dev_close(&d);
    return rc;
}

/* Another thread than the one that works: nothing is cleaned up but what has a name is whole. */
static void lost(const char *why, int end)
{
    if (why)
        wan_warn("%s", why);
    if (end)
        _exit(WAN_EXIT_FAILED);
}

static void open_ranks(void)
{
    if (wan_comm_open(&comm, o.transport, DEAD, LATE) < 0)
        wan_die();
    wan_comm_on_lost(comm, lost);
    if (!first_rank())
        wan_log_init(tool.name, 0);
}

int main(int argc, char **argv)
{
    wan_signals_filter();
    int argi = wan_opt_parse(&tool, argc, argv);
    if (check_options(argc - argi) < 0)
        wan_die_usage();
    open_ranks();
    int rc = run();
    for (int i = 0; i < all.n; i++)
        free(all.path[i]);
    free(all.path);
    free(all.v);
    free(all.seeded);
    wan_wishes_free(&all.wishes);
    if (rc < 0 && !first_rank())
        sleep(2); /* what all find wrong one says: the launcher ends the others meanwhile */
    if (rc < 0)
        wan_die();
    wan_comm_close(&comm);
    if (wan_out_close_stdout() < 0)
        wan_die();
    return WAN_EXIT_DONE;
}
