/* SPDX-License-Identifier: Apache-2.0
 *
 * version.c - what was built from what, for which processor; the only object that knows the commit.
 */
#include "lib/base/opt.h"

#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef WAN_COMMIT
#define WAN_COMMIT "unknown"
#endif
#ifndef WAN_FLAGS
#define WAN_FLAGS ""
#endif

const char *wan_version(void)
{
    return WAN_VERSION " (" WAN_COMMIT ")";
}

const char *wan_version_build(void)
{
    return "compiler " __VERSION__ ", flags " WAN_FLAGS;
}

#ifdef __x86_64__
/* Tools built on one machine of a cluster may be started on an older one: a sentence, not SIGILL.
 * A constructor, and system calls alone, because anything compiled may hold such an instruction. */
__attribute__((constructor)) static void processor_check(void)
{
    const char *missing = NULL;
    __builtin_cpu_init();
#define WAN_NEEDS(feature) missing = __builtin_cpu_supports(feature) ? missing : feature
#ifdef __AVX2__
    WAN_NEEDS("fma");
    WAN_NEEDS("avx2");
#endif
#ifdef __AVX512F__
    WAN_NEEDS("avx512f");
#endif
#ifdef __AVX512VL__
    WAN_NEEDS("avx512vl");
#endif
#ifdef __AVX512BF16__
    WAN_NEEDS("avx512bf16");
#endif
#undef WAN_NEEDS
    if (!missing)
        return;
    static const char head[] = "wan-tools were built for a processor with ",
                      tail[] = ", which this one lacks; build here, or with make ARCH=x86-64-v3\n";
    struct iovec said[] = { { (void *)head, sizeof head - 1 },
                            { (void *)missing, strlen(missing) },
                            { (void *)tail, sizeof tail - 1 } };
    ssize_t n = writev(STDERR_FILENO, said, 3);
    (void)n; /* nowhere to report it */
    _exit(WAN_EXIT_FAILED);
}
#endif
