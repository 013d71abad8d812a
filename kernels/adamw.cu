/* SPDX-License-Identifier: Apache-2.0
 *
 * adamw.cu - AdamW and the clip factor on CUDA.
 */
#include "kernels/vec.cuh"

/* The scalars of all steps; those of one are in `row`. */
struct adamw_scalars {
    float b1, c1, b2, c2, eps;
};

static __global__ void step_all(adamw_scalars a, const float *row, vbuf p, vbuf m, vbuf v, vbuf g,
                                vbuf shadow, const float *coef, int64_t n)
{
    int64_t step = (int64_t)gridDim.x * blockDim.x * 8;
    const float decay = row[0], lr = row[1], unbias = row[2];
    float scale = coef ? *coef : 1;
    if (scale != scale)
        return;
    for (int64_t i = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * 8; i < n; i += step) {
        float w[8], m1[8], m2[8], gr[8];
        ld8(w, p, i, n - i);
        ld8(m1, m, i, n - i);
        ld8(m2, v, i, n - i);
        ld8(gr, g, i, n - i);
        for (int j = 0; j < 8; j++) {
            float x = scale * gr[j];
            m1[j] = a.b1 * m1[j] + a.c1 * x;
            m2[j] = a.b2 * m2[j] + a.c2 * x * x;
            w[j] = w[j] * decay - lr * m1[j] / (sqrtf(m2[j] * unbias) + a.eps);
        }
        st8(p, i, n - i, w);
        st8(m, i, n - i, m1);
        st8(v, i, n - i, m2);
        if (shadow.p)
            st8(shadow, i, n - i, w);
    }
}

static __global__ void clip_one(float *coef, const double *sumsq, double max_norm)
{
    double c = max_norm > 0 ? max_norm / (sqrt(sumsq[0]) + 1e-6) : 1;
    *coef = isfinite(sumsq[0]) && isfinite(sumsq[1]) ? (float)(c < 1 ? c : 1) : NAN;
}

extern "C" int wan_adamw_step_cuda(wan_dev *d, const wan_adamw *a, const float *row, float *p,
                                   float *m, float *v, const float *g, wan_buf shadow,
                                   const float *coef, int64_t n)
{
    if (shadow.p)
        CUDA_TYPES("adamw_step", shadow);
    adamw_scalars s = { (float)a->beta1, (float)(1 - a->beta1), (float)a->beta2,
                        (float)(1 - a->beta2), (float)a->eps };
    return cuda_launch(d, "adamw_step", step_all, dim3(cuda_blocks(d, n, 2048)), 256, 0, s, row,
                       vbuf_f32(p, 0), vbuf_f32(m, 0), vbuf_f32(v, 0), vbuf_f32(g, 0),
                       vbuf_of(shadow, 0), coef, n);
}

extern "C" int wan_clip_coef_cuda(wan_dev *d, float *coef, const double *sumsq, double max_norm)
{
    return cuda_launch(d, "clip_coef", clip_one, dim3(1), 1, 0, coef, sumsq, max_norm);
}
