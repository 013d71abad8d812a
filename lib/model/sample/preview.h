/* SPDX-License-Identifier: Apache-2.0
 *
 * preview.h - what a latent will look like, without the VAE: each of its pixels as one colour.
 *
 *     wan_preview map;
 *     WAN_TRY(wan_preview_fit(&map, vae));              // once, of the VAE that will decode
 *     wan_preview_frame(&map, rgb, latent, T, h, w, t);
 *
 * A pixel's colour is linear in its channels, clamped to 0 .. 255:  rgb = A z + b, where A [3, C] and b
 * are those with the least squared error against what the VAE makes of random latents of flat
 * patches: the mean over the 8 x 8 pixels that a pixel of the latent becomes.
 */
#ifndef WAN_MODEL_PREVIEW_H
#define WAN_MODEL_PREVIEW_H

#include "lib/model/vae/vae.h"

enum { WAN_PREVIEW_CHANNELS = 64 };

typedef struct wan_preview {
    int channels;
    double a[3][WAN_PREVIEW_CHANNELS + 1]; /* the last of a row is b; 0 .. 255 */
    double error;                          /* root mean square of what is left in the fit, of 255 */
} wan_preview;

/* vae: opened with its decoder. */
int wan_preview_fit(wan_preview *map, wan_vae *vae) WAN_MUST_CHECK;
/* Frame t of latent [C, T, h, w], normalised: rgb U8 [h, w, 3]. */
void wan_preview_frame(const wan_preview *map, uint8_t *rgb, const float *latent, int64_t T,
                       int64_t h, int64_t w, int64_t t);

#endif
