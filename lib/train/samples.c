/* SPDX-License-Identifier: Apache-2.0
 *
 * samples.c - before the steps: which samples, how large, what text (samples.h).
 */
#include "lib/train/samples.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/model/files/modelfolder.h"
#include "lib/model/files/manifest.h"
#include "lib/model/text/prompt.h"
#include "lib/model/vae/vae.h"
#include "lib/rec/tensor/safetensors.h"

/* Buffers of a call, in latents: noise, rows, two answers, and the solver's own. */
enum { BUFFERS = 10 };

/* ---- what is wanted */

static int set_size(const wan_train *t, wan_pipeline_video *v, const wan_wish *w)
{
    const wan_train_config *c = &t->c->v;
    const int64_t *first = wan_feed_info(t->feed, 0)->latent; /* that of the first sample */
    char number[32];
    v->T = first[1];
    v->h = first[2];
    v->w = first[3];
    snprintf(number, sizeof number, "%lld", (long long)c->sample_frames);
    if (w->size || *c->sample_size)
        WAN_TRY(wan_pipeline_parse_size(v, w->size ? w->size : c->sample_size));
    if (w->frames || c->sample_frames)
        WAN_TRY(wan_pipeline_parse_frames(v, w->frames ? w->frames : number));
    return 0;
}

static int set_video(wan_train *t, int i)
{
    wan_samples *s = t->videos;
    wan_pipeline_video *v = &s->v[i];
    const wan_wish *w = &s->wishes.v[i];
    int64_t grid[3], count;
    v->prompt = w->prompt;
    v->seed = (uint64_t)(w->seed >= 0 ? w->seed : t->c->v.sample_seed);
    WAN_TRY(set_size(t, v, w));
    const int64_t latent[4] = { t->z.in_channels, v->T, v->h, v->w };
    WAN_TRY(wan_model_grid(grid, &t->z, latent));
    WAN_TRY(wan_shape_count(&count, latent, 4));
    s->most = count > s->most ? count : s->most;
    v->latent = wan_malloc((size_t)count, sizeof *v->latent, "latent of a sample");
    return v->latent ? 0 : -1;
}

static int set_videos(wan_train *t)
{
    wan_samples *s = t->videos;
    WAN_TRY(wan_wishes_read(&s->wishes, t->c->v.sample_prompts));
    s->v = wan_calloc((size_t)s->wishes.n, sizeof *s->v, "list of samples");
    if (!s->v)
        return -1;
    s->n = s->wishes.n;
    for (int i = 0; i < s->n; i++)
        if (set_video(t, i) < 0)
            return wan_err_prefix("%s: prompt %d", t->c->v.sample_prompts, i + 1);
    return 0;
}

static int set_sampler(wan_train *t)
{
    const wan_train_config *c = &t->c->v;
    t->videos->sampler = (wan_sampler_options){ .steps = (int)c->sample_steps,
                                                .guidance = c->sample_guidance,
                                                .guided = c->sample_guidance >= 0 };
    return wan_sampler_resolve(&t->videos->sampler, t->arch.model->objective);
}

/* What the samples need beside the model is there. */
static int find_parts(wan_train *t)
{
    const wan_train_config *c = &t->c->v;
    if (!*c->sample_prompts)
        return wan_err("no train.sample_prompts, a file with a prompt on each line");
    if (!*c->save)
        return wan_err("the pictures go beside the checkpoints, and checkpoint.save is empty");
    if (!*c->components)
        return wan_err("no model.components, a folder with vae, text_encoder and tokenizer");
    t->videos->folder = wan_path_join(c->save, "samples");
    t->videos->vae = wan_model_part(c->components, "vae");
    return t->videos->folder && t->videos->vae ? 0 : -1;
}

static int open_all(wan_train *t)
{
    wan_dev *d = NULL;
    WAN_TRY(find_parts(t));
    WAN_TRY(set_sampler(t));
    WAN_TRY(set_videos(t));
    WAN_TRY(wan_dev_open(&d, "cpu", 0));
    int rc = wan_samples_plan(t, d);
    wan_dev_close(&d);
    return rc;
}

int wan_samples_open(wan_train *t)
{
    if (!t->c->v.sample_interval || t->opt.rehearse)
        return 0;
    t->videos = wan_calloc(1, sizeof *t->videos, "samples");
    if (!t->videos)
        return -1;
    return open_all(t) < 0 ? wan_err_prefix("train.sample_interval") : 0;
}

void wan_samples_close(wan_train *t)
{
    wan_samples *s = t->videos;
    if (!s)
        return;
    for (int i = 0; i < s->n; i++) {
        free(s->v[i].text);
        free(s->v[i].latent);
    }
    free(s->v);
    free(s->negative);
    free(s->folder);
    free(s->vae);
    wan_wishes_free(&s->wishes);
    free(s);
    t->videos = NULL;
}

/* ---- room */

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

