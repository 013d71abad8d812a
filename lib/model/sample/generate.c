/* SPDX-License-Identifier: Apache-2.0
 *
 * generate.c - the sampling loop (wan-model(7), Guidance): two passes per call, guidance and
 * solver steps in float32 on the device.
 */
#include "lib/model/sample/generate.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"

/* A pass that is made again and again on the same memory. */
typedef struct pass {
    int made;       /* so often */
    wan_tape *tape; /* of the second one; NULL: none yet */
} pass;

/* Device buffers of one run; n elements each, of rows and pred for each pass that is made at once. */
typedef struct run {
    wan_store *w;
    wan_acts *a;
    wan_dev *d;
    wan_sizes z;
    const wan_generate_options *o;
    int64_t n, latent[4], grid[2][3];
    int packed;                  /* passes made at once: 2 with options.together */
    int64_t tokens, first, held; /* of the whole; those that are computed here */
    wan_real *x, *rows, *pred;
    wan_real *v, *vu; /* the answers of both passes; vu follows v */
    wan_real *clean;  /* NULL: not wanted */
    float *shown;     /* host [n]: the same */
    wan_sampler *s;
    pass pass[2]; /* under either prompt, or one of both */
} run;

static wan_real *take(run *r, int answers)
{
    return wan_dev_alloc(r->d, (size_t)(answers * r->n) * sizeof *r->x, "latent");
}

/* Which of the tokens are computed here. */
static int share(run *r)
{
    wan_share *s = r->o->share;
    r->held = r->tokens;
    if (!s)
        return 0;
    r->held = wan_share_tokens(s, r->tokens, &r->first);
    return s->cp ? wan_cp_set(s->cp, &r->tokens, 1) : 0;
}

static int run_open(run *r, const wan_arch *arch, const wan_generate_options *o, int guided)
{
    wan_model_sizes(&r->z, arch);
    if (r->z.in_channels != r->z.out_channels)
        return wan_err("transformer: %d channels in, %d out: not a text-to-video model",
                       r->z.in_channels, r->z.out_channels);
    const int64_t latent[4] = { r->z.in_channels, o->T, o->h, o->w };
    r->tokens = wan_model_grid(r->grid[0], &r->z, latent);
    WAN_TRY(r->tokens);
    memcpy(r->grid[1], r->grid[0], sizeof r->grid[1]);
    memcpy(r->latent, latent, sizeof latent);
    r->o = o;
    r->n = r->tokens * r->z.in_width;
    r->x = take(r, 1);
    r->packed = o->together ? 2 : 1;
    r->rows = take(r, r->packed);
    r->pred = take(r, r->packed);
    r->v = take(r, guided || o->together ? 2 : 1);
    if (!r->x || !r->rows || !r->pred || !r->v)
        return -1;
    if (o->want_clean) {
        r->clean = take(r, 1);
        r->shown = wan_malloc((size_t)r->n, sizeof *r->shown, "preview");
        if (!r->clean || !r->shown)
            return -1;
    }
    r->vu = r->v + r->n;
    WAN_TRY(share(r));
    return wan_sampler_new(&r->s, r->d, arch->model->objective, &o->sampler, r->n);
}

static void run_close(run *r)
{
    wan_dev *d = r->d;
    for (int i = 0; i < 2; i++)
        wan_dev_unrecord(d, &r->pass[i].tape);
    wan_sampler_free(&r->s);
    wan_dev_free(d, r->x);
    wan_dev_free(d, r->rows);
    wan_dev_free(d, r->pred);
    wan_dev_free(d, r->v);
    wan_dev_free(d, r->clean);
    free(r->shown);
}

/* The model on what has been filled in, and its n answers as latents, one after the other from v. */
static int ask_model(run *r, wan_real *v, int n)
{
    const int64_t *l = r->latent;
    WAN_TRY(wan_model_forward(r->a, r->w, 0, r->z.parts, NULL));
    if (r->o->share)
        WAN_TRY(wan_share_rows(r->o->share, r->pred, r->tokens, r->z.out_width));
    for (int i = 0; i < n; i++)
        WAN_TRY(r->d->ops->unpatchify(r->d, v + i * r->n, WAN_RBUF(r->pred + i * r->n), l[0], l[1],
                                      l[2], l[3], r->z.out_order));
    return 0;
}

/* The same from a tape, once work space has grown to what the first pass takes. */
static int again(run *r, pass *p, wan_real *v, int n)
{
    if (!r->o->graphs || !p->made++)
        return ask_model(r, v, n);
    if (!p->tape) {
        WAN_TRY(wan_dev_record(r->d));
        const int rc = ask_model(r, v, n);
        WAN_TRY(wan_dev_recorded(r->d, rc < 0 ? NULL : &p->tape));
    }
    return wan_dev_replay(r->d, p->tape);
}

/* v = the answer at r->rows and time t under one prompt. */
static int under(run *r, wan_real *v, wan_real t, const wan_context *ctx)
{
    const int part = r->held < r->tokens;
    wan_micro in = { .n = 1,
                     .grid = (const int64_t(*)[3])r->grid,
                     .first = part ? &r->first : NULL,
                     .tokens = part ? &r->held : NULL,
                     .rows = WAN_RBUF(r->rows + r->first * r->z.in_width),
                     .t = &t };
    WAN_TRY(wan_model_fill(r->a, &in, ctx));
    r->a->pred = r->pred + r->first * r->z.out_width;
    return again(r, &r->pass[v == r->vu], v, 1);
}

