/* SPDX-License-Identifier: Apache-2.0
 *
 * rng.h - counter-based random numbers: Philox4x32-10 (Salmon et al., SC'11).
 *
 * A stream is named by (seed, purpose, step, sample); element i of a stream is always the same
 * number, on any rank, thread, device or resume.  Nothing here has state.
 */
#ifndef WAN_BASE_RNG_H
#define WAN_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

enum wan_rng_purpose {
    WAN_RNG_INIT = 1,    /* parameter initialisation; step = tensor index */
    WAN_RNG_SIGMA = 2,   /* training timestep */
    WAN_RNG_NOISE = 3,   /* training noise */
    WAN_RNG_DROPOUT = 4, /* caption dropout */
    WAN_RNG_SHUFFLE = 5, /* order of samples; step = epoch */
    WAN_RNG_SAMPLE = 6,  /* initial noise of the sampler */
    WAN_RNG_MOCK = 7,    /* mock data */
    WAN_RNG_CAPTION = 8, /* which of several captions */
    WAN_RNG_LATENT = 9,  /* sample of the VAE's posterior; seed from the record's key */
    WAN_RNG_TEST = 15,
};

typedef struct wan_rng {
    uint32_t key[2]; /* from the seed */
    uint32_t hi[3];  /* from purpose, step, sample: upper counter words */
} wan_rng;

wan_rng wan_rng_stream(uint64_t seed, enum wan_rng_purpose purpose, uint64_t step, uint64_t sample);
/* The raw block function: counter and key to four words. */
void wan_philox(uint32_t out[4], const uint32_t ctr[4], const uint32_t key[2]);
/* Element i of the stream, of 32 bits; uniform in (0, 1). */
double wan_rng_uniform(const wan_rng *r, uint64_t i);
uint32_t wan_rng_u32(const wan_rng *r, uint64_t i);
/* Uniform integer in [0, n), unbiased to 2^-32 relative; n >= 1. */
uint64_t wan_rng_below(const wan_rng *r, uint64_t i, uint64_t n);
/* Standard normal elements [first, first+n) of the stream (rng_normal.c: Box-Muller on pairs of words 2j,2j+1,
 * computed in float64, rounded to float). */
void wan_rng_normal(const wan_rng *r, float *out, uint64_t first, size_t n);

/* torch's CPU generator (MT19937 + its normal_ code path), for --rng torch-cpu. */
typedef struct wan_mt19937 {
    uint32_t s[624];
    int i;
    int have; /* a normal number is left over from an odd draw of fewer than 16 */
    double kept;
} wan_mt19937;
void wan_mt19937_seed(wan_mt19937 *g, uint64_t seed);
uint32_t wan_mt19937_u32(wan_mt19937 *g);
/* Same values as torch.randn(n, generator=torch.Generator().manual_seed(seed)) on CPU. */
void wan_torch_randn(wan_mt19937 *g, float *out, size_t n);

#endif
