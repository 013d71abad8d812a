/* SPDX-License-Identifier: Apache-2.0
 *
 * tap.h - the whole test framework of the C checks: one line per check, TAP on stdout.
 */
#ifndef WAN_TESTS_TAP_H
#define WAN_TESTS_TAP_H

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tap_n, tap_bad;

/* Reports one check; returns cond. */
__attribute__((format(printf, 2, 3), unused)) static int ok(int cond, const char *fmt, ...)
{
    va_list ap;
    printf("%sok %d - ", cond ? "" : "not ", ++tap_n);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
    fflush(stdout);
    tap_bad += !cond;
    return cond;
}

__attribute__((unused)) static void tap_skip(const char *what, const char *why)
{
    printf("ok %d - %s # SKIP %s\n", ++tap_n, what, why);
    fflush(stdout);
}

/* Relative L2 error |a - b| / |b| (|a| when b is zero). */
__attribute__((unused)) static double rel_l2(const float *a, const float *b, size_t n)
{
    double d = 0, s = 0;
    for (size_t i = 0; i < n; i++) {
        double e = (double)a[i] - b[i];
        d += e * e;
        s += (double)b[i] * b[i];
    }
    if (d != d)
        return INFINITY;
    return s > 0 ? sqrt(d / s) : sqrt(d);
}

/* How far a is from b times 1, as a part of 1: what rounding does to single elements is left out. */
__attribute__((unused)) static double rel_scale(const float *a, const float *b, size_t n)
{
    double ab = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * b[i];
        bb += (double)b[i] * b[i];
    }
    return fabs(ab / bb - 1);
}

/* The larger of two errors; a NaN is larger than any, which fmax would leave out. */
__attribute__((unused)) static double worse(double a, double b)
{
    return a >= b || a != a ? a : b;
}

/* ok() on a relative error, with the value in the line. */
__attribute__((format(printf, 3, 4), unused)) static int ok_err(double err, double bound,
                                                                const char *fmt, ...)
{
    char name[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    return ok(err <= bound, "%s: error %.3g (bound %.3g)", name, err, bound);
}

/* Ends the program: how many results there were (as many as tests/plan.txt says), and 0 or 1. */
__attribute__((unused)) static int tap_done(void)
{
    printf("1..%d\n", tap_n);
    fflush(stdout);
    return tap_bad != 0;
}

#endif
