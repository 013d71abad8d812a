/* SPDX-License-Identifier: Apache-2.0
 *
 * seamrow_simd.c - rows of gated residual and LayerNorm: each is read from memory once, and what of it is needed again
 * is in the first cache.
 */
#include "kernels/seamrow_simd.h"

#include "kernels/cpu.h"
#include "kernels/rows.h"
#include "kernels/wide_simd.h"

enum {
    STEP = 64
}; /* columns at a time of the wide way: four vectors, more than an addition takes cycles */

/* ---- 16 columns in a vector, where the CPU has AVX512-BF16 */

#ifdef __x86_64__
static int wide(int64_t D)
{
    return D % STEP == 0 && wan_cpu_isa() >= WAN_CPU_BF16;
}

WAN_WIDE_INLINE float sum_of(const __m512 s[4])
{
    return _mm512_reduce_add_ps(
        _mm512_add_ps(_mm512_add_ps(s[0], s[1]), _mm512_add_ps(s[2], s[3])));
}

/* out <- x + y gate; returns the sum */
WAN_WIDE static float wide_add(const wan_seamrow *r)
{
    const float *x = r->x + r->at, *g = r->gate;
    float *out = r->out + r->at;
    __m512 s[4] = { wan_wide_all(0), wan_wide_all(0), wan_wide_all(0), wan_wide_all(0) };
    for (int64_t j = 0; j < r->D; j += STEP)
        for (int k = 0; k < 4; k++) {
            int64_t i = j + 16 * k;
            __m512 v = _mm512_loadu_ps(x + i);
            if (r->y.p) {
                __m512 y = wan_wide_load(r->y, r->at + i);
                v = g ? _mm512_fmadd_ps(y, _mm512_loadu_ps(g + i), v) : _mm512_add_ps(v, y);
                _mm512_storeu_ps(out + i, v);
            }
            s[k] = _mm512_add_ps(s[k], v);
        }
    return sum_of(s);
}

/* sum (x - mean)^2 */
WAN_WIDE static float wide_spread(const float *x, float mean, int64_t D)
{
    __m512 s[4] = { wan_wide_all(0), wan_wide_all(0), wan_wide_all(0), wan_wide_all(0) };
    for (int64_t j = 0; j < D; j += STEP)
        for (int k = 0; k < 4; k++) {
            __m512 v = _mm512_sub_ps(_mm512_loadu_ps(x + j + 16 * k), wan_wide_all(mean));
            s[k] = _mm512_fmadd_ps(v, v, s[k]);
        }
    return sum_of(s);
}

WAN_WIDE static void wide_norm(const wan_seamrow *r, const float *x, float mean, float rstd)
{
    for (int64_t j = 0; j < r->D; j += 32) {
        __m512 v[2];
        for (int k = 0; k < 2; k++) {
            int64_t i = j + 16 * k;
            __m512 n = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(x + i), wan_wide_all(mean)),
                                     wan_wide_all(rstd));
            v[k] = _mm512_fmadd_ps(
                n, _mm512_add_ps(wan_wide_all(r->one), _mm512_loadu_ps(r->gain + i)),
                _mm512_loadu_ps(r->shift + i));
        }
        wan_wide_store(r->u, r->at + j, v[0], v[1]);
    }
}

enum { ROWS = 4 }; /* at a time: gain, gate and the sums of gradients are read for all of them */

/* What the second pass takes of a row. */
typedef struct wide_row {
    float *dx;
    const float *x;
    wan_buf du, y, dy;
    __m512 mean, rstd, h, hx; /* means of h = du (one + gain) and of h xhat */
} wide_row;

WAN_WIDE_INLINE void wide_means(wide_row *w, const float *gain, float one, int64_t D)
{
    const wan_buf du = w->du;
    const float *x = w->x;
    const __m512 mean = w->mean, ones = wan_wide_all(one);
    __m512 a[4], b[4];
    for (int k = 0; k < 4; k++)
        a[k] = b[k] = wan_wide_all(0);
    for (int64_t j = 0; j < D; j += STEP)
        for (int k = 0; k < 4; k++) {
            int64_t i = j + 16 * k;
            __m512 h =
                _mm512_mul_ps(wan_wide_load(du, i), _mm512_add_ps(ones, _mm512_loadu_ps(gain + i)));
            a[k] = _mm512_add_ps(a[k], h);
            b[k] = _mm512_fmadd_ps(h, _mm512_sub_ps(_mm512_loadu_ps(x + i), mean), b[k]);
        }
    w->h = wan_wide_all(sum_of(a) / (float)D);
    w->hx = _mm512_mul_ps(wan_wide_all(sum_of(b) / (float)D), w->rstd);
}

