/* SPDX-License-Identifier: Apache-2.0
 *
 * pipeline.c - the three phases of sampling (pipeline.h).
 */
#include "lib/model/sample/pipeline.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/linear_simd.h"
#include "kernels/space.h"
#include "kernels/ways.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/opt.h"
#include "lib/base/quant.h"
#include "lib/base/rng.h"
#include "lib/dist/waycast.h"
#include "lib/model/sample/beside.h"
#include "lib/model/sample/generate.h"
#include "lib/model/files/manifest.h"
#include "lib/model/files/modelfolder.h"
#include "lib/model/files/modelio.h"
#include "lib/model/offload.h"
#include "lib/model/sample/rowcache.h"
#include "lib/model/text/text.h"
#include "lib/rec/tensor/gguf.h"

/* ---- sizes as a command line gives them */

int wan_pipeline_parse_size(wan_pipeline_video *v, const char *text)
{
    int end = -1;
    long long w = 0, h = 0;
    if (sscanf(text, "%5lld%*1[*xX]%5lld%n", &w, &h, &end) != 2 || end < 0 || text[end])
        return wan_err("\"%s\" is not WIDTH*HEIGHT", text);
    if (w < 16 || h < 16 || w > 16384 || h > 16384 || w % 16 || h % 16)
        return wan_err("\"%s\": width and height must be multiples of 16, 16 to 16384", text);
    v->w = w / 8;
    v->h = h / 8;
    return 0;
}

int wan_pipeline_parse_frames(wan_pipeline_video *v, const char *text)
{
    int64_t frames;
    WAN_TRY(wan_parse_int(&frames, text, 1, 4093, "frames"));
    if (frames % 4 != 1)
        return wan_err("%" PRId64 " is not 4n+1; the nearest are %" PRId64 " and %" PRId64, frames,
                       (frames - 1) / 4 * 4 + 1, (frames - 1) / 4 * 4 + 5);
    v->T = 1 + (frames - 1) / 4;
    return 0;
}

/* ---- open */

/* What is sampled: the average of the weights in a checkpoint that has one (wan-train(1)), else these. */
static int find_weights(wan_pipeline *p)
{
    static const char leaf[] = "/transformer";
    size_t n = strlen(p->transformer), m = sizeof leaf - 1;
    if (n > m && !strcmp(p->transformer + n - m, leaf) && !p->o.last) {
        char *dir = strndup(p->transformer, n - m);
        p->weights = dir ? wan_path_join(dir, "optimizer/ema.safetensors") : NULL;
        free(dir);
        if (!p->weights)
            return wan_err("out of memory");
        if (wan_exists(p->weights)) {
            wan_info("the average of the weights is sampled: %s", p->weights);
            return 0;
        }
        free(p->weights);
    }
    p->weights = strdup(p->transformer);
    return p->weights ? 0 : wan_err("out of memory");
}

static int find_transformer(wan_pipeline *p)
{
    const wan_pipeline_options *o = &p->o;
    WAN_TRY(wan_model_transformer(&p->transformer, o->transformer ? o->transformer : o->model,
                                  o->iteration));
    WAN_TRY(find_weights(p));
    if (!o->trusted)
        WAN_TRY(wan_manifest_check_part(p->weights, 0, 1));
    WAN_TRY(wan_modelio_config(&p->arch, p->transformer));
    wan_model_sizes(&p->z, &p->arch);
    if (p->z.in_channels != p->z.out_channels)
        return wan_err("%s: %d channels in, %d out: not a text-to-video model", p->transformer,
                       p->z.in_channels, p->z.out_channels);
    return wan_sampler_resolve(&p->o.sampler, p->arch.model->objective);
}

int64_t wan_pipeline_count(const wan_pipeline *p, int i)
{
    const wan_pipeline_video *v = &p->v[i];
    return p->z.in_channels * v->T * v->h * v->w;
}

