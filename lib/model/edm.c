/* SPDX-License-Identifier: Apache-2.0
 *
 * edm.c - see edm.h.
 */
#include "lib/model/edm.h"

#include <math.h>

#include "lib/base/normal.h"
#include "lib/base/rng.h"

wan_edm_scaling wan_edm_scale(double sigma)
{
    double d = WAN_EDM_DATA, r = sqrt(sigma * sigma + d * d);
    return (wan_edm_scaling){
        .skip = d * d / (r * r), .out = sigma * d / r, .in = 1 / r, .noise = log(sigma) / 4
    };
}

static int check(const void *settings)
{
    const wan_edm *e = settings;
    if (!(e->std > 0))
        return wan_err("edm.p_std must be positive");
    if (!(e->dropout >= 0 && e->dropout <= 1))
        return wan_err("edm.cfg_dropout_prob must be within [0, 1]");
    return 0;
}

/* Tenths of the distribution of sigma. */
static int bin_of(const wan_edm *e, double sigma)
{
    int bin = (int)(wan_normal_cdf((log(sigma) - e->mean) / e->std) * WAN_SIGMA_BINS);
    return bin < WAN_SIGMA_BINS ? bin : WAN_SIGMA_BINS - 1;
}

static wan_draw at_sigma(const void *settings, float level)
{
    double sigma = (double)level;
    wan_edm_scaling c = wan_edm_scale(sigma);
    return (wan_draw){ .sigma = level,
                       .t = (float)c.noise,
                       .in = { c.in * WAN_EDM_DATA, c.in * sigma },
                       .target = { c.in * sigma, -c.in * WAN_EDM_DATA },
                       .weight = 1,
                       .bin = bin_of(settings, sigma) };
}

static wan_draw draw(const void *settings, const wan_draw_at *at)
{
    const wan_edm *e = settings;
    wan_rng level = wan_rng_stream(at->seed, WAN_RNG_SIGMA, at->step, at->position);
    wan_rng coin = wan_rng_stream(at->seed, WAN_RNG_DROPOUT, at->step, at->position);
    double p = wan_rng_uniform(&level, 1);
    if (e->stratify || at->eval)
        p = ((double)at->index + p) / (double)at->batch;
    p = fmin(fmax(p, 1e-7), 1 - 1e-7); /* never the ends exactly */
    wan_draw out = at_sigma(e, (float)exp(e->mean + e->std * wan_normal_quantile(p)));
    out.drop = !at->eval && wan_rng_uniform(&coin, 0) < e->dropout;
    return out;
}

static const wan_field fields[] = {
    { "edm.p_mean", offsetof(wan_edm, mean), WAN_FIELD_REAL },
    { "edm.p_std", offsetof(wan_edm, std), WAN_FIELD_REAL },
    { "edm.cfg_dropout_prob", offsetof(wan_edm, dropout), WAN_FIELD_REAL },
    { "edm.stratify", offsetof(wan_edm, stratify), WAN_FIELD_INT },
    { NULL, 0, WAN_FIELD_INT },
};

const wan_objective wan_edm_objective = { .name = "edm",
                                          .size = sizeof(wan_edm),
                                          .fields = fields,
                                          .check = check,
                                          .draw = draw,
                                          .at_sigma = at_sigma };
