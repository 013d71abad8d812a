/* SPDX-License-Identifier: Apache-2.0
 *
 * ranks.c - see ranks.h.
 */
#include "lib/train/parallel/ranks.h"

#include <math.h>
#include <string.h>

int wan_ranks_open(wan_ranks *r, const int size[WAN_AXES], wan_comm *c)
{
    memset(r, 0, sizeof *r);
    return wan_mesh_open(&r->mesh, c, size);
}

void wan_ranks_share(wan_ranks *r, enum wan_sharding how)
{
    const wan_mesh *m = &r->mesh;
    r->sharding = how != WAN_SHARD_NONE || m->size[WAN_DP_SHARD] == 1 ? how : WAN_SHARD_FSDP;
    if (m->group[WAN_FSDP]->size == 1)
        r->sharding = WAN_SHARD_NONE;
}

/* The rows that attention exchanges. */
static wan_cp_size cp_size(const wan_ranks *r, const wan_arch *arch, wan_dtype compute,
                           const wan_capacity *cap)
{
    wan_sizes z;
    wan_model_sizes(&z, arch);
    return (wan_cp_size){ .kind = r->cp_kind,
                          .rank = r->mesh.at[WAN_CP],
                          .ranks = r->mesh.size[WAN_CP],
                          .compute = compute,
                          .cap = *cap,
                          .heads =
                              wan_store_share(NULL, &r->slice, z.width, z.head_dim) / z.head_dim,
                          .head_dim = z.head_dim,
                          .fewest = z.width / z.head_dim / r->slice.ranks,
                          .train = 1 };
}

int wan_ranks_slice(wan_ranks *r, const wan_arch *arch, int each, int64_t tokens, int64_t batch)
{
    const wan_mesh *m = &r->mesh;
    int k = m->at[WAN_PP];
    WAN_TRY(wan_pp_split_make(&r->split, arch, m->size[WAN_PP], each, tokens, batch));
    r->slice = (wan_slice){ .rank = m->at[WAN_TP],
                            .ranks = m->size[WAN_TP],
                            .spread = r->spread && m->size[WAN_TP] > 1 };
    wan_pp_split_slice(&r->split, k, &r->slice);
    r->ranges = wan_pp_split_ranges(&r->split, k, r->range);
    if (r->sharding != WAN_SHARD_NONE) {
        r->slice.shard = m->group[WAN_FSDP]->rank;
        r->slice.shards = m->group[WAN_FSDP]->size;
    }
    if (m->size[WAN_TP] > WAN_AXES_TP)
        return wan_err("%d tensor parallel ranks: at most %d", m->size[WAN_TP], WAN_AXES_TP);
    const wan_cp_size cp = cp_size(r, arch, WAN_F32, &(wan_capacity){ 0 });
    return wan_cp_inner(&cp) < 0 ? -1 : 0;
}

int64_t wan_ranks_bytes(const wan_ranks *r, const wan_arch *arch, wan_dtype compute,
                        const wan_capacity *cap)
{
    const wan_cp_size z = cp_size(r, arch, compute, cap);
    const wan_capacity held = wan_cp_capacity(cap, z.ranks);
    return wan_cp_bytes(&z) + wan_pp_bytes(&r->split, r->mesh.at[WAN_PP], arch, &held);
}

int wan_ranks_device(wan_ranks *r, wan_dev *d, const wan_arch *arch, wan_dtype compute,
                     const wan_capacity *cap)
{
    const wan_cp_size z = cp_size(r, arch, compute, cap);
    WAN_TRY(wan_where_open(&r->where, d));
    const wan_capacity held = wan_cp_capacity(cap, z.ranks);
    WAN_TRY(wan_pp_open(&r->pp, &r->split, r->mesh.group[WAN_PP], r->where, d, arch, &held));
    return z.ranks == 1 ? 0 : wan_cp_new(&r->cp, r->mesh.group[WAN_CP], r->where, d, &z);
}

void wan_ranks_close(wan_ranks *r)
{
    wan_reel_close(&r->reel);
    wan_pp_free(&r->pp);
    wan_cp_free(&r->cp);
    wan_mesh_close(&r->mesh);
    wan_where_close(&r->where);
}

/* ---- what the axes do inside a block */

wan_wing wan_ranks_wing(wan_ranks *r)
{
    r->axes = (wan_axes){ r->mesh.group[WAN_TP], r->where, &r->slice, r->cp };
    return wan_axes_wing(&r->axes);
}

/* ---- sums over all ranks */

int wan_ranks_counts(const wan_ranks *r)
{
    const wan_mesh *m = &r->mesh;
    return m->at[WAN_TP] == 0 && m->at[WAN_PP] == m->size[WAN_PP] - 1;
}

/* Squares of what this rank holds; what its tensor parallel group holds together is the first one's. */
static int own_sums(const wan_ranks *r, wan_store *s, double *sumsq)
{
    wan_dev *d = s->d;
    if (r->mesh.group[WAN_PP_TP]->size == 1)
        return d->ops->sumsq(d, sumsq, WAN_RBUF(s->grad), s->total, 0);
    for (int i = 0; i < s->params.n; i++) {
        const wan_piece p = wan_store_piece(s, i);
        if (p.n && (s->params.v[i].cut >= 0 || r->mesh.at[WAN_TP] == 0))
            WAN_TRY(d->ops->sumsq(d, sumsq, WAN_RBUF(s->grad + p.at), p.n, 1));
    }
    return 0;
}

