/* SPDX-License-Identifier: Apache-2.0
 *
 * conv_wino_simd.c - 3x3 convolutions in space by Winograd's F(2x2, 3x3), on the tiles of tile.h.
 *
 * Two rows and two columns of the result come of 4x4 of the input (Lavin and Gray, "Fast Algorithms for
 * Convolutional Neural Networks", 2016):
 *   y = A' [ sum over time and channels of (G w G') o (B' x B) ] A,
 *   B' x = (x0 - x2, x1 + x2, x2 - x1, x1 - x3),  G w = (w0, (w0 + w1 + w2)/2, (w0 - w1 + w2)/2, w2),
 *   A' m = (m0 + m1 + m2, m1 - m2 - m3)
 * that is 16 products for 36, one matrix product for each of the 16 points.  Of an enlarged input x1 = x2:
 * the third of the four is zero, and 9 points are left.  Weights are transformed at each call, for about a
 * hundredth of its time, and never kept.  Every value is summed in one order, whatever the pieces, bands
 * and threads.  The error is in wan-numerics(7).
 */
#include "kernels/conv_wino_simd.h"

#include "kernels/rows.h"
#include "kernels/tile.h"
#include "kernels/vector.h"

enum {
    DEPTH = 96, /* channels transformed at a time */
    TILES = 64, /* tiles of 2x2 that a thread works on at a time */
    LANES = WAN_TILE_N,
};

typedef float v16 __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint32_t u16x __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint16_t h16 __attribute__((vector_size(32), aligned(2), may_alias));

#define INLINE static inline __attribute__((always_inline))

typedef struct job {
    wan_tile t;
    const wan_conv *c;
    wan_buf y, x, w;
    const float *bias;
    int add, side;              /* points to a side: 4, or 3 of an enlarged input */
    int64_t To, Ho, Wo, th, tw; /* of the result; tiles of a frame */
    int64_t tap0, depth;        /* the first tap in use; channels at a time */
    int64_t strips, strip;      /* of a frame; tiles of each */
    char *u, *mine;             /* transformed weights; work space of the first thread */
    const void *zeros;          /* a pixel outside of the picture */
    size_t per_thread;
} job;

int wan_conv_wino_fits(const wan_conv *c)
{
    return c->kh == 3 && c->kw == 3 && c->sh == 1 && c->sw == 1 && c->st == 1 && c->top == 1 &&
           c->bottom == 1 && c->left == 1 && c->right == 1 && c->Ci >= 64 && c->Co >= 64 &&
           c->Ci % WAN_TILE_K == 0 && c->Co % LANES == 0;
}

/* ---- vectors of 16 channels, as fp32 */

INLINE v16 load(const void *p, int64_t i, int half)
{
    if (!half)
        return *(const v16 *)((const float *)p + i);
    h16 h = *(const h16 *)((const uint16_t *)p + i);
    return (v16)(__builtin_convertvector(h, u16x) << 16);
}

/* Rounded to even; what is not finite stays so, but for NaN of which no upper bit is set. */
INLINE void store(void *p, int64_t i, v16 v, int half)
{
    if (!half) {
        *(v16 *)((float *)p + i) = v;
        return;
    }
    u16x u = (u16x)v;
    u = (u + 0x7fff + (u >> 16 & 1)) >> 16;
    *(h16 *)((uint16_t *)p + i) = __builtin_convertvector(u, h16);
}

/* ---- weights */

/* Rows or columns: (a, b, c) to the points. */
INLINE void spread(v16 *o, v16 a, v16 b, v16 c, int side)
{
    v16 s = 0.5f * (a + c);
    o[0] = a;
    o[1] = s + 0.5f * b;
    if (side == 4)
        o[2] = s - 0.5f * b;
    o[side - 1] = c;
}

/* Of 16 channels: all points of the 3x3 at w, rows of `row` elements. */
INLINE void spread_all(v16 p[4][4], const void *w, int64_t at, int64_t row, int half, int side)
{
    v16 r[3][4];
    for (int i = 0; i < 3; i++)
        spread(r[i], load(w, at + 3 * i * row, half), load(w, at + (3 * i + 1) * row, half),
               load(w, at + (3 * i + 2) * row, half), side);
    for (int j = 0; j < side; j++) {
        v16 o[4];
        spread(o, r[0][j], r[1][j], r[2][j], side);
        for (int i = 0; i < side; i++)
            p[i][j] = o[i];
    }
}

