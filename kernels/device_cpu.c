/* SPDX-License-Identifier: Apache-2.0
 *
 * device_cpu.c - the CPU as a device: host memory, work done when the call returns.
 */
#include "kernels/cpu.h"
#include "kernels/device_cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernels/rows.h"

#define HUGE_PAGE ((size_t)2 << 20)

static int cpu_open(wan_dev *d, int index)
{
    (void)d;
    if (index != 0)
        return wan_err("cpu:%d: there is one CPU device, cpu", index);
    return 0;
}

static void cpu_close(wan_dev *d)
{
    (void)d;
}

static void *cpu_alloc(wan_dev *d, size_t bytes)
{
    (void)d;
    size_t align = bytes >= 2 * HUGE_PAGE ? HUGE_PAGE : 64;
    void *p = NULL;
    if (posix_memalign(&p, align, bytes ? bytes : 1) != 0)
        return NULL;
    if (align == HUGE_PAGE) /* fewer page faults and TLB misses; a hint, so failure is fine */
        (void)madvise(p, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
    return p;
}

static void cpu_free(wan_dev *d, void *p)
{
    (void)d;
    free(p);
}

static int cpu_copy(wan_dev *d, void *dst, const void *src, size_t bytes)
{
    (void)d;
    if (bytes)
        memmove(dst, src, bytes);
    return 0;
}

static int cpu_zero(wan_dev *d, void *p, size_t bytes)
{
    const size_t parts = bytes < 2 * HUGE_PAGE ? 1 : (size_t)wan_rows_threads();
    const size_t unit = bytes < 16 * HUGE_PAGE ? 4096 : HUGE_PAGE;
    const size_t piece = (bytes / parts + unit) / unit * unit;
    (void)d;
    /* memory touched for the first time is cleared by the kernel, at a tenth of its speed: all threads wait for
     * that; in large pieces, which memset writes past the caches */
#pragma omp parallel for if (parts > 1)
    for (size_t i = 0; i < parts; i++) {
        size_t at = i * piece;
        if (at < bytes)
            memset((char *)p + at, 0, bytes - at < piece ? bytes - at : piece);
    }
    return 0;
}

static int cpu_sync(wan_dev *d)
{
    (void)d;
    return 0;
}

/* The number behind "key:" in a /proc file of "key: value" lines; 0 when absent. */
static size_t proc_number(const char *file, const char *key)
{
    char line[256];
    unsigned long long v = 0;
    FILE *f = fopen(file, "r");
    if (!f)
        return 0;
    while (!v && fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0 && line[strlen(key)] == ':')
            v = strtoull(line + strlen(key) + 1, NULL, 10);
    fclose(f);
    return (size_t)v;
}

static int cpu_memory(wan_dev *d, size_t *free_bytes, size_t *total_bytes)
{
    (void)d;
    *free_bytes = proc_number("/proc/meminfo", "MemAvailable") * 1024;
    *total_bytes = proc_number("/proc/meminfo", "MemTotal") * 1024;
    if (!*total_bytes)
        return wan_err("/proc/meminfo: no MemTotal line");
    return 0;
}

/* "model name" of /proc/cpuinfo, "CPU" where there is none. */
static void cpu_model(char *name, size_t size)
{
    char line[256];
    snprintf(name, size, "CPU");
    FILE *f = fopen("/proc/cpuinfo", "r");
    if (!f)
        return;
    while (fgets(line, sizeof line, f)) {
        char *v = strstr(line, ": ");
        if (v && strncmp(line, "model name", 10) == 0) {
            v[strcspn(v, "\n")] = 0;
            snprintf(name, size, "%s", v + 2);
            break;
        }
    }
    fclose(f);
}

static int cpu_describe(wan_dev *d, char *text, size_t size)
{
    (void)d;
    char name[200];
    cpu_model(name, sizeof name);
#ifdef __x86_64__
    const char *isa = __builtin_cpu_supports("avx512f") ? "AVX-512"
                      : __builtin_cpu_supports("avx2")  ? "AVX2"
                                                        : "SSE2";
#else
    const char *isa = "portable C";
#endif
    static const char *const how[] = { [WAN_CPU_PORTABLE] = "widened to fp32",
                                       [WAN_CPU_BF16] = "by AVX512-BF16",
                                       [WAN_CPU_AMX] = "in AMX tiles" };
    snprintf(text, size, "%s, %d threads, %s, bf16 %s", name, wan_rows_threads(), isa,
             how[wan_cpu_isa()]);
    return 0;
}

const wan_backend wan_device_cpu = {
    .name = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .write = cpu_copy,
    .read = cpu_copy,
    .copy = cpu_copy,
    .zero = cpu_zero,
    .sync = cpu_sync,
    .memory = cpu_memory,
    .describe = cpu_describe,
};
