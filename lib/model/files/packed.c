/* SPDX-License-Identifier: Apache-2.0
 *
 * packed.c - see packed.h.
 */
#include "lib/model/files/packed.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/ends.h"
#include "lib/base/mem.h"

struct wan_packed {
    char *path;
    wan_gguf *file;
    wan_tensorlist list;
    int *index; /* parameter -> tensor */
};

/* Elements of the tensor that is called as `weight`, with "bias" in place of that word; 0: there is none. */
static int64_t bias_of(const wan_gguf *g, const char *weight)
{
    size_t n = strlen(weight) - strlen("weight");
    for (size_t i = 0; i < wan_gguf_count(g); i++) {
        const char *name = wan_gguf_at(g, i)->name;
        if (!strncmp(name, weight, n) && !strcmp(name + n, "bias"))
            return wan_gguf_at(g, i)->count;
    }
    return 0;
}

/* ggml has four extents at most: stable-diffusion.cpp makes one of the two channels of the patches. */
static int add(wan_packed *k, const wan_gguf_tensor *t)
{
    int64_t shape[5] = { 0 };
    if (t->rank != 4 || !wan_ends_with(t->name, "patch_embedding.weight"))
        return wan_tensorlist_add(&k->list, t->name, t->shape, t->rank);
    shape[0] = bias_of(k->file, t->name);
    if (shape[0] < 1 || t->shape[0] % shape[0])
        return wan_err("tensor %s: its first extent, %" PRId64 ", is no multiple of the bias's",
                       t->name, t->shape[0]);
    shape[1] = t->shape[0] / shape[0];
    memcpy(shape + 2, t->shape + 1, 3 * sizeof *shape);
    return wan_tensorlist_add(&k->list, t->name, shape, 5);
}

static int list_all(wan_packed *k)
{
    const char *arch = wan_gguf_string(k->file, "general.architecture");
    int64_t heads = wan_gguf_number(k->file, "wan.attention.head_count", 0);
    k->list =
        (wan_tensorlist){ .what = k->path, .heads = heads > 0 && heads < 1 << 16 ? heads : 0 };
    if (arch && strcmp(arch, "wan") != 0)
        return wan_err("%s: a model of architecture \"%s\", not \"wan\"", k->path, arch);
    for (size_t i = 0; i < wan_gguf_count(k->file); i++)
        if (add(k, wan_gguf_at(k->file, i)) < 0)
            return wan_err_prefix("%s", k->path);
    return wan_tensorlist_done(&k->list);
}

int wan_packed_open(wan_packed **out, const char *path)
{
    wan_packed *k = wan_calloc(1, sizeof *k, "GGUF file");
    *out = NULL;
    if (!k)
        return -1;
    int rc =
        (k->path = strdup(path)) ? wan_gguf_open(&k->file, path) : wan_err("out of memory (path)");
    if (rc == 0)
        rc = list_all(k);
    if (rc < 0)
        wan_packed_close(&k);
    *out = k;
    return rc;
}

const wan_tensorlist *wan_packed_list(const wan_packed *k)
{
    return &k->list;
}

int wan_packed_match(wan_packed *k, const wan_params *p)
{
    free(k->index);
    k->index = wan_calloc((size_t)p->n + 1, sizeof *k->index, "tensor list");
    return k->index ? wan_tensorlist_match(k->index, p, &k->list) : -1;
}

const wan_gguf_tensor *wan_packed_at(const wan_packed *k, int i)
{
    return wan_gguf_at(k->file, (size_t)k->index[i]);
}

int wan_packed_read(wan_packed *k, int i, void *dst, wan_dtype dt)
{
    const wan_gguf_tensor *t = wan_packed_at(k, i);
    int rc = wan_gguf_read(k->file, t, dst, dt);
    wan_packed_release(k, i);
    return rc;
}

void wan_packed_release(const wan_packed *k, int i)
{
    wan_gguf_release(k->file, wan_packed_at(k, i));
}

void wan_packed_close(wan_packed **pk)
{
    wan_packed *k = *pk;
    if (!k)
        return;
    wan_tensorlist_free(&k->list);
    wan_gguf_close(&k->file);
    free(k->index);
    free(k->path);
    free(k);
    *pk = NULL;
}
