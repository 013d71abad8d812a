/* SPDX-License-Identifier: Apache-2.0
 *
 * conv_graph_cudnn.cu - the operation graph of a convolution, channels last.
 */
#include "kernels/conv_graph.cuh"
#include "kernels/dnn_graph.cuh"

struct builder : dnn_graph {
    conv_plan *p;
};

/* Five dimensions; strides of channels last, the outermost `apart` elements. */
static cudnnBackendDescriptor_t tensor(builder *g, int64_t uid, const int64_t dim[5], int64_t apart,
                                       cudnnDataType_t type, bool inner)
{
    const int64_t C = dim[1], str[5] = { apart, 1, dim[3] * dim[4] * C, dim[4] * C, C }, align = 16;
    cudnnBackendDescriptor_t d = make(g, CUDNN_BACKEND_TENSOR_DESCRIPTOR, "tensor");
    set(g, d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type, "tensor type");
    set(g, d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 5, dim, "tensor dimensions");
    set(g, d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 5, str, "tensor strides");
    set(g, d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &uid, "tensor id");
    set(g, d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &align, "tensor alignment");
    if (inner)
        set(g, d, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &inner, "virtual tensor");
    finish(g, d, "tensor");
    return d;
}

static cudnnBackendDescriptor_t window(builder *g, const wan_conv *c)
{
    cudnnBackendDescriptor_t d = make(g, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, "convolution");
    const int64_t n = 3, skips = conv_graph_skips(c), one[3] = { 1, 1, 1 };
    const int64_t pre[3] = { c->past - skips, c->top, c->left },
                  post[3] = { 0, c->bottom, c->right };
    const int64_t stride[3] = { c->st, c->sh, c->sw };
    const cudnnDataType_t f32 = CUDNN_DATA_FLOAT;
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    set(g, d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &f32, "sums");
    set(g, d, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode, "mode");
    set(g, d, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &n, "dimensions");
    set(g, d, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 3, pre, "padding");
    set(g, d, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 3, post, "padding");
    set(g, d, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 3, stride, "strides");
    set(g, d, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 3, one, "dilation");
    finish(g, d, "convolution");
    return d;
}

static void convolve(builder *g, cudnnBackendDescriptor_t y, cudnnBackendDescriptor_t x,
                     cudnnBackendDescriptor_t w)
{
    cudnnBackendDescriptor_t c = window(g, &g->p->key.c);
    cudnnBackendDescriptor_t d =
        make(g, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, "convolution");
    const float one = 1, zero = 0;
    link(g, d, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, c, "window");
    link(g, d, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x, "x");
    link(g, d, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, w, "w");
    link(g, d, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, y, "y");
    set(g, d, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1, &one, "alpha");
    set(g, d, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 1, &zero, "beta");
    finish(g, d, "convolution");
    g->ops.push_back(d);
}

static void sum(builder *g, cudnnBackendDescriptor_t y, cudnnBackendDescriptor_t a,
                cudnnBackendDescriptor_t b)
{
    cudnnBackendDescriptor_t how = make(g, CUDNN_BACKEND_POINTWISE_DESCRIPTOR, "sum");
    const cudnnPointwiseMode_t mode = CUDNN_POINTWISE_ADD;
    const cudnnDataType_t f32 = CUDNN_DATA_FLOAT;
    set(g, how, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode, "sum");
    set(g, how, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &f32, "sum");
    finish(g, how, "sum");
    cudnnBackendDescriptor_t d = make(g, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, "sum");
    link(g, d, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how, "sum");
    link(g, d, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, a, "sum");
    link(g, d, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b, "sum");
    link(g, d, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y, "sum");
    finish(g, d, "sum");
    g->ops.push_back(d);
}

int64_t conv_graph_skips(const wan_conv *c)
{
    return wan_conv_frames(c) == 1 ? c->past : 0;
}

/* sums -> bias -> residual -> y, as far as these are there */
static void chain(builder *g)
{
    const conv_key *k = &g->p->key;
    const wan_conv *c = &k->c;
    const int64_t kt = c->kt - conv_graph_skips(c), To = wan_conv_frames(c);
    const int64_t Ho = (c->H + c->top + c->bottom - c->kh) / c->sh + 1;
    const int64_t Wo = (c->W + c->left + c->right - c->kw) / c->sw + 1;
    const int64_t x[5] = { 1, c->Ci, c->T, c->H, c->W }, y[5] = { 1, c->Co, To, Ho, Wo };
    const int64_t w[5] = { c->Co, c->Ci, kt, c->kh, c->kw };
    const int64_t b[5] = { 1, c->Co, 1, 1, 1 }, all = To * Ho * Wo * c->Co;
    const cudnnDataType_t f32 = CUDNN_DATA_FLOAT;
    const cudnnDataType_t half = k->f16 ? CUDNN_DATA_HALF : CUDNN_DATA_BFLOAT16;
    const cudnnDataType_t out = k->y_half ? half : f32;
    cudnnBackendDescriptor_t X = tensor(g, CONV_X, x, c->T * c->H * c->W * c->Ci, half, false);
    cudnnBackendDescriptor_t W = tensor(g, CONV_W, w, kt * c->kh * c->kw * c->Ci, half, false);
    cudnnBackendDescriptor_t Y = tensor(g, CONV_Y, y, all, out, false), at = Y;
    if (k->bias || k->add)
        at = tensor(g, CONV_SUM, y, all, f32, true);
    convolve(g, at, X, W);
    if (k->bias) {
        cudnnBackendDescriptor_t next = k->add ? tensor(g, CONV_BIASED, y, all, f32, true) : Y;
        sum(g, next, at, tensor(g, CONV_BIAS, b, c->Co, f32, false));
        at = next;
    }
    if (k->add)
        sum(g, Y, at, tensor(g, CONV_RESIDUAL, y, all, out, false));
}

int conv_graph_describe(conv_plan *p)
{
    builder g = { { p, {}, CUDNN_STATUS_SUCCESS, NULL }, p };
    char text[256] = "";
    chain(&g);
    p->graph = make(&g, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, "graph");
    set(&g, p->graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
        (int64_t)g.ops.size(), g.ops.data(), "operations");
    p->ordered = 1;
    if (g.status == CUDNN_STATUS_SUCCESS)
        return 0;
    cudnnGetLastErrorString(text, sizeof text);
    return wan_cuda_host->err("cuDNN: convolution graph: %s: %s: %s", g.where,
                              cudnnGetErrorString(g.status), text);
}
