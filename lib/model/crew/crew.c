/* SPDX-License-Identifier: Apache-2.0
 *
 * crew.c - see crew.h.
 *
 * Rank 0 sends a head of HEAD numbers, what is to be done first, and the operands; the answer is a head
 * whose first number is the length of a sentence (0: done), then the sentence or the results.
 */
#include "lib/model/crew/crew.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/log.h"

enum { HEAD = 5, END = 0, CLIP, TOGETHER, TEXTS };

/* Results of one rank's captions. */
typedef struct answer {
    int32_t *ids;
    float *rows;
} answer;

struct wan_crew {
    wan_crew_options o;
    wan_group *g;
    wan_vae *vae;
    int channels; /* of its latents, once it has been open */
    wan_captions *captions;
    answer *answer; /* [ranks] */
};

/* ---- parts of the model; the VAE goes and comes between windows of captions */

static int need_vae(wan_crew *c)
{
    if (c->vae)
        return 0;
    char *dir = wan_path_join(c->o.model, "vae");
    int parts = c->o.decode ? WAN_VAE_DECODER : WAN_VAE_ENCODER;
    int rc = dir ? wan_vae_open(&c->vae, c->o.dev, dir, parts, c->o.vae_compute) : -1;
    free(dir);
    if (rc == 0) {
        c->channels = wan_vae_channels(c->vae);
        wan_vae_tile(c->vae, c->o.tiling);
    }
    return rc;
}

static int need_captions(wan_crew *c)
{
    return c->captions ? 0 : wan_captions_open(&c->captions, c->o.dev, c->o.model, c->o.compute);
}

int wan_crew_open(wan_crew **out, const wan_crew_options *o)
{
    wan_crew *c = *out = wan_calloc(1, sizeof *c, "ranks");
    if (!c)
        return -1;
    c->o = *o;
    c->g = wan_group_world(o->comm);
    c->answer = wan_calloc((size_t)c->g->size, sizeof *c->answer, "ranks");
    if (!c->answer || (o->clips && need_vae(c) < 0) || (o->texts && need_captions(c) < 0))
        return -1;
    return 0;
}

static void forget(answer *a)
{
    free(a->ids);
    free(a->rows);
    *a = (answer){ 0 };
}

int wan_crew_close(wan_crew **pc)
{
    wan_crew *c = pc ? *pc : NULL;
    const int64_t head[HEAD] = { END };
    int rc = 0;
    if (!c)
        return 0;
    for (int r = 1; r < c->g->size && c->g->rank == 0 && rc == 0; r++)
        rc = wan_group_send(c->g, NULL, head, HEAD, WAN_I64, r, 0);
    for (int r = 0; r < c->g->size && c->answer; r++)
        forget(&c->answer[r]);
    free(c->answer);
    wan_captions_close(&c->captions);
    wan_vae_close(&c->vae);
    free(c);
    *pc = NULL;
    return rc;
}

int wan_crew_ranks(const wan_crew *c)
{
    return c->g->size;
}

int wan_crew_channels(wan_crew *c)
{
    return !c->channels && need_vae(c) < 0 ? -1 : c->channels;
}

int64_t wan_crew_width(wan_crew *c)
{
    return need_captions(c) < 0 ? -1 : wan_captions_width(c->captions);
}

/* ---- the wire */

static int send(wan_crew *c, const void *x, int64_t n, wan_dtype t, int to)
{
    return n ? wan_group_send(c->g, NULL, x, (size_t)n, t, to, 0) : 0;
}

static int recv(wan_crew *c, void *x, int64_t n, wan_dtype t, int from)
{
    return n ? wan_group_recv(c->g, NULL, x, (size_t)n, t, from, 0) : 0;
}

/* A worker's head: done, or the sentence of what has failed. */
static int send_outcome(wan_crew *c, int rc, int64_t ids, int64_t rows)
{
    const char *why = rc < 0 ? wan_err_text() : "";
    const int64_t head[HEAD] = { (int64_t)strlen(why), ids, rows };
    WAN_TRY(send(c, head, HEAD, WAN_I64, 0));
    return send(c, why, head[0], WAN_U8, 0);
}

