/* SPDX-License-Identifier: Apache-2.0
 *
 * sdpa_graph.cu - the operation graphs of attention, forward and backward.
 *
 * The order and the types of the operations are those that cuDNN's engines are documented to
 * recognise (NVIDIA's cudnn-frontend builds the same graphs).
 */
#include "kernels/sdpa_graph.cuh"
#include "kernels/dnn_graph.cuh"

#include <cstdio>

/* A tensor of four dimensions. */
struct ten {
    cudnnBackendDescriptor_t d;
    int64_t dim[4], str[4];
};

struct builder : dnn_graph {
    sdpa_plan *p;
    int64_t next;
};

/* ---- tensors */

enum kind { DEVICE, VIRTUAL, HOST };

static ten tensor(builder *g, int64_t uid, const int64_t dim[4], const int64_t str[4],
                  cudnnDataType_t type, enum kind kind, const ten *ragged)
{
    ten t;
    int64_t align = 16;
    bool yes = true;
    memcpy(t.dim, dim, sizeof t.dim);
    memcpy(t.str, str, sizeof t.str);
    t.d = make(g, CUDNN_BACKEND_TENSOR_DESCRIPTOR, "tensor");
    set(g, t.d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type, "tensor type");
    set(g, t.d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dim, "tensor dimensions");
    set(g, t.d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, str, "tensor strides");
    set(g, t.d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &uid, "tensor id");
    set(g, t.d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &align, "tensor alignment");
    if (kind == VIRTUAL)
        set(g, t.d, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &yes, "virtual tensor");
    if (kind == HOST)
        set(g, t.d, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &yes, "host scalar");
    if (ragged)
        link(g, t.d, CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC, ragged->d, "ragged offset");
    finish(g, t.d, "tensor");
    return t;
}

/* An intermediate of fp32 unless told; strides of the usual order. */
static ten inter(builder *g, int64_t b, int64_t h, int64_t r, int64_t c, cudnnDataType_t type)
{
    const int64_t dim[4] = { b, h, r, c }, str[4] = { h * r * c, r * c, c, 1 };
    return tensor(g, g->next++, dim, str, type, VIRTUAL, NULL);
}

static ten scalar(builder *g, int64_t uid)
{
    const int64_t one[4] = { 1, 1, 1, 1 };
    return tensor(g, uid, one, one, CUDNN_DATA_FLOAT, HOST, NULL);
}

static ten ints(builder *g, int64_t uid, int64_t n)
{
    const int64_t dim[4] = { n, 1, 1, 1 }, one[4] = { 1, 1, 1, 1 };
    return tensor(g, uid, dim, one, CUDNN_DATA_INT32, DEVICE, NULL);
}

/* Rows [b, h, s, hd] of an operand. */
static ten rows(builder *g, int64_t uid, int64_t s, int64_t ld, const ten *ragged)
{
    const sdpa_shape *p = &g->p->shape;
    const int64_t dim[4] = { p->b, p->h, s, p->hd }, str[4] = { s * ld, p->hd, ld, 1 };
    return tensor(g, uid, dim, str, CUDNN_DATA_BFLOAT16, DEVICE, ragged);
}

/* The same operand as columns [b, h, hd, s]. */
static ten columns(builder *g, int64_t uid, int64_t s, int64_t ld, const ten *ragged)
{
    const sdpa_shape *p = &g->p->shape;
    const int64_t dim[4] = { p->b, p->h, p->hd, s }, str[4] = { s * ld, p->hd, 1, ld };
    return tensor(g, uid, dim, str, CUDNN_DATA_BFLOAT16, DEVICE, ragged);
}

/* ---- operations */

