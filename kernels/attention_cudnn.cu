/* SPDX-License-Identifier: Apache-2.0
 *
 * attention_cudnn.cu - attention by cuDNN: plans per shape, and the memory they need.
 *
 * Self-attention of one sample is a dense graph.  Packs, and cross-attention with its ever new
 * number of text rows, are ragged graphs whose upper bounds are rounded up: cuDNN compiles a kernel
 * for seconds per shape, so there must be few.  A pack that would be mostly padding is taken sample by
 * sample, each a ragged graph of one.  Before compute capability 9.0, where cuDNN has no deterministic
 * ragged backward, samples are taken one by one as dense graphs.
 * The deterministic backward keeps ds [heads, sq, sk] in bf16, which is large: heads are taken a
 * few at a time so that it stays below WAN_SPACE_SCORES where one head does (space.h).
 */
#include "kernels/plans.h"
#include "kernels/sdpa.cuh"
#include "kernels/sdpa_graph.cuh"
#include "kernels/space.h"

/* Older ones do not clear dq's sums before they add to them (to 9.5), or err where the number of
 * keys is no multiple of 128 (to 9.15). */
enum : size_t { OLDEST = 91600 };

/* A plan is a compiled kernel, of a megabyte or so. */
enum { MAX_PLANS = 64 };

/* What is kept for a shape. */
struct kept {
    sdpa_plan *p;
    cudaStream_t stream;
    std::vector<sdpa_plan *> *taped; /* the device's */
};

struct wan_cuda_sdpa {
    cudnnHandle_t handle;           /* NULL: cuDNN cannot be used here, which was said */
    wan_plans plans;                /* sdpa_shape -> kept */
    std::vector<sdpa_plan *> taped; /* no longer among the plans */
};

static int dnn_check(cudnnStatus_t s, const char *what)
{
    if (s == CUDNN_STATUS_SUCCESS)
        return 0;
    char text[256] = "";
    cudnnGetLastErrorString(text, sizeof text);
    return wan_cuda_host->err("cuDNN: %s: %s: %s", what, cudnnGetErrorString(s), text);
}
#define DNN_TRY(call) WAN_TRY(dnn_check((call), #call))

/* *h stays NULL where cuDNN cannot be used, which is said. */
static int handle_new(wan_dev *d, cudnnHandle_t *h)
{
    size_t v = cudnnGetVersion();
    *h = NULL;
    if (v < OLDEST)
        return cuda_slower(d,
                           "attention: cuDNN %zu.%zu is older than 9.16; the plain kernel is used",
                           v / 10000, v / 100 % 100);
    cudnnStatus_t s = cudnnCreate(h);
    if (s == CUDNN_STATUS_SUCCESS)
        s = cudnnSetStream(*h, cuda_stream(d));
    if (s == CUDNN_STATUS_SUCCESS)
        return 0;
    if (*h)
        cudnnDestroy(*h);
    *h = NULL;
    return cuda_slower(d, "attention: cuDNN does not start: %s; the plain kernel is used",
                       cudnnGetErrorString(s));
}

static void plan_free(void *value)
{
    kept *k = (kept *)value;
    if (!k->p)
        return;
    if (k->p->taped) {
        k->taped->push_back(k->p);
        return;
    }
    cudaStreamSynchronize(k->stream); /* its kernel may still run */
    sdpa_graph_free(k->p);
    delete k->p;
}

static const wan_plans no_plans = WAN_PLANS(sizeof(sdpa_shape), sizeof(kept), MAX_PLANS, plan_free);

/* NULL: failed (error recorded). */
static wan_cuda_sdpa *sdpa_open(wan_dev *d)
{
    wan_cuda *c = cuda_of(d);
    cudnnHandle_t h;
    if (c->sdpa)
        return c->sdpa;
    if (handle_new(d, &h) < 0)
        return NULL;
    c->sdpa = new wan_cuda_sdpa();
    c->sdpa->handle = h;
    c->sdpa->plans = no_plans;
    return c->sdpa;
}

void cuda_sdpa_close(wan_dev *d)
{
    wan_cuda_sdpa *s = cuda_of(d)->sdpa;
    if (!s)
        return;
    wan_plans_clear(&s->plans);
    for (sdpa_plan *p : s->taped) {
        sdpa_graph_free(p);
        delete p;
    }
    if (s->handle)
        cudnnDestroy(s->handle);
    delete s;
    cuda_of(d)->sdpa = NULL;
}

