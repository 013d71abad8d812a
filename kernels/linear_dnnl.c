/* SPDX-License-Identifier: Apache-2.0
 *
 * linear_dnnl.c - dense layer through oneDNN's matmul (C API of 2.x).
 *
 * bf16 operands run in bf16 (AMX or AVX512-BF16) where the CPU has it and are widened to fp32
 * elsewhere; mixed operands are widened, so no precision is lost to a convenient type.
 * Primitives are made once per shape and kept (plans.h).  Scratchpad mode is `user`: in the default mode one
 * primitive must not run twice at a time, and oneDNN 2.6 does not say so (wrong results).
 */
#include <dnnl.h>
#include <pthread.h>
#include <stdlib.h>

#include "kernels/cpu.h"
#include "kernels/guard_dnnl.h"
#include "kernels/linear_simd.h"
#include "kernels/linear.h"
#include "kernels/ops.h"
#include "kernels/plans.h"
#include "kernels/rows.h"
#include "kernels/vector.h"

/* One matmul: C[M, N] = (C +) A[M, K] B[K, N] (+ bias); tr: A or B stored the other way round. */
typedef struct spec {
    int64_t M, N, K;
    dnnl_data_type_t in, out;
    int trA, trB, bias, add;
} spec;

typedef struct plan {
    int whole; /* 0: something was thrown while it was made */
    dnnl_primitive_t prim;
    dnnl_memory_t a, b, c, bias, scratch;
    size_t scratch_bytes;
    dnnl_primitive_attr_t attr; /* these three while it is made */
    dnnl_post_ops_t post;
    dnnl_primitive_desc_t pd;
} plan;

static void plan_free(void *value);

