/* SPDX-License-Identifier: Apache-2.0
 *
 * sampler.c - the table of kinds, defaults, and the order of calls.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/model/sample/sampler_priv.h"

static const wan_sampler_kind *const table[] = { &wan_sampler_flow, &wan_sampler_edm };

static const wan_sampler_kind *find(const char *objective)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (!strcmp(table[i]->objective, objective))
            return table[i];
    return NULL;
}

static int check_solver(const wan_sampler_kind *k, const char *solver)
{
    char list[64] = "";
    for (int i = 0; k->solvers[i]; i++) {
        if (!strcmp(k->solvers[i], solver))
            return 0;
        strcat(strcat(list, i ? ", " : ""), k->solvers[i]);
    }
    return wan_err("sampler: no solver \"%s\" for a model trained with %s (%s)", solver,
                   k->objective, list);
}

/* A number that the kind has takes its default; one that it has not must not be given. */
static int number(double *x, double def, const char *name, const wan_sampler_kind *k)
{
    if (*x != 0 && def == 0)
        return wan_err("sampler: %s is nothing that a model trained with %s is sampled by", name,
                       k->objective);
    if (*x == 0)
        *x = def;
    return 0;
}

int wan_sampler_resolve(wan_sampler_options *o, const char *objective)
{
    const wan_sampler_kind *k = find(objective);
    if (!k)
        return wan_err("sampler: there is none for models trained with %s", objective);
    const wan_sampler_options *def = &k->defaults;
    if (!o->solver)
        o->solver = k->solvers[0];
    WAN_TRY(check_solver(k, o->solver));
    if (!o->steps)
        o->steps = def->steps;
    if (o->steps < 1 || o->steps > WAN_SAMPLER_MAX)
        return wan_err("sampler: %d steps, must be 1..%d", o->steps, WAN_SAMPLER_MAX);
    if (!o->guided)
        o->guidance = def->guidance;
    o->guided = 1;
    if (o->schedule && !def->schedule)
        return wan_err("sampler: a model trained with %s has one schedule", objective);
    if (!o->schedule)
        o->schedule = def->schedule;
    WAN_TRY(number(&o->shift, def->shift, "shift", k));
    WAN_TRY(number(&o->sigma_min, def->sigma_min, "sigma_min", k));
    WAN_TRY(number(&o->sigma_max, def->sigma_max, "sigma_max", k));
    return number(&o->rho, def->rho, "rho", k);
}

int wan_sampler_new(wan_sampler **out, wan_dev *d, const char *objective,
                    const wan_sampler_options *o, int64_t numel)
{
    const wan_sampler_kind *k = find(objective);
    *out = NULL;
    if (!k)
        return wan_err("sampler: there is none for models trained with %s", objective);
    WAN_TRY(check_solver(k, o->solver));
    return k->open(out, d, o, numel);
}

void wan_sampler_free(wan_sampler **sp)
{
    wan_sampler *s = *sp;
    if (!s)
        return;
    s->kind->free(s);
    free(s);
    *sp = NULL;
}

int wan_sampler_start(wan_sampler *s, wan_real *x)
{
    s->step = s->call = 0;
    return s->kind->start(s, x);
}

int wan_sampler_calls(const wan_sampler *s, int i)
{
    return s->kind->calls(s, i);
}

int wan_sampler_ask(wan_sampler *s, int i, int call, const wan_real *x, const wan_real **in,
                    double *t)
{
    return s->kind->ask(s, i, call, x, in, t);
}

int wan_sampler_answer(wan_sampler *s, int i, int call, wan_real *x, const wan_real *answer)
{
    if ((i != s->step || call != s->call) && (i || call))
        return wan_err("sampler: step %d where step %d was due", i, s->step);
    if (i >= s->steps)
        return wan_err("sampler: step %d of %d", i, s->steps);
    WAN_TRY(s->kind->answer(s, i, call, x, answer));
    int last = call + 1 == s->kind->calls(s, i);
    s->step = i + last;
    s->call = last ? 0 : call + 1;
    return 0;
}

int wan_sampler_clean(const wan_sampler *s, int i, const wan_real *x, const wan_real *answer,
                      wan_real *out)
{
    return s->kind->clean(s, i, x, answer, out);
}

double wan_sampler_unit(const wan_sampler *s)
{
    return s->unit;
}

double wan_sampler_sigma(const wan_sampler *s, int i)
{
    return s->kind->sigma(s, i);
}
