/* SPDX-License-Identifier: Apache-2.0
 *
 * rmsnorm.cu - RMSNorm over the full width with the rotary embedding behind it, on CUDA.
 */
#include "kernels/reduce.cuh"

/* ---- kernels */

/* What a kernel knows of wan_rms. */
struct rms_args {
    int64_t D, ldx, ldy, lddx;
    float width, eps;
    const int32_t *pos; /* NULL: no rotation */
    const float2 *table;
    int half[3]; /* pairs of a head in front of the end of each axis; half[2]: pairs of a head */
};

/* A token's rows of the table, one for each axis. */
struct turn {
    const float2 *row[3];
};

static __device__ inline turn turn_of(const rms_args &a, int64_t s)
{
    turn t = { { 0, 0, 0 } };
    if (a.pos)
        for (int k = 0; k < 3; k++)
            t.row[k] = a.table + a.pos[3 * s + k] * a.half[2];
    return t;
}

/* v = R(s)^dir v for columns c .. c+7 (c even): dir 1 forward, -1 the transpose */
static __device__ inline void rotate8(float v[8], const rms_args &a, const turn &t, int64_t c,
                                      float dir)
{
    uint32_t n = (uint32_t)a.half[2], k = (uint32_t)(c / 2) % n; /* 64-bit remainders are slow */
    for (int j = 0; j < 8; j += 2) {
        const float2 *row = (int)k < a.half[0]   ? t.row[0]
                            : (int)k < a.half[1] ? t.row[1]
                                                 : t.row[2];
        float2 cs = row[k];
        float si = dir * cs.y, x = v[j], y = v[j + 1];
        v[j] = x * cs.x - y * si;
        v[j + 1] = x * si + y * cs.x;
        k = k + 1 < n ? k + 1 : 0;
    }
}

/* Whether each thread has eight columns of the row at most, and may keep them. */
static __device__ inline int held(const rms_args &a)
{
    return a.D <= blockDim.x * 8;
}

/* The sum of squares of row s of x, in every thread; v: the last columns that this one has read. */
static __device__ inline float row_sumsq(const rms_args &a, vbuf x, int64_t s, float v[8])
{
    float sum = 0;
    for (int64_t c = threadIdx.x * 8; c < a.D; c += blockDim.x * 8) {
        ld8(v, x, s * a.ldx + c, a.D - c);
        for (int j = 0; j < 8; j++)
            sum += v[j] * v[j];
    }
    block_sum<1>(&sum, cuda_shared);
    return sum;
}

static __global__ void sumsq_row(rms_args a, float *sum, vbuf x)
{
    float c[8], v = row_sumsq(a, x, blockIdx.x, c);
    if (threadIdx.x == 0)
        sum[blockIdx.x] = v;
}

/* rstd comes from x itself (own), from sum, or is given (sum NULL) */
static __global__ void forward_row(rms_args a, vbuf y, float *rstd, const float *sum, int own,
                                   vbuf x, vbuf w)
{
    int64_t s = blockIdx.x;
    float v[8], g[8], r;
    turn t = turn_of(a, s);
    if (own || sum) {
        r = 1 / sqrtf((own ? row_sumsq(a, x, s, v) : sum[s]) / a.width + a.eps);
        if (threadIdx.x == 0)
            rstd[s] = r;
    } else {
        r = rstd[s];
    }
    for (int64_t c = threadIdx.x * 8; c < a.D; c += blockDim.x * 8) {
        if (!own || !held(a))
            ld8(v, x, s * a.ldx + c, a.D - c);
        ld8(g, w, c, a.D - c);
        for (int j = 0; j < 8; j++)
            v[j] = v[j] * r * g[j];
        if (a.pos)
            rotate8(v, a, t, c, 1);
        st8(y, s * a.ldy + c, a.D - c, v);
    }
}

/* h = R^T dy w of columns c .. c+7, and x; zeros behind the row's end */
static __device__ inline void load_h(float h[8], float v[8], const rms_args &a, const turn &t,
                                     vbuf dy, vbuf x, vbuf w, int64_t s, int64_t c)
{
    float g[8];
    ld8(v, x, s * a.ldx + c, a.D - c);
    ld8(h, dy, s * a.ldy + c, a.D - c);
    ld8(g, w, c, a.D - c);
    if (a.pos)
        rotate8(h, a, t, c, -1);
    for (int j = 0; j < 8; j++)
        h[j] *= g[j];
}

/* sum h x of row s, in every thread; h, v: the last columns that this one has read */
static __device__ inline float row_dot(const rms_args &a, const turn &t, vbuf dy, vbuf x, vbuf w,
                                       int64_t s, float h[8], float v[8])
{
    float sum = 0;
    for (int64_t c = threadIdx.x * 8; c < a.D; c += blockDim.x * 8) {
        load_h(h, v, a, t, dy, x, w, s, c);
        for (int j = 0; j < 8; j++)
            sum += h[j] * v[j];
    }
    block_sum<1>(&sum, cuda_shared);
    return sum;
}

