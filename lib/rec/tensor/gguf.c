/* SPDX-License-Identifier: Apache-2.0
 *
 * gguf.c - see gguf.h: opening, unpacking.  What the bytes mean is in gguf_parse.c, values of
 * metadata are in gguf_meta.c.
 */
#include "lib/rec/tensor/gguf.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/rec/tensor/gguf_in.h"
#include "lib/rec/tensor/mapped.h"

int wan_gguf_is(const char *path)
{
    size_t n = strlen(path);
    return n > 5 && !strcasecmp(path + n - 5, ".gguf");
}

int wan_gguf_open(wan_gguf **out, const char *path)
{
    wan_gguf *g = wan_calloc(1, sizeof *g, "GGUF file");
    *out = NULL;
    if (!g)
        return -1;
    int rc = (g->path = strdup(path)) ? wan_mapped(&g->map, &g->size, path, "GGUF", 24)
                                      : wan_err("out of memory (path)");
    if (rc == 0)
        rc = wan_gguf_parse(g);
    if (rc < 0)
        wan_gguf_close(&g);
    *out = g;
    return rc;
}

size_t wan_gguf_count(const wan_gguf *g)
{
    return g->n_tensors;
}

const wan_gguf_tensor *wan_gguf_at(const wan_gguf *g, size_t i)
{
    return &g->tensor[i];
}

int wan_gguf_read(const wan_gguf *g, const wan_gguf_tensor *t, void *dst, wan_dtype dt)
{
    enum { PIECE = 4096 };
    float value[PIECE];
    const size_t n = (size_t)t->count;
    if (!t->quant) {
        if (wan_convert(dst, dt, t->data, t->dtype, n) < 0)
            return wan_err_prefix("%s: tensor %s", g->path, t->name);
        return 0;
    }
    const size_t values = wan_quant_values(t->quant), bytes = wan_quant_bytes(t->quant);
    for (size_t i = 0; i < n; i += PIECE) {
        size_t m = n - i < PIECE ? n - i : PIECE;
        wan_quant_decode(value, (const char *)t->data + i / values * bytes, t->quant, m);
        if (wan_convert((char *)dst + i * wan_dtype_size(dt), dt, value, WAN_F32, m) < 0)
            return wan_err_prefix("%s: tensor %s", g->path, t->name);
    }
    return 0;
}

void wan_gguf_release(const wan_gguf *g, const wan_gguf_tensor *t)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)t->data;
    uintptr_t begin = (at + page - 1) / page * page, end = (at + t->bytes) / page * page;
    (void)g;
    if (end > begin)
        madvise((void *)begin, end - begin, MADV_DONTNEED);
}

void wan_gguf_close(wan_gguf **pg)
{
    wan_gguf *g = *pg;
    if (!g)
        return;
    for (size_t i = 0; i < g->n_pairs; i++) {
        free(g->pair[i].key);
        free(g->pair[i].text);
    }
    for (size_t i = 0; i < g->n_tensors; i++)
        free((char *)g->tensor[i].name);
    if (g->map)
        munmap((void *)g->map, g->size);
    free(g->pair);
    free(g->tensor);
    free(g->path);
    free(g);
    *pg = NULL;
}
