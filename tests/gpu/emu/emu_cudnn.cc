/* SPDX-License-Identifier: Apache-2.0
 *
 * emu_cudnn.cc - cuDNN's graph interface on the CPU: descriptors keep what they are given, and a
 * plan evaluates its operations one after the other as the documentation defines them.  So the
 * graphs of sdpa_graph.cu and the pointers that attention_cudnn.cu binds are held against the
 * reference.
 */
#include <cudnn.h>

#include "cuda_runtime.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <vector>

#include "kernels/sdpa_graph.cuh"
#include "kernels/space.h"

#include "cuda_fp16.h"
extern "C" {
#include "lib/base/dtype.h"
}

typedef std::vector<char> bytes;

struct emu_desc {
    cudnnBackendDescriptorType_t type;
    std::map<int, bytes> attr;
    int finalized;
    long number;
};

static std::set<emu_desc *> alive;
static long made;

static size_t size_of(cudnnBackendAttributeType_t t)
{
    switch (t) {
    case CUDNN_TYPE_BOOLEAN: return sizeof(bool);
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
    case CUDNN_TYPE_DOUBLE: return 8;
    default: return 4;
    }
}

static emu_desc *of(cudnnBackendDescriptor_t d)
{
    return (emu_desc *)d;
}

template <typename T> static T get(emu_desc *d, int name, T otherwise, int i = 0)
{
    std::map<int, bytes>::iterator it = d->attr.find(name);
    if (it == d->attr.end())
        return otherwise;
    memcpy(&otherwise, it->second.data() + (size_t)i * sizeof(T), sizeof(T));
    return otherwise;
}

static emu_desc *link_of(emu_desc *d, int name, int i = 0)
{
    return get<emu_desc *>(d, name, NULL, i);
}

static int count_of(emu_desc *d, int name, size_t one)
{
    return (int)(d->attr[name].size() / one);
}

/* ---- values: four dimensions, dense, as floats */
struct value {
    int64_t dim[4], str[4];
    std::vector<float> v;
};

struct machine {
    std::map<int64_t, void *> memory; /* by tensor id */
    std::map<int64_t, value> done;
};

static void complain(const char *what)
{
    fprintf(stderr, "emulated cuDNN: %s\n", what);
    abort();
}

static int64_t id_of(emu_desc *t)
{
    return get<int64_t>(t, CUDNN_ATTR_TENSOR_UNIQUE_ID, 0);
}

static int is_virtual(emu_desc *t)
{
    return get<bool>(t, CUDNN_ATTR_TENSOR_IS_VIRTUAL, false);
}

static int64_t extent(emu_desc *t, int i)
{
    return get<int64_t>(t, CUDNN_ATTR_TENSOR_DIMENSIONS, 1, i);
}

static int64_t stride(emu_desc *t, int i)
{
    return get<int64_t>(t, CUDNN_ATTR_TENSOR_STRIDES, 1, i);
}

/* Frames and rows as one dimension: they lie one after the other. */
static value shaped5(emu_desc *t)
{
    value x;
    const int from[4] = { 0, 1, 3, 4 };
    if (extent(t, 2) > 1 && stride(t, 2) != extent(t, 3) * stride(t, 3))
        complain("frames that do not lie one after the other");
    for (int i = 0; i < 4; i++) {
        x.dim[i] = extent(t, from[i]);
        x.str[i] = stride(t, from[i]);
    }
    x.dim[2] *= extent(t, 2);
    x.v.assign((size_t)(x.dim[0] * x.dim[1] * x.dim[2] * x.dim[3]), 0);
    return x;
}

static value shaped(emu_desc *t)
{
    value x;
    if (count_of(t, CUDNN_ATTR_TENSOR_DIMENSIONS, sizeof(int64_t)) == 5)
        return shaped5(t);
    for (int i = 0; i < 4; i++) {
        x.dim[i] = get<int64_t>(t, CUDNN_ATTR_TENSOR_DIMENSIONS, 1, i);
        x.str[i] = get<int64_t>(t, CUDNN_ATTR_TENSOR_STRIDES, 1, i);
    }
    x.v.assign((size_t)(x.dim[0] * x.dim[1] * x.dim[2] * x.dim[3]), 0);
    return x;
}

