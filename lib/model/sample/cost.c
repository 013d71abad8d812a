/* SPDX-License-Identifier: Apache-2.0
 *
 * cost.c - see cost.h.
 */
#include "lib/model/sample/cost.h"

#include <inttypes.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/model/sample/beside.h"

enum { MOST_ROWS = 4096 };
static const double MEASURE = 0.5; /* seconds */

/* FLOP/s of y = x w^T with M rows and a square w of the width, after one that is not counted. */
static int time_product(double *rate, wan_dev *d, wan_buf x, wan_buf w, wan_buf y, int64_t M,
                        int64_t D)
{
    const wan_buf none = wan_buf_of(NULL, WAN_F32);
    double start = 0, now = 0;
    int64_t n = -1;
    for (; n < 1 || now - start < MEASURE; n++) {
        if (n == 0)
            start = wan_now();
        WAN_TRY(d->ops->linear_forward(d, y, none, x, w, NULL, M, D, D, WAN_ACT_NONE));
        WAN_TRY(wan_dev_sync(d));
        now = wan_now();
    }
    *rate = 2.0 * (double)n * (double)M * (double)D * (double)D / (now - start);
    return 0;
}

static int measure_rate(double *rate, wan_dev *d, wan_dtype compute, int64_t M, int64_t D)
{
    size_t size = wan_dtype_size(compute), rows = (size_t)(M * D) * size;
    void *x = wan_dev_alloc(d, rows, "a product"), *y = wan_dev_alloc(d, rows, "a product");
    void *w = wan_dev_alloc(d, (size_t)(D * D) * size, "a product");
    int rc = x && y && w ? 0 : -1;
    if (rc == 0)
        rc = wan_dev_zero(d, x, rows);
    if (rc == 0)
        rc = wan_dev_zero(d, w, (size_t)(D * D) * size);
    if (rc == 0)
        rc = time_product(rate, d, wan_buf_of(x, compute), wan_buf_of(w, compute),
                          wan_buf_of(y, compute), M, D);
    wan_dev_free(d, x);
    wan_dev_free(d, y);
    wan_dev_free(d, w);
    return rc;
}

static void add_video(wan_cost *c, const wan_pipeline *p, int i)
{
    const wan_pipeline_video *v = &p->v[i];
    int64_t tokens = v->T * (v->h / 2) * (v->w / 2);
    c->frames += 4 * (v->T - 1) + 1;
    c->tokens = tokens > c->tokens ? tokens : c->tokens;
    c->latents += (double)wan_pipeline_count(p, i) * sizeof *v->latent;
    c->flops += (double)c->calls * c->passes * p->arch.model->flops(p->arch.c, 1, &tokens);
}

int wan_cost_measure(wan_cost *c, const wan_pipeline *p, wan_dev *d)
{
    const wan_sampler_options *s = &p->o.sampler;
    size_t free_bytes, total;
    *c = (wan_cost){ .videos = p->n, .ranks = p->o.comm ? p->o.comm->size : 1 };
    c->passes = s->guidance == 1 ? 1 : 2;
    c->together = wan_pipeline_together(p);
    c->calls = s->solver && !strcmp(s->solver, "heun") ? 2 * s->steps - 1 : s->steps;
    for (int i = 0; i < p->n; i++)
        add_video(c, p, i);
    WAN_TRY(wan_pipeline_bytes(p, d, &c->weights, &c->work));
    WAN_TRY(wan_pipeline_vae_bytes(p, d, &c->vae));
    WAN_TRY(d->backend->memory(d, &free_bytes, &total));
    c->free_bytes = (double)free_bytes;
    c->total_bytes = (double)total;
    if (d->kind == WAN_DEV_CUDA)
        c->text = wan_pipeline_text_bytes(p, d);
    c->beside =
        wan_beside_may(p, d) && c->weights + c->work + c->vae + WAN_BESIDE_MORE <= c->free_bytes;
    int64_t rows = c->tokens < MOST_ROWS ? c->tokens : MOST_ROWS;
    return measure_rate(&c->rate, d, p->o.compute, rows, p->z.width);
}

static void print_time(double seconds, FILE *f)
{
    if (seconds < 120)
        fprintf(f, "%.3g s", seconds);
    else if (seconds < 7200)
        fprintf(f, "%.3g min", seconds / 60);
    else
        fprintf(f, "%.3g h", seconds / 3600);
}

void wan_cost_print(const wan_cost *c, FILE *f)
{
    const double need = c->weights + c->work, GiB = 0x1p30;
    fprintf(f, "videos       %" PRId64 ", %" PRId64 " frames, at most %" PRId64 " tokens\n",
            c->videos, c->frames, c->tokens);
    fprintf(f, "work         %d calls of %d pass%s%s a video: %.4g TFLOP in all\n", c->calls,
            c->passes, c->passes == 1 ? "" : "es", c->together ? " together" : "",
            c->flops * 1e-12);
    fprintf(f, "transformer  %.3f GiB: %.3f weights, %.3f activations and work space\n", need / GiB,
            c->weights / GiB, c->work / GiB);
    if (c->text > 0)
        fprintf(f, "text         %.3f GiB: two layers of the encoder at a time\n", c->text / GiB);
    fprintf(f, "VAE          %.3f GiB of frames beside its weights%s\n", c->vae / GiB,
            c->beside ? ", while the next video is sampled" : "");
    fprintf(f, "latents      %.3f GiB of host memory\n", c->latents / GiB);
    fprintf(f, "device       %.3f GiB free of %.3f\n", c->free_bytes / GiB, c->total_bytes / GiB);
    fprintf(f, "time         ");
    print_time(c->flops / (c->rate * c->ranks), f);
    fprintf(f, " in the transformer at %.3g TFLOP/s", c->rate * 1e-12);
    if (c->ranks > 1)
        fprintf(f, " on each of %d ranks", c->ranks);
    fprintf(f, ", which a product of its width reaches here; text and VAE come on top\n");
}
