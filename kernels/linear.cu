/* SPDX-License-Identifier: Apache-2.0
 *
 * linear.cu - dense layer on cuBLASLt.
 *
 * Operands both bf16: tensor cores, fp32 accumulation.  Any other pair: both as fp32, true fp32
 * arithmetic (no TF32).  cuBLASLt is column-major: a row-major product d = a b is asked for as
 * d' = b' a'.  The algorithm chosen for a shape is kept, so one shape has one order of summation.
 */
#include <cublasLt.h>

#include "kernels/gemm.cuh"
#include "kernels/gemm8.cuh"
#include "kernels/plans.h"
#include "kernels/reduce.cuh"

enum { MAX_PLANS = 1024 };
enum : size_t { BIAS_BYTES = (size_t)1 << 20, WORK_BYTES = WAN_SPACE_PRODUCTS - BIAS_BYTES };

/* Everything the choice of an algorithm depends on. */
struct gemm_shape {
    int64_t m, n, k, lda, ldb;
    int ta, tb, bf16, out_bf16, bias, accumulate, align;
};

struct gemm_plan {
    cublasLtMatmulDesc_t op;
    cublasLtMatrixLayout_t a, b, d;
    cublasLtMatmulAlgo_t algo;
    int found, said; /* said: that there is none */
};

struct wan_cuda_lt {
    cublasLtHandle_t handle;
    void *work, *bias; /* of cudaMalloc: kept for the life of the device */
    wan_plans plans;   /* gemm_shape -> gemm_plan */
};

static int lt_check(cublasStatus_t s, const char *what)
{
    if (s == CUBLAS_STATUS_SUCCESS)
        return 0;
    return wan_cuda_host->err("cuBLASLt: %s: %s", what, cublasLtGetStatusString(s));
}
#define LT_TRY(call) WAN_TRY(lt_check((call), #call))

static void plan_free(void *value)
{
    gemm_plan *p = (gemm_plan *)value;
    cublasLtMatrixLayoutDestroy(p->a);
    cublasLtMatrixLayoutDestroy(p->b);
    cublasLtMatrixLayoutDestroy(p->d);
    cublasLtMatmulDescDestroy(p->op);
}

static const wan_plans no_plans =
    WAN_PLANS(sizeof(gemm_shape), sizeof(gemm_plan), MAX_PLANS, plan_free);

static wan_cuda_lt *lt_open(wan_dev *d)
{
    wan_cuda *c = cuda_of(d);
    if (c->lt)
        return c->lt;
    wan_cuda_lt *lt = new wan_cuda_lt();
    if (lt_check(cublasLtCreate(&lt->handle), "cublasLtCreate") < 0) {
        delete lt;
        return NULL;
    }
    if (cuda_check(cudaMalloc(&lt->work, WORK_BYTES + BIAS_BYTES), "cuBLASLt workspace") < 0) {
        cublasLtDestroy(lt->handle);
        delete lt;
        return NULL;
    }
    lt->bias = (char *)lt->work + WORK_BYTES;
    lt->plans = no_plans;
    return c->lt = lt;
}

void cuda_gemm_close(wan_dev *d)
{
    wan_cuda_lt *lt = cuda_of(d)->lt;
    if (!lt)
        return;
    wan_plans_clear(&lt->plans);
    cublasLtDestroy(lt->handle);
    cudaFree(lt->work);
    delete lt;
    cuda_of(d)->lt = NULL;
}

/* ---- plans */