static void matmul(builder *g, ten a, ten b, ten c, const ten *m, const ten *n, const ten *k)
{
    cudnnDataType_t f32 = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t how = make(g, CUDNN_BACKEND_MATMUL_DESCRIPTOR, "product");
    set(g, how, CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &f32, "product type");
    finish(g, how, "product");
    cudnnBackendDescriptor_t op = make(g, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR, "product");
    link(g, op, CUDNN_ATTR_OPERATION_MATMUL_ADESC, a.d, "product a");
    link(g, op, CUDNN_ATTR_OPERATION_MATMUL_BDESC, b.d, "product b");
    link(g, op, CUDNN_ATTR_OPERATION_MATMUL_CDESC, c.d, "product c");
    link(g, op, CUDNN_ATTR_OPERATION_MATMUL_DESC, how, "product");
    if (m)
        link(g, op, CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC, m->d, "product m");
    if (n)
        link(g, op, CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC, n->d, "product n");
    if (k)
        link(g, op, CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC, k->d, "product k");
    finish(g, op, "product");
    g->ops.push_back(op);
}

/* y = mode(x, b, t); b and t may be NULL; axis >= 0 for the index generator */
static void point(builder *g, cudnnPointwiseMode_t mode, cudnnDataType_t math, ten x, const ten *b,
                  const ten *t, ten y, int64_t axis)
{
    cudnnBackendDescriptor_t how = make(g, CUDNN_BACKEND_POINTWISE_DESCRIPTOR, "pointwise");
    set(g, how, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode, "pointwise mode");
    set(g, how, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &math, "pointwise type");
    if (axis >= 0)
        set(g, how, CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, 1, &axis, "index axis");
    finish(g, how, "pointwise");
    cudnnBackendDescriptor_t op;
    op = make(g, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, "pointwise");
    link(g, op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how, "pointwise");
    link(g, op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x.d, "pointwise x");
    link(g, op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y.d, "pointwise y");
    if (b)
        link(g, op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b->d, "pointwise b");
    if (t)
        link(g, op, CUDNN_ATTR_OPERATION_POINTWISE_TDESC, t->d, "pointwise t");
    finish(g, op, "pointwise");
    g->ops.push_back(op);
}

static void point1(builder *g, cudnnPointwiseMode_t mode, ten x, ten y)
{
    point(g, mode, CUDNN_DATA_FLOAT, x, NULL, NULL, y, -1);
}

static void point2(builder *g, cudnnPointwiseMode_t mode, ten x, ten b, ten y)
{
    point(g, mode, CUDNN_DATA_FLOAT, x, &b, NULL, y, -1);
}

static void reduce(builder *g, cudnnReduceTensorOp_t mode, ten x, ten y)
{
    cudnnDataType_t f32 = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t how = make(g, CUDNN_BACKEND_REDUCTION_DESCRIPTOR, "reduction");
    set(g, how, CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1, &mode,
        "reduction mode");
    set(g, how, CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &f32, "reduction type");
    finish(g, how, "reduction");
    cudnnBackendDescriptor_t op;
    op = make(g, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR, "reduction");
    link(g, op, CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x.d, "reduction x");
    link(g, op, CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y.d, "reduction y");
    link(g, op, CUDNN_ATTR_OPERATION_REDUCTION_DESC, how, "reduction");
    finish(g, op, "reduction");
    g->ops.push_back(op);
}

static void reshape(builder *g, ten x, ten y)
{
    cudnnBackendDescriptor_t op = make(g, CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR, "reshape");
    link(g, op, CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x.d, "reshape x");
    link(g, op, CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y.d, "reshape y");
    finish(g, op, "reshape");
    g->ops.push_back(op);
}

/* ---- the two graphs */

/* What both passes have: the operands, the lengths, the scaled and masked scores. */
struct common {
    ten q, k, scale, lenq, lenk, offq, offk, offv, offo;
    const ten *m, *n; /* lengths that bound products, NULL when dense */
};

