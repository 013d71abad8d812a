/* SPDX-License-Identifier: Apache-2.0
 *
 * ranks.h - this rank's part of a training run: which slice of the model it holds, what it adds to
 * sums over all ranks, and tensors put together from their slices.
 *
 *   losses     a sample's loss is the sum over ranks of what each counts (wan_ranks_share)
 *   gradients  ranks of the group WAN_DP_CP hold partial sums of the same parameters (dp.h)
 *   norm       every element of the gradient once: what is cut by its owners, the rest by tp rank 0
 */
#ifndef WAN_TRAIN_RANKS_H
#define WAN_TRAIN_RANKS_H

#include "lib/dist/mesh.h"
#include "lib/model/model.h"
#include "lib/model/reel.h"
#include "lib/model/wing/axes.h"
#include "lib/train/parallel/fsdp.h"
#include "lib/train/parallel/pp.h"

typedef struct wan_ranks {
    wan_mesh mesh;
    int spread;         /* caller's, before wan_ranks_slice: sequence parallel */
    wan_slice slice;    /* tensor parallel rank and size; parts of this stage; shard of them */
    wan_pp_split split; /* parts of all stages */
    wan_pp_range range[WAN_PP_PIECES]; /* and of this one, [ranges] */
    int ranges;
    enum wan_sharding sharding; /* NONE: every rank has all of its slice */
    wan_where *where;           /* memory of the device; NULL: the host's */
    enum wan_cp_kind cp_kind;
    wan_cp *cp;    /* NULL: whole samples */
    wan_axes axes; /* those in the acts of the model */
    wan_pp *pp;
    wan_reel reel; /* of what a rank does alone of the norm */
} wan_ranks;

/* size: of the axes, as wan_mesh_new takes them.  Collective over c. */
int wan_ranks_open(wan_ranks *r, const int size[WAN_AXES], wan_comm *c) WAN_MUST_CHECK;
/* How the ranks of the group WAN_FSDP share a copy, if they are several; shards that nobody named a way for
 * are FSDP's. */
void wan_ranks_share(wan_ranks *r, enum wan_sharding how);
/* Which parts of a model this stage holds, in `each` pieces, balanced for samples of so many tokens,
 * for batches of so many; refuses layouts that the model cannot have. */
int wan_ranks_slice(wan_ranks *r, const wan_arch *arch, int each, int64_t tokens, int64_t batch)
    WAN_MUST_CHECK;
/* What the axes need on the device for micro-batches of the capacity cap. */
int wan_ranks_device(wan_ranks *r, wan_dev *d, const wan_arch *arch, wan_dtype compute,
                     const wan_capacity *cap) WAN_MUST_CHECK;
int64_t wan_ranks_bytes(const wan_ranks *r, const wan_arch *arch, wan_dtype compute,
                        const wan_capacity *cap);
void wan_ranks_close(wan_ranks *r);

/* The ops that the axes put into the acts of a model. */
wan_wing wan_ranks_wing(wan_ranks *r);
/* 1 when this rank's losses count in the sum over all ranks. */
int wan_ranks_counts(const wan_ranks *r);
/* The norm of the gradient, the same on all ranks; sumsq: device, f64 [2]. */
int wan_ranks_norm(wan_ranks *r, wan_store *s, double *sumsq, double *norm) WAN_MUST_CHECK;
/* Its square into sumsq[0], into the other that of also [n], device, or 0; where ranks talk on the device nobody
 * waits. */
int wan_ranks_norm_begin(wan_ranks *r, wan_store *s, double *sumsq, const wan_real *also, int64_t n)
    WAN_MUST_CHECK;
/* The name of the first parameter of all that the ranks found (its number, params.n: none), or NULL. */
int wan_ranks_bad(wan_ranks *r, const wan_store *s, int found, const char **name) WAN_MUST_CHECK;
/* Tensor i of the flat vector x (laid out as the store's): what every rank holds of it, put together
 * on rank 0.  Collective over the world.  held and, on rank 0, whole [count], host. */
int wan_ranks_collect(wan_ranks *r, const wan_store *s, int i, const wan_real *x, float *held,
                      float *whole) WAN_MUST_CHECK;

#endif
