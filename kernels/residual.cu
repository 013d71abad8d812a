/* SPDX-License-Identifier: Apache-2.0
 *
 * residual.cu - gated residual on CUDA.
 */
#include "kernels/reduce.cuh"

/* ---- kernels */

/* out = x + y gate (gate.p NULL: 1); one block per token */
static __global__ void forward_row(vbuf out, vbuf x, vbuf y, vbuf gate, int64_t stride,
                                   const int32_t *seg, int64_t D)
{
    int64_t s = blockIdx.x, row = s * D, mod = gate.p ? seg[s] * stride : 0;
    float v[8], a[8], g[8] = { 1, 1, 1, 1, 1, 1, 1, 1 };
    for (int64_t c = threadIdx.x * 8; c < D; c += blockDim.x * 8) {
        ld8(v, x, row + c, D - c);
        ld8(a, y, row + c, D - c);
        if (gate.p)
            ld8(g, gate, mod + c, D - c);
        for (int j = 0; j < 8; j++)
            v[j] += a[j] * g[j];
        st8(out, row + c, D - c, v);
    }
}

/* dy = dout gate */
static __global__ void backward_row(vbuf dy, vbuf dout, vbuf gate, int64_t stride,
                                    const int32_t *seg, int64_t D)
{
    int64_t s = blockIdx.x, row = s * D, mod = gate.p ? seg[s] * stride : 0;
    float v[8], g[8] = { 1, 1, 1, 1, 1, 1, 1, 1 };
    for (int64_t c = threadIdx.x * 8; c < D; c += blockDim.x * 8) {
        ld8(v, dout, row + c, D - c);
        if (gate.p)
            ld8(g, gate, mod + c, D - c);
        for (int j = 0; j < 8; j++)
            v[j] *= g[j];
        st8(dy, row + c, D - c, v);
    }
}

/* sum dout*y */
struct gate_sum {
    enum { N = 1 };
    vbuf dout, y;
    int64_t D;
    __device__ void add(float (*acc)[8], int64_t s, int64_t c, int64_t n) const
    {
        float g[8], v[8];
        ld8(g, dout, s * D + c, n);
        ld8(v, y, s * D + c, n);
        for (int j = 0; j < 8; j++)
            acc[0][j] += g[j] * v[j];
    }
};

/* Both at once, for rows that stay in registers: a block for some rows of one sample.  part [chunks][D] */
static __global__ void __launch_bounds__(ROW_THREADS)
    backward_rows(vbuf dy, vbuf dout, vbuf y, vbuf gate, int64_t stride, const int32_t *seg,
                  float *part, segments g, int64_t D)
{
    int64_t s0, s1, c = threadIdx.x * 8, n = D - c;
    float v[8], a[8], b[8], sum[8] = { 0, 0, 0, 0, 0, 0, 0, 0 };
    chunk_range(g, blockIdx.x, &s0, &s1);
    ld8(b, gate, (s0 < s1 ? seg[s0] * stride : 0) + c, n);
    for (int64_t s = s0; s < s1; s++) {
        ld8(v, dout, s * D + c, n);
        ld8(a, y, s * D + c, n);
        for (int j = 0; j < 8; j++) {
            sum[j] += v[j] * a[j];
            v[j] *= b[j];
        }
        st8(dy, s * D + c, n,
            v); /* this thread alone reads these columns of what it may lie over */
    }
    vbuf p = { part, 0, D % 8 == 0 };
    st8(p, blockIdx.x * D + c, n, sum);
}

/* ---- launchers */

extern "C" int wan_residual_forward_cuda(wan_dev *d, float *out, const float *x, wan_buf y,
                                         const float *gate, int64_t stride, const wan_pack *pack,
                                         int64_t D)
{
    CUDA_TYPES("residual_forward", y);
    return cuda_launch(d, "residual_forward", forward_row, dim3((unsigned)pack->S), row_threads(D),
                       0, vbuf_f32(out, D), vbuf_f32(x, D), vbuf_of(y, D), vbuf_f32(gate, stride),
                       stride, pack->seg, D);
}

static int backward_at_once(wan_dev *d, wan_buf dy, float *dgate, int64_t dstride,
                            const float *dout, wan_buf y, const float *gate, int64_t stride,
                            const wan_pack *pack, int64_t D)
{
    segments g = { pack->cu, pack->n, pack->S, WAN_SPACE_SEAM };
    int64_t chunks = column_chunks(pack, pack->S, WAN_SPACE_SEAM);
    float *part = (float *)cuda_scratch(d, (size_t)wan_space_columns(1, chunks, D));
    if (!part)
        return -1;
    WAN_TRY(cuda_launch(d, "residual_backward", backward_rows, dim3((unsigned)chunks),
                        row_threads(D), 0, vbuf_of(dy, D), vbuf_f32(dout, D), vbuf_of(y, D),
                        vbuf_f32(gate, stride), stride, pack->seg, part, g, D));
    return columns_add(d, "residual_backward", dgate, dstride, part, g, D, 1);
}

extern "C" int wan_residual_backward_cuda(wan_dev *d, wan_buf dy, float *dgate, int64_t dstride,
                                          const float *dout, wan_buf y, const float *gate,
                                          int64_t stride, const wan_pack *pack, int64_t D)
{
    CUDA_TYPES("residual_backward", dy, gate ? y : dy);
    if (gate && D <= 8 * ROW_THREADS)
        return backward_at_once(d, dy, dgate, dstride, dout, y, gate, stride, pack, D);
    gate_sum f = { vbuf_f32(dout, D), vbuf_of(y, D), D };
    if (gate) /* dgate first: dy may be written over y */
        WAN_TRY(columns_sum(d, "residual_backward", f, &dgate, dstride, pack, pack->S, D, 1));
    return cuda_launch(d, "residual_backward", backward_row, dim3((unsigned)pack->S),
                       row_threads(D), 0, vbuf_of(dy, D), f.dout, vbuf_f32(gate, stride), stride,
                       pack->seg, D);
}
