/* SPDX-License-Identifier: Apache-2.0
 *
 * rmsnorm_simd.c - RMSNorm and rotary embedding in 32 columns at a time, where the CPU has AVX512-BF16.
 *
 * Even and odd columns stand apart in registers and in all that is kept between rows (weights, sums of dw, cosines
 * and sines): pairs then rotate without shuffles.  dw is summed over chunks of tokens, whose size follows from S
 * alone, and the chunks in their order: the same bytes whatever the threads.
 */
#include "kernels/cpu.h"
#include "kernels/rmsnorm.h"
#include "kernels/rows.h"
#include "kernels/wide_simd.h"

#ifdef __x86_64__

enum { STEP = 32, FEWEST = 32 /* tokens of a chunk */, MOST_CHUNKS = 256 };

static int64_t head(const wan_rms *a)
{
    return a->rope ? wan_rope_width(a->rope->axis) : 0;
}

/* Whole steps; what does not fit is for the reference, which also says what is wrong. */
static int wide(const wan_rms *a, const wan_buf *b, int n)
{
    for (int i = 0; i < n; i++)
        if (b[i].t != WAN_F32 && b[i].t != WAN_BF16)
            return 0;
    return wan_cpu_isa() >= WAN_CPU_BF16 && a->D % (2 * STEP) == 0 && a->width >= a->D &&
           wan_rope_fits(a->rope, a->D) && head(a) % STEP == 0;
}
#define WIDE(a, ...)                                                                               \
    wide(a, (wan_buf[]){ __VA_ARGS__ }, (int)(sizeof((wan_buf[]){ __VA_ARGS__ }) / sizeof(wan_buf)))

/* Room for the cosines of a head, or its sines, and what a store goes beyond them. */
static int64_t room(const wan_rms *a)
{
    return (head(a) / 2 + 2 * 16 - 1) / 16 * 16;
}

WAN_WIDE_INLINE wan_wide_pairs apart(const float *p)
{
    return (wan_wide_pairs){ _mm512_loadu_ps(p), _mm512_loadu_ps(p + 16) };
}

WAN_WIDE_INLINE void put_apart(float *p, wan_wide_pairs v)
{
    _mm512_storeu_ps(p, v.even);
    _mm512_storeu_ps(p + 16, v.odd);
}

/* w [D] with even and odd columns apart, 32 by 32 */
WAN_WIDE static void part_weights(float *o, const float *w, int64_t D)
{
    for (int64_t j = 0; j < D; j += STEP)
        put_apart(o + j, wan_wide_load_pairs(wan_buf_of((float *)(uintptr_t)w, WAN_F32), j));
}

static __mmask16 first(int64_t n)
{
    return n >= 16 ? 0xffff : n <= 0 ? 0 : (__mmask16)((1 << n) - 1);
}

/* c, s: cosines and sines of a head for token t, times r */
WAN_WIDE static void angles(float *c, float *s, const wan_rope *rope, int64_t t, float r)
{
    int64_t hd = wan_rope_width(rope->axis), at = 0;
    for (int k = 0; k < 3; at += rope->axis[k++]) {
        const float *from = rope->table + rope->pos[3 * t + k] * hd + at;
        for (int64_t j = 0, n; j < rope->axis[k]; j += STEP) {
            n = rope->axis[k] - j;
            wan_wide_pairs v = wan_wide_part(_mm512_maskz_loadu_ps(first(n), from + j),
                                             _mm512_maskz_loadu_ps(first(n - 16), from + j + 16));
            _mm512_storeu_ps(c + (at + j) / 2, _mm512_mul_ps(v.even, _mm512_set1_ps(r)));
            _mm512_storeu_ps(s + (at + j) / 2, _mm512_mul_ps(v.odd, _mm512_set1_ps(r)));
        }
    }
}

/* ---- forward */

/* How a row comes by its rstd. */
enum source { OWN_COLUMNS, SUM, GIVEN };

