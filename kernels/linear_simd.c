/* SPDX-License-Identifier: Apache-2.0
 *
 * linear_simd.c - dense layer on packed tiles: in builds without oneDNN, and where it is faster.
 *
 * C = A B: B is packed once by all threads, in chunks of at most COLS columns and in these in blocks along the
 * summed dimension, so that it lies in the order in which it is read; a task is up to 192 rows of A times
 * some chunks, with C in a tile of 192 x 192 that the epilogue (bias, activation, accumulation, rounding)
 * finds in the cache.
 */
#include "kernels/linear_simd.h"

#include "kernels/act_wide_simd.h"
#include "kernels/rows.h"
#include "kernels/tile.h"

enum {
    ROWS = 192,
    COLS = 192,
    DEPTH = 512 /* at most */,
    DEEP = 3328 /* bytes at most, where sums are added up in memory */,
    NARROW = 384 /* columns of a weight gradient whose rows are not divided */,
    FEW = 4 /* tasks a thread at least, there */,
    PIECES = 4 /* of a task */,
    PAST = 16 << 20 /* bytes of B that are packed past the caches */,
    TASKS = 8 /* a thread at least */,
    FEWEST = 48 /* rows to divide down to */
};

/* A matrix as it lies in memory; tr: stored the other way round. */
typedef struct side {
    wan_buf b;
    int tr;
} side;

typedef struct job {
    wan_tile t, far;         /* far: B is packed with it */
    int64_t M, N, K, np, kp; /* np, kp: N and K padded */
    int64_t rows, deep;      /* of a task, of a block of K; the last may be smaller */
    int64_t chunk;           /* columns that are packed together */
    side A, B;
    char *packed; /* of B */
    char *work;   /* per thread: block of A, tile of C */
    size_t mine;
    int64_t *next; /* of each range of columns the block of rows that is to be done next */
    /* epilogue */
    wan_buf out, pre,
        slope; /* slope: what act was applied to; the result is multiplied by act' there */
    const float *bias;
    enum wan_act act;
    int add, wide; /* wide: 32 columns at a time */
    int cols;      /* A is packed as B is */
    float *db;     /* sums of A's rows, as `add` says, where A is packed so; NULL: none */
    int64_t part;  /* columns of a piece of a task */
} job;

/* A thread's memory, and the row that the block of A in it begins with; -1: none. */
typedef struct bench {
    char *C, *A;
    int64_t m0;
} bench;

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Where depth k0.. of the columns of chunk c0.. stands in the packed B. */
static char *packed(const job *j, int64_t k0, int64_t c0)
{
    int64_t np = wan_tile_up(least(j->N - c0, j->chunk), WAN_TILE_N);
    return j->packed + (c0 * j->kp + k0 * np) * j->t.size;
}

/* A block of B that is weights in blocks of few bits: unpacked panel by panel. */
static void unpack_block(const job *j, char *dst, int64_t at, int64_t n, int64_t k, int64_t np,
                         int64_t kp)
{
    _Alignas(64) float value[DEPTH];
    _Alignas(64) char rows[WAN_TILE_N * DEPTH * sizeof(float)];
    const wan_quant q = wan_quant_of(j->B.b.t);
    const int64_t ld = (int64_t)wan_quant_span(j->B.b.t, j->K);
    const int64_t span = (int64_t)wan_quant_span(j->B.b.t, k);
    for (int64_t p = 0; p < np; p += WAN_TILE_N) {
        int64_t m = least(n - p, WAN_TILE_N);
        for (int64_t i = 0; i < m; i++) {
            const char *w = (const char *)j->B.b.p + wan_quant_span(j->B.b.t, at + (p + i) * j->K);
            if (p + WAN_TILE_N + i < n) /* rows are too short for the processor to see what comes */
                for (int64_t line = 0; line < span; line += 64)
                    __builtin_prefetch(w + WAN_TILE_N * ld + line, 0, 2);
            wan_quant_decode(value, w, q, (size_t)k);
            j->t.store(rows + i * k * j->t.size, value, k);
        }
        wan_tile_pack_rows(&j->t, dst + p * kp * j->t.size, wan_buf_of(rows, j->t.t), 0, k, m, k,
                           WAN_TILE_N, kp);
    }
}