/* Element k of x: its place in memory, or -1 when it lies behind its ragged sample. */
static int64_t place(machine *m, emu_desc *t, const value &x, int64_t k)
{
    int64_t j = k % x.dim[3], i = k / x.dim[3] % x.dim[2], h = k / (x.dim[3] * x.dim[2]) % x.dim[1];
    int64_t b = k / (x.dim[3] * x.dim[2] * x.dim[1]);
    int64_t inner = h * x.str[1] + i * x.str[2] + j * x.str[3];
    emu_desc *ragged = link_of(t, CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC);
    if (!ragged || is_virtual(t))
        return b * x.str[0] + inner;
    const int32_t *off = (const int32_t *)m->memory[id_of(ragged)];
    if (!off)
        complain("a ragged tensor without its offsets");
    return off[b] + inner < off[b + 1] ? off[b] + inner : -1;
}

static int size_in_memory(cudnnDataType_t t)
{
    return t == CUDNN_DATA_BFLOAT16 || t == CUDNN_DATA_HALF ? 2 : 4;
}

/* Of 16 bits, bf16 or fp16. */
static float value_of(cudnnDataType_t t, uint16_t bits)
{
    return t == CUDNN_DATA_HALF ? emu_f16_value(bits) : wan_bf16_to_f32(bits);
}

static uint16_t bits_of(cudnnDataType_t t, float f)
{
    return t == CUDNN_DATA_HALF ? emu_f16_bits(f) : wan_f32_to_bf16(f);
}

static float round_to(cudnnDataType_t t, float f)
{
    return size_in_memory(t) == 2 ? value_of(t, bits_of(t, f)) : f;
}

static const value &load(machine *m, emu_desc *t)
{
    int64_t id = id_of(t);
    if (m->done.count(id))
        return m->done[id];
    cudnnDataType_t type = get(t, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_DATA_FLOAT);
    char *p = (char *)m->memory[id];
    value x = shaped(t);
    if (!p) {
        fprintf(stderr, "tensor %d: ", (int)id);
        complain("used, and neither computed nor bound");
    }
    for (int64_t k = 0; k < (int64_t)x.v.size(); k++) {
        int64_t at = place(m, t, x, k);
        if (at < 0)
            continue;
        if (emu_touch)
            emu_touch(p + at * size_in_memory(type), (size_t)size_in_memory(type), 0);
        x.v[k] = size_in_memory(type) == 2  ? value_of(type, ((uint16_t *)p)[at])
                 : type == CUDNN_DATA_INT32 ? (float)((int32_t *)p)[at]
                                            : ((float *)p)[at];
    }
    return m->done[id] = x;
}

static void store(machine *m, emu_desc *t, value x)
{
    cudnnDataType_t type = get(t, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_DATA_FLOAT);
    char *p = (char *)m->memory[id_of(t)];
    for (size_t k = 0; k < x.v.size(); k++)
        x.v[k] = round_to(type, x.v[k]);
    if (!is_virtual(t)) {
        if (!p)
            complain("a result without memory");
        for (int64_t k = 0; k < (int64_t)x.v.size(); k++) {
            int64_t at = place(m, t, x, k);
            if (at >= 0 && emu_touch)
                emu_touch(p + at * size_in_memory(type), (size_t)size_in_memory(type), 1);
            if (at >= 0 && size_in_memory(type) == 2)
                ((uint16_t *)p)[at] = bits_of(type, x.v[k]);
            else if (at >= 0)
                ((float *)p)[at] = x.v[k];
        }
    }
    m->done[id_of(t)] = x;
}

/* ---- operations */