/* Says what is not as it should be with a plan; -1: refused. */
static int judge(wan_dev *d, const sdpa_plan *p)
{
    const sdpa_shape *s = &p->shape;
    if (!p->found)
        return cuda_slower(d,
                           "attention: cuDNN has no engine for %lld x %lld tokens, head size %lld, "
                           "%s%s (%s)",
                           (long long)s->sq, (long long)s->sk, (long long)s->hd,
                           s->backward ? "backward" : "forward",
                           s->ragged ? ", ragged; samples are taken one by one"
                                     : "; the plain kernel is used",
                           p->why);
    if (p->nondeterministic && s->deterministic)
        return cuda_slower(d,
                           "attention: cuDNN marks its only engine for %lld x %lld tokens as not "
                           "deterministic",
                           (long long)s->sq, (long long)s->sk);
    return 0;
}

static int plan_make(wan_dev *d, kept *k, const sdpa_shape *shape)
{
    k->stream = cuda_stream(d);
    k->taped = &cuda_of(d)->sdpa->taped;
    k->p = new sdpa_plan();
    k->p->shape = *shape;
    k->p->sm = cuda_of(d)->sm;
    WAN_TRY(sdpa_graph_describe(k->p));
    sdpa_graph_plan(k->p, cuda_of(d)->sdpa->handle, NULL);
    return judge(d, k->p);
}

/* The plan of a shape, made at first use and kept; NULL: failed (error recorded). */
static sdpa_plan *plan_get(wan_dev *d, const sdpa_shape *shape)
{
    wan_plans *plans = &cuda_of(d)->sdpa->plans;
    kept *k = (kept *)wan_plans_find(plans, shape);
    if (!k) {
        k = (kept *)wan_plans_add(plans, shape);
        if (!k) {
            wan_cuda_host->err("attention: out of memory for plans");
            return NULL;
        }
        if (plan_make(d, k, shape) < 0) {
            wan_plans_remove(plans, shape);
            return NULL;
        }
    }
    k->p->taped |= cuda_of(d)->recording;
    return k->p;
}

/* ---- running */

/* Device pointers by uid; NULL: the graph has no such tensor. */
struct bindings {
    void *p[SDPA_UIDS];
    float scale, one, masked;
};

static int execute(wan_dev *d, const sdpa_plan *p, bindings *b, void *workspace)
{
    int64_t uid[SDPA_UIDS], n = 0;
    void *ptr[SDPA_UIDS];
    cudnnBackendDescriptor_t pack = NULL;
    b->one = 1;
    b->masked = -INFINITY; /* its exponential is 0 whatever is subtracted */
    b->p[SDPA_SCALE] = &b->scale;
    b->p[SDPA_ONE] = p->shape.backward ? &b->one : NULL;
    b->p[SDPA_MASKED] = p->shape.ragged ? &b->masked : NULL;
    for (int u = SDPA_Q; u < SDPA_UIDS; u++)
        if (b->p[u]) {
            uid[n] = u;
            ptr[n++] = b->p[u];
        }
    DNN_TRY(cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack));
    cudnnStatus_t s[5] = {
        cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, n,
                                 uid),
        cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR,
                                 n, ptr),
        cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1,
                                 &workspace),
        cudnnBackendFinalize(pack),
        cudnnBackendExecute(cuda_of(d)->sdpa->handle, p->plan, pack),
    };
    int bad = 0;
    for (int i = 0; i < 5 && !bad; i++)
        bad = dnn_check(s[i], p->shape.backward ? "attention backward" : "attention forward") < 0;
    cudnnBackendDestroyDescriptor(pack);
    return bad ? -1 : 0;
}

/* ---- ragged operands */

/* Lengths and element offsets of n samples, from the start of the first: six arrays of n+1 at `out`. */
static __global__ void pack_offsets(int32_t *out, const int32_t *cuq, const int32_t *cuk, int n,
                                    int64_t ldq, int64_t ldk, int64_t ldv, int64_t ldo)
{
    for (int i = threadIdx.x; i <= n; i += blockDim.x) {
        int m = n + 1;
        out[i] = i < n ? cuq[i + 1] - cuq[i] : 0;
        out[m + i] = i < n ? cuk[i + 1] - cuk[i] : 0;
        int64_t q = cuq[i] - cuq[0], k = cuk[i] - cuk[0];
        out[2 * m + i] = (int32_t)(q * ldq);
        out[3 * m + i] = (int32_t)(k * ldk);
        out[4 * m + i] = (int32_t)(k * ldv);
        out[5 * m + i] = (int32_t)(q * ldo);
    }
}

