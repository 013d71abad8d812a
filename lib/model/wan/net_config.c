/* SPDX-License-Identifier: Apache-2.0
 *
 * net_config.c - the WAN transformer's sizes: which can be, and the FLOPs they take.
 */
#include "lib/model/wan/net_priv.h"

int wan_net_config_check(const wan_net_config *c)
{
    const struct {
        const char *name;
        int64_t value, hi;
    } size[] = {
        { "heads", c->heads, 1024 },          { "head_dim", c->head_dim, 1024 },
        { "layers", c->layers, 1024 },        { "ffn", c->ffn, 1 << 20 },
        { "in_ch", c->in_ch, 4096 },          { "out_ch", c->out_ch, 4096 },
        { "text_dim", c->text_dim, 1 << 20 }, { "text_len", c->text_len, 1 << 16 },
        { "freq_dim", c->freq_dim, 1 << 16 },
    };
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        if (size[i].value < 1 || size[i].value > size[i].hi)
            return wan_err("transformer: %s is %lld, must be 1..%lld", size[i].name,
                           (long long)size[i].value, (long long)size[i].hi);
    if (c->head_dim % 2 || c->head_dim < 6)
        return wan_err("transformer: head_dim is %d, must be even and at least 6", c->head_dim);
    if (c->freq_dim % 2)
        return wan_err("transformer: freq_dim is %d, must be even", c->freq_dim);
    if (c->patch_h != 2 || c->patch_w != 2)
        return wan_err("transformer: patch size is %dx%d, only 2x2 is supported", c->patch_h,
                       c->patch_w);
    if (!(c->eps > 0 && c->eps < 1))
        return wan_err("transformer: eps is %g, must be between 0 and 1", c->eps);
    return 0;
}

double wan_net_part_flops(const wan_net_config *c, int part, int64_t tokens)
{
    double D = (double)c->heads * c->head_dim, T = c->text_len, S = (double)tokens;
    double self = 8 * S * D * D + 4 * S * S * D;
    double cross = 4 * S * D * D + 4 * T * D * D + 4 * S * T * D;
    double mlp = 4 * S * D * c->ffn;
    if (part == 0)
        return 2 * S * D * 4 * c->in_ch + 2 * T * (c->text_dim * D + D * D);
    return part > c->layers ? 2 * S * D * 4 * c->out_ch : self + cross + mlp;
}

double wan_net_flops(const wan_net_config *c, int n, const int64_t *tokens)
{
    double total = 0;
    for (int i = 0; i < n; i++)
        total += wan_net_part_flops(c, 0, tokens[i]) +
                 c->layers * wan_net_part_flops(c, 1, tokens[i]) +
                 wan_net_part_flops(c, c->layers + 1, tokens[i]);
    return total;
}
