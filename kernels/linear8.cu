/* SPDX-License-Identifier: Apache-2.0
 *
 * linear8.cu - dense layer in eight bits on cuBLASLt (compute capability 8.9 and newer).
 *
 * cuBLASLt multiplies eight bits only where both operands run along the sum: x and w do in the forward
 * pass; for the others a copy turned over is written while a tensor is rounded, so that it is read
 * twice (its largest value, its values) and each copy is written once.  Rows of a copy are padded with
 * zeros to 16 codes.  Elsewhere (older chips, shapes without an algorithm) operands are rounded into
 * bf16 and linear.cu multiplies: the same function.
 */
#include "kernels/act.cuh"
#include "kernels/gemm8.cuh"
#include "kernels/lt.cuh"
#include "kernels/plans.h"
#include "kernels/reduce.cuh"

extern "C" {
#include "kernels/linear8_wide.h"
}

enum { MAX_WEIGHTS = 2048 };
enum { TILE = 64, TILE_ROW = 80 /* bytes: 16 more than codes */ };
enum : size_t { HEAD_BYTES = 256 };

/* ---- rounding (linear8.h) */

/* How the values of one tensor are rounded. */
struct rule {
    float s, back; /* the scale, and what undoes it */
    float small;   /* the adder's ulp next to it is the step of the smallest numbers */
    uint32_t low;  /* bits of the smallest normal number */
    int shift;     /* bits of a float's mantissa that go */
    int e5m2;
};

static __device__ inline float power(int e)
{
    return __uint_as_float((uint32_t)(e + 127) << 23);
}

static __device__ inline rule rule_of(uint32_t most, int e5m2)
{
    const int top = e5m2 ? 15 : 8, low = e5m2 ? -14 : -6, mantissa = e5m2 ? 2 : 3;
    int e = top - ((int)(most >> 23) - 127) - ((most & 0x7fffff) > 0x600000);
    e = most == 0 ? 0 : e > 120 ? 120 : e;
    rule q = { power(e),      power(-e), power(low - mantissa + 23), (uint32_t)(low + 127) << 23,
               23 - mantissa, e5m2 };
    if (most >= 0x7f800000)
        q.s = __uint_as_float(0x7fc00000);
    return q;
}

/* Bits of v s rounded; |v s| is at most the largest number of the format. */
static __device__ inline uint32_t nearest(float v, rule q)
{
    const uint32_t u = __float_as_uint(v * q.s), a = u & 0x7fffffff, step = 1u << q.shift;
    const uint32_t under = __float_as_uint((__uint_as_float(a) + q.small) - q.small);
    uint32_t r = (a + step / 2 - 1 + ((a >> q.shift) & 1)) & ~(step - 1);
    r = a < q.low ? under : r;
    return r | (u & 0x80000000);
}

/* Codes of two values, the first in the low byte. */
static __device__ inline uint32_t codes2(float a, float b, rule q)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
    uint16_t h;
    if (q.e5m2)
        asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(h) : "f"(b * q.s), "f"(a * q.s));
    else
        asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(h) : "f"(b * q.s), "f"(a * q.s));
    return h;
#else
    uint32_t code[2];
    const float v[2] = { a, b };
    for (int i = 0; i < 2; i++) {
        uint32_t u = nearest(v[i], q), m = u & 0x7fffffff;
        uint32_t c = m > 0x7f800000 ? 0x7f /* NaN */
                     : m >= q.low   ? (m >> q.shift) - ((q.low >> q.shift) - (1u << (23 - q.shift)))
                                    : (uint32_t)(__uint_as_float(m) *
                                               power(150 - (int)(__float_as_uint(q.small) >> 23)));
        code[i] = c | (u >> 31 << 7);
    }
    return code[0] | code[1] << 8;
#endif
}

/* A gradient, or where act is one that behind an activation, as act_backward would leave it in dy's type. */
struct gradient {
    vbuf dy, z;
    int act;
};

static __device__ inline void ld8(float v[8], const gradient &g, int64_t i, int64_t n)
{
    float z[8];
    ld8(v, g.dy, i, n);
    if (g.act == WAN_ACT_NONE)
        return;
    ld8(z, g.z, i, n);
    CUDA_UNROLL
    for (int j = 0; j < 8; j++) {
        v[j] *= act_slope(z[j], g.act);
        v[j] = g.dy.bf16 ? bf16_low(bf16_bits(v[j])) : v[j];
    }
}

