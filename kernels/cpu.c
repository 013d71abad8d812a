/* SPDX-License-Identifier: Apache-2.0
 *
 * cpu.c - what this CPU can multiply fast.
 */
#include "kernels/cpu.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* In ascending order of what they need. */
static const char *const names[] = { "portable", "bf16", "amx" };

#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Tiles exist, do bf16, and Linux has granted their state (arch_prctl ARCH_REQ_XCOMP_PERM). */
static int amx_usable(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d >> 22 & 1) == 0 || (d >> 24 & 1) == 0)
        return 0;
    return syscall(SYS_arch_prctl, 0x1023, 18) == 0;
}

static int bf16_usable(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bf16");
}

static enum wan_cpu_vectors widest(void)
{
    if (__builtin_cpu_supports("avx512f"))
        return WAN_CPU_AVX512;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? WAN_CPU_AVX2
                                                                           : WAN_CPU_PLAIN;
}

/* The most that oneDNN, which does the smaller products, is allowed by its environment: below, it has no products
 * in bf16, or ones that take a hundred times as long. */
static enum wan_cpu_isa allowed(void)
{
    static const char *const none[] = { "SSE41",       "AVX",
                                        "AVX2",        "AVX2_VNNI",
                                        "AVX512_MIC",  "AVX512_MIC_4OPS",
                                        "AVX512_CORE", "AVX512_CORE_VNNI" };
    const char *max = getenv("ONEDNN_MAX_CPU_ISA");
    max = max ? max : getenv("DNNL_MAX_CPU_ISA");
    for (size_t i = 0; max && i < sizeof none / sizeof *none; i++)
        if (strcasecmp(max, none[i]) == 0)
            return WAN_CPU_PORTABLE;
    return max && (strcasecmp(max, "AVX512_CORE_BF16") == 0 ||
                   strcasecmp(max, "AVX512_CORE_FP16") == 0)
               ? WAN_CPU_BF16
               : WAN_CPU_AMX;
}

/* The best that could run. */
static enum wan_cpu_isa most(void)
{
    enum wan_cpu_isa top = allowed();
    if (top == WAN_CPU_PORTABLE || !bf16_usable())
        return WAN_CPU_PORTABLE;
    return top == WAN_CPU_AMX && amx_usable() ? WAN_CPU_AMX : WAN_CPU_BF16;
}

/* Whether AVX512-BF16 beats fp32 multiply-adds, by family and model: AMD does twice as many products
 * (Zen 4 and later); Intel's Sapphire and Emerald Rapids do half as many, so that without tiles operands
 * are better widened.  -1: not known. */
static int known(void)
{
    unsigned a, b, c, d, family, model;
    __cpuid(0, a, b, c, d);
    int amd = b == signature_AMD_ebx, intel = b == signature_INTEL_ebx;
    __cpuid(1, a, b, c, d);
    family = (a >> 8 & 15) + (a >> 20 & 255);
    model = (a >> 4 & 15) | (a >> 12 & 0xf0);
    if (amd && (family == 0x19 || family == 0x1a))
        return 1;
    return intel && family == 6 && (model == 0x8f || model == 0xcf) ? 0 : -1;
}

enum { ROUNDS = 20000, ACC = 12, TRIALS = 7 };
#define BF16 __attribute__((target("avx512f,avx512bf16")))

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* One instruction on as many registers as hide its latency. */
BF16 static double time_pairs(void)
{
    __m512 acc[ACC];
    __m512bh x = (__m512bh)_mm512_set1_epi32(0x3f003f00);
    double t = seconds();
    for (int i = 0; i < ACC; i++)
        acc[i] = _mm512_set1_ps((float)i);
    for (int r = 0; r < ROUNDS; r++)
        for (int i = 0; i < ACC; i++)
            __asm__ volatile("vdpbf16ps %1, %1, %0" : "+v"(acc[i]) : "v"(x));
    return seconds() - t;
}

BF16 static double time_fma(void)
{
    __m512 acc[ACC], x = _mm512_set1_ps(0.5f);
    double t = seconds();
    for (int i = 0; i < ACC; i++)
        acc[i] = _mm512_set1_ps((float)i);
    for (int r = 0; r < ROUNDS; r++)
        for (int i = 0; i < ACC; i++)
            __asm__ volatile("vfmadd231ps %1, %1, %0" : "+v"(acc[i]) : "v"(x));
    return seconds() - t;
}

/* A pair is two products: ahead when it takes less than the time of two; best of several trials. */
static int measured(void)
{
    double pairs = 1, fma = 1;
    for (int i = 0; i < TRIALS; i++) {
        double p = time_pairs(), f = time_fma();
        pairs = p < pairs ? p : pairs;
        fma = f < fma ? f : fma;
    }
    return pairs < 1.8 * fma;
}

static enum wan_cpu_isa best(enum wan_cpu_isa most)
{
    int faster = most == WAN_CPU_BF16 ? known() : 1;
    if (faster < 0)
        faster = measured();
    return faster ? most : WAN_CPU_PORTABLE;
}
#else
static enum wan_cpu_vectors widest(void)
{
    return WAN_CPU_PLAIN;
}

static enum wan_cpu_isa most(void)
{
    return WAN_CPU_PORTABLE;
}

static enum wan_cpu_isa best(enum wan_cpu_isa most)
{
    return most;
}
#endif

static int chosen = -1;

/* The way with this name, or -1. */
static int find(const char *name)
{
    for (int i = 0; name && i < (int)(sizeof names / sizeof *names); i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    return -1;
}

enum wan_cpu_isa wan_cpu_isa(void)
{
    int way = __atomic_load_n(&chosen, __ATOMIC_RELAXED), none = -1;
    if (way >= 0)
        return (enum wan_cpu_isa)way;
    const int top = (int)most(), asked = find(getenv("WAN_CPU_ISA"));
    way = asked < 0 ? (int)best((enum wan_cpu_isa)top) : asked < top ? asked : top;
    /* threads that measure at the same time may differ: the first settles it */
    if (!__atomic_compare_exchange_n(&chosen, &none, way, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        way = none;
    return (enum wan_cpu_isa)way;
}

int wan_cpu_choose(const char *name)
{
    int way = find(name);
    if (way < 0 || way > (int)most())
        return -1;
    if (!getenv("WAN_CPU_ISA"))
        chosen = way;
    return 0;
}

const char *wan_cpu_isa_name(void)
{
    return names[wan_cpu_isa()];
}

enum wan_cpu_vectors wan_cpu_vectors(void)
{
    static const char *const vectors[] = { "plain", "avx2", "avx512" };
    static int known = -1;
    if (known < 0) {
        const char *asked = getenv("WAN_CPU_VECTORS");
        int top = (int)widest();
        for (int i = 0; asked && i < top; i++)
            if (strcmp(asked, vectors[i]) == 0)
                top = i;
        known = top;
    }
    return (enum wan_cpu_vectors)known;
}
