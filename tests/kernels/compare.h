/* SPDX-License-Identifier: Apache-2.0
 *
 * compare.h - one op on two devices: the reference and the device under test
 * (WAN_CHECK_DEVICE, "cpu" when unset; "cuda" runs every check on the GPU).
 *
 * Vectors hold the same bytes on both devices, stand between guard bytes that no kernel may touch,
 * and live until cmp_reset().  Sizes worth testing are listed by each check: 1, 3, 63, 65 ...
 */
#ifndef WAN_TESTS_COMPARE_H
#define WAN_TESTS_COMPARE_H

#include "kernels/ops.h"
#include "tests/tap.h"

enum { CMP_GUARD = 256, CMP_MAX = 64, CMP_BYTE = 0xa5 };

typedef struct vec {
    size_t n;
    wan_dtype t;
    wan_buf b[2]; /* on device 0 (reference) and 1 (under test) */
} vec;

static wan_dev *cmp_dev[2];
static vec cmp_vecs[CMP_MAX];
static wan_pack cmp_packs[8][2];
static int cmp_n, cmp_np;
static uint64_t cmp_seed = 1;

static void cmp_must(int rc)
{
    if (rc < 0) {
        printf("Bail out! %s\n", wan_err_text());
        exit(1);
    }
}

/* Opens both devices; 0 and a skip when the one under test is not on this machine. */
__attribute__((unused)) static int cmp_open(const char *what)
{
    const char *name = getenv("WAN_CHECK_DEVICE");
    cmp_must(wan_dev_open(&cmp_dev[0], "ref", 0));
    if (wan_dev_open(&cmp_dev[1], name && *name ? name : "cpu", 0) == 0)
        return 1;
    tap_skip(what, wan_err_text());
    return 0;
}

static void *cmp_alloc(int i, size_t bytes, const void *init)
{
    size_t all = bytes + 2 * CMP_GUARD;
    char *host = (char *)malloc(all), *p = (char *)wan_dev_alloc(cmp_dev[i], all, "test vector");
    if (!host || !p)
        cmp_must(-1);
    memset(host, CMP_BYTE, all);
    memcpy(host + CMP_GUARD, init, bytes);
    cmp_must(wan_dev_write(cmp_dev[i], p, host, all));
    cmp_must(wan_dev_sync(cmp_dev[i]));
    free(host);
    return p + CMP_GUARD;
}

/* A vector with these bytes (n elements of type t) on both devices. */
static vec *vec_of(wan_dtype t, size_t n, const void *bytes)
{
    vec *v = &cmp_vecs[cmp_n++];
    if (cmp_n > CMP_MAX)
        abort();
    *v = (vec){ .n = n, .t = t };
    for (int i = 0; i < 2; i++)
        v->b[i] = wan_buf_of(cmp_alloc(i, n * wan_dtype_size(t), bytes), t);
    return v;
}

/* n elements: mean + sd * normal, a new draw every time. */
__attribute__((unused)) static vec *vec_new(wan_dtype t, size_t n, double mean, double sd)
{
    float *f = (float *)malloc(n * sizeof *f + 1);
    void *p = malloc(n * wan_dtype_size(t) + 1);
    wan_rng r = wan_rng_stream(cmp_seed++, WAN_RNG_TEST, 0, 0);
    wan_rng_normal(&r, f, 0, n);
    for (size_t i = 0; i < n; i++)
        f[i] = (float)(mean + sd * f[i]);
    cmp_must(wan_convert(p, t, f, WAN_F32, n));
    vec *v = vec_of(t, n, p);
    free(f);
    free(p);
    return v;
}

__attribute__((unused)) static wan_real *vec_p(const vec *v, int i)
{
    return (wan_real *)v->b[i].p;
}

/* The same pack on both devices. */
__attribute__((unused)) static const wan_pack *cmp_pack(const int64_t *len, int n, int i)
{
    if (i == 0) {
        for (int k = 0; k < 2; k++)
            cmp_must(wan_pack_new(cmp_dev[k], &cmp_packs[cmp_np][k], len, n));
        cmp_np++;
    }
    return &cmp_packs[cmp_np - 1][i];
}

/* Elements of side i as floats (malloc); *intact = no guard byte changed. */
static float *vec_read(const vec *v, int i, int *intact)
{
    size_t bytes = v->n * wan_dtype_size(v->t), all = bytes + 2 * CMP_GUARD;
    unsigned char *host = (unsigned char *)malloc(all);
    float *f = (float *)malloc(v->n * sizeof *f + 1);
    cmp_must(wan_dev_read(cmp_dev[i], host, (char *)v->b[i].p - CMP_GUARD, all));
    for (size_t k = 0; k < CMP_GUARD; k++)
        *intact &= host[k] == CMP_BYTE && host[all - 1 - k] == CMP_BYTE;
    cmp_must(wan_convert(f, WAN_F32, host + CMP_GUARD, v->t, v->n));
    free(host);
    return f;
}

/* Largest |a-b| / (|b| + rms of b): one wrong element among many does not hide. */
__attribute__((unused)) static double cmp_peak(const float *a, const float *b, size_t n)
{
    double top = 0, s = 0;
    for (size_t k = 0; k < n; k++)
        s += (double)b[k] * b[k];
    double rms = s > 0 ? sqrt(s / (double)n) : 1;
    for (size_t k = 0; k < n; k++) {
        double e = fabs((double)a[k] - b[k]) / (fabs((double)b[k]) + rms);
        top = e > top || e != e ? e : top;
    }
    return top;
}

/* One TAP line: relative L2 error within `bound`, no element further off than 16 bounds. */
__attribute__((format(printf, 3, 4), unused)) static void vec_ok(const vec *v, double bound,
                                                                 const char *fmt, ...)
{
    char name[200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    int intact = 1;
    float *a = vec_read(v, 1, &intact), *b = vec_read(v, 0, &intact);
    double e = rel_l2(a, b, v->n), peak = cmp_peak(a, b, v->n);
    ok(e <= bound && peak <= 16 * bound && intact, "%s: error %.2g peak %.2g (bound %.2g)%s", name,
       e, peak, bound, intact ? "" : ", GUARD BYTES CHANGED");
    free(a);
    free(b);
}

__attribute__((unused)) static void cmp_reset(void)
{
    for (int k = 0; k < cmp_n; k++)
        for (int i = 0; i < 2; i++)
            wan_dev_free(cmp_dev[i], (char *)cmp_vecs[k].b[i].p - CMP_GUARD);
    for (int k = 0; k < cmp_np; k++)
        for (int i = 0; i < 2; i++)
            wan_pack_free(cmp_dev[i], &cmp_packs[k][i]);
    cmp_n = cmp_np = 0;
}

__attribute__((unused)) static int cmp_done(void)
{
    cmp_reset();
    wan_dev_close(&cmp_dev[0]);
    wan_dev_close(&cmp_dev[1]);
    return tap_done();
}

/* Runs `call` with d, o and side i on both devices. */
#define CMP_BOTH(call)                                                                             \
    for (int i = 0; i < 2; i++) {                                                                  \
        wan_dev *d = cmp_dev[i];                                                                   \
        const wan_ops *o = d->ops;                                                                 \
        cmp_must(o->call);                                                                         \
    }

static const wan_dtype cmp_types[2] = { WAN_REAL, WAN_BF16 };
#define CMP_NAME(t) ((t) == WAN_BF16 ? "bf16" : (t) == WAN_F16 ? "fp16" : "fp32")

#endif
