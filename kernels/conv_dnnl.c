/* SPDX-License-Identifier: Apache-2.0
 *
 * conv_dnnl.c - convolution through oneDNN, channels last.
 *
 * A primitive is built once per shape and kept.  Weights are reordered once into the layout the
 * primitive asks for and kept under the address of the original: whoever frees or overwrites
 * weights calls wan_conv_forget first.  Operand types that oneDNN has no kernel for go to the
 * reference.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <oneapi/dnnl/dnnl.h>

#include "kernels/conv_wino_simd.h"
#include "kernels/cpu.h"
#include "kernels/guard_dnnl.h"
#include "kernels/ops_vae.h"
#include "kernels/plans.h"
#include "kernels/rows.h"

/* What a primitive is made for. */
typedef struct shape {
    wan_conv c;
    wan_dtype tx, tw, ty;
    int add, bias;
} shape;

typedef struct plan {
    int whole;             /* 0: something was thrown while it was made */
    dnnl_primitive_t prim; /* NULL: oneDNN has no kernel, the reference runs */
    dnnl_memory_desc_t src_md, dst_md, plain, packed, bias_md, scratch_md;
    dnnl_memory_t src, dst, bias, scratch;
    dnnl_primitive_attr_t attr; /* these three while it is made */
    dnnl_post_ops_t post;
    dnnl_primitive_desc_t pd;
} plan;

typedef struct packed {
    const void *w;
    dnnl_memory_desc_t md, plain;
    dnnl_memory_t mem;
} packed;

static void plan_free(void *value);

static struct {
    pthread_mutex_t lock;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    wan_plans plans; /* shape -> plan: clips of ever new sizes must not fill the memory */
    packed *packs;
    int n_packs;
    struct { /* of the weights being reordered */
        dnnl_memory_t from, to;
        dnnl_primitive_desc_t pd;
        dnnl_primitive_t prim;
    } r;
} g = { .lock = PTHREAD_MUTEX_INITIALIZER,
        .plans = WAN_PLANS(sizeof(shape), sizeof(plan), 512, plan_free) };

static int failed(const char *what, dnnl_status_t s)
{
    return s == dnnl_success ? 0 : wan_err("oneDNN: %s failed with status %d", what, (int)s);
}

static int start(void)
{
    if (g.stream)
        return 0;
    /* oneDNN's own cache would keep what an error left half-made, and break at the next try */
    WAN_TRY(failed("cache", dnnl_set_primitive_cache_capacity(0)));
    if (!g.engine)
        WAN_TRY(failed("engine", dnnl_engine_create(&g.engine, dnnl_cpu, 0)));
    return failed("stream", dnnl_stream_create(&g.stream, g.engine, dnnl_stream_default_flags));
}

static dnnl_data_type_t type_of(wan_dtype t)
{
    return t == WAN_BF16 ? dnnl_bf16 : dnnl_f32;
}

/* Folds dimensions that a small kernel does not look across, for better blocking. */
static wan_conv fold(wan_conv c)
{
    if (c.kh == 1 && c.kw == 1 && c.sh == 1 && c.sw == 1 && !c.top && !c.bottom && !c.left &&
        !c.right && !c.up) {
        c.W *= c.H;
        c.H = 1;
        if (c.kt == 1 && c.st == 1) {
            c.W *= c.T;
            c.T = 1;
        }
    }
    return c;
}

