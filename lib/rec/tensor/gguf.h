/* SPDX-License-Identifier: Apache-2.0
 *
 * gguf.h - GGUF files, read by mmap: ggml's format, in which quantised weights are passed around.
 *
 *     wan_gguf *g;
 *     WAN_TRY(wan_gguf_open(&g, "wan2.1-t2v-1.3b-Q4_K_M.gguf"));
 *     const wan_gguf_tensor *t = wan_gguf_at(g, i);
 *     WAN_TRY(wan_gguf_read(g, t, dst, WAN_F32));      // unpacked
 *     wan_gguf_close(&g);
 *
 * Every length is checked before it is used; the rules are those of wan-data(7), GGUF.
 */
#ifndef WAN_REC_GGUF_H
#define WAN_REC_GGUF_H

#include "lib/base/dtype.h"
#include "lib/base/quant.h"
#include "lib/rec/record/record.h"

typedef struct wan_gguf wan_gguf;

typedef struct wan_gguf_tensor {
    const char *name;
    int rank;
    int64_t shape
        [WAN_MAX_RANK]; /* outermost first, as elsewhere; the file has them the other way round */
    int64_t count;      /* elements */
    wan_quant quant;    /* WAN_Q_NONE: plain elements of dtype */
    wan_dtype dtype;
    const void *data; /* [bytes] in the mapping */
    size_t bytes;
} wan_gguf_tensor;

/* Whether path ends as GGUF files do. */
int wan_gguf_is(const char *path);
int wan_gguf_open(wan_gguf **out, const char *path) WAN_MUST_CHECK;
size_t wan_gguf_count(const wan_gguf *g);
const wan_gguf_tensor *wan_gguf_at(const wan_gguf *g, size_t i); /* in the order of the file */
/* Metadata: the string, or the whole number of any integer type, of a key; NULL, or `other`, where there is
 * none of that kind. */
const char *wan_gguf_string(const wan_gguf *g, const char *key);
int64_t wan_gguf_number(const wan_gguf *g, const char *key, int64_t other);
/* All of t to dst [count] as dt. */
int wan_gguf_read(const wan_gguf *g, const wan_gguf_tensor *t, void *dst, wan_dtype dt)
    WAN_MUST_CHECK;
/* Drops pages of the mapping that hold t from memory. */
void wan_gguf_release(const wan_gguf *g, const wan_gguf_tensor *t);
void wan_gguf_close(wan_gguf **g); /* NULL-safe */

/* Writing: metadata and all tensors are declared first, then the data come in that order. */
typedef struct wan_gguf_writer wan_gguf_writer;
int wan_gguf_create(wan_gguf_writer **out, const char *path) WAN_MUST_CHECK;
int wan_gguf_set_string(wan_gguf_writer *w, const char *key, const char *value) WAN_MUST_CHECK;
int wan_gguf_set_number(wan_gguf_writer *w, const char *key, uint32_t value) WAN_MUST_CHECK;
/* comfy.gguf.orig_shape.NAME: what the shape of a tensor was before it got no more than four extents. */
int wan_gguf_set_shape(wan_gguf_writer *w, const char *name, const int64_t *shape, int rank)
    WAN_MUST_CHECK;
/* Elements of dtype, or blocks where quant is one; F32, F16, BF16, Q8_0 and Q4_K. */
int wan_gguf_declare(wan_gguf_writer *w, const char *name, wan_quant quant, wan_dtype dtype,
                     const int64_t *shape, int rank) WAN_MUST_CHECK;
int wan_gguf_put(wan_gguf_writer *w, const char *name, const float *data) WAN_MUST_CHECK;
/* All declared tensors are written and read back, or an error. */
int wan_gguf_finish(wan_gguf_writer **w) WAN_MUST_CHECK;
void wan_gguf_abandon(wan_gguf_writer **w); /* NULL-safe */

#endif
