/* SPDX-License-Identifier: Apache-2.0
 *
 * crew.h - encoding and decoding for one writer on several ranks: clips and captions are dealt out, what
 * comes of them comes back in order.
 *
 *     wan_crew_open(&c, &options);                 // every rank
 *     if (comm->rank)
 *         return wan_crew_serve(c);                // until rank 0 closes
 *     wan_crew_clips(c, clips, n);                 // rank 0
 *     wan_crew_captions(c, rows, text, n, window);
 *     wan_crew_close(&c);
 *
 * Each clip, and each window of captions, is worked on by one rank as one process would: the bytes do not
 * depend on how many there are.  Where half of the ranks or more would have no clip, all make one together
 * (wan_vae_share).  VAE and text encoder are never in memory at the same time on a rank.
 */
#ifndef WAN_MODEL_CREW_H
#define WAN_MODEL_CREW_H

#include "lib/dist/group.h"
#include "lib/model/text/captions.h"
#include "lib/model/vae/vae.h"

typedef struct wan_crew wan_crew;

typedef struct wan_crew_options {
    wan_comm *comm;
    wan_dev *dev;                   /* of this rank */
    const char *model;              /* folder with vae, text_encoder, tokenizer; borrowed */
    wan_dtype compute, vae_compute; /* of texts, of clips */
    int decode;                     /* clips are made from latents */
    int tiling;                     /* of large pictures, see wan_vae_tile */
    int sample;                     /* latents are drawn from the posterior */
    int clips, texts; /* what will come: it is opened at once, so that a bad model is known */
    /* Frames of a clip that this rank has decoded so far, of T; may be NULL. */
    void (*on_frames)(int64_t done, int64_t T);
} wan_crew_options;

/* T frames of H x W and their latent [z, 1+(T-1)/4, H/8, W/8]; the caller's memory, one of them is
 * filled.  why: NULL, or why it could not be (malloc). */
typedef struct wan_crew_clip {
    int64_t T, H, W;
    uint8_t *rgb;
    float *latent;
    uint64_t seed; /* for the sample */
    char *why;
} wan_crew_clip;

int wan_crew_open(wan_crew **out, const wan_crew_options *o) WAN_MUST_CHECK;
int wan_crew_serve(wan_crew *c) WAN_MUST_CHECK;
/* NULL-safe.  Rank 0: ends what the others serve; not after a failure. */
int wan_crew_close(wan_crew **c) WAN_MUST_CHECK;
int wan_crew_ranks(const wan_crew *c);
/* Latent channels, width of text rows; -1 with a sentence when that part cannot be opened. */
int wan_crew_channels(wan_crew *c) WAN_MUST_CHECK;
int64_t wan_crew_width(wan_crew *c) WAN_MUST_CHECK;

/* -1: ranks or memory fail; what is wrong with a clip stands in it. */
int wan_crew_clips(wan_crew *c, wan_crew_clip *v, int n) WAN_MUST_CHECK;
/* n <= ranks * window captions; window by window they go to the ranks.  out: valid until the next call. */
int wan_crew_captions(wan_crew *c, wan_caption_rows *out, const char *const *text, int n,
                      int window) WAN_MUST_CHECK;

#endif
