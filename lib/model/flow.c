/* SPDX-License-Identifier: Apache-2.0
 *
 * flow.c - see flow.h.
 */
#include "lib/model/flow.h"

#include <math.h>
#include <string.h>

#include "lib/base/normal.h"
#include "lib/base/rng.h"

#define MODE_SCALE 1.29 /* wan-model(7), Sigma */

double wan_flow_sigma(const wan_flow *f, double u)
{
    return f->shift * u / (1 + (f->shift - 1) * u);
}

double wan_flow_u(const wan_flow *f, double sigma)
{
    return sigma / (f->shift - (f->shift - 1) * sigma);
}

double wan_flow_weight(const wan_flow *f, double sigma)
{
    return f->weighting ? 1 + f->shift * sigma : 1;
}

/* SD3's mode sampling maps v in [0,1] onto u, falling from 1 to 0. */
static double mode_map(double v)
{
    double c = cos(M_PI_2 * v);
    return 1 - v - MODE_SCALE * (c * c - 1 + v);
}

static double mode_inverse(double u)
{
    double lo = 0, hi = 1;
    for (int i = 0; i < 60; i++) {
        double mid = 0.5 * (lo + hi);
        if (mode_map(mid) > u)
            lo = mid;
        else
            hi = mid;
    }
    return 0.5 * (lo + hi);
}

static void logit_params(const wan_flow *f, double *mean, double *std)
{
    *mean = f->dist == WAN_FLOW_LOGIT_NORMAL ? f->logit_mean : 0;
    *std = f->dist == WAN_FLOW_LOGIT_NORMAL ? f->logit_std : 1;
}

double wan_flow_cdf(const wan_flow *f, double u)
{
    double mean, std;
    if (u <= 0)
        return 0;
    if (u >= 1)
        return 1;
    if (f->dist == WAN_FLOW_UNIFORM)
        return u;
    if (f->dist == WAN_FLOW_MODE)
        return 1 - mode_inverse(u);
    logit_params(f, &mean, &std);
    return wan_normal_cdf((log(u) - log1p(-u) - mean) / std);
}

double wan_flow_quantile(const wan_flow *f, double q)
{
    double mean, std;
    if (f->dist == WAN_FLOW_UNIFORM)
        return q;
    if (f->dist == WAN_FLOW_MODE)
        return mode_map(1 - q);
    logit_params(f, &mean, &std);
    return 1 / (1 + exp(-(mean + std * wan_normal_quantile(q))));
}

/* The cut in u, and the probability that each part of the mixture has inside it. */
static void cut_of(const wan_flow *f, double u[2], double q[2])
{
    u[0] = wan_flow_u(f, f->sigma_min);
    u[1] = wan_flow_u(f, f->sigma_max);
    q[0] = wan_flow_cdf(f, u[0]);
    q[1] = wan_flow_cdf(f, u[1]);
}

int wan_flow_check(const wan_flow *f)
{
    double u[2], q[2];
    if (!(f->shift > 0) || !(f->logit_std > 0))
        return wan_err("flow.shift and flow.logit_std must be positive");
    if (!(f->sigma_min >= 0 && f->sigma_min < f->sigma_max && f->sigma_max <= 1))
        return wan_err("flow: [sigma_min, sigma_max] = [%g, %g] is not a range within [0, 1]",
                       f->sigma_min, f->sigma_max);
    if (!(f->mix_uniform >= 0 && f->mix_uniform <= 1) || !(f->dropout >= 0 && f->dropout <= 1))
        return wan_err("flow: mix_uniform_ratio and cfg_dropout_prob must be within [0, 1]");
    cut_of(f, u, q);
    if (q[1] - q[0] < 1e-9 && f->mix_uniform == 0)
        return wan_err("flow: sigma is never within [%g, %g] with this distribution", f->sigma_min,
                       f->sigma_max);
    return 0;
}

static int bin_of(double sigma)
{
    int bin = (int)(sigma * WAN_SIGMA_BINS);
    return bin < WAN_SIGMA_BINS ? bin : WAN_SIGMA_BINS - 1;
}

static wan_draw at_sigma(const void *flow, float sigma)
{
    return (wan_draw){ .sigma = sigma,
                       .t = 1000 * sigma,
                       .in = { (double)(1 - sigma), (double)sigma },
                       .target = { -1, 1 },
                       .weight = wan_flow_weight(flow, (double)sigma),
                       .bin = bin_of((double)sigma) };
}

wan_draw wan_flow_draw(const void *flow, const wan_draw_at *at)
{
    wan_flow f = *(const wan_flow *)flow;
    wan_rng draw = wan_rng_stream(at->seed, WAN_RNG_SIGMA, at->step, at->position);
    wan_rng coin = wan_rng_stream(at->seed, WAN_RNG_DROPOUT, at->step, at->position);
    double cut[2], q[2];
    if (at->eval) { /* one sigma from each of B strata of the uniform distribution */
        f.dist = WAN_FLOW_UNIFORM;
        f.mix_uniform = f.dropout = 0;
        f.stratify = 1;
    }
    cut_of(&f, cut, q);
    double mass = (1 - f.mix_uniform) * (q[1] - q[0]), flat = f.mix_uniform * (cut[1] - cut[0]);
    double p = wan_rng_uniform(&draw, 1);
    if (f.stratify)
        p = ((double)at->index + p) / (double)at->batch;
    double u = wan_rng_uniform(&draw, 0) * (mass + flat) < flat
                   ? cut[0] + p * (cut[1] - cut[0])
                   : wan_flow_quantile(&f, q[0] + p * (q[1] - q[0]));
    double sigma = wan_flow_sigma(&f, fmin(fmax(u, 1e-7), 1 - 1e-7)); /* never the ends exactly */
    sigma = fmin(fmax(sigma, f.sigma_min), f.sigma_max);              /* rounding only */
    wan_draw out = at_sigma(&f, (float)sigma);
    out.t = (float)(1000 * sigma);
    out.weight = wan_flow_weight(&f, sigma);
    out.drop = wan_rng_uniform(&coin, 0) < f.dropout;
    return out;
}

static int check(const void *flow)
{
    return wan_flow_check(flow);
}

#define INT(name, field)                                                                           \
    {                                                                                              \
        name, offsetof(wan_flow, field), WAN_FIELD_INT                                             \
    }
#define REAL(name, field)                                                                          \
    {                                                                                              \
        name, offsetof(wan_flow, field), WAN_FIELD_REAL                                            \
    }
static const wan_field fields[] = {
    INT("flow.timestep_sampling", dist),
    REAL("flow.logit_mean", logit_mean),
    REAL("flow.logit_std", logit_std),
    REAL("flow.shift", shift),
    REAL("flow.mix_uniform_ratio", mix_uniform),
    REAL("flow.sigma_min", sigma_min),
    REAL("flow.sigma_max", sigma_max),
    REAL("flow.cfg_dropout_prob", dropout),
    INT("flow.use_loss_weighting", weighting),
    INT("flow.stratify", stratify),
    { NULL, 0, WAN_FIELD_INT },
};

const wan_objective wan_flow_objective = { .name = "flow",
                                           .size = sizeof(wan_flow),
                                           .fields = fields,
                                           .check = check,
                                           .draw = wan_flow_draw,
                                           .at_sigma = at_sigma };
