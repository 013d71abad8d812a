/* SPDX-License-Identifier: Apache-2.0
 *
 * store.h - the parameters of one model that this rank holds: values, the copy that GEMMs read,
 * gradients.  Optimizer, data parallel, checkpoint, debugging and plan take a store and never ask
 * which model it is of.
 *
 *     wan_store *s;
 *     wan_store_new(&s, dev, &params, NULL, WAN_BF16, 1);     // params move into the store
 *     wan_store_init(s, seed);
 *
 * One flat vector, part by part; in a part first what GEMMs read, then the rest, so that a part, its
 * operands, and all else are one range each.  Every tensor begins at a multiple of 64 elements; the
 * gaps are zero and stay zero.
 *
 *     part 0: [gemm | rest]   part 1: [gemm | rest]   ...
 *
 * Where ranks share one copy out, every part's operands and its rest are cut into equal shards, and the
 * flat vector is this rank's:
 *
 *     part 0  as it runs [ gemm                    | rest          ]   w, r, g: gathered (fsdp.h)
 *     shard 1 of 4             [ gemm ]                  [ rest ]      -> flat [gemm | rest], next part
 */
#ifndef WAN_MODEL_STORE_H
#define WAN_MODEL_STORE_H

#include "kernels/ops.h"
#include "lib/model/params.h"
#include "lib/model/rooms.h"

enum { WAN_SLICE_GAPS = 15 };

/* Which of the parameters: the parts [first, end) but those of the gaps, and of what is cut among
 * `ranks` the share of `rank`, whole units, uneven where they do not divide; spread: they share out the
 * rows of the stream, too (block/seq.h).  Of the range that a part then is, `shard` of `shards` equal
 * ones (0 or 1: all of it). */
typedef struct wan_slice {
    int rank, ranks, spread;
    int first, end;
    int shard, shards;
    int gaps;
    struct {
        int first, end;
    } gap[WAN_SLICE_GAPS]; /* ascending */
} wan_slice;

/* Whether a part is held. */
static inline int wan_slice_holds(const wan_slice *s, int part)
{
    for (int i = 0; i < s->gaps; i++)
        if (part >= s->gap[i].first && part < s->gap[i].end)
            return 0;
    return part >= s->first && part < s->end;
}

/* What is held of one parameter. */
typedef struct wan_item {
    int64_t from,
        len;       /* along its dimension `cut`; the whole extent of dimension 0 where not cut */
    int64_t count; /* elements; 0: nothing, it belongs to another stage */
    int64_t at;    /* in the range of its part as it runs, not of a shard */
    int64_t byte;  /* of an operand, where each has its own place: in all of them */
    const void *mapped; /* the operand in a file's mapping; NULL: it is in the store's memory */
} wan_item;

/* What a shard has of that. */
typedef struct wan_piece {
    int64_t from, n; /* elements [from, from + n) of the item's count; n 0: nothing */
    int64_t at;      /* in the flat vector */
} wan_piece;

typedef struct wan_part {
    int first, n;              /* parameters [first, first + n) */
    int64_t at, size;          /* range of the flat vector, elements; size 0: not held */
    int64_t gemm;              /* the first `gemm` elements are what GEMMs read */
    int64_t whole, whole_gemm; /* the same two of the part as it runs: of all shards */
    int64_t at_gemm;           /* where those begin in the vector of all such (shadow) */
    int64_t at_rest;           /* where the rest begins in the vector of all rests */
    /* Where the values are while the part runs.  An axis that gathers weights sets these, and NULL while
     * it has not. */
    wan_buf w;   /* [whole_gemm] in the compute type; not where each operand has its own place */
    wan_real *r; /* [whole - whole_gemm] */
    wan_real *g; /* [whole] gradients; NULL: none */
    int fresh; /* they are zero, whatever lies there: no backward has come since wan_store_zero_grad */
} wan_part;

typedef struct wan_store {
    wan_params params;
    wan_slice slice;
    wan_item *item; /* [params.n] */
    wan_part *part; /* [params.parts] */
    int64_t total;  /* length of the flat vector */
    int64_t gemm;   /* ... and of its operands alone */
    wan_dev *d;
    wan_dtype compute; /* WAN_REAL or WAN_BF16: what GEMMs compute in */
    int apart; /* some operands are blocks or in a file (wan_param): each has its own place */
    int64_t own, mapped; /* bytes of operands then: in memory, in the file */
    void *file;          /* that keeps it mapped, and what closes it */
    void (*close)(void *file);
    int train; /* enum wan_training */
    int eight; /* the parameters so marked are multiplied in eight bits; set behind wan_store_new */
    wan_real *master; /* device [total], or where GEMMs read bf16 and nothing is trained, only the
                           rests [total - gemm] */
    /* WAN_TRAIN_FAR: what vectors in host memory pass through, and, where the masters are among them, the
     * rests [total - gemm] on the device; else NULL. */
    wan_rooms *rooms;
    wan_real *rest;
    uint16_t *shadow; /* device [gemm] bf16, or blocks; NULL: compute == WAN_REAL, or a shard */
    wan_real *grad;   /* device [total]; NULL: not trained */
    uint8_t *
        unset; /* [params.n] while a fresh part runs backward: nothing has been written into this gradient */
    /* Makes the weights of a part be there before it runs (offload.h); NULL: they always are. */
    int (*enter)(void *arg, int part);
    void *enter_arg;
} wan_store;

/* WAN_TRAIN_FAR: moments, and masters where GEMMs read a copy of them, lie in host memory (rooms.h). */
enum wan_training { WAN_TRAIN_NOT, WAN_TRAIN, WAN_TRAIN_FAR };

