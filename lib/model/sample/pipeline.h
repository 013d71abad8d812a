/* SPDX-License-Identifier: Apache-2.0
 *
 * pipeline.h - prompts to videos in three phases: text encoder, transformer, VAE.  Each is loaded,
 * used for all videos and freed before the next, so that they never share memory.
 *
 *     wan_pipeline_video v[2] = { { .prompt = "a cat", .T = 21, .h = 60, .w = 104 }, { ... } };
 *     wan_pipeline *p;
 *     wan_pipeline_open(&p, &options, v, 2);       // looks at the transformer's config.json only
 *     wan_pipeline_check(p, dev, 1);
 *     wan_pipeline_noise(p, "philox");             // or wan_exchange_noise
 *     wan_pipeline_encode(p, dev);                 // or wan_exchange_text
 *     wan_pipeline_generate(p, dev, NULL);
 *     wan_pipeline_decode(p, dev, take, arg);
 *     wan_pipeline_close(&p);
 *
 * Phases are called in this order, each once, on the same device or on different ones: what goes
 * from one to the next is in host memory.  After an error only close may follow.
 *
 * On several ranks all call the same, with the same options; rank 0 has the text encoder, and alone
 * gets frames.
 */
#ifndef WAN_MODEL_PIPELINE_H
#define WAN_MODEL_PIPELINE_H

#include "lib/model/model.h"
#include "lib/model/sample/preview.h"
#include "lib/model/sample/sampler.h"
#include "lib/model/sample/share.h"
#include "lib/model/vae/vae.h"

typedef struct wan_pipeline_video {
    const char *prompt; /* borrowed, UTF-8 */
    int64_t T, h, w;    /* latent frames and sides: 4(T-1)+1 frames of 8h x 8w pixels; h, w even */
    uint64_t seed;      /* of its noise */
    float *text;        /* host [rows, text_dim]: encode or exchange; owned by the pipeline */
    int64_t rows;
    float *latent; /* host [C, T, h, w]: noise, after generate the result; owned likewise */
    int ready;     /* latent is the result already: generate leaves it alone */
} wan_pipeline_video;

/* Of guidance: as one pack, one after the other, or whichever pays: together where the largest video has at
 * most WAN_TOGETHER tokens.  Beyond, a product takes as long for two packs as for one of both, which needs
 * twice the memory. */
enum wan_passes { WAN_PASSES_AUTO = 0, WAN_PASSES_TOGETHER, WAN_PASSES_APART };
enum { WAN_TOGETHER = 8192 };

typedef struct wan_pipeline_options { /* strings are borrowed until close */
    const char *model;                /* folder in HuggingFace layout */
    const char *transformer;          /* training run, or folder with a transformer; NULL: model */
    int last;                         /* its weights, also where there is an average of them */
    int trusted;                      /* not held against the manifest of their checkpoint */
    int64_t iteration;                /* of the training run; -1: its latest */
    const char *text, *vae; /* folders with text_encoder and tokenizer, with vae; NULL: model */
    /* prompt that guidance leads away from; NULL: what the model was trained with in place of a
     * dropped caption, the empty prompt or no rows */
    const char *negative;
    const char *cache; /* folder of text rows that were made before (rowcache.h); NULL: none */
    wan_sampler_options sampler; /* as given; open resolves them.  guidance 1: one pass per call,
                                  * the negative prompt is unused */
    wan_dtype compute;           /* WAN_F32 or WAN_BF16: operands in transformer and text encoder */
    int eight; /* with WAN_BF16: products of the transformer's blocks in eight bits (linear8.h) */
    wan_dtype vae_compute;  /* and in the VAE */
    enum wan_passes passes; /* how the two of guidance are made on one rank */
    int graphs; /* passes are recorded where the device can (generate.h); not with offload or ranks */
    const char *
        ways; /* file of the ways of the transformer's products (ways.h): read; measured and written in
                       * front of the first video, on a GPU, where it is not there; NULL: none */
    int offload;    /* weights stay in host memory and come block by block (offload.h) */
    wan_comm *comm; /* several ranks work together, by `share`; NULL: this process alone */
    wan_share_options ranks;
} wan_pipeline_options;

typedef struct wan_pipeline {
    wan_pipeline_options o;
    wan_arch arch;
    wan_sizes z;
    wan_share *share;      /* NULL: alone */
    char *transformer;     /* folder found */
    char *weights;         /* ... or the average beside it, which has the same tensors */
    wan_pipeline_video *v; /* [n] */
    int n;
    float *negative; /* host [negative_rows, text_dim]; NULL without guidance */
    int64_t negative_rows;
    double loading; /* seconds that the weights of the transformer took */
    int decoded;    /* videos whose frames have been handed out: the first so many */
} wan_pipeline;

