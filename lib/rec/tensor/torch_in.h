/* SPDX-License-Identifier: Apache-2.0
 *
 * torch_in.h - between the reader (torch.c) and the forms an image can have (torch_source.c).
 */
#ifndef WAN_REC_TORCH_IN_H
#define WAN_REC_TORCH_IN_H

#include "lib/rec/tensor/pickle.h"
#include "lib/rec/tensor/torchzip.h"

/* One storage of a legacy file. */
typedef struct wan_torch_blob {
    const char *key;
    size_t key_len;
    const uint8_t *data;
    size_t bytes;
} wan_torch_blob;

/* One image: a zip, a legacy file, or a bare pickle. */
typedef struct wan_torch_source {
    struct wan_torch_source *next;
    int depth;
    wan_torchzip zip;     /* n = 0: not a zip */
    wan_torch_blob *blob; /* legacy, sorted by key */
    size_t n_blob;
    wan_pickle *vm;
    const wan_pickle_value *root;
} wan_torch_source;

/* Recognises data[0..n) and runs its pickles. */
int wan_torch_source_open(wan_torch_source **out, const uint8_t *data, size_t n) WAN_MUST_CHECK;
/* The bytes of a storage; *entry is its zip entry or NULL. */
int wan_torch_source_find(const wan_torch_source *s, const wan_pickle_value *storage,
                          const uint8_t **data, size_t *bytes, const wan_torchzip_entry **entry)
    WAN_MUST_CHECK;
void wan_torch_source_free(wan_torch_source *s);

struct wan_torch;
/* The value that the file is. */
const wan_pickle_value *wan_torch_root(const struct wan_torch *w);

#endif