/* *why: NULL, or the sentence (malloc). */
static int recv_outcome(wan_crew *c, int from, int64_t head[HEAD], char **why)
{
    *why = NULL;
    WAN_TRY(recv(c, head, HEAD, WAN_I64, from));
    if (head[0] == 0)
        return 0;
    *why = wan_calloc((size_t)head[0] + 1, 1, "a sentence");
    return *why ? recv(c, *why, head[0], WAN_U8, from) : -1;
}

/* ---- clips */

static int64_t pixels(const wan_crew_clip *v)
{
    return 3 * v->T * v->H * v->W;
}

static int64_t latents(const wan_crew *c, const wan_crew_clip *v)
{
    return c->channels * (1 + (v->T - 1) / 4) * (v->H / 8) * (v->W / 8);
}

/* Frames as the decoder hands them out. */
typedef struct taker {
    const wan_crew *c;
    const wan_crew_clip *v;
    int64_t done;
} taker;

static int take_frames(void *arg, const uint8_t *rgb, const float *unused, int64_t n, int64_t H,
                       int64_t W)
{
    taker *t = arg;
    (void)unused;
    if (t->done + n > t->v->T || H != t->v->H || W != t->v->W)
        WAN_BUG("the VAE decoder made more frames than it should");
    memcpy(t->v->rgb + (size_t)(t->done * H * W * 3), rgb, (size_t)(n * H * W * 3));
    t->done += n;
    if (t->c->o.on_frames && t->c->g->rank == 0)
        t->c->o.on_frames(t->done, t->v->T);
    return 0;
}

static int work(wan_crew *c, const wan_crew_clip *v)
{
    taker t = { c, v, 0 };
    WAN_TRY(need_vae(c));
    if (c->o.sample)
        return wan_vae_encode_sample(c->vae, v->latent, v->rgb, v->T, v->H, v->W, v->seed);
    if (!c->o.decode)
        return wan_vae_encode(c->vae, v->latent, v->rgb, v->T, v->H, v->W, 0);
    return wan_vae_decode(c->vae, v->latent, 1 + (v->T - 1) / 4, v->H / 8, v->W / 8, take_frames,
                          &t);
}

/* Operands of a clip, or its results, to or from rank r. */
static int pass(wan_crew *c, const wan_crew_clip *v, int r, int result, int sending)
{
    if (c->o.decode != result)
        return sending ? send(c, v->latent, latents(c, v), WAN_F32, r)
                       : recv(c, v->latent, latents(c, v), WAN_F32, r);
    return sending ? send(c, v->rgb, pixels(v), WAN_U8, r) : recv(c, v->rgb, pixels(v), WAN_U8, r);
}

/* One clip by all ranks, a band of rows each. */
static int work_together(wan_crew *c, wan_crew_clip *v)
{
    if (c->o.decode)
        WAN_TRY(wan_group_broadcast(c->g, NULL, v->latent, (size_t)latents(c, v), WAN_F32, 0));
    else
        WAN_TRY(wan_group_broadcast(c->g, NULL, v->rgb, (size_t)pixels(v), WAN_U8, 0));
    WAN_TRY(wan_vae_share(c->vae, c->g));
    WAN_TRY(work(c, v));
    return wan_vae_share(c->vae, NULL);
}

/* Bands change no byte on a CPU; elsewhere a convolution may add up otherwise for other sizes. */
static int can_share(const wan_crew *c, const wan_crew_clip *v)
{
    return !c->o.tiling && c->o.dev->kind == WAN_DEV_CPU && v->T % 4 == 1 && v->H % 8 == 0 &&
           v->W % 8 == 0 && v->H / 8 >= c->g->size;
}