void wan_samples_capacity(const wan_train *t, wan_capacity *cap)
{
    const wan_samples *s = t->videos;
    if (!s)
        return;
    cap->tokens = larger(cap->tokens, s->most / t->z.in_width);
    cap->text_rows = larger(cap->text_rows, t->z.text_len + 1);
}

/* Bytes of the decoder in float32. */
static int decoder_bytes(int64_t *bytes, const char *dir)
{
    wan_st *st;
    *bytes = 0;
    WAN_TRY(wan_st_open(&st, dir));
    for (size_t i = 0; i < wan_st_count(st); i++) {
        const wan_st_tensor *x = wan_st_at(st, i);
        if (strncmp(x->name, "encoder.", 8))
            *bytes += x->count * (int64_t)sizeof(wan_real);
    }
    wan_st_close(&st);
    return 0;
}

int wan_samples_plan(wan_train *t, wan_dev *d)
{
    wan_samples *s = t->videos;
    wan_vae *vae;
    int64_t work = 0, weights = 0, one = 0;
    if (t->c->v.verify)
        WAN_TRY(wan_manifest_check_part(s->vae, 0, 1));
    WAN_TRY(decoder_bytes(&weights, s->vae));
    WAN_TRY(wan_vae_open(&vae, d, s->vae, 0, WAN_F32));
    for (int i = 0; i < s->n && one >= 0; i++) {
        one = wan_vae_decode_bytes(vae, s->v[i].h, s->v[i].w);
        work = larger(work, one);
    }
    int rc = one < 0 ? -1
             : wan_vae_channels(vae) == t->z.in_channels
                 ? 0
                 : wan_err("%s: %d latent channels, the model has %d", s->vae,
                           wan_vae_channels(vae), t->z.in_channels);
    wan_vae_close(&vae);
    s->bytes = work + weights + BUFFERS * s->most * (int64_t)sizeof(wan_real);
    return rc;
}

/* ---- text */

/* The prompts and, where guidance needs one, the empty prompt, last. */
static int encode(wan_train *t, const wan_prompt_encoder *e, int empty)
{
    wan_samples *s = t->videos;
    const int count = s->n + empty;
    const char **text = wan_calloc((size_t)count, sizeof *text, "prompts");
    float **rows = wan_calloc((size_t)count, sizeof *rows, "prompts");
    int64_t *n = wan_calloc((size_t)count, sizeof *n, "prompts");
    int rc = text && rows && n ? 0 : -1;
    for (int i = 0; rc == 0 && i < count; i++)
        text[i] = i < s->n ? s->v[i].prompt : "";
    if (rc == 0)
        rc = wan_prompt_encode(rows, n, text, count, e);
    for (int i = 0; rc == 0 && i < count; i++) {
        *(i < s->n ? &s->v[i].text : &s->negative) = rows[i];
        *(i < s->n ? &s->v[i].rows : &s->negative_rows) = n[i];
    }
    free(text);
    free(rows);
    free(n);
    return rc;
}

static int encode_here(wan_train *t, int empty)
{
    const char *from = t->c->v.components;
    char *encoder = wan_model_part(from, "text_encoder");
    char *tokenizer = encoder ? wan_model_part(from, "tokenizer") : NULL;
    const wan_prompt_encoder e = { t->dev,         encoder,       tokenizer,
                                   t->opt.compute, t->z.text_dim, t->z.text_len };
    int rc = tokenizer ? 0 : -1;
    if (rc == 0 && t->c->v.verify)
        rc = wan_manifest_check_part(encoder, 0, 1) < 0 ? -1
                                                        : wan_manifest_check_part(tokenizer, 0, 1);
    if (rc == 0)
        rc = encode(t, &e, empty);
    free(encoder);
    free(tokenizer);
    return rc < 0 ? wan_err_prefix("train.sample_interval") : 0;
}

/* Rows that rank 0 has, to all. */
static int spread(wan_train *t, float **rows, int64_t *n)
{
    wan_group *world = wan_group_world(t->comm);
    WAN_TRY(wan_group_broadcast(world, NULL, n, 1, WAN_I64, 0));
    const size_t count = (size_t)(*n * t->z.text_dim);
    if (!*rows && !(*rows = wan_malloc(count + 1, sizeof **rows, "text rows")))
        return -1;
    return wan_group_broadcast(world, NULL, *rows, count, WAN_F32, 0);
}

int wan_samples_start(wan_train *t)
{
    wan_samples *s = t->videos;
    if (!s)
        return 0;
    const int guided = s->sampler.guidance != 1;
    const int empty = guided && !t->arch.model->text_dropped;
    WAN_TRY(wan_train_settle(t, t->comm->rank ? 0 : encode_here(t, empty)));
    for (int i = 0; i < s->n; i++)
        WAN_TRY(spread(t, &s->v[i].text, &s->v[i].rows));
    return guided ? spread(t, &s->negative, &s->negative_rows) : 0;
}