static void matmul(machine *m, emu_desc *op)
{
    const value a = load(m, link_of(op, CUDNN_ATTR_OPERATION_MATMUL_ADESC));
    const value b = load(m, link_of(op, CUDNN_ATTR_OPERATION_MATMUL_BDESC));
    emu_desc *out = link_of(op, CUDNN_ATTR_OPERATION_MATMUL_CDESC);
    const int names[3] = { CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC,
                           CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC,
                           CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC };
    value c = shaped(out);
    int64_t K = a.dim[3];
    if (b.dim[2] != K || a.dim[2] != c.dim[2] || b.dim[3] != c.dim[3])
        complain("a product of shapes that do not fit");
    std::vector<double> sum((size_t)b.dim[3]);
    for (int64_t s = 0; s < c.dim[0] * c.dim[1]; s++) {
        int64_t n[3] = { c.dim[2], c.dim[3], K };
        for (int i = 0; i < 3; i++)
            if (emu_desc *len = link_of(op, names[i]))
                n[i] = (int64_t)load(m, len).v[(size_t)(s / c.dim[1])];
        if (emu_spend)
            emu_spend(2.0 * (double)n[0] * (double)n[1] * (double)n[2]);
        for (int64_t i = 0; i < n[0]; i++) {
            std::fill(sum.begin(), sum.end(), 0);
            for (int64_t k = 0; k < n[2]; k++) {
                const double left = (double)a.v[(s * a.dim[2] + i) * K + k];
                const float *right = &b.v[(s * K + k) * b.dim[3]];
                for (int64_t j = 0; j < n[1]; j++)
                    sum[(size_t)j] += left * (double)right[j];
            }
            for (int64_t j = 0; j < n[1]; j++)
                c.v[(s * c.dim[2] + i) * c.dim[3] + j] = (float)sum[(size_t)j];
        }
    }
    store(m, out, c);
}

/* x as a value of shape `as`: what it has one of is repeated. */
static value spread(value x, const value &as)
{
    int64_t step[4], n = 1;
    value y = as;
    for (int i = 3; i >= 0; n *= x.dim[i--])
        step[i] = x.dim[i] == 1 ? 0 : n;
    if (n == (int64_t)as.v.size())
        return x;
    size_t k = 0;
    for (int64_t b = 0; b < as.dim[0]; b++)
        for (int64_t h = 0; h < as.dim[1]; h++)
            for (int64_t i = 0; i < as.dim[2]; i++)
                for (int64_t j = 0; j < as.dim[3]; j++)
                    y.v[k++] = x.v[(size_t)(b * step[0] + h * step[1] + i * step[2] + j * step[3])];
    return y;
}

static float point(cudnnPointwiseMode_t mode, float u, float v, float w)
{
    switch (mode) {
    case CUDNN_POINTWISE_ADD: return u + v;
    case CUDNN_POINTWISE_SUB: return u - v;
    case CUDNN_POINTWISE_MUL: return u * v;
    case CUDNN_POINTWISE_DIV: return u / v;
    case CUDNN_POINTWISE_EXP: return expf(u);
    case CUDNN_POINTWISE_LOG: return logf(u);
    case CUDNN_POINTWISE_IDENTITY: return u;
    case CUDNN_POINTWISE_CMP_LT: return u < v;
    case CUDNN_POINTWISE_LOGICAL_AND: return u != 0 && v != 0;
    case CUDNN_POINTWISE_BINARY_SELECT: return w != 0 ? u : v;
    default: complain("a pointwise mode"); return 0;
    }
}

