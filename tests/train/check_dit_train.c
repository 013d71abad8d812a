/* SPDX-License-Identifier: Apache-2.0
 *
 * check_dit_train.c - 100 steps of a DiT under EDM against a PyTorch loop (tests/reference/ref_dit.py),
 * whose own drift of fp32 from fp64 is 2e-7 over 20 steps and 1e-6 over 100 (case.json).
 */
#include "lib/model/edm.h"
#include "tests/train/torchrun.h"

int main(void)
{
    static const wan_edm edm = { .std = 1 };
    static const char *const devices[] = { "ref", "cpu" };
    torchrun r = { .dir = "tests/data/ref/dit_train",
                   .objective = &wan_edm_objective,
                   .settings = &edm,
                   .steps = 100,
                   .noises = 16 };
    torchrun_open(&r);
    for (int i = 0; i < 2; i++) {
        torchmodel t;
        against_torch(&t, &r, devices[i]);
        torchmodel_close(&t);
    }
    torchrun_close(&r);
    return tap_done();
}
