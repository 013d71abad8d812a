/* SPDX-License-Identifier: Apache-2.0
 *
 * gguf_in.h - what the files of the reader and the writer share.
 */
#ifndef WAN_REC_GGUF_IN_H
#define WAN_REC_GGUF_IN_H

#include "lib/rec/tensor/gguf.h"

/* Types of metadata values. */
enum gguf_kind {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_KINDS
};

enum { GGUF_MAGIC = 0x46554747, GGUF_ALIGN = 32 };

typedef struct gguf_pair {
    char *key;
    enum gguf_kind kind; /* of the value, or of an array's elements */
    int array;
    uint64_t n;           /* elements */
    const uint8_t *value; /* in the mapping */
    char *text;           /* of a string; else NULL */
} gguf_pair;

struct wan_gguf {
    char *path;
    const uint8_t *map;
    size_t size;
    gguf_pair *pair;
    size_t n_pairs;
    wan_gguf_tensor *tensor;
    size_t n_tensors;
};

/* ggml's number of an element type, and back; -1: none that is read here. */
int wan_gguf_type_of(wan_quant q, wan_dtype t);
int wan_gguf_type_parse(wan_quant *q, wan_dtype *t, uint32_t number) WAN_MUST_CHECK;
const gguf_pair *wan_gguf_find(const wan_gguf *g, const char *key);
/* Element i of a pair of whole numbers. */
int64_t wan_gguf_whole(const gguf_pair *p, uint64_t i);
/* Metadata and list of tensors from the mapping; what was allocated before an error stays in g. */
int wan_gguf_parse(wan_gguf *g) WAN_MUST_CHECK;

#endif
