/* SPDX-License-Identifier: Apache-2.0
 *
 * lt.cu - see lt.cuh.
 */
#include "kernels/lt.cuh"

#include "kernels/plans.h"

enum { MAX_PLANS = 1024, REPEAT = 3 };
enum : size_t { BIAS_BYTES = (size_t)1 << 20, WORK_BYTES = WAN_SPACE_PRODUCTS - BIAS_BYTES };

struct lt_proposals {
    cublasLtMatmulAlgo_t algo[LT_MOST];
    int found;
};

struct wan_cuda_lt {
    cublasLtHandle_t handle;
    void *work, *bias;      /* of cudaMalloc: kept for the life of the device */
    wan_plans plans, bound; /* lt_shape -> lt_plan; rounded -> lt_proposals */
    char kind[48];          /* of ways */
    int tried;              /* d->ways->tried, when the plans were made */
};

static int lt_check(cublasStatus_t s, const char *what)
{
    if (s == CUBLAS_STATUS_SUCCESS)
        return 0;
    return wan_cuda_host->err("cuBLASLt: %s: %s", what, cublasLtGetStatusString(s));
}
#define LT_TRY(call) WAN_TRY(lt_check((call), #call))

/* ---- opening */

static void plan_free(void *value)
{
    lt_plan *p = (lt_plan *)value;
    cublasLtMatrixLayoutDestroy(p->a);
    cublasLtMatrixLayoutDestroy(p->b);
    cublasLtMatrixLayoutDestroy(p->d);
    cublasLtMatmulDescDestroy(p->op);
}

static void proposals_free(void *) {}

static const wan_plans no_plans =
    WAN_PLANS(sizeof(lt_shape), sizeof(lt_plan), MAX_PLANS, plan_free);
static const wan_plans no_proposals =
    WAN_PLANS(sizeof(lt_shape), sizeof(lt_proposals), MAX_PLANS, proposals_free);

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
    lt->bound = no_proposals;
    snprintf(lt->kind, sizeof lt->kind, "cublasLt %zu, compute %d, %d processors",
             cublasLtGetVersion(), c->sm, c->processors);
    return c->lt = lt;
}

void cuda_lt_close(wan_dev *d)
{
    wan_cuda_lt *lt = cuda_of(d)->lt;
    if (!lt)
        return;
    wan_plans_clear(&lt->plans);
    wan_plans_clear(&lt->bound);
    cublasLtDestroy(lt->handle);
    cudaFree(lt->work);
    delete lt;
    cuda_of(d)->lt = NULL;
}

/* ---- descriptions */

#define SET(p, what, v) LT_TRY(cublasLtMatmulDescSetAttribute((p)->op, what, &(v), sizeof(v)))

static int eight_bits(const lt_shape *s)
{
    return s->type == LT_E4M3 || s->type == LT_E5M2;
}

static cublasLtEpilogue_t epilogue_of(const lt_shape *s)
{
    switch (s->then) {
    case LT_GELU: return s->bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
    case LT_GELU_KEPT:
        return s->bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
    case LT_DGELU: return CUBLASLT_EPILOGUE_DGELU;
    case LT_SUM_B: return CUBLASLT_EPILOGUE_BGRADB;
    default: return s->bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    }
}

/* The search only looks at how addresses are aligned. */
static int describe_epilogue(lt_plan *p, const lt_shape *s, const void *like)
{
    const cublasLtEpilogue_t e = epilogue_of(s);
    const cudaDataType_t out = s->out_bf16 ? CUDA_R_16BF : CUDA_R_32F;
    SET(p, CUBLASLT_MATMUL_DESC_EPILOGUE, e);
    if (s->bias || s->then == LT_SUM_B) {
        SET(p, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, out);
        SET(p, CUBLASLT_MATMUL_DESC_BIAS_POINTER, like);
    }
    if (s->then == LT_GELU_KEPT || s->then == LT_DGELU) {
        SET(p, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, s->m);
        SET(p, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, like);
    }
    return 0;
}

