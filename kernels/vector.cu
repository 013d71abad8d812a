/* SPDX-License-Identifier: Apache-2.0
 *
 * vector.cu - work on long vectors on CUDA.
 */
#include "kernels/half.cuh"
#include "kernels/philox.cuh"
#include "kernels/reduce.cuh"

/* ---- kernels */

enum { CHUNK = WAN_SPACE_ELEMENTS }; /* elements summed by one block, whatever the device */

static __device__ inline int64_t first8(void)
{
    return ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * 8;
}

static __device__ inline int64_t step8(void)
{
    return (int64_t)gridDim.x * blockDim.x * 8;
}

/* y = a y + b x + c, the parts whose flag is set: cast, axpy and fill */
struct affine {
    float a, b, c;
    int use_y, use_x;
};

static __global__ void affine_all(vbuf y, vbuf x, affine f, int64_t n)
{
    for (int64_t i = first8(); i < n; i += step8()) {
        float v[8], u[8];
        if (f.use_y)
            ld8(v, y, i, n - i);
        if (f.use_x)
            ld8(u, x, i, n - i);
        for (int j = 0; j < 8; j++) {
            float o = f.c;
            if (f.use_y)
                o = f.a * v[j];
            if (f.use_x)
                o = f.use_y ? o + f.b * u[j] : f.b * u[j];
            v[j] = o;
        }
        st8(y, i, n - i, v);
    }
}

struct terms {
    vbuf x[WAN_LINCOMB_MAX];
    float c[WAN_LINCOMB_MAX];
    int k;
};

/* Unrolled: an index into the parameters that is not a constant would copy them to local memory. */
static __global__ void lincomb_all(vbuf y, terms t, int64_t n)
{
    for (int64_t i = first8(); i < n; i += step8()) {
        float v[8] = { 0, 0, 0, 0, 0, 0, 0, 0 }, u[8];
        CUDA_UNROLL
        for (int k = 0; k < WAN_LINCOMB_MAX; k++) {
            if (k >= t.k)
                break;
            ld8(u, t.x[k], i, n - i);
            for (int j = 0; j < 8; j++)
                v[j] += t.c[k] * u[j];
        }
        st8(y, i, n - i, v);
    }
}

static __global__ void sumsq_chunk(double *part, vbuf x, int64_t n)
{
    int64_t a = (int64_t)blockIdx.x * CHUNK, b = n < a + CHUNK ? n : a + CHUNK;
    double sum = 0;
    for (int64_t i = a + threadIdx.x * 8; i < b; i += blockDim.x * 8) {
        float v[8];
        ld8(v, x, i, b - i);
        for (int j = 0; j < 8; j++)
            sum += (double)v[j] * (double)v[j];
    }
    block_sum<1>(&sum, (double *)cuda_shared);
    if (threadIdx.x == 0)
        part[blockIdx.x] = sum;
}

static __global__ void sumsq_finish(double *out, const double *part, int64_t n, int accumulate)
{
    double sum = 0;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x)
        sum += part[i];
    block_sum<1>(&sum, (double *)cuda_shared);
    if (threadIdx.x == 0)
        *out = (accumulate ? *out : 0) + sum;
}

/* Whole numbers, so their order does not matter. */
static __global__ void finite_all(unsigned long long *out, vbuf x, int64_t n)
{
    int bad = 0;
    for (int64_t i = first8(); i < n; i += step8()) {
        float v[8];
        ld8(v, x, i, n - i);
        for (int j = 0; j < 8; j++)
            bad += !(fabsf(v[j]) <= 3.402823466e38f);
    }
    bad = warp_sum(bad);
    if (threadIdx.x % 32 == 0 && bad)
        atomicAdd(out, (unsigned long long)bad);
}