/* Packs of changing length make new shapes all the time, half a millisecond each. */
static wan_plans plans = WAN_PLANS(sizeof(spec), sizeof(plan), 1024, plan_free);
static dnnl_engine_t engine;
static dnnl_stream_t stream;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define DNNL_TRY(call)                                                                             \
    do {                                                                                           \
        dnnl_status_t st_ = (call);                                                                \
        if (st_ != dnnl_success)                                                                   \
            return wan_err("oneDNN: " #call " returned %d", (int)st_);                             \
    } while (0)

static int start(void)
{
    if (stream)
        return 0;
    /* oneDNN's own cache would keep what an error left half-made, and break at the next try */
    DNNL_TRY(dnnl_set_primitive_cache_capacity(0));
    if (!engine)
        DNNL_TRY(dnnl_engine_create(&engine, dnnl_cpu, 0));
    DNNL_TRY(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
    return 0;
}

/* What is needed only while a plan is made. */
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
    dnnl_memory_t m[5] = { p->a, p->b, p->c, p->bias, p->scratch };
    for (int i = 0; i < 5; i++)
        if (m[i])
            dnnl_memory_destroy(m[i]);
    if (p->prim)
        dnnl_primitive_destroy(p->prim);
    plan_tidy(p);
}

static int memory(dnnl_memory_t *m, const dnnl_memory_desc_t *d)
{
    DNNL_TRY(dnnl_memory_create(m, d, engine, DNNL_MEMORY_NONE));
    return 0;
}

static int describe(const spec *s, dnnl_memory_desc_t md[4])
{
    dnnl_dims_t da = { s->M, s->K }, db = { s->K, s->N }, dc = { s->M, s->N }, dv = { 1, s->N };
    DNNL_TRY(dnnl_memory_desc_init_by_tag(&md[0], 2, da, s->in, s->trA ? dnnl_ba : dnnl_ab));
    DNNL_TRY(dnnl_memory_desc_init_by_tag(&md[1], 2, db, s->in, s->trB ? dnnl_ba : dnnl_ab));
    DNNL_TRY(dnnl_memory_desc_init_by_tag(&md[2], 2, dc, s->out, dnnl_ab));
    DNNL_TRY(dnnl_memory_desc_init_by_tag(&md[3], 2, dv, dnnl_f32, dnnl_ab));
    return 0;
}

static int attributes(plan *p, const spec *s)
{
    DNNL_TRY(dnnl_primitive_attr_create(&p->attr));
    DNNL_TRY(dnnl_primitive_attr_set_scratchpad_mode(p->attr, dnnl_scratchpad_mode_user));
    if (!s->add)
        return 0;
    DNNL_TRY(dnnl_post_ops_create(&p->post));
    DNNL_TRY(dnnl_post_ops_append_sum(p->post, 1.0f));
    DNNL_TRY(dnnl_primitive_attr_set_post_ops(p->attr, p->post));
    return 0;
}

/* The primitive and its scratchpad. */
static int instantiate(plan *p)
{
    const dnnl_memory_desc_t *sp = dnnl_primitive_desc_query_md(p->pd, dnnl_query_scratchpad_md, 0);
    p->scratch_bytes = sp ? dnnl_memory_desc_get_size(sp) : 0;
    if (p->scratch_bytes)
        WAN_TRY(memory(&p->scratch, sp));
    DNNL_TRY(dnnl_primitive_create(&p->prim, p->pd));
    return 0;
}

static int plan_make(plan *p, const spec *s)
{
    dnnl_memory_desc_t md[4];
    dnnl_matmul_desc_t desc;
    WAN_TRY(describe(s, md));
    WAN_TRY(attributes(p, s));
    DNNL_TRY(dnnl_matmul_desc_init(&desc, &md[0], &md[1], s->bias ? &md[3] : NULL, &md[2]));
    if (dnnl_primitive_desc_create(&p->pd, &desc, p->attr, engine, NULL) != dnnl_success)
        return wan_err("oneDNN has no matmul for %lld x %lld x %lld", (long long)s->M,
                       (long long)s->N, (long long)s->K);
    WAN_TRY(instantiate(p));
    WAN_TRY(memory(&p->a, &md[0]));
    WAN_TRY(memory(&p->b, &md[1]));
    WAN_TRY(memory(&p->c, &md[2]));
    WAN_TRY(memory(&p->bias, &md[3]));
    plan_tidy(p);
    p->whole = 1;
    return 0;
}

/* The plan of s, made if need be; NULL: error recorded. */
static plan *plan_get(const spec *s)
{
    plan *p = (plan *)wan_plans_find(&plans, s);
    if (p && p->whole)
        return p;
    wan_plans_remove(&plans, s);
    if (wan_guard_room() < 0 || start() < 0)
        return NULL;
    p = (plan *)wan_plans_add(&plans, s);
    if (!p)
        return wan_err("oneDNN: out of memory"), NULL;
    if (plan_make(p, s) == 0)
        return p;
    wan_plans_remove(&plans, s);
    return NULL;
}

static int execute(plan *p, const void *a, const void *b, void *c, const float *bias, void *scratch)
{
    dnnl_exec_arg_t args[5] = { { DNNL_ARG_SRC, p->a },
                                { DNNL_ARG_WEIGHTS, p->b },
                                { DNNL_ARG_DST, p->c } };
    int n = 3;
    DNNL_TRY(dnnl_memory_set_data_handle(p->a, (void *)(uintptr_t)a));
    DNNL_TRY(dnnl_memory_set_data_handle(p->b, (void *)(uintptr_t)b));
    DNNL_TRY(dnnl_memory_set_data_handle(p->c, c));
    if (bias) {
        DNNL_TRY(dnnl_memory_set_data_handle(p->bias, (void *)(uintptr_t)bias));
        args[n++] = (dnnl_exec_arg_t){ DNNL_ARG_BIAS, p->bias };
    }
    if (p->scratch) {
        DNNL_TRY(dnnl_memory_set_data_handle(p->scratch, scratch));
        args[n++] = (dnnl_exec_arg_t){ DNNL_ARG_SCRATCHPAD, p->scratch };
    }
    DNNL_TRY(dnnl_primitive_execute(p->prim, stream, n, args));
    DNNL_TRY(dnnl_stream_wait(stream));
    return 0;
}

/* ---- operand types */

static size_t room(int64_t n) /* bytes of n floats, kept on cache lines */
{
    return ((size_t)n * sizeof(float) + 63) / 64 * 64;
}

/* *b becomes fp32: itself, or a widened copy at *space, which then moves on. */
static int widen(wan_dev *d, wan_buf *b, int64_t n, char **space)
{
    if (b->t == WAN_F32)
        return 0;
    wan_buf narrow = *b;
    *b = wan_buf_of(*space, WAN_F32);
    *space += room(n);
    return wan_cast_c(d, *b, narrow, n);
}

/* C = (C +) A B with operands of any type: sizes na, nb, nc in elements.  An output that oneDNN
 * cannot write from fp32 operands is made in fp32 and narrowed. */
static int product(wan_dev *d, spec s, wan_buf a, wan_buf b, wan_buf c, const float *bias)
{
    int64_t na = s.M * s.K, nb = s.K * s.N, nc = s.M * s.N;
    int half = a.t == WAN_BF16 && b.t == WAN_BF16 && wan_cpu_isa() >= WAN_CPU_BF16;
    int narrow = !half && c.t == WAN_BF16;
    if (na == 0 || nb == 0 || nc == 0)
        return wan_err("linear: empty operand %lld x %lld x %lld", (long long)s.M, (long long)s.N,
                       (long long)s.K);
    s.in = half ? dnnl_bf16 : dnnl_f32;
    s.out = c.t == WAN_BF16 && !narrow ? dnnl_bf16 : dnnl_f32;
    s.bias = bias != NULL;
    plan *p = plan_get(&s);
    if (!p)
        return -1;
    size_t need = p->scratch_bytes + 64;
    need += (half ? 0 : room(na) + room(nb)) + (narrow ? room(nc) : 0);
    char *space = (char *)wan_dev_scratch(d, need), *pad = space;
    if (!space)
        return -1;
    space += (p->scratch_bytes + 63) / 64 * 64;
    if (!half) {
        WAN_TRY(widen(d, &a, na, &space));
        WAN_TRY(widen(d, &b, nb, &space));
    }
    wan_buf out = narrow ? wan_buf_of(space, WAN_F32) : c;
    if (narrow && s.add)
        WAN_TRY(wan_cast_c(d, out, c, nc));
    WAN_TRY(execute(p, a.p, b.p, out.p, bias, pad));
    return narrow ? wan_cast_c(d, c, out, nc) : 0;
}

/* One call, as wan_guard_dnnl takes it. */
typedef struct call {
    wan_dev *d;
    spec s;
    wan_buf a, b, c;
    const float *bias;
} call;

static int guarded(void *arg)
{
    call *k = (call *)arg;
    return product(k->d, k->s, k->a, k->b, k->c, k->bias);
}

static int locked(wan_dev *d, const spec *s, wan_buf a, wan_buf b, wan_buf c, const float *bias)
{
    call k = { d, *s, a, b, c, bias };
    pthread_mutex_lock(&lock);
    int rc = wan_guard_dnnl(guarded, &k);
    pthread_mutex_unlock(&lock);
    return rc;
}

/* A spec without padding noise, so that memcmp compares it. */
static spec spec_of(int64_t M, int64_t N, int64_t K, int trA, int trB, int add)
{
    spec s;
    memset(&s, 0, sizeof s);
    s.M = M;
    s.N = N;
    s.K = K;
    s.trA = trA;
    s.trB = trB;
    s.add = add != 0;
    return s;
}

/* ---- the op */

/* Measured (tests/bench): without AMX the tiles of linear_simd.c are as fast forward and 5-20 %
 * faster backward from about 2^29 multiply-adds; below, and with AMX, oneDNN is ahead. */
static int better_without(int64_t M, int64_t N, int64_t K)
{
    return wan_cpu_isa() != WAN_CPU_AMX && (double)M * (double)N * (double)K > 1 << 29;
}

/* Weight gradients so narrow that threads share out whole rows: 5 to 10 % faster in a step, where dw comes from memory,
 * and what another core wrote is packed once. */
static int better_packed(wan_buf dy, wan_buf x, int64_t K)
{
    return wan_cpu_isa() == WAN_CPU_BF16 && dy.t == WAN_BF16 && x.t == WAN_BF16 && K <= 384;
}

/* Operands that oneDNN would have to be widened for first: while they are packed it costs less, from some
 * rows on. */
static int better_widened(wan_buf a, wan_buf b, int64_t rows)
{
    return wan_cpu_isa() == WAN_CPU_PORTABLE && (a.t == WAN_BF16 || b.t == WAN_BF16) && rows >= 128;
}

/* oneDNN 2.6 on AMX: where the last block of the sum (K) is one short of full, it runs the kernel
 * for the remaining rows or columns under the tile shapes of whole blocks: an illegal instruction,
 * or rows too many (brgemm_matmul.cpp, compute_kernel: K_tail is rounded up to an even number
 * before it is compared).  tests/kernels/amx shows it. */
static int odd_on_amx(wan_buf a, wan_buf b, int64_t K)
{
    return wan_cpu_isa() == WAN_CPU_AMX && a.t == WAN_BF16 && b.t == WAN_BF16 && K % 2;
}

int wan_linear_forward_dnnl(wan_dev *d, wan_buf y, wan_buf pre, wan_buf x, wan_buf w,
                            const wan_real *b, int64_t M, int64_t N, int64_t K, enum wan_act act)
{
    WAN_ROWS_CHECK("linear_forward", y, x, pre.p ? pre : y);
    WAN_TRY(wan_rows_check_weights("linear_forward", w, K));
    if (wan_quant_of(w.t) || better_without(M, N, K) || better_widened(x, w, M) ||
        odd_on_amx(x, w, K))
        return wan_linear_forward_simd(d, y, pre, x, w, b, M, N, K, act);
    spec s = spec_of(M, N, K, 0, 1, 0);
    wan_buf z = pre.p ? pre : y;
    WAN_TRY(locked(d, &s, x, w, z, b));
    if (act == WAN_ACT_NONE)
        return z.p == y.p ? 0 : d->ops->cast(d, y, z, M * N);
    return d->ops->act_forward(d, y, z, M * N, act);
}

int wan_linear_dgrad_dnnl(wan_dev *d, wan_buf dx, wan_buf dy, wan_buf w, int64_t M, int64_t N,
                          int64_t K, int accumulate)
{
    WAN_ROWS_CHECK("linear_dgrad", dx, dy, w);
    if (better_without(M, N, K) || better_widened(dy, w, M) || odd_on_amx(dy, w, N))
        return wan_linear_dgrad_simd(d, dx, dy, w, M, N, K, accumulate);
    spec s = spec_of(M, K, N, 0, 0, accumulate);
    return locked(d, &s, dy, w, dx, NULL);
}

int wan_linear_dgrad_act_dnnl(wan_dev *d, wan_buf dx, wan_buf dy, wan_buf w, wan_buf z, int64_t M,
                              int64_t N, int64_t K, enum wan_act act)
{
    WAN_ROWS_CHECK("linear_dgrad_act", dx, dy, w, z);
    if (better_without(M, N, K) || better_widened(dy, w, M) || odd_on_amx(dy, w, N))
        return wan_linear_dgrad_act_simd(d, dx, dy, w, z, M, N, K, act);
    WAN_TRY(wan_linear_dgrad_dnnl(d, dx, dy, w, M, N, K, 0));
    return d->ops->act_backward(d, dx, dx, z, M * K, act);
}

int wan_linear_wgrad_dnnl(wan_dev *d, wan_real *dw, wan_real *db, wan_buf dy, wan_buf x, int64_t M,
                          int64_t N, int64_t K, int accumulate)
{
    WAN_ROWS_CHECK("linear_wgrad", dy, x);
    if (better_without(M, N, K) || better_packed(dy, x, K) || odd_on_amx(dy, x, M))
        return wan_linear_wgrad_simd(d, dw, db, dy, x, M, N, K, accumulate);
    spec s = spec_of(N, K, M, 1, 0, accumulate);
    WAN_TRY(locked(d, &s, dy, x, WAN_RBUF(dw), NULL));
    if (db)
        wan_linear_bias_grad(db, dy, M, N, accumulate);
    return 0;
}
