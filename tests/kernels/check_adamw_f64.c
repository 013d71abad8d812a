/* SPDX-License-Identifier: Apache-2.0
 * AdamW, double, against three steps of torch.optim.AdamW (torch 2.15, float64). */
#include "tests/kernels/fd.h"

int main(void)
{
    static const double g[3][3] = { { 0.1, -0.2, 0.3 }, { 1.0, 0.5, -0.25 }, { -0.75, 0.0, 2.0 } };
    static const double want[3][3] = {
        { 0.4895000009999999, -1.2387500005, 1.9880000003333334 },
        { 0.48103722064308835, -1.2418937051211831, 1.9856299128356725 },
        { 0.47938906220763755, -1.2440832636897006, 1.97746364851819 },
    };
    wan_dev *d;
    d = fd_open();
    wan_real p[3] = { 0.5, -1.25, 2.0 }, m[3] = { 0 }, v[3] = { 0 }, coef = 0, half[3];
    uint16_t shadow[3];
    wan_buf none = WAN_BUF_NONE;
    const wan_adamw a = { 0.9, 0.95, 1e-8 };
    wan_real row[WAN_ADAMW_ROW];
    for (int t = 0; t < 3; t++) {
        fd_must(wan_adamw_row(row, &a, 0.01, 0.1, t + 1));
        double sumsq[2] = { 1e-12, 0 }; /* small: the clip factor is 1 */
        fd_must(d->ops->clip_coef(d, &coef, sumsq, 1.0));
        fd_must(
            d->ops->adamw_step(d, &a, row, p, m, v, g[t], wan_buf_of(shadow, WAN_BF16), &coef, 3));
        double e = 0;
        for (int i = 0; i < 3; i++)
            e = worse(e, fabs(p[i] - want[t][i]));
        ok(e < 1e-12, "step %d: %.2g", t + 1, e);
        ok(shadow[1] == wan_f32_to_bf16((float)p[1]), "shadow follows");
    }
    double sumsq[2] = { 16, 0 };
    fd_must(d->ops->clip_coef(d, &coef, sumsq, 2.0));
    ok(fabs(coef - 2.0 / (4 + 1e-6)) < 1e-15, "clip factor %.17g", coef);
    fd_must(d->ops->clip_coef(d, &coef, sumsq, 0));
    ok(coef == 1, "no clip");
    fd_must(d->ops->clip_coef(d, &coef, sumsq, 2.0));
    fd_must(wan_adamw_row(row, &a, 0.01, 0, 1));
    memcpy(half, p, sizeof p);
    memset(m, 0, sizeof m);
    fd_must(d->ops->adamw_step(d, &a, row, half, m, v, g[2], none, &coef, 3));
    ok(fabs(m[0] - 0.1 * coef * g[2][0]) < 1e-15, "clip factor scales the gradient");
    ok(wan_adamw_row(row, &a, 0.01, 0, 0) < 0, "step 0 is refused");
    return fd_done();
}