/* Where the matrix of a tap, a run of channels and a point stands: [n, all of Co]. */
static char *matrix(const job *j, int64_t tap, int64_t k0, int64_t n, int point)
{
    int64_t per = j->c->Co * j->side * j->side;
    return j->u + ((tap - j->tap0) * j->c->Ci * per + k0 * per + point * n * j->c->Co) * j->t.size;
}

/* 16 outputs of a tap over n channels, into the panels of all points; tmp [points, 16, DEPTH]. */
INLINE void weigh(const job *j, int64_t tap, int64_t k0, int64_t n, int64_t o0, float *tmp,
                  int half, int side)
{
    const wan_conv *c = j->c;
    int points = side * side;
    for (int64_t o = 0; o < LANES; o++) {
        int64_t at = ((o0 + o) * c->kt + tap) * 9 * c->Ci + k0;
        for (int64_t k = 0; k < n; k += LANES) {
            v16 p[4][4];
            spread_all(p, j->w.p, at + k, c->Ci, half, side);
            for (int i = 0; i < points; i++)
                store(tmp, (i * LANES + o) * DEPTH + k, p[i / side][i % side], j->t.size == 2);
        }
    }
    for (int i = 0; i < points; i++)
        wan_tile_pack_rows(&j->t, matrix(j, tap, k0, n, i) + o0 * n * j->t.size,
                           wan_buf_of(tmp, j->t.t), (int64_t)i * LANES * DEPTH, DEPTH, LANES, n,
                           LANES, n);
}

static void weigh_any(const job *j, int64_t tap, int64_t k0, int64_t n, int64_t o0, float *tmp)
{
    int half = j->w.t == WAN_BF16;
    if (half && j->side == 4)
        weigh(j, tap, k0, n, o0, tmp, 1, 4);
    else if (half)
        weigh(j, tap, k0, n, o0, tmp, 1, 3);
    else if (j->side == 4)
        weigh(j, tap, k0, n, o0, tmp, 0, 4);
    else
        weigh(j, tap, k0, n, o0, tmp, 0, 3);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static float *space(const job *j)
{
    return (float *)(void *)(j->mine + (size_t)wan_rows_thread() * j->per_thread);
}

static void weigh_all(const job *j)
{
    const wan_conv *c = j->c;
    int64_t runs = (c->Ci + j->depth - 1) / j->depth, panels = c->Co / LANES;
    int64_t n = (c->kt - j->tap0) * runs * panels;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) {
        int64_t k0 = i / panels % runs * j->depth, tap = j->tap0 + i / (panels * runs);
        weigh_any(j, tap, k0, least(j->depth, c->Ci - k0), i % panels * LANES, space(j));
    }
}

/* ---- input */

/* Four in a row, or three of an enlarged one, to the points. */
INLINE void difference(v16 *o, v16 a, v16 b, v16 c, v16 d, int side)
{
    if (side == 3) {
        o[0] = a - b;
        o[1] = b + b;
        o[2] = b - c;
    } else {
        o[0] = a - c;
        o[1] = b + c;
        o[2] = c - b;
        o[3] = b - d;
    }
}

/* Pixels that tile (i, k) of the frame at x looks at: side x side. */
INLINE void look(const job *j, const void **px, const char *x, int64_t i, int64_t k, int side)
{
    const wan_conv *c = j->c;
    int up = side == 3;
    int64_t H = c->H >> up, W = c->W >> up, step = up ? 1 : 2;
    int64_t pixel = c->Ci * (int64_t)wan_dtype_size(j->x.t);
    for (int r = 0; r < side; r++)
        for (int s = 0; s < side; s++) {
            int64_t ii = i * step + r - 1, kk = k * step + s - 1;
            int in = ii >= 0 && ii < H && kk >= 0 && kk < W;
            px[r * side + s] = in ? x + (ii * W + kk) * pixel : j->zeros;
        }
}