static void pointwise(machine *m, emu_desc *op)
{
    emu_desc *how = link_of(op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
    emu_desc *bd = link_of(op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC);
    emu_desc *td = link_of(op, CUDNN_ATTR_OPERATION_POINTWISE_TDESC);
    emu_desc *out = link_of(op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC);
    const cudnnPointwiseMode_t mode = get(how, CUDNN_ATTR_POINTWISE_MODE, CUDNN_POINTWISE_ADD);
    value y = shaped(out);
    const int64_t axis = get<int64_t>(how, CUDNN_ATTR_POINTWISE_AXIS, -1);
    int64_t inner = 1;
    for (int i = 3; i > axis; i--)
        inner *= y.dim[i];
    const value x = spread(load(m, link_of(op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC)), y);
    const value b = bd ? spread(load(m, bd), y) : value(),
                t = td ? spread(load(m, td), y) : value();
    for (size_t k = 0; k < y.v.size(); k++)
        y.v[k] = mode == CUDNN_POINTWISE_GEN_INDEX
                     ? (float)((int64_t)k / inner % y.dim[axis])
                     : point(mode, x.v[k], bd ? b.v[k] : 0, td ? t.v[k] : 0);
    store(m, out, y);
}

static void reduction(machine *m, emu_desc *op)
{
    const value x = load(m, link_of(op, CUDNN_ATTR_OPERATION_REDUCTION_XDESC));
    emu_desc *out = link_of(op, CUDNN_ATTR_OPERATION_REDUCTION_YDESC);
    int top = get(link_of(op, CUDNN_ATTR_OPERATION_REDUCTION_DESC), CUDNN_ATTR_REDUCTION_OPERATOR,
                  CUDNN_REDUCE_TENSOR_ADD) == CUDNN_REDUCE_TENSOR_MAX;
    value y = shaped(out);
    int64_t n = x.dim[3];
    if (y.dim[3] != 1 || y.v.size() * (size_t)n != x.v.size())
        complain("a reduction not along the last axis");
    for (size_t k = 0; k < y.v.size(); k++) {
        y.v[k] = x.v[k * (size_t)n];
        for (int64_t j = 1; j < n; j++) {
            float v = x.v[k * (size_t)n + (size_t)j];
            y.v[k] = top ? (v > y.v[k] ? v : y.v[k]) : y.v[k] + v;
        }
    }
    store(m, out, y);
}

/* The same memory seen with other dimensions and strides. */
static void reshape(machine *m, emu_desc *op)
{
    emu_desc *in = link_of(op, CUDNN_ATTR_OPERATION_RESHAPE_XDESC);
    emu_desc *out = link_of(op, CUDNN_ATTR_OPERATION_RESHAPE_YDESC);
    const value x = load(m, in);
    value y = shaped(out);
    std::vector<float> at;
    std::vector<char> there;
    for (int pass = 0; pass < 2; pass++) {
        const value &s = pass ? y : x;
        for (int64_t k = 0; k < (int64_t)s.v.size(); k++) {
            int64_t j = k % s.dim[3], i = k / s.dim[3] % s.dim[2];
            int64_t h = k / (s.dim[3] * s.dim[2]) % s.dim[1];
            int64_t b = k / (s.dim[3] * s.dim[2] * s.dim[1]);
            size_t p = (size_t)(b * s.str[0] + h * s.str[1] + i * s.str[2] + j * s.str[3]);
            if (!pass && p >= at.size()) {
                at.resize(p + p / 2 + 1);
                there.resize(at.size());
            }
            if (!pass)
                at[p] = x.v[(size_t)k], there[p] = 1;
            else if (p < at.size() && there[p])
                y.v[(size_t)k] = at[p];
            else
                complain("a reshape that reaches outside");
        }
    }
    store(m, out, y);
}

/* What a convolution knows: of x, w, y in turn dimensions and strides; padding, strides, of bf16 or fp16. */
struct taps {
    int64_t dim[3][5], str[3][5], pre[3], step[3];
    const uint16_t *x, *w;
    cudnnDataType_t type;
};

static double tap_sum(const taps *c, int64_t o, const int64_t at[3])
{
    double sum = 0;
    for (int64_t a = 0; a < c->dim[1][2]; a++)
        for (int64_t r = 0; r < c->dim[1][3]; r++)
            for (int64_t s = 0; s < c->dim[1][4]; s++) {
                const int64_t k[3] = { a, r, s };
                const uint16_t *x = c->x, *w = c->w + o * c->str[1][0];
                int inside = 1;
                for (int i = 0; i < 3; i++) {
                    int64_t p = at[i] * c->step[i] - c->pre[i] + k[i];
                    inside &= p >= 0 && p < c->dim[0][2 + i];
                    x += p * c->str[0][2 + i];
                    w += k[i] * c->str[1][2 + i];
                }
                for (int64_t ch = 0; inside && ch < c->dim[0][1]; ch++)
                    sum += (double)value_of(c->type, x[ch * c->str[0][1]]) *
                           (double)value_of(c->type, w[ch * c->str[1][1]]);
            }
    return sum;
}

/* x and w once; taps on padding are multiplied, too. */
static void convolution_moves(const taps *c, double results)
{
    double taps = (double)(c->dim[1][1] * c->dim[1][2] * c->dim[1][3] * c->dim[1][4]);
    for (int k = 0; k < 2; k++) {
        size_t bytes = 2;
        for (int i = 0; i < 5; i++)
            bytes *= (size_t)c->dim[k][i];
        emu_touch(k ? c->w : c->x, bytes, 0);
    }
    emu_spend(2 * taps * results);
}

static void convolution(machine *m, emu_desc *op)
{
    emu_desc *t[3] = { link_of(op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X),
                       link_of(op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W),
                       link_of(op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y) };
    emu_desc *how = link_of(op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC);
    taps c;
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < 5; i++) {
            c.dim[k][i] = extent(t[k], i);
            c.str[k][i] = stride(t[k], i);
        }
    for (int i = 0; i < 3; i++) {
        c.pre[i] = get<int64_t>(how, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, 0, i);
        c.step[i] = get<int64_t>(how, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, 1, i);
        int64_t room = c.dim[0][2 + i] + c.pre[i] +
                       get<int64_t>(how, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, 0, i);
        if ((room - c.dim[1][2 + i]) / c.step[i] + 1 != c.dim[2][2 + i])
            complain("a convolution whose result has another size");
    }
    c.type = get(t[0], CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_DATA_FLOAT);
    c.x = (const uint16_t *)m->memory[id_of(t[0])];
    c.w = (const uint16_t *)m->memory[id_of(t[1])];
    value y = shaped(t[2]);
    if (emu_spend)
        convolution_moves(&c, (double)y.v.size());
    for (size_t k = 0; k < y.v.size(); k++) {
        int64_t j = (int64_t)k % y.dim[3], row = (int64_t)k / y.dim[3] % y.dim[2];
        const int64_t at[3] = { row / c.dim[2][3], row % c.dim[2][3], j };
        y.v[k] = (float)tap_sum(&c, (int64_t)k / (y.dim[3] * y.dim[2]), at);
    }
    store(m, t[2], y);
}

