/* SPDX-License-Identifier: Apache-2.0
 * Flow-matching noise and loss: provider against reference. */
#include "tests/kernels/compare.h"

static const double bound_f32 = 2e-6, bound_bf16 = 3e-3;

static void run(const int64_t *len, int n, int64_t F, wan_dtype t)
{
    const wan_pack *p[2] = { cmp_pack(len, n, 0), cmp_pack(len, n, 1) };
    size_t N = (size_t)(p[0]->S * F);
    double bound = t == WAN_BF16 ? bound_bf16 : bound_f32;
    vec *x0 = vec_new(WAN_REAL, N, 0, 1), *eps = vec_new(WAN_REAL, N, 0, 1);
    vec *pred = vec_new(WAN_REAL, N, 0, 1), *sigma = vec_new(WAN_REAL, (size_t)n, 0.5, 0.1);
    vec *loss = vec_new(WAN_REAL, (size_t)n, 7, 1), *xt = vec_new(t, N, 7, 1);
    wan_buf none = { NULL, WAN_REAL };
    CMP_BOTH(flow_noise(d, xt->b[i], vec_p(x0, i), vec_p(eps, i), vec_p(sigma, i), p[i], F));
    vec_ok(xt, bound, "noise n=%d S=%lld F=%lld %s", n, (long long)p[0]->S, (long long)F,
           CMP_NAME(t));
    CMP_BOTH(flow_loss(d, vec_p(loss, i), xt->b[i], vec_p(pred, i), vec_p(x0, i), vec_p(eps, i),
                       vec_p(sigma, i), p[i], F));
    vec_ok(xt, bound, "  dpred");
    vec_ok(loss, bound_f32, "  loss");
    CMP_BOTH(flow_loss(d, vec_p(loss, i), none, vec_p(pred, i), vec_p(x0, i), vec_p(eps, i),
                       vec_p(sigma, i), p[i], F));
    vec_ok(loss, bound_f32, "  loss alone");
    cmp_reset();
}

int main(void)
{
    if (!cmp_open("flowloss"))
        return tap_done();
    for (int t = 0; t < 2; t++) {
        run((int64_t[]){ 1 }, 1, 1, cmp_types[t]);
        run((int64_t[]){ 5, 1, 65 }, 3, 63, cmp_types[t]);
        run((int64_t[]){ 700, 300 }, 2, 64, cmp_types[t]);
    }
    return cmp_done();
}
