/* SPDX-License-Identifier: Apache-2.0
 *
 * safetensors.h - safetensors files and sharded HuggingFace model folders, read by mmap.
 *
 *     wan_st *st;
 *     wan_st_open(&st, "model/transformer");      // a file, an index.json, or a folder
 *     const wan_st_tensor *t = wan_st_find(st, "blocks.0.attn1.to_q.weight");
 *     wan_st_load(st, t->name, t->shape, t->rank, dst, WAN_F32);  // converts
 *     wan_st_close(&st);
 *
 * Every rule of wan-data(7), Safetensors rules, is enforced; duplicate names are refused.
 */
#ifndef WAN_REC_SAFETENSORS_H
#define WAN_REC_SAFETENSORS_H

#include "lib/base/dtype.h"
#include "lib/base/json.h"
#include "lib/rec/record/record.h"

typedef struct wan_st wan_st;

typedef struct wan_st_tensor {
    const char *name;
    wan_dtype dtype;
    int rank;
    int64_t shape[WAN_MAX_RANK];
    int64_t count; /* elements */
    size_t bytes;
    const void *data; /* into the mapping; element-aligned not guaranteed */
    const char *file; /* which file, for messages */
    int used;         /* set by wan_st_load: see wan_st_unused */
} wan_st_tensor;

/* path: FILE.safetensors, NAME.safetensors.index.json, or a folder that holds
 * diffusion_pytorch_model[.safetensors(.index.json)] or model.safetensors[.index.json]. */
int wan_st_open(wan_st **out, const char *path) WAN_MUST_CHECK;
size_t wan_st_count(const wan_st *st);
wan_st_tensor *wan_st_at(wan_st *st, size_t i);           /* sorted by name */
wan_st_tensor *wan_st_find(wan_st *st, const char *name); /* NULL when absent */
const json_t *wan_st_metadata(const wan_st *st);          /* __metadata__ or NULL */
/* Finds, checks the shape exactly, converts into dst (dst may be NULL: only checks and marks used).
 * -1 "FILE: tensor NAME: missing | has shape [..], expected [..] | dtype I64 is not floating". */
int wan_st_load(wan_st *st, const char *name, const int64_t *shape, int rank, void *dst,
                wan_dtype dt) WAN_MUST_CHECK;
/* t is wanted soon: the kernel may read it from the disk meanwhile. */
void wan_st_expect(const wan_st_tensor *t);
/* Drops pages of the mapping that hold t from memory (madvise), after it has been read. */
void wan_st_release(wan_st *st, const wan_st_tensor *t);
/* Number of tensors never used; the first name in *name when not NULL. */
size_t wan_st_unused(const wan_st *st, const char **name);
void wan_st_close(wan_st **st);

/* Writing: header first (all shapes known), then each tensor's data in the order added. */
typedef struct wan_st_writer wan_st_writer;
int wan_st_create(wan_st_writer **out, const char *path) WAN_MUST_CHECK; /* "-" allowed */
/* Declares a tensor; all declarations precede the first wan_st_put. */
int wan_st_declare(wan_st_writer *w, const char *name, wan_dtype t, const int64_t *shape, int rank)
    WAN_MUST_CHECK;
int wan_st_set_metadata(wan_st_writer *w, const char *key, const char *value) WAN_MUST_CHECK;
/* Appends the next declared tensor's data, converting from type st; name must match. */
int wan_st_put(wan_st_writer *w, const char *name, const void *data, wan_dtype st) WAN_MUST_CHECK;
/* All declared tensors are written, and read back (header, size, CRC32C), or an error. */
int wan_st_finish(wan_st_writer **w) WAN_MUST_CHECK;
void wan_st_abandon(wan_st_writer **w);

#endif
