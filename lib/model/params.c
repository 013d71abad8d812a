/* SPDX-License-Identifier: Apache-2.0
 *
 * params.c - see params.h.
 */
#include "lib/model/params.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/linear8.h"
#include "lib/base/rng.h"

int wan_params_add(wan_params *p, const wan_param *one)
{
    if ((p->n & (p->n - 1)) == 0) { /* grow at powers of two */
        size_t room = p->n ? 2 * (size_t)p->n : 1;
        wan_param *v = realloc(p->v, room * sizeof *v);
        if (!v)
            return wan_err("out of memory (parameter table of %d entries)", p->n + 1);
        p->v = v;
    }
    if (one->part < 0 || (p->n && one->part < p->v[p->n - 1].part))
        WAN_BUG("parameter %s of part %d comes after part %d", one->name, one->part,
                p->n ? p->v[p->n - 1].part : 0);
    wan_param *q = &p->v[p->n++];
    *q = *one;
    q->count = 1;
    for (int i = 0; i < q->rank; i++)
        q->count *= q->shape[i];
    if (q->unit < 1)
        q->unit = 1;
    p->count += q->count;
    if (q->part >= p->parts)
        p->parts = q->part + 1;
    return 0;
}

int wan_params_find(const wan_params *p, const char *name)
{
    for (int i = 0; i < p->n; i++)
        if (strcmp(p->v[i].name, name) == 0)
            return i;
    return -1;
}

void wan_params_free(wan_params *p)
{
    free(p->v);
    *p = (wan_params){ 0 };
}

/* ---- initial values */

enum { CHUNK = 1 << 14 }; /* elements per task; numbers are named by index, so any cut will do */

static void normal(const wan_rng *r, float *v, int64_t first, int64_t n, double std)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i += CHUNK) {
        int64_t end = i + CHUNK < n ? i + CHUNK : n;
        wan_rng_normal(r, v + i, (uint64_t)(first + i), (size_t)(end - i));
        for (int64_t j = i; j < end; j++)
            v[j] = (float)(v[j] * std);
    }
}

static void uniform(const wan_rng *r, float *v, int64_t first, int64_t n, double bound)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++)
        v[i] = (float)((2 * wan_rng_uniform(r, (uint64_t)(first + i)) - 1) * bound);
}

static void constant(float *v, int64_t n, float value)
{
    for (int64_t i = 0; i < n; i++)
        v[i] = value;
}

/* FNV-1a: a stream of its own for every name. */
static uint64_t hash(const char *s)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    while (*s)
        h = (h ^ (unsigned char)*s++) * UINT64_C(0x100000001b3);
    return h;
}

void wan_params_init(const wan_param *q, uint64_t seed, int64_t first, int64_t n, float *v)
{
    wan_rng r = wan_rng_stream(seed, WAN_RNG_INIT, hash(q->name), 0);
    double fan_out = (double)q->shape[0], fan_in = (double)q->count / fan_out;
    switch (q->init) {
    case WAN_INIT_ZERO: constant(v, n, 0); break;
    case WAN_INIT_ONE: constant(v, n, 1); break;
    case WAN_INIT_NORMAL: normal(&r, v, first, n, q->scale); break;
    case WAN_INIT_UNIFORM: uniform(&r, v, first, n, q->scale); break;
    case WAN_INIT_XAVIER: uniform(&r, v, first, n, sqrt(6 / (fan_in + fan_out))); break;
    }
}

int64_t wan_params_aside(const wan_params *p, int64_t tokens)
{
    int64_t most = 0;
    for (int i = 0; i < p->n; i++) {
        const wan_param *q = &p->v[i];
        if (!q->eight)
            continue;
        const int64_t K = q->shape[1], N = q->shape[0];
        const int joined = q->role == WAN_ROLE_COLUMN && N == K ? 3 : 1;
        const int64_t bytes = (int64_t)wan_linear8_bytes(tokens, joined * N, K);
        most = bytes > most ? bytes : most;
    }
    return most;
}
