/* SPDX-License-Identifier: Apache-2.0
 *
 * linear_dnnl.c - dense layer through oneDNN's matmul (C API of 2.x).
 *
 * bf16 operands run in bf16 (AMX or AVX512-BF16) where the CPU has it and are widened to fp32
 * elsewhere; mixed operands are widened, so no precision is lost to a convenient type.
 * Primitives are made once per shape and kept.  Scratchpad mode is `user`: in the default mode one
 * primitive must not run twice at a time, and oneDNN 2.6 does not say so (wrong results).
 */
#include <dnnl.h>
#include <pthread.h>
#include <stdlib.h>

#include "kernels/cpu.h"
#include "kernels/linear_simd.h"
#include "kernels/linear.h"
#include "kernels/ops.h"
#include "kernels/rows.h"
#include "kernels/vector.h"

/* One matmul: C[M, N] = (C +) A[M, K] B[K, N] (+ bias); tr: A or B stored the other way round. */
typedef struct spec {
    int64_t M, N, K;
    dnnl_data_type_t in, out;
    int trA, trB, bias, add;
} spec;

typedef struct entry {
    spec s;
    uint64_t used; /* time of last use; 0: free */
    dnnl_primitive_t prim;
    dnnl_memory_t a, b, c, bias, scratch;
    size_t scratch_bytes;
} entry;

/* Packs of changing length make new shapes all the time, half a millisecond each; a shape may stand
 * in any of the WAYS places of its set, and the least recently used one goes. */
enum { SETS = 128, WAYS = 8 };
static entry cache[SETS][WAYS];
static uint64_t clock_;
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
    if (engine)
        return 0;
    DNNL_TRY(dnnl_engine_create(&engine, dnnl_cpu, 0));
    DNNL_TRY(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
    return 0;
}

static void entry_free(entry *e)
{
    dnnl_memory_t m[5] = { e->a, e->b, e->c, e->bias, e->scratch };
    for (int i = 0; i < 5; i++)
        if (m[i])
            dnnl_memory_destroy(m[i]);
    if (e->prim)
        dnnl_primitive_destroy(e->prim);
    memset(e, 0, sizeof *e);
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

static int attributes(dnnl_primitive_attr_t attr, const spec *s)
{
    DNNL_TRY(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user));
    if (!s->add)
        return 0;
    dnnl_post_ops_t ops;
    DNNL_TRY(dnnl_post_ops_create(&ops));
    dnnl_status_t a = dnnl_post_ops_append_sum(ops, 1.0f);
    dnnl_status_t b = dnnl_primitive_attr_set_post_ops(attr, ops);
    dnnl_post_ops_destroy(ops);
    DNNL_TRY(a);
    DNNL_TRY(b);
    return 0;
}

/* The primitive and its scratchpad from a primitive descriptor. */
static int instantiate(entry *e, const_dnnl_primitive_desc_t pd)
{
    const dnnl_memory_desc_t *sp = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    e->scratch_bytes = sp ? dnnl_memory_desc_get_size(sp) : 0;
    if (e->scratch_bytes)
        WAN_TRY(memory(&e->scratch, sp));
    DNNL_TRY(dnnl_primitive_create(&e->prim, pd));
    return 0;
}

static int entry_make(entry *e, const spec *s)
{
    dnnl_memory_desc_t md[4];
    dnnl_matmul_desc_t desc;
    dnnl_primitive_attr_t attr;
    dnnl_primitive_desc_t pd = NULL;
    WAN_TRY(describe(s, md));
    DNNL_TRY(dnnl_matmul_desc_init(&desc, &md[0], &md[1], s->bias ? &md[3] : NULL, &md[2]));
    DNNL_TRY(dnnl_primitive_attr_create(&attr));
    int rc = attributes(attr, s);
    if (rc == 0 && dnnl_primitive_desc_create(&pd, &desc, attr, engine, NULL) != dnnl_success)
        rc = wan_err("oneDNN has no matmul for %lld x %lld x %lld", (long long)s->M,
                     (long long)s->N, (long long)s->K);
    dnnl_primitive_attr_destroy(attr);
    if (rc == 0)
        rc = instantiate(e, pd);
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    WAN_TRY(rc);
    WAN_TRY(memory(&e->a, &md[0]));
    WAN_TRY(memory(&e->b, &md[1]));
    WAN_TRY(memory(&e->c, &md[2]));
    WAN_TRY(memory(&e->bias, &md[3]));
    e->s = *s;
    return 0;
}