static __global__ void randn_all(vbuf y, wan_rng r, uint64_t first, int64_t n)
{
    uint64_t end = first + (uint64_t)n, b = first / 4;
    b += (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (b * 4 >= end)
        return;
    float z[4];
    normal4(z, r, b);
    for (int j = 0; j < 4; j++) {
        uint64_t i = b * 4 + j;
        if (i >= first && i < end)
            st1(y, (int64_t)(i - first), z[j]);
    }
}

/* ---- launchers */

static int affine_run(wan_dev *d, const char *op, wan_buf y, wan_buf x, affine f, int64_t n)
{
    CUDA_TYPES(op, y, f.use_x ? x : y);
    return cuda_launch(d, op, affine_all, dim3(cuda_blocks(d, n, 2048)), 256, 0, vbuf_of(y, 0),
                       vbuf_of(x, 0), f, n);
}

extern "C" int wan_cast_cuda(wan_dev *d, wan_buf y, wan_buf x, int64_t n)
{
    affine f = { 0, 1, 0, 0, 1 };
    CUDA_HALF_TYPES("cast", y, x);
    if (y.t == x.t) /* bits, NaN payloads too */
        return cuda_check(cudaMemcpyAsync(y.p, x.p, (size_t)(n * cuda_half_size(y)),
                                          cudaMemcpyDeviceToDevice, cuda_stream(d)),
                          "cast");
    if (y.t == WAN_F16 || x.t == WAN_F16)
        return cuda_half_cast(d, y, x, n);
    return affine_run(d, "cast", y, x, f, n);
}

extern "C" int wan_axpy_cuda(wan_dev *d, wan_buf y, double a, wan_buf x, int64_t n)
{
    affine f = { 1, (float)a, 0, 1, 1 };
    return affine_run(d, "axpy", y, x, f, n);
}

extern "C" int wan_fill_cuda(wan_dev *d, wan_buf y, double a, int64_t n)
{
    affine f = { 0, 0, (float)a, 0, 0 };
    return affine_run(d, "fill", y, y, f, n);
}

extern "C" int wan_lincomb_cuda(wan_dev *d, float *y, int k, const double *c, const float *const *x,
                                int64_t n)
{
    terms t;
    if (k < 1 || k > WAN_LINCOMB_MAX)
        return wan_cuda_host->err("lincomb: %d terms", k);
    memset(&t, 0, sizeof t);
    t.k = k;
    for (int i = 0; i < k; i++) {
        t.x[i] = vbuf_f32(x[i], 0);
        t.c[i] = (float)c[i];
    }
    return cuda_launch(d, "lincomb", lincomb_all, dim3(cuda_blocks(d, n, 2048)), 256, 0,
                       vbuf_f32(y, 0), t, n);
}

extern "C" int wan_sumsq_cuda(wan_dev *d, double *out, wan_buf x, int64_t n, int accumulate)
{
    CUDA_TYPES("sumsq", x);
    int64_t chunks = cuda_div(n, CHUNK);
    double *part = (double *)cuda_scratch(d, (size_t)chunks * sizeof *part);
    if (!part)
        return -1;
    WAN_TRY(cuda_launch(d, "sumsq", sumsq_chunk, dim3((unsigned)chunks), 256, 32 * sizeof(double),
                        part, vbuf_of(x, CHUNK), n));
    return cuda_launch(d, "sumsq", sumsq_finish, dim3(1), 1024, 32 * sizeof(double), out, part,
                       chunks, accumulate);
}

extern "C" int wan_finite_cuda(wan_dev *d, int64_t *out, wan_buf x, int64_t n)
{
    CUDA_TYPES("finite", x);
    CUDA_TRY(cudaMemsetAsync(out, 0, sizeof *out, cuda_stream(d)));
    return cuda_launch(d, "finite", finite_all, dim3(cuda_blocks(d, n, 2048)), 256, 0,
                       (unsigned long long *)out, vbuf_of(x, 0), n);
}

extern "C" int wan_randn_cuda(wan_dev *d, wan_buf y, const wan_rng *stream, uint64_t first,
                              int64_t n)
{
    CUDA_TYPES("randn", y);
    if (n <= 0)
        return 0;
    int64_t blocks = (int64_t)((first + (uint64_t)n + 3) / 4 - first / 4);
    return cuda_launch(d, "randn", randn_all, dim3((unsigned)cuda_div(blocks, 256)), 256, 0,
                       vbuf_of(y, 0), *stream, first, n);
}
