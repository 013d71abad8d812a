/* SPDX-License-Identifier: Apache-2.0
 *
 * samples_make.c - noise to latents on all ranks, latents to a contact sheet on the first (samples.h).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/media/sheet.h"
#include "lib/model/vae/vae.h"
#include "lib/train/samples.h"

enum { COLUMNS = 8, TILE = 256 };

/* One video on its way. */
typedef struct run {
    wan_train *t;
    wan_dev *d;
    const wan_pipeline_video *v;
    wan_sampler *s;
    int64_t n, tokens, latent[4];
    int passes;
    wan_step_sample sample[2]; /* with the prompt, without */
    float *in, *rows[2];       /* host [n]: what the model is given; what it answers */
    wan_real *x, *out;         /* device [n] */
    wan_real *answer;          /* device [passes][n] */
} run;

/* ---- the model, as a micro-batch of training runs it */

static int load(void *arg, int64_t i, int seat)
{
    run *r = arg;
    return wan_step_load(r->t->step, &r->t->step->seat[seat], &r->sample[i], 1, 0);
}

/* The rows that are answered here to their place. */
static int keep_rows(run *r, int64_t i)
{
    const wan_train *t = r->t;
    const int64_t width = t->z.out_width;
    int64_t first = 0, held = wan_cp_share(&first, r->tokens, t->step->share, t->step->shares);
    return wan_dev_read(r->d, r->rows[i] + first * width, t->step->pred,
                        (size_t)(held * width) * sizeof(float));
}

static int forward(void *arg, int64_t i, int seat)
{
    run *r = arg;
    wan_train *t = r->t;
    wan_step_seat *q = &t->step->seat[seat];
    const wan_hooks none = { 0 };
    const wan_hooks hooks = t->fsdp ? wan_fsdp_hooks(t->fsdp, i == r->passes - 1) : none;
    WAN_TRY(wan_step_forward(t->step, q, 0, &hooks));
    return q->end == t->z.parts && wan_ranks_counts(&t->ranks) ? keep_rows(r, i) : 0;
}

static wan_acts *acts(void *arg, int seat)
{
    return ((const run *)arg)->t->step->seat[seat].acts;
}

/* What each rank has answered, put together; the rest of the rows is 0. */
static int gather(run *r, float *rows)
{
    wan_group *const *g = r->t->ranks.mesh.group;
    WAN_TRY(wan_group_all_reduce(g[WAN_PP_TP], NULL, rows, (size_t)r->n, WAN_F32, WAN_SUM));
    return wan_group_all_reduce(g[WAN_CP], NULL, rows, (size_t)r->n, WAN_F32, WAN_SUM);
}

/* The answers at r->in and time t, as latents. */
static int ask_model(run *r, double t)
{
    const int64_t *l = r->latent;
    const size_t bytes = (size_t)r->n * sizeof(float);
    const wan_pp_job job = { .micros = r->passes,
                             .rounds = r->passes,
                             .arg = r,
                             .load = load,
                             .forward = forward,
                             .acts = acts };
    for (int i = 0; i < r->passes; i++) {
        r->sample[i].draw.t = (float)t;
        memset(r->rows[i], 0, bytes);
    }
    WAN_TRY(wan_pp_run(r->t->ranks.pp, &job));
    for (int i = 0; i < r->passes; i++) {
        WAN_TRY(gather(r, r->rows[i]));
        WAN_TRY(wan_dev_write(r->d, r->out, r->rows[i], bytes));
        WAN_TRY(r->d->ops->unpatchify(r->d, r->answer + i * r->n, WAN_RBUF(r->out), l[0], l[1],
                                      l[2], l[3], r->t->z.out_order));
    }
    return 0;
}

/* ---- the solver */