static int take_videos(wan_pipeline *p, const wan_pipeline_video *v, int n)
{
    p->v = wan_calloc((size_t)n, sizeof *p->v, "list of videos");
    if (!p->v)
        return -1;
    p->n = n;
    for (int i = 0; i < n; i++) {
        wan_pipeline_video *to = &p->v[i];
        int64_t count, shape[4] = { p->z.in_channels, v[i].T, v[i].h, v[i].w };
        WAN_TRY(wan_shape_count(&count, shape, 4));
        if (count == 0 || v[i].h % 2 || v[i].w % 2)
            return wan_err("video %d: latent of %" PRId64 "x%" PRId64 "x%" PRId64
                           ": sides must be even and not 0",
                           i + 1, v[i].T, v[i].h, v[i].w);
        *to = (wan_pipeline_video){
            .prompt = v[i].prompt, .T = v[i].T, .h = v[i].h, .w = v[i].w, .seed = v[i].seed
        };
        to->latent = wan_malloc((size_t)count, sizeof *to->latent, "latent");
        if (!to->latent)
            return -1;
    }
    return 0;
}

static int open_share(wan_pipeline *p)
{
    char text[80];
    if (!p->o.comm || p->o.comm->size == 1) {
        int none[3];
        return wan_share_layout(none, &p->o.ranks, 1, p->o.sampler.guidance != 1);
    }
    WAN_TRY(
        wan_share_open(&p->share, p->o.comm, &p->o.ranks, &p->arch, p->o.sampler.guidance != 1));
    wan_share_text(p->share, text);
    wan_verbose("%d ranks: %s", p->o.comm->size, text);
    return 0;
}

int wan_pipeline_open(wan_pipeline **out, const wan_pipeline_options *o,
                      const wan_pipeline_video *v, int n)
{
    wan_pipeline *p = *out = wan_calloc(1, sizeof *p, "pipeline");
    if (!p)
        return -1;
    p->o = *o;
    if (find_transformer(p) < 0 || take_videos(p, v, n) < 0 || open_share(p) < 0) {
        wan_pipeline_close(out);
        return -1;
    }
    return 0;
}

void wan_pipeline_close(wan_pipeline **pp)
{
    wan_pipeline *p = pp ? *pp : NULL;
    if (!p)
        return;
    for (int i = 0; i < p->n; i++) {
        free(p->v[i].text);
        free(p->v[i].latent);
    }
    wan_share_close(&p->share);
    free(p->v);
    free(p->negative);
    free(p->transformer);
    free(p->weights);
    free(p);
    *pp = NULL;
}

/* ---- the model, before the work */

static int check_transformer(const wan_pipeline *p)
{
    wan_params params;
    WAN_TRY(p->arch.model->params(&params, p->arch.c));
    int rc = wan_modelio_check(&params, p->weights);
    wan_params_free(&params);
    return rc;
}

int wan_pipeline_vae(wan_vae **vae, const wan_pipeline *p, wan_dev *d, int parts)
{
    char *dir = wan_model_part(p->o.vae ? p->o.vae : p->o.model, "vae");
    int rc = dir ? 0 : -1;
    if (rc == 0 && !parts && !p->o.trusted)
        rc = wan_manifest_check_part(dir, 0, 1);
    if (rc == 0)
        rc = wan_vae_open(vae, d, dir, parts, p->o.vae_compute);
    if (rc == 0 && wan_vae_channels(*vae) != p->z.in_channels) {
        rc = wan_err("%s: %d latent channels, the transformer has %d", dir, wan_vae_channels(*vae),
                     p->z.in_channels);
        wan_vae_close(vae);
    }
    free(dir);
    return rc;
}

/* Folders of text encoder and tokenizer; the caller frees them, also on failure. */
static int find_text(const wan_pipeline *p, char **encoder, char **tokenizer)
{
    const char *base = p->o.text ? p->o.text : p->o.model;
    *encoder = wan_model_part(base, "text_encoder");
    *tokenizer = wan_model_part(base, "tokenizer");
    return *encoder && *tokenizer ? 0 : -1;
}