WAN_WIDE static float sum_squares(wan_buf x, int64_t at, int64_t D)
{
    __m512 s[4] = { _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),
                    _mm512_setzero_ps() };
    for (int64_t j = 0; j < D; j += 2 * STEP)
        for (int k = 0; k < 2; k++) {
            wan_wide_pairs v = wan_wide_load_pairs(x, at + j + k * STEP);
            s[2 * k] = _mm512_fmadd_ps(v.even, v.even, s[2 * k]);
            s[2 * k + 1] = _mm512_fmadd_ps(v.odd, v.odd, s[2 * k + 1]);
        }
    return _mm512_reduce_add_ps(
        _mm512_add_ps(_mm512_add_ps(s[0], s[1]), _mm512_add_ps(s[2], s[3])));
}

/* y = R(s) (x r w); c, s: cosines and sines of the token times r */
WAN_WIDE static void turn(wan_buf y, int64_t to, wan_buf x, int64_t at, const float *w,
                          const float *c, const float *s, int64_t D, int64_t hd)
{
    for (int64_t h = 0; h < D; h += hd)
        for (int64_t j = 0; j < hd; j += STEP) {
            wan_wide_pairs v = wan_wide_load_pairs(x, at + h + j), g = apart(w + h + j);
            __m512 a = _mm512_mul_ps(v.even, g.even), b = _mm512_mul_ps(v.odd, g.odd);
            __m512 C = _mm512_loadu_ps(c + j / 2), S = _mm512_loadu_ps(s + j / 2);
            wan_wide_pairs o = { _mm512_fmsub_ps(a, C, _mm512_mul_ps(b, S)),
                                 _mm512_fmadd_ps(a, S, _mm512_mul_ps(b, C)) };
            wan_wide_store_pairs(y, to + h + j, o);
        }
}

/* y = x r w */
WAN_WIDE static void scale(wan_buf y, int64_t to, wan_buf x, int64_t at, const float *w, float r,
                           int64_t D)
{
    const __m512 f = _mm512_set1_ps(r);
    for (int64_t j = 0; j < D; j += STEP) {
        wan_wide_pairs v = wan_wide_load_pairs(x, at + j), g = apart(w + j);
        v.even = _mm512_mul_ps(_mm512_mul_ps(v.even, f), g.even);
        v.odd = _mm512_mul_ps(_mm512_mul_ps(v.odd, f), g.odd);
        wan_wide_store_pairs(y, to + j, v);
    }
}

static int forward(wan_dev *d, const wan_rms *a, wan_buf y, float *rstd, const float *sum,
                   wan_buf x, const float *w, enum source from)
{
    int64_t D = a->D, mine = 2 * room(a), all = wan_rows_stride(mine) * wan_rows_threads();
    float *tmp = (float *)wan_dev_scratch(d, (size_t)(all + D) * sizeof *tmp), *v = tmp + all;
    if (!tmp)
        return -1;
    part_weights(v, w, D);
#pragma omp parallel for if (a->S * D > WAN_ROWS_PARALLEL)
    for (int64_t s = 0; s < a->S; s++) {
        float *c = wan_rows_mine(tmp, mine);
        if (from != GIVEN) {
            float q = from == SUM ? sum[s] : sum_squares(x, s * a->ldx, D);
            rstd[s] = 1 / sqrtf(q / (float)a->width + (float)a->eps);
        }
        if (a->rope) {
            angles(c, c + room(a), a->rope, s, rstd[s]);
            turn(y, s * a->ldy, x, s * a->ldx, v, c, c + room(a), D, head(a));
        } else {
            scale(y, s * a->ldy, x, s * a->ldx, v, rstd[s], D);
        }
    }
    return 0;
}

/* ---- backward */