static int one_call(run *r, int step, int call)
{
    const double g = r->t->videos->sampler.guidance, c[2] = { g, 1 - g };
    const wan_real *both[2] = { r->answer, r->answer + r->n }, *in;
    double t;
    WAN_TRY(wan_sampler_ask(r->s, step, call, r->x, &in, &t));
    WAN_TRY(wan_dev_read(r->d, r->in, in, (size_t)r->n * sizeof(float)));
    WAN_TRY(ask_model(r, t));
    if (r->passes == 2)
        WAN_TRY(r->d->ops->lincomb(r->d, r->answer, 2, c, both, r->n));
    return wan_sampler_answer(r->s, step, call, r->x, r->answer);
}

static int solve(run *r)
{
    const float unit = (float)wan_sampler_unit(r->s);
    wan_rng noise = wan_rng_stream(r->v->seed, WAN_RNG_SAMPLE, 0, 0);
    wan_rng_normal(&noise, r->v->latent, 0, (size_t)r->n);
    WAN_TRY(wan_dev_write(r->d, r->x, r->v->latent, (size_t)r->n * sizeof(float)));
    WAN_TRY(wan_sampler_start(r->s, r->x));
    for (int i = 0; i < r->t->videos->sampler.steps; i++)
        for (int call = 0; call < wan_sampler_calls(r->s, i); call++)
            WAN_TRY(one_call(r, i, call));
    WAN_TRY(wan_dev_read(r->d, r->v->latent, r->x, (size_t)r->n * sizeof(float)));
    for (int64_t i = 0; i < r->n && unit != 1; i++)
        r->v->latent[i] *= unit;
    return 0;
}

/* Pass i: with the prompt's rows, or with those that guidance leads away from. */
static wan_step_sample sample_of(const run *r, int i)
{
    const wan_samples *s = r->t->videos;
    wan_step_sample v = { .x0 = r->in,
                          .text = i ? s->negative : r->v->text,
                          .text_rows = i ? s->negative_rows : r->v->rows,
                          .draw = { .in = { 1, 0 }, .weight = 1 } };
    memcpy(v.latent, r->latent, sizeof v.latent);
    return v;
}

static int run_open(run *r)
{
    const wan_train *t = r->t;
    const int64_t latent[4] = { t->z.in_channels, r->v->T, r->v->h, r->v->w };
    int64_t grid[3];
    r->tokens = wan_model_grid(grid, &t->z, latent);
    WAN_TRY(r->tokens);
    memcpy(r->latent, latent, sizeof latent);
    r->n = r->tokens * t->z.in_width;
    r->passes = t->videos->sampler.guidance == 1 ? 1 : 2;
    const size_t n = (size_t)r->n, bytes = n * sizeof(wan_real);
    r->in = wan_malloc(3 * n, sizeof *r->in, "sample");
    r->x = wan_dev_alloc(r->d, bytes, "sample");
    r->out = wan_dev_alloc(r->d, bytes, "sample");
    r->answer = wan_dev_alloc(r->d, (size_t)r->passes * bytes, "sample");
    if (!r->in || !r->x || !r->out || !r->answer)
        return -1;
    for (int i = 0; i < r->passes; i++) {
        r->rows[i] = r->in + (size_t)(i + 1) * n;
        r->sample[i] = sample_of(r, i);
    }
    return wan_sampler_new(&r->s, r->d, t->arch.model->objective, &t->videos->sampler, r->n);
}

static int make_one(wan_train *t, wan_pipeline_video *v)
{
    run r = { .t = t, .d = t->dev, .v = v };
    int rc = run_open(&r);
    if (rc == 0)
        rc = solve(&r);
    wan_sampler_free(&r.s);
    wan_dev_free(r.d, r.x);
    wan_dev_free(r.d, r.out);
    wan_dev_free(r.d, r.answer);
    free(r.in);
    return rc;
}

/* The latents of all ranks to each.  The videos are dealt out in rounds; in the last of them, ranks that
 * have none left make the last one again, for the calls that they share with the others. */