/* Sets h and w from "WIDTH*HEIGHT" in pixels, multiples of 16; T from a number of frames, 4n+1. */
int wan_pipeline_parse_size(wan_pipeline_video *v, const char *text) WAN_MUST_CHECK;
int wan_pipeline_parse_frames(wan_pipeline_video *v, const char *text) WAN_MUST_CHECK;

/* v: prompt, sizes and seed of n >= 1 videos (copied); latents are allocated.  Errors: no transformer, or
 * one that does not make videos from text alone; impossible sizes; out of memory. */
int wan_pipeline_open(wan_pipeline **out, const wan_pipeline_options *o,
                      const wan_pipeline_video *v, int n) WAN_MUST_CHECK;
void wan_pipeline_close(wan_pipeline **p);                /* NULL-safe; sets *p NULL */
int64_t wan_pipeline_count(const wan_pipeline *p, int i); /* elements of the latent of video i */

/* Whether the two passes of guidance are one pack. */
int wan_pipeline_together(const wan_pipeline *p);

/* Bytes that a rank's weights and activations of the transformer, with the kernels' work space, take for the
 * largest video; and what frames take in the VAE's decoder, beside its weights.  On a CPU (d) quantised weights
 * stay as they are. */
int wan_pipeline_bytes(const wan_pipeline *p, const wan_dev *d, double *weights, double *work)
    WAN_MUST_CHECK;
int wan_pipeline_vae_bytes(const wan_pipeline *p, wan_dev *d, double *bytes) WAN_MUST_CHECK;
/* What the layers of the text encoder take that are on a device at once; 0: there is none to be seen. */
double wan_pipeline_text_bytes(const wan_pipeline *p, wan_dev *d);

/* Every part of the model is there with the tensors and sizes that it must have, so that what does
 * not fit, or is too large for the device, is known before the hours of work; no weights are read.  text: also tokenizer and text
 * encoder (0: the rows come from elsewhere). */
int wan_pipeline_check(const wan_pipeline *p, wan_dev *d, int text) WAN_MUST_CHECK;

/* Videos of one seed start from the same stream of numbers, so that a prompt gives the same video
 * alone and in a list.  rng: "philox", or "torch-cpu": those of torch.randn on the CPU. */
void wan_pipeline_noise(wan_pipeline *p, const char *rng);

/* Whether guidance leads away from no rows at all, which is what without_text then sets. */
int wan_pipeline_guides_from_nothing(const wan_pipeline *p);
int wan_pipeline_without_text(wan_pipeline *p) WAN_MUST_CHECK;

/* The map from latents to colours, of the pipeline's VAE (preview.h), for what is shown meanwhile. */
int wan_pipeline_preview(const wan_pipeline *p, wan_dev *d, wan_preview *map) WAN_MUST_CHECK;

/* The pipeline's VAE on d, with the weights of `parts` (vae.h); 0: none, everything is checked all the same. */
int wan_pipeline_vae(wan_vae **vae, const wan_pipeline *p, wan_dev *d, int parts) WAN_MUST_CHECK;

/* Cleans and tokenises the prompts and runs the text encoder over all of them at once. */
int wan_pipeline_encode(wan_pipeline *p, wan_dev *d) WAN_MUST_CHECK;

/* After step `step` (from 0) of video i, `seconds` after its start.  Host [C, T, h, w] where they are
 * wanted, else NULL: the latent; the clean one that the step points to.  A negative return stops. */
typedef int wan_pipeline_step(void *arg, int i, int step, double seconds, const float *latent,
                              const float *clean);
/* Video i has its latent.  A negative return stops. */
typedef int wan_pipeline_made(void *arg, int i);
/* Frames first .. first+n of video i: rgb U8 [n, 8h, 8w, 3], valid during the call.  Videos and frames
 * come in order, every frame once.  A negative return stops. */
typedef int wan_pipeline_take(void *arg, int i, const uint8_t *rgb, int64_t first, int64_t n);
typedef struct wan_pipeline_watch {
    wan_pipeline_step *on_step;
    wan_pipeline_made *on_made; /* may be NULL */
    void *arg;
    int want_latent, want_clean;
    /* what decode will be given: on a GPU with memory for both, frames of a video already come while the next one is
     * sampled (beside.h), between two steps.  NULL: never */
    wan_pipeline_take *take;
    void *take_arg;
} wan_pipeline_watch;

/* Noise to latents, video by video; keys and values of a prompt's rows are computed once.  watch may
 * be NULL.  Noise, rows or latents that are not finite are an error. */
int wan_pipeline_generate(wan_pipeline *p, wan_dev *d, const wan_pipeline_watch *watch)
    WAN_MUST_CHECK;

/* Of the videos that generate has not handed out already. */
int wan_pipeline_decode(wan_pipeline *p, wan_dev *d, wan_pipeline_take *take, void *arg)
    WAN_MUST_CHECK;

#endif