static __global__ void dot_row(rms_args a, float *dot, vbuf dy, vbuf x, vbuf w)
{
    float h[8], v[8], sum = row_dot(a, turn_of(a, blockIdx.x), dy, x, w, blockIdx.x, h, v);
    if (threadIdx.x == 0)
        dot[blockIdx.x] = sum;
}

/* dx = rstd (h - x rstd^2/width sum), the sum from dot or (NULL) from the row itself */
static __global__ void backward_row(rms_args a, vbuf dx, const float *dot, vbuf dy, vbuf x,
                                    const float *rstd, vbuf w)
{
    int64_t s = blockIdx.x;
    float h[8], v[8], r = rstd[s];
    turn t = turn_of(a, s);
    float m = (dot ? dot[s] : row_dot(a, t, dy, x, w, s, h, v)) * (r * r / a.width);
    for (int64_t c = threadIdx.x * 8; c < a.D; c += blockDim.x * 8) {
        if (dot || !held(a))
            load_h(h, v, a, t, dy, x, w, s, c);
        for (int j = 0; j < 8; j++)
            h[j] = r * (h[j] - v[j] * m);
        st8(dx, s * a.lddx + c, a.D - c, h); /* this thread alone reads these columns of dy */
    }
}

/* sum dn x rstd */
struct gain_sum {
    enum { N = 1 };
    rms_args a;
    vbuf dy, x;
    const float *rstd;
    __device__ void add(float (*acc)[8], int64_t s, int64_t c, int64_t n) const
    {
        float g[8], v[8], r = rstd[s];
        ld8(g, dy, s * a.ldy + c, n);
        ld8(v, x, s * a.ldx + c, n);
        if (a.pos)
            rotate8(g, a, turn_of(a, s), c, -1);
        for (int j = 0; j < 8; j++)
            acc[0][j] += g[j] * v[j] * r;
    }
};

/* All at once, for rows that stay in registers: a block for some rows, whose shares of dw it adds up.  dot: where
 * the sums go that rms_dx takes; NULL: they are used here, for dx.  part [chunks][D] */
static __global__ void __launch_bounds__(ROW_THREADS)
    backward_rows(rms_args a, vbuf dx, float *dot, vbuf dy, vbuf x, const float *rstd, vbuf w,
                  float *part, int64_t S)
{
    int64_t s0 = (int64_t)blockIdx.x * WAN_SPACE_SEAM, s1 = s0 + WAN_SPACE_SEAM;
    int64_t c = threadIdx.x * 8, n = a.D - c;
    float h[8], v[8], g[8], t[8] = { 0, 0, 0, 0, 0, 0, 0, 0 };
    ld8(g, w, c, n);
    for (int64_t s = s0; s < s1 && s < S; s++) {
        float r = rstd[s], sum = 0;
        ld8(v, x, s * a.ldx + c, n);
        ld8(h, dy, s * a.ldy + c, n);
        if (a.pos)
            rotate8(h, a, turn_of(a, s), c, -1);
        for (int j = 0; j < 8; j++) {
            t[j] += h[j] * v[j] * r;
            h[j] *= g[j];
            sum += h[j] * v[j];
        }
        block_sum<1>(&sum, cuda_shared);
        if (dot) {
            if (threadIdx.x == 0)
                dot[s] = sum;
            continue;
        }
        float m = sum * (r * r / a.width);
        for (int j = 0; j < 8; j++)
            h[j] = r * (h[j] - v[j] * m);
        st8(dx, s * a.lddx + c, n, h); /* this thread alone reads these columns of dy */
    }
    vbuf p = { part, 0, a.D % 8 == 0 };
    st8(p, blockIdx.x * a.D + c, n, t);
}

/* ---- launchers */

static int check(const char *op, const wan_rms *a, int whole)
{
    if (a->width < a->D || (whole && a->width != a->D))
        return wan_cuda_host->err("%s: %lld columns of a norm over %lld", op, (long long)a->D,
                                  (long long)a->width);
    if (!wan_rope_fits(a->rope, a->D))
        return wan_cuda_host->err("%s: the rotary embedding does not fit a width of %lld", op,
                                  (long long)a->D);
    return 0;
}

static rms_args args_of(const wan_rms *a)
{
    rms_args g;
    memset(&g, 0, sizeof g);
    g.D = a->D, g.ldx = a->ldx, g.ldy = a->ldy, g.lddx = a->lddx;
    g.width = (float)a->width, g.eps = (float)a->eps;
    if (a->rope) {
        g.pos = a->rope->pos;
        g.table = (const float2 *)a->rope->table;
        for (int k = 0; k < 3; k++)
            g.half[k] = a->rope->axis[k] / 2 + (k ? g.half[k - 1] : 0);
    }
    return g;
}

/* One block for each row. */
template <typename... P, typename... A>
static int launch(wan_dev *d, const char *op, const wan_rms *a, void (*kernel)(rms_args, P...),
                  A... args)
{
    return cuda_launch(d, op, kernel, dim3((unsigned)a->S), row_threads(a->D), 32 * sizeof(float),
                       args_of(a), args...);
}