static int check_text(const wan_pipeline *p, wan_dev *d)
{
    char *encoder, *tokenizer;
    wan_tokenizer *t = NULL;
    wan_umt5 *e = NULL;
    int rc = find_text(p, &encoder, &tokenizer);
    if (rc == 0 && !p->o.trusted)
        rc = wan_manifest_check_part(encoder, 0, 1) < 0 ? -1
                                                        : wan_manifest_check_part(tokenizer, 0, 1);
    if (rc == 0)
        rc = wan_tokenizer_open(&t, tokenizer);
    if (rc == 0)
        rc = wan_umt5_open(&e, d, encoder, p->o.compute);
    if (rc == 0 && wan_umt5_width(e) != p->z.text_dim)
        rc = wan_err("%s: text rows %" PRId64 " wide, the transformer takes %" PRId64, encoder,
                     wan_umt5_width(e), p->z.text_dim);
    wan_umt5_close(&e);
    wan_tokenizer_close(&t);
    free(encoder);
    free(tokenizer);
    return rc;
}

/* Tokens of the largest video. */
static int64_t most_tokens(const wan_pipeline *p)
{
    int64_t most = 0;
    for (int i = 0; i < p->n; i++) {
        int64_t S = p->v[i].T * (p->v[i].h / 2) * (p->v[i].w / 2);
        most = S > most ? S : most;
    }
    return most;
}

int wan_pipeline_together(const wan_pipeline *p)
{
    const enum wan_passes how = p->o.passes;
    return p->o.sampler.guidance != 1 && !p->share &&
           (how == WAN_PASSES_AUTO ? most_tokens(p) <= WAN_TOGETHER : how == WAN_PASSES_TOGETHER);
}

/* The largest pack, whole. */
static wan_capacity capacity(const wan_pipeline *p)
{
    const int n = 1 + wan_pipeline_together(p);
    return (wan_capacity){ .tokens = n * most_tokens(p), .samples = n, .text_rows = 1 };
}

/* This rank's part of the largest video and of the transformer. */
static wan_acts_options acts_options(const wan_pipeline *p)
{
    wan_acts_options o = { .compute = p->o.compute, .cap = capacity(p) };
    if (p->share) {
        o.cap = wan_cp_capacity(&o.cap, p->share->mesh.size[WAN_CP]);
        o.slice = &p->share->slice;
    }
    return o;
}

/* What the weights are held as: on a CPU, blocks stay blocks. */
static int choose_held(const wan_pipeline *p, const wan_dev *d, wan_params *params)
{
    if (d->kind != WAN_DEV_CPU || p->share || p->o.offload || p->o.compute != WAN_BF16 ||
        p->o.eight)
        return 0;
    return wan_modelio_held(params, p->weights);
}

/* Which, and of how many matrices. */
static void say_held(const wan_params *params)
{
    int n[WAN_QUANTS] = { 0 };
    for (int i = 0; i < params->n; i++)
        n[params->v[i].blocks]++;
    for (int q = WAN_Q_NONE + 1; q < WAN_QUANTS; q++)
        if (n[q])
            wan_verbose("%d matrices stay %s, multiplied in %s", n[q], wan_quant_name((wan_quant)q),
                        wan_linear_int8() ? "bytes" : "bf16");
}

/* Of ops and libraries on a GPU, beside what opening the device has taken. */
static int64_t kernel_bytes(const wan_pipeline *p, const wan_dev *d, const wan_acts_options *o)
{
    if (d->kind != WAN_DEV_CUDA)
        return 0;
    const wan_space s = { .tokens = o->cap.tokens,
                          .longest = most_tokens(p),
                          .samples = o->cap.samples,
                          .text_len = p->z.text_len,
                          .heads = p->z.width / p->z.head_dim,
                          .head_dim = p->z.head_dim,
                          .width = p->z.width,
                          .bf16 = o->compute == WAN_BF16,
                          .forward = 1 };
    return wan_space_most(&s) + WAN_SPACE_PRODUCTS;
}

