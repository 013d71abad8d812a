/* SPDX-License-Identifier: Apache-2.0
 *
 * model.h - the table of models.  A row says what a model is made of and computes one part of it;
 * it owns no memory.  A second model is a folder beside lib/model/wan and a row in model.c.
 *
 *     wan_arch arch;                                     // which model, of which size
 *     wan_store *s;  wan_acts *a;
 *     wan_model_store(&s, dev, &arch, NULL, WAN_BF16, 1);
 *     wan_model_acts(&a, dev, &arch, &options, NULL);
 *     wan_model_fill(a, &micro, NULL);
 *     a->pred = pred;
 *     wan_model_forward(a, s, 0, parts, &hooks);         // embed, blocks, head
 *     a->dpred = dpred;
 *     wan_model_backward(a, s, 0, parts, &hooks);        // adds to the gradients of s
 */
#ifndef WAN_MODEL_MODEL_H
#define WAN_MODEL_MODEL_H

#include <stddef.h>

#include "lib/model/acts.h"
#include "lib/model/field.h"

/* What the rest of the program may know of a configured model. */
typedef struct wan_sizes {
    int parts; /* embed, blocks, head */
    int in_channels, out_channels;
    int patch[3];                /* frames, rows, columns of a latent in one token */
    int64_t in_width, out_width; /* of a token's row, in and out */
    enum wan_patch_order in_order, out_order;
    int64_t head_dim;           /* columns of the stream that attention keeps together */
    int64_t width;              /* of the residual stream */
    int64_t text_dim, text_len; /* text rows, and how many of them a sample has at most */
    double quad;                /* a sample of S tokens costs S (1 + quad S) */
} wan_sizes;

/* A key of config.json: a field, or a constant of which only one value is supported. */
enum { WAN_JSON_ALWAYS, WAN_JSON_CHANGED /* when it is not def */, WAN_JSON_NEVER };
typedef struct wan_json_key {
    const char *name;
    size_t offset; /* of an int (a double where `real`) of the configuration, or WAN_NOWHERE */
    int real;
    double def;         /* where the file does not have it */
    const char *only;   /* JSON text of the one value, when there is no field */
    const char *why;    /* ... and what another value would mean */
    const char *tensor; /* where the file does not have it either: columns of this matrix */
    int write;          /* whether the file gets it */
} wan_json_key;
#define WAN_NOWHERE ((size_t)-1)

/* One way to write a model's folder: HuggingFace's, and the authors' own. */
enum wan_naming { WAN_NAMING_HF, WAN_NAMING_OFFICIAL, WAN_NAMINGS };
typedef struct wan_layout {
    const char *class_name, *version; /* of config.json */
    const char *mark;                 /* a file without a class that has this key; NULL: none */
    const wan_json_key *keys; /* ends with name NULL; in the order in which they are written */
} wan_layout;

/* A published size, by name. */
typedef struct wan_preset {
    const char *name;
    const void *c;
} wan_preset;

enum { WAN_GIVEN_HEADS = 1, WAN_GIVEN_HEAD_DIM = 2, WAN_GIVEN_FFN = 4 };

/* Rows that one part leaves for others. */
enum { WAN_MODEL_BORDERS = 8 };
typedef struct wan_border {
    char rows;     /* S tokens held, R rows of text, N samples */
    int64_t width; /* of a row */
    int narrow;    /* in the compute type; else WAN_REAL */
    int64_t n;     /* elements in the micro-batch that acts are filled with */
    wan_buf buf;
} wan_border;

typedef struct wan_model {
    const char *type;         /* value of model.type */
    const char *objective;    /* what it is trained with (objective.h), and sampled by */
    int text_dropped;         /* a dropped caption is no text rows; 0: those of the empty prompt */
    const char *const *files; /* folder of the weights in a checkpoint, stem of their files */
    size_t config_size;       /* <= WAN_ARCH_BYTES */
    const wan_layout *layout[WAN_NAMINGS]; /* NULL: no such naming */
    /* Between the fields and the file's numbers, where these are not the same; NULL: they are. */
    int (*recast)(void *c, enum wan_naming naming, int writing);
    const wan_field *fields; /* ends with key NULL */
    /* The width, where a field does not hold it: what was not given follows from it (WAN_GIVEN_...);
     * -1 with a sentence when heads and their width do not multiply to it.  NULL: it has none */
    int (*set_width)(void *c, int64_t width, unsigned given);
    const wan_preset *presets;   /* ends with name NULL; the first is the default */
    int (*check)(const void *c); /* -1 with a sentence: sizes that cannot be.  NULL: all can */
    int (*params)(wan_params *out, const void *c);
    void (*sizes)(wan_sizes *out, const void *c);
    void (*describe)(const void *c, char *text, size_t size); /* NULL: the type says it */
    /* FLOPs of one forward of n samples; a training step is three times that */
    double (*flops)(const void *c, int n, const int64_t *tokens);
    double (*part_flops)(const void *c, int part,
                         int64_t tokens); /* ... of a part, of one sample */

    /* share: acts whose work memory is used, so that only what is kept is allocated; NULL: own */
    int (*acts_plan)(wan_acts_bytes *out, const void *c,
                     const wan_acts_options *o); /* out: zeros */
    int (*acts_new)(wan_acts **out, wan_dev *d, const void *c, const wan_acts_options *o,
                    wan_acts *share);
    void (*acts_free)(wan_acts **a);
    int (*fill)(wan_acts *a, const wan_micro *in, const wan_context *ctx);
    int (*forward)(wan_acts *a, wan_store *s, int part);
    int (*backward_begin)(wan_acts *a); /* zeroes the sums that parts add to; NULL: none */
    /* What crosses the border in front of part 1..parts-1: in the forward what the parts before it
     * have written and later ones read, with `back` the sums that later ones have made and those
     * before it go on with, which no forward touches.  Their number, into v; a NULL: without buf and
     * n.  NULL where parts of a model cannot run apart. */
    int (*border)(const void *c, const wan_acts *a, int part, int back,
                  wan_border v[WAN_MODEL_BORDERS]);
    int (*backward)(wan_acts *a, wan_store *s, int part);
    /* after part 0: gradient of micro.rows, device [S, in_width] */
    int (*input_grad)(wan_acts *a, wan_store *s, wan_real *drows);
    /* Keys and values of prompts, for all steps of a sampler; NULL: the model reads no text. */
    int (*context_new)(wan_context **out, const wan_acts *a, wan_store *s, wan_buf text,
                       const int64_t *text_len, int n);
    void (*context_free)(wan_context **ctx);
} wan_model;