static void evaluate(machine *m, emu_desc *graph)
{
    int n = count_of(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, sizeof(void *));
    for (int i = 0; i < n; i++) {
        emu_desc *op = link_of(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, i);
        switch (op->type) {
        case CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR: matmul(m, op); break;
        case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR: pointwise(m, op); break;
        case CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR: reduction(m, op); break;
        case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR: convolution(m, op); break;
        case CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR: reshape(m, op); break;
        default: complain("an operation");
        }
    }
}

/* ---- the interface */

static cudaStream_t stream; /* of the last handle: one device at a time computes */

cudnnStatus_t cudnnCreate(cudnnHandle_t *h)
{
    *h = (cudnnHandle_t)1;
    return emu_fault("cudnn") ? CUDNN_STATUS_NOT_INITIALIZED : CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t)
{
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t, cudaStream_t s)
{
    stream = s;
    return CUDNN_STATUS_SUCCESS;
}
size_t cudnnGetVersion(void)
{
    const char *told = getenv("WAN_EMU_CUDNN");
    return told ? (size_t)atol(told) : CUDNN_VERSION;
}
const char *cudnnGetErrorString(cudnnStatus_t)
{
    return "emulated status";
}
void cudnnGetLastErrorString(char *text, size_t n)
{
    snprintf(text, n, "emulated cuDNN");
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t t,
                                           cudnnBackendDescriptor_t *d)
{
    emu_desc *e = new emu_desc();
    e->type = t;
    e->number = ++made;
    alive.insert(e);
    *d = (cudnnBackendDescriptor_t)e;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t d)
{
    alive.erase(of(d));
    delete of(d);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t n, const void *v)
{
    if (of(d)->finalized)
        complain("an attribute of a finished descriptor");
    of(d)->attr[name] = bytes((const char *)v, (const char *)v + (size_t)n * size_of(type));
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t d)
{
    of(d)->finalized = 1;
    return CUDNN_STATUS_SUCCESS;
}