int wan_pipeline_bytes(const wan_pipeline *p, const wan_dev *d, double *weights, double *work)
{
    wan_capacity cap = capacity(p);
    wan_acts_options o = acts_options(p);
    wan_store_bytes b;
    wan_acts_bytes a;
    wan_params params;
    int64_t length;
    WAN_TRY(p->arch.model->params(&params, p->arch.c));
    int rc = wan_gguf_is(p->weights) ? choose_held(p, d, &params)
                                     : 0; /* a folder may lack weights yet */
    if (rc == 0)
        rc = wan_store_plan(&b, &length, &params, o.slice, p->o.compute, 0);
    const int64_t aside = p->o.eight ? wan_params_aside(&params, o.cap.tokens) : 0;
    wan_params_free(&params);
    WAN_TRY(rc);
    WAN_TRY(wan_model_acts_plan(&a, &p->arch, &o));
    *weights = (double)(p->o.offload ? wan_offload_bytes(&b, p->o.compute) : b.weights);
    *work = (double)a.kept + (double)a.work + (double)aside + (double)kernel_bytes(p, d, &o);
    if (p->share)
        *work += (double)wan_share_bytes(p->share, &cap, p->o.compute);
    return 0;
}

int wan_pipeline_vae_bytes(const wan_pipeline *p, wan_dev *d, double *bytes)
{
    wan_vae *vae;
    *bytes = 0;
    WAN_TRY(wan_pipeline_vae(&vae, p, d, 0));
    double one = 0;
    for (int i = 0; i < p->n && one >= 0; i++) {
        one = (double)wan_vae_decode_bytes(vae, p->v[i].h, p->v[i].w);
        *bytes = one > *bytes ? one : *bytes;
    }
    wan_vae_close(&vae);
    return one < 0 ? -1 : 0;
}

double wan_pipeline_text_bytes(const wan_pipeline *p, wan_dev *d)
{
    char *encoder, *tokenizer;
    wan_umt5 *e = NULL;
    double bytes = 0;
    if (find_text(p, &encoder, &tokenizer) == 0 && wan_umt5_open(&e, d, encoder, p->o.compute) == 0)
        bytes = (double)wan_umt5_bytes(e);
    wan_umt5_close(&e);
    free(encoder);
    free(tokenizer);
    return bytes;
}

/* A video that the device cannot hold now. */
static int check_size(const wan_pipeline *p, wan_dev *d)
{
    double weights, work;
    size_t free_bytes, total;
    WAN_TRY(wan_pipeline_bytes(p, d, &weights, &work));
    WAN_TRY(d->backend->memory(d, &free_bytes, &total));
    if (weights + work > (double)free_bytes)
        return wan_err("a video of %" PRId64
                       " tokens takes %.2f GiB in the transformer, the device "
                       "has %.2f free of %.2f%s",
                       most_tokens(p), (weights + work) / 0x1p30, (double)free_bytes / 0x1p30,
                       (double)total / 0x1p30,
                       p->o.offload ? "" : "; --offload leaves the weights in host memory");
    return 0;
}

int wan_pipeline_check(const wan_pipeline *p, wan_dev *d, int text)
{
    wan_vae *vae;
    WAN_TRY(check_transformer(p));
    WAN_TRY(check_size(p, d));
    WAN_TRY(wan_pipeline_vae(&vae, p, d, 0));
    wan_vae_close(&vae);
    return text ? check_text(p, d) : 0;
}

int wan_pipeline_preview(const wan_pipeline *p, wan_dev *d, wan_preview *map)
{
    wan_vae *vae;
    WAN_TRY(wan_pipeline_vae(&vae, p, d, WAN_VAE_DECODER));
    int rc = wan_preview_fit(map, vae);
    wan_vae_close(&vae);
    if (rc == 0)
        wan_verbose("preview: within %.1f of 255 of the colours of 8 x 8 pixels", map->error);
    return rc;
}

/* ---- noise */