WAN_WIDE_INLINE wide_row wide_row_of(const wan_seamrow *r, int i)
{
    const int64_t at = r->at + i * r->D;
    wide_row w = { .dx = r->dx + at,
                   .du = wan_buf_of(r->du.p ? wan_buf_at(r->du, at).p : NULL, r->du.t),
                   .y = wan_buf_of(r->y.p ? wan_buf_at(r->y, at).p : NULL, r->y.t),
                   .dy = wan_buf_of(r->dy.p ? wan_buf_at(r->dy, at).p : NULL, r->dy.t) };
    if (w.du.p) {
        w.x = r->x + at;
        w.mean = wan_wide_all(r->mean[i]);
        w.rstd = wan_wide_all(r->rstd[i]);
        wide_means(&w, r->gain, r->one, r->D);
    }
    return w;
}

WAN_WIDE_INLINE void wide_sum(float *sum, __m512 v)
{
    _mm512_storeu_ps(sum, _mm512_add_ps(_mm512_loadu_ps(sum), v));
}

/* n rows; norm, gated: what of the two there is. */
WAN_WIDE_INLINE void wide_rows(const wan_seamrow *r, const int n, const int norm, const int gated)
{
    const float *gate = r->gate, *gain = r->gain;
    const int64_t D = r->D;
    const __m512 one = wan_wide_all(r->one);
    float *sum = r->sum;
    wide_row row[ROWS];
    for (int i = 0; i < n; i++)
        row[i] = wide_row_of(r, i);
    for (int64_t j = 0; j < D; j += 32) {
        __m512 v[ROWS][2];
        for (int k = 0; k < 2; k++) {
            const int64_t c = j + 16 * k;
            __m512 dgain = wan_wide_all(0), dshift = dgain, dgate = dgain;
            __m512 g = norm ? _mm512_add_ps(one, _mm512_loadu_ps(gain + c)) : one;
            __m512 a = gated ? _mm512_loadu_ps(gate + c) : one;
            for (int i = 0; i < n; i++) {
                const wide_row *w = &row[i];
                v[i][k] = _mm512_loadu_ps(w->dx + c);
                if (norm) {
                    __m512 du = wan_wide_load(w->du, c), x;
                    x = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(w->x + c), w->mean), w->rstd);
                    dgain = _mm512_fmadd_ps(du, x, dgain);
                    dshift = _mm512_add_ps(dshift, du);
                    du = _mm512_fnmadd_ps(x, w->hx, _mm512_fmsub_ps(du, g, w->h));
                    v[i][k] = _mm512_fmadd_ps(w->rstd, du, v[i][k]);
                    _mm512_storeu_ps(w->dx + c, v[i][k]);
                }
                if (gated) {
                    dgate = _mm512_fmadd_ps(v[i][k], wan_wide_load(w->y, c), dgate);
                    v[i][k] = _mm512_mul_ps(v[i][k], a);
                }
            }
            if (norm) {
                wide_sum(sum + c, dgain);
                wide_sum(sum + D + c, dshift);
            }
            if (gated)
                wide_sum(sum + 2 * D + c, dgate);
        }
        for (int i = 0; i < n; i++)
            if (row[i].dy.p)
                wan_wide_store(row[i].dy, j, v[i][0], v[i][1]);
    }
}

WAN_WIDE static void wide_back(const wan_seamrow *r, int n)
{
    const int norm = r->du.p != NULL, gated = r->dy.p && r->gate;
    if (n == ROWS)
        norm &&gated ? wide_rows(r, ROWS, 1, 1)
        : norm       ? wide_rows(r, ROWS, 1, 0)
                     : wide_rows(r, ROWS, 0, gated);
    else
        wide_rows(r, 1, norm, gated);
}
#else
#define wide(D) 0
#define wide_add(r) 0
#define wide_spread(x, mean, D) 0
#define wide_norm(r, x, mean, rstd) (void)0
enum { ROWS = 1 };
#define wide_back(r, n) (void)0
#endif

/* ---- any CPU */

/* out = x + y gate; returns the sum */
static float add_row(float *restrict out, const float *x, const float *restrict y,
                     const float *restrict gate, int64_t D)
{
    float sum = 0;
    if (gate) {
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < D; j++)
            sum += out[j] = x[j] + y[j] * gate[j];
    } else {
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < D; j++)
            sum += out[j] = x[j] + y[j];
    }
    return sum;
}