/* s where row < lenq and column < lenk, else SDPA_MASKED */
static ten mask(builder *g, const common *c, ten s)
{
    const sdpa_shape *p = &g->p->shape;
    const cudnnDataType_t i32 = CUDNN_DATA_INT32, yes = CUDNN_DATA_BOOLEAN;
    ten masked = scalar(g, SDPA_MASKED), out = inter(g, p->b, p->h, p->sq, p->sk, CUDNN_DATA_FLOAT);
    ten row = inter(g, p->b, p->h, p->sq, p->sk, i32);
    ten col = inter(g, p->b, p->h, p->sq, p->sk, i32);
    ten in_row = inter(g, p->b, p->h, p->sq, p->sk, yes);
    ten in_col = inter(g, p->b, p->h, p->sq, p->sk, yes);
    ten in = inter(g, p->b, p->h, p->sq, p->sk, yes);
    point(g, CUDNN_POINTWISE_GEN_INDEX, i32, s, NULL, NULL, row, 2);
    point(g, CUDNN_POINTWISE_GEN_INDEX, i32, s, NULL, NULL, col, 3);
    point(g, CUDNN_POINTWISE_CMP_LT, yes, row, &c->lenq, NULL, in_row, -1);
    point(g, CUDNN_POINTWISE_CMP_LT, yes, col, &c->lenk, NULL, in_col, -1);
    point(g, CUDNN_POINTWISE_LOGICAL_AND, yes, in_row, &in_col, NULL, in, -1);
    point(g, CUDNN_POINTWISE_BINARY_SELECT, CUDNN_DATA_FLOAT, s, &masked, &in, out, -1);
    return out;
}

static void common_make(builder *g, common *c)
{
    const sdpa_shape *p = &g->p->shape;
    memset(c, 0, sizeof *c);
    if (p->ragged) {
        c->lenq = ints(g, SDPA_LEN_Q, p->b);
        c->lenk = ints(g, SDPA_LEN_K, p->b);
        c->offq = ints(g, SDPA_OFF_Q, p->b + 1);
        c->offk = ints(g, SDPA_OFF_K, p->b + 1);
        c->offv = ints(g, SDPA_OFF_V, p->b + 1);
        c->offo = ints(g, SDPA_OFF_O, p->b + 1);
        c->m = &c->lenq;
        c->n = &c->lenk;
    }
    c->q = rows(g, SDPA_Q, p->sq, p->ldq, p->ragged ? &c->offq : NULL);
    c->k = columns(g, SDPA_K, p->sk, p->ldk, p->ragged ? &c->offk : NULL);
    c->scale = scalar(g, SDPA_SCALE);
}

static ten scores(builder *g, const common *c)
{
    const sdpa_shape *p = &g->p->shape;
    ten qk = inter(g, p->b, p->h, p->sq, p->sk, CUDNN_DATA_FLOAT);
    ten s = inter(g, p->b, p->h, p->sq, p->sk, CUDNN_DATA_FLOAT);
    matmul(g, c->q, c->k, qk, c->m, c->n, NULL);
    point2(g, CUDNN_POINTWISE_MUL, qk, c->scale, s);
    if (p->bias) {
        const int64_t dim[4] = { p->b, 1, 1, p->sk }, str[4] = { p->sk, p->sk, p->sk, 1 };
        ten bias = tensor(g, SDPA_BIAS, dim, str, CUDNN_DATA_FLOAT, DEVICE, NULL);
        ten biased = inter(g, p->b, p->h, p->sq, p->sk, CUDNN_DATA_FLOAT);
        point2(g, CUDNN_POINTWISE_ADD, s, bias, biased);
        s = biased;
    }
    return p->ragged ? mask(g, c, s) : s;
}

static ten statistics(builder *g, int64_t uid)
{
    const sdpa_shape *p = &g->p->shape;
    const int64_t dim[4] = { p->b, p->h, p->sq, 1 }, str[4] = { p->h * p->sq, p->sq, 1, 1 };
    return tensor(g, uid, dim, str, CUDNN_DATA_FLOAT, DEVICE, NULL);
}