static __device__ inline uint32_t larger(uint32_t here, float v)
{
    const uint32_t u = __float_as_uint(v) & 0x7fffffff;
    return u > here ? u : here;
}

/* *most is at least what any thread of the warp has. */
static __device__ inline void tell(unsigned *most, uint32_t here)
{
    for (int w = 16; w; w /= 2) {
        const uint32_t u = __shfl_xor_sync(0xffffffffu, here, w);
        here = u > here ? u : here;
    }
    if (threadIdx.x % 32 == 0 && here)
        atomicMax(most, here);
}

/* Sums of a gradient's columns and, as it is read, its largest value. */
struct gradient_sum {
    enum { N = 1 };
    gradient g;
    unsigned *most;
    int64_t D;
    mutable uint32_t here;
    __device__ void add(float (*acc)[8], int64_t s, int64_t c, int64_t n) const
    {
        float v[8];
        ld8(v, g, s * D + c, n);
        CUDA_UNROLL
        for (int j = 0; j < 8; j++) {
            acc[0][j] += v[j];
            here = larger(here, v[j]);
        }
    }
};

static __device__ inline void columns_end(const gradient_sum &f)
{
    tell(f.most, f.here);
}

/* *most = bits of the largest |x|: without sign bits order as numbers do, infinity and NaN last. */
static __global__ void largest_all(unsigned *most, vbuf x, int64_t n)
{
    uint32_t here = 0;
    const int64_t step = (int64_t)gridDim.x * blockDim.x * 8;
    for (int64_t i = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * 8; i < n; i += step) {
        float v[8];
        ld8(v, x, i, n - i);
        for (int j = 0; j < 8; j++)
            here = larger(here, v[j]);
    }
    tell(most, here);
}

static __global__ void round8_all(vbuf y, vbuf x, const unsigned *most, int e5m2, int64_t n)
{
    const rule q = rule_of(*most, e5m2);
    const int64_t step = (int64_t)gridDim.x * blockDim.x * 8;
    for (int64_t i = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * 8; i < n; i += step) {
        float v[8];
        ld8(v, x, i, n - i);
        for (int j = 0; j < 8; j++)
            v[j] = __uint_as_float(nearest(v[j], q)) * q.back;
        st8(y, i, n - i, v);
    }
}

/* A tensor's codes as it lies, each row ld bytes, and turned over, ldt bytes; NULL: not that one. */
struct code_out {
    unsigned char *plain, *turned;
    int64_t ld, ldt;
    float *back; /* what undoes the scale */
};

/* A tile of x [rows, cols] for a block of 256 threads; what is behind the ends is zero. */
template <class X>
static __global__ void codes_tile(code_out o, X x, const unsigned *most, int e5m2, int64_t rows,
                                  int64_t cols)
{
    unsigned char *tile = (unsigned char *)cuda_shared;
    const int64_t r0 = (int64_t)blockIdx.x * TILE, c0 = (int64_t)blockIdx.y * TILE;
    const int at = threadIdx.x / 4, part = threadIdx.x % 4 * 16;
    const rule q = rule_of(*most, e5m2);
    if (threadIdx.x == 0 && blockIdx.x == 0 && blockIdx.y == 0)
        *o.back = q.s != q.s ? q.s : q.back;
    const int64_t r = r0 + at, c = c0 + part, left = r < rows ? cols - c : 0;
    float v[16];
    ld8(v, x, r * cols + c, left < 0 ? 0 : left);
    ld8(v + 8, x, r * cols + c + 8, left < 8 ? 0 : left - 8);
    uint32_t w[4];
    CUDA_UNROLL
    for (int i = 0; i < 4; i++)
        w[i] = codes2(v[4 * i], v[4 * i + 1], q) | codes2(v[4 * i + 2], v[4 * i + 3], q) << 16;
    const uint4 u = { w[0], w[1], w[2], w[3] };
    if (o.plain && r < rows && c < o.ld)
        st16(o.plain + r * o.ld + c, u);
    if (!o.turned)
        return;
    *(uint4 *)(tile + at * TILE_ROW + part) = u;
    __syncthreads();
    CUDA_UNROLL
    for (int i = 0; i < 4; i++) {
        w[i] = 0;
        CUDA_UNROLL
        for (int j = 0; j < 4; j++)
            w[i] |= (uint32_t)tile[(part + 4 * i + j) * TILE_ROW + at] << 8 * j;
    }
    const uint4 t = { w[0], w[1], w[2], w[3] };
    if (c0 + at < cols && r0 + part < o.ldt)
        st16(o.turned + (c0 + at) * o.ldt + r0 + part, t);
}