/* r->v and r->vu = the answers at r->rows and time t under both prompts of ctx, from one pack. */
static int under_both(run *r, wan_real t, const wan_context *ctx)
{
    const wan_real twice[2] = { t, t };
    wan_micro in = {
        .n = 2, .grid = (const int64_t(*)[3])r->grid, .rows = WAN_RBUF(r->rows), .t = twice
    };
    WAN_TRY(wan_dev_copy(r->d, r->rows + r->n, r->rows, (size_t)r->n * sizeof *r->rows));
    WAN_TRY(wan_model_fill(r->a, &in, ctx));
    r->a->pred = r->pred;
    return again(r, &r->pass[0], r->v, 2);
}

/* The answers under either prompt, on this rank or brought from another. */
static int under_each(run *r, wan_real t, const wan_context *cond, const wan_context *uncond)
{
    wan_share *s = r->o->share;
    const int apart = s && s->passes == 2;
    if (!apart || s->pass == 0)
        WAN_TRY(under(r, r->v, t, cond));
    if (!apart || s->pass == 1)
        WAN_TRY(under(r, r->vu, t, uncond));
    return apart ? wan_share_answers(s, r->v, r->n) : 0;
}

/* r->v = the guided answer to what the sampler asks. */
static int call_model(run *r, int i, int call, const wan_context *cond, const wan_context *uncond)
{
    const int64_t *l = r->latent;
    const double g = r->o->sampler.guidance;
    wan_dev *d = r->d;
    const wan_real *in;
    double t;
    WAN_TRY(wan_sampler_ask(r->s, i, call, r->x, &in, &t));
    WAN_TRY(d->ops->patchify(d, WAN_RBUF(r->rows), in, l[0], l[1], l[2], l[3], r->z.in_order));
    if (!uncond && !r->o->together)
        return under(r, r->v, (wan_real)t, cond);
    const double c[2] = { g, 1 - g };
    const wan_real *both[2] = { r->v, r->vu };
    WAN_TRY(r->o->together ? under_both(r, (wan_real)t, cond)
                           : under_each(r, (wan_real)t, cond, uncond));
    return d->ops->lincomb(d, r->v, 2, c, both, r->n);
}

static int one_step(run *r, int i, const wan_context *cond, const wan_context *uncond)
{
    for (int call = 0; call < wan_sampler_calls(r->s, i); call++) {
        WAN_TRY(call_model(r, i, call, cond, uncond));
        if (r->clean && call == 0)
            WAN_TRY(wan_sampler_clean(r->s, i, r->x, r->v, r->clean));
        WAN_TRY(wan_sampler_answer(r->s, i, call, r->x, r->v));
    }
    return 0;
}

/* A sample x as a latent on the host. */
static int fetch(run *r, float *latent, const wan_real *x)
{
    if (sizeof(wan_real) != sizeof(float))
        return wan_err("sampling is done in float");
    WAN_TRY(wan_dev_read(r->d, latent, x, (size_t)r->n * sizeof(float)));
    const float unit = (float)wan_sampler_unit(r->s);
    for (int64_t i = 0; i < r->n && unit != 1; i++)
        latent[i] *= unit;
    return 0;
}

static int check_finite(const run *r, const float *latent, int step)
{
    for (int64_t i = 0; i < r->n; i++)
        if (!isfinite(latent[i]))
            return wan_err("the latent is not finite after step %d of %d", step,
                           r->o->sampler.steps);
    return 0;
}

/* What one call of the model asks of the device, and nothing comes of it. */
static int try_once(run *r, const float *latent, const wan_context *cond, const wan_context *uncond)
{
    WAN_TRY(wan_dev_write(r->d, r->x, latent, (size_t)r->n * sizeof(float)));
    WAN_TRY(wan_sampler_start(r->s, r->x));
    return call_model(r, 0, 0, cond, uncond);
}

static int loop(run *r, float *latent, const wan_context *cond, const wan_context *uncond)
{
    const wan_generate_options *o = r->o;
    WAN_TRY(wan_dev_write(r->d, r->x, latent, (size_t)r->n * sizeof(float)));
    WAN_TRY(wan_sampler_start(r->s, r->x));
    for (int i = 0; i < o->sampler.steps; i++) {
        WAN_TRY(one_step(r, i, cond, uncond));
        if (o->want_latent || i == 0)
            WAN_TRY(fetch(r, latent, r->x));
        if (r->clean)
            WAN_TRY(fetch(r, r->shown, r->clean));
        if (i == 0) /* broken weights show at once, not after hours */
            WAN_TRY(check_finite(r, latent, 1));
        if (o->on_step)
            WAN_TRY(o->on_step(o->arg, i, o->want_latent ? latent : NULL, r->shown));
    }
    WAN_TRY(fetch(r, latent, r->x));
    return check_finite(r, latent, o->sampler.steps);
}

int wan_generate(wan_store *w, wan_acts *a, const wan_arch *arch, const wan_generate_options *o,
                 float *latent, const wan_context *cond, const wan_context *uncond)
{
    run r = { .w = w, .a = a, .d = w->d };
    int rc = run_open(&r, arch, o, uncond != NULL);
    if (rc == 0 && o->trial)
        rc = try_once(&r, latent, cond, uncond);
    else if (rc == 0)
        rc = loop(&r, latent, cond, uncond);
    run_close(&r);
    return rc;
}