/* Which model, of which size: a value, copied freely. */
enum { WAN_ARCH_BYTES = 256 };
typedef struct wan_arch {
    const wan_model *model;
    _Alignas(16) unsigned char c[WAN_ARCH_BYTES];
} wan_arch;

extern const wan_model wan_net_model; /* lib/model/wan */
extern const wan_model wan_dit_model; /* lib/model/dit */

/* The row of a type, or NULL; the i-th row, or NULL behind the last. */
const wan_model *wan_model_find(const char *type);
const wan_model *wan_model_at(int i);
/* Adds a row (tests, plug-ins); it must outlive its use. */
int wan_model_register(const wan_model *m) WAN_MUST_CHECK;

void wan_model_arch(wan_arch *out, const wan_model *m, const void *c);
void wan_model_sizes(wan_sizes *out, const wan_arch *arch);
/* -1 with a sentence: sizes that cannot be.  What the model is, in words. */
int wan_model_check(const wan_arch *arch) WAN_MUST_CHECK;
void wan_model_describe(const wan_arch *arch, char *text, size_t size);
/* Tokens of a latent [C, T, h, w] and its grid; -1 with a sentence when it does not fit. */
int64_t wan_model_grid(int64_t grid[3], const wan_sizes *z, const int64_t latent[4]) WAN_MUST_CHECK;

int wan_model_store(wan_store **out, wan_dev *d, const wan_arch *arch, const wan_slice *slice,
                    wan_dtype compute, int train) WAN_MUST_CHECK;
/* What wan_model_acts will take. */
int wan_model_acts_plan(wan_acts_bytes *out, const wan_arch *arch, const wan_acts_options *o)
    WAN_MUST_CHECK;
int wan_model_acts(wan_acts **out, wan_dev *d, const wan_arch *arch, const wan_acts_options *o,
                   wan_acts *share) WAN_MUST_CHECK;
void wan_model_acts_free(wan_acts **a); /* NULL-safe */
/* ctx NULL: the text of the micro-batch itself. */
int wan_model_fill(wan_acts *a, const wan_micro *in, const wan_context *ctx) WAN_MUST_CHECK;
/* For forwards of a, whose wing it uses. */
int wan_model_context(wan_context **out, const wan_acts *a, wan_store *s, wan_buf text,
                      const int64_t *text_len, int n) WAN_MUST_CHECK;
void wan_model_context_free(const wan_model *m, wan_context **ctx); /* NULL-safe */

/* Called around every part that runs: gather its weights, free them, reduce its gradients, offload.
 * NULL members: nothing. */
typedef int wan_hook(void *arg, int part);
typedef struct wan_hooks {
    void *arg;
    wan_hook *before, *after;           /* forward */
    wan_hook *back_before, *back_after; /* backward; after: the part's gradients are complete */
    wan_hook *again; /* before a part runs forward again in a backward (march.h) */
    wan_hook
        *then; /* before `before`, `back_before` and `again`: the part that runs behind that one */
} wan_hooks;

/* Parts [first, end) in ascending order; in descending order.  hooks may be NULL.  A backward needs
 * the forward of the same parts on the same acts before it, and adds to the gradients of s. */
int wan_model_forward(wan_acts *a, wan_store *s, int first, int end, const wan_hooks *hooks)
    WAN_MUST_CHECK;
int wan_model_backward(wan_acts *a, wan_store *s, int first, int end, const wan_hooks *hooks)
    WAN_MUST_CHECK;
/* Its two halves: the sums that parts add to are zero; the parts.  Between them, what other parts have
 * summed already may be put there (border). */
int wan_model_back_begin(wan_acts *a) WAN_MUST_CHECK;
int wan_model_back_parts(wan_acts *a, wan_store *s, int first, int end, const wan_hooks *hooks)
    WAN_MUST_CHECK;

#endif