/* out [b, sk] = the key biases of samples first .. first+b, 0 behind their ends */
static __global__ void pack_bias(float *out, const float *kbias, const int32_t *cuk, int first,
                                 int64_t sk)
{
    int64_t i = first + blockIdx.x, k0 = cuk[i], n = cuk[i + 1] - k0;
    for (int64_t j = threadIdx.x; j < sk; j += blockDim.x)
        out[blockIdx.x * sk + j] = j < n ? kbias[k0 + j] : 0;
}

/* lse [H, Sq] <-> padded [b, heads, sq] for heads h0 .. of samples first ..; to: into padded (0
 * behind a sample's end), else out of it */
static __global__ void pack_stats(float *padded, float *lse, const int32_t *cuq, int first,
                                  int64_t Sq, int64_t heads, int64_t h0, int64_t sq, int64_t total,
                                  int to)
{
    int64_t k = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= total)
        return;
    int64_t s = k % sq, h = k / sq % heads, i = first + k / (sq * heads);
    int inside = s < cuq[i + 1] - cuq[i];
    float *l = lse + (h0 + h) * Sq + cuq[i] + s;
    if (to)
        padded[k] = inside ? *l : 0;
    else if (inside)
        *l = padded[k];
}

/* ---- one graph over some heads of a pack, or of one sample of it */

struct call {
    const wan_attn *a;
    wan_buf q, k, v, o, dout, dq, dk, dv;
    float *lse;
    int backward, deterministic;
    int sample;  /* -1: the whole pack */
    int lengths; /* graphs have upper bounds, and lengths in memory */
};

static void *at(wan_buf b, int64_t elements)
{
    return b.p ? (char *)b.p + 2 * elements : NULL;
}

static size_t round256(size_t n)
{
    return (n + 255) / 256 * 256;
}

/* Whether the whole pack takes a graph with lengths. */
static int ragged(const wan_attn *a)
{
    return a->pq->n > 1 || a->pq->S != a->pk->S;
}

static sdpa_shape shape_of(const call *c, int64_t heads)
{
    const wan_attn *a = c->a;
    sdpa_shape s;
    memset(&s, 0, sizeof s); /* compared by bytes */
    s.b = 1;
    s.h = heads;
    s.hd = a->hd;
    s.ldq = a->ldq, s.ldk = a->ldk, s.ldv = a->ldv, s.ldo = a->ldo;
    s.bias = a->kbias != NULL;
    s.backward = c->backward;
    s.deterministic = c->backward && c->deterministic;
    int i = c->sample < 0 ? 0 : c->sample;
    s.sq = a->pq->cu_host[i + 1] - a->pq->cu_host[i];
    s.sk = a->pk->cu_host[i + 1] - a->pk->cu_host[i];
    if (c->sample < 0) {
        s.b = a->pq->n;
        s.sq = a->pq->max_len;
        s.sk = a->pk->max_len;
    }
    s.ragged = c->lengths;
    if (s.ragged) {
        s.sq = wan_space_bound(s.sq);
        s.sk = wan_space_bound(s.sk);
    }
    return s;
}

/* Scratch of one execution, cut into its parts. */
struct space {
    int32_t *offsets;
    float *stats, *bias, *delta, *dq_sum;
    void *workspace;
};

static int space_get(wan_dev *d, space *s, const sdpa_plan *p)
{
    const sdpa_shape *g = &p->shape;
    size_t rows = (size_t)(g->b * g->h * g->sq);
    size_t size[6] = {
        g->ragged ? 6 * (size_t)(g->b + 1) * 4 : 0,
        rows * 4,
        g->bias ? (size_t)(g->b * g->sk) * 4 : 0,
        g->backward ? rows * 4 : 0,
        g->backward && !g->deterministic ? rows * (size_t)g->hd * 4 : 0,
        (size_t)p->workspace,
    };
    void *part[6];
    size_t all = 0;
    for (int i = 0; i < 6; i++)
        all += round256(size[i]);
    char *at = (char *)cuda_scratch(d, all);
    if (!at)
        return -1;
    for (int i = 0; i < 6; i++) {
        part[i] = at;
        at += round256(size[i]);
    }
    s->offsets = (int32_t *)part[0];
    s->stats = (float *)part[1];
    s->bias = (float *)part[2];
    s->delta = (float *)part[3];
    s->dq_sum = (float *)part[4];
    s->workspace = part[5];
    return 0;
}

