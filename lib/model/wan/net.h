/* SPDX-License-Identifier: Apache-2.0
 *
 * net.h - the WAN 2.1 transformer: a row of the table of models (model.h).  Free of FFmpeg, MPI and
 * jansson; everything is computed through d->ops.
 *
 * Formulas: wan-model(7); paper: "Wan: Open and Advanced Large-Scale Video Generative Models"
 * (2025).  Precision: residual stream, norms, modulation, RoPE, time path and head in WAN_REAL; GEMM
 * and attention operands in the compute type (WAN_REAL or WAN_BF16).
 */
#ifndef WAN_MODEL_NET_H
#define WAN_MODEL_NET_H

#include "lib/model/model.h"

typedef struct wan_net_config {
    int heads, head_dim; /* D = heads*head_dim */
    int layers, ffn;
    int in_ch, out_ch;    /* latent channels */
    int text_dim;         /* width of the text encoder's rows */
    int text_len;         /* rows the context is zero-padded to: 512 */
    int freq_dim;         /* sinusoid width: 256 */
    int patch_h, patch_w; /* 2, 2 (time patch is 1) */
    double eps;           /* 1e-6 */
} wan_net_config;

int wan_net_config_check(const wan_net_config *c) WAN_MUST_CHECK;
/* The parameter table; part 0 holds the embeddings and the conditioning, part layers+1 the head. */
int wan_net_params(wan_params *out, const wan_net_config *c) WAN_MUST_CHECK;
/* Model FLOPs of one forward for these samples, text counted as text_len rows. */
double wan_net_flops(const wan_net_config *c, int n, const int64_t *tokens);
/* The same of one part, for one sample. */
double wan_net_part_flops(const wan_net_config *c, int part, int64_t tokens);

#endif