/* Of B depth k0.., n columns from c0 of a chunk. */
static void pack_block(const job *j, int64_t k0, int64_t c0, int64_t n)
{
    int64_t k = least(j->K - k0, j->deep), kp = wan_tile_up(k, WAN_TILE_K);
    int64_t np = wan_tile_up(n, WAN_TILE_N), chunk = c0 / j->chunk * j->chunk;
    char *dst = packed(j, k0, chunk) + (c0 - chunk) * kp * j->t.size;
    if (wan_quant_of(j->B.b.t))
        unpack_block(j, dst, c0 * j->K + k0, n, k, np, kp);
    else if (j->B.tr)
        wan_tile_pack_rows(&j->far, dst, j->B.b, c0 * j->K + k0, j->K, n, k, np, kp);
    else
        wan_tile_pack_cols(&j->far, dst, kp * WAN_TILE_N, j->B.b, k0 * j->N + c0, j->N, k, n, kp,
                           np);
}

/* Whether m rows of A are read where they lie: whole tiles of the right type, and not all in the same
 * lines of the cache. */
static int in_place(const job *j, int64_t m)
{
    return !j->A.tr && j->A.b.t == j->t.t && j->K == j->kp && m % WAN_TILE_N == 0 &&
           j->K * j->t.size % 4096 != 0;
}

/* Rows m0.. of A, all depth blocks: block k0 stands at k0*ROWS elements. */
static void load_rows(const job *j, char *dst, int64_t m0, int64_t m, int64_t mp)
{
    for (int64_t k0 = 0; k0 < j->K; k0 += j->deep) {
        int64_t k = least(j->K - k0, j->deep), kp = wan_tile_up(k, WAN_TILE_K);
        char *o = dst + k0 * ROWS * j->t.size;
        if (j->cols)
            wan_tile_pack_cols(&j->t, o, kp * WAN_TILE_N, j->A.b, k0 * j->M + m0, j->M, k, m, kp,
                               mp);
        else if (j->A.tr)
            wan_tile_transpose(&j->t, o, kp, j->A.b, k0 * j->M + m0, j->M, k, m, mp);
        else
            wan_tile_rows(&j->t, o, kp, j->A.b, m0 * j->K + k0, j->K, m, k, mp);
    }
}

/* Output rows [m0, m1), columns c.., on their way to the cache: rows lie far apart, and what is added to
 * would be waited for line by line. */
static void expect_rows(const job *j, int64_t m0, int64_t m1, int64_t c, int64_t n)
{
    size_t e = wan_dtype_size(j->out.t);
    for (int64_t m = m0; m < m1; m++)
        for (size_t i = 0; i < (size_t)n * e; i += 64)
            __builtin_prefetch((char *)j->out.p + (size_t)(m * j->N + c) * e + i, 1, 2);
}

#ifdef __x86_64__
/* GELU of 16 columns, or times its slope. */
WAN_WIDE_INLINE __m512 bend(const job *j, __m512 v, int64_t at)
{
    const int fine = j->out.t == WAN_F32;
    if (!j->slope.p)
        return fine ? wan_act_wide_value(v, 1) : wan_act_wide_value(v, 0);
    __m512 x = wan_wide_load(j->slope, at);
    return _mm512_mul_ps(v, fine ? wan_act_wide_slope(x, 1) : wan_act_wide_slope(x, 0));
}