void wan_pipeline_noise(wan_pipeline *p, const char *rng)
{
    for (int i = 0; i < p->n; i++) {
        size_t count = (size_t)wan_pipeline_count(p, i);
        uint64_t seed = p->v[i].seed;
        if (strcmp(rng, "torch-cpu") == 0) {
            wan_mt19937 g;
            wan_mt19937_seed(&g, seed);
            wan_torch_randn(&g, p->v[i].latent, count);
        } else {
            wan_rng r = wan_rng_stream(seed, WAN_RNG_SAMPLE, 0, 0);
            wan_rng_normal(&r, p->v[i].latent, 0, count);
        }
    }
}

/* ---- text */

int wan_pipeline_without_text(wan_pipeline *p)
{
    p->negative = wan_malloc(1, sizeof *p->negative, "negative prompt");
    p->negative_rows = 0;
    return p->negative ? 0 : -1;
}

int wan_pipeline_guides_from_nothing(const wan_pipeline *p)
{
    return !p->o.negative && p->arch.model->text_dropped;
}

/* The prompts through the text encoder, the negative one last. */
static int encode_prompts(wan_pipeline *p, const wan_prompt_encoder *e)
{
    const int guided = p->o.sampler.guidance != 1, none = wan_pipeline_guides_from_nothing(p);
    int count = p->n + (guided && !none);
    const char **text = wan_calloc((size_t)count, sizeof *text, "prompts");
    float **rows = wan_calloc((size_t)count, sizeof *rows, "prompts");
    int64_t *n = wan_calloc((size_t)count, sizeof *n, "prompts");
    int rc = text && rows && n ? 0 : -1;
    for (int i = 0; rc == 0 && i < count; i++)
        text[i] = i < p->n ? p->v[i].prompt : p->o.negative ? p->o.negative : "";
    if (rc == 0)
        rc = wan_rowcache_encode(rows, n, text, count, e, p->o.cache);
    for (int i = 0; rc == 0 && i < count; i++) {
        *(i < p->n ? &p->v[i].text : &p->negative) = rows[i];
        *(i < p->n ? &p->v[i].rows : &p->negative_rows) = n[i];
    }
    if (rc == 0 && guided && none)
        rc = wan_pipeline_without_text(p);
    free(text);
    free(rows);
    free(n);
    return rc;
}

static int encode_here(wan_pipeline *p, wan_dev *d)
{
    char *enc, *tok;
    double start = wan_now();
    int rc = find_text(p, &enc, &tok);
    wan_prompt_encoder e = { d, enc, tok, p->o.compute, p->z.text_dim, p->z.text_len };
    if (rc == 0)
        rc = encode_prompts(p, &e);
    if (rc == 0)
        wan_verbose("text encoder: %.1f s", wan_now() - start);
    free(enc);
    free(tok);
    return rc;
}

/* The rows that rank 0 has made, to all. */
static int spread(wan_pipeline *p)
{
    int64_t width = p->z.text_dim, n;
    for (int i = 0; i < p->n; i++) {
        n = p->v[i].rows * width;
        WAN_TRY(wan_share_floats(p->share, &p->v[i].text, &n));
        p->v[i].rows = n / width;
    }
    if (p->o.sampler.guidance == 1)
        return 0;
    n = p->negative_rows * width;
    WAN_TRY(wan_share_floats(p->share, &p->negative, &n));
    p->negative_rows = n / width;
    return 0;
}

int wan_pipeline_encode(wan_pipeline *p, wan_dev *d)
{
    if (p->share && p->o.comm->rank)
        return spread(p);
    WAN_TRY(encode_here(p, d));
    return p->share ? spread(p) : 0;
}

/* ---- transformer */

/* The loop of one video. */
typedef struct sampling {
    wan_pipeline *p;
    wan_store *w;      /* what runs */
    wan_offload *host; /* where its weights are; NULL: on the device */
    wan_acts *a;
    const wan_pipeline_watch *watch;
    wan_beside *beside; /* videos before i are decoded; NULL: afterwards */
    int i;
    wan_ways *ways;     /* of options.ways; NULL: none */
    int measures;       /* the file was not there */
    double start, kept; /* seconds; bytes that come to be kept of rounded weights */
} sampling;

