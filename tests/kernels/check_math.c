/* SPDX-License-Identifier: Apache-2.0
 * math_simd.h against libm in double, over floats of all sizes and both ends. */
#include "kernels/math_simd.h"
#include "kernels/rows.h"
#include "tests/tap.h"

static const double bound_ulp = 2;

/* |got - want| in units of the last place of a float near want */
static double ulps(float got, double want)
{
    int e;
    frexp(want, &e);
    return fabs((double)got - want) / ldexp(1, e - 24);
}

/* Rows rounded to bf16 are wan_f32_to_bf16's, bit for bit: subnormals, ties, infinities and NaN, too. */
static void rounding(void)
{
    enum { N = 4099 };
    float f[N];
    uint16_t h[N];
    long wrong = 0;
    for (uint64_t u = 0; u < 1ull << 32;) {
        for (int i = 0; i < N; i++, u += 1021)
            f[i] = wan_f_of_bits((int32_t)(uint32_t)u);
        for (int i = 0; i < N; i += 7) /* half way */
            f[i] = wan_f_of_bits((wan_f_bits(f[i]) & (int32_t)0xffff0000) | 0x8000);
        wan_rows_narrow(h, f, N);
        for (int i = 0; i < N; i++)
            wrong += h[i] != wan_f32_to_bf16(f[i]);
    }
    ok(wrong == 0, "rows in bf16: %ld are rounded otherwise", wrong);
}

int main(void)
{
    rounding();
    double worst = 0, at = 0, worst2 = 0;
    for (uint32_t u = 0; u < 0x7f800000u; u += 1009) /* every 1009th float of either sign */
        for (int sign = 0; sign < 2; sign++) {
            float x = wan_f_of_bits((int32_t)(u | (uint32_t)sign << 31));
            if (x < -87.3f || x > 88.72f)
                continue;
            double e = ulps(wan_f_exp(x), exp((double)x));
            if (x >= -87 && x <= 88)
                e = worse(e, ulps(wan_f_exp_soft(x), exp((double)x)));
            if (!(e <= worst))
                worst = e, at = x;
            if (x >= -87)
                worst2 = worse(worst2, ulps(wan_f_exp2_soft(x), exp2((double)x)));
        }
    ok(worst <= bound_ulp, "exp: %.2f ulp at %g", worst, at);
    ok(worst2 > 0 && worst2 <= bound_ulp, "exp2: %.2f ulp", worst2);
    ok(wan_f_exp2_soft(0) == 1 && wan_f_exp2_soft(-125) == wan_f_of_bits(2 << 23) &&
           wan_f_exp2_soft(-INFINITY) == wan_f_of_bits(2 << 23) &&
           wan_f_exp2_soft(NAN) != wan_f_exp2_soft(NAN),
       "exp2: whole numbers, nothing below -125, NaN stays");
    ok(wan_f_exp(-90) == 0 && wan_f_exp(-INFINITY) == 0 && wan_f_exp(-1e30f) == 0, "exp underflow");
    ok(wan_f_exp(89) == INFINITY && wan_f_exp(INFINITY) == INFINITY, "exp overflow");
    ok(wan_f_exp(NAN) != wan_f_exp(NAN), "exp of NaN");
    ok(wan_f_exp_soft(-INFINITY) < 1e-37 && wan_f_exp_soft(NAN) != wan_f_exp_soft(NAN),
       "soft exp: nothing below -87, NaN stays");
    ok(wan_f_exp(0) == 1 && wan_f_exp(-0.0f) == 1, "exp of 0 is 1");
    ok(wan_f_sigmoid(0) == 0.5f && wan_f_sigmoid(100) == 1 && wan_f_sigmoid(-100) == 0, "sigmoid");
    return tap_done();
}
