/* SPDX-License-Identifier: Apache-2.0
 *
 * cpu.c - what this CPU can multiply fast.
 */
#include "kernels/cpu.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[] = { "portable", "bf16", "amx" };

#ifdef __x86_64__
#include <cpuid.h>
#include <sys/syscall.h>
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

static enum wan_cpu_isa detect(void)
{
    return !bf16_usable() ? WAN_CPU_PORTABLE : amx_usable() ? WAN_CPU_AMX : WAN_CPU_BF16;
}
#else
static enum wan_cpu_isa detect(void)
{
    return WAN_CPU_PORTABLE;
}
#endif

enum wan_cpu_isa wan_cpu_isa(void)
{
    static int known = -1;
    if (known >= 0)
        return (enum wan_cpu_isa)known;
    int isa = (int)detect();
    const char *cap = getenv("WAN_CPU_ISA");
    for (int i = 0; cap && i < isa; i++)
        if (strcmp(cap, names[i]) == 0)
            isa = i;
    known = isa;
    return (enum wan_cpu_isa)isa;
}

const char *wan_cpu_isa_name(void)
{
    return names[wan_cpu_isa()];
}
