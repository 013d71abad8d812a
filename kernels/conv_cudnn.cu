/* SPDX-License-Identifier: Apache-2.0
 *
 * conv_cudnn.cu - convolution by cuDNN: plans are made at a shape's first use and kept.
 */
#include "kernels/conv_cudnn.cuh"
#include "kernels/conv_graph.cuh"
#include "kernels/plans.h"

enum { MAX_PLANS = 256 };

struct kept {
    conv_plan *p;
    cudaStream_t stream;
    std::vector<conv_plan *> *taped; /* the device's */
};

struct wan_cuda_conv {
    cudnnHandle_t handle;           /* NULL: cuDNN cannot be used, which has been said */
    wan_plans plans;                /* conv_key -> kept */
    std::vector<conv_plan *> taped; /* no longer among the plans */
};

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
    dnn_plan_free(k->p);
    delete k->p;
}

static const wan_plans no_plans = WAN_PLANS(sizeof(conv_key), sizeof(kept), MAX_PLANS, plan_free);

/* NULL: failed (error recorded). */
static wan_cuda_conv *conv_open(wan_dev *d)
{
    wan_cuda *c = cuda_of(d);
    if (c->conv)
        return c->conv;
    cudnnHandle_t h = NULL;
    cudnnStatus_t s = cudnnCreate(&h);
    if (s == CUDNN_STATUS_SUCCESS)
        s = cudnnSetStream(h, cuda_stream(d));
    if (s != CUDNN_STATUS_SUCCESS) {
        if (h)
            cudnnDestroy(h);
        h = NULL;
        if (cuda_slower(d, "conv: cuDNN does not start: %s; our own kernel is used",
                        cudnnGetErrorString(s)) < 0)
            return NULL;
    }
    c->conv = new wan_cuda_conv();
    c->conv->handle = h;
    c->conv->plans = no_plans;
    return c->conv;
}

void cuda_conv_close(wan_dev *d)
{
    wan_cuda_conv *s = cuda_of(d)->conv;
    if (!s)
        return;
    wan_plans_clear(&s->plans);
    for (conv_plan *p : s->taped) {
        dnn_plan_free(p);
        delete p;
    }
    if (s->handle)
        cudnnDestroy(s->handle);
    delete s;
    cuda_of(d)->conv = NULL;
}

static int plan_make(wan_dev *d, wan_cuda_conv *s, kept *k, const conv_key *key)
{
    const wan_conv *c = &key->c;
    k->stream = cuda_stream(d);
    k->taped = &s->taped;
    k->p = new conv_plan();
    k->p->key = *key;
    WAN_TRY(conv_graph_describe(k->p));
    dnn_plan_make(k->p, s->handle, NULL);
    if (k->p->found && !k->p->nondeterministic)
        return 0;
    k->p->found = 0;
    return cuda_slower(d,
                       "conv: cuDNN has no engine for %lld -> %lld channels, %dx%dx%d taps (%s); "
                       "our own kernel is used",
                       (long long)c->Ci, (long long)c->Co, c->kt, c->kh, c->kw, k->p->why);
}

/* NULL: failed (error recorded). */
static conv_plan *plan_get(wan_dev *d, wan_cuda_conv *s, const conv_key *key)
{
    kept *k = (kept *)wan_plans_find(&s->plans, key);
    if (!k) {
        k = (kept *)wan_plans_add(&s->plans, key);
        if (!k) {
            wan_cuda_host->err("cuDNN: out of memory for plans");
            return NULL;
        }
        if (plan_make(d, s, k, key) < 0) {
            wan_plans_remove(&s->plans, key);
            return NULL;
        }
    }
    k->p->taped |= cuda_of(d)->recording;
    return k->p;
}

static int bind(cudnnBackendDescriptor_t pack, void *const at[CONV_RESIDUAL + 1], void *work)
{
    int64_t id[CONV_RESIDUAL], n = 0;
    void *v[CONV_RESIDUAL];
    for (int64_t i = CONV_X; i <= CONV_RESIDUAL; i++)
        if (at[i]) {
            id[n] = i;
            v[n++] = at[i];
        }
    if (cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, n,
                                 id) != CUDNN_STATUS_SUCCESS ||
        cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR,
                                 n, v) != CUDNN_STATUS_SUCCESS ||
        cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1,
                                 &work) != CUDNN_STATUS_SUCCESS ||
        cudnnBackendFinalize(pack) != CUDNN_STATUS_SUCCESS)
        return wan_cuda_host->err("conv: cuDNN refuses the operands");
    return 0;
}

