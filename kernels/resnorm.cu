/* SPDX-License-Identifier: Apache-2.0
 *
 * resnorm.cu - gated residual and LayerNorm on CUDA, each row read once and written once.
 *
 * Forward: a block for a row.  Backward: a block for some rows of one sample, one after the other; it adds up
 * their shares of the gradients of gate, gain and shift in registers, and columns_finish adds those of all
 * blocks in order.
 */
#include "kernels/resnorm.cuh"

/* ---- kernels */

static __global__ void __launch_bounds__(SEAM_THREADS) seam_forward(seam a)
{
    int64_t s = blockIdx.x, c = threadIdx.x * 8, row = s * a.D, n = a.D - c;
    int64_t of = a.seg ? a.seg[s] * a.stride : 0;
    float v[8], w[8], b[8], sum = 0, var = 0;
    ld8(v, a.x, row + c, n);
    if (a.out.p) {
        ld8(w, a.y, row + c, n);
        if (a.gate.p)
            ld8(b, a.gate, of + c, n);
        for (int j = 0; j < 8; j++)
            v[j] += a.gate.p ? w[j] * b[j] : w[j];
        st8(a.out, row + c, n, v);
    }
    for (int j = 0; j < 8; j++)
        sum += v[j]; /* 0 behind the row's end */
    block_sum<1>(&sum, cuda_shared);
    float m = sum / (float)a.D;
    for (int j = 0; j < 8; j++)
        var += j < n ? (v[j] - m) * (v[j] - m) : 0;
    block_sum<1>(&var, cuda_shared);
    float r = 1 / sqrtf(var / (float)a.D + a.eps);
    if (threadIdx.x == 0) {
        a.mean[s] = m;
        a.rstd[s] = r;
    }
    int64_t g = a.one > 0 ? of : 0; /* an affine norm has one row */
    ld8(w, a.gain, g + c, n);
    ld8(b, a.shift, g + c, n);
    for (int j = 0; j < 8; j++)
        v[j] = (v[j] - m) * r * (a.one + w[j]) + b[j];
    st8(a.u, row + c, n, v);
}

/* sums: gain, shift, gate of this thread's columns */
struct seam_sums {
    float gain[8], shift[8], gate[8];
};

/* One row: dx += rstd (h - <h> - xhat <h xhat>), h = du (one + gain); dy = dx gate. */
static __device__ inline void seam_row(const seam &a, int64_t s, int64_t c, const float w[8],
                                       const float gate[8], seam_sums &t)
{
    int64_t at = s * a.D + c, n = a.D - c;
    float x[8], h[8], o[8], m = a.mean[s], r = a.rstd[s], sum[2] = { 0, 0 };
    ld8(x, a.out, at, n);
    ld8(h, a.du, at, n);
    ld8(o, a.dx, at, n);
    for (int j = 0; j < 8; j++) {
        x[j] = (x[j] - m) * r;
        t.gain[j] += h[j] * x[j];
        t.shift[j] += h[j];
        h[j] *= a.one + w[j]; /* du is 0 behind the row's end */
        sum[0] += h[j];
        sum[1] += h[j] * x[j];
    }
    block_sum<2>(sum, cuda_shared);
    float ga = sum[0] / (float)a.D, gb = sum[1] / (float)a.D;
    for (int j = 0; j < 8; j++)
        o[j] += r * (h[j] - ga - x[j] * gb);
    st8(a.dx, at, n, o);
    if (a.gate.p) {
        ld8(x, a.y, at, n);
        for (int j = 0; j < 8; j++) {
            t.gate[j] += o[j] * x[j];
            o[j] *= gate[j];
        }
    }
    if (a.dy.p)
        st8(a.dy, at, n, o); /* this thread alone reads these columns of what it may lie over */
}

/* part [3][chunks][D] */
static __global__ void __launch_bounds__(SEAM_THREADS)
    seam_backward(seam a, float *part, segments g)
{
    int64_t chunk = blockIdx.x, chunks = gridDim.x, c = threadIdx.x * 8, s0, s1, n = a.D - c;
    float w[8], gate[8];
    seam_sums t;
    for (int j = 0; j < 8; j++)
        t.gain[j] = t.shift[j] = t.gate[j] = 0;
    chunk_range(g, chunk, &s0, &s1);
    int64_t of = a.seg && s0 < s1 ? a.seg[s0] * a.stride : 0;
    ld8(w, a.gain, (a.one > 0 ? of : 0) + c, n);
    if (a.gate.p)
        ld8(gate, a.gate, of + c, n);
    for (int64_t s = s0; s < s1; s++)
        seam_row(a, s, c, w, gate, t);
    vbuf p = { part, 0, a.D % 8 == 0 };
    st8(p, chunk * a.D + c, n, t.gain);
    st8(p, (chunks + chunk) * a.D + c, n, t.shift);
    if (a.gate.p)
        st8(p, (2 * chunks + chunk) * a.D + c, n, t.gate);
}

/* ---- launchers */