/* finish_row for whole 32 columns, each of them once; returns how many. */
WAN_WIDE static int64_t finish_wide(const job *j, const float *row, int64_t at, int64_t n0,
                                    int64_t n)
{
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        __m512 v[2];
        for (int k = 0; k < 2; k++) {
            v[k] = _mm512_loadu_ps(row + i + 16 * k);
            if (j->bias)
                v[k] = _mm512_add_ps(v[k], _mm512_loadu_ps(j->bias + n0 + i + 16 * k));
            if (j->add)
                v[k] = _mm512_add_ps(v[k], wan_wide_load(j->out, at + i + 16 * k));
        }
        if (j->pre.p)
            wan_wide_store(j->pre, at + i, v[0], v[1]);
        for (int k = 0; j->act == WAN_ACT_GELU_TANH && k < 2; k++)
            v[k] = bend(j, v[k], at + i + 16 * k);
        wan_wide_store(j->out, at + i, v[0], v[1]);
    }
    return i;
}
#else
#define finish_wide(j, row, at, n0, n) 0
#endif

static void finish_row(const job *j, float *row, int64_t m, int64_t n0, int64_t n)
{
    float tmp[COLS];
    int64_t at = m * j->N + n0, done = j->wide ? finish_wide(j, row, at, n0, n) : 0;
    if (done == n)
        return;
    row += done, at += done, n0 += done, n -= done;
    for (int64_t i = 0; j->bias && i < n; i++)
        row[i] += j->bias[n0 + i];
    if (j->add)
        wan_row_axpy(row, 1, wan_row_load(j->out, at, n, tmp), n);
    if (j->pre.p)
        wan_row_store(j->pre, at, n, row);
    if (j->slope.p)
        wan_act_times_slope(row, wan_buf_at(j->slope, at), n, j->act, j->out.t == WAN_F32);
    else if (j->act != WAN_ACT_NONE)
        wan_act_values(row, row, n, j->act, j->out.t == WAN_F32);
    wan_row_store(j->out, at, n, row);
}

/* Whether products are added up where they go, which is [m, n] of it: sums alone, in whole tiles. */
static int straight(const job *j, int64_t m, int64_t n)
{
    return j->cols && j->out.t == WAN_F32 && m % WAN_TILE_N == 0 && n % WAN_TILE_N == 0;
}

/* C [m, n] of rows m0.., columns c.., from A as it lies in memory (there) or was loaded. */
static void multiply(const job *j, const char *A, int there, int64_t m0, int64_t m, int64_t c,
                     int64_t n, float *C)
{
    const int direct = straight(j, m, n);
    wan_tile_mul_fn *mul = j->cols ? j->t.mul_cols : j->t.mul;
    int64_t mp = wan_tile_up(m, WAN_TILE_N), np = wan_tile_up(n, WAN_TILE_N), e = j->t.size;
    float *to = direct ? (float *)j->out.p + m0 * j->N + c : C;
    for (int64_t k0 = 0, k1; k0 < j->K; k0 = k1) {
        k1 = least(k0 + j->deep, j->K);
        int64_t kp = wan_tile_up(k1 - k0, WAN_TILE_K);
        int64_t lda = there ? j->K : j->cols ? kp * WAN_TILE_N : kp;
        if (!direct)
            expect_rows(j, m0 + m * k0 / j->K, m0 + m * k1 / j->K, c, n);
        mul(to, direct ? j->N : COLS, A + k0 * (there ? 1 : ROWS) * e, lda, packed(j, k0, c),
            kp * WAN_TILE_N, mp, np, kp, k0 > 0 || (direct && j->add));
    }
    for (int64_t i = 0; !direct && i < m; i++)
        finish_row(j, C + i * COLS, m0 + i, c, n);
}

/* db of rows m0.. of A, which were loaded. */
static void sum_rows(const job *j, const char *A, int64_t m0, int64_t m)
{
    float sum[ROWS] = { 0 };
    for (int64_t k0 = 0; k0 < j->K; k0 += j->deep) {
        int64_t kp = wan_tile_up(least(j->K - k0, j->deep), WAN_TILE_K);
        j->t.sum_cols(sum, A + k0 * ROWS * j->t.size, kp * WAN_TILE_N, m, kp);
    }
    for (int64_t i = 0; i < m; i++)
        j->db[m0 + i] = (j->add ? j->db[m0 + i] : 0) + sum[i];
}