/* Dimensions as oneDNN counts them; without a time kernel the frames are a batch. */
static void describe(plan *p, const shape *k, dnnl_dims_t stride, dnnl_dims_t before,
                     dnnl_dims_t after)
{
    const wan_conv *c = &k->c;
    dnnl_dim_t To = wan_conv_frames(c);
    dnnl_dim_t Ho = (c->H + c->top + c->bottom - c->kh) / c->sh + 1;
    dnnl_dim_t Wo = (c->W + c->left + c->right - c->kw) / c->sw + 1;
    int flat = c->kt == 1 && c->st == 1, n = flat ? 4 : 5;
    dnnl_dims_t x5 = { 1, c->Ci, c->T, c->H, c->W }, y5 = { 1, c->Co, To, Ho, Wo };
    dnnl_dims_t w5 = { c->Co, c->Ci, c->kt, c->kh, c->kw };
    dnnl_dims_t x4 = { c->T, c->Ci, c->H, c->W }, y4 = { To, c->Co, Ho, Wo };
    dnnl_dims_t w4 = { c->Co, c->Ci, c->kh, c->kw }, co = { c->Co };
    dnnl_dim_t s5[] = { c->st, c->sh, c->sw }, b5[] = { c->past, c->top, c->left };
    dnnl_dim_t a5[] = { 0, c->bottom, c->right };
    memcpy(stride, s5 + flat, (size_t)(3 - flat) * sizeof *s5);
    memcpy(before, b5 + flat, (size_t)(3 - flat) * sizeof *b5);
    memcpy(after, a5 + flat, (size_t)(3 - flat) * sizeof *a5);
    dnnl_format_tag_t data = flat ? dnnl_nhwc : dnnl_ndhwc;
    dnnl_memory_desc_init_by_tag(&p->src_md, n, flat ? x4 : x5, type_of(k->tx), data);
    dnnl_memory_desc_init_by_tag(&p->dst_md, n, flat ? y4 : y5, type_of(k->ty), data);
    dnnl_memory_desc_init_by_tag(&p->plain, n, flat ? w4 : w5, type_of(k->tw),
                                 flat ? dnnl_ohwi : dnnl_odhwi);
    dnnl_memory_desc_init_by_tag(&p->packed, n, flat ? w4 : w5, type_of(k->tw),
                                 dnnl_format_tag_any);
    dnnl_memory_desc_init_by_tag(&p->bias_md, 1, co, dnnl_f32, dnnl_a);
}

static void plan_tidy(plan *p)
{
    if (p->post)
        dnnl_post_ops_destroy(p->post);
    if (p->attr)
        dnnl_primitive_attr_destroy(p->attr);
    if (p->pd)
        dnnl_primitive_desc_destroy(p->pd);
    p->post = NULL;
    p->attr = NULL;
    p->pd = NULL;
}

static void plan_free(void *value)
{
    plan *p = (plan *)value;
    dnnl_memory_t m[4] = { p->src, p->dst, p->bias, p->scratch };
    for (int i = 0; i < 4; i++)
        if (m[i])
            dnnl_memory_destroy(m[i]);
    if (p->prim)
        dnnl_primitive_destroy(p->prim);
    plan_tidy(p);
}

static int attributes(plan *p, int add)
{
    WAN_TRY(failed("attributes", dnnl_primitive_attr_create(&p->attr)));
    WAN_TRY(failed("attributes",
                   dnnl_primitive_attr_set_scratchpad_mode(p->attr, dnnl_scratchpad_mode_user)));
    if (!add)
        return 0;
    WAN_TRY(failed("attributes", dnnl_post_ops_create(&p->post)));
    WAN_TRY(failed("attributes", dnnl_post_ops_append_sum(p->post, 1.0f)));
    return failed("attributes", dnnl_primitive_attr_set_post_ops(p->attr, p->post));
}

static int memory(dnnl_memory_t *m, const dnnl_memory_desc_t *md)
{
    return failed("memory", dnnl_memory_create(m, md, g.engine, DNNL_MEMORY_NONE));
}

static int instantiate(plan *p, int bias)
{
    p->packed = *dnnl_primitive_desc_query_md(p->pd, dnnl_query_weights_md, 0);
    p->scratch_md = *dnnl_primitive_desc_query_md(p->pd, dnnl_query_scratchpad_md, 0);
    WAN_TRY(memory(&p->src, &p->src_md));
    WAN_TRY(memory(&p->dst, &p->dst_md));
    if (bias)
        WAN_TRY(memory(&p->bias, &p->bias_md));
    if (dnnl_memory_desc_get_size(&p->scratch_md))
        WAN_TRY(memory(&p->scratch, &p->scratch_md));
    return failed("convolution", dnnl_primitive_create(&p->prim, p->pd));
}

