/* SPDX-License-Identifier: Apache-2.0
 *
 * linear.cu - dense layer on cuBLASLt.
 *
 * Operands both bf16: tensor cores, fp32 accumulation.  Any other pair: both as fp32, true fp32
 * arithmetic (no TF32).  cuBLASLt (lt.cuh) is column-major: a row-major product d = a b is asked for as
 * d' = b' a'.
 */
#include "kernels/gemm.cuh"
#include "kernels/gemm8.cuh"
#include "kernels/lt.cuh"
#include "kernels/reduce.cuh"

/* ---- products */

static int64_t elements_a(const cuda_gemm *g)
{
    return g->rows * g->k;
}

static int64_t elements_b(const cuda_gemm *g)
{
    return g->k * g->cols;
}

static size_t round256(int64_t n)
{
    return ((size_t)n * 4 + 255) / 256 * 256;
}

size_t cuda_gemm_need(const cuda_gemm *g)
{
    return round256(elements_a(g)) * (g->a.t == WAN_BF16) +
           round256(elements_b(g)) * (g->b.t == WAN_BF16) +
           round256(g->rows * g->cols) * (g->d.t == WAN_BF16);
}

/* The plan for operands of one type; column-major, so a and b change places. */
static lt_plan *plan_for(wan_dev *d, const cuda_gemm *g, enum lt_then then, const void *aux)
{
    const float *bias = g->d.t == WAN_F32 ? g->bias : NULL; /* else a copy of lt.cu's is used */
    lt_shape s;
    memset(&s, 0, sizeof s);
    s.m = g->cols, s.n = g->rows, s.k = g->k;
    s.ta = g->tb, s.tb = g->ta;
    s.lda = g->tb ? g->k : g->cols;
    s.ldb = g->ta ? g->rows : g->k;
    s.type = g->a.t == WAN_BF16 ? LT_BF16 : LT_F32;
    s.out_bf16 = g->d.t == WAN_BF16;
    s.bias = g->bias != NULL;
    s.then = then;
    s.accumulate = g->accumulate;
    s.align = cuda_lt_alignment((uintptr_t)g->a.p | (uintptr_t)g->b.p | (uintptr_t)g->d.p |
                                (uintptr_t)bias | (uintptr_t)aux);
    return cuda_lt_plan(d, &s);
}

static int product(wan_dev *d, const char *op, const cuda_gemm *g, lt_plan *p, void *aux)
{
    const lt_call c = { g->b.p, g->a.p, g->d.p, g->bias, NULL, NULL, aux };
    return cuda_lt_run(d, op, p, &c);
}

/* A bf16 product with what comes behind it in one; 1: not for cuBLASLt. */
static int product_then(wan_dev *d, const char *op, const cuda_gemm *g, enum lt_then then,
                        void *aux)
{
    if (g->a.t != WAN_BF16 || g->b.t != WAN_BF16 || g->rows < 1 || g->k < 1 || g->cols < 1 ||
        g->cols % 8 /* rows of aux */)
        return 1;
    lt_plan *p = plan_for(d, g, then, aux);
    if (!p)
        return -1;
    return p->found ? product(d, op, g, p, aux) : 1;
}

/* b as fp32: itself, or a copy at *tmp, which then moves on */
static int widen(wan_dev *d, wan_buf *b, int64_t n, char **tmp)
{
    if (b->t == WAN_F32)
        return 0;
    wan_buf w = wan_buf_of(*tmp, WAN_F32);
    *tmp += round256(n);
    WAN_TRY(wan_cast_cuda(d, w, *b, n));
    *b = w;
    return 0;
}

static int product_f32(wan_dev *d, const char *op, const cuda_gemm *g, char *tmp)
{
    cuda_gemm w = *g;
    WAN_TRY(widen(d, &w.a, elements_a(g), &tmp));
    WAN_TRY(widen(d, &w.b, elements_b(g), &tmp));
    if (g->d.t == WAN_BF16) {
        w.d = wan_buf_of(tmp, WAN_F32);
        w.accumulate = 0;
    }
    lt_plan *p = plan_for(d, &w, LT_AS_IT_IS, NULL);
    if (!p)
        return -1;
    if (!p->found)
        return wan_cuda_host->err("%s: cuBLASLt has no fp32 algorithm for %lld x %lld x %lld", op,
                                  (long long)g->rows, (long long)g->cols, (long long)g->k);
    WAN_TRY(product(d, op, &w, p, NULL));
    if (g->d.t == WAN_F32)
        return 0;
    return g->accumulate ? wan_axpy_cuda(d, g->d, 1, w.d, g->rows * g->cols)
                         : wan_cast_cuda(d, g->d, w.d, g->rows * g->cols);
}

/* On tensor cores; 1: not for them. */
static int product_bf16(wan_dev *d, const char *op, const cuda_gemm *g)
{
    CUDA_TYPES(op, g->d, g->a, g->b);
    if (g->rows < 1 || g->cols < 1 || g->k < 1)
        return wan_cuda_host->err("%s: shape %lld x %lld x %lld", op, (long long)g->rows,
                                  (long long)g->cols, (long long)g->k);
    if (g->a.t != WAN_BF16 || g->b.t != WAN_BF16)
        return 1;
    lt_plan *p = plan_for(d, g, LT_AS_IT_IS, NULL);
    if (!p)
        return -1;
    if (p->found)
        return product(d, op, g, p, NULL);
    if (!p->said && g->rows % 8 == 0 && g->cols % 8 == 0 && g->k % 8 == 0)
        WAN_TRY(cuda_slower(d,
                            "%s: cuBLASLt has no bf16 algorithm for %lld x %lld x %lld; fp32 is "
                            "used",
                            op, (long long)g->rows, (long long)g->cols, (long long)g->k));
    p->said = 1;
    return 1; /* odd strides may leave tensor cores no algorithm */
}

