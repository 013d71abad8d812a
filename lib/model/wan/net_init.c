/* SPDX-License-Identifier: Apache-2.0
 *
 * net_init.c - random parameters as the official code makes them (wan-model(7), Initialisation):
 * Xavier-uniform dense layers, N(0, 0.02^2) text and time embeddings, N(0, 1/D) modulation tables,
 * zero head.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/rng.h"
#include "lib/model/wan/net_priv.h"

static int ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), k = strlen(end);
    return n >= k && strcmp(s + n - k, end) == 0;
}

enum { CHUNK = 1 << 14 }; /* elements per task; numbers are named by index, so any cut will do */

static void normal(const wan_rng *r, float *v, int64_t n, double std)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i += CHUNK) {
        int64_t end = i + CHUNK < n ? i + CHUNK : n;
        wan_rng_normal(r, v + i, (uint64_t)i, (size_t)(end - i));
        for (int64_t j = i; j < end; j++)
            v[j] = (float)(v[j] * std);
    }
}

static void uniform(const wan_rng *r, float *v, int64_t n, double bound)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++)
        v[i] = (float)((2 * wan_rng_uniform(r, (uint64_t)i) - 1) * bound);
}

static void constant(float *v, int64_t n, float value)
{
    for (int64_t i = 0; i < n; i++)
        v[i] = value;
}

static void fill(const wan_net_config *c, const wan_param *q, const wan_rng *r, float *v)
{
    const char *s = q->name;
    double fan_out = (double)q->shape[0], fan_in = (double)q->count / fan_out;
    if (ends_with(s, "scale_shift_table"))
        normal(r, v, q->count, 1 / sqrt((double)wan_net_width(c)));
    else if (strstr(s, "norm"))
        constant(v, q->count, ends_with(s, ".weight") ? 1 : 0);
    else if (strcmp(s, "patch_embedding.bias") == 0) /* the framework's default for a convolution */
        uniform(r, v, q->count, 1 / sqrt((double)c->in_ch * c->patch_h * c->patch_w));
    else if (ends_with(s, ".bias") || strcmp(s, "proj_out.weight") == 0)
        constant(v, q->count, 0);
    else if (strstr(s, "text_embedder") || strstr(s, "time_embedder"))
        normal(r, v, q->count, 0.02);
    else
        uniform(r, v, q->count, sqrt(6 / (fan_in + fan_out)));
}

int wan_net_init(wan_net *m, uint64_t seed)
{
    int rc = 0;
    for (int i = 0; i < m->params.n && rc == 0; i++) {
        const wan_param *q = &m->params.v[i];
        float *v = wan_malloc((size_t)q->count, sizeof *v, q->name);
        if (!v)
            return -1;
        wan_rng r = wan_rng_stream(seed, WAN_RNG_INIT, (uint64_t)i, 0);
        fill(&m->c, q, &r, v);
        rc = wan_net_set(m, i, v);
        free(v);
    }
    return rc;
}