/* What a rank does alone of its norm. */
typedef struct squares {
    const wan_ranks *r;
    wan_store *s;
    double *sumsq;
    const wan_real *also;
    int64_t n;
} squares;

static int own_squares(void *arg)
{
    const squares *q = arg;
    wan_dev *d = q->s->d;
    WAN_TRY(wan_dev_zero(d, q->sumsq, 2 * sizeof *q->sumsq));
    WAN_TRY(own_sums(q->r, q->s, q->sumsq));
    return !q->also ? 0
                    : d->ops->sumsq(d, q->sumsq + 1, WAN_RBUF((void *)(uintptr_t)q->also), q->n, 0);
}

int wan_ranks_norm_begin(wan_ranks *r, wan_store *s, double *sumsq, const wan_real *also, int64_t n)
{
    const wan_mesh *m = &r->mesh;
    squares q = { r, s, sumsq, also, n };
    const int64_t key[] = { (int64_t)(intptr_t)also, n };
    WAN_TRY(wan_reel_play(&r->reel, key, sizeof key, own_squares, &q));
    if (m->group[WAN_PP_TP]->size > 1)
        WAN_TRY(wan_group_all_reduce(m->group[WAN_PP_TP], r->where, sumsq, 1, WAN_F64, WAN_SUM));
    if (r->sharding == WAN_SHARD_NONE)
        return 0;
    return wan_group_all_reduce(m->group[WAN_FSDP], r->where, sumsq, 1, WAN_F64, WAN_SUM);
}

int wan_ranks_norm(wan_ranks *r, wan_store *s, double *sumsq, double *norm)
{
    double sum;
    WAN_TRY(wan_ranks_norm_begin(r, s, sumsq, NULL, 0));
    WAN_TRY(wan_dev_read(s->d, &sum, sumsq, sizeof sum));
    *norm = sqrt(sum);
    return 0;
}

int wan_ranks_bad(wan_ranks *r, const wan_store *s, int found, const char **name)
{
    int64_t least = -found;
    WAN_TRY(wan_group_all_reduce(r->mesh.group[WAN_WORLD], NULL, &least, 1, WAN_I64, WAN_MAX));
    *name = -least < s->params.n ? s->params.v[-least].name : NULL;
    return 0;
}

/* ---- tensors from their slices */

/* The rank of the group of all at these coordinates of the copy that is written; shard: in the group that
 * shares it, dp_shard x cp. */
static int place(const wan_mesh *m, int pp, int shard, int tp)
{
    const int cp = m->size[WAN_CP];
    const int at[WAN_AXES] = {
        [WAN_PP] = pp, [WAN_DP_SHARD] = shard / cp, [WAN_CP] = shard % cp, [WAN_TP] = tp
    };
    int r = 0;
    for (int i = 0; i < WAN_AXES; i++)
        r = r * m->size[i] + at[i];
    return r;
}

/* Rank 0: what another rank, `from`, has of tensor i, into whole. */
static int take(wan_ranks *r, const wan_store *s, int i, int from, int tp, float *held,
                float *whole)
{
    const wan_item it = wan_store_item(s, i, tp);
    wan_group *world = r->mesh.group[WAN_WORLD];
    int64_t head[2];
    if (from == 0 || !it.count)
        return 0;
    WAN_TRY(wan_group_recv(world, NULL, head, 2, WAN_I64, from, 0));
    if (head[0] < 0 || head[1] < 0 || head[0] + head[1] > it.count)
        WAN_BUG("elements %lld..%lld of %lld", (long long)head[0], (long long)(head[0] + head[1]),
                (long long)it.count);
    if (head[1])
        WAN_TRY(wan_group_recv(world, NULL, held, (size_t)head[1], WAN_F32, from, 0));
    const wan_piece p = { .from = head[0], .n = head[1] };
    wan_store_scatter(&s->params.v[i], &it, &p, whole, held);
    return 0;
}

int wan_ranks_collect(wan_ranks *r, const wan_store *s, int i, const wan_real *x, float *held,
                      float *whole)
{
    wan_mesh *m = &r->mesh;
    wan_group *world = m->group[WAN_WORLD];
    const wan_param *q = &s->params.v[i];
    const wan_piece p = wan_store_piece(s, i);
    const int shards = r->sharding == WAN_SHARD_NONE ? 1 : m->group[WAN_FSDP]->size;
    const int first = m->at[WAN_DP_REPLICATE] == 0 && m->group[WAN_FSDP]->rank < shards;
    const int mine = first && s->item[i].count && (q->cut >= 0 || m->at[WAN_TP] == 0);
    const int64_t head[2] = { p.from, p.n };
    const int stage = wan_pp_split_owner(&r->split, q->part);
    if (mine && p.n)
        WAN_TRY(wan_dev_read(s->d, held, x + p.at, (size_t)p.n * sizeof *held));
    if (world->rank != 0) {
        if (mine)
            WAN_TRY(wan_group_send(world, NULL, head, 2, WAN_I64, 0, 0));
        return mine && p.n ? wan_group_send(world, NULL, held, (size_t)p.n, WAN_F32, 0, 0) : 0;
    }
    if (mine)
        wan_store_scatter(q, &s->item[i], &p, whole, held);
    for (int tp = 0; tp < (q->cut < 0 ? 1 : m->size[WAN_TP]); tp++)
        for (int k = 0; k < shards; k++)
            WAN_TRY(take(r, s, i, place(m, stage, k, tp), tp, held, whole));
    return 0;
}
