/* SPDX-License-Identifier: Apache-2.0
 *
 * packed.h - a transformer in a GGUF file: which of its tensors is which parameter, unpacked one by one.
 * Names and shapes as ComfyUI-GGUF and stable-diffusion.cpp write them: wan-data(7), GGUF.
 *
 *     wan_packed *k;
 *     WAN_TRY(wan_packed_open(&k, path));
 *     WAN_TRY(wan_packed_match(k, &params));
 *     WAN_TRY(wan_packed_read(k, i, dst, WAN_F32));     // parameter i, whole
 *     wan_packed_close(&k);
 */
#ifndef WAN_MODEL_PACKED_H
#define WAN_MODEL_PACKED_H

#include "lib/model/files/tensorlist.h"
#include "lib/rec/tensor/gguf.h"

typedef struct wan_packed wan_packed;

int wan_packed_open(wan_packed **out, const char *path) WAN_MUST_CHECK;
/* Its tensors, for wan_modelio_config_of; belongs to it. */
const wan_tensorlist *wan_packed_list(const wan_packed *k);
/* Every parameter has its tensor, and every tensor its parameter, or an error (tensorlist.h). */
int wan_packed_match(wan_packed *k, const wan_params *p) WAN_MUST_CHECK;
/* The tensor of parameter i, after the match. */
const wan_gguf_tensor *wan_packed_at(const wan_packed *k, int i);
int wan_packed_read(wan_packed *k, int i, void *dst, wan_dtype dt) WAN_MUST_CHECK;
void wan_packed_release(const wan_packed *k, int i); /* the pages that hold it, after it was read */
void wan_packed_close(wan_packed **k);               /* NULL-safe */

#endif