static int find_largest(wan_dev *d, const char *op, unsigned *most, wan_buf x, int64_t n)
{
    CUDA_TYPES(op, x);
    CUDA_TRY(cudaMemsetAsync(most, 0, sizeof *most, cuda_stream(d)));
    return cuda_launch(d, op, largest_all, dim3(cuda_blocks(d, n, 2048)), 256, 0, most,
                       vbuf_of(x, 0), n);
}

/* The same of g [M, N], with db [N] += sum_m g where db is not NULL. */
static int find_largest(wan_dev *d, const char *op, unsigned *most, const gradient *g, float *db,
                        int64_t M, int64_t N)
{
    const gradient_sum f = { *g, most, N, 0 };
    CUDA_TRY(cudaMemsetAsync(most, 0, sizeof *most, cuda_stream(d)));
    return columns_sum(d, op, f, &db, 0, NULL, M, N, 1);
}

extern "C" int wan_round8_cuda(wan_dev *d, wan_buf y, wan_buf x, int64_t n, enum wan_eight to)
{
    unsigned *most = (unsigned *)cuda_scratch(d, HEAD_BYTES);
    if (!most)
        return -1;
    if (y.t != WAN_BF16)
        return wan_cuda_host->err("round8: rounded values are kept as bf16");
    WAN_TRY(find_largest(d, "round8", most, x, n));
    return cuda_launch(d, "round8", round8_all, dim3(cuda_blocks(d, n, 2048)), 256, 0,
                       vbuf_of(y, 0), vbuf_of(x, 0), most, (int)(to == WAN_E5M2), n);
}

/* ---- products */

/* A product: d = (d +) a b^T (+ bias).  Scales are device memory. */
struct product8 {
    const unsigned char *a, *b;
    const float *a_back, *b_back;
    wan_buf d;
    const float *bias; /* with a result in bf16 alone */
    int64_t m, n, k;
    int e5m2, accumulate; /* b */
    enum lt_then then;
    void *aux;
};

/* The plan of a product, NULL: failed (error recorded). */
static lt_plan *plan_for(wan_dev *d, const char *op, const product8 *g)
{
    lt_shape s;
    memset(&s, 0, sizeof s);
    s.m = g->m, s.n = g->n, s.k = s.lda = s.ldb = g->k;
    s.ta = 1;
    s.type = g->e5m2 ? LT_E5M2 : LT_E4M3;
    s.out_bf16 = g->d.t == WAN_BF16;
    s.bias = g->bias != NULL, s.accumulate = g->accumulate;
    s.then = g->then;
    s.align = cuda_lt_alignment((uintptr_t)g->d.p | (uintptr_t)g->aux);
    lt_plan *p = cuda_lt_plan(d, &s);
    if (!p)
        return NULL;
    if (!p->found && !p->said && g->then == LT_AS_IT_IS && g->m % 16 == 0 && g->n % 16 == 0) {
        if (cuda_slower(d,
                        "%s: cuBLASLt has no fp8 algorithm for %lld x %lld x %lld; rounded "
                        "operands are multiplied in bf16",
                        op, (long long)g->n, (long long)g->m, (long long)g->k) < 0)
            return NULL;
    }
    p->said = 1;
    return p;
}

static int multiply(wan_dev *d, const char *op, const product8 *g, lt_plan *p)
{
    const lt_call c = { g->a, g->b, g->d.p, g->bias, g->a_back, g->b_back, g->aux };
    return cuda_lt_run(d, op, p, &c);
}

/* ---- what lies aside: numbers of three tensors, then their codes */

static int64_t padded(int64_t n)
{
    return cuda_div(n, 16) * 16;
}

static size_t bytes_of(int64_t rows, int64_t cols)
{
    return ((size_t)(rows * padded(cols)) + 255) / 256 * 256;
}

struct codes {
    unsigned char *plain, *turned;
    float *back;
};

/* Where the largest value of tensor `which` is. */
static unsigned *most_of(char *head, int which)
{
    return (unsigned *)head + 2 * which;
}