typedef struct wan_store_bytes {
    int64_t weights, grads;
    int64_t far; /* in host memory */
    /* elements of the parts as they run, operands and rest: of all, and of the largest of either */
    int64_t whole_gemm, whole_rest, most_gemm, most_rest;
} wan_store_bytes;

/* The share of extent elements that a slice holds, in whole units; the first ranks hold one unit
 * more where they do not divide.  from (may be NULL): where it begins. */
int64_t wan_store_share(int64_t *from, const wan_slice *s, int64_t extent, int64_t unit);

/* params is taken over (also on failure) and emptied.  slice NULL: everything.  Operands in blocks, or
 * mapped: on the CPU, in bf16, whole and not trained. */
int wan_store_new(wan_store **out, wan_dev *d, wan_params *params, const wan_slice *slice,
                  wan_dtype compute, int train) WAN_MUST_CHECK; /* train: enum wan_training */
/* The same of a model that is not trained, without memory: whoever sets enter gives parts theirs. */
int wan_store_bare(wan_store **out, wan_dev *d, wan_params *params, const wan_slice *slice,
                   wan_dtype compute) WAN_MUST_CHECK;
/* A part is about to run. */
static inline int wan_store_enter(const wan_store *s, int part)
{
    return s->enter ? s->enter(s->enter_arg, part) : 0;
}
void wan_store_free(wan_store **s); /* NULL-safe */
/* Bytes of device memory and length of the flat vector; nothing is allocated. */
int wan_store_plan(wan_store_bytes *out, int64_t *total, const wan_params *params,
                   const wan_slice *slice, wan_dtype compute, int train) WAN_MUST_CHECK;
/* Bytes that a GPU keeps of the products in eight bits of what a slice (NULL: all) holds, while weights are still
 * (wan_dev_still): of all, and of the largest part; turned: for products that go backward, too. */
int64_t wan_store_eight(int64_t *most, const wan_params *params, const wan_slice *slice,
                        int turned);

/* Operand i, which is mapped, is read at data, in the type it is held in; file keeps it there until the store
 * closes it (NULL: already so). */
void wan_store_map(wan_store *s, int i, const void *data);
void wan_store_keep(wan_store *s, void *file, void (*close)(void *file));

/* Whether master holds every parameter: trained, or compute == WAN_REAL. */
int wan_store_full(const wan_store *s);
/* Parameter i where the running part has it: an operand, a vector in full precision, a gradient. */
wan_buf wan_store_w(const wan_store *s, int i);
wan_real *wan_store_r(const wan_store *s, int i);
wan_real *wan_store_g(const wan_store *s, int i);
/* Its full-precision value (needs wan_store_full or a parameter outside GEMMs, and no shards). */
wan_real *wan_store_master(const wan_store *s, int i);
/* What this shard has of parameter i. */
wan_piece wan_store_piece(const wan_store *s, int i);

/* What this shard has of tensor i, from host floats [piece n]: masters and their bf16 copy. */
int wan_store_put(wan_store *s, int i, const float *held) WAN_MUST_CHECK;
/* The same from the whole tensor, in host memory of type t; what is not held is not read.  An operand in
 * blocks is given in those.  x: device, into
 * this vector, laid out as the store's; NULL: into the masters and their copy. */
int wan_store_take(wan_store *s, int i, wan_real *x, const void *whole, wan_dtype t) WAN_MUST_CHECK;
/* What this shard has of tensor i, or of its gradient, to host floats [piece n]. */
int wan_store_get(const wan_store *s, int i, float *held) WAN_MUST_CHECK;
int wan_store_get_grad(const wan_store *s, int i, float *held) WAN_MUST_CHECK;
/* Runs of the whole tensor that a piece of it is made of, in their order: *held [len] lies at *whole of
 * the tensor, both counted in elements.  k counts the calls from 0; returns 0 behind the last. */
int wan_store_run(const wan_param *q, const wan_item *it, const wan_piece *p, int64_t k,
                  int64_t *whole, int64_t *held, int64_t *len);
/* The elements of a piece, held [p->n], to their places in the whole tensor. */
void wan_store_scatter(const wan_param *q, const wan_item *it, const wan_piece *p, float *whole,
                       const float *held);
/* Item i of the tensor parallel rank `rank` of the same model, in the stage that has it. */
wan_item wan_store_item(const wan_store *s, int i, int rank);

/* Random values, by seed and name: the same for every slice. */
int wan_store_init(wan_store *s, uint64_t seed) WAN_MUST_CHECK;
int wan_store_refresh(wan_store *s) WAN_MUST_CHECK; /* the shadow, after master changed */
/* Gradients are zero from here on.  Their memory is cleared when the first backward of the part begins, that of
 * dense layers (wan_param) not even then: the first product overwrites it, and what none has come to is cleared at the
 * end.  Shards are cleared at once. */
int wan_store_zero_grad(wan_store *s) WAN_MUST_CHECK;
/* Around what a part does backward; afterwards it is not fresh. */
int wan_store_back_begin(wan_store *s, int part) WAN_MUST_CHECK;
int wan_store_back_end(wan_store *s, int part) WAN_MUST_CHECK;
/* Clears the parts that no backward has come to: before all of grad is read. */
int wan_store_settle_grad(wan_store *s) WAN_MUST_CHECK;
/* Elements [at, at + n) of the masters in host memory have changed: of them, what is not for GEMMs, x, is the
 * same on the device.  They are of the rest of one part. */
int wan_store_changed(wan_store *s, const wan_part *p, int64_t at, const wan_real *x, int64_t n)
    WAN_MUST_CHECK;

#endif
