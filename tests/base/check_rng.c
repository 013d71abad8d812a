/* SPDX-License-Identifier: Apache-2.0
 *
 * check_rng.c - torch's CPU random stream, against tensors that torch wrote; normal numbers of a stream of ours, against
 * libm.
 *
 * torch's vectorised logarithm and sine differ from libm in the last bits, and between its own
 * builds by up to 1.8e-6; the words drawn are the same.
 */
#include "lib/base/rng.h"
#include "lib/rec/tensor/safetensors.h"
#include "tests/tap.h"

static const double BOUND = 4e-6; /* absolute; normal numbers are O(1) */

static double max_difference(const float *a, const float *b, int64_t n)
{
    double worst = 0;
    for (int64_t i = 0; i < n; i++)
        worst = worse(worst, fabs((double)a[i] - b[i]));
    return worst;
}

static void check_whole(wan_st *st, const wan_st_tensor *t)
{
    unsigned long long seed = strtoull(t->name + strlen("randn."), NULL, 10);
    float *want = malloc(t->bytes), *got = malloc(t->bytes);
    wan_mt19937 g;
    if (wan_st_load(st, t->name, t->shape, t->rank, want, WAN_F32) < 0)
        abort();
    wan_mt19937_seed(&g, seed);
    wan_torch_randn(&g, got, (size_t)t->count);
    ok_err(max_difference(got, want, t->count), BOUND, "%s", t->name);
    free(want);
    free(got);
}

/* Several calls on one generator: the state after each length is right too. */
static void check_rows(wan_st *st, uint64_t seed)
{
    static const int rows[] = { 17, 5, 16, 1, 1, 3, 33, 2, 100 };
    double worst = 0;
    wan_mt19937 g;
    wan_mt19937_seed(&g, seed);
    for (int i = 0; i < 9; i++) {
        char name[64];
        float want[128], got[128];
        int64_t shape[1] = { rows[i] };
        snprintf(name, sizeof name, "row.%llu.%d", (unsigned long long)seed, i);
        if (!wan_st_find(st, name))
            return;
        if (wan_st_load(st, name, shape, 1, want, WAN_F32) < 0)
            abort();
        wan_torch_randn(&g, got, (size_t)rows[i]);
        worst = worse(worst, max_difference(got, want, rows[i]));
    }
    ok_err(worst, BOUND, "nine calls on one generator, seed %llu", (unsigned long long)seed);
}

/* Normal numbers are what libm makes of the words, bit for bit, wherever a call begins and ends. */
static void check_normal(uint64_t seed, uint64_t first)
{
    enum { N = 1 << 19 };
    float *got = malloc(N * sizeof *got);
    const wan_rng r = wan_rng_stream(seed, WAN_RNG_TEST, 3, seed);
    long wrong = 0;
    for (uint64_t at = 0, n = 1; at < N; at += n, n = n < 3000 ? n + 7 : 1)
        wan_rng_normal(&r, got + at, first + at, n < N - at ? n : N - at);
    for (uint64_t i = first / 2 * 2; i < first + N; i += 2) {
        double radius = sqrt(-2 * log(wan_rng_uniform(&r, i)));
        double angle = 6.283185307179586476925 * wan_rng_uniform(&r, i + 1);
        float z[2] = { (float)(radius * cos(angle)), (float)(radius * sin(angle)) };
        for (uint64_t k = 0; k < 2; k++)
            if (i + k >= first && i + k < first + N)
                wrong += memcmp(&z[k], &got[i + k - first], sizeof *z) != 0;
    }
    ok(wrong == 0, "normal numbers of seed %llu from %llu: %ld are not libm's",
       (unsigned long long)seed, (unsigned long long)first, wrong);
    free(got);
}

int main(void)
{
    for (uint64_t i = 0; i < 6; i++)
        check_normal(i * 987654321, i % 2 ? i : (1ull << 34) - 1000 * i);

    wan_st *st;
    if (!ok(wan_st_open(&st, "tests/data/ref/rng/out.safetensors") == 0, "open the dump"))
        return tap_done();
    for (size_t i = 0; i < wan_st_count(st); i++)
        if (!strncmp(wan_st_at(st, i)->name, "randn.", 6))
            check_whole(st, wan_st_at(st, i));
    static const uint64_t seeds[] = { 0, 42, 1234, 1099511627783ull };
    for (int i = 0; i < 4; i++)
        check_rows(st, seeds[i]);
    wan_st_close(&st);
    return tap_done();
}
