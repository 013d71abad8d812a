/* SPDX-License-Identifier: Apache-2.0
 *
 * quantize.h - a model's weights as a GGUF file, under the authors' names, as ComfyUI-GGUF and
 * stable-diffusion.cpp look for them: wan-data(7), GGUF.
 */
#ifndef WAN_MODEL_QUANTIZE_H
#define WAN_MODEL_QUANTIZE_H

#include "lib/base/quant.h"
#include "lib/model/files/weights.h"
#include "lib/model/model.h"

/* Writes FILE: the matrices of the products in blocks of type q where their rows are whole blocks, everything
 * else in F32; fetch is called with the index of a parameter and gives F32.  *blocks: how many are quantised. */
int wan_quantize(int *blocks, const wan_arch *arch, const wan_params *p, const char *path,
                 wan_quant q, wan_weights_fetch *fetch, void *arg) WAN_MUST_CHECK;

#endif
