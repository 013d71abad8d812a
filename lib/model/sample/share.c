/* SPDX-License-Identifier: Apache-2.0
 *
 * share.c - see share.h.
 */
#include "lib/model/sample/share.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/base/file.h"

int wan_share_layout(int size[3], const wan_share_options *o, int ranks, int guided)
{
    int tp = o->tp ? o->tp : 1, left = ranks / tp, passes = o->passes;
    if (passes == 2 && !guided)
        return wan_err("guidance 1 makes one pass, which --cfg_parallel cannot divide");
    if (!passes && o->cp)
        passes = guided && (int64_t)o->cp * tp * 2 == ranks ? 2 : 1;
    else if (!passes)
        passes = guided && ranks % tp == 0 && left % 2 == 0 ? 2 : 1;
    int cp = o->cp ? o->cp : left / passes;
    if (cp < 1 || (int64_t)passes * cp * tp != ranks)
        return wan_err(
            "%d rank%s for %d pass%s of guidance x context parallel %d x tensor parallel "
            "%d: start %d (mpirun -n %d)",
            ranks, ranks == 1 ? "" : "s", passes, passes == 1 ? "" : "es", cp < 1 ? 1 : cp, tp,
            passes * (cp < 1 ? 1 : cp) * tp, passes * (cp < 1 ? 1 : cp) * tp);
    size[0] = passes;
    size[1] = cp;
    size[2] = tp;
    return 0;
}

static wan_cp_size cp_size(const wan_share *s, const wan_capacity *cap, wan_dtype compute)
{
    const wan_slice *v = &s->slice;
    return (wan_cp_size){ .kind = s->cp_kind,
                          .rank = s->mesh.at[WAN_CP],
                          .ranks = s->mesh.size[WAN_CP],
                          .compute = compute,
                          .cap = *cap,
                          .heads = wan_store_share(NULL, v, s->heads, 1),
                          .head_dim = s->head_dim,
                          .fewest = s->heads / v->ranks };
}

static int open_share(wan_share *s, wan_comm *c, const wan_share_options *o, const wan_arch *arch,
                      int guided)
{
    int n[3];
    wan_sizes z;
    wan_model_sizes(&z, arch);
    WAN_TRY(wan_share_layout(n, o, c->size, guided));
    const int size[WAN_AXES] = { 1, n[0], 1, n[1], n[2] };
    WAN_TRY(wan_mesh_open(&s->mesh, c, size));
    s->passes = n[0];
    s->pass = s->mesh.at[WAN_DP_REPLICATE];
    s->slice = (wan_slice){ .rank = s->mesh.at[WAN_TP], .ranks = n[2], .end = z.parts };
    s->heads = z.width / z.head_dim;
    s->head_dim = z.head_dim;
    if (n[2] > WAN_AXES_TP)
        return wan_err("%d tensor parallel ranks: at most %d", n[2], WAN_AXES_TP);
    if (n[2] > s->heads)
        return wan_err("%d tensor parallel ranks for %lld heads: a rank would have none", n[2],
                       (long long)s->heads);
    s->cp_kind = o->cp_kind;
    if (o->automatic)
        s->cp_kind = s->heads / n[2] % n[1] || s->heads % n[2] ? WAN_CP_P2P : WAN_CP_A2A;
    const wan_cp_size cp = cp_size(s, &(wan_capacity){ 0 }, WAN_F32);
    return wan_cp_inner(&cp) < 0 ? -1 : 0;
}

int wan_share_open(wan_share **out, wan_comm *c, const wan_share_options *o, const wan_arch *arch,
                   int guided)
{
    wan_share *s = *out = wan_calloc(1, sizeof *s, "ranks");
    if (s && open_share(s, c, o, arch, guided) == 0)
        return 0;
    wan_share_close(out);
    return -1;
}

void wan_share_release(wan_share *s)
{
    if (!s)
        return;
    wan_cp_free(&s->cp);
    wan_where_close(&s->where);
}

void wan_share_close(wan_share **ps)
{
    wan_share *s = ps ? *ps : NULL;
    if (!s)
        return;
    wan_share_release(s);
    wan_mesh_close(&s->mesh);
    free(s);
    *ps = NULL;
}

int64_t wan_share_bytes(const wan_share *s, const wan_capacity *cap, wan_dtype compute)
{
    const wan_cp_size z = cp_size(s, cap, compute);
    return wan_cp_bytes(&z);
}

int wan_share_device(wan_share *s, wan_dev *d, const wan_capacity *cap, wan_dtype compute)
{
    const wan_cp_size z = cp_size(s, cap, compute);
    WAN_TRY(wan_where_open(&s->where, d));
    return z.ranks == 1 ? 0 : wan_cp_new(&s->cp, s->mesh.group[WAN_CP], s->where, d, &z);
}

void wan_share_text(const wan_share *s, char text[80])
{
    static const char *const kinds[] = { "p2p", "a2a", "a2a+p2p" };
    snprintf(text, 80, "%d pass%s x context %d (%s) x tensor %d", s->passes,
             s->passes == 1 ? "" : "es", s->mesh.size[WAN_CP], kinds[s->cp_kind],
             s->mesh.size[WAN_TP]);
}

wan_wing wan_share_wing(wan_share *s)
{
    s->axes = (wan_axes){ s->mesh.group[WAN_TP], s->where, &s->slice, s->cp };
    return wan_axes_wing(&s->axes);
}

/* ---- what is put together */

int64_t wan_share_tokens(const wan_share *s, int64_t n, int64_t *first)
{
    return wan_cp_share(first, n, s->mesh.at[WAN_CP], s->mesh.size[WAN_CP]);
}

int wan_share_rows(wan_share *s, wan_real *rows, int64_t n, int64_t width)
{
    wan_group *g = s->mesh.group[WAN_CP];
    int64_t first;
    size_t *count = wan_malloc((size_t)g->size, sizeof *count, "ranks");
    if (!count)
        return -1;
    for (int r = 0; r < g->size; r++)
        count[r] = (size_t)(wan_cp_share(&first, n, r, g->size) * width);
    wan_share_tokens(s, n, &first);
    int rc = wan_group_all_gather_v(g, s->where, rows, rows + first * width, count, WAN_REAL);
    free(count);
    return rc;
}

int wan_share_answers(wan_share *s, wan_real *answers, int64_t n)
{
    return wan_group_all_gather(s->mesh.group[WAN_DP_REPLICATE], s->where, answers,
                                answers + s->pass * n, (size_t)n, WAN_REAL);
}

int wan_share_floats(wan_share *s, float **x, int64_t *n)
{
    wan_group *g = s->mesh.group[WAN_WORLD];
    WAN_TRY(wan_group_broadcast(g, NULL, n, 1, WAN_I64, 0));
    if (g->rank)
        *x = wan_malloc((size_t)(*n ? *n : 1), sizeof **x, "text rows");
    return *x ? wan_group_broadcast(g, NULL, *x, (size_t)*n, WAN_F32, 0) : -1;
}