static int serve_clip(wan_crew *c, const int64_t *head)
{
    wan_crew_clip v = { .T = head[1], .H = head[2], .W = head[3], .seed = (uint64_t)head[4] };
    WAN_TRY(need_vae(c));
    v.rgb = wan_malloc((size_t)pixels(&v), 1, "frames");
    v.latent = wan_malloc((size_t)latents(c, &v), sizeof *v.latent, "latent");
    int rc = v.rgb && v.latent ? 0 : -1;
    if (rc == 0)
        rc = head[0] == TOGETHER ? work_together(c, &v) : pass(c, &v, 0, 0, 0);
    if (rc == 0 && head[0] == CLIP) {
        int done = work(c, &v);
        rc = send_outcome(c, done, 0, 0);
        if (rc == 0 && done == 0)
            rc = pass(c, &v, 0, 1, 1);
    }
    free(v.rgb);
    free(v.latent);
    return rc;
}

/* Clips of a round, one for each rank: the others' go out, ours is done, theirs come back. */
static int round_of(wan_crew *c, wan_crew_clip *const *v, int n)
{
    for (int r = 1; r < n; r++) {
        const int64_t head[HEAD] = { CLIP, v[r]->T, v[r]->H, v[r]->W, (int64_t)v[r]->seed };
        WAN_TRY(send(c, head, HEAD, WAN_I64, r));
        WAN_TRY(pass(c, v[r], r, 0, 1));
    }
    if (work(c, v[0]) < 0 && !(v[0]->why = strdup(wan_err_text())))
        return wan_err("out of memory");
    for (int r = 1; r < n; r++) {
        int64_t head[HEAD];
        WAN_TRY(recv_outcome(c, r, head, &v[r]->why));
        if (!v[r]->why)
            WAN_TRY(pass(c, v[r], r, 1, 0));
    }
    return 0;
}

static int together(wan_crew *c, wan_crew_clip *v)
{
    const int64_t head[HEAD] = { TOGETHER, v->T, v->H, v->W, (int64_t)v->seed };
    wan_verbose("a clip in bands of rows on %d ranks", c->g->size);
    for (int r = 1; r < c->g->size; r++)
        WAN_TRY(send(c, head, HEAD, WAN_I64, r));
    return work_together(c, v);
}

static int by_size(const void *a, const void *b)
{
    const wan_crew_clip *x = *(wan_crew_clip *const *)a, *y = *(wan_crew_clip *const *)b;
    int64_t n = pixels(x), m = pixels(y);
    return n < m ? 1 : n > m ? -1 : x < y ? -1 : 1;
}

int wan_crew_clips(wan_crew *c, wan_crew_clip *v, int n)
{
    wan_crew_clip **order = wan_malloc((size_t)n, sizeof *order, "clips");
    int rc = order ? need_vae(c) : -1;
    for (int i = 0; order && i < n; i++)
        order[i] = &v[i];
    if (rc == 0)
        qsort(order, (size_t)n, sizeof(wan_crew_clip *), by_size); /* rounds of like clips */
    for (int i = 0, k; i < n && rc == 0; i += k) {
        k = n - i < c->g->size ? n - i : c->g->size;
        if (2 * k <= c->g->size && can_share(c, order[i])) {
            k = 1;
            rc = together(c, order[i]);
        } else {
            rc = round_of(c, order + i, k);
        }
    }
    free(order);
    return rc;
}

/* ---- captions */

static int encode_texts(wan_crew *c, wan_caption_rows *out, const char *const *text, int n)
{
    WAN_TRY(need_captions(c));
    if (wan_captions_missing(c->captions, text, n))
        wan_vae_close(&c->vae); /* its buffers and the encoder's weights need not meet */
    return wan_captions_encode(c->captions, out, text, n);
}

static int send_rows(wan_crew *c, const wan_caption_rows *v, int n)
{
    int64_t width = wan_captions_width(c->captions), all = 0;
    for (int i = 0; i < n; i++)
        all += v[i].n;
    WAN_TRY(send_outcome(c, 0, all, all * width));
    for (int i = 0; i < n; i++) {
        const int64_t len[2] = { v[i].n, v[i].dropped };
        WAN_TRY(send(c, len, 2, WAN_I64, 0));
        WAN_TRY(send(c, v[i].ids, v[i].n, WAN_I32, 0));
        WAN_TRY(send(c, v[i].rows, v[i].n * width, WAN_F32, 0));
    }
    return 0;
}