static int make_all(wan_train *t)
{
    wan_samples *s = t->videos;
    const wan_mesh *m = &t->ranks.mesh;
    for (int from = 0; from < s->n; from += m->dp) {
        const int i = from + m->dp_rank;
        WAN_TRY(make_one(t, &s->v[i < s->n ? i : s->n - 1]));
    }
    for (int i = 0; i < s->n; i++) {
        const wan_pipeline_video *v = &s->v[i];
        const size_t n = (size_t)(t->z.in_channels * v->T * v->h * v->w);
        if (i % m->dp != m->dp_rank)
            memset(v->latent, 0, n * sizeof *v->latent);
        WAN_TRY(wan_group_all_reduce(m->group[WAN_DP], NULL, v->latent, n, WAN_F32, WAN_SUM));
    }
    return 0;
}

/* ---- pictures */

typedef struct frames {
    uint8_t *rgb;
    int64_t done, size; /* frames so far; bytes of one */
} frames;

static int put_frames(void *arg, const uint8_t *rgb, const float *pixels, int64_t n, int64_t H,
                      int64_t W)
{
    frames *f = arg;
    (void)pixels, (void)H, (void)W;
    memcpy(f->rgb + f->done * f->size, rgb, (size_t)(n * f->size));
    f->done += n;
    return 0;
}

static int add_row(wan_sheet *sheet, wan_vae *vae, const wan_pipeline_video *v, int64_t channels)
{
    const int64_t n = 4 * (v->T - 1) + 1, H = 8 * v->h, W = 8 * v->w;
    frames f = { .size = H * W * 3 };
    for (int64_t i = 0; i < channels * v->T * v->h * v->w; i++)
        if (!isfinite(v->latent[i]))
            return wan_err("its latent is not finite");
    f.rgb = wan_malloc((size_t)n, (size_t)f.size, "frames of a sample");
    int rc = f.rgb ? wan_vae_decode(vae, v->latent, v->T, v->h, v->w, put_frames, &f) : -1;
    if (rc == 0)
        rc = wan_sheet_add(sheet, f.rgb, n, H, W);
    free(f.rgb);
    return rc;
}

/* A row for each video that can be shown. */
static int fill_sheet(const wan_train *t, wan_sheet *sheet)
{
    const wan_samples *s = t->videos;
    wan_vae *vae;
    WAN_TRY(wan_vae_open(&vae, t->dev, s->vae, WAN_VAE_DECODER, WAN_F32));
    for (int i = 0; i < s->n; i++)
        if (add_row(sheet, vae, &s->v[i], t->z.in_channels) < 0)
            wan_warn("sample %d of step %lld is not shown: %s", i + 1, (long long)t->st.step,
                     wan_err_text());
    wan_vae_close(&vae);
    return 0;
}

static int tile_of(const wan_samples *s)
{
    int64_t tile = 0;
    for (int i = 0; i < s->n; i++)
        tile = 8 * s->v[i].h > tile ? 8 * s->v[i].h : tile;
    return (int)(tile < TILE ? tile : TILE);
}

static int write_sheet(const wan_train *t)
{
    const wan_samples *s = t->videos;
    wan_sheet *sheet;
    char name[40];
    snprintf(name, sizeof name, "iter_%07lld.png", (long long)t->st.step);
    char *path = wan_path_join(s->folder, name);
    WAN_TRY(wan_sheet_open(&sheet, s->n, COLUMNS, tile_of(s)));
    int rc = path ? fill_sheet(t, sheet) : -1;
    if (rc == 0)
        rc = wan_mkdirs(s->folder);
    if (rc == 0)
        rc = wan_sheet_write(sheet, path);
    if (rc == 0)
        wan_info("samples of step %lld in %s", (long long)t->st.step, path);
    wan_sheet_close(&sheet);
    free(path);
    return rc;
}

int wan_samples_make(wan_train *t)
{
    WAN_TRY(make_all(t));
    if (t->comm->rank == 0 && write_sheet(t) < 0)
        wan_warn("no samples of step %lld: %s", (long long)t->st.step, wan_err_text());
    return 0;
}