/* at[CONV_W] without the first `skips` taps in time: cuDNN wants weights that are dense.  As bf16 the bits of
 * fp16 go through as they are, too. */
static int without(wan_dev *d, const wan_conv *c, int64_t skips, void *dense, void **at)
{
    const int64_t tap = (int64_t)c->kh * c->kw * c->Ci, kept_taps = (c->kt - skips) * tap;
    const wan_view from = { wan_buf_of((uint16_t *)at[CONV_W] + skips * tap, WAN_BF16), c->kt * tap,
                            1 };
    const wan_view to = { wan_buf_of(dense, WAN_BF16), kept_taps, 1 };
    at[CONV_W] = dense;
    return wan_pick_cuda(d, to, from, NULL, c->Co, kept_taps);
}

static int execute(wan_dev *d, const conv_plan *p, void *at[CONV_RESIDUAL + 1])
{
    const wan_conv *c = &p->key.c;
    const int64_t skips = conv_graph_skips(c);
    const size_t weights =
        skips ? ((size_t)(c->Co * (c->kt - skips) * c->kh * c->kw * c->Ci) * 2 + 255) / 256 * 256
              : 0;
    cudnnBackendDescriptor_t pack = NULL;
    char *work = (char *)cuda_scratch(d, weights + (size_t)p->workspace);
    if (!work)
        return -1;
    if (skips)
        WAN_TRY(without(d, c, skips, work, at));
    if (cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack) !=
        CUDNN_STATUS_SUCCESS)
        return wan_cuda_host->err("conv: cuDNN: out of memory");
    int rc = bind(pack, at, work + weights);
    cudnnStatus_t s = rc == 0 ? cudnnBackendExecute(cuda_of(d)->conv->handle, p->plan, pack)
                              : CUDNN_STATUS_SUCCESS;
    cudnnBackendDestroyDescriptor(pack);
    if (s != CUDNN_STATUS_SUCCESS)
        return wan_cuda_host->err("conv: cuDNN: %s", cudnnGetErrorString(s));
    return rc;
}

/* Channels in groups of 16 bytes, operands that start on 16. */
static int fits(const wan_conv *c, wan_buf y, wan_buf x, wan_buf w)
{
    uintptr_t at = (uintptr_t)x.p | (uintptr_t)w.p | (uintptr_t)y.p;
    return x.t != WAN_F32 && w.t == x.t && (y.t == x.t || y.t == WAN_F32) && c->Ci % 8 == 0 &&
           at % 16 == 0;
}

/* The plan of a shape; NULL and 0: cuDNN has none. */
static int plan_of(wan_dev *d, const conv_plan **p, const wan_conv *c, wan_buf y, wan_buf x,
                   wan_buf w, const float *b, int add)
{
    conv_key key;
    *p = NULL;
    if (!fits(c, y, x, w))
        return 0;
    wan_cuda_conv *s = conv_open(d);
    if (!s)
        return -1;
    if (!s->handle)
        return 0;
    memset(&key, 0, sizeof key); /* compared by bytes */
    key.c.Ci = c->Ci, key.c.Co = c->Co, key.c.kt = c->kt, key.c.kh = c->kh, key.c.kw = c->kw;
    key.c.st = c->st, key.c.sh = c->sh, key.c.sw = c->sw;
    key.c.top = c->top, key.c.bottom = c->bottom, key.c.left = c->left, key.c.right = c->right;
    key.c.T = c->T, key.c.H = c->H, key.c.W = c->W, key.c.past = c->past;
    key.y_half = y.t != WAN_F32, key.bias = b != NULL, key.add = add != 0;
    key.f16 = x.t == WAN_F16;
    *p = plan_get(d, s, &key);
    if (!*p)
        return -1;
    if (!(*p)->found)
        *p = NULL;
    return 0;
}

int cuda_conv_dnn_has(wan_dev *d, const wan_conv *c, wan_buf y, wan_buf x, wan_buf w,
                      const float *b, int add)
{
    const conv_plan *p;
    WAN_TRY(plan_of(d, &p, c, y, x, w, b, add));
    return p != NULL;
}

int cuda_conv_dnn(wan_dev *d, const wan_conv *c, wan_buf y, wan_buf x, wan_buf w, const float *b,
                  int add)
{
    const conv_plan *p;
    WAN_TRY(plan_of(d, &p, c, y, x, w, b, add));
    if (!p)
        return 1;
    void *at[CONV_RESIDUAL + 1] = { NULL, x.p, w.p, (void *)b, y.p, add ? y.p : NULL };
    return execute(d, p, at);
}
