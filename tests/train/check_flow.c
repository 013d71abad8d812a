/* SPDX-License-Identifier: Apache-2.0
 *
 * check_flow.c - the draws of flow matching: distributions against quantiles computed here, the cut,
 * the mixture, strata, dropout, and that every sample has its own numbers.
 */
#include "lib/model/flow.h"
#include "tests/tap.h"

#define N 40000

static wan_flow base(void)
{
    return (wan_flow){
        .dist = WAN_FLOW_UNIFORM, .logit_std = 1, .shift = 3, .sigma_max = 1, .weighting = 1
    };
}

static wan_draw draw(const wan_flow *f, uint64_t step, uint64_t position, int64_t index,
                     int64_t batch)
{
    const wan_draw_at at = { 1234, step, position, index, batch, 0 };
    return wan_flow_draw(f, &at);
}

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

/* N sigmas, sorted. */
static float *draws(const wan_flow *f)
{
    float *s = malloc(N * sizeof *s);
    for (int i = 0; i < N; i++)
        s[i] = draw(f, (uint64_t)i / 100, (uint64_t)i, i % 100, 100).sigma;
    qsort(s, N, sizeof *s, ascending);
    return s;
}

/* Largest distance between the draws' distribution and F at 99 quantiles (Kolmogorov-Smirnov; the
 * 0.1 % point for N draws is 1.95/sqrt(N) = 0.0098). */
static double distance(const float *s, double (*F)(const wan_flow *f, double sigma),
                       const wan_flow *f)
{
    double worst = 0;
    for (int i = 1; i < 100; i++)
        worst = worse(worst, fabs(F(f, s[N * i / 100]) - i / 100.0));
    return worst;
}

/* The distribution functions of sigma, written from the definitions of wan-model(7), Sigma. */
static double unshift(const wan_flow *f, double sigma)
{
    return 1 / (1 + f->shift * (1 / sigma - 1));
}

static double F_uniform(const wan_flow *f, double sigma)
{
    return unshift(f, sigma);
}

static double F_logit(const wan_flow *f, double sigma)
{
    double u = unshift(f, sigma);
    return 0.5 * (1 + erf((log(u / (1 - u)) - f->logit_mean) / f->logit_std / sqrt(2)));
}

static double F_lognorm(const wan_flow *f, double sigma)
{
    double u = unshift(f, sigma);
    return 0.5 * (1 + erf(log(u / (1 - u)) / sqrt(2)));
}

/* u' = 1 - u - 1.29 (cos^2(pi u / 2) - 1 + u) falls in u: P(u' <= x) is the share of u above. */
static double F_mode(const wan_flow *f, double sigma)
{
    double x = unshift(f, sigma), n = 0;
    for (int i = 0; i < 2000; i++) {
        double u = (i + 0.5) / 2000, c = cos(M_PI * u / 2);
        n += 1 - u - 1.29 * (c * c - 1 + u) <= x;
    }
    return n / 2000;
}

static double F_mix(const wan_flow *f, double sigma)
{
    return (1 - f->mix_uniform) * F_lognorm(f, sigma) + f->mix_uniform * F_uniform(f, sigma);
}

static double F_cut(const wan_flow *f, double sigma)
{
    double lo = F_mix(f, f->sigma_min), hi = F_mix(f, f->sigma_max);
    return (F_mix(f, sigma) - lo) / (hi - lo);
}

/* A sigma of each hundredth, from strata of a millionth, by its own distribution function. */
static void exactly(const char *name, wan_flow f, double (*F)(const wan_flow *, double),
                    double bound)
{
    double off = 0;
    f.stratify = 1;
    for (int i = 1; i < 100; i++)
        off =
            worse(off, fabs(F(&f, draw(&f, 3, (uint64_t)i, i * 10000, 1000000).sigma) - i / 100.0));
    ok_err(off, bound, "%s: each hundredth", name);
}

static void one(const char *name, wan_flow f, double (*F)(const wan_flow *, double))
{
    float *s = draws(&f);
    ok_err(distance(s, F, &f), 0.0098, "%s: distribution of sigma", name);
    free(s);
    if (!f.mix_uniform) /* else which of the two it is of is drawn, too */
        exactly(name, f, F, F == F_mode ? 1e-3 : 1e-5);
}