int cuda_gemm_run(wan_dev *d, const char *op, const cuda_gemm *g, void *tmp)
{
    int r = product_bf16(d, op, g);
    return r <= 0 ? r : product_f32(d, op, g, (char *)tmp);
}

static int run(wan_dev *d, const char *op, const cuda_gemm *g)
{
    int r = product_bf16(d, op, g);
    if (r <= 0)
        return r;
    char *tmp = (char *)cuda_scratch(d, cuda_gemm_need(g));
    return tmp ? product_f32(d, op, g, tmp) : -1;
}

/* ---- ops */

extern "C" int wan_linear_forward_cuda(wan_dev *d, wan_buf y, wan_buf pre, wan_buf x, wan_buf w,
                                       const float *b, int64_t M, int64_t N, int64_t K,
                                       enum wan_act act)
{
    CUDA_TYPES("linear_forward", y, pre.p ? pre : y);
    if (act == WAN_ACT_GELU_TANH && y.t == WAN_BF16 && (!pre.p || pre.t == WAN_BF16)) {
        const cuda_gemm one = { y, x, w, b, M, N, K, 0, 1, 0 };
        int r = product_then(d, "linear_forward", &one, pre.p ? LT_GELU_KEPT : LT_GELU, pre.p);
        if (r <= 0)
            return r;
    }
    /* z goes to the output that loses least; the other is made from it */
    int to_pre = pre.p && (pre.t == WAN_F32 || y.t == WAN_BF16);
    cuda_gemm g = { to_pre ? pre : y, x, w, b, M, N, K, 0, 1, 0 };
    WAN_TRY(run(d, "linear_forward", &g));
    if (to_pre)
        return wan_act_forward_cuda(d, y, pre, M * N, act);
    if (pre.p)
        WAN_TRY(wan_cast_cuda(d, pre, y, M * N));
    return act == WAN_ACT_NONE ? 0 : wan_act_forward_cuda(d, y, y, M * N, act);
}

extern "C" int wan_linear_dgrad_cuda(wan_dev *d, wan_buf dx, wan_buf dy, wan_buf w, int64_t M,
                                     int64_t N, int64_t K, int accumulate)
{
    cuda_gemm g = { dx, dy, w, NULL, M, K, N, 0, 0, accumulate != 0 };
    return run(d, "linear_dgrad", &g);
}

extern "C" int wan_linear_dgrad_act_cuda(wan_dev *d, wan_buf dx, wan_buf dy, wan_buf w, wan_buf z,
                                         int64_t M, int64_t N, int64_t K, enum wan_act act)
{
    static const char op[] = "linear_dgrad_act";
    const cuda_gemm g = { dx, dy, w, NULL, M, K, N, 0, 0, 0 };
    CUDA_TYPES(op, dx, dy, w, z);
    if (act == WAN_ACT_GELU_TANH && dx.t == WAN_BF16 && z.t == WAN_BF16) {
        int r = product_then(d, op, &g, LT_DGELU, z.p);
        if (r <= 0)
            return r;
    }
    WAN_TRY(run(d, op, &g));
    return wan_act_backward_cuda(d, dx, dx, z, M * K, act);
}

struct bias_sum {
    enum { N = 1 };
    vbuf dy;
    int64_t D;
    __device__ void add(float (*acc)[8], int64_t s, int64_t c, int64_t n) const
    {
        float g[8];
        ld8(g, dy, s * D + c, n);
        for (int j = 0; j < 8; j++)
            acc[0][j] += g[j];
    }
};

int cuda_bias_grad(wan_dev *d, const char *op, float *db, wan_buf dy, int64_t M, int64_t N)
{
    CUDA_TYPES(op, dy);
    bias_sum f = { vbuf_of(dy, N), N };
    return columns_sum(d, op, f, &db, 0, NULL, M, N, 1);
}

/* dw and db in one product; 1: not for cuBLASLt. */
static int wgrad_bias(wan_dev *d, const char *op, const cuda_gemm *g, float *db)
{
    float *sum = db;
    if (g->accumulate && !(sum = (float *)cuda_scratch(d, (size_t)g->rows * sizeof *sum)))
        return -1;
    int r = product_then(d, op, g, LT_SUM_B, sum);
    if (r || sum == db)
        return r;
    return wan_axpy_cuda(d, wan_buf_of(db, WAN_F32), 1, wan_buf_of(sum, WAN_F32), g->rows);
}

extern "C" int wan_linear_wgrad_cuda(wan_dev *d, float *dw, float *db, wan_buf dy, wan_buf x,
                                     int64_t M, int64_t N, int64_t K, int accumulate)
{
    static const char op[] = "linear_wgrad";
    CUDA_TYPES(op, dy, x);
    bias_sum f = { vbuf_of(dy, N), N };
    cuda_gemm g = { wan_buf_of(dw, WAN_F32), dy, x, NULL, N, K, M, 1, 0, accumulate != 0 };
    int r = db ? wgrad_bias(d, op, &g, db) : 1;
    if (r <= 0)
        return r;
    if (db)
        WAN_TRY(columns_sum(d, op, f, &db, 0, NULL, M, N, accumulate != 0));
    return run(d, op, &g);
}
