/* SPDX-License-Identifier: Apache-2.0
 *
 * net.h - the WAN 2.1 transformer, forward and backward, on packed samples.  Free of FFmpeg, MPI,
 * jansson; everything is computed through d->ops.
 *
 *     wan_net *m;
 *     wan_net_new(&m, dev, &config, WAN_BF16, WAN_NET_TRAIN);
 *     wan_net_reserve(m, &cap);                 // all activation memory, once
 *     wan_net_forward(m, &in, pred);            // pred [S, 4*out_ch] WAN_REAL, order (ph, pw, c)
 *     wan_net_backward(m, &in, dpred);          // adds to m->grad
 *
 * Formulas: wan-model(7), Transformer; paper: "Wan: Open and Advanced Large-Scale Video Generative
 * Models" (2025).  Precision: residual stream, norms, modulation, RoPE, time path and head in
 * WAN_REAL; GEMM and attention operands in `compute` (WAN_REAL or WAN_BF16).
 */
#ifndef WAN_MODEL_NET_H
#define WAN_MODEL_NET_H

#include "kernels/ops.h"
#include "lib/model/params.h"

typedef struct wan_net_config {
    int heads, head_dim; /* D = heads*head_dim */
    int layers, ffn;
    int in_ch, out_ch;    /* latent channels */
    int text_dim;         /* width of the text encoder's rows */
    int text_len;         /* rows the context is zero-padded to: 512 */
    int freq_dim;         /* sinusoid width: 256 */
    int patch_h, patch_w; /* 2, 2 (time patch is 1) */
    double eps;           /* 1e-6 */
} wan_net_config;

enum wan_net_flags { WAN_NET_TRAIN = 1 /* masters and gradients exist */ };
enum wan_recompute { WAN_RECOMPUTE_NONE, WAN_RECOMPUTE_SELECTIVE, WAN_RECOMPUTE_FULL };

/* Largest pack that will be run. */
typedef struct wan_net_capacity {
    int64_t tokens;               /* S */
    int64_t samples;              /* n */
    int64_t text_rows;            /* sum over samples of the context rows kept (true rows + 1) */
    enum wan_recompute recompute; /* training only */
} wan_net_capacity;

typedef struct wan_net_input {
    int n;
    const int64_t (
        *grid)[3];           /* host: [n] patch grids (T', h/2, w/2); tokens per sample = product */
    wan_buf rows;            /* device [S, 4*in_ch], features (c, ph, pw): embed.h WAN_PATCH_CHW */
    const wan_real *t;       /* host [n]: timesteps in [0, 1000] */
    wan_buf text;            /* device [sum text_len, text_dim]: true rows of all samples */
    const int64_t *text_len; /* host [n]: true rows, 0..config.text_len */
} wan_net_input;

typedef struct wan_net {
    wan_net_config c;
    wan_dev *d;
    wan_dtype compute;
    int flags;
    wan_params params;
    wan_real *master; /* device [params.total] when wan_net_full(), else the last
                           [total - n_gemm] only: what GEMMs read exists as bf16 alone */
    uint16_t *shadow; /* device [params.n_gemm] bf16, when compute == WAN_BF16 */
    wan_real *grad;   /* device [params.total], TRAIN */
    void *priv;
} wan_net;

/* Bytes of device memory by class, for --plan; nothing is allocated. */
typedef struct wan_net_bytes {
    int64_t weights, grads, activations, workspace;
} wan_net_bytes;

int wan_net_config_check(const wan_net_config *c) WAN_MUST_CHECK;
int wan_net_params(wan_params *out, const wan_net_config *c) WAN_MUST_CHECK;
int wan_net_new(wan_net **out, wan_dev *d, const wan_net_config *c, wan_dtype compute, int flags)
    WAN_MUST_CHECK;
void wan_net_free(wan_net **m);
int wan_net_plan(wan_net_bytes *out, const wan_net_config *c, wan_dtype compute, int flags,
                 const wan_net_capacity *cap) WAN_MUST_CHECK;
int wan_net_reserve(wan_net *m, const wan_net_capacity *cap) WAN_MUST_CHECK;

/* Whether master holds every parameter: TRAIN, or compute == WAN_REAL. */
int wan_net_full(const wan_net *m);
/* Parameter i from / to host floats [count]; set also refreshes the shadow. */
int wan_net_set(wan_net *m, int i, const float *host) WAN_MUST_CHECK;
int wan_net_get(const wan_net *m, int i, float *host) WAN_MUST_CHECK;
int wan_net_get_grad(const wan_net *m, int i, float *host) WAN_MUST_CHECK;
/* Random initialisation of the official code (wan-model(7), Initialisation), keyed by seed. */
int wan_net_init(wan_net *m, uint64_t seed) WAN_MUST_CHECK;
int wan_net_refresh_shadow(wan_net *m) WAN_MUST_CHECK; /* after master changed */
int wan_net_zero_grad(wan_net *m) WAN_MUST_CHECK;

/* pred: device [S, 4*out_ch] WAN_REAL.  Keeps what backward needs until the next forward. */
int wan_net_forward(wan_net *m, const wan_net_input *in, wan_real *pred) WAN_MUST_CHECK;
/* dpred: device [S, 4*out_ch], gradient of the loss.  Same `in` as the forward before.  Adds to
 * m->grad.  on_grad (may be NULL) is called when the gradients of block b (and at the end -1:
 * everything outside the blocks) are complete, so that their reduction can start. */
typedef int wan_net_on_grad(void *arg, int block);
int wan_net_backward(wan_net *m, const wan_net_input *in, wan_buf dpred, wan_net_on_grad *on_grad,
                     void *arg) WAN_MUST_CHECK;

/* After wan_net_backward: gradient of in->rows, device [S, 4*in_ch] WAN_REAL (overwritten). */
int wan_net_input_grad(wan_net *m, wan_real *drows) WAN_MUST_CHECK;

/* Cross-attention keys and values of a prompt, computed once and used for every sampler step.
 * forward_cached ignores in->text. */
typedef struct wan_net_context wan_net_context;
int wan_net_context_new(wan_net_context **out, wan_net *m, wan_buf text, const int64_t *text_len,
                        int n) WAN_MUST_CHECK;
void wan_net_context_free(wan_net_context **c);
int wan_net_forward_cached(wan_net *m, const wan_net_input *in, const wan_net_context *ctx,
                           wan_real *pred) WAN_MUST_CHECK;

/* Model FLOPs of one forward for these samples (wan-model(7), FLOPs; text counted as text_len
 * rows); a training step is three times that. */
double wan_net_flops(const wan_net_config *c, int n, const int64_t *tokens);

#endif