static entry *set_of(const spec *s)
{
    uint64_t h = (uint64_t)s->M * 0x9e3779b97f4a7c15u;
    h = (h ^ h >> 29 ^ (uint64_t)s->N) * 0xbf58476d1ce4e5b9u;
    h = (h ^ h >> 32 ^ (uint64_t)s->K) * 0x94d049bb133111ebu;
    return cache[(h >> 40) % SETS];
}

/* The entry for s, made if need be; NULL: error recorded. */
static entry *find(const spec *s)
{
    entry *set = set_of(s), *old = set;
    for (int i = 0; i < WAYS; i++) {
        if (set[i].used && memcmp(&set[i].s, s, sizeof *s) == 0) {
            set[i].used = ++clock_;
            return &set[i];
        }
        if (set[i].used < old->used)
            old = &set[i];
    }
    entry_free(old);
    if (start() < 0 || entry_make(old, s) < 0) {
        entry_free(old);
        return NULL;
    }
    old->used = ++clock_;
    return old;
}

static int execute(entry *e, const void *a, const void *b, void *c, const float *bias,
                   void *scratch)
{
    dnnl_exec_arg_t args[5] = { { DNNL_ARG_SRC, e->a },
                                { DNNL_ARG_WEIGHTS, e->b },
                                { DNNL_ARG_DST, e->c } };
    int n = 3;
    DNNL_TRY(dnnl_memory_set_data_handle(e->a, (void *)(uintptr_t)a));
    DNNL_TRY(dnnl_memory_set_data_handle(e->b, (void *)(uintptr_t)b));
    DNNL_TRY(dnnl_memory_set_data_handle(e->c, c));
    if (bias) {
        DNNL_TRY(dnnl_memory_set_data_handle(e->bias, (void *)(uintptr_t)bias));
        args[n++] = (dnnl_exec_arg_t){ DNNL_ARG_BIAS, e->bias };
    }
    if (e->scratch) {
        DNNL_TRY(dnnl_memory_set_data_handle(e->scratch, scratch));
        args[n++] = (dnnl_exec_arg_t){ DNNL_ARG_SCRATCHPAD, e->scratch };
    }
    DNNL_TRY(dnnl_primitive_execute(e->prim, stream, n, args));
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
    entry *e = find(&s);
    if (!e)
        return -1;
    size_t need = e->scratch_bytes + 64;
    need += (half ? 0 : room(na) + room(nb)) + (narrow ? room(nc) : 0);
    char *space = (char *)wan_dev_scratch(d, need), *pad = space;
    if (!space)
        return -1;
    space += (e->scratch_bytes + 63) / 64 * 64;
    if (!half) {
        WAN_TRY(widen(d, &a, na, &space));
        WAN_TRY(widen(d, &b, nb, &space));
    }
    wan_buf out = narrow ? wan_buf_of(space, WAN_F32) : c;
    if (narrow && s.add)
        WAN_TRY(wan_cast_c(d, out, c, nc));
    WAN_TRY(execute(e, a.p, b.p, out.p, bias, pad));
    return narrow ? wan_cast_c(d, c, out, nc) : 0;
}

static int locked(wan_dev *d, const spec *s, wan_buf a, wan_buf b, wan_buf c, const float *bias)
{
    pthread_mutex_lock(&lock);
    int rc = product(d, *s, a, b, c, bias);
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
    WAN_ROWS_CHECK("linear_forward", y, x, w, pre.p ? pre : y);
    if (better_without(M, N, K) || odd_on_amx(x, w, K))
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
    if (better_without(M, N, K) || odd_on_amx(dy, w, N))
        return wan_linear_dgrad_simd(d, dx, dy, w, M, N, K, accumulate);
    spec s = spec_of(M, K, N, 0, 0, accumulate);
    return locked(d, &s, dy, w, dx, NULL);
}

int wan_linear_wgrad_dnnl(wan_dev *d, wan_real *dw, wan_real *db, wan_buf dy, wan_buf x, int64_t M,
                          int64_t N, int64_t K, int accumulate)
{
    WAN_ROWS_CHECK("linear_wgrad", dy, x);
    if (better_without(M, N, K) || odd_on_amx(dy, x, M))
        return wan_linear_wgrad_simd(d, dw, db, dy, x, M, N, K, accumulate);
    spec s = spec_of(N, K, M, 1, 0, accumulate);
    WAN_TRY(locked(d, &s, dy, x, WAN_RBUF(dw), NULL));
    if (db)
        wan_linear_bias_grad(db, dy, M, N, accumulate);
    return 0;
}
