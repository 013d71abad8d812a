/* SPDX-License-Identifier: Apache-2.0
 *
 * philox.cuh - the random streams of lib/base/rng.h on CUDA: the same numbers, four at a time.
 */
#ifndef WAN_KERNELS_PHILOX_CUH
#define WAN_KERNELS_PHILOX_CUH

#include "kernels/cuda_util.cuh"

static __device__ inline void philox(uint32_t c[4], uint32_t k0, uint32_t k1)
{
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
        uint32_t n0 = (uint32_t)(b >> 32) ^ c[1] ^ k0, n2 = (uint32_t)(a >> 32) ^ c[3] ^ k1;
        c[1] = (uint32_t)b;
        c[3] = (uint32_t)a;
        c[0] = n0;
        c[2] = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

static __device__ inline void box_muller(float out[2], uint32_t a, uint32_t b)
{
    const double ulp = 1.0 / 4294967296.0;
    double u = ((double)a + 0.5) * ulp, v = ((double)b + 0.5) * ulp;
    double radius = sqrt(-2 * log(u)), angle = 6.283185307179586476925 * v;
    out[0] = (float)(radius * cos(angle));
    out[1] = (float)(radius * sin(angle));
}

/* z = elements 4b .. 4b+3 of the stream, standard normal */
static __device__ inline void normal4(float z[4], const wan_rng &r, uint64_t b)
{
    uint32_t w[4] = { (uint32_t)b, (uint32_t)(b >> 32) ^ r.hi[0], r.hi[1], r.hi[2] };
    philox(w, r.key[0], r.key[1]);
    box_muller(z, w[0], w[1]);
    box_muller(z + 2, w[2], w[3]);
}

#endif