/* What the pass over the rows shares. */
typedef struct grads {
    const wan_rms *a;
    wan_buf dx, dy, x;
    const float *rstd, *w; /* w: even and odd columns apart */
    float *dw, *dot;       /* dot: given (have), or to be written */
    int have;
    float *part, *tmp; /* dw of each chunk [D], apart; per thread */
    int64_t size;      /* tokens of a chunk */
} grads;

enum { ROWS = 2 }; /* tokens at a time: weights and sums of dw are read for both */

/* Row of operand b: a copy of its own, so that the compiler knows what stores leave alone. */
static wan_buf row_of(wan_buf b, int64_t s, int64_t ld)
{
    return wan_buf_of(wan_buf_at(b, s * ld).p, b.t);
}

/* The row that takes this one's turn, which is fetched meanwhile: rows are too short for the processor to see what
 * comes. */
typedef struct next_row {
    uintptr_t at;
    uintptr_t size; /* of an element */
} next_row;

WAN_WIDE_INLINE next_row next_of(wan_buf row, int64_t ld)
{
    const uintptr_t size = wan_dtype_size(row.t);
    return (next_row){ (uintptr_t)row.p + (uintptr_t)(ROWS * ld) * size, size };
}

WAN_WIDE_INLINE void expect(const next_row *n, int64_t j, const int write)
{
    const void *p = (const void *)(n->at + (uintptr_t)j * n->size);
    if (write)
        __builtin_prefetch(p, 1);
    else
        __builtin_prefetch(p);
}

/* n rows from s: h = rstd dn w, which is kept, apart, [D] for each; rstd dn x is added to part, where there is one; dot =
 * sum h x of each.  c: cosines and sines of the tokens times rstd, each in so much room, where there is rope. */
WAN_WIDE_INLINE void back_rows(float *h, float *part, const grads *g, int64_t s, float dot[ROWS],
                               const float *c, int64_t space, int64_t hd, const int n,
                               const int rope)
{
    const int64_t D = g->a->D;
    const float *weight = g->w;
    wan_buf dy[ROWS], x[ROWS];
    __m512 sum[ROWS][2], r[ROWS];
    next_row next_dy[ROWS], next_x[ROWS];
    for (int i = 0; i < n; i++) {
        dy[i] = row_of(g->dy, s + i, g->a->ldy);
        x[i] = row_of(g->x, s + i, g->a->ldx);
        next_dy[i] = next_of(dy[i], g->a->ldy);
        next_x[i] = next_of(x[i], g->a->ldx);
        r[i] = _mm512_set1_ps(g->rstd[s + i]);
        sum[i][0] = sum[i][1] = _mm512_setzero_ps();
    }
    for (int64_t k = 0; k < D; k += hd)
        for (int64_t at = 0; at < hd; at += STEP) {
            const int64_t j = k + at;
            const wan_wide_pairs w = apart(weight + j);
            wan_wide_pairs p = part ? apart(part + j) : (wan_wide_pairs){ { 0 }, { 0 } };
            for (int i = 0; i < n; i++) {
                wan_wide_pairs d = wan_wide_load_pairs(dy[i], j), v = wan_wide_load_pairs(x[i], j);
                expect(&next_dy[i], j, 0);
                expect(&next_x[i], j, 0);
                if (!rope) {
                    d.even = _mm512_mul_ps(d.even, r[i]);
                    d.odd = _mm512_mul_ps(d.odd, r[i]);
                } else {
                    const float *a = c + 2 * i * space + at / 2;
                    __m512 C = _mm512_loadu_ps(a), S = _mm512_loadu_ps(a + space), e = d.even;
                    d.even = _mm512_fmadd_ps(e, C, _mm512_mul_ps(d.odd, S));
                    d.odd = _mm512_fmsub_ps(d.odd, C, _mm512_mul_ps(e, S));
                }
                p.even = _mm512_fmadd_ps(d.even, v.even, p.even);
                p.odd = _mm512_fmadd_ps(d.odd, v.odd, p.odd);
                d.even = _mm512_mul_ps(d.even, w.even);
                d.odd = _mm512_mul_ps(d.odd, w.odd);
                sum[i][0] = _mm512_fmadd_ps(d.even, v.even, sum[i][0]);
                sum[i][1] = _mm512_fmadd_ps(d.odd, v.odd, sum[i][1]);
                put_apart(h + i * D + j, d);
            }
            if (part)
                put_apart(part + j, p);
        }
    for (int i = 0; i < n; i++)
        dot[i] = _mm512_reduce_add_ps(_mm512_add_ps(sum[i][0], sum[i][1]));
}

