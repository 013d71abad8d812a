/* SPDX-License-Identifier: Apache-2.0
 *
 * keep.c - see keep.h.
 */
#include "lib/model/sample/keep.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/sha256.h"
#include "lib/model/files/modeldigest.h"
#include "lib/rec/tensor/safetensors.h"

/* "dir/.name.latent" for "dir/name".  It needs no memory, so that what there is can always be removed. */
static int path_of(char path[PATH_MAX], const char *video)
{
    const char *slash = strrchr(video, '/');
    const int head = slash ? (int)(slash + 1 - video) : 0;
    int n = snprintf(path, PATH_MAX, "%.*s.%s.latent", head, video, video + head);
    return n >= 0 && n < PATH_MAX ? 0 : wan_err("%s: a name too long", video);
}

static void add_text(wan_sha256 *s, const char *text)
{
    wan_sha256_add(s, text ? text : "", text ? strlen(text) + 1 : 0);
    wan_sha256_add(s, "", 1);
}

static int digest(char hex[65], const wan_pipeline *p, int i, const char *rng)
{
    const wan_pipeline_video *v = &p->v[i];
    const wan_sampler_options *o = &p->o.sampler;
    const int64_t numbers[] = { v->T,     v->h,
                                v->w,     (int64_t)v->seed,
                                o->steps, (int64_t)p->o.compute + 256 * p->o.eight };
    const double reals[] = { o->guidance, o->shift, o->sigma_min, o->sigma_max, o->rho };
    wan_sha256 s;
    wan_sha256_init(&s);
    add_text(&s, v->prompt);
    add_text(&s, p->o.negative);
    add_text(&s, rng);
    add_text(&s, o->solver);
    add_text(&s, o->schedule);
    add_text(&s, p->o.model);
    add_text(&s, p->o.text);
    wan_sha256_add(&s, numbers, sizeof numbers);
    wan_sha256_add(&s, reals, sizeof reals);
    WAN_TRY(wan_modeldigest_stamp(&s, p->transformer));
    WAN_TRY(wan_modeldigest_stamp(&s, p->weights)); /* the average, or not */
    wan_sha256_hex(&s, hex);
    return 0;
}

int wan_keep_write(const wan_pipeline *p, int i, const char *video, const char *rng)
{
    const wan_pipeline_video *v = &p->v[i];
    const int64_t shape[4] = { p->z.in_channels, v->T, v->h, v->w };
    char hex[65], path[PATH_MAX];
    wan_st_writer *w = NULL;
    WAN_TRY(path_of(path, video));
    int rc = digest(hex, p, i, rng);
    if (rc == 0)
        rc = wan_st_create(&w, path);
    if (rc == 0)
        rc = wan_st_set_metadata(w, "made_of", hex);
    if (rc == 0)
        rc = wan_st_declare(w, "latents", WAN_F32, shape, 4);
    if (rc == 0)
        rc = wan_st_put(w, "latents", v->latent, WAN_F32);
    if (rc == 0)
        rc = wan_st_finish(&w);
    wan_st_abandon(&w);
    return rc;
}

int wan_keep_read(wan_pipeline *p, int i, const char *video, const char *rng)
{
    const wan_pipeline_video *v = &p->v[i];
    const int64_t shape[4] = { p->z.in_channels, v->T, v->h, v->w };
    char hex[65], path[PATH_MAX];
    wan_st *st = NULL;
    int found = 0, rc = path_of(path, video);
    if (rc == 0 && wan_exists(path)) {
        rc = digest(hex, p, i, rng);
        if (rc == 0)
            rc = wan_st_open(&st, path);
        const char *made =
            rc == 0 ? json_string_value(json_object_get(wan_st_metadata(st), "made_of")) : NULL;
        found = made && !strcmp(made, hex);
        if (found)
            rc = wan_st_load(st, "latents", shape, 4, v->latent, WAN_F32);
    }
    wan_st_close(&st);
    return rc < 0 ? -1 : found;
}

void wan_keep_drop(const char *video)
{
    char path[PATH_MAX];
    if (path_of(path, video) == 0) /* else there was none */
        wan_remove_file(path);
}
