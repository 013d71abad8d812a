/* SPDX-License-Identifier: Apache-2.0
 *
 * vae.h - the WAN video VAE (AutoencoderKLWan), streamed in time: memory does not depend on the
 * number of frames.  Formulas and closed forms of the temporal resamplers: wan-model(7), VAE.
 *
 *     wan_vae *v;  wan_vae_open(&v, dev, "model/vae", WAN_VAE_ENCODER, WAN_F32);
 *     wan_vae_encode(v, latent, rgb, T, H, W);
 */
#ifndef WAN_MODEL_VAE_H
#define WAN_MODEL_VAE_H

#include "kernels/ops.h"
#include "lib/dist/group.h"

typedef struct wan_vae wan_vae;
enum wan_vae_parts { WAN_VAE_ENCODER = 1, WAN_VAE_DECODER = 2 };

/* dir holds config.json and diffusion_pytorch_model.safetensors (diffusers names).  compute is
 * WAN_F32, WAN_BF16 or WAN_F16 (convolution operands).  Of parts that are not named, and with parts 0 of all,
 * names and shapes of the tensors are checked and no weights are kept. */
int wan_vae_open(wan_vae **out, wan_dev *d, const char *dir, int parts, wan_dtype compute)
    WAN_MUST_CHECK;
void wan_vae_close(wan_vae **v);
int wan_vae_channels(const wan_vae *v); /* z_dim */
/* From now on the ranks of g (borrowed; NULL: none) make each clip together, a band of rows each with all
 * that it depends on: the same values.  Calls are then collective, with the same operands everywhere; rank
 * 0 of g gets frames and latents, the others no frames. */
int wan_vae_share(wan_vae *v, wan_group *g) WAN_MUST_CHECK;

/* From now on (or, off, no longer) pictures of more than 256 pixels a side are made in tiles of 256x256, 192 apart,
 * blended where they overlap, as diffusers' enable_tiling does: other values, in memory that does not grow with
 * height or width but for the clip itself.  Frames then come as those of bands do.  With other ranks the first
 * makes them alone. */
void wan_vae_tile(wan_vae *v, int on);

/* rgb: host U8 [T, H, W, 3], T = 4n+1, H and W multiples of 8.  latent: host F32
 * [z, 1+(T-1)/4, H/8, W/8], the posterior mean, normalised (wan-model(7), Latent statistics).
 * chunk: frames per pass after the first (multiple of 4; 0: 4); any chunk gives the same latent.  On a CPU bands of
 * rows are made as when decoding, with what they give to the last stage, [T', H/8, W/8, C], in memory. */
int wan_vae_encode(wan_vae *v, float *latent, const uint8_t *rgb, int64_t T, int64_t H, int64_t W,
                   int chunk) WAN_MUST_CHECK;
/* As above, but a sample of the posterior, mean + exp(logvar / 2) e before normalisation: logvar clamped to
 * [-30, 20] as the references do, e the stream WAN_RNG_LATENT of `seed` in the order of the latent. */
int wan_vae_encode_sample(wan_vae *v, float *latent, const uint8_t *rgb, int64_t T, int64_t H,
                          int64_t W, uint64_t seed) WAN_MUST_CHECK;
/* As above but from float pixels in [-1, 1] and returning mean and logvar un-normalised: mu and
 * logvar [z, T', h, w] (logvar may be NULL); for tests. */
int wan_vae_encode_raw(wan_vae *v, float *mu, float *logvar, const float *pixels, int64_t T,
                       int64_t H, int64_t W) WAN_MUST_CHECK;

/* latent: host F32 [z, T', h, w] normalised.  Frames are handed out as they are made: put is called
 * with n frames U8 [n, H, W, 3] and the float pixels before rounding, in order; a negative return
 * stops.  On a CPU, frames whose activations would take more than 1 GiB are made in two bands of rows,
 * beyond 3 GiB in more, one after the other: the same values in more time and with the clip itself in memory, frames as
 * the last band makes them, and pixels NULL. */
typedef int wan_vae_put(void *arg, const uint8_t *rgb, const float *pixels, int64_t n, int64_t H,
                        int64_t W);
int wan_vae_decode(wan_vae *v, const float *latent, int64_t Tl, int64_t h, int64_t w,
                   wan_vae_put *put, void *arg) WAN_MUST_CHECK;
/* The same piece by piece, for one who has other work between them: next makes the frames of some more latents, and
 * hands them to put; 1: there are more, 0: that was all, -1.  Not of tiles; v decodes nothing else meanwhile. */
typedef struct wan_vae_frames wan_vae_frames;
int wan_vae_frames_open(wan_vae_frames **out, wan_vae *v, const float *latent, int64_t Tl,
                        int64_t h, int64_t w, wan_vae_put *put, void *arg) WAN_MUST_CHECK;
int wan_vae_frames_next(wan_vae_frames *f) WAN_MUST_CHECK;
void wan_vae_frames_close(wan_vae_frames **f); /* NULL-safe */
/* Bytes of the device that decoding latents of h x w will take beside the weights; -1: out of memory. */
int64_t wan_vae_decode_bytes(const wan_vae *v, int64_t h, int64_t w) WAN_MUST_CHECK;

#endif