/* A missing kernel is not an error: prim stays NULL. */
static int plan_make(plan *p, const shape *k)
{
    dnnl_dims_t stride, before, after;
    dnnl_convolution_desc_t cd;
    describe(p, k, stride, before, after);
    WAN_TRY(attributes(p, k->add));
    dnnl_status_t s = dnnl_convolution_forward_desc_init(
        &cd, dnnl_forward_inference, dnnl_convolution_direct, &p->src_md, &p->packed,
        k->bias ? &p->bias_md : NULL, &p->dst_md, stride, before, after);
    if (s == dnnl_success)
        s = dnnl_primitive_desc_create(&p->pd, &cd, p->attr, g.engine, NULL);
    if (s == dnnl_success)
        WAN_TRY(instantiate(p, k->bias));
    else if (s != dnnl_unimplemented && s != dnnl_invalid_arguments)
        return failed("convolution", s);
    plan_tidy(p);
    p->whole = 1;
    return 0;
}

/* The plan of a shape, made if need be; NULL: error recorded. */
static plan *plan_get(const shape *k)
{
    plan *p = (plan *)wan_plans_find(&g.plans, k);
    if (p && p->whole)
        return p;
    wan_plans_remove(&g.plans, k);
    if (wan_guard_room() < 0 || start() < 0)
        return NULL;
    p = (plan *)wan_plans_add(&g.plans, k);
    if (!p)
        return wan_err("oneDNN: out of memory"), NULL;
    if (plan_make(p, k) == 0)
        return p;
    wan_plans_remove(&g.plans, k);
    return NULL;
}

/* ---- weights */

static void reorder_tidy(void)
{
    if (g.r.prim)
        dnnl_primitive_destroy(g.r.prim);
    if (g.r.pd)
        dnnl_primitive_desc_destroy(g.r.pd);
    if (g.r.from)
        dnnl_memory_destroy(g.r.from);
    if (g.r.to)
        dnnl_memory_destroy(g.r.to);
    memset(&g.r, 0, sizeof g.r);
}

/* g.r.to <- the weights at w in the layout p wants */
static int reorder(const plan *p, const void *w)
{
    void *at = (void *)(uintptr_t)w;
    WAN_TRY(failed("memory", dnnl_memory_create(&g.r.from, &p->plain, g.engine, at)));
    if (dnnl_memory_desc_equal(&p->plain, &p->packed)) {
        g.r.to = g.r.from;
        g.r.from = NULL;
        return 0;
    }
    WAN_TRY(failed("reordered weights",
                   dnnl_memory_create(&g.r.to, &p->packed, g.engine, DNNL_MEMORY_ALLOCATE)));
    WAN_TRY(failed("reorder", dnnl_reorder_primitive_desc_create(&g.r.pd, &p->plain, g.engine,
                                                                 &p->packed, g.engine, NULL)));
    WAN_TRY(failed("reorder", dnnl_primitive_create(&g.r.prim, g.r.pd)));
    dnnl_exec_arg_t args[] = { { DNNL_ARG_FROM, g.r.from }, { DNNL_ARG_TO, g.r.to } };
    WAN_TRY(failed("reorder", dnnl_primitive_execute(g.r.prim, g.stream, 2, args)));
    return failed("reorder", dnnl_stream_wait(g.stream));
}

/* The weights at w in the layout p wants; NULL: error recorded. */
static dnnl_memory_t find_packed(const plan *p, const void *w)
{
    for (int i = 0; i < g.n_packs; i++)
        if (g.packs[i].w == w && dnnl_memory_desc_equal(&g.packs[i].md, &p->packed) &&
            dnnl_memory_desc_equal(&g.packs[i].plain, &p->plain))
            return g.packs[i].mem;
    packed *grown = realloc(g.packs, (size_t)(g.n_packs + 1) * sizeof *grown);
    if (!grown)
        return wan_err("oneDNN: out of memory"), NULL;
    g.packs = grown;
    if (reorder(p, w) < 0)
        return NULL;
    g.packs[g.n_packs] = (packed){ w, p->packed, p->plain, g.r.to };
    g.r.to = NULL;
    return g.packs[g.n_packs++].mem;
}

/* ---- running */

static int at(dnnl_memory_t m, const void *p)
{
    return failed("memory", dnnl_memory_set_data_handle(m, (void *)(uintptr_t)p));
}