/* Rounds x [rows, cols], whose largest value is there, and takes room for its copies from *at. */
template <class X>
static int encode_by(wan_dev *d, const char *op, codes *out, unsigned *most, char **at, X x,
                     int64_t rows, int64_t cols, enum wan_eight to, int plain, int turned)
{
    code_out o = { NULL, NULL, padded(cols), padded(rows), (float *)most + 1 };
    if (plain) {
        o.plain = (unsigned char *)*at;
        *at += bytes_of(rows, cols);
    }
    if (turned) {
        o.turned = (unsigned char *)*at;
        *at += bytes_of(cols, rows);
    }
    *out = { o.plain, o.turned, o.back };
    dim3 grid((unsigned)cuda_div(rows, TILE), (unsigned)cuda_div(cols, TILE));
    return cuda_launch(d, op, codes_tile<X>, grid, 256, TILE * TILE_ROW, o, x, most,
                       (int)(to == WAN_E5M2), rows, cols);
}

/* The same with the largest value, of tensor `which`. */
static int encode(wan_dev *d, const char *op, codes *out, char *head, char **at, int which,
                  wan_buf x, int64_t rows, int64_t cols, int plain, int turned)
{
    unsigned *most = most_of(head, which);
    WAN_TRY(find_largest(d, op, most, x, rows * cols));
    return encode_by(d, op, out, most, at, vbuf_of(x, cols), rows, cols, WAN_E4M3, plain, turned);
}

/* The gradient g [M, N] as tensor 0, its columns summed into db where that is not NULL. */
static int encode_gradient(wan_dev *d, const char *op, codes *out, char *head, char **at,
                           const gradient *g, float *db, int64_t M, int64_t N, int plain,
                           int turned)
{
    unsigned *most = most_of(head, 0);
    WAN_TRY(find_largest(d, op, most, g, db, M, N));
    if (g->act != WAN_ACT_NONE)
        return encode_by(d, op, out, most, at, *g, M, N, WAN_E5M2, plain, turned);
    return encode_by(d, op, out, most, at, g->dy, M, N, WAN_E5M2, plain, turned);
}

/* ---- weights that are still (wan_dev_still) */

struct weight_key {
    const void *w;
    int64_t N, K, t;
};

struct weight {
    char *mem;  /* of cudaMalloc */
    int turned; /* there is room for both copies */
    int64_t still;
    codes c;
};

static void weight_free(void *value)
{
    cudaFree(((weight *)value)->mem);
}

void cuda_eight_close(wan_dev *d)
{
    if (cuda_of(d)->eight)
        wan_plans_clear(cuda_of(d)->eight);
    delete cuda_of(d)->eight;
    cuda_of(d)->eight = NULL;
}

/* Its place, into *out; NULL: none, it is not kept.  A recording knows addresses: none goes while others come, and none
 * comes while something is recorded. */
static int weight_of(wan_dev *d, weight **out, const weight_key *k)
{
    static const wan_plans none =
        WAN_PLANS(sizeof(weight_key), sizeof(weight), MAX_WEIGHTS, weight_free);
    wan_cuda *c = cuda_of(d);
    if (!c->eight)
        c->eight = new wan_plans(none);
    weight *v = (weight *)wan_plans_find(c->eight, k);
    *out = v && (v->turned || d->still_forward) ? v : NULL;
    if (v || c->recording || c->eight->used == MAX_WEIGHTS)
        return 0;
    v = (weight *)wan_plans_add(c->eight, k);
    if (!v)
        return wan_cuda_host->err("rounded weights: out of memory");
    v->turned = !d->still_forward;
    const size_t bytes = wan_linear8_kept(k->N, k->K, v->turned);
    if (cuda_check(cudaMalloc((void **)&v->mem, bytes), "rounded weights") == 0) {
        *out = v;
        return 0;
    }
    wan_plans_remove(c->eight, k);
    return -1;
}

/* Its codes, where they are of another time. */
static int round_again(wan_dev *d, const char *op, weight *v, const weight_key *k)
{
    char *room = v->mem + HEAD_BYTES;
    if (v->still == d->still)
        return 0;
    const wan_buf w = wan_buf_of((void *)(uintptr_t)k->w, (wan_dtype)k->t);
    WAN_TRY(encode(d, op, &v->c, v->mem, &room, 0, w, k->N, k->K, 1, v->turned));
    v->still = d->still;
    return 0;
}