/* Every tensor of a graph. */
static std::set<emu_desc *> tensors(emu_desc *graph)
{
    std::set<emu_desc *> all;
    int n = count_of(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, sizeof(void *));
    for (int i = 0; i < n; i++)
        for (auto &a : link_of(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, i)->attr) {
            emu_desc *t = a.second.size() == sizeof(void *) ? *(emu_desc **)a.second.data() : NULL;
            if (alive.count(t) && t->type == CUDNN_BACKEND_TENSOR_DESCRIPTOR)
                all.insert(t);
        }
    return all;
}

/* As cuDNN 9.19 on an H100: the backward of attention that has no memory for sums of dq in any order keeps the
 * scores of all its heads, rows and keys rounded up to 128, in bf16; nothing else wants any. */
static int64_t workspace(emu_desc *graph)
{
    emu_desc *dq = NULL, *sums = NULL, *k = NULL;
    for (emu_desc *t : tensors(graph)) {
        dq = id_of(t) == SDPA_DQ ? t : dq;
        sums = id_of(t) == SDPA_DQ_SUM ? t : sums;
        k = id_of(t) == SDPA_K ? t : k;
    }
    if (!dq || sums || !k)
        return 0;
    return extent(dq, 1) * wan_space_scores(extent(dq, 0), extent(dq, 2), extent(k, 3));
}

/* One configuration, which remembers its graph; no notes. */
cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t, int64_t want, int64_t *got,
                                       void *v)
{
    if (name == CUDNN_ATTR_ENGINEHEUR_RESULTS) {
        *got = 1;
        if (want > 0)
            (*(emu_desc **)v)->attr[CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH] =
                of(d)->attr[CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH];
        return CUDNN_STATUS_SUCCESS;
    }
    if (name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE) {
        *got = 1;
        *(int64_t *)v = workspace(link_of(link_of(of(d), CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG),
                                          CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH));
        return CUDNN_STATUS_SUCCESS;
    }
    return CUDNN_STATUS_NOT_SUPPORTED;
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t, cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t pack)
{
    machine m;
    int n = count_of(of(pack), CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, sizeof(int64_t));
    for (int i = 0; i < n; i++)
        m.memory[get<int64_t>(of(pack), CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, 0, i)] =
            get<void *>(of(pack), CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, NULL, i);
    emu_desc *graph = link_of(link_of(of(plan), CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG),
                              CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
    for (emu_desc *t : tensors(graph)) /* numbers of the host are those of this call */
        if (get<bool>(t, CUDNN_ATTR_TENSOR_IS_BY_VALUE, false))
            load(&m, t);
    const emu_desc *p = of(plan);
    const long number = p->number;
    for (const auto &t : m.memory)
        emu_holds(stream, &t.second, sizeof t.second);
    if (emu_kept(stream, [m, graph, p, number]() {
            machine again = m;
            if (!alive.count((emu_desc *)p) || p->number != number)
                complain("a recording whose plan is gone, and its kernel with it");
            evaluate(&again, graph);
        }))
        return CUDNN_STATUS_SUCCESS;
    emu_called();
    emu_in_order(stream);
    evaluate(&m, graph);
    return CUDNN_STATUS_SUCCESS;
}
