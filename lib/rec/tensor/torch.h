/* SPDX-License-Identifier: Apache-2.0
 *
 * torch.h - tensors in files of torch.save (zip and legacy form) and in pickled tensors, read
 * without running anything, and the smallest files of those kinds that torch loads.
 *
 *     wan_torch *w;
 *     WAN_TRY(wan_torch_open(&w, "Wan2.1_VAE.pth"));        // mapped: costs pages when read
 *     for (size_t i = 0; i < wan_torch_count(w); i++) {
 *         wan_torch_tensor *t = wan_torch_at(w, i);
 *         WAN_TRY(wan_torch_read(w, t, dst, WAN_F32));      // contiguous, converted, checked
 *         wan_torch_release(w, t);
 *     }
 *     wan_torch_close(&w);
 *
 * The tensors of maps and lists inside the root are named by their path, joined with '.'; a root
 * that is itself a tensor has the name "".  Formats: wan-data(7), Torch files.
 */
#ifndef WAN_REC_TORCH_H
#define WAN_REC_TORCH_H

#include "lib/base/dtype.h"
#include "lib/base/err.h"
#include "lib/base/json.h"

#define WAN_TORCH_RANK 16

typedef struct wan_torch wan_torch;

typedef struct wan_torch_tensor {
    const char *name;
    wan_dtype dtype;
    int rank;
    int64_t shape[WAN_TORCH_RANK];
    int64_t stride
        [WAN_TORCH_RANK]; /* in elements; may be 0 (expanded, to 64 MiB at most) or transposed */
    int64_t count;        /* elements */
    int contiguous;
    const void *data; /* element 0; alignment is not guaranteed */
    size_t storage;   /* number of its storage, for the reader itself */
    int used;         /* set by wan_torch_read */
} wan_torch_tensor;

/* path: a .pth/.pt file, or a pickled tensor. */
int wan_torch_open(wan_torch **out, const char *path) WAN_MUST_CHECK;
/* The same from memory, which must stay until close. what: names it in messages. */
int wan_torch_parse(wan_torch **out, const void *data, size_t n, const char *what) WAN_MUST_CHECK;
size_t wan_torch_count(const wan_torch *w);
wan_torch_tensor *wan_torch_at(wan_torch *w, size_t i);           /* sorted by name */
wan_torch_tensor *wan_torch_find(wan_torch *w, const char *name); /* NULL when absent */
/* Values in the file that are no tensors (numbers, texts, unknown objects). */
size_t wan_torch_skipped(const wan_torch *w);
/* Copies t to dst, contiguous, as type dt (any floating pair, or t's own type); verifies the
 * checksum of its storage the first time. */
int wan_torch_read(wan_torch *w, wan_torch_tensor *t, void *dst, wan_dtype dt) WAN_MUST_CHECK;
/* Lets go of the pages that hold t, after it has been read. */
void wan_torch_release(wan_torch *w, const wan_torch_tensor *t);
size_t wan_torch_unused(const wan_torch *w, const char **name); /* as wan_st_unused */
void wan_torch_close(wan_torch **w);

/* A whole .pth of one contiguous tensor: *out is malloc'ed, *n its size.  Loads with
 * torch.load(weights_only=True). */
int wan_torch_save(void **out, size_t *n, const void *data, wan_dtype t, const int64_t *shape,
                   int rank) WAN_MUST_CHECK;
/* The same wrapped so that pickle.loads gives the tensor. */
int wan_torch_pickle(void **out, size_t *n, const void *data, wan_dtype t, const int64_t *shape,
                     int rank) WAN_MUST_CHECK;

/* A value of a map: JSON, or where that is NULL a contiguous tensor. */
typedef struct wan_torch_item {
    const char *key;
    const json_t *value;
    wan_dtype dtype;
    int rank;
    int64_t shape[WAN_TORCH_RANK];
    const void *data;
} wan_torch_item;

/* A map of up to 32 of them, in both forms: for torch.load(weights_only=True), and for pickle.load. */
int wan_torch_save_map(void **out, size_t *n, const wan_torch_item *item, int items) WAN_MUST_CHECK;
int wan_torch_pickle_map(void **out, size_t *n, const wan_torch_item *item, int items)
    WAN_MUST_CHECK;

#endif