/* Rows m0.., columns [n0, n1). */
static void task(const job *j, int64_t m0, int64_t n0, int64_t n1, bench *own)
{
    int64_t m = least(j->M - m0, j->rows);
    int there = in_place(j, m);
    if (!there && own->m0 != m0)
        load_rows(j, own->A, m0, m, wan_tile_up(m, WAN_TILE_N));
    own->m0 = m0;
    if (j->db && j->cols && n0 == 0)
        sum_rows(j, own->A, m0, m);
    for (int64_t c = n0; c < n1; c += j->chunk)
        multiply(j, there ? (char *)wan_buf_at(j->A.b, m0 * j->K).p : own->A, there, m0, m, c,
                 least(n1 - c, j->chunk), (float *)(void *)own->C);
}

static int64_t parts_of(int64_t n, int64_t most)
{
    return (n + most - 1) / most;
}

/* Columns are divided first, in whole chunks, then rows: either means that more is read again. */
wan_linear_cut wan_linear_cut_for(int64_t M, int64_t N, int64_t K, int threads)
{
    int64_t chunks = parts_of(N, COLS), want = (int64_t)TASKS * threads, most = ROWS;
    while (most > FEWEST && parts_of(M, most) * chunks < want)
        most /= 2;
    int64_t mb = parts_of(M, most), cb = least(parts_of(want, mb), chunks);
    int64_t chunk = wan_tile_up(parts_of(N, chunks), WAN_TILE_N); /* all of one size */
    int few = parts_of(K, DEPTH) * chunks < 4 * threads && chunk / 4 % WAN_TILE_N == 0;
    return (wan_linear_cut){
        .rows = wan_tile_up(parts_of(M, mb), WAN_TILE_N),
        .columns = parts_of(chunks, cb) * chunk,
        .depth = wan_tile_up(parts_of(K, parts_of(K, DEPTH)), WAN_TILE_K),
        .chunk = chunk,
        .pack = few ? chunk / 4 : chunk,
    };
}

/* The next pieces of a range of columns, `whole` of them a task, for one of `threads`: a task, but single ones towards
 * the end, where who is done first would wait.  How many; *at: the first. */