int cuda_seam_forward(wan_dev *d, const char *op, const seam *a, int64_t S)
{
    if (a->D > SEAM_MOST)
        return 1;
    return cuda_launch(d, op, seam_forward, dim3((unsigned)S), row_threads(a->D),
                       32 * sizeof(float), *a);
}

int cuda_seam_backward(wan_dev *d, const char *op, const seam *a, const wan_resnorm_grad *g,
                       int affine, const wan_pack *pack)
{
    const int64_t S = pack ? pack->S : a->S;
    segments each = { pack ? pack->cu : NULL, pack ? pack->n : 1, S, WAN_SPACE_SEAM };
    int64_t chunks = column_chunks(pack, S, WAN_SPACE_SEAM);
    if (a->D > SEAM_MOST)
        return 1;
    float *part = (float *)cuda_scratch(d, (size_t)wan_space_columns(3, chunks, a->D));
    if (!part)
        return -1;
    WAN_TRY(cuda_launch(d, op, seam_backward, dim3((unsigned)chunks), row_threads(a->D),
                        64 * sizeof(float), *a, part, each));
    /* an affine norm's gradients are sums over all samples */
    segments all = { NULL, 1, chunks * WAN_SPACE_SEAM, WAN_SPACE_SEAM };
    const segments norm = affine ? all : each;
    WAN_TRY(columns_add(d, op, g->gain, g->stride, part, norm, a->D, 1));
    WAN_TRY(columns_add(d, op, g->shift, g->stride, part + chunks * a->D, norm, a->D, 1));
    return a->gate.p
               ? columns_add(d, op, g->gate, g->stride, part + 2 * chunks * a->D, each, a->D, 1)
               : 0;
}

static seam seam_of(const wan_resnorm *a, float *mean, float *rstd)
{
    seam s;
    memset(&s, 0, sizeof s);
    s.gate = vbuf_f32(a->gate, a->stride);
    s.gain = vbuf_f32(a->gain, a->affine ? a->D : a->stride);
    s.shift = vbuf_f32(a->shift, a->affine ? a->D : a->stride);
    s.one = a->affine ? 0 : 1;
    s.mean = mean, s.rstd = rstd;
    s.seg = a->pack->seg;
    s.stride = a->stride, s.D = a->D;
    s.eps = (float)a->eps;
    return s;
}

extern "C" int wan_resnorm_forward_cuda(wan_dev *d, const wan_resnorm *a, float *out, wan_buf u,
                                        float *mean, float *rstd, const float *x, wan_buf y)
{
    CUDA_TYPES("resnorm_forward", u, y);
    seam s = seam_of(a, mean, rstd);
    s.x = vbuf_f32(x, a->D), s.y = vbuf_of(y, a->D);
    s.out = vbuf_f32(out, a->D), s.u = vbuf_of(u, a->D);
    int r = cuda_seam_forward(d, "resnorm_forward", &s, a->pack->S);
    if (r <= 0)
        return r;
    WAN_TRY(wan_residual_forward_cuda(d, out, x, y, a->gate, a->stride, a->pack, a->D));
    if (a->affine)
        return wan_ln_affine_forward_cuda(d, u, mean, rstd, out, a->gain, a->shift, a->pack->S,
                                          a->D, a->eps);
    return wan_ln_mod_forward_cuda(d, u, mean, rstd, out, a->gain, a->shift, a->stride, a->pack,
                                   a->D, a->eps);
}

/* For rows that no block has threads for. */
static int backward_in_turn(wan_dev *d, const wan_resnorm *a, const wan_resnorm_grad *g, float *dx,
                            wan_buf dy, wan_buf du, const float *out, const float *mean,
                            const float *rstd, wan_buf y)
{
    if (a->affine)
        WAN_TRY(wan_ln_affine_backward_cuda(d, dx, g->gain, g->shift, du, out, mean, rstd, a->gain,
                                            a->pack->S, a->D));
    else
        WAN_TRY(wan_ln_mod_backward_cuda(d, dx, g->gain, g->shift, g->stride, du, out, mean, rstd,
                                         a->gain, a->stride, a->pack, a->D));
    return wan_residual_backward_cuda(d, dy, g->gate, g->stride, dx, y, a->gate, a->stride, a->pack,
                                      a->D);
}

extern "C" int wan_resnorm_backward_cuda(wan_dev *d, const wan_resnorm *a,
                                         const wan_resnorm_grad *g, float *dx, wan_buf dy,
                                         wan_buf du, const float *out, const float *mean,
                                         const float *rstd, wan_buf y)
{
    CUDA_TYPES("resnorm_backward", dy, du, a->gate ? y : dy);
    seam s = seam_of(a, (float *)mean, (float *)rstd);
    s.out = vbuf_f32(out, a->D), s.du = vbuf_of(du, a->D);
    s.dx = vbuf_f32(dx, a->D), s.dy = vbuf_of(dy, a->D), s.y = vbuf_of(y, a->D);
    int r = cuda_seam_backward(d, "resnorm_backward", &s, g, a->affine, a->pack);
    return r <= 0 ? r : backward_in_turn(d, a, g, dx, dy, du, out, mean, rstd, y);
}
