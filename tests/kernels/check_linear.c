/* SPDX-License-Identifier: Apache-2.0
 * Linear layer: provider against reference; on the CPU also the tiles alone, which the provider
 * takes for large shapes only. */
#include "kernels/linear_simd.h"
#include "tests/kernels/compare.h"

/* relative L2 error: fp32 sums in another order; bf16 one rounding of the result */
static const double bound_f32 = 3e-6, bound_bf16 = 3e-3;
/* bf16 operands, fp32 result: tensor cores truncate where they add */
static const double bound_tensor = 1e-5;
/* activation of a bf16 pre-activation: two roundings, the first magnified by the slope */
static const double bound_act = 8e-3;

/* far out on the negative side, where the forms of GELU are 5 % apart, that is three times as much */
static const double bound_tail = 2.5e-2;

static double bound(wan_dtype in, wan_dtype out)
{
    return out == WAN_BF16 ? bound_bf16 : in == WAN_BF16 ? bound_tensor : bound_f32;
}

static void forward(int64_t M, int64_t N, int64_t K, wan_dtype in, wan_dtype out, enum wan_act act,
                    int bias, wan_dtype pre)
{
    vec *x = vec_new(in, (size_t)(M * K), 0, 1), *w = vec_new(in, (size_t)(N * K), 0, 1);
    vec *b = vec_new(WAN_REAL, (size_t)N, 0, 3), *y = vec_new(out, (size_t)(M * N), 7, 1);
    vec *z = vec_new(pre, (size_t)(M * N), 7, 1);
    wan_buf none = WAN_BUF_NONE;
    CMP_BOTH(linear_forward(d, y->b[i], act ? z->b[i] : none, x->b[i], w->b[i],
                            bias ? vec_p(b, i) : NULL, M, N, K, act));
    vec_ok(y, act && pre == WAN_BF16 ? bound_act : bound(in, out),
           "forward %lldx%lldx%lld %s->%s act %d bias %d", (long long)M, (long long)N, (long long)K,
           CMP_NAME(in), CMP_NAME(out), act, bias);
    if (act)
        vec_ok(z, bound(in, pre), "  pre-activation %s", CMP_NAME(pre));
    cmp_reset();
}

/* The gradient of what act was applied to; mean and sd of that. */
static void backward_act(int64_t M, int64_t N, int64_t K, wan_dtype in, wan_dtype out,
                         wan_dtype pre, enum wan_act act, double mean, double sd, double most)
{
    vec *w = vec_new(in, (size_t)(N * K), 0, 1), *dy = vec_new(in, (size_t)(M * N), 0, 1);
    vec *z = vec_new(pre, (size_t)(M * K), mean, sd), *dx = vec_new(out, (size_t)(M * K), 7, 1);
    CMP_BOTH(linear_dgrad_act(d, dx->b[i], dy->b[i], w->b[i], z->b[i], M, N, K, act));
    vec_ok(dx, most, "dgrad %lldx%lldx%lld times act %d' (%s) %s->%s", (long long)M, (long long)N,
           (long long)K, act, CMP_NAME(pre), CMP_NAME(in), CMP_NAME(out));
    cmp_reset();
}

/* Whether GELU is the form that was asked for, however it is fused. */
static void tail(enum wan_act act)
{
    const int64_t M = 64, N = 72, K = 64;
    vec *x = vec_new(WAN_BF16, (size_t)(M * K), 0, 0.1),
        *w = vec_new(WAN_BF16, (size_t)(N * K), 0, 0.1);
    vec *b = vec_new(WAN_REAL, (size_t)N, -2.7, 0.1), *y = vec_new(WAN_BF16, (size_t)(M * N), 7, 1);
    vec *z = vec_new(WAN_BF16, (size_t)(M * N), 7, 1);
    wan_buf none = WAN_BUF_NONE;
    CMP_BOTH(linear_forward(d, y->b[i], none, x->b[i], w->b[i], vec_p(b, i), M, N, K, act));
    vec_ok(y, bound_tail, "act %d at -2.7", act);
    CMP_BOTH(linear_forward(d, y->b[i], z->b[i], x->b[i], w->b[i], vec_p(b, i), M, N, K, act));
    vec_ok(y, bound_tail, "  with what it is of");
    cmp_reset();
    backward_act(M, N, K, WAN_BF16, WAN_BF16, WAN_BF16, act, -2.7, 0.1, bound_act);
}

