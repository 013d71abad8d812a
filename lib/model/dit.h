/* SPDX-License-Identifier: Apache-2.0
 *
 * dit.h - the WAN 2.1 transformer, forward and backward, on packed samples.  Free of FFmpeg, MPI,
 * jansson; everything is computed through d->ops.
 *
 *     wan_dit *m;
 *     wan_dit_new(&m, dev, &config, WAN_BF16, WAN_DIT_TRAIN);
 *     wan_dit_reserve(m, &cap);                 // all activation memory, once
 *     wan_dit_forward(m, &in, pred);            // pred [S, 4*out_ch] WAN_REAL, order (ph, pw, c)
 *     wan_dit_backward(m, &in, dpred);          // adds to m->grad
 *
 * Formulas: spec wan-model.md 2 and 3; paper: "Wan: Open and Advanced Large-Scale Video Generative
 * Models" (2025).  Precision: residual stream, norms, modulation, RoPE, time path and head in
 * WAN_REAL; GEMM and attention operands in `compute` (WAN_REAL or WAN_BF16).
 */
#ifndef WAN_MODEL_DIT_H
#define WAN_MODEL_DIT_H

#include "kernels/ops.h"
#include "lib/model/params.h"

typedef struct wan_dit_config {
    int heads, head_dim;   /* D = heads*head_dim */
    int layers, ffn;
    int in_ch, out_ch;     /* latent channels */
    int text_dim;          /* width of the text encoder's rows */
    int text_len;          /* rows the context is zero-padded to: 512 */
    int freq_dim;          /* sinusoid width: 256 */
    int patch_h, patch_w;  /* 2, 2 (time patch is 1) */
    double eps;            /* 1e-6 */
} wan_dit_config;

enum wan_dit_flags { WAN_DIT_TRAIN = 1 /* masters and gradients exist */ };
enum wan_recompute { WAN_RECOMPUTE_NONE, WAN_RECOMPUTE_SELECTIVE, WAN_RECOMPUTE_FULL };

/* Largest pack that will be run. */
typedef struct wan_dit_capacity {
    int64_t tokens;        /* S */
    int64_t samples;       /* n */
    int64_t text_rows;     /* sum over samples of the context rows kept (true rows + 1) */
    enum wan_recompute recompute; /* training only */
} wan_dit_capacity;

typedef struct wan_dit_input {
    int n;
    const int64_t (*grid)[3]; /* host: [n] patch grids (T', h/2, w/2); tokens per sample = product */
    wan_buf rows;             /* device [S, 4*in_ch], features (c, ph, pw): embed.h WAN_PATCH_CHW */
    const wan_real *t;        /* host [n]: timesteps in [0, 1000] */
    wan_buf text;             /* device [sum text_len, text_dim]: true rows of all samples */
    const int64_t *text_len;  /* host [n]: true rows, 0..config.text_len */
} wan_dit_input;

typedef struct wan_dit {
    wan_dit_config c;
    wan_dev *d;
    wan_dtype compute;
    int flags;
    wan_params params;
    wan_real *master;   /* device [params.total] when wan_dit_full(), else the last
                           [total - n_gemm] only: what GEMMs read exists as bf16 alone */
    uint16_t *shadow;   /* device [params.n_gemm] bf16, when compute == WAN_BF16 */
    wan_real *grad;     /* device [params.total], TRAIN */
    void *priv;
} wan_dit;

/* Bytes of device memory by class, for --plan; nothing is allocated. */
typedef struct wan_dit_bytes {
    int64_t weights, grads, activations, workspace;
} wan_dit_bytes;

int wan_dit_config_check(const wan_dit_config *c) WAN_MUST_CHECK;
int wan_dit_params(wan_params *out, const wan_dit_config *c) WAN_MUST_CHECK;
int wan_dit_new(wan_dit **out, wan_dev *d, const wan_dit_config *c, wan_dtype compute, int flags)
    WAN_MUST_CHECK;
void wan_dit_free(wan_dit **m);
int wan_dit_plan(wan_dit_bytes *out, const wan_dit_config *c, wan_dtype compute, int flags,
                 const wan_dit_capacity *cap) WAN_MUST_CHECK;
int wan_dit_reserve(wan_dit *m, const wan_dit_capacity *cap) WAN_MUST_CHECK;

/* Whether master holds every parameter: TRAIN, or compute == WAN_REAL. */
int wan_dit_full(const wan_dit *m);
/* Parameter i from / to host floats [count]; set also refreshes the shadow. */
int wan_dit_set(wan_dit *m, int i, const float *host) WAN_MUST_CHECK;
int wan_dit_get(const wan_dit *m, int i, float *host) WAN_MUST_CHECK;
int wan_dit_get_grad(const wan_dit *m, int i, float *host) WAN_MUST_CHECK;
/* Random initialisation of the official code (wan-model.md 2.4), keyed by seed. */
int wan_dit_init(wan_dit *m, uint64_t seed) WAN_MUST_CHECK;
int wan_dit_refresh_shadow(wan_dit *m) WAN_MUST_CHECK; /* after master changed */
int wan_dit_zero_grad(wan_dit *m) WAN_MUST_CHECK;

/* pred: device [S, 4*out_ch] WAN_REAL.  Keeps what backward needs until the next forward. */
int wan_dit_forward(wan_dit *m, const wan_dit_input *in, wan_real *pred) WAN_MUST_CHECK;
/* dpred: device [S, 4*out_ch], gradient of the loss.  Same `in` as the forward before.  Adds to
 * m->grad.  on_grad (may be NULL) is called when the gradients of block b (and at the end -1:
 * everything outside the blocks) are complete, so that their reduction can start. */
typedef int wan_dit_on_grad(void *arg, int block);
int wan_dit_backward(wan_dit *m, const wan_dit_input *in, wan_buf dpred, wan_dit_on_grad *on_grad,
                     void *arg) WAN_MUST_CHECK;

/* After wan_dit_backward: gradient of in->rows, device [S, 4*in_ch] WAN_REAL (overwritten). */
int wan_dit_input_grad(wan_dit *m, wan_real *drows) WAN_MUST_CHECK;

/* Cross-attention keys and values of a prompt, computed once and used for every sampler step.
 * forward_cached ignores in->text. */
typedef struct wan_dit_context wan_dit_context;
int wan_dit_context_new(wan_dit_context **out, wan_dit *m, wan_buf text, const int64_t *text_len,
                        int n) WAN_MUST_CHECK;
void wan_dit_context_free(wan_dit_context **c);
int wan_dit_forward_cached(wan_dit *m, const wan_dit_input *in, const wan_dit_context *ctx,
                           wan_real *pred) WAN_MUST_CHECK;

/* Model FLOPs of one forward for these samples (training.md 6.8, text counted as text_len rows);
 * a training step is three times that. */
double wan_dit_flops(const wan_dit_config *c, int n, const int64_t *tokens);

#endif