static void describe_forward(builder *g)
{
    const sdpa_shape *p = &g->p->shape;
    const cudnnDataType_t f32 = CUDNN_DATA_FLOAT;
    common c;
    common_make(g, &c);
    ten s = scores(g, &c), stats = statistics(g, SDPA_STATS);
    ten v = rows(g, SDPA_V, p->sk, p->ldv, p->ragged ? &c.offv : NULL);
    ten o = rows(g, SDPA_O, p->sq, p->ldo, p->ragged ? &c.offo : NULL);
    ten top = inter(g, p->b, p->h, p->sq, 1, f32), sum = inter(g, p->b, p->h, p->sq, 1, f32);
    ten log = inter(g, p->b, p->h, p->sq, 1, f32), sub = inter(g, p->b, p->h, p->sq, p->sk, f32);
    ten e = inter(g, p->b, p->h, p->sq, p->sk, f32);
    ten prob = inter(g, p->b, p->h, p->sq, p->sk, CUDNN_DATA_BFLOAT16);
    reduce(g, CUDNN_REDUCE_TENSOR_MAX, s, top);
    point2(g, CUDNN_POINTWISE_SUB, s, top, sub);
    point1(g, CUDNN_POINTWISE_EXP, sub, e);
    reduce(g, CUDNN_REDUCE_TENSOR_ADD, e, sum);
    point1(g, CUDNN_POINTWISE_LOG, sum, log);
    point2(g, CUDNN_POINTWISE_ADD, top, log, stats);
    point2(g, CUDNN_POINTWISE_DIV, e, sum, prob);
    matmul(g, prob, v, o, c.m, NULL, c.n);
}

/* delta = rowsum(dout o): an operand of its own because cuDNN wants memory for it */
static ten describe_delta(builder *g, ten dout, ten o)
{
    const sdpa_shape *p = &g->p->shape;
    const int64_t dim[4] = { p->b, p->h, p->sq, p->hd };
    const int64_t str[4] = { p->h * p->sq * p->hd, p->sq * p->hd, p->h * p->hd, 1 };
    const int64_t dim1[4] = { p->b, p->h, p->sq, 1 }, str1[4] = { p->h * p->sq, p->sq, 1, 1 };
    ten mul = tensor(g, g->next++, dim, str, CUDNN_DATA_FLOAT, VIRTUAL, NULL);
    ten sum = inter(g, p->b, p->h, p->sq, 1, CUDNN_DATA_FLOAT), one = scalar(g, SDPA_ONE);
    ten delta = tensor(g, SDPA_DELTA, dim1, str1, CUDNN_DATA_FLOAT, DEVICE, NULL);
    point2(g, CUDNN_POINTWISE_MUL, dout, o, mul);
    reduce(g, CUDNN_REDUCE_TENSOR_ADD, mul, sum);
    point2(g, CUDNN_POINTWISE_MUL, sum, one, delta);
    return delta;
}

/* x [b, h, sq, sk] seen as its transpose, in bf16 */
static ten transposed(builder *g, ten x)
{
    const sdpa_shape *p = &g->p->shape;
    const int64_t dim[4] = { p->b, p->h, p->sk, p->sq };
    const int64_t str[4] = { p->h * p->sq * p->sk, p->sq * p->sk, 1, p->sk };
    ten t = tensor(g, g->next++, dim, str, CUDNN_DATA_BFLOAT16, VIRTUAL, NULL);
    reshape(g, x, t);
    return t;
}

/* dq: directly when sums have a fixed order (cuDNN then keeps ds in its workspace), else through an
 * fp32 buffer that blocks add to as they finish */
