/* SPDX-License-Identifier: Apache-2.0
 *
 * exchange.c - noise, text rows and latents from and to safetensors files.
 */
#include "lib/model/sample/exchange.h"

#include <inttypes.h>
#include <stdio.h>

#include "lib/base/file.h"

/* NAME, or NAME.i where there are several videos. */
static void indexed(char *out, size_t size, const wan_pipeline *p, const char *name, int i)
{
    if (p->n == 1)
        snprintf(out, size, "%s", name);
    else
        snprintf(out, size, "%s.%d", name, i);
}

int wan_exchange_videos(int *n, const char *path)
{
    wan_st *st;
    char name[32];
    WAN_TRY(wan_st_open(&st, path));
    for (*n = 0;; ++*n) {
        snprintf(name, sizeof name, "text.%d", *n);
        if (!wan_st_find(st, name))
            break;
    }
    if (*n == 0)
        *n = 1;
    wan_st_close(&st);
    return 0;
}

int wan_exchange_noise(wan_pipeline *p, const char *path)
{
    wan_st *st;
    char name[32];
    int rc = 0;
    WAN_TRY(wan_st_open(&st, path));
    for (int i = 0; i < p->n && rc == 0; i++) {
        wan_pipeline_video *v = &p->v[i];
        const int64_t shape[4] = { p->z.in_channels, v->T, v->h, v->w };
        indexed(name, sizeof name, p, "noise", i);
        rc = wan_st_load(st, name, shape, 4, v->latent, WAN_F32);
    }
    wan_st_close(&st);
    return rc;
}

static int read_rows(float **rows, int64_t *n, const wan_pipeline *p, const char *path, wan_st *st,
                     const char *name)
{
    const wan_st_tensor *t = wan_st_find(st, name);
    if (!t || t->rank != 2 || t->shape[0] < 1 || t->shape[1] != p->z.text_dim)
        return wan_err("%s: tensor %s: missing or not [rows, %" PRId64 "]", path, name,
                       p->z.text_dim);
    if (t->shape[0] > p->z.text_len)
        return wan_err("%s: tensor %s: %" PRId64 " rows, at most %" PRId64, path, name, t->shape[0],
                       p->z.text_len);
    *n = t->shape[0];
    *rows = wan_malloc((size_t)t->count, sizeof **rows, name);
    return *rows ? wan_st_load(st, name, t->shape, 2, *rows, WAN_F32) : -1;
}

int wan_exchange_text(wan_pipeline *p, const char *path)
{
    wan_st *st;
    char name[32];
    int rc = 0;
    WAN_TRY(wan_st_open(&st, path));
    for (int i = 0; i < p->n && rc == 0; i++) {
        indexed(name, sizeof name, p, "text", i);
        rc = read_rows(&p->v[i].text, &p->v[i].rows, p, path, st, name);
    }
    if (rc == 0 && p->o.sampler.guidance != 1 && !wan_st_find(st, "negative") &&
        wan_pipeline_guides_from_nothing(p))
        rc = wan_pipeline_without_text(p);
    else if (rc == 0 && p->o.sampler.guidance != 1)
        rc = read_rows(&p->negative, &p->negative_rows, p, path, st, "negative");
    wan_st_close(&st);
    return rc;
}

static int declare_latent(wan_st_writer *w, const char *name, const wan_pipeline *p, int i)
{
    const wan_pipeline_video *v = &p->v[i];
    const int64_t shape[4] = { p->z.in_channels, v->T, v->h, v->w };
    return wan_st_declare(w, name, WAN_F32, shape, 4);
}

int wan_exchange_latents(const wan_pipeline *p, const char *path)
{
    wan_st_writer *w;
    char name[32];
    int rc = 0;
    WAN_TRY(wan_st_create(&w, path));
    for (int i = 0; i < p->n && rc == 0; i++) {
        indexed(name, sizeof name, p, "latents", i);
        rc = declare_latent(w, name, p, i);
    }
    for (int i = 0; i < p->n && rc == 0; i++) {
        indexed(name, sizeof name, p, "latents", i);
        rc = wan_st_put(w, name, p->v[i].latent, WAN_F32);
    }
    if (rc == 0)
        rc = wan_st_finish(&w);
    wan_st_abandon(&w);
    return rc;
}

static void step_name(char *out, size_t size, const wan_pipeline *p, int video, int step)
{
    char base[32];
    indexed(base, sizeof base, p, "latents", video);
    snprintf(out, size, "%s.%02d", base, step);
}

int wan_exchange_steps_open(wan_st_writer **w, const wan_pipeline *p, const char *path)
{
    WAN_TRY(wan_st_create(w, path));
    int rc = 0;
    for (int i = 0; i < p->n && rc == 0; i++)
        for (int s = 0; s < p->o.sampler.steps && rc == 0; s++) {
            char name[64];
            step_name(name, sizeof name, p, i, s);
            rc = declare_latent(*w, name, p, i);
        }
    if (rc < 0)
        wan_st_abandon(w);
    return rc;
}

int wan_exchange_step(wan_st_writer *w, const wan_pipeline *p, int video, int step,
                      const float *latent)
{
    char name[64];
    step_name(name, sizeof name, p, video, step);
    return wan_st_put(w, name, latent, WAN_F32);
}