extern "C" int wan_rmsnorm_forward_cuda(wan_dev *d, const wan_rms *a, wan_buf y, float *rstd,
                                        wan_buf x, const float *w)
{
    CUDA_TYPES("rmsnorm_forward", y, x);
    WAN_TRY(check("rmsnorm_forward", a, 1));
    return launch(d, "rmsnorm_forward", a, forward_row, vbuf_of(y, a->ldy), rstd, nullptr, 1,
                  vbuf_of(x, a->ldx), vbuf_f32(w, 0));
}

extern "C" int wan_rms_sumsq_cuda(wan_dev *d, const wan_rms *a, float *sum, wan_buf x)
{
    CUDA_TYPES("rms_sumsq", x);
    return launch(d, "rms_sumsq", a, sumsq_row, sum, vbuf_of(x, a->ldx));
}

extern "C" int wan_rms_apply_cuda(wan_dev *d, const wan_rms *a, wan_buf y, float *rstd,
                                  const float *sum, wan_buf x, const float *w)
{
    CUDA_TYPES("rms_apply", y, x);
    WAN_TRY(check("rms_apply", a, 0));
    return launch(d, "rms_apply", a, forward_row, vbuf_of(y, a->ldy), rstd, sum, 0,
                  vbuf_of(x, a->ldx), vbuf_f32(w, 0));
}

static int gains(wan_dev *d, const char *op, const wan_rms *a, float *dw, wan_buf dy, wan_buf x,
                 const float *rstd)
{
    gain_sum f = { args_of(a), vbuf_of(dy, a->ldy), vbuf_of(x, a->ldx), rstd };
    return columns_sum(d, op, f, &dw, 0, NULL, a->S, a->D, 1);
}

/* dx (dot NULL) or the sums for it, and dw; 1: more columns than a block has threads for. */
static int at_once(wan_dev *d, const char *op, const wan_rms *a, wan_buf dx, float *dot, float *dw,
                   wan_buf dy, wan_buf x, const float *rstd, const float *w)
{
    segments g = { NULL, 1, a->S, WAN_SPACE_SEAM };
    int64_t chunks = column_chunks(NULL, a->S, WAN_SPACE_SEAM);
    if (a->D > 8 * ROW_THREADS)
        return 1;
    float *part = (float *)cuda_scratch(d, (size_t)wan_space_columns(1, chunks, a->D));
    if (!part)
        return -1;
    WAN_TRY(cuda_launch(d, op, backward_rows, dim3((unsigned)chunks), row_threads(a->D),
                        32 * sizeof(float), args_of(a), vbuf_of(dx, a->lddx), dot,
                        vbuf_of(dy, a->ldy), vbuf_of(x, a->ldx), rstd, vbuf_f32(w, 0), part, a->S));
    return columns_add(d, op, dw, 0, part, g, a->D, 1);
}

extern "C" int wan_rmsnorm_backward_cuda(wan_dev *d, const wan_rms *a, wan_buf dx, float *dw,
                                         wan_buf dy, wan_buf x, const float *rstd, const float *w)
{
    CUDA_TYPES("rmsnorm_backward", dx, dy, x);
    WAN_TRY(check("rmsnorm_backward", a, 1));
    int r = at_once(d, "rmsnorm_backward", a, dx, NULL, dw, dy, x, rstd, w);
    if (r <= 0)
        return r;
    /* dw first: dx may be written over dy */
    WAN_TRY(gains(d, "rmsnorm_backward", a, dw, dy, x, rstd));
    return launch(d, "rmsnorm_backward", a, backward_row, vbuf_of(dx, a->lddx), nullptr,
                  vbuf_of(dy, a->ldy), vbuf_of(x, a->ldx), rstd, vbuf_f32(w, 0));
}

extern "C" int wan_rms_dot_cuda(wan_dev *d, const wan_rms *a, float *dot, float *dw, wan_buf dy,
                                wan_buf x, const float *rstd, const float *w)
{
    CUDA_TYPES("rms_dot", dy, x);
    WAN_TRY(check("rms_dot", a, 0));
    int r = at_once(d, "rms_dot", a, dy, dot, dw, dy, x, rstd, w);
    if (r <= 0)
        return r;
    WAN_TRY(gains(d, "rms_dot", a, dw, dy, x, rstd));
    return launch(d, "rms_dot", a, dot_row, dot, vbuf_of(dy, a->ldy), vbuf_of(x, a->ldx),
                  vbuf_f32(w, 0));
}

extern "C" int wan_rms_dx_cuda(wan_dev *d, const wan_rms *a, wan_buf dx, const float *dot,
                               wan_buf dy, wan_buf x, const float *rstd, const float *w)
{
    CUDA_TYPES("rms_dx", dx, dy, x);
    WAN_TRY(check("rms_dx", a, 0));
    return launch(d, "rms_dx", a, backward_row, vbuf_of(dx, a->lddx), dot, vbuf_of(dy, a->ldy),
                  vbuf_of(x, a->ldx), rstd, vbuf_f32(w, 0));
}
