/* SPDX-License-Identifier: Apache-2.0
 *
 * check_net_f64.c - the whole WAN transformer in double (anymodel.h).
 */
#include "tests/model/anymodel.h"

int main(void)
{
    static const wan_net_config config = { .heads = 2,
                                           .head_dim = 14,
                                           .layers = 2,
                                           .ffn = 20,
                                           .in_ch = 3,
                                           .out_ch = 2,
                                           .text_dim = 10,
                                           .text_len = TEXT_LEN,
                                           .freq_dim = 16,
                                           .patch_h = 2,
                                           .patch_w = 2,
                                           .eps = 1e-6 };
    static const double levels[N] = { 7.25, 400, 999.5 };
    anymodel(&wan_net_model, &config, config.in_ch, config.out_ch, config.text_dim, levels);
    return tap_done();
}
