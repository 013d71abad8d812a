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

#include "kernels/conv.h"
#include "kernels/ops_vae.h"
#include "kernels/rows.h"

#define MAX_PLANS 512

typedef struct plan {
    wan_conv c;
    wan_dtype tx, tw, ty;
    int add, bias;
    dnnl_primitive_t prim; /* NULL: oneDNN has no kernel, the reference runs */
    dnnl_memory_desc_t src, dst, plain, packed, bias_md, scratch;
} plan;

typedef struct packed {
    const void *w;
    dnnl_memory_desc_t md, plain;
    dnnl_memory_t mem;
} packed;

static struct {
    pthread_mutex_t lock;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    plan **plans;
    int n_plans;
    packed *packs;
    int n_packs;
} g = { .lock = PTHREAD_MUTEX_INITIALIZER };

static int failed(const char *what, dnnl_status_t s)
{
    return s == dnnl_success ? 0 : wan_err("oneDNN: %s failed with status %d", what, (int)s);
}

static int start(void)
{
    if (g.stream)
        return 0;
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
        !c.right) {
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
static void describe(plan *p, dnnl_dims_t stride, dnnl_dims_t before, dnnl_dims_t after)
{
    const wan_conv *c = &p->c;
    dnnl_dim_t To = (c->T - c->kt) / c->st + 1;
    dnnl_dim_t Ho = (c->H + c->top + c->bottom - c->kh) / c->sh + 1;
    dnnl_dim_t Wo = (c->W + c->left + c->right - c->kw) / c->sw + 1;
    int flat = c->kt == 1 && c->st == 1, n = flat ? 4 : 5;
    dnnl_dims_t x5 = { 1, c->Ci, c->T, c->H, c->W }, y5 = { 1, c->Co, To, Ho, Wo };
    dnnl_dims_t w5 = { c->Co, c->Ci, c->kt, c->kh, c->kw };
    dnnl_dims_t x4 = { c->T, c->Ci, c->H, c->W }, y4 = { To, c->Co, Ho, Wo };
    dnnl_dims_t w4 = { c->Co, c->Ci, c->kh, c->kw }, co = { c->Co };
    dnnl_dim_t s5[] = { c->st, c->sh, c->sw }, b5[] = { 0, c->top, c->left };
    dnnl_dim_t a5[] = { 0, c->bottom, c->right };
    memcpy(stride, s5 + flat, (size_t)(3 - flat) * sizeof *s5);
    memcpy(before, b5 + flat, (size_t)(3 - flat) * sizeof *b5);
    memcpy(after, a5 + flat, (size_t)(3 - flat) * sizeof *a5);
    dnnl_format_tag_t data = flat ? dnnl_nhwc : dnnl_ndhwc;
    dnnl_memory_desc_init_by_tag(&p->src, n, flat ? x4 : x5, type_of(p->tx), data);
    dnnl_memory_desc_init_by_tag(&p->dst, n, flat ? y4 : y5, type_of(p->ty), data);
    dnnl_memory_desc_init_by_tag(&p->plain, n, flat ? w4 : w5, type_of(p->tw),
                                 flat ? dnnl_ohwi : dnnl_odhwi);
    dnnl_memory_desc_init_by_tag(&p->packed, n, flat ? w4 : w5, type_of(p->tw),
                                 dnnl_format_tag_any);
    dnnl_memory_desc_init_by_tag(&p->bias_md, 1, co, dnnl_f32, dnnl_a);
}

/* A missing kernel is not an error: prim stays NULL. */
static int build(plan *p)
{
    dnnl_dims_t stride, before, after;
    describe(p, stride, before, after);
    dnnl_convolution_desc_t cd;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t post = NULL;
    dnnl_primitive_desc_t pd = NULL;
    WAN_TRY(failed("attributes", dnnl_primitive_attr_create(&attr)));
    dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (p->add && dnnl_post_ops_create(&post) == dnnl_success) {
        dnnl_post_ops_append_sum(post, 1.0f);
        dnnl_primitive_attr_set_post_ops(attr, post);
        dnnl_post_ops_destroy(post);
    }
    if (dnnl_convolution_forward_desc_init(&cd, dnnl_forward_inference, dnnl_convolution_direct,
                                           &p->src, &p->packed, p->bias ? &p->bias_md : NULL,
                                           &p->dst, stride, before, after) == dnnl_success)
        dnnl_primitive_desc_create(&pd, &cd, attr, g.engine, NULL);
    dnnl_primitive_attr_destroy(attr);
    if (!pd)
        return 0;
    p->packed = *dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    p->scratch = *dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    dnnl_status_t s = dnnl_primitive_create(&p->prim, pd);
    dnnl_primitive_desc_destroy(pd);
    return failed("convolution", s);
}

/* Clips of ever new sizes must not fill the memory: then all start anew. */
static void limit_plans(void)
{
    if (g.n_plans < MAX_PLANS)
        return;
    for (int i = 0; i < g.n_plans; i++) {
        dnnl_primitive_destroy(g.plans[i]->prim);
        free(g.plans[i]);
    }
    g.n_plans = 0;
}

static plan *find_plan(const plan *key)
{
    for (int i = 0; i < g.n_plans; i++) {
        plan *p = g.plans[i];
        if (!memcmp(&p->c, &key->c, sizeof p->c) && p->tx == key->tx && p->tw == key->tw &&
            p->ty == key->ty && p->add == key->add && p->bias == key->bias)
            return p;
    }
    limit_plans();
    plan **grown = realloc(g.plans, (size_t)(g.n_plans + 1) * sizeof *grown);
    if (!grown)
        return wan_err("out of memory"), NULL;
    g.plans = grown;
    plan *p = malloc(sizeof *p);
    if (!p)
        return wan_err("out of memory"), NULL;
    *p = *key;
    if (build(p) < 0) {
        free(p);
        return NULL;
    }
    return g.plans[g.n_plans++] = p;
}

static dnnl_memory_t wrap(const dnnl_memory_desc_t *md, const void *p)
{
    dnnl_memory_t m = NULL;
    return dnnl_memory_create(&m, md, g.engine, (void *)p) == dnnl_success ? m : NULL;
}

static int reorder(dnnl_memory_t to, const dnnl_memory_desc_t *to_md, const void *w,
                   const dnnl_memory_desc_t *md)
{
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t prim = NULL;
    dnnl_memory_t from = wrap(md, w);
    dnnl_status_t s = dnnl_reorder_primitive_desc_create(&pd, md, g.engine, to_md, g.engine, NULL);
    if (s == dnnl_success)
        s = dnnl_primitive_create(&prim, pd);
    dnnl_exec_arg_t args[] = { { DNNL_ARG_FROM, from }, { DNNL_ARG_TO, to } };
    if (s == dnnl_success)
        s = dnnl_primitive_execute(prim, g.stream, 2, args);
    if (s == dnnl_success)
        s = dnnl_stream_wait(g.stream);
    dnnl_primitive_destroy(prim);
    dnnl_primitive_desc_destroy(pd);
    dnnl_memory_destroy(from);
    return failed("reorder of weights", s);
}

/* The weights at w in the layout p wants. */
static dnnl_memory_t find_packed(const plan *p, const void *w)
{
    for (int i = 0; i < g.n_packs; i++)
        if (g.packs[i].w == w && dnnl_memory_desc_equal(&g.packs[i].md, &p->packed) &&
            dnnl_memory_desc_equal(&g.packs[i].plain, &p->plain))
            return g.packs[i].mem;
    packed *grown = realloc(g.packs, (size_t)(g.n_packs + 1) * sizeof *grown);
    if (!grown)
        return wan_err("out of memory"), NULL;
    g.packs = grown;
    packed k = { w, p->packed, p->plain, NULL };
    if (dnnl_memory_desc_equal(&p->plain, &p->packed)) {
        k.mem = wrap(&p->plain, w);
    } else {
        dnnl_memory_create(&k.mem, &p->packed, g.engine, DNNL_MEMORY_ALLOCATE);
        if (k.mem && reorder(k.mem, &p->packed, w, &p->plain) < 0) {
            dnnl_memory_destroy(k.mem);
            return NULL;
        }
    }
    if (!k.mem)
        return wan_err("out of memory for reordered convolution weights"), NULL;
    g.packs[g.n_packs++] = k;
    return k.mem;
}

static int execute(wan_dev *d, const plan *p, wan_buf y, wan_buf x, const void *w,
                   const wan_real *b)
{
    dnnl_memory_t weights = find_packed(p, w);
    if (!weights)
        return -1;
    size_t need = dnnl_memory_desc_get_size(&p->scratch);
    void *space = need ? wan_dev_scratch(d, need) : NULL;
    if (need && !space)
        return -1;
    dnnl_memory_t src = wrap(&p->src, x.p), dst = wrap(&p->dst, y.p);
    dnnl_memory_t bias = b ? wrap(&p->bias_md, b) : NULL;
    dnnl_memory_t pad = need ? wrap(&p->scratch, space) : NULL;
    dnnl_exec_arg_t args[5] = { { DNNL_ARG_SRC, src },
                                { DNNL_ARG_WEIGHTS, weights },
                                { DNNL_ARG_DST, dst } };
    int n = 3;
    if (b)
        args[n++] = (dnnl_exec_arg_t){ DNNL_ARG_BIAS, bias };
    if (need)
        args[n++] = (dnnl_exec_arg_t){ DNNL_ARG_SCRATCHPAD, pad };
    dnnl_status_t s = dnnl_primitive_execute(p->prim, g.stream, n, args);
    if (s == dnnl_success)
        s = dnnl_stream_wait(g.stream);
    dnnl_memory_destroy(src);
    dnnl_memory_destroy(dst);
    dnnl_memory_destroy(bias);
    dnnl_memory_destroy(pad);
    return failed("convolution", s);
}

int wan_conv_forward_dnnl(wan_dev *d, const wan_conv *c, wan_buf y, wan_buf x, wan_buf w,
                          const wan_real *b, int add)
{
    WAN_ROWS_CHECK("conv_forward", y, x, w);
    int native = x.t == w.t && (x.t == WAN_BF16 || y.t == WAN_F32);
    plan key;
    memset(&key, 0, sizeof key);
    wan_conv folded = fold(*c);
    memcpy(&key.c, &folded, sizeof folded);
    key.tx = x.t, key.tw = w.t, key.ty = y.t, key.add = add != 0, key.bias = b != NULL;
    int rc = -1;
    pthread_mutex_lock(&g.lock);
    plan *p = native && start() == 0 ? find_plan(&key) : NULL;
    if (p && p->prim)
        rc = execute(d, p, y, x, w.p, b);
    pthread_mutex_unlock(&g.lock);
    if (!native || (p && !p->prim))
        return wan_conv_forward_c(d, c, y, x, w, b, add);
    return rc;
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
