/* SPDX-License-Identifier: Apache-2.0
 *
 * noise.c - reference noise and patches of a latent.
 */
#include "kernels/noise.h"

#include "kernels/rows.h"

/* What one task works with: two rows of the latent are one row of patches. */
typedef struct strip {
    wan_real *in, *target; /* [w/2, 4 C]; target may be NULL */
    wan_real *eps;         /* [2, w] of one channel */
    float *drawn;          /* [2, w] */
} strip;

/* Row y of channel c of frame t: into its columns of both outputs.  e: the noise of it. */
static void latent_row(const wan_noise *a, const strip *p, const wan_real *x0, const wan_real *e,
                       int64_t c, int64_t t, int64_t y)
{
    int64_t at = ((c * a->T + t) * a->h + y) * a->w, F = 4 * a->C;
    int64_t from = wan_patch_feature(c, y % 2, 0, a->C, a->in_order);
    int64_t to = wan_patch_feature(c, y % 2, 0, a->C, a->target_order);
    int64_t next = wan_patch_feature(0, 0, 1, a->C, a->in_order);
    int64_t next_to = wan_patch_feature(0, 0, 1, a->C, a->target_order);
    wan_real in[2] = { (wan_real)a->in[0], (wan_real)a->in[1] };
    wan_real target[2] = { (wan_real)a->target[0], (wan_real)a->target[1] };
    for (int64_t x = 0; x < a->w; x++)
        p->in[x / 2 * F + from + x % 2 * next] = in[0] * x0[at + x] + in[1] * e[x];
    for (int64_t x = 0; p->target && x < a->w; x++)
        p->target[x / 2 * F + to + x % 2 * next_to] = target[0] * x0[at + x] + target[1] * e[x];
}

/* Rows y and y + 1. */
static void latent_rows(const wan_noise *a, const strip *p, const wan_real *x0, const wan_real *eps,
                        const wan_rng *stream, int64_t c, int64_t t, int64_t y)
{
    int64_t at = ((c * a->T + t) * a->h + y) * a->w;
    if (!eps) {
        wan_rng_normal(stream, p->drawn, (uint64_t)at, 2 * (size_t)a->w);
        for (int64_t x = 0; x < 2 * a->w; x++)
            p->eps[x] = p->drawn[x];
    }
    for (int64_t i = 0; i < 2; i++)
        latent_row(a, p, x0, (eps ? eps + at : p->eps) + i * a->w, c, t, y + i);
}

int wan_noise_patch_c(wan_dev *d, const wan_noise *a, wan_buf rows, wan_real *target,
                      const wan_real *x0, const wan_real *eps, const wan_rng *stream)
{
    WAN_ROWS_CHECK("noise_patch", rows);
    if (a->h % 2 || a->w % 2)
        return wan_err("noise_patch: latent %lld x %lld is not even", (long long)a->h,
                       (long long)a->w);
    int64_t strips = a->T * (a->h / 2), n = a->w / 2 * 4 * a->C, mine = n + 4 * a->w;
    wan_real *tmp = wan_rows_scratch(d, mine);
    if (!tmp)
        return -1;
#pragma omp parallel for if (strips * n > WAN_ROWS_PARALLEL)
    for (int64_t s = 0; s < strips; s++) {
        wan_real *t = wan_rows_mine(tmp, mine);
        strip p = { wan_row_open(rows, s * n, t), target ? target + s * n : NULL, t + n,
                    (float *)(t + n + 2 * a->w) };
        for (int64_t c = 0; c < a->C; c++)
            latent_rows(a, &p, x0, eps, stream, c, s / (a->h / 2), s % (a->h / 2) * 2);
        wan_row_close(rows, s * n, n, p.in);
    }
    return 0;
}