static int on_step(void *arg, int step, const float *latent, const float *clean)
{
    sampling *s = arg;
    WAN_TRY(wan_beside_go(s->beside, s->i, 0));
    return s->watch->on_step(s->watch->arg, s->i, step, wan_now() - s->start, latent, clean);
}

/* Keys and values of n prompts, rows[k] host [len[k], text_dim] each. */
static int make_context(wan_context **ctx, sampling *s, const float *const *rows,
                        const int64_t *len, int n)
{
    wan_dev *d = s->w->d;
    const size_t row = (size_t)s->p->z.text_dim * sizeof **rows;
    size_t bytes = 0, at = 0;
    for (int k = 0; k < n; k++)
        bytes += (size_t)len[k] * row;
    char *dev = wan_dev_alloc(d, bytes ? bytes : 1, "text rows");
    int rc = dev ? 0 : -1;
    for (int k = 0; k < n && rc == 0; k++) {
        const size_t one = (size_t)len[k] * row;
        if (one)
            rc = wan_dev_write(d, dev + at, rows[k], one);
        at += one;
    }
    if (rc == 0)
        rc = wan_model_context(ctx, s->a, s->w, wan_buf_of(dev, WAN_F32), len, n);
    wan_dev_free(d, dev);
    return rc;
}

static int generate_one(sampling *s, const wan_context *uncond, int trial)
{
    const wan_pipeline_options *o = &s->p->o;
    wan_pipeline_video *v = &s->p->v[s->i];
    wan_context *cond = NULL;
    s->start = wan_now();
    wan_generate_options g = { .sampler = o->sampler,
                               .T = v->T,
                               .h = v->h,
                               .w = v->w,
                               .on_step = s->watch ? on_step : NULL,
                               .arg = s,
                               .want_latent = s->watch && s->watch->want_latent,
                               .want_clean = s->watch && s->watch->want_clean,
                               .together = wan_pipeline_together(s->p),
                               .graphs = o->graphs && wan_dev_records(s->w->d),
                               .trial = trial,
                               .share = s->p->share };
    const float *const rows[2] = { v->text, s->p->negative };
    const int64_t len[2] = { v->rows, s->p->negative_rows };
    WAN_TRY(make_context(&cond, s, rows, len, 1 + g.together));
    int rc = wan_generate(s->w, s->a, &s->p->arch, &g, v->latent, cond, uncond);
    wan_model_context_free(s->p->arch.model, &cond);
    return rc;
}

/* Products in eight bits: their weights are rounded in the first pass alone, where they have room beside everything
 * else; the same bytes either way. */
static int keep_rounded(sampling *s)
{
    double weights, work;
    size_t free_bytes, total;
    int64_t most;
    wan_dev *d = s->w->d;
    const wan_pipeline_options *o = &s->p->o;
    const int64_t bytes = wan_store_eight(&most, &s->w->params, &s->w->slice, 0);
    if (!o->eight || o->offload || d->kind != WAN_DEV_CUDA)
        return 0;
    WAN_TRY(wan_pipeline_bytes(s->p, d, &weights, &work));
    WAN_TRY(d->backend->memory(d, &free_bytes, &total));
    const int fits = work + (double)bytes <= (double)free_bytes;
    wan_verbose("weights in eight bits: %.2f GiB, %s", (double)bytes / 0x1p30,
                fits ? "rounded once" : "rounded in each pass, for want of memory");
    s->kept = fits ? (double)bytes : 0;
    if (fits)
        wan_dev_still(d, WAN_STILL_FORWARD);
    return 0;
}

/* Frames of videos that are made come between the steps of the next ones. */
static int begin_beside(sampling *s)
{
    const wan_pipeline_watch *w = s->watch;
    double weights, work;
    if (!w || !w->take)
        return 0;
    WAN_TRY(wan_pipeline_bytes(s->p, s->w->d, &weights, &work));
    return wan_beside_open(&s->beside, s->p, s->w->d, wan_pipeline_vae, work + s->kept, w->take,
                           w->take_arg);
}

