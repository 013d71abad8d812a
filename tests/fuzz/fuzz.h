/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz.h - what the fuzz targets share: a folder of their own in memory, and reading all that a torch
 * file says it holds.
 */
#ifndef WAN_TESTS_FUZZ_H
#define WAN_TESTS_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/rec/tensor/torch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* replay.c sets it where it lets memory fail: then more can go wrong than what the input is to blame for. */
__attribute__((weak)) int fuzz_poor;

/* What must not be, whatever the input. */
static inline int fuzz_broken(void)
{
    if (!fuzz_poor)
        abort();
    return 0;
}

__attribute__((weak)) char fuzz_dir[64];

static inline void fuzz_forget(void)
{
    wan_remove_tree(fuzz_dir);
}

/* Makes the folder at the first call: 1. */
static inline int fuzz_begin(void)
{
    if (*fuzz_dir)
        return 0;
    snprintf(fuzz_dir, sizeof fuzz_dir, "%s/wan-fuzz.XXXXXX",
             access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    if (!mkdtemp(fuzz_dir) || atexit(fuzz_forget))
        abort();
    return 1;
}

static inline const char *fuzz_path(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", fuzz_dir, name);
    return path;
}

/* Not wan_spew, which waits for the disk. */
static inline void fuzz_put(const char *name, const void *data, size_t n)
{
    FILE *f = fopen(fuzz_path(name), "wb");
    if (!f || (n && fwrite(data, 1, n, f) != n) || fclose(f))
        abort();
}

/* A file of the source tree under another name. */
static inline void fuzz_copy(const char *name, const char *from)
{
    char *data;
    size_t n;
    if (wan_slurp(&data, &n, from, 1 << 20) < 0)
        abort();
    fuzz_put(name, data, n);
    free(data);
}

static inline void fuzz_torch(const uint8_t *data, size_t n)
{
    wan_torch *w;
    if (wan_torch_parse(&w, data, n, "input") < 0)
        return;
    for (size_t i = 0; i < wan_torch_count(w); i++) {
        wan_torch_tensor *t = wan_torch_at(w, i);
        if (t->count > 1 << 20)
            continue;
        void *x = malloc((size_t)t->count * 8 + 1);
        if (x && wan_torch_read(w, t, x, WAN_F32) < 0 && wan_torch_read(w, t, x, t->dtype) == 0)
            wan_torch_release(w, t);
        free(x);
    }
    wan_torch_close(&w);
}

#endif