static int renew(wan_dev *d, const void *w, size_t bytes)
{
    const char *from = (const char *)w, *key_w;
    const void *key;
    int32_t at = 0;
    wan_plans *all = cuda_of(d)->eight;
    for (weight *v; all && (v = (weight *)wan_plans_walk(all, &at, &key));) {
        const weight_key *k = (const weight_key *)key;
        key_w = (const char *)k->w;
        if (key_w >= from && key_w < from + bytes && (v->turned || d->still_forward))
            WAN_TRY(round_again(d, "rounded weights", v, k));
    }
    return 0;
}

const wan_keeper cuda_keeper = { renew, cuda_eight_close };

/* Codes of w: those that are kept, made when they are first asked for; else as encode makes them. */
static int encode_weights(wan_dev *d, const char *op, codes *out, char *head, char **at, int which,
                          wan_buf w, int64_t N, int64_t K, int plain, int turned)
{
    weight_key k;
    if (!d->still)
        return encode(d, op, out, head, at, which, w, N, K, plain, turned);
    memset(&k, 0, sizeof k);
    k.w = w.p, k.N = N, k.K = K, k.t = w.t;
    weight *v;
    WAN_TRY(weight_of(d, &v, &k));
    if (!v || (cuda_of(d)->recording && v->still != d->still))
        return encode(d, op, out, head, at, which, w, N, K, plain, turned);
    WAN_TRY(round_again(d, op, v, &k));
    *out = v->c;
    return 0;
}

static char *aside(wan_dev *d, size_t bytes)
{
    return (char *)wan_cuda_host->aside(d, bytes);
}

/* The same in bf16, where cuBLASLt cannot. */
static int forward_wide(wan_dev *d, wan_buf y, wan_buf pre, wan_buf x, wan_buf w, const float *b,
                        int64_t M, int64_t N, int64_t K, enum wan_act act)
{
    char *p = aside(d, wan_linear8_bytes(M, N, K));
    return p ? wan_linear8_wide_forward(d, p, y, pre, x, w, b, M, N, K, act) : -1;
}

/* What is to be multiplied, with GELU where cuBLASLt can; *p NULL: nothing in eight bits. */
static int forward_plan(wan_dev *d, const char *op, product8 *g, lt_plan **p, wan_buf y,
                        wan_buf pre, enum wan_act act)
{
    const wan_buf z = g->d;
    *p = NULL;
    if (cuda_of(d)->sm < 89 || (g->bias && z.t != WAN_BF16))
        return 0;
    if (act == WAN_ACT_GELU_TANH && y.t == WAN_BF16 && (!pre.p || pre.t == WAN_BF16) &&
        g->m % 8 == 0) {
        g->d = y, g->then = pre.p ? LT_GELU_KEPT : LT_GELU, g->aux = pre.p;
        if (!(*p = plan_for(d, op, g)))
            return -1;
        if ((*p)->found)
            return 0;
        g->d = z, g->then = LT_AS_IT_IS, g->aux = NULL;
    }
    return (*p = plan_for(d, op, g)) ? 0 : -1;
}

extern "C" int wan_linear8_forward_cuda(wan_dev *d, wan_buf y, wan_buf pre, wan_buf x, wan_buf w,
                                        const float *b, int64_t M, int64_t N, int64_t K,
                                        enum wan_act act)
{
    static const char op[] = "linear8_forward";
    CUDA_TYPES(op, y, pre.p ? pre : y, x, w);
    /* as linear.cu: z goes to the output that loses least */
    int to_pre = pre.p && (pre.t == WAN_F32 || y.t == WAN_BF16);
    const wan_buf to = to_pre ? pre : y;
    product8 g = { NULL, NULL, NULL, NULL, to, b, N, M, padded(K), 0, 0, LT_AS_IT_IS, NULL };
    lt_plan *p;
    WAN_TRY(forward_plan(d, op, &g, &p, y, pre, act));
    if (!p || !p->found)
        return forward_wide(d, y, pre, x, w, b, M, N, K, act);
    codes cx, cw;
    char *head = aside(d, HEAD_BYTES + bytes_of(M, K) + bytes_of(N, K)), *at = head + HEAD_BYTES;
    if (!head)
        return -1;
    WAN_TRY(encode(d, op, &cx, head, &at, 0, x, M, K, 1, 0));
    WAN_TRY(encode_weights(d, op, &cw, head, &at, 1, w, N, K, 1, 0));
    g.a = cw.plain, g.a_back = cw.back, g.b = cx.plain, g.b_back = cx.back;
    WAN_TRY(multiply(d, op, &g, p));
    if (g.then != LT_AS_IT_IS)
        return 0;
    if (to_pre)
        return wan_act_forward_cuda(d, y, pre, M * N, act);
    if (pre.p)
        WAN_TRY(wan_cast_cuda(d, pre, y, M * N));
    return act == WAN_ACT_NONE ? 0 : wan_act_forward_cuda(d, y, y, M * N, act);
}