static int serve_texts(wan_crew *c, const int64_t *head)
{
    size_t n = (size_t)head[1], bytes = (size_t)head[2];
    char *blob = wan_malloc(bytes, 1, "captions");
    const char **text = wan_malloc(n, sizeof *text, "captions");
    wan_caption_rows *v = wan_malloc(n, sizeof *v, "captions");
    int rc = blob && text && v ? recv(c, blob, head[2], WAN_U8, 0) : -1;
    for (size_t i = 0, at = 0; rc == 0 && i < n; i++, at += strlen(blob + at) + 1)
        text[i] = blob + at;
    if (rc == 0)
        rc = encode_texts(c, v, text, (int)n) < 0 ? send_outcome(c, -1, 0, 0)
                                                  : send_rows(c, v, (int)n);
    free(blob);
    free(text);
    free(v);
    return rc;
}

static int give_texts(wan_crew *c, const char *const *text, int n, int r)
{
    int64_t bytes = 0, at = 0;
    for (int i = 0; i < n; i++)
        bytes += (int64_t)strlen(text[i]) + 1;
    char *blob = wan_malloc((size_t)bytes, 1, "captions");
    if (!blob)
        return -1;
    for (int i = 0; i < n; i++) {
        size_t len = strlen(text[i]) + 1;
        memcpy(blob + at, text[i], len);
        at += (int64_t)len;
    }
    const int64_t head[HEAD] = { TEXTS, n, bytes };
    int rc = send(c, head, HEAD, WAN_I64, r);
    if (rc == 0)
        rc = send(c, blob, bytes, WAN_U8, r);
    free(blob);
    return rc;
}

static int take_rows(wan_crew *c, wan_caption_rows *out, int n, int r)
{
    answer *a = &c->answer[r];
    int64_t head[HEAD], ids = 0, rows = 0, width = wan_captions_width(c->captions);
    char *why;
    WAN_TRY(recv_outcome(c, r, head, &why));
    if (why) {
        wan_err("%s", why);
        free(why);
        return -1;
    }
    a->ids = wan_malloc((size_t)head[1], sizeof *a->ids, "captions");
    a->rows = wan_malloc((size_t)head[2], sizeof *a->rows, "captions");
    if (!a->ids || !a->rows)
        return -1;
    for (int i = 0; i < n; i++) {
        int64_t len[2];
        WAN_TRY(recv(c, len, 2, WAN_I64, r));
        out[i] = (wan_caption_rows){ a->ids + ids, a->rows + rows, len[0], len[1] };
        WAN_TRY(recv(c, a->ids + ids, len[0], WAN_I32, r));
        WAN_TRY(recv(c, a->rows + rows, len[0] * width, WAN_F32, r));
        ids += len[0];
        rows += len[0] * width;
    }
    return 0;
}

int wan_crew_captions(wan_crew *c, wan_caption_rows *out, const char *const *text, int n,
                      int window)
{
    int first = n < window ? n : window;
    for (int r = 1; r < c->g->size; r++)
        forget(&c->answer[r]);
    for (int at = window, r = 1; at < n; at += window, r++)
        WAN_TRY(give_texts(c, text + at, n - at < window ? n - at : window, r));
    WAN_TRY(encode_texts(c, out, text, first));
    for (int at = window, r = 1; at < n; at += window, r++)
        WAN_TRY(take_rows(c, out + at, n - at < window ? n - at : window, r));
    return 0;
}

int wan_crew_serve(wan_crew *c)
{
    for (;;) {
        int64_t head[HEAD];
        WAN_TRY(recv(c, head, HEAD, WAN_I64, 0));
        if (head[0] == END)
            return 0;
        WAN_TRY(head[0] == TEXTS ? serve_texts(c, head) : serve_clip(c, head));
    }
}
