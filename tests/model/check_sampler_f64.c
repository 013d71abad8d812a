/* SPDX-License-Identifier: Apache-2.0
 *
 * check_sampler_f64.c - EDM's solvers in double on an ODE whose solution is known: of Gaussian data of
 * standard deviation s, D(x; sigma) = s^2/(s^2 + sigma^2) x, and x(sigma) grows with
 * sqrt(s^2 + sigma^2).  Heun is of second order, Euler of first.
 */
#include "lib/model/edm.h"
#include "lib/model/sample/sampler.h"
#include "tests/must.h"
#include "tests/tap.h"

static wan_dev *dev;
static const double s2 = 0.7 * 0.7;

/* What a model must answer so that c_skip x + c_out F = D(x; sigma), from what it is given. */
static double model(double in, double t)
{
    double sigma = exp(4 * t), r2 = sigma * sigma + 0.25, x = in * sqrt(r2);
    double D = s2 / (s2 + sigma * sigma) * x;
    return (D - 0.25 / r2 * x) / (sigma * 0.5 / sqrt(r2));
}

/* The relative error where sigma_min is reached, and how often the model was asked. */
static double error(const char *solver, int steps, int *asked)
{
    wan_sampler_options o = { .solver = solver, .steps = steps, .sigma_min = 0.05 };
    wan_sampler *s;
    double x[2] = { 1, -0.3 }, exact = 0;
    MUST(wan_sampler_resolve(&o, "edm"));
    MUST(wan_sampler_new(&s, dev, "edm", &o, 2));
    MUST(wan_sampler_start(s, x));
    double from = x[0], e = 0;
    *asked = 0;
    for (int i = 0; i < steps; i++) {
        if (i == steps - 1) { /* sigma_min: the last step goes to 0 by one Euler step */
            double a = wan_sampler_sigma(s, 0), b = wan_sampler_sigma(s, i);
            exact = from * sqrt((s2 + b * b) / (s2 + a * a));
            e = fabs(x[0] / exact - 1) + fabs(x[1] / (-0.3 * exact) - 1);
        }
        for (int call = 0; call < wan_sampler_calls(s, i); call++, ++*asked) {
            const double *in;
            double t, F[2];
            MUST(wan_sampler_ask(s, i, call, x, &in, &t));
            F[0] = model(in[0], t);
            F[1] = model(in[1], t);
            MUST(wan_sampler_answer(s, i, call, x, F));
        }
    }
    double end = exact * s2 / (s2 + 0.05 * 0.05); /* D at sigma_min, from the exact sample */
    if (!strcmp(solver, "heun") && steps > 100)
        ok_err(x[0] / end - 1, 1e-3, "the last step is D at sigma_min");
    wan_sampler_free(&s);
    return e;
}

static void order(const char *solver, double want)
{
    int asked[3];
    double e[3];
    for (int i = 0; i < 3; i++)
        e[i] = error(solver, 40 << i, &asked[i]);
    double first = log2(e[0] / e[1]), second = log2(e[1] / e[2]);
    ok(fabs(first - want) < 0.15 && fabs(second - want) < 0.1,
       "%s is of order %.2f and %.2f (errors %.2g, %.2g, %.2g)", solver, first, second, e[0], e[1],
       e[2]);
    int each = want > 1.5 ? 2 : 1;
    ok(asked[0] == each * 39 + 1, "40 steps ask the model %d times", asked[0]);
}

static void schedule(void)
{
    wan_sampler_options o = { .steps = 35 };
    wan_sampler *s;
    MUST(wan_sampler_resolve(&o, "edm"));
    ok(!strcmp(o.solver, "heun") && o.guidance == 8 && o.rho == 7, "defaults of EDM");
    MUST(wan_sampler_new(&s, dev, "edm", &o, 1));
    ok_err(wan_sampler_sigma(s, 0) / 80 - 1, 1e-12, "from 80");
    ok_err(wan_sampler_sigma(s, 34) / 0.002 - 1, 1e-12, "to 0.002");
    ok(wan_sampler_sigma(s, 35) == 0, "and 0");
    double a = pow(80, 1.0 / 7), b = pow(0.002, 1.0 / 7);
    ok_err(wan_sampler_sigma(s, 17) / pow((a + b) / 2, 7) - 1, 1e-12, "evenly in sigma^(1/7)");
    ok(wan_sampler_unit(s) == 2, "a latent is the sample over 0.5");
    wan_sampler_free(&s);
}

static void refused(wan_sampler_options o, const char *objective, const char *part)
{
    int rc = wan_sampler_resolve(&o, objective);
    ok(rc < 0 && strstr(wan_err_text(), part), "refused: %s", wan_err_text());
}

int main(void)
{
    MUST(wan_dev_open(&dev, "ref", 0));
    order("heun", 2);
    order("euler", 1);
    schedule();
    refused((wan_sampler_options){ .shift = 3 }, "edm", "shift");
    refused((wan_sampler_options){ .schedule = "official" }, "edm", "one schedule");
    refused((wan_sampler_options){ .solver = "unipc" }, "edm", "heun, euler");
    refused((wan_sampler_options){ .solver = "heun" }, "flow", "unipc, dpm++, euler");
    refused((wan_sampler_options){ .rho = 5 }, "flow", "rho");
    refused((wan_sampler_options){ .steps = 1001 }, "edm", "1001 steps");
    wan_sampler_options o = { .solver = "euler", .steps = 3, .sigma_min = 90 };
    wan_sampler *s;
    MUST(wan_sampler_resolve(&o, "edm"));
    int rc = wan_sampler_new(&s, dev, "edm", &o, 1);
    ok(rc < 0 && strstr(wan_err_text(), "from 80 to 90"), "refused: %s", wan_err_text());
    wan_dev_close(&dev);
    return tap_done();
}
