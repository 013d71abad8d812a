/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_gguf.c - any bytes as a GGUF file; of an accepted one every tensor is unpacked.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/rec/tensor/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void use(const wan_gguf *g)
{
    volatile float sum = 0;
    for (size_t i = 0; i < wan_gguf_count(g); i++) {
        const wan_gguf_tensor *t = wan_gguf_at(g, i);
        float *f = malloc((size_t)t->count * 4 + 1);
        if (f && wan_gguf_read(g, t, f, WAN_F32) == 0 && t->count)
            sum = sum + f[t->count - 1];
        wan_gguf_release(g, t);
        free(f);
    }
    sum = sum + (float)wan_gguf_number(g, "general.alignment", 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char path[64];
    wan_gguf *g;
    int fd = memfd_create("fuzz", 0);
    if (fd < 0 || write(fd, data, n) != (ssize_t)n)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (wan_gguf_open(&g, path) == 0) {
        use(g);
        wan_gguf_close(&g);
    }
    close(fd);
    return 0;
}
