/* SPDX-License-Identifier: Apache-2.0
 *
 * beside.c - see beside.h.
 */
#include "lib/model/sample/beside.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/base/file.h"
#include "lib/base/log.h"

struct wan_beside {
    const wan_pipeline *p;
    wan_dev *d;
    wan_vae *vae;
    wan_pipeline_take *take;
    void *arg;
    wan_vae_frames *now; /* of video `done`; NULL: none has begun */
    int done;
    int64_t frames; /* of it, handed out */
};

/* What is left for frames once the sampler has taken all that it will. */
static int fits(const wan_pipeline *p, wan_dev *d, wan_vae *vae, double sampler)
{
    size_t available, total;
    double most = 0;
    for (int i = 0; i < p->n; i++) {
        const double one = (double)wan_vae_decode_bytes(vae, p->v[i].h, p->v[i].w);
        if (one < 0)
            return 0;
        most = one > most ? one : most;
    }
    return d->backend->memory(d, &available, &total) == 0 &&
           sampler + most + WAN_BESIDE_WORK <= (double)available;
}

static int build(wan_beside *b, const wan_dev *d, wan_beside_vae *vae, double sampler)
{
    char name[32];
    snprintf(name, sizeof name, "cuda:%d", d->index);
    WAN_TRY(wan_dev_open(&b->d, name, d->flags));
    WAN_TRY(vae(&b->vae, b->p, b->d, WAN_VAE_DECODER));
    return fits(b->p, b->d, b->vae, sampler) ? 0 : wan_err("no memory is left for frames");
}

int wan_beside_may(const wan_pipeline *p, const wan_dev *d)
{
    return d->kind == WAN_DEV_CUDA && p->n > 1 && !p->share;
}

int wan_beside_open(wan_beside **out, const wan_pipeline *p, const wan_dev *d, wan_beside_vae *vae,
                    double sampler, wan_pipeline_take *take, void *arg)
{
    *out = NULL;
    if (!wan_beside_may(p, d))
        return 0;
    wan_beside *b = *out = wan_calloc(1, sizeof *b, "frames");
    if (!b)
        return -1;
    *b = (wan_beside){ .p = p, .take = take, .arg = arg };
    if (build(b, d, vae, sampler) == 0) {
        wan_verbose("videos are decoded while the next ones are sampled");
        return 0;
    }
    wan_verbose("videos are decoded after the last one is sampled: %s", wan_err_text());
    wan_beside_close(out);
    return 0;
}

void wan_beside_close(wan_beside **pb)
{
    wan_beside *b = *pb;
    if (!b)
        return;
    wan_vae_frames_close(&b->now);
    wan_vae_close(&b->vae);
    wan_dev_close(&b->d);
    free(b);
    *pb = NULL;
}

static int put_frames(void *arg, const uint8_t *rgb, const float *pixels, int64_t n, int64_t H,
                      int64_t W)
{
    wan_beside *b = arg;
    (void)pixels, (void)H, (void)W;
    const int64_t first = b->frames;
    b->frames += n;
    return b->take(b->arg, b->done, rgb, first, n);
}

/* One more piece of the video that is next. */
static int step(wan_beside *b)
{
    const wan_pipeline_video *v = &b->p->v[b->done];
    if (!b->now) {
        b->frames = 0;
        WAN_TRY(wan_vae_frames_open(&b->now, b->vae, v->latent, v->T, v->h, v->w, put_frames, b));
    }
    const int more = wan_vae_frames_next(b->now);
    if (more)
        return more < 0 ? -1 : 0;
    wan_vae_frames_close(&b->now);
    b->done++;
    return 0;
}

int wan_beside_go(wan_beside *b, int i, int all)
{
    while (b && b->done < i) {
        WAN_TRY(step(b));
        if (!all)
            break;
    }
    return 0;
}

int wan_beside_begun(const wan_beside *b)
{
    return b ? b->done + (b->now != NULL) : 0;
}

int wan_beside_done(const wan_beside *b)
{
    return b ? b->done : 0;
}