/* Keys and values that guidance leads away from; NULL: none, or in the pack of the others. */
static int without(wan_context **ctx, sampling *s)
{
    const wan_pipeline *p = s->p;
    const float *const rows[1] = { p->negative };
    *ctx = NULL;
    return p->negative && !wan_pipeline_together(p)
               ? make_context(ctx, s, rows, &p->negative_rows, 1)
               : 0;
}

/* The ways of a file, for the transformer alone: what comes before and behind it has its own order either way. */
static int begin_ways(sampling *s, wan_dev *d)
{
    const wan_pipeline_options *o = &s->p->o;
    if (!o->ways)
        return 0;
    WAN_TRY(wan_ways_new(&s->ways));
    WAN_TRY(o->comm ? wan_waycast_read(s->ways, o->comm, o->ways)
                    : wan_ways_read(s->ways, o->ways));
    d->ways = s->ways;
    s->measures = s->ways->n == 0 && d->kind == WAN_DEV_CUDA;
    return 0;
}

/* Whether video i is to be made, and none before it has its size. */
static int is_new_size(const wan_pipeline *p, int i)
{
    const wan_pipeline_video *v = p->v;
    int seen = v[i].ready;
    for (int k = 0; k < i && !seen; k++)
        seen = !v[k].ready && v[k].T == v[i].T && v[k].h == v[i].h && v[k].w == v[i].w;
    return !seen;
}

/* One call of the model for each size that comes, then the file. */
static int measure(sampling *s)
{
    const wan_pipeline *p = s->p;
    const char *path = p->o.ways;
    wan_context *uncond;
    s->ways->trying = 1;
    int rc = without(&uncond, s);
    for (s->i = 0; s->i < p->n && rc == 0; s->i++)
        rc = is_new_size(p, s->i) ? generate_one(s, uncond, 1) : 0;
    wan_model_context_free(p->arch.model, &uncond);
    s->ways->trying = 0;
    WAN_TRY(rc);
    s->ways->tried++; /* what was chosen meanwhile is chosen again, as by whoever reads the file */
    WAN_TRY(p->o.comm ? wan_waycast_write(s->ways, p->o.comm, path)
                      : wan_ways_write(s->ways, path));
    if (!p->o.comm || p->o.comm->rank == 0)
        wan_info("%d shapes measured, their ways are in %s", s->ways->n, path);
    return 0;
}

static int generate_all(sampling *s)
{
    wan_pipeline *p = s->p;
    wan_acts_options o = acts_options(p);
    wan_capacity cap = capacity(p);
    WAN_TRY(wan_model_acts(&s->a, s->w->d, &p->arch, &o, NULL));
    if (p->share) {
        WAN_TRY(wan_share_device(p->share, s->w->d, &cap, p->o.compute));
        s->a->wing = wan_share_wing(p->share);
    }
    wan_context *uncond;
    if (s->measures)
        WAN_TRY(measure(s));
    WAN_TRY(without(&uncond, s));
    int rc = begin_beside(s);
    for (s->i = 0; s->i < p->n && rc == 0; s->i++) {
        if (p->v[s->i].ready)
            continue;
        rc = generate_one(s, uncond, 0);
        if (rc == 0 && s->watch && s->watch->on_made)
            rc = s->watch->on_made(s->watch->arg, s->i);
    }
    if (rc == 0) /* the one that has begun is finished where it is */
        rc = wan_beside_go(s->beside, wan_beside_begun(s->beside), 1);
    p->decoded = wan_beside_done(s->beside);
    wan_model_context_free(p->arch.model, &uncond);
    return rc;
}

static int check_finite(const float *v, int64_t n, int i, const char *what)
{
    for (int64_t k = 0; k < n; k++)
        if (!(v[k] - v[k] == 0))
            return wan_err("video %d: element %" PRId64 " of its %s is not finite", i + 1, k, what);
    return 0;
}

/* What came from a file or a broken text encoder is refused before the work. */
static int check_inputs(const wan_pipeline *p)
{
    for (int i = 0; i < p->n; i++) {
        const wan_pipeline_video *v = &p->v[i];
        WAN_TRY(check_finite(v->latent, wan_pipeline_count(p, i), i, "noise"));
        WAN_TRY(check_finite(v->text, v->rows * p->z.text_dim, i, "text rows"));
    }
    return check_finite(p->negative, p->negative_rows * p->z.text_dim, 0, "negative text rows");
}