/* v [points, TILES, n] <- channels k0.. of the tiles q0.. of a frame. */
INLINE void differ(const job *j, void *v, const char *x, int64_t q0, int64_t m, int64_t k0,
                   int64_t n, int half, int side)
{
    int small = j->t.size == 2, points = side * side;
    for (int64_t q = 0; q < m; q++) {
        const void *px[16];
        look(j, px, x, (q0 + q) / j->tw, (q0 + q) % j->tw, side);
        for (int64_t k = 0; k < n; k += LANES) {
            v16 r[4][4], o[4];
            for (int i = 0; i < side; i++)
                difference(r[i], load(px[i * side], k0 + k, half),
                           load(px[i * side + 1], k0 + k, half),
                           load(px[i * side + 2], k0 + k, half),
                           load(px[i * side + side - 1], k0 + k, half), side);
            for (int s = 0; s < side; s++) {
                difference(o, r[0][s], r[1][s], r[2][s], r[side - 1][s], side);
                for (int i = 0; i < side; i++)
                    store(v, ((i * side + s) * TILES + q) * n + k, o[i], small);
            }
        }
    }
    for (int i = 0; i < points; i++) /* rows that fill up the last 16 */
        memset((char *)v + (i * TILES + m) * n * j->t.size, 0,
               (size_t)((wan_tile_up(m, 16) - m) * n * j->t.size));
}

static void differ_any(const job *j, void *v, const char *x, int64_t q0, int64_t m, int64_t k0,
                       int64_t n)
{
    int half = j->x.t == WAN_BF16;
    if (half && j->side == 4)
        differ(j, v, x, q0, m, k0, n, 1, 4);
    else if (half)
        differ(j, v, x, q0, m, k0, n, 1, 3);
    else if (j->side == 4)
        differ(j, v, x, q0, m, k0, n, 0, 4);
    else
        differ(j, v, x, q0, m, k0, n, 0, 3);
}

/* ---- result */

/* The points of a row or column to its two values. */
INLINE void gather(v16 o[2], v16 a, v16 b, v16 c, v16 d, int side)
{
    o[0] = side == 3 ? a + b : a + b + c;
    o[1] = side == 3 ? b - d : b - c - d;
}

/* The 2x2 of one tile from acc [points, TILES, Co]. */
INLINE void write_tile(const job *j, const float *acc, int64_t t, int64_t q, int side)
{
    int64_t Co = j->c->Co, i0 = q / j->tw * 2, k0 = q % j->tw * 2, point = TILES * Co;
    int half = j->y.t == WAN_BF16;
    for (int64_t o = 0; o < Co; o += LANES) {
        v16 r[4][2], y[2];
        for (int i = 0; i < side; i++) {
            const float *a = acc + i * side * point + o;
            gather(r[i], load(a, 0, 0), load(a, point, 0), load(a, 2 * point, 0),
                   load(a, (side - 1) * point, 0), side);
        }
        v16 b = j->bias ? load(j->bias, o, 0) : (v16){ 0 };
        for (int k = 0; k < 2; k++) {
            gather(y, r[0][k], r[1][k], r[2][k], r[side - 1][k], side);
            for (int i = 0; i < 2; i++) {
                int64_t at = ((t * j->Ho + i0 + i) * j->Wo + k0 + k) * Co + o;
                if (i0 + i >= j->Ho || k0 + k >= j->Wo)
                    continue;
                y[i] += b;
                if (j->add)
                    y[i] += load(j->y.p, at, half);
                store(j->y.p, at, y[i], half);
            }
        }
    }
}

/* One strip of tiles of frame t. */
static void make_strip(const job *j, int64_t t, int64_t q0, int64_t m)
{
    const wan_conv *c = j->c;
    int64_t Co = c->Co, points = j->side * j->side, frame = c->H * c->W * c->Ci;
    float *acc = space(j), *v = acc + points * TILES * Co;
    int more = 0;
    if (c->up)
        frame /= 4;
    for (int64_t tap = 0; tap < c->kt; tap++) {
        int64_t f = t + tap - c->past;
        for (int64_t k0 = 0; f >= 0 && k0 < c->Ci; k0 += j->depth, more = 1) {
            int64_t n = least(j->depth, c->Ci - k0);
            differ_any(j, v, wan_buf_at(j->x, f * frame).p, q0, m, k0, n);
            for (int p = 0; p < points; p++)
                j->t.mul(acc + p * TILES * Co, Co, (char *)v + p * TILES * n * j->t.size, n,
                         matrix(j, tap, k0, n, p), n * LANES, wan_tile_up(m, 16), Co, n, more);
        }
    }
    for (int64_t q = 0; q < m; q++)
        if (j->side == 4)
            write_tile(j, acc + q * Co, t, q0 + q, 4);
        else
            write_tile(j, acc + q * Co, t, q0 + q, 3);
}