static void bind(bindings *b, const call *c, const sdpa_shape *g, const space *s, int64_t h0)
{
    const wan_attn *a = c->a;
    int64_t q0 = c->sample < 0 ? 0 : a->pq->cu_host[c->sample], h = h0 * a->hd;
    int64_t k0 = c->sample < 0 ? 0 : a->pk->cu_host[c->sample];
    memset(b, 0, sizeof *b);
    b->scale = (float)a->scale;
    b->p[SDPA_Q] = at(c->q, q0 * a->ldq + h);
    b->p[SDPA_K] = at(c->k, k0 * a->ldk + h);
    b->p[SDPA_V] = at(c->v, k0 * a->ldv + h);
    b->p[SDPA_O] = at(c->o, q0 * a->ldo + h);
    b->p[SDPA_DO] = at(c->dout, q0 * a->ldo + h);
    b->p[SDPA_DQ] = at(c->dq, q0 * a->ldq + h);
    b->p[SDPA_DK] = at(c->dk, k0 * a->ldk + h);
    b->p[SDPA_DV] = at(c->dv, k0 * a->ldv + h);
    b->p[SDPA_STATS] = s->stats;
    b->p[SDPA_BIAS] = g->bias ? s->bias : NULL;
    b->p[SDPA_DELTA] = g->backward ? s->delta : NULL;
    b->p[SDPA_DQ_SUM] = g->backward && !g->deterministic ? s->dq_sum : NULL;
    for (int i = 0; g->ragged && i < 6; i++)
        b->p[SDPA_LEN_Q + i] = s->offsets + i * (g->b + 1);
}

static int copy_stats(wan_dev *d, const call *c, const sdpa_shape *g, float *stats, int64_t h0,
                      int to)
{
    int64_t total = g->b * g->h * g->sq;
    return cuda_launch(d, "attention", pack_stats, dim3((unsigned)cuda_div(total, 256)), 256, 0,
                       stats, c->lse, c->a->pq->cu, c->sample < 0 ? 0 : c->sample, c->a->pq->S,
                       g->h, h0, g->sq, total, to);
}

/* Heads h0 .. h0+heads; 1 when there is no engine. */
static int run_heads(wan_dev *d, const call *c, int64_t h0, int64_t heads)
{
    const wan_attn *a = c->a;
    sdpa_shape g = shape_of(c, heads);
    sdpa_plan *p = plan_get(d, &g);
    space s;
    bindings b;
    const int first = c->sample < 0 ? 0 : c->sample;
    if (!p)
        return -1;
    if (!p->found)
        return 1;
    WAN_TRY(space_get(d, &s, p));
    bind(&b, c, &g, &s, h0);
    if (g.bias)
        WAN_TRY(cuda_launch(d, "attention", pack_bias, dim3((unsigned)g.b), 256, 0, s.bias,
                            a->kbias, a->pk->cu, first, g.sk));
    if (g.ragged)
        WAN_TRY(cuda_launch(d, "attention", pack_offsets, dim3(1), 256, 0, s.offsets,
                            a->pq->cu + first, a->pk->cu + first, (int)g.b, a->ldq, a->ldk, a->ldv,
                            a->ldo));
    if (g.backward)
        WAN_TRY(copy_stats(d, c, &g, s.stats, h0, 1));
    WAN_TRY(execute(d, p, &b, s.workspace));
    return !g.backward && c->lse ? copy_stats(d, c, &g, s.stats, h0, 0) : 0;
}

/* Heads at a time: all, or for the deterministic backward the most that divide H and fit; on compute
 * capability 10.x cuDNN may have one that keeps no ds. */
static int64_t heads_of(wan_dev *d, const call *c)
{
    sdpa_shape g = shape_of(c, c->a->H);
    int64_t one = wan_space_scores(g.b, g.sq, g.sk), best = 1;
    if (!g.deterministic || g.h * one <= WAN_SPACE_SCORES)
        return g.h;
    sdpa_plan *p = cuda_of(d)->sm / 10 == 10 ? plan_get(d, &g) : NULL;
    if (p && p->found && p->workspace <= WAN_SPACE_SCORES)
        return g.h;
    for (int64_t h = 1; h <= c->a->H; h++)
        if (c->a->H % h == 0 && h * one <= WAN_SPACE_SCORES)
            best = h;
    return best;
}