static void describe_dq(builder *g, const common *c, ten ds)
{
    const sdpa_shape *p = &g->p->shape;
    const ten *offk = p->ragged ? &c->offk : NULL, *offq = p->ragged ? &c->offq : NULL;
    const int64_t kd[4] = { p->b, p->h, p->sk, p->hd };
    const int64_t ks[4] = { c->k.str[0], c->k.str[1], c->k.str[3], c->k.str[2] };
    ten k = tensor(g, g->next++, kd, ks, CUDNN_DATA_BFLOAT16, VIRTUAL, offk);
    ten dq = rows(g, SDPA_DQ, p->sq, p->ldq, offq);
    reshape(g, c->k, k);
    if (p->deterministic) {
        matmul(g, ds, k, dq, c->m, NULL, c->n);
        return;
    }
    const int64_t dim[4] = { p->b, p->h, p->sq, p->hd };
    const int64_t str[4] = { p->h * p->sq * p->hd, p->sq * p->hd, p->hd, 1 };
    ten sum = tensor(g, SDPA_DQ_SUM, dim, str, CUDNN_DATA_FLOAT, DEVICE, NULL);
    matmul(g, ds, k, sum, c->m, NULL, c->n);
    point1(g, CUDNN_POINTWISE_IDENTITY, sum, dq);
}

static void describe_backward(builder *g)
{
    const sdpa_shape *p = &g->p->shape;
    const cudnnDataType_t f32 = CUDNN_DATA_FLOAT;
    common c;
    common_make(g, &c);
    const ten *offk = p->ragged ? &c.offk : NULL, *offv = p->ragged ? &c.offv : NULL;
    const ten *offo = p->ragged ? &c.offo : NULL;
    ten dout = rows(g, SDPA_DO, p->sq, p->ldo, offo), o = rows(g, SDPA_O, p->sq, p->ldo, offo);
    ten v = columns(g, SDPA_V, p->sk, p->ldv, offv), dv = rows(g, SDPA_DV, p->sk, p->ldv, offv);
    ten dk = rows(g, SDPA_DK, p->sk, p->ldk, offk);
    ten delta = describe_delta(g, dout, o);
    ten s = scores(g, &c), stats = statistics(g, SDPA_STATS);
    ten sub = inter(g, p->b, p->h, p->sq, p->sk, f32), e = inter(g, p->b, p->h, p->sq, p->sk, f32);
    point2(g, CUDNN_POINTWISE_SUB, s, stats, sub);
    point1(g, CUDNN_POINTWISE_EXP, sub, e);
    matmul(g, transposed(g, e), dout, dv, c.n, NULL, c.m);
    ten dp = inter(g, p->b, p->h, p->sq, p->sk, f32), dd = inter(g, p->b, p->h, p->sq, p->sk, f32);
    ten de = inter(g, p->b, p->h, p->sq, p->sk, f32), ds = inter(g, p->b, p->h, p->sq, p->sk, f32);
    matmul(g, dout, v, dp, c.m, c.n, NULL);
    point2(g, CUDNN_POINTWISE_SUB, dp, delta, dd);
    point2(g, CUDNN_POINTWISE_MUL, dd, e, de);
    point2(g, CUDNN_POINTWISE_MUL, de, c.scale, ds);
    matmul(g, transposed(g, ds), c.q, dk, c.n, NULL, c.m);
    describe_dq(g, &c, ds);
}

int sdpa_graph_describe(sdpa_plan *p)
{
    builder g;
    g.plan = g.p = p;
    g.next = SDPA_UIDS;
    g.status = CUDNN_STATUS_SUCCESS;
    g.where = "";
    if (p->shape.backward)
        describe_backward(&g);
    else
        describe_forward(&g);
    p->graph = make(&g, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, "graph");
    set(&g, p->graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
        (int64_t)g.ops.size(), g.ops.data(), "graph operations");
    if (g.status != CUDNN_STATUS_SUCCESS)
        return wan_cuda_host->err("cuDNN: attention graph: %s: %s", g.where,
                                  cudnnGetErrorString(g.status));
    return 0;
}
