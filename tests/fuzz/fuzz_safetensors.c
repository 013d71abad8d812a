/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_safetensors.c - any bytes as a safetensors file; of an accepted one every byte is read.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/rec/tensor/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void use(wan_st *st)
{
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < wan_st_count(st); i++) {
        const wan_st_tensor *t = wan_st_at(st, i);
        for (size_t k = 0; k < t->bytes; k++)
            sum = (uint8_t)(sum + ((const uint8_t *)t->data)[k]);
        float *f = malloc((size_t)t->count * 4 + 1);
        if (f && wan_st_load(st, t->name, t->shape, t->rank, f, WAN_F32) == 0 && t->count)
            sum = (uint8_t)(sum + (f[t->count - 1] > 0));
        free(f);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char path[64];
    wan_st *st;
    int fd = memfd_create("fuzz", 0);
    if (fd < 0 || write(fd, data, n) != (ssize_t)n)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (wan_st_open(&st, path) == 0) {
        use(st);
        wan_st_close(&st);
    }
    close(fd);
    return 0;
}
