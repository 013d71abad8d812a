/* SPDX-License-Identifier: Apache-2.0
 *
 * fd.h - finite differences of the double build: is dx the gradient of loss() at x?
 */
#ifndef WAN_TESTS_FD_H
#define WAN_TESTS_FD_H

#include "kernels/ops.h"
#include "tests/tap.h"

typedef double fd_loss_fn(void *arg);

static uint64_t fd_seed = 1;

static void fd_must(int rc)
{
    if (rc < 0) {
        printf("Bail out! %s\n", wan_err_text());
        exit(1);
    }
}

/* What a check takes is given back by fd_done(). */
static struct {
    wan_dev *d;
    void *p[1024];
    wan_pack pack[64];
    int n, packs;
} fd_kept;

static void *fd_keep(void *p)
{
    if (fd_kept.n == 1024)
        abort();
    return fd_kept.p[fd_kept.n++] = p;
}

static wan_dev *fd_open(void)
{
    fd_must(wan_dev_open(&fd_kept.d, "ref", 0));
    return fd_kept.d;
}

__attribute__((unused)) static wan_pack fd_pack(const int64_t *len, int n)
{
    wan_pack *p = &fd_kept.pack[fd_kept.packs++];
    if (fd_kept.packs > 64)
        abort();
    fd_must(wan_pack_new(fd_kept.d, p, len, n));
    return *p;
}

static int fd_done(void)
{
    for (int i = 0; i < fd_kept.n; i++)
        free(fd_kept.p[i]);
    for (int i = 0; i < fd_kept.packs; i++)
        wan_pack_free(fd_kept.d, &fd_kept.pack[i]);
    wan_dev_close(&fd_kept.d);
    return tap_done();
}

/* mean + sd * normal, a new draw every time */
static wan_real *fd_rand(int64_t n, double mean, double sd)
{
    wan_real *x = (wan_real *)fd_keep(malloc((size_t)n * sizeof *x));
    float *f = (float *)malloc((size_t)n * sizeof *f);
    wan_rng r = wan_rng_stream(fd_seed++, WAN_RNG_TEST, 1, 0);
    wan_rng_normal(&r, f, 0, (size_t)n);
    for (int64_t i = 0; i < n; i++)
        x[i] = mean + sd * (double)f[i];
    free(f);
    return x;
}

static double fd_dot(const wan_real *a, const wan_real *b, int64_t n)
{
    double s = 0;
    for (int64_t i = 0; i < n; i++)
        s += a[i] * b[i];
    return s;
}

/* Central difference of loss along r [n]; x is restored. */
static double fd_slope(fd_loss_fn *loss, void *arg, wan_real *x, const wan_real *r, int64_t n)
{
    const double h = 1e-5;
    wan_real *keep = (wan_real *)malloc((size_t)n * sizeof *keep);
    memcpy(keep, x, (size_t)n * sizeof *keep);
    double l[2];
    for (int k = 0; k < 2; k++) {
        for (int64_t i = 0; i < n; i++)
            x[i] = keep[i] + (k ? h : -h) * r[i];
        l[k] = loss(arg);
    }
    memcpy(x, keep, (size_t)n * sizeof *keep);
    free(keep);
    return (l[1] - l[0]) / (2 * h);
}

/* Two random directions, and single elements at both ends and in between. */
__attribute__((unused)) static void fd_ok(const char *name, fd_loss_fn *loss, void *arg,
                                          wan_real *x, const wan_real *dx, int64_t n)
{
    double worst = 0, norm = sqrt(fd_dot(dx, dx, n));
    for (int k = 0; k < 8; k++) {
        wan_real *r = fd_rand(n, 0, 1);
        if (k >= 2) {
            memset(r, 0, (size_t)n * sizeof *r);
            r[k == 2 ? 0 : k == 3 ? n - 1 : (int64_t)(fd_seed * 7919 * (uint64_t)k) % n] = 1;
        }
        double e = fabs(fd_slope(loss, arg, x, r, n) - fd_dot(dx, r, n));
        worst = e > worst || e != e ? e : worst;
    }
    ok(norm > 1e-6 && worst / norm <= 1e-6, "%s [%lld]: error %.2g of |gradient| %.3g", name,
       (long long)n, worst / norm, norm);
}

#endif
