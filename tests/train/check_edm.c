/* SPDX-License-Identifier: Apache-2.0
 *
 * check_edm.c - the draws of EDM: the distribution of sigma, its tenths, strata, dropout, and that the
 * linear form is the paper's loss.
 */
#include "lib/model/edm.h"
#include "tests/tap.h"

enum { N = 40000 };
static const wan_objective *edm = &wan_edm_objective;

static wan_draw draw(const wan_edm *e, uint64_t step, uint64_t position, int64_t index,
                     int64_t batch)
{
    const wan_draw_at at = { 1234, step, position, index, batch, 0 };
    return edm->draw(e, &at);
}

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

/* A sigma of each hundredth, from strata of a millionth: where it stands in the log-normal distribution. */
static void quantiles(double mean, double std)
{
    const wan_edm e = { .mean = mean, .std = std, .stratify = 1 };
    double off = 0;
    for (int i = 1; i < 100; i++) {
        const double s = (double)draw(&e, 3, (uint64_t)i, i * 10000, 1000000).sigma;
        off = worse(off, fabs(0.5 * (1 + erf((log(s) - mean) / std / sqrt(2))) - i / 100.0));
    }
    ok_err(off, 1e-5, "each hundredth of N(%g, %g^2)", mean, std);
}

/* Largest distance of the distribution of sigma from the log-normal one; the 0.1 % point of N draws is
 * 1.95/sqrt(N) = 0.0098. */
static void distribution(double mean, double std)
{
    const wan_edm e = { .mean = mean, .std = std };
    float *s = malloc(N * sizeof *s);
    double worst = 0;
    int bins[WAN_SIGMA_BINS] = { 0 }, off = 0;
    for (int i = 0; i < N; i++) {
        wan_draw d = draw(&e, (uint64_t)i / 100, (uint64_t)i, i % 100, 100);
        s[i] = d.sigma;
        bins[d.bin]++;
    }
    qsort(s, N, sizeof *s, ascending);
    for (int i = 1; i < 100; i++) {
        double z = (log((double)s[N * i / 100]) - mean) / std;
        worst = worse(worst, fabs(0.5 * (1 + erf(z / sqrt(2))) - i / 100.0));
    }
    for (int k = 0; k < WAN_SIGMA_BINS; k++)
        off = fabs(bins[k] - N / 10.0) > 4 * sqrt(N * 0.09) ? k + 1 : off;
    ok_err(worst, 0.0098, "ln sigma ~ N(%g, %g^2)", mean, std);
    ok(!off, "its tenths are bins of the same size");
    free(s);
}

/* lambda |s_d x0 - (c_skip x + c_out F)|^2 against weight |F - target|^2, and the model's input. */
static void linear_form(void)
{
    const wan_edm e = { .std = 1 };
    double worst = 0, input = 0, noise = 0;
    for (int i = 0; i < 200; i++) {
        wan_draw d = draw(&e, 0, (uint64_t)i, 0, 1);
        double s = (double)d.sigma, sd = 0.5, r2 = s * s + sd * sd;
        double x0 = sin(i), eps = cos(3.7 * i), F = sin(1.3 * i);
        double x = sd * x0 + s * eps;
        double D = sd * sd / r2 * x + s * sd / sqrt(r2) * F;
        double want = r2 / (s * s * sd * sd) * (sd * x0 - D) * (sd * x0 - D);
        double e1 = F - (d.target[0] * x0 + d.target[1] * eps);
        worst = worse(worst, fabs(d.weight * e1 * e1 - want) / want);
        input = worse(input, fabs(d.in[0] * x0 + d.in[1] * eps - x / sqrt(r2)));
        noise = worse(noise, fabs((double)d.t - log(s) / 4));
    }
    ok_err(worst, 1e-9, "the loss is EDM's");
    ok_err(input, 1e-12, "the input is c_in x");
    ok_err(noise, 1e-6, "the model is given ln(sigma) / 4");
}

static void keyed(void)
{
    const wan_edm e = { .std = 1, .dropout = 0.2 };
    wan_draw a = draw(&e, 5, 77, 0, 1), b = draw(&e, 5, 77, 3, 9);
    ok(a.sigma == b.sigma && a.drop == b.drop, "a sample's draw depends on its position alone");
    ok(draw(&e, 6, 77, 0, 1).sigma != a.sigma && draw(&e, 5, 78, 0, 1).sigma != a.sigma,
       "other steps and positions draw others");
    int dropped = 0;
    for (int i = 0; i < 10 * N; i++)
        dropped += draw(&e, 1, (uint64_t)i, 0, 1).drop;
    ok_err(fabs(dropped / (2.0 * N) - 1), 0.007, "%d of %d captions dropped", dropped, 10 * N);
    wan_draw at = edm->at_sigma(&e, a.sigma);
    ok(at.sigma == a.sigma && at.t == a.t && at.in[1] == a.in[1] && at.bin == a.bin && !at.drop,
       "a prescribed sigma");
}

/* Strata of training and the fixed levels of a validation: one sigma from each. */
static void strata(void)
{
    for (int eval = 0; eval < 2; eval++) {
        const wan_edm e = { .mean = -1, .std = 1.5, .dropout = 1, .stratify = !eval };
        int good = 1, dropped = 0;
        for (int i = 0; i < 20; i++) {
            const wan_draw_at at = { 7, UINT64_MAX, (uint64_t)i, i, 20, eval };
            wan_draw d = edm->draw(&e, &at);
            double q = 0.5 * (1 + erf((log((double)d.sigma) + 1) / 1.5 / sqrt(2)));
            good = good && q * 20 > i - 1e-4 && q * 20 < i + 1 + 1e-4 && d.bin == i / 2;
            dropped += d.drop;
        }
        ok(good, "%s: one sigma from each of 20 strata", eval ? "validation" : "stratify");
        ok(dropped == (eval ? 0 : 20), "%d captions dropped", dropped);
    }
}

static void refusals(void)
{
    const wan_edm no_std = { .std = 0 }, dropout = { .std = 1, .dropout = 1.5 };
    int rc = edm->check(&no_std);
    ok(rc < 0 && strstr(wan_err_text(), "edm.p_std"), "%s", wan_err_text());
    rc = edm->check(&dropout);
    ok(rc < 0 && strstr(wan_err_text(), "cfg_dropout_prob"), "%s", wan_err_text());
}

int main(void)
{
    distribution(0, 1);
    distribution(-1.2, 1.2);
    quantiles(0, 1);
    quantiles(-1.2, 1.2);
    linear_form();
    keyed();
    strata();
    refusals();
    return tap_done();
}