/* dx = h - m x */
WAN_WIDE static void dx_row(const grads *g, int64_t s, const float *h, float m)
{
    const __m512 f = _mm512_set1_ps(m);
    const wan_buf x = row_of(g->x, s, g->a->ldx), dx = row_of(g->dx, s, g->a->lddx);
    const int64_t D = g->a->D;
    const next_row next = next_of(dx, g->a->lddx);
    for (int64_t j = 0; j < D; j += STEP) {
        wan_wide_pairs v = wan_wide_load_pairs(x, j), n = apart(h + j);
        expect(&next, j, 1);
        v.even = _mm512_fnmadd_ps(v.even, f, n.even);
        v.odd = _mm512_fnmadd_ps(v.odd, f, n.odd);
        wan_wide_store_pairs(dx, j, v);
    }
}

/* n rows from s; t: h of each, then cosines and sines of each. */
WAN_WIDE_INLINE void rows_backward(const grads *g, int64_t s, float *part, float *t, const int n)
{
    const wan_rms *a = g->a;
    const int64_t space = room(a);
    float dot[ROWS], *c = t + ROWS * a->D;
    for (int i = 0; a->rope && i < n; i++)
        angles(c + 2 * i * space, c + (2 * i + 1) * space, a->rope, s + i, g->rstd[s + i]);
    if (a->rope)
        back_rows(t, part, g, s, dot, c, space, head(a), n, 1);
    else
        back_rows(t, part, g, s, dot, c, space, a->D, n, 0);
    for (int i = 0; i < n; i++) {
        float r = g->rstd[s + i], m = g->have ? g->dot[s + i] : dot[i] / r;
        if (g->dx.p)
            dx_row(g, s + i, t + i * a->D, m * r * r / (float)a->width * r);
        else
            g->dot[s + i] = m;
    }
}

WAN_WIDE static void chunk_backward(const grads *g, int64_t k, float *t)
{
    int64_t s = k * g->size, end = g->a->S - s < g->size ? g->a->S : s + g->size, D = g->a->D;
    float *part = g->dw ? g->part + k * D : NULL;
    if (part)
        memset(part, 0, (size_t)D * sizeof *part);
    for (; s + ROWS <= end; s += ROWS)
        rows_backward(g, s, part, t, ROWS);
    for (; s < end; s++)
        rows_backward(g, s, part, t, 1);
}

/* Columns [c, c + 32) of all chunks, in their order, to dw. */
WAN_WIDE static void fold(const grads *g, int64_t chunks, int64_t c)
{
    const wan_buf dw = wan_buf_of(g->dw, WAN_F32);
    wan_wide_pairs sum = wan_wide_load_pairs(dw, c);
    for (int64_t k = 0; k < chunks; k++) {
        wan_wide_pairs p = apart(g->part + k * g->a->D + c);
        sum.even = _mm512_add_ps(sum.even, p.even);
        sum.odd = _mm512_add_ps(sum.odd, p.odd);
    }
    wan_wide_store_pairs(dw, c, sum);
}