/* Scratch memory: the input where it is enlarged, then what oneDNN asks for. */
static int lay_out(wan_dev *d, const plan *p, const wan_conv *c, wan_buf *x)
{
    size_t wide = c->up ? dnnl_memory_desc_get_size(&p->src_md) : 0;
    size_t more = p->scratch ? dnnl_memory_desc_get_size(&p->scratch_md) : 0;
    if (!wide && !more)
        return 0;
    char *space = wan_dev_scratch(d, wide + more);
    if (!space)
        return -1;
    if (wide) {
        wan_conv_enlarge(space, x->p, c->T, c->H, c->W, c->Ci * (int64_t)wan_dtype_size(x->t));
        x->p = space;
    }
    return more ? at(p->scratch, space + wide) : 0;
}

static int execute(wan_dev *d, const plan *p, const wan_conv *c, wan_buf y, wan_buf x,
                   const void *w, const wan_real *b)
{
    dnnl_memory_t weights = find_packed(p, w);
    if (!weights)
        return -1;
    dnnl_exec_arg_t args[5] = { { DNNL_ARG_SRC, p->src },
                                { DNNL_ARG_WEIGHTS, weights },
                                { DNNL_ARG_DST, p->dst } };
    int n = 3;
    WAN_TRY(lay_out(d, p, c, &x));
    WAN_TRY(at(p->src, x.p));
    WAN_TRY(at(p->dst, y.p));
    if (b) {
        WAN_TRY(at(p->bias, b));
        args[n++] = (dnnl_exec_arg_t){ DNNL_ARG_BIAS, p->bias };
    }
    if (p->scratch)
        args[n++] = (dnnl_exec_arg_t){ DNNL_ARG_SCRATCHPAD, p->scratch };
    WAN_TRY(failed("convolution", dnnl_primitive_execute(p->prim, g.stream, n, args)));
    return failed("convolution", dnnl_stream_wait(g.stream));
}

/* One call, as wan_guard_dnnl takes it. */
typedef struct call {
    wan_dev *d;
    shape k;
    wan_buf y, x;
    const void *w;
    const wan_real *b;
    int missing; /* oneDNN has no kernel */
} call;

static int guarded(void *arg)
{
    call *c = (call *)arg;
    plan *p = plan_get(&c->k);
    if (!p)
        return -1;
    c->missing = !p->prim;
    return c->missing ? 0 : execute(c->d, p, &c->k.c, c->y, c->x, c->w, c->b);
}

int wan_conv_forward_dnnl(wan_dev *d, const wan_conv *c, wan_buf y, wan_buf x, wan_buf w,
                          const wan_real *b, int add)
{
    WAN_ROWS_CHECK_HALF("conv_forward", y, x, w);
    if (x.t == WAN_F16 || w.t == WAN_F16 || y.t == WAN_F16) {
        const int rc = wan_conv_widened(d, wan_conv_forward_dnnl, c, y, x, w, b, add);
        wan_conv_forget(d->aside); /* others come there */
        return rc;
    }
    call k;
    wan_conv folded = fold(*c);
    memset(&k, 0, sizeof k); /* its shape is compared by bytes */
    memcpy(&k.k.c, &folded, sizeof folded);
    k.k.tx = x.t, k.k.tw = w.t, k.k.ty = y.t, k.k.add = add != 0, k.k.bias = b != NULL;
    k.d = d, k.y = y, k.x = x, k.w = w.p, k.b = b;
    if (x.t != w.t || (x.t != WAN_BF16 && y.t != WAN_F32))
        return wan_conv_forward_c(d, c, y, x, w, b, add);
    if (wan_conv_wino_fits(c) && (x.t == WAN_F32 || wan_cpu_isa() != WAN_CPU_AMX))
        return wan_conv_wino(d, c, y, x, w, b, add);
    pthread_mutex_lock(&g.lock);
    int rc = wan_guard_dnnl(guarded, &k);
    reorder_tidy();
    pthread_mutex_unlock(&g.lock);
    return rc == 0 && k.missing ? wan_conv_forward_c(d, c, y, x, w, b, add) : rc;
}

void wan_conv_forget(const void *w)
{
    pthread_mutex_lock(&g.lock);
    int kept = 0;
    for (int i = 0; i < g.n_packs; i++) {
        if (g.packs[i].w == w)
            dnnl_memory_destroy(g.packs[i].mem);
        else
            g.packs[kept++] = g.packs[i];
    }
    g.n_packs = kept;
    pthread_mutex_unlock(&g.lock);
}

void wan_ops_fill_dnnl_vae(wan_ops *o)
{
    o->conv_forward = wan_conv_forward_dnnl;
}
