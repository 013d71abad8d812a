/* SPDX-License-Identifier: Apache-2.0
 *
 * emu_trace.cc - bytes that kernels load and store.  In libwan-emu-trace.so the kernels are compiled with
 * -fsanitize=thread, which calls a function at every access to memory; here are these functions in place of
 * that sanitizer's own.  What lies in blocks of cudaMalloc is counted: no shared memory, no registers.
 */
#include "cuda_runtime.h"

#include <map>
#include <vector>

#include "counts.h"

enum {
    FEW = 8
}; /* times that a byte is read by one op, beyond which all rows share it: it stays in a cache */

typedef std::vector<unsigned char> times; /* of each byte of a block */
static std::map<char *, times> seen[2];
static double flops;
static int on;

void emu_touch(const void *p, size_t bytes, int write)
{
    static char *start; /* the block before: most accesses are near */
    static size_t size;
    static times *count[2];
    static int era;
    if (!on)
        return;
    if (era != on || (const char *)p < start || (const char *)p >= start + size) {
        start = emu_block_of(p, &size);
        if (!start) {
            size = 0;
            return;
        }
        era = on;
        for (int k = 0; k < 2; k++) {
            count[k] = &seen[k][start];
            count[k]->resize(size);
        }
    }
    unsigned char *c = count[write]->data() + ((const char *)p - start);
    for (size_t i = 0; i < bytes; i++)
        c[i] += c[i] < 255;
}

void emu_spend(double n)
{
    flops += on ? n : 0;
}

static double bytes_of(int write)
{
    double sum = 0;
    for (auto &b : seen[write])
        for (unsigned char n : b.second)
            sum += n <= FEW ? n : 1;
    return sum;
}

/* Begins a count, or ends it with what was counted since. */
extern "C" __attribute__((visibility("default"))) void emu_trace(int begin, emu_moved *m)
{
    static int era;
    on = begin ? ++era : 0;
    if (!begin)
        *m = { bytes_of(0), bytes_of(1), flops };
    flops = 0;
    seen[0].clear();
    seen[1].clear();
}

#define HOOK(name, bytes, write)                                                                   \
    extern "C" void __tsan_##name(void *p)                                                         \
    {                                                                                              \
        emu_touch(p, bytes, write);                                                                \
    }
HOOK(read1, 1, 0)
HOOK(read2, 2, 0)
HOOK(read4, 4, 0)
HOOK(read8, 8, 0)
HOOK(read16, 16, 0)
HOOK(write1, 1, 1)
HOOK(write2, 2, 1)
HOOK(write4, 4, 1)
HOOK(write8, 8, 1)
HOOK(write16, 16, 1)
HOOK(unaligned_read2, 2, 0)
HOOK(unaligned_read4, 4, 0)
HOOK(unaligned_read8, 8, 0)
HOOK(unaligned_read16, 16, 0)
HOOK(unaligned_write2, 2, 1)
HOOK(unaligned_write4, 4, 1)
HOOK(unaligned_write8, 8, 1)
HOOK(unaligned_write16, 16, 1)

extern "C" void __tsan_read_range(void *p, size_t n)
{
    emu_touch(p, n, 0);
}

extern "C" void __tsan_write_range(void *p, size_t n)
{
    emu_touch(p, n, 1);
}

extern "C" void __tsan_init(void) {}
extern "C" void __tsan_func_entry(void *) {}
extern "C" void __tsan_func_exit(void) {}
extern "C" void __tsan_vptr_update(void **, void *) {}
extern "C" void __tsan_vptr_read(void **) {}
