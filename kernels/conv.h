/* SPDX-License-Identifier: Apache-2.0
 *
 * conv.h - convolution over [T, H, W, C] (channels last), for the video VAE.
 *
 *   y[t, i, j, o] = b[o] + sum_{a,r,s,c} w[o, a, r, s, c] x[t*st + a - past, i*sh + r - top, j*sw + s - left, c]
 *
 * Space is zero-padded (top, bottom, left, right), time by `past` frames in front (below kt: at the start
 * of a video; later the caller lays frames of history in front of x), so
 *   To = (T + past - kt)/st + 1,  Ho = (H + top + bottom - kh)/sh + 1,  Wo likewise.
 * Taps on padding are not multiplied: the first frame of a causal convolution costs one of three.
 * up: the input is enlarged twofold in space first, by repeating pixels; H and W are even and of the
 * enlarged one.
 * w is [Co, kt, kh, kw, Ci] (repacked from PyTorch's [Co, Ci, kt, kh, kw] by wan_conv_repack);
 * b [Co] or NULL.  x, w, y each WAN_REAL, WAN_BF16 or WAN_F16; sums in WAN_REAL.  add: y += instead of =
 * (the residual shortcut).  A 1x1x1 convolution is a linear layer.
 */
#ifndef WAN_KERNELS_CONV_H
#define WAN_KERNELS_CONV_H

#include "kernels/device.h"

typedef struct wan_conv {
    int64_t Ci, Co;
    int kt, kh, kw, st, sh, sw;
    int top, bottom, left, right;
    int64_t T, H, W; /* of x, history included */
    int64_t past;    /* frames of zeros in front of x */
    int64_t up;      /* 1: x is [T, H/2, W/2, Ci], and each of its pixels is read as 2x2 */
} wan_conv;

/* Frames of y. */
static inline int64_t wan_conv_frames(const wan_conv *c)
{
    return (c->T + c->past - c->kt) / c->st + 1;
}

typedef int wan_conv_forward_fn(wan_dev *d, const wan_conv *c, wan_buf y, wan_buf x, wan_buf w,
                                const wan_real *b, int add) WAN_MUST_CHECK;

wan_conv_forward_fn wan_conv_forward_c, wan_conv_forward_simd, wan_conv_forward_dnnl,
    wan_conv_forward_cuda;

/* y [T, H, W, pixel bytes] <- x [T, H/2, W/2, pixel bytes], each pixel 2x2. */
void wan_conv_enlarge(void *y, const void *x, int64_t T, int64_t H, int64_t W, int64_t pixel);

/* Providers may keep a reordered copy of weights under their address: call this before the memory at
 * w is freed or gets other contents.  No-op for addresses never seen. */
void wan_conv_forget(const void *w);

/* Host: dst [Co, kt*kh*kw, Ci] from src [Co, Ci, kt*kh*kw] (taps = kt*kh*kw). */
void wan_conv_repack(float *dst, const float *src, int64_t Co, int64_t Ci, int64_t taps);

#endif