static void distributions(void)
{
    wan_flow f = base();
    one("uniform, shift 3", f, F_uniform);
    f.shift = 1;
    one("uniform, shift 1", f, F_uniform);
    f = base();
    f.dist = WAN_FLOW_LOGIT_NORMAL;
    f.logit_mean = 0.5;
    f.logit_std = 1.5;
    f.shift = 2.5;
    one("logit_normal(0.5, 1.5), shift 2.5", f, F_logit);
    f.dist = WAN_FLOW_LOGNORM;
    one("lognorm ignores mean and std", f, F_lognorm);
    f.dist = WAN_FLOW_MODE;
    one("mode", f, F_mode);
    f.dist = WAN_FLOW_LOGNORM;
    f.mix_uniform = 0.4;
    one("mix of 0.4 uniform", f, F_mix);
    f.sigma_min = 0.3;
    f.sigma_max = 0.8;
    one("mix cut to [0.3, 0.8]", f, F_cut);
    f.mix_uniform = 0;
    one("cut to [0.3, 0.8]", f, F_cut);
}

/* A clamp would pile draws onto the ends. */
static void cut(void)
{
    wan_flow f = base();
    f.sigma_min = 0.02;
    f.sigma_max = 0.55;
    float *s = draws(&f);
    int ends = 0;
    for (int i = 0; i < N; i++)
        ends += s[i] <= 0.02f + 1e-6f || s[i] >= 0.55f - 1e-6f;
    ok(s[0] >= 0.02f && s[N - 1] <= 0.55f, "cut: every sigma within the range");
    ok(ends < 10, "cut: no mass on the ends (%d draws)", ends);
    free(s);
}

static void quantiles(void)
{
    double worst = 0;
    for (int d = WAN_FLOW_UNIFORM; d <= WAN_FLOW_MODE; d++) {
        wan_flow f = base();
        f.dist = (enum wan_flow_dist)d;
        f.logit_std = 1.5;
        for (int i = 1; i < 1000; i++)
            worst = worse(worst,
                          fabs(wan_flow_cdf(&f, wan_flow_quantile(&f, i / 1000.0)) - i / 1000.0));
    }
    ok_err(worst, 1e-12, "the quantile inverts the distribution function");
}

static void independence(void)
{
    wan_flow f = base();
    f.dropout = 0.1;
    double sx = 0, sy = 0, sxx = 0, syy = 0, sxy = 0;
    int drops = 0, same = 0;
    for (int i = 0; i < 20 * N; i++)
        drops += draw(&f, 9, (uint64_t)i, 0, 1).drop;
    for (int i = 0; i < N; i++) {
        wan_draw a = draw(&f, 7, (uint64_t)i, 0, 1);
        wan_draw b = draw(&f, 7, (uint64_t)i + 1, 0, 1);
        wan_draw c = draw(&f, 8, (uint64_t)i, 0, 1);
        sx += a.sigma;
        sy += b.sigma;
        sxx += (double)a.sigma * a.sigma;
        syy += (double)b.sigma * b.sigma;
        sxy += (double)a.sigma * b.sigma;
        same += a.sigma == b.sigma || a.sigma == c.sigma;
    }
    double r = (sxy - sx * sy / N) / sqrt((sxx - sx * sx / N) * (syy - sy * sy / N));
    ok(same < 3, "neighbours and steps do not share sigmas (%d do)", same);
    ok_err(fabs(r), 0.0165, "neighbours are not correlated");
    ok_err(fabs(drops / (2.0 * N) - 1), 0.007, "captions dropped in 1 of 10");
    const wan_draw_at other = { 99, 3, 17, 1, 8, 0 };
    ok(draw(&f, 3, 17, 1, 8).sigma != wan_flow_draw(&f, &other).sigma,
       "another seed, another sigma");
    wan_draw a = draw(&f, 3, 17, 1, 8), b = draw(&f, 3, 17, 1, 8);
    ok(a.sigma == b.sigma && a.drop == b.drop, "the same sample draws the same again");
}

static void strata(void)
{
    wan_flow f = base();
    int hit[50] = { 0 }, full = 1;
    f.stratify = 1;
    for (int i = 0; i < 50; i++) {
        double sigma = draw(&f, 4, 200 + (uint64_t)i, i, 50).sigma;
        hit[(int)(F_uniform(&f, sigma) * 50)]++;
    }
    for (int i = 0; i < 50; i++)
        full &= hit[i] == 1;
    ok(full, "stratify: one sigma in each of 50 equally probable strata");
}

static void numbers(void)
{
    wan_flow f = base();
    wan_draw d = draw(&f, 0, 0, 0, 1);
    ok_err(fabs(d.t - 1000.0 * d.sigma), 1e-4, "timestep = 1000 sigma");
    ok_err(fabs(d.weight - (1 + 3.0 * d.sigma)), 1e-6, "weight = 1 + shift sigma");
    f.weighting = 0;
    ok(draw(&f, 0, 0, 0, 1).weight == 1, "weight 1 without weighting");
    f.sigma_min = 0.5;
    f.sigma_max = 0.5;
    ok(wan_flow_check(&f) < 0, "an empty range is refused");
}

int main(void)
{
    distributions();
    cut();
    quantiles();
    independence();
    strata();
    numbers();
    return tap_done();
}
