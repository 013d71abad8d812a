/* SPDX-License-Identifier: Apache-2.0
 *
 * check_ema.c - the average of the weights against its formula in double, and its way into the store and
 * back.
 */
#include "lib/train/ema.h"
#include "tests/tap.h"
#include "tests/train/toy.h"

enum { STEPS = 30 };
static const double decay = 0.75; /* reached after step 26: (1 + n) / (10 + n) */

static void must(int rc)
{
    if (rc < 0) {
        printf("Bail out! %s\n", wan_err_text());
        exit(1);
    }
}

static double beta(int n)
{
    double b = (1.0 + n) / (10.0 + n);
    return b < decay ? b : decay;
}

int main(void)
{
    wan_dev *d;
    wan_arch arch;
    wan_store *s;
    wan_ema *e;
    int same = 1;
    wan_model_arch(&arch, &toy_model, &toy_small);
    must(wan_dev_open(&d, "cpu", 0));
    must(wan_model_store(&s, d, &arch, NULL, WAN_BF16, 1));
    must(wan_store_init(s, 1));
    size_t n = (size_t)s->total;
    double *want = calloc(n, sizeof *want);
    float *last = calloc(n, sizeof *last), *got = calloc(n, sizeof *got);
    float *wantf = calloc(n, sizeof *wantf);
    must(wan_ema_new(&e, s, decay));
    for (size_t i = 0; i < n; i++)
        want[i] = s->master[i];
    for (int k = 1; k <= STEPS; k++) {
        for (size_t i = 0; i < n; i++) {
            s->master[i] += 0.1f * sinf((float)(k * 7 + (int)i));
            want[i] = beta(k) * want[i] + (1 - beta(k)) * s->master[i];
        }
        must(wan_ema_update(e, k));
    }
    for (size_t i = 0; i < n; i++)
        last[i] = s->master[i];
    memcpy(got, e->x, n * sizeof *got);
    for (size_t i = 0; i < n; i++)
        wantf[i] = (float)want[i];
    ok_err(rel_l2(got, wantf, n), 1e-6, "%d updates against double", STEPS);
    must(wan_ema_swap(e));
    ok(memcmp(s->master, got, n * sizeof *got) == 0, "swapped: the store has the average");
    for (int64_t i = 0; i < s->part[0].gemm; i++)
        same = same && s->shadow[i] == wan_f32_to_bf16(got[i]);
    ok(same, "and so has the copy that products read");
    must(wan_ema_swap(e));
    ok(memcmp(s->master, last, n * sizeof *last) == 0 && memcmp(e->x, got, n * sizeof *got) == 0,
       "swapped again: both are where they were");
    wan_ema_free(&e);
    wan_store_free(&s);
    wan_dev_close(&d);
    free(want);
    free(wantf);
    free(last);
    free(got);
    return tap_done();
}