static float plain_add(const wan_seamrow *r)
{
    if (!r->y.p)
        return wan_row_sum(r->x + r->at, r->D);
    return add_row(r->out + r->at, r->x + r->at, wan_row_load(r->y, r->at, r->D, r->tmp), r->gate,
                   r->D);
}

static float plain_spread(const float *restrict x, float mean, int64_t D)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < D; j++)
        sum += (x[j] - mean) * (x[j] - mean);
    return sum;
}

static void norm_row(float *restrict u, const float *restrict x, float mean, float rstd,
                     const float *restrict gain, float one, const float *restrict shift, int64_t D)
{
    for (int64_t j = 0; j < D; j++)
        u[j] = (x[j] - mean) * rstd * (one + gain[j]) + shift[j];
}

void wan_seamrow_forward(const wan_seamrow *r)
{
    const int w = wide(r->D);
    const float *x = r->y.p ? r->out + r->at : r->x + r->at, sum = w ? wide_add(r) : plain_add(r);
    if (!r->u.p)
        return;
    const float mean = sum / (float)r->D;
    const float spread = w ? wide_spread(x, mean, r->D) : plain_spread(x, mean, r->D);
    *r->mean = mean;
    *r->rstd = 1 / sqrtf(spread / (float)r->D + r->eps);
    if (w) {
        wide_norm(r, x, mean, *r->rstd);
        return;
    }
    float *u = wan_row_open(r->u, r->at, r->tmp);
    norm_row(u, x, mean, *r->rstd, r->gain, r->one, r->shift, r->D);
    wan_row_close(r->u, r->at, r->D, u);
}

/* h = du (one + gain), its mean and that of h xhat; du xhat and du are added to the sums */
static void norm_sums(float *restrict h, const float *restrict du, const float *restrict x,
                      float mean, float rstd, const float *restrict gain, float one,
                      float *restrict dgain, float *restrict dshift, int64_t D, float means[2])
{
    float a = 0, b = 0;
#pragma omp simd reduction(+ : a, b)
    for (int64_t j = 0; j < D; j++) {
        float g = du[j], n = (x[j] - mean) * rstd, v = g * (one + gain[j]);
        dgain[j] += g * n;
        dshift[j] += g;
        h[j] = v;
        a += v;
        b += v * n;
    }
    means[0] = a / (float)D;
    means[1] = b / (float)D;
}

static void norm_dx(float *restrict dx, const float *restrict h, const float *restrict x,
                    float mean, float rstd, const float means[2], int64_t D)
{
    for (int64_t j = 0; j < D; j++)
        dx[j] += rstd * (h[j] - means[0] - (x[j] - mean) * rstd * means[1]);
}

static void gate_back(float *restrict dy, float *restrict dgate, const float *restrict dx,
                      const float *restrict y, const float *restrict gate, int64_t D)
{
    for (int64_t j = 0; j < D; j++) {
        dgate[j] += dx[j] * y[j];
        dy[j] = dx[j] * gate[j];
    }
}

static void plain_back(const wan_seamrow *r)
{
    int64_t D = r->D, at = r->at;
    const float *x = r->x + at;
    float *dx = r->dx + at, *t = r->tmp, means[2];
    if (r->du.p) {
        norm_sums(t + D, wan_row_load(r->du, at, D, t), x, *r->mean, *r->rstd, r->gain, r->one,
                  r->sum, r->sum + D, D, means);
        norm_dx(dx, t + D, x, *r->mean, *r->rstd, means, D);
    }
    if (!r->dy.p)
        return;
    if (!r->gate) {
        wan_row_store(r->dy, at, D, dx);
        return;
    }
    gate_back(t + D, r->sum + 2 * D, dx, wan_row_load(r->y, at, D, t), r->gate, D);
    wan_row_store(r->dy, at, D, t + D);
}

void wan_seamrow_backward(const wan_seamrow *r, int64_t n)
{
    wan_seamrow at = *r;
    for (int64_t i = 0, k; i < n; i += k) {
        k = wide(r->D) && n - i >= ROWS ? ROWS : 1;
        at.at = r->at + i * r->D;
        if (r->du.p) {
            at.mean = r->mean + i;
            at.rstd = r->rstd + i;
        }
        if (wide(r->D))
            wide_back(&at, (int)k);
        else
            plain_back(&at);
    }
}