static int64_t take(int64_t *next, int64_t pieces, int64_t whole, int64_t threads, int64_t *at)
{
    int64_t n;
    *at = __atomic_load_n(next, __ATOMIC_RELAXED);
    do {
        if (*at >= pieces)
            return 0;
        n = *at % whole || pieces - *at <= (threads + 1) * whole ? 1 : whole;
    } while (
        !__atomic_compare_exchange_n(next, at, *at + n, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return n;
}

/* All tasks, by threads that begin with the columns that they packed and with rows of their own: on many CPUs what
 * another core wrote is far away.  mb: blocks of rows; rb, cb: ranges of rows and columns. */
static void run_tasks(const job *j, int64_t mb, int64_t rb, int64_t cb, int64_t wide)
{
    int64_t own = wan_rows_thread() * rb * cb / wan_rows_threads();
    int64_t whole = parts_of(wide, j->part), share = parts_of(wan_rows_threads(), rb * cb);
    char *work = j->work + j->mine * (size_t)wan_rows_thread();
    bench b = { work, work + ROWS * COLS * sizeof(float), -1 };
    for (int64_t k = 0, at, n; k < rb * cb; k++) {
        int64_t r = (own + k) % (rb * cb), c = r % cb * wide, end = least(c + wide, j->N);
        int64_t m = r / cb * mb / rb, blocks = (r / cb + 1) * mb / rb - m;
        while ((n = take(&j->next[r], blocks * whole, whole, share, &at))) {
            int64_t from = c + at % whole * j->part;
            if (from < end)
                task(j, (m + at / whole) * j->rows, from, least(from + n * j->part, end), &b);
        }
    }
}

/* What a weight gradient is cut into: more of the sum at once; of a narrow one whole rows, so that threads neither
 * write into the same rows nor pack the same of A. */
static void cut_sums(const job *j, wan_linear_cut *cut)
{
    int64_t most = ROWS;
    cut->depth = wan_tile_up(parts_of(j->K, parts_of(j->K, DEEP / j->t.size)), WAN_TILE_K);
    if (j->N > NARROW)
        return;
    while (most > WAN_TILE_N && parts_of(j->M, most) < FEW * wan_rows_threads())
        most /= 2;
    cut->rows = wan_tile_up(parts_of(j->M, parts_of(j->M, most)), WAN_TILE_N);
    cut->columns = parts_of(j->N, cut->chunk) * cut->chunk;
}

static int run(wan_dev *d, job *j)
{
    const wan_quant q = wan_quant_of(j->B.b.t);
    int half = j->A.b.t == WAN_BF16 && (q || j->B.b.t == WAN_BF16);
    j->t = wan_tile_for(half ? WAN_BF16 : WAN_F32);
    j->wide =
        wan_cpu_isa() >= WAN_CPU_BF16 && (j->act == WAN_ACT_NONE || j->act == WAN_ACT_GELU_TANH);
    j->np = wan_tile_up(j->N, WAN_TILE_N);
    j->kp = wan_tile_up(j->K, WAN_TILE_K);
    wan_linear_cut cut = wan_linear_cut_for(j->M, j->N, j->K, wan_rows_threads());
    if (q) /* whole blocks */
        cut.depth = wan_tile_up(cut.depth, (int64_t)wan_quant_values(q));
    j->cols = j->A.tr && j->t.mul_cols;
    if (j->cols)
        cut_sums(j, &cut);
    j->deep = cut.depth;
    j->part = parts_of(cut.columns / cut.chunk, PIECES) * cut.chunk;
    j->rows = cut.rows;
    j->chunk = cut.chunk;
    int64_t kb = parts_of(j->K, cut.depth), nb = parts_of(j->N, cut.pack), wide = cut.columns;
    int64_t mb = parts_of(j->M, cut.rows), cb = parts_of(j->N, wide);
    int64_t rb = least(parts_of(wan_rows_threads(), cb), mb);
    size_t pack = (size_t)(j->np * j->kp * j->t.size), work = (size_t)wan_rows_threads();
    j->mine = ROWS * ((size_t)(j->kp * j->t.size) + COLS * sizeof(float)) + 4096;
    work *= j->mine;
    char *p = (char *)wan_dev_scratch(d, pack + work + (size_t)(rb * cb) * sizeof *j->next);
    if (!p)
        return -1;
    j->far = j->t;
    j->far.past = pack > PAST;
    j->packed = p;
    j->work = p + pack;
    j->next = (int64_t *)(void *)(p + pack + work);
    memset(j->next, 0, (size_t)(rb * cb) * sizeof *j->next);
#pragma omp parallel if (j->M * j->N * j->K > 1 << 16)
    {
#pragma omp for schedule(static)
        for (int64_t b = 0; b < kb * nb; b++)
            pack_block(j, b % kb * j->deep, b / kb * cut.pack,
                       least(j->N - b / kb * cut.pack, cut.pack));
        run_tasks(j, mb, rb, cb, wide);
    }
    return 0;
}

/* Few rows read every weight once: packing would read and write them first. */
static int thin(int64_t M)
{
    return M < WAN_TILE_N;
}

int wan_linear_forward_simd(wan_dev *d, wan_buf y, wan_buf pre, wan_buf x, wan_buf w,
                            const wan_real *b, int64_t M, int64_t N, int64_t K, enum wan_act act)
{
    WAN_ROWS_CHECK("linear_forward", y, x, pre.p ? pre : y);
    WAN_TRY(wan_rows_check_weights("linear_forward", w, K));
    if (thin(M))
        return wan_linear_forward_c(d, y, pre, x, w, b, M, N, K, act);
    if (wan_quant_of(w.t) && x.t == WAN_BF16 && !pre.p && wan_linear_int8())
        return wan_linear_int8_forward(d, wan_linear_cut_for(M, N, K, wan_rows_threads()), y, x, w,
                                       b, M, N, K, act);
    job j = { .M = M,
              .N = N,
              .K = K,
              .A = { x, 0 },
              .B = { w, 1 },
              .out = y,
              .pre = pre,
              .bias = b,
              .act = act };
    return run(d, &j);
}

int wan_linear_dgrad_simd(wan_dev *d, wan_buf dx, wan_buf dy, wan_buf w, int64_t M, int64_t N,
                          int64_t K, int accumulate)
{
    WAN_ROWS_CHECK("linear_dgrad", dx, dy, w);
    if (thin(M))
        return wan_linear_dgrad_c(d, dx, dy, w, M, N, K, accumulate);
    job j = { .M = M, .N = K, .K = N, .A = { dy, 0 }, .B = { w, 0 }, .out = dx, .add = accumulate };
    return run(d, &j);
}

int wan_linear_dgrad_act_simd(wan_dev *d, wan_buf dx, wan_buf dy, wan_buf w, wan_buf z, int64_t M,
                              int64_t N, int64_t K, enum wan_act act)
{
    WAN_ROWS_CHECK("linear_dgrad_act", dx, dy, w, z);
    if (thin(M))
        return wan_linear_dgrad_act_c(d, dx, dy, w, z, M, N, K, act);
    job j = {
        .M = M, .N = K, .K = N, .A = { dy, 0 }, .B = { w, 0 }, .out = dx, .slope = z, .act = act
    };
    return run(d, &j);
}

enum { BIAS = 64, WIDE = 256 }; /* columns whose sums stay in registers; in the first cache */

static void sum_columns(float *restrict acc, wan_buf dy, int64_t at, int64_t M, int64_t ld,
                        int64_t n)
{
    float tmp[WIDE];
    if (n == BIAS && dy.t == WAN_BF16)
        for (int64_t m = 0; m < M; m++) {
            const uint16_t *r = (const uint16_t *)dy.p + at + m * ld;
            for (int j = 0; j < BIAS; j++)
                acc[j] += wan_bf16_to_f32(r[j]);
        }
    else
        for (int64_t m = 0; m < M; m++)
            wan_row_axpy(acc, 1, wan_row_load(dy, at + m * ld, n, tmp), n);
}

void wan_linear_bias_grad(float *db, wan_buf dy, int64_t M, int64_t N, int accumulate)
{
    int64_t wide = dy.t != WAN_BF16 && N > 4 * WIDE ? WIDE : BIAS;
#pragma omp parallel for if (M * N > WAN_ROWS_PARALLEL)
    for (int64_t c = 0; c < N; c += wide) {
        int64_t n = least(N - c, wide);
        float acc[WIDE] = { 0 };
        sum_columns(acc, dy, c, M, N, n);
        for (int64_t i = 0; i < n; i++)
            db[c + i] = (accumulate ? db[c + i] : 0) + acc[i];
    }
}

int wan_linear_wgrad_simd(wan_dev *d, wan_real *dw, wan_real *db, wan_buf dy, wan_buf x, int64_t M,
                          int64_t N, int64_t K, int accumulate)
{
    WAN_ROWS_CHECK("linear_wgrad", dy, x);
    if (thin(M))
        return wan_linear_wgrad_c(d, dw, db, dy, x, M, N, K, accumulate);
    job j = { .M = N,
              .N = K,
              .K = M,
              .A = { dy, 1 },
              .B = { x, 0 },
              .out = WAN_RBUF(dw),
              .db = db,
              .add = accumulate };
    WAN_TRY(run(d, &j));
    if (db && !j.cols)
        wan_linear_bias_grad(db, dy, M, N, accumulate);
    return 0;
}