/* The weights, on the device or beside it. */
static int load(sampling *s, wan_dev *d)
{
    const wan_pipeline *p = s->p;
    const wan_slice *slice = p->share ? &p->share->slice : NULL;
    wan_params params;
    if (p->o.offload) {
        WAN_TRY(wan_offload_new(&s->host, d, &p->arch, slice, p->o.compute));
        s->w = wan_offload_store(s->host);
        s->w->eight = p->o.eight;
        WAN_TRY(wan_modelio_load(wan_offload_host(s->host), p->weights));
        return wan_offload_start(s->host);
    }
    WAN_TRY(p->arch.model->params(&params, p->arch.c));
    if (choose_held(p, d, &params) < 0) {
        wan_params_free(&params);
        return -1;
    }
    say_held(&params);
    WAN_TRY(wan_store_new(&s->w, d, &params, slice, p->o.compute, 0));
    s->w->eight = p->o.eight;
    return wan_modelio_load(s->w, p->weights);
}

int wan_pipeline_generate(wan_pipeline *p, wan_dev *d, const wan_pipeline_watch *watch)
{
    sampling s = { .p = p, .watch = watch };
    double start = wan_now();
    int rc = check_inputs(p);
    if (rc == 0)
        rc = begin_ways(&s, d);
    if (rc == 0)
        rc = load(&s, d);
    p->loading = wan_now() - start;
    if (rc == 0)
        wan_verbose("transformer %s: %.3f B parameters, loaded in %.1f s", p->transformer,
                    (double)s.w->params.count / 1e9, p->loading);
    if (rc == 0)
        rc = keep_rounded(&s);
    if (rc == 0)
        rc = generate_all(&s);
    wan_dev_forget(d);
    d->ways = NULL;
    wan_ways_free(&s.ways);
    wan_share_release(p->share);
    wan_beside_close(&s.beside);
    wan_model_acts_free(&s.a);
    if (!s.host)
        wan_store_free(&s.w);
    wan_offload_free(&s.host);
    return rc;
}

/* ---- VAE */

typedef struct decoding {
    wan_pipeline_take *take;
    void *arg;
    int i;
    int64_t done; /* frames of video i */
} decoding;

static int put_frames(void *arg, const uint8_t *rgb, const float *pixels, int64_t n, int64_t H,
                      int64_t W)
{
    decoding *s = arg;
    (void)pixels, (void)H, (void)W;
    int64_t first = s->done;
    s->done += n;
    return s->take(s->arg, s->i, rgb, first, n);
}

static int decode_all(wan_pipeline *p, wan_vae *vae, decoding *s)
{
    for (s->i = p->decoded; s->i < p->n; s->i++) {
        const wan_pipeline_video *v = &p->v[s->i];
        s->done = 0;
        WAN_TRY(wan_vae_decode(vae, v->latent, v->T, v->h, v->w, put_frames, s));
        if (s->done != 4 * (v->T - 1) + 1 && !(p->share && p->o.comm->rank))
            WAN_BUG("the VAE made %" PRId64 " frames of %" PRId64 " latents", s->done, v->T);
    }
    return 0;
}

int wan_pipeline_decode(wan_pipeline *p, wan_dev *d, wan_pipeline_take *take, void *arg)
{
    decoding s = { .take = take, .arg = arg };
    wan_vae *vae;
    double start = wan_now();
    WAN_TRY(wan_pipeline_vae(&vae, p, d, WAN_VAE_DECODER));
    int rc = wan_vae_share(vae, p->share ? p->share->mesh.group[WAN_WORLD] : NULL);
    if (rc == 0)
        rc = decode_all(p, vae, &s);
    if (rc == 0)
        wan_verbose("VAE: %.1f s", wan_now() - start);
    wan_vae_close(&vae);
    return rc;
}