static int describe_op(lt_plan *p, const lt_shape *s)
{
    const cublasOperation_t ta = s->ta ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t tb = s->tb ? CUBLAS_OP_T : CUBLAS_OP_N;
    const void *like = (const void *)(uintptr_t)(eight_bits(s) ? 256 : s->align);
    LT_TRY(cublasLtMatmulDescCreate(&p->op, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    SET(p, CUBLASLT_MATMUL_DESC_TRANSA, ta);
    SET(p, CUBLASLT_MATMUL_DESC_TRANSB, tb);
    if (eight_bits(s)) {
        SET(p, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, like);
        SET(p, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, like);
    }
    return describe_epilogue(p, s, like);
}

static int describe(lt_plan *p, const lt_shape *s)
{
    static const cudaDataType_t a[] = { CUDA_R_32F, CUDA_R_16BF, CUDA_R_8F_E4M3, CUDA_R_8F_E4M3 };
    static const cudaDataType_t b[] = { CUDA_R_32F, CUDA_R_16BF, CUDA_R_8F_E4M3, CUDA_R_8F_E5M2 };
    const cudaDataType_t out = s->out_bf16 ? CUDA_R_16BF : CUDA_R_32F;
    p->shape = *s;
    WAN_TRY(describe_op(p, s));
    LT_TRY(cublasLtMatrixLayoutCreate(&p->a, a[s->type], (uint64_t)(s->ta ? s->k : s->m),
                                      (uint64_t)(s->ta ? s->m : s->k), s->lda));
    LT_TRY(cublasLtMatrixLayoutCreate(&p->b, b[s->type], (uint64_t)(s->tb ? s->n : s->k),
                                      (uint64_t)(s->tb ? s->k : s->n), s->ldb));
    return lt_check(cublasLtMatrixLayoutCreate(&p->d, out, (uint64_t)s->m, (uint64_t)s->n, s->m),
                    "cublasLtMatrixLayoutCreate");
}

/* ---- proposals */

static void prefer(cublasLtMatmulPreference_t pref, const lt_shape *s)
{
    const size_t work = WORK_BYTES;
    const uint32_t align = (uint32_t)s->align, own = eight_bits(s) ? 256 : align;
    /* parts of a sum are never rounded to bf16 before they are added */
    const uint32_t sums = CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    cublasLtMatmulPreferenceSetAttribute(pref, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &work,
                                         sizeof work);
    cublasLtMatmulPreferenceSetAttribute(pref, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &sums,
                                         sizeof sums);
    cublasLtMatmulPreferenceSetAttribute(pref, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &own,
                                         sizeof own);
    cublasLtMatmulPreferenceSetAttribute(pref, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &own,
                                         sizeof own);
    cublasLtMatmulPreferenceSetAttribute(pref, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &align,
                                         sizeof align);
    cublasLtMatmulPreferenceSetAttribute(pref, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &align,
                                         sizeof align);
}

/* What cuBLASLt proposes for the shape that p describes, the best first by its own estimate. */
static int propose(const wan_cuda_lt *lt, const lt_plan *p, lt_proposals *q)
{
    cublasLtMatmulPreference_t pref;
    cublasLtMatmulHeuristicResult_t r[LT_MOST];
    int n = 0;
    memset(r, 0, sizeof r);
    LT_TRY(cublasLtMatmulPreferenceCreate(&pref));
    prefer(pref, &p->shape);
    cublasStatus_t s = cublasLtMatmulAlgoGetHeuristic(lt->handle, p->op, p->a, p->b, p->d, p->d,
                                                      pref, LT_MOST, r, &n);
    cublasLtMatmulPreferenceDestroy(pref);
    if (s != CUBLAS_STATUS_SUCCESS && s != CUBLAS_STATUS_NOT_SUPPORTED &&
        s != CUBLAS_STATUS_INVALID_VALUE)
        return lt_check(s, "cublasLtMatmulAlgoGetHeuristic");
    q->found = 0;
    for (int i = 0; s == CUBLAS_STATUS_SUCCESS && i < n; i++)
        if (r[i].state == CUBLAS_STATUS_SUCCESS)
            q->algo[q->found++] = r[i].algo;
    return 0;
}

/* The shape whose proposals serve this one. */
static lt_shape bound_of(const lt_shape *s)
{
    lt_shape b = *s;
    if (!s->tb)
        b.n = wan_space_bound(s->n);
    if (eight_bits(s))
        b.k = b.lda = b.ldb = wan_space_bound(s->k);
    else if (!s->ta && s->tb) /* else columns are k apart */
        b.k = wan_space_bound(s->k);
    return b;
}

/* Whether an algorithm, of a bound or of a file, can do the product that p describes. */
static int can(const wan_cuda_lt *lt, const lt_plan *p, const cublasLtMatmulAlgo_t *algo)
{
    cublasLtMatmulHeuristicResult_t r;
    memset(&r, 0, sizeof r);
    return cublasLtMatmulAlgoCheck(lt->handle, p->op, p->a, p->b, p->d, p->d, algo, &r) ==
               CUBLAS_STATUS_SUCCESS &&
           r.workspaceSize <= WORK_BYTES;
}

/* Proposals of the bound, made at first use; NULL: failed. */
static const lt_proposals *proposals_of(wan_cuda_lt *lt, const lt_shape *b)
{
    lt_proposals *q = (lt_proposals *)wan_plans_find(&lt->bound, b);
    lt_plan p;
    if (q)
        return q;
    q = (lt_proposals *)wan_plans_add(&lt->bound, b);
    if (!q)
        return wan_cuda_host->err("cuBLASLt: out of memory for plans"), (lt_proposals *)NULL;
    memset(&p, 0, sizeof p);
    int rc = describe(&p, b);
    rc = rc == 0 ? propose(lt, &p, q) : rc;
    plan_free(&p);
    if (rc == 0)
        return q;
    wan_plans_remove(&lt->bound, b);
    return NULL;
}

/* ---- ways: an algorithm is 64 bytes that a cuBLASLt of the same version takes back */

static void say_shape(char s[WAN_WAYS_WORD], const lt_shape *b)
{
    static const char *const type[] = { "f32", "bf16", "e4m3", "e5m2" };
    static const char *const then[] = { "", " gelu", " gelu kept", " dgelu", " sum b" };
    snprintf(s, WAN_WAYS_WORD, "%s %lld x %lld x %lld %c%c %lld %lld%s%s%s%s align %d",
             type[b->type], (long long)b->m, (long long)b->n, (long long)b->k, b->ta ? 't' : 'n',
             b->tb ? 't' : 'n', (long long)b->lda, (long long)b->ldb, b->out_bf16 ? " to bf16" : "",
             b->bias ? " bias" : "", then[b->then], b->accumulate ? " add" : "", b->align);
}

static void say_algo(char s[WAN_WAYS_WORD], const cublasLtMatmulAlgo_t *algo)
{
    const unsigned char *p = (const unsigned char *)algo;
    for (size_t i = 0; i < sizeof *algo; i++)
        snprintf(s + 2 * i, 3, "%02x", p[i]);
}

/* Whether s is one. */
static int hear_algo(cublasLtMatmulAlgo_t *algo, const char *s)
{
    unsigned char *p = (unsigned char *)algo;
    for (size_t i = 0; i < sizeof *algo; i++) {
        unsigned v;
        if (strspn(s + 2 * i, "0123456789abcdef") < 2 || sscanf(s + 2 * i, "%2x", &v) != 1)
            return 0;
        p[i] = (unsigned char)v;
    }
    return s[2 * sizeof *algo] == 0;
}

/* The plan's algorithms: of the ways, else what is proposed for its bound and can do it, else for itself. */
static int choose(wan_dev *d, wan_cuda_lt *lt, lt_plan *p)
{
    const lt_shape b = bound_of(&p->shape);
    char shape[WAN_WAYS_WORD];
    say_shape(shape, &b);
    const char *way = d->ways ? wan_cuda_host->ways_find(d->ways, lt->kind, shape) : NULL;
    if (way && hear_algo(&p->algo[0], way) && can(lt, p, &p->algo[0])) {
        p->found = p->settled = 1;
        return 0;
    }
    lt_shape search = b;
    search.accumulate = 0; /* a search does not hear of it */
    const lt_proposals *q = proposals_of(lt, &search);
    if (!q)
        return -1;
    for (int i = 0; i < q->found; i++)
        if (can(lt, p, &q->algo[i]))
            p->algo[p->found++] = q->algo[i];
    if (p->found)
        return 0;
    lt_proposals own;
    WAN_TRY(propose(lt, p, &own));
    p->found = own.found;
    memcpy(p->algo, own.algo, sizeof p->algo);
    return 0;
}

lt_plan *cuda_lt_plan(wan_dev *d, const lt_shape *s)
{
    wan_cuda_lt *lt = lt_open(d);
    if (!lt)
        return NULL;
    if (d->ways && d->ways->tried != lt->tried) { /* there are others now */
        wan_plans_clear(&lt->plans);
        lt->tried = d->ways->tried;
    }
    lt_plan *p = (lt_plan *)wan_plans_find(&lt->plans, s);
    if (p)
        return p;
    p = (lt_plan *)wan_plans_add(&lt->plans, s);
    if (!p)
        return wan_cuda_host->err("cuBLASLt: out of memory for plans"), (lt_plan *)NULL;
    if (describe(p, s) == 0 && choose(d, lt, p) == 0)
        return p;
    wan_plans_remove(&lt->plans, s);
    return NULL;
}

/* ---- products */

static int multiply(wan_dev *d, const char *op, const lt_plan *p, const lt_call *c, int i)
{
    const wan_cuda_lt *lt = cuda_of(d)->lt;
    const float one = 1, beta = p->shape.accumulate ? 1 : 0;
    return lt_check(cublasLtMatmul(lt->handle, p->op, &one, c->a, p->a, c->b, p->b, &beta, c->d,
                                   p->d, c->d, p->d, &p->algo[i], lt->work, WORK_BYTES,
                                   cuda_stream(d)),
                    op);
}

/* Milliseconds of algorithm i. */
static int measure_one(wan_dev *d, const char *op, const lt_plan *p, const lt_call *c, int i,
                       cudaEvent_t from, cudaEvent_t to, float *ms)
{
    WAN_TRY(multiply(d, op, p, c, i)); /* its code is loaded */
    CUDA_TRY(cudaEventRecord(from, cuda_stream(d)));
    for (int k = 0; k < REPEAT; k++)
        WAN_TRY(multiply(d, op, p, c, i));
    CUDA_TRY(cudaEventRecord(to, cuda_stream(d)));
    CUDA_TRY(cudaEventSynchronize(to));
    return cuda_check(cudaEventElapsedTime(ms, from, to), "time");
}

static int measure_all(wan_dev *d, const char *op, lt_plan *p, const lt_call *c, cudaEvent_t from,
                       cudaEvent_t to)
{
    float least = 0;
    int best = 0;
    for (int i = 0; i < p->found; i++) {
        float ms;
        WAN_TRY(measure_one(d, op, p, c, i, from, to, &ms));
        if (i == 0 || ms < least) {
            best = i;
            least = ms;
        }
    }
    p->algo[0] = p->algo[best];
    return 0;
}

/* The fastest of the proposals, into the ways; what is added to is left alone. */
static int settle(wan_dev *d, const char *op, lt_plan *p, const lt_call *call)
{
    const lt_shape b = bound_of(&p->shape);
    const size_t bytes = (size_t)(p->shape.m * p->shape.n) * (p->shape.out_bf16 ? 2 : 4);
    char shape[WAN_WAYS_WORD], way[WAN_WAYS_WORD];
    lt_call c = *call;
    cudaEvent_t from = NULL, to = NULL;
    void *aside = NULL;
    p->settled = 1;
    if (p->shape.accumulate && cudaMalloc(&aside, bytes) != cudaSuccess) {
        cudaGetLastError();
        return 0; /* no room to try: the first one */
    }
    c.d = aside ? aside : c.d;
    int rc = cuda_check(cudaEventCreate(&from), "an event");
    rc = rc == 0 ? cuda_check(cudaEventCreate(&to), "an event") : rc;
    rc = rc == 0 ? measure_all(d, op, p, &c, from, to) : rc;
    if (from)
        cudaEventDestroy(from);
    if (to)
        cudaEventDestroy(to);
    if (aside)
        cudaFree(aside);
    say_shape(shape, &b);
    say_algo(way, &p->algo[0]);
    return rc == 0 ? wan_cuda_host->ways_note(d->ways, cuda_of(d)->lt->kind, shape, way) : rc;
}

/* The epilogue's bias has the type of its result. */
static int set_bias(wan_dev *d, const char *op, const lt_plan *p, const float *b)
{
    const wan_cuda_lt *lt = cuda_of(d)->lt;
    const void *bias = b;
    if (p->shape.out_bf16) {
        if ((size_t)p->shape.m * 2 > BIAS_BYTES)
            return wan_cuda_host->err("%s: %lld outputs", op, (long long)p->shape.m);
        WAN_TRY(wan_cast_cuda(d, wan_buf_of(lt->bias, WAN_BF16),
                              wan_buf_of((void *)(uintptr_t)b, WAN_F32), p->shape.m));
        bias = lt->bias;
    }
    SET(p, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    return 0;
}

int cuda_lt_run(wan_dev *d, const char *op, lt_plan *p, const lt_call *c)
{
    if (eight_bits(&p->shape)) {
        SET(p, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, c->a_back);
        SET(p, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, c->b_back);
    }
    if (c->bias)
        WAN_TRY(set_bias(d, op, p, c->bias));
    if (p->shape.then == LT_SUM_B)
        SET(p, CUBLASLT_MATMUL_DESC_BIAS_POINTER, c->aux);
    else if (c->aux)
        SET(p, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, c->aux);
    if (d->ways && d->ways->trying && !p->settled && p->found > 1)
        WAN_TRY(settle(d, op, p, c));
    return multiply(d, op, p, c, 0);
}