/* Both products of the backward pass; plans are found. */
static int backward(wan_dev *d, product8 *gx, lt_plan *px, product8 *gw, lt_plan *pw,
                    const gradient *g, float *db, wan_buf x, wan_buf w, int64_t M, int64_t N,
                    int64_t K)
{
    static const char op[] = "linear8_backward";
    size_t need = HEAD_BYTES + (px ? bytes_of(M, N) + bytes_of(K, N) : 0) +
                  (pw ? bytes_of(N, M) + bytes_of(K, M) : 0);
    char *head = aside(d, need), *at = head + HEAD_BYTES;
    codes cy, cx, cw;
    if (!head)
        return -1;
    WAN_TRY(encode_gradient(d, op, &cy, head, &at, g, db, M, N, px != NULL, pw != NULL));
    if (pw) {
        WAN_TRY(encode(d, op, &cx, head, &at, 1, x, M, K, 0, 1));
        gw->a = cx.turned, gw->a_back = cx.back, gw->b = cy.turned, gw->b_back = cy.back;
        WAN_TRY(multiply(d, op, gw, pw));
    }
    if (!px)
        return 0;
    WAN_TRY(encode_weights(d, op, &cw, head, &at, 2, w, N, K, 0, 1));
    gx->a = cw.turned, gx->a_back = cw.back, gx->b = cy.plain, gx->b_back = cy.back;
    return multiply(d, op, gx, px);
}

/* The same in bf16, where cuBLASLt cannot. */
static int backward_wide(wan_dev *d, wan_buf dx, float *dw, float *db, wan_buf dy, wan_buf z,
                         enum wan_act act, wan_buf x, wan_buf w, int64_t M, int64_t N, int64_t K,
                         int add)
{
    if (z.p)
        WAN_TRY(wan_act_backward_cuda(d, dy, dy, z, M * N, act));
    if (db)
        WAN_TRY(cuda_bias_grad(d, "linear8_backward", db, dy, M, N));
    char *p = aside(d, wan_linear8_bytes(M, N, K));
    return p ? wan_linear8_wide_backward(d, p, dx, dw, dy, x, w, M, N, K, add) : -1;
}

extern "C" int wan_linear8_backward_cuda(wan_dev *d, wan_buf dx, float *dw, float *db, wan_buf dy,
                                         wan_buf z, enum wan_act act, wan_buf x, wan_buf w,
                                         int64_t M, int64_t N, int64_t K, int add)
{
    static const char op[] = "linear8_backward";
    CUDA_TYPES(op, dx.p ? dx : dy, dy, z.p ? z : dy, x, w);
    const gradient g = { vbuf_of(dy, N), vbuf_of(z, N), z.p ? (int)act : (int)WAN_ACT_NONE };
    const wan_buf to = wan_buf_of(dw, WAN_F32);
    product8 gx = { NULL, NULL,      NULL, NULL,     dx,          NULL, K,
                    M,    padded(N), 1,    add != 0, LT_AS_IT_IS, NULL };
    product8 gw = { NULL, NULL, NULL, NULL, to, NULL, K, N, padded(M), 1, 1, LT_AS_IT_IS, NULL };
    lt_plan *px = NULL, *pw = NULL;
    if (cuda_of(d)->sm >= 89 &&
        ((dx.p && !(px = plan_for(d, op, &gx))) || (dw && !(pw = plan_for(d, op, &gw)))))
        return -1;
    if ((!dx.p || (px && px->found)) && (!dw || (pw && pw->found)))
        return backward(d, &gx, px, &gw, pw, &g, db, x, w, M, N, K);
    return backward_wide(d, dx, dw, db, dy, z, act, x, w, M, N, K, add);
}
