/* SPDX-License-Identifier: Apache-2.0
 *
 * dit.h - the DiT of NeMo DFM: a row of the table of models (model.h), trained with EDM (edm.h).
 * Everything is computed through d->ops.
 *
 * Formulas: wan-model(7), The DiT; papers: Peebles and Xie, "Scalable Diffusion Models with
 * Transformers" (2022); Karras et al., "Elucidating the Design Space of Diffusion-Based Generative
 * Models" (2022).  Precision: residual stream, norms, conditioning, modulation and head in WAN_REAL;
 * GEMM and attention operands in the compute type (WAN_REAL or WAN_BF16).
 */
#ifndef WAN_MODEL_DIT_H
#define WAN_MODEL_DIT_H

#include "lib/model/model.h"

typedef struct wan_dit_config {
    int heads, head_dim; /* D = heads*head_dim, a multiple of 16 */
    int layers, ffn;
    int in_ch, out_ch;    /* latent channels */
    int text_dim;         /* width of the text encoder's rows */
    int text_len;         /* rows the text is zero-padded to: 512 */
    int adaln_dim;        /* width between the two matrices that make a block's modulation: 256 */
    int fps_dim, fps;     /* width of the frame rate's path, 256; the frame rate, 30 */
    int patch_h, patch_w; /* 2, 2 (time patch is 1) */
    double eps;           /* 1e-6 */
} wan_dit_config;

int wan_dit_config_check(const wan_dit_config *c) WAN_MUST_CHECK;
/* The parameter table; part 0 holds the embeddings and the conditioning, part layers+1 the head. */
int wan_dit_params(wan_params *out, const wan_dit_config *c) WAN_MUST_CHECK;
/* Model FLOPs of one forward for these samples, text counted as text_len rows. */
double wan_dit_flops(const wan_dit_config *c, int n, const int64_t *tokens);
/* The same of one part, for one sample. */
double wan_dit_part_flops(const wan_dit_config *c, int part, int64_t tokens);

#endif
