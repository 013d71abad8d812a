/* SPDX-License-Identifier: Apache-2.0
 *
 * mapped.h - a file of tensors as memory, read only.
 */
#ifndef WAN_REC_TENSOR_MAPPED_H
#define WAN_REC_TENSOR_MAPPED_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

/* Maps a regular file of at least `least` bytes, which must not change while it is mapped; munmap
 * (*map, *size).  format: "safetensors", "GGUF", for the sentence. */
int wan_mapped(const uint8_t **map, size_t *size, const char *path, const char *format,
               size_t least) WAN_MUST_CHECK;

#endif