static int plan_describe(gemm_plan *p, const gemm_shape *s)
{
    cudaDataType_t in = s->bf16 ? CUDA_R_16BF : CUDA_R_32F;
    cudaDataType_t out = s->out_bf16 ? CUDA_R_16BF : CUDA_R_32F;
    cublasOperation_t ta = s->ta ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasOperation_t tb = s->tb ? CUBLAS_OP_T : CUBLAS_OP_N;
    LT_TRY(cublasLtMatmulDescCreate(&p->op, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    LT_TRY(cublasLtMatmulDescSetAttribute(p->op, CUBLASLT_MATMUL_DESC_TRANSA, &ta, sizeof ta));
    LT_TRY(cublasLtMatmulDescSetAttribute(p->op, CUBLASLT_MATMUL_DESC_TRANSB, &tb, sizeof tb));
    if (s->bias) {
        cublasLtEpilogue_t e = CUBLASLT_EPILOGUE_BIAS;
        LT_TRY(cublasLtMatmulDescSetAttribute(p->op, CUBLASLT_MATMUL_DESC_EPILOGUE, &e, sizeof e));
        LT_TRY(cublasLtMatmulDescSetAttribute(p->op, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &out,
                                              sizeof out));
        /* the search only looks at how the address is aligned */
        const void *like = (const void *)(uintptr_t)s->align;
        LT_TRY(cublasLtMatmulDescSetAttribute(p->op, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &like,
                                              sizeof like));
    }
    LT_TRY(cublasLtMatrixLayoutCreate(&p->a, in, (uint64_t)(s->ta ? s->k : s->m),
                                      (uint64_t)(s->ta ? s->m : s->k), s->lda));
    LT_TRY(cublasLtMatrixLayoutCreate(&p->b, in, (uint64_t)(s->tb ? s->n : s->k),
                                      (uint64_t)(s->tb ? s->k : s->n), s->ldb));
    return lt_check(cublasLtMatrixLayoutCreate(&p->d, out, (uint64_t)s->m, (uint64_t)s->n, s->m),
                    "cublasLtMatrixLayoutCreate");
}

/* found = whether cuBLASLt has an algorithm for it */
static int plan_search(wan_cuda_lt *lt, gemm_plan *p, const gemm_shape *shape)
{
    cublasLtMatmulPreference_t pref;
    cublasLtMatmulHeuristicResult_t r;
    size_t work = WORK_BYTES;
    uint32_t align = (uint32_t)shape->align;
    /* parts of a sum are never rounded to bf16 before they are added */
    uint32_t sums = CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    int n = 0;
    LT_TRY(cublasLtMatmulPreferenceCreate(&pref));
    cublasLtMatmulPreferenceSetAttribute(pref, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &work,
                                         sizeof work);
    cublasLtMatmulPreferenceSetAttribute(pref, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &sums,
                                         sizeof sums);
    const cublasLtMatmulPreferenceAttributes_t sides[4] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES
    };
    for (int i = 0; i < 4; i++)
        cublasLtMatmulPreferenceSetAttribute(pref, sides[i], &align, sizeof align);
    memset(&r, 0, sizeof r);
    cublasStatus_t s =
        cublasLtMatmulAlgoGetHeuristic(lt->handle, p->op, p->a, p->b, p->d, p->d, pref, 1, &r, &n);
    cublasLtMatmulPreferenceDestroy(pref);
    if (s != CUBLAS_STATUS_SUCCESS && s != CUBLAS_STATUS_NOT_SUPPORTED &&
        s != CUBLAS_STATUS_INVALID_VALUE)
        return lt_check(s, "cublasLtMatmulAlgoGetHeuristic");
    p->found = s == CUBLAS_STATUS_SUCCESS && n > 0 && r.state == CUBLAS_STATUS_SUCCESS;
    p->algo = r.algo;
    return 0;
}

/* The plan of a shape, made at first use; NULL: failed (error recorded). */
static gemm_plan *plan_get(wan_cuda_lt *lt, const gemm_shape *shape)
{
    gemm_plan *p = (gemm_plan *)wan_plans_find(&lt->plans, shape);
    if (p)
        return p;
    p = (gemm_plan *)wan_plans_add(&lt->plans, shape);
    if (!p) {
        wan_cuda_host->err("cuBLASLt: out of memory for plans");
        return NULL;
    }
    if (plan_describe(p, shape) == 0 && plan_search(lt, p, shape) == 0)
        return p;
    wan_plans_remove(&lt->plans, shape);
    return NULL;
}

/* Largest power of two that divides the addresses, at most 256. */
static int alignment(const cuda_gemm *g)
{
    const float *bias = g->d.t == WAN_F32 ? g->bias : NULL; /* else a copy of ours is used */
    uintptr_t u = (uintptr_t)g->a.p | (uintptr_t)g->b.p | (uintptr_t)g->d.p | (uintptr_t)bias | 256;
    return (int)(u & (~u + 1));
}

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
static gemm_plan *plan_for(wan_dev *d, const cuda_gemm *g)
{
    gemm_shape s;
    wan_cuda_lt *lt = lt_open(d);
    if (!lt)
        return NULL;
    memset(&s, 0, sizeof s); /* compared by bytes */
    s.m = g->cols, s.n = g->rows, s.k = g->k;
    s.ta = g->tb, s.tb = g->ta;
    s.lda = g->tb ? g->k : g->cols;
    s.ldb = g->ta ? g->rows : g->k;
    s.bf16 = g->a.t == WAN_BF16;
    s.out_bf16 = g->d.t == WAN_BF16;
    s.bias = g->bias != NULL;
    s.accumulate = g->accumulate;
    s.align = alignment(g);
    return plan_get(lt, &s);
}

static int product(wan_dev *d, const char *op, const cuda_gemm *g, const gemm_plan *p)
{
    wan_cuda_lt *lt = cuda_of(d)->lt;
    const float one = 1, beta = g->accumulate ? 1 : 0;
    if (g->bias) {
        const void *bias = g->bias;
        if (g->d.t == WAN_BF16) { /* the epilogue's bias has the type of its result */
            if ((size_t)g->cols * 2 > BIAS_BYTES)
                return wan_cuda_host->err("%s: %lld outputs", op, (long long)g->cols);
            WAN_TRY(wan_cast_cuda(d, wan_buf_of(lt->bias, WAN_BF16),
                                  wan_buf_of((void *)g->bias, WAN_F32), g->cols));
            bias = lt->bias;
        }
        LT_TRY(cublasLtMatmulDescSetAttribute(p->op, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias,
                                              sizeof bias));
    }
    return lt_check(cublasLtMatmul(lt->handle, p->op, &one, g->b.p, p->a, g->a.p, p->b, &beta,
                                   g->d.p, p->d, g->d.p, p->d, &p->algo, lt->work, WORK_BYTES,
                                   cuda_stream(d)),
                    op);
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
    gemm_plan *p = plan_for(d, &w);
    if (!p)
        return -1;
    if (!p->found)
        return wan_cuda_host->err("%s: cuBLASLt has no fp32 algorithm for %lld x %lld x %lld", op,
                                  (long long)g->rows, (long long)g->cols, (long long)g->k);
    WAN_TRY(product(d, op, &w, p));
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
    gemm_plan *p = plan_for(d, g);
    if (!p)
        return -1;
    if (p->found)
        return product(d, op, g, p);
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

extern "C" int wan_linear_wgrad_cuda(wan_dev *d, float *dw, float *db, wan_buf dy, wan_buf x,
                                     int64_t M, int64_t N, int64_t K, int accumulate)
{
    CUDA_TYPES("linear_wgrad", dy, x);
    bias_sum f = { vbuf_of(dy, N), N };
    if (db)
        WAN_TRY(columns_sum(d, "linear_wgrad", f, &db, 0, NULL, M, N, accumulate != 0));
    cuda_gemm g = { wan_buf_of(dw, WAN_F32), dy, x, NULL, N, K, M, 1, 0, accumulate != 0 };
    return run(d, "linear_wgrad", &g);
}