static int run_all(wan_dev *d, const call *c)
{
    int64_t heads = heads_of(d, c);
    for (int64_t h = 0; h < c->a->H; h += heads) {
        int r = run_heads(d, c, h, heads);
        if (r)
            return r;
    }
    return 0;
}

/* Whether graphs with lengths can be had: offsets are 32 bits wide. */
static int bounded(wan_dev *d, const wan_attn *a)
{
    int64_t most = a->ldq > a->ldk ? a->ldq : a->ldk;
    most = most > a->ldv ? most : a->ldv;
    most = most > a->ldo ? most : a->ldo;
    return cuda_of(d)->sm >= 90 && most * a->pq->S < INT32_MAX && most * a->pk->S < INT32_MAX;
}

/* Whether one graph for all samples is not mostly padding, nor its scores too large. */
static int together(const call *c)
{
    const wan_attn *a = c->a;
    int64_t n = a->pq->n, sq = wan_space_bound(a->pq->max_len),
            sk = wan_space_bound(a->pk->max_len);
    return n == 1 || (wan_space_together(n, a->pq->max_len, a->pq->S) &&
                      (!c->deterministic || wan_space_scores(n, sq, sk) <= WAN_SPACE_SCORES));
}

static int one_by_one(wan_dev *d, call *c)
{
    for (c->sample = 0; c->sample < c->a->pq->n; c->sample++) {
        int r = run_all(d, c);
        if (r)
            return r; /* 1: another way does the whole pack anew */
    }
    return 0;
}

/* The pack at once, or sample by sample: with lengths, or each as long as it is. */
static int run(wan_dev *d, call *c)
{
    const wan_cuda_sdpa *dnn = sdpa_open(d);
    if (!dnn)
        return -1;
    if (!dnn->handle)
        return 1;
    c->sample = -1;
    if (!ragged(c->a))
        return run_all(d, c);
    c->lengths = bounded(d, c->a);
    if (c->lengths) {
        int r = together(c) ? run_all(d, c) : one_by_one(d, c);
        if (r <= 0)
            return r;
    }
    c->lengths = 0;
    return one_by_one(d, c);
}

/* Whether some sample has no queries or no keys. */
static int hollow(const wan_attn *a)
{
    for (int i = 0; i < a->pq->n; i++)
        if (a->pq->cu_host[i] == a->pq->cu_host[i + 1] ||
            a->pk->cu_host[i] == a->pk->cu_host[i + 1])
            return 1;
    return 0;
}

/* cuDNN wants bf16, 16-byte rows, and more than one token. */
static int fits(const wan_attn *a, const wan_buf *b, int n)
{
    for (int i = 0; i < n; i++)
        if (b[i].t != WAN_BF16 || (uintptr_t)b[i].p % 16)
            return 0;
    return a->ldq % 8 == 0 && a->ldk % 8 == 0 && a->ldv % 8 == 0 && a->ldo % 8 == 0 &&
           (a->pq->max_len > 1 || a->pk->max_len > 1) && !hollow(a);
}

size_t cuda_sdpa_version(void)
{
    return cudnnGetVersion();
}

int cuda_sdpa_forward(wan_dev *d, const wan_attn *a, wan_buf o, float *lse, wan_buf q, wan_buf k,
                      wan_buf v)
{
    const wan_buf all[] = { o, q, k, v };
    if (!fits(a, all, 4))
        return 1;
    call c;
    memset(&c, 0, sizeof c);
    c.a = a;
    c.q = q, c.k = k, c.v = v, c.o = o;
    c.lse = lse;
    return run(d, &c);
}

int cuda_sdpa_backward(wan_dev *d, const wan_attn *a, wan_buf dq, wan_buf dk, wan_buf dv,
                       wan_buf dout, wan_buf o, const float *lse, wan_buf q, wan_buf k, wan_buf v)
{
    const wan_buf all[] = { dq, dk, dv, dout, o, q, k, v };
    if (!fits(a, all, 8))
        return 1;
    call c;
    memset(&c, 0, sizeof c);
    c.a = a;
    c.q = q, c.k = k, c.v = v, c.o = o, c.dout = dout;
    c.dq = dq, c.dk = dk, c.dv = dv;
    c.lse = (float *)lse;
    c.backward = 1;
    c.deterministic = !(d->flags & WAN_DEV_NONDETERMINISTIC);
    return run(d, &c);
}