static void backward(int64_t M, int64_t N, int64_t K, wan_dtype in, wan_dtype gin, wan_dtype out,
                     int acc)
{
    vec *x = vec_new(in, (size_t)(M * K), 0, 1), *w = vec_new(in, (size_t)(N * K), 0, 1);
    vec *dy = vec_new(gin, (size_t)(M * N), 0, 1), *dx = vec_new(out, (size_t)(M * K), 0, 3);
    vec *dw = vec_new(WAN_REAL, (size_t)(N * K), 0, 3), *db = vec_new(WAN_REAL, (size_t)N, 0, 3);
    CMP_BOTH(linear_dgrad(d, dx->b[i], dy->b[i], w->b[i], M, N, K, acc));
    CMP_BOTH(linear_wgrad(d, vec_p(dw, i), vec_p(db, i), dy->b[i], x->b[i], M, N, K, acc));
    vec_ok(dx, bound(gin, out), "dgrad %lldx%lldx%lld x,w %s dy %s dx %s acc %d", (long long)M,
           (long long)N, (long long)K, CMP_NAME(in), CMP_NAME(gin), CMP_NAME(out), acc);
    vec_ok(dw, bound(in, WAN_REAL), "  dw");
    vec_ok(db, bound(in == gin ? in : WAN_REAL, WAN_REAL), "  db"); /* of both in bf16: beside dw */
    CMP_BOTH(linear_wgrad(d, vec_p(dw, i), NULL, dy->b[i], x->b[i], M, N, K, acc));
    vec_ok(dw, bound(in, WAN_REAL), "  dw without db");
    cmp_reset();
}

static void all(void)
{
    static const int64_t shape[][3] = { { 1, 1, 1 },       { 3, 5, 7 },        { 1, 64, 65 },
                                        { 63, 65, 31 },    { 64, 64, 64 },     { 65, 130, 63 },
                                        { 129, 96, 200 },  { 300, 256, 256 },  { 17, 6, 513 },
                                        { 100, 530, 900 }, { 400, 410, 1088 }, { 3400, 96, 80 } };
    for (size_t s = 0; s < sizeof shape / sizeof *shape; s++) {
        const int64_t *m = shape[s];
        for (int a = 0; a < 2; a++)
            for (int b = 0; b < 2; b++) {
                wan_dtype in = cmp_types[a], out = cmp_types[b];
                forward(m[0], m[1], m[2], in, out, WAN_ACT_NONE, b == 0, WAN_REAL);
                backward(m[0], m[1], m[2], in, in, out, (int)s % 2 == b);
            }
        forward(m[0], m[1], m[2], WAN_BF16, WAN_BF16, WAN_ACT_GELU_TANH, 1, WAN_BF16);
        forward(m[0], m[1], m[2], WAN_REAL, WAN_REAL, WAN_ACT_SILU, 1, WAN_REAL);
        forward(m[0], m[1], m[2], WAN_BF16, WAN_BF16, WAN_ACT_GELU_ERF, 0, WAN_REAL);
        backward_act(m[0], m[1], m[2], WAN_BF16, WAN_BF16, WAN_BF16, WAN_ACT_GELU_TANH, 0, 1,
                     bound_act);
        backward_act(m[0], m[1], m[2], WAN_BF16, WAN_BF16, WAN_REAL, WAN_ACT_SILU, 0, 1, bound_act);
        backward_act(m[0], m[1], m[2], WAN_REAL, WAN_REAL, WAN_REAL, WAN_ACT_GELU_ERF, 0, 1,
                     bound_f32);
        backward(m[0], m[1], m[2], WAN_BF16, WAN_REAL, WAN_REAL, 1);
        backward(m[0], m[1], m[2], WAN_REAL, WAN_BF16, WAN_BF16, 1);
    }
}

int main(void)
{
    if (!cmp_open("linear"))
        return tap_done();
    all();
    tail(WAN_ACT_GELU_TANH);
    tail(WAN_ACT_GELU_ERF);
    if (cmp_dev[1]->kind == WAN_DEV_CPU) {
        const wan_ops *provider = cmp_dev[1]->ops;
        wan_ops tiles = *provider;
        tiles.linear_forward = wan_linear_forward_simd;
        tiles.linear_dgrad = wan_linear_dgrad_simd;
        tiles.linear_dgrad_act = wan_linear_dgrad_act_simd;
        tiles.linear_wgrad = wan_linear_wgrad_simd;
        cmp_dev[1]->ops = &tiles;
        all();
        cmp_dev[1]->ops = provider;
    }
    return cmp_done();
}
