/* SPDX-License-Identifier: Apache-2.0
 * Loss of a regression: provider against reference. */
#include "tests/kernels/compare.h"

static const double bound_f32 = 2e-6, bound_bf16 = 3e-3;

static void run(const int64_t *len, int n, int64_t F, wan_dtype t)
{
    const wan_pack *p[2] = { cmp_pack(len, n, 0), cmp_pack(len, n, 1) };
    size_t N = (size_t)(p[0]->S * F);
    vec *pred = vec_new(WAN_REAL, N, 0, 1), *target = vec_new(WAN_REAL, N, 0, 1);
    vec *coef = vec_new(WAN_REAL, (size_t)n, 0.5, 0.1), *loss = vec_new(WAN_REAL, (size_t)n, 7, 1);
    vec *dpred = vec_new(t, N, 7, 1);
    wan_buf none = WAN_BUF_NONE;
    CMP_BOTH(mse_loss(d, vec_p(loss, i), dpred->b[i], vec_p(pred, i), vec_p(target, i),
                      vec_p(coef, i), p[i], F));
    vec_ok(dpred, t == WAN_BF16 ? bound_bf16 : bound_f32, "dpred n=%d S=%lld F=%lld %s", n,
           (long long)p[0]->S, (long long)F, CMP_NAME(t));
    vec_ok(loss, bound_f32, "  loss");
    CMP_BOTH(mse_loss(d, vec_p(loss, i), none, vec_p(target, i), vec_p(pred, i), NULL, p[i], F));
    vec_ok(loss, bound_f32, "  loss alone");
    cmp_reset();
}

int main(void)
{
    if (!cmp_open("mse"))
        return tap_done();
    for (int t = 0; t < 2; t++) {
        run((int64_t[]){ 1 }, 1, 1, cmp_types[t]);
        run((int64_t[]){ 3, 63, 1, 65 }, 4, 64, cmp_types[t]);
        run((int64_t[]){ 400, 17 }, 2, 63, cmp_types[t]);
    }
    return cmp_done();
}
