/* SPDX-License-Identifier: Apache-2.0
 *
 * sampler_schedule.c - sigma and timestep lists (wan-model(7), Schedules), to the last bit of
 * float32.
 *
 *   sigma_i = shift(u_i) = s u_i / (1 + (s-1) u_i);  a final 0 follows
 *   official   unipc  u from float32(0.999) down to 0, the last point dropped; dpm++: from 1
 *              euler  (the official code has none) the points of unipc
 *   diffusers  unipc  u from 1 to 0.001, the last dropped, sigma_0 moved off 1 by 1e-6
 *              dpm++  u from 0.999 down to 0, the last dropped
 *              euler  from 1 to shift(0.001), both included, shifted a second time
 * timesteps: 1000 sigma truncated before sigma is rounded; euler of diffusers: 1000 sigma in float.
 *
 * Every product is rounded on its own, as NumPy does: `volatile` keeps the compiler from fusing a
 * multiplication with the addition after it.
 */
#include <string.h>

#include "lib/model/sample/sampler.h"
#include "lib/model/sample/sampler_priv.h"

/* Point i of NumPy's linspace(from, to, points). */
static double line(double from, double to, int points, int i)
{
    if (points == 1)
        return from;
    if (i == points - 1)
        return to;
    volatile double step = (to - from) / (points - 1);
    volatile double along = i * step;
    return along + from;
}

static double shifted(double u, double s)
{
    volatile double top = s * u, slope = s - 1;
    volatile double rise = slope * u;
    return top / (1 + rise);
}

static float shifted_f32(float u, double s)
{
    volatile float top = (float)s * u;
    volatile float rise = (float)(s - 1) * u;
    return top / (1 + rise);
}

static void put(float *sigma, double *timestep, int i, double s)
{
    sigma[i] = (float)s;
    timestep[i] = (double)(int64_t)(s * 1000);
}

static void official(int steps, double shift, double top, float *sigma, double *timestep)
{
    for (int i = 0; i < steps; i++)
        put(sigma, timestep, i, shifted(line(top, 0, steps + 1, i), shift));
}

static void diffusers_unipc(int steps, double shift, float *sigma, double *timestep)
{
    for (int i = 0; i < steps; i++) {
        double s = shifted(line(1, 0.001, steps + 1, i), shift);
        if (i == 0 && fabs(s - 1) < 1e-6)
            s -= 1e-6;
        put(sigma, timestep, i, s);
    }
}

static void diffusers_dpmpp(int steps, double shift, float *sigma, double *timestep)
{
    for (int i = 0; i < steps; i++) {
        volatile double u = 1 - line(1, 0.001, steps + 1, steps - i);
        put(sigma, timestep, i, shifted(u, shift));
    }
}

static void diffusers_euler(int steps, double shift, float *sigma, double *timestep)
{
    double last = (double)shifted_f32(0.001f, shift) * 1000;
    for (int i = 0; i < steps; i++) {
        sigma[i] = (float)shifted(line(1000, last, steps, i) / 1000, shift);
        timestep[i] = (double)(sigma[i] * 1000);
    }
}

static int is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

int wan_sampler_schedule(const char *solver, const char *schedule, int steps, double shift,
                         float *sigma, double *timestep)
{
    if (steps < 1 || steps > WAN_SAMPLER_MAX)
        return wan_err("sampler: %d steps, must be 1..%d", steps, WAN_SAMPLER_MAX);
    if (!(shift > 0 && shift <= 1000))
        return wan_err("sampler: shift %g, must be above 0 and at most 1000", shift);
    if (is(schedule, "official")) {
        double top = is(solver, "dpm++") ? 1 : (double)(float)(1 - 1.0 / 1000);
        official(steps, shift, top, sigma, timestep);
    } else if (!is(schedule, "diffusers")) {
        return wan_err("sampler: no schedule \"%s\" (official, diffusers)", schedule);
    } else if (is(solver, "dpm++")) {
        diffusers_dpmpp(steps, shift, sigma, timestep);
    } else if (is(solver, "euler")) {
        diffusers_euler(steps, shift, sigma, timestep);
    } else {
        diffusers_unipc(steps, shift, sigma, timestep);
    }
    sigma[steps] = 0;
    return 0;
}