static int backward(wan_dev *d, grads g)
{
    const wan_rms *a = g.a;
    int64_t D = a->D, mine = ROWS * (D + 2 * room(a)),
            all = wan_rows_stride(mine) * wan_rows_threads();
    g.size = (a->S + MOST_CHUNKS - 1) / MOST_CHUNKS;
    g.size = g.size < FEWEST ? FEWEST : g.size;
    int64_t chunks = (a->S + g.size - 1) / g.size;
    g.tmp = (float *)wan_dev_scratch(d, (size_t)(all + (chunks + 1) * D) * sizeof *g.tmp);
    if (!g.tmp)
        return -1;
    part_weights(g.tmp + all, g.w, D);
    g.w = g.tmp + all;
    g.part = g.tmp + all + D;
#pragma omp parallel if (a->S * D > WAN_ROWS_PARALLEL)
    {
#pragma omp for schedule(dynamic)
        for (int64_t k = 0; k < chunks; k++)
            chunk_backward(&g, k, wan_rows_mine(g.tmp, mine));
#pragma omp for
        for (int64_t c = 0; c < (g.dw ? D : 0); c += STEP)
            fold(&g, chunks, c);
    }
    return 0;
}
#else
#define WIDE(a, ...) 0
#define forward(d, a, y, rstd, sum, x, w, from) -1
#define sum_squares(x, at, D) 0
#define backward(d, ...) -1
#endif

int wan_rmsnorm_forward_simd(wan_dev *d, const wan_rms *a, wan_buf y, float *rstd, wan_buf x,
                             const float *w)
{
    if (!WIDE(a, y, x) || a->width != a->D)
        return wan_rmsnorm_forward_c(d, a, y, rstd, x, w);
    return forward(d, a, y, rstd, NULL, x, w, OWN_COLUMNS);
}

int wan_rms_apply_simd(wan_dev *d, const wan_rms *a, wan_buf y, float *rstd, const float *sum,
                       wan_buf x, const float *w)
{
    if (!WIDE(a, y, x))
        return wan_rms_apply_c(d, a, y, rstd, sum, x, w);
    return forward(d, a, y, rstd, sum, x, w, sum ? SUM : GIVEN);
}

int wan_rms_sumsq_simd(wan_dev *d, const wan_rms *a, float *sum, wan_buf x)
{
    if (!WIDE(a, x))
        return wan_rms_sumsq_c(d, a, sum, x);
#pragma omp parallel for if (a->S * a->D > WAN_ROWS_PARALLEL)
    for (int64_t s = 0; s < a->S; s++)
        sum[s] = sum_squares(x, s * a->ldx, a->D);
    return 0;
}

int wan_rmsnorm_backward_simd(wan_dev *d, const wan_rms *a, wan_buf dx, float *dw, wan_buf dy,
                              wan_buf x, const float *rstd, const float *w)
{
    if (!WIDE(a, dx, dy, x) || a->width != a->D)
        return wan_rmsnorm_backward_c(d, a, dx, dw, dy, x, rstd, w);
    return backward(d,
                    (grads){ .a = a, .dx = dx, .dw = dw, .dy = dy, .x = x, .rstd = rstd, .w = w });
}

int wan_rms_dot_simd(wan_dev *d, const wan_rms *a, float *dot, float *dw, wan_buf dy, wan_buf x,
                     const float *rstd, const float *w)
{
    if (!WIDE(a, dy, x))
        return wan_rms_dot_c(d, a, dot, dw, dy, x, rstd, w);
    return backward(
        d, (grads){ .a = a, .dot = dot, .dw = dw, .dy = dy, .x = x, .rstd = rstd, .w = w });
}

int wan_rms_dx_simd(wan_dev *d, const wan_rms *a, wan_buf dx, const float *dot, wan_buf dy,
                    wan_buf x, const float *rstd, const float *w)
{
    if (!WIDE(a, dx, dy, x))
        return wan_rms_dx_c(d, a, dx, dot, dy, x, rstd, w);
    return backward(d, (grads){ .a = a,
                                .dx = dx,
                                .dot = (float *)(uintptr_t)dot,
                                .have = 1,
                                .dy = dy,
                                .x = x,
                                .rstd = rstd,
                                .w = w });
}