static void measure(job *j)
{
    const wan_conv *c = j->c;
    int64_t per = c->H * c->W;
    j->side = c->up ? 3 : 4;
    j->To = wan_conv_frames(c), j->Ho = c->H, j->Wo = c->W;
    j->th = (j->Ho + 1) / 2, j->tw = (j->Wo + 1) / 2;
    j->tap0 = c->past - j->To + 1 > 0 ? c->past - j->To + 1 : 0;
    j->depth = least(DEPTH, c->Ci);
    per = j->th * j->tw;
    j->strips = (per + TILES - 1) / TILES;
    j->strip = wan_tile_up((per + j->strips - 1) / j->strips, 16);
    j->strips = (per + j->strip - 1) / j->strip;
}

int wan_conv_wino(wan_dev *d, const wan_conv *c, wan_buf y, wan_buf x, wan_buf w, const float *b,
                  int add)
{
    job j = { .t = wan_tile_for(x.t), .c = c, .y = y, .x = x, .w = w, .bias = b, .add = add };
    measure(&j);
    int64_t points = j.side * j.side;
    size_t zeros = (size_t)c->Ci * sizeof(float);
    size_t u = (size_t)((c->kt - j.tap0) * c->Ci * c->Co * points * j.t.size);
    j.per_thread = (size_t)(points * TILES * (c->Co + DEPTH)) * sizeof(float);
    char *s = wan_dev_scratch(d, zeros + u + j.per_thread * (size_t)wan_rows_threads());
    if (!s)
        return -1;
    memset(s, 0, zeros);
    j.zeros = s;
    j.u = s + zeros;
    j.mine = j.u + u;
    weigh_all(&j);
    int64_t per = j.th * j.tw;
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < j.To * j.strips; i++) {
        int64_t q0 = i % j.strips * j.strip;
        make_strip(&j, i / j.strips, q0, least(j.strip, per - q0));
    }
    return 0;
}

int wan_conv_widened(wan_dev *d, wan_conv_forward_fn *how, const wan_conv *c, wan_buf y, wan_buf x,
                     wan_buf w, const wan_real *b, int add)
{
    const int64_t nx = c->T * (c->H >> c->up) * (c->W >> c->up) * c->Ci;
    const int64_t nw = c->Co * c->kt * c->kh * c->kw * c->Ci;
    const int64_t Ho = (c->H + c->top + c->bottom - c->kh) / c->sh + 1;
    const int64_t Wo = (c->W + c->left + c->right - c->kw) / c->sw + 1;
    const int64_t ny = y.t == WAN_F32 ? 0 : wan_conv_frames(c) * Ho * Wo * c->Co;
    float *p = (float *)wan_dev_aside(d, (size_t)(nx + nw + ny) * sizeof *p);
    if (!p)
        return -1;
    const wan_buf W = wan_buf_of(p, WAN_F32), X = wan_buf_of(p + nw, WAN_F32);
    const wan_buf Y = ny ? wan_buf_of(p + nx + nw, WAN_F32) : y;
    WAN_TRY(wan_cast_c(d, X, x, nx));
    WAN_TRY(wan_cast_c(d, W, w, nw));
    if (ny && add)
        WAN_TRY(wan_cast_c(d, Y, y, ny));
    const int rc = how(d, c, Y, X, W, b, add);
    return rc == 0 && ny ? wan_cast_c(d, y, Y, ny) : rc;
}

int wan_conv_forward_simd(wan_dev *d, const wan_conv *c, wan_buf y, wan_buf x, wan_buf w,
                          const wan_real *b, int add)
{
    WAN_ROWS_CHECK_HALF("conv_forward", y, x, w);
    if (x.t == WAN_F16 || w.t == WAN_F16 || y.t == WAN_F16)
        return wan_conv_widened(d, wan_conv_forward_simd, c, y, x, w, b, add);
    if (x.t == w.t && wan_conv_wino_fits(c))
        return wan_conv_wino(d, c, y, x, w, b, add);
    return wan_conv_forward_c(d, c, y, x, w, b, add);
}
