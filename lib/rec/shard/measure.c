/* SPDX-License-Identifier: Apache-2.0
 *
 * measure.c - see measure.h.
 */
#include "lib/rec/shard/measure.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/crc32c.h"
#include "lib/base/json.h"
#include "lib/rec/shard/samplemap.h"
#include "lib/rec/tensor/torch.h"

int wan_measure_map(wan_shard_map *m, const char *path)
{
    struct stat st;
    *m = (wan_shard_map){ NULL, 0 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !st.st_size) {
        int rc = fd < 0 || fstat(fd, &st) < 0 ? wan_err_errno("%s: cannot open", path)
                                              : wan_err("%s: no file, or an empty one", path);
        if (fd >= 0)
            close(fd);
        return rc;
    }
    void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    int rc = data == MAP_FAILED ? wan_err_errno("%s: cannot map", path) : 0;
    close(fd);
    if (rc == 0)
        *m = (wan_shard_map){ data, (uint64_t)st.st_size };
    return rc;
}

void wan_measure_unmap(wan_shard_map *m)
{
    if (m->data)
        munmap((void *)m->data, (size_t)m->size);
    *m = (wan_shard_map){ NULL, 0 };
}

int64_t wan_measure_rows(const void *text, int64_t rows, uint64_t width)
{
    const uint8_t *p = text;
    for (; rows > 1; rows--) {
        const uint8_t *row = p + (uint64_t)(rows - 1) * width;
        if (*row || memcmp(row, row + 1, width - 1))
            break;
    }
    return rows;
}

/* The payload of a part, inside the map. */
static int payload(const uint8_t **data, const wan_shard_part *p, const wan_shard_map *m)
{
    if (p->at > m->size || p->size > m->size - p->at)
        return wan_err("%s: reaches over the end of the shard", p->name);
    *data = m->data + p->at;
    return 0;
}

int wan_measure_latent(wan_sample_info *info, const wan_torch_tensor *t)
{
    int skip =
        t && t->rank == 5 && t->shape[0] == 1; /* DFM's image example keeps the batch of one */
    if (!t || t->rank - skip != 4 || !t->count)
        return wan_err("pth: no tensor of four dimensions");
    memcpy(info->latent, t->shape + skip, sizeof info->latent);
    return info->latent[2] % 2 || info->latent[3] % 2
               ? wan_err("pth: height %" PRId64 " and width %" PRId64 " must be even",
                         info->latent[2], info->latent[3])
               : 0;
}

int wan_measure_text(wan_sample_info *info, const wan_torch_tensor *t)
{
    int skip = t && t->rank == 3 && t->shape[0] == 1;
    if (!t || t->rank - skip != 2 || !t->count)
        return wan_err("pickle: no tensor of two dimensions");
    info->text_rows = t->shape[skip];
    info->text_dim = t->shape[skip + 1];
    if (t->contiguous)
        info->text_rows = wan_measure_rows(t->data, info->text_rows,
                                           (uint64_t)info->text_dim * wan_dtype_size(t->dtype));
    return 0;
}

static int part_sizes(wan_sample_info *info, const wan_shard_sample *s, const char *name,
                      const wan_shard_map *m,
                      int (*set)(wan_sample_info *, const wan_torch_tensor *))
{
    const wan_shard_part *p = wan_shard_find(s, name);
    const uint8_t *data = NULL;
    wan_torch *w;
    if (!p)
        return wan_err("part %s is missing", name);
    WAN_TRY(payload(&data, p, m));
    WAN_TRY(wan_torch_parse(&w, data, p->size, name));
    int rc = set(info, wan_torch_find(w, ""));
    wan_torch_close(&w);
    return rc;
}

/* Rows of the longest of several captions. */
static int longest_text(wan_sample_info *info, const wan_shard_sample *s, const wan_shard_map *m)
{
    static const char other[] = "\"text_2\"";
    const wan_shard_part *p = wan_shard_find(s, "json");
    const uint8_t *data = NULL;
    if (!p)
        return 0;
    WAN_TRY(payload(&data, p, m));
    if (!memmem(data, p->size, other, sizeof other - 1))
        return 0;
    json_t *root = wan_json_parse((const char *)data, p->size, "json");
    const json_t *line, *table = json_object_get(json_object_get(root, "wan"), "tensors");
    size_t i;
    json_array_foreach(table, i, line)
    {
        const char *name = json_string_value(json_object_get(line, "name"));
        int64_t rows = json_integer_value(json_array_get(json_object_get(line, "shape"), 0));
        if (name && !strncmp(name, "text_", 5) && rows > info->text_rows)
            info->text_rows = rows;
    }
    json_decref(root);
    return root ? 0 : -1;
}

int wan_measure_sizes(wan_sample_info *info, const wan_shard_sample *s, const wan_shard_map *m)
{
    *info = (wan_sample_info){ { 0 }, 0, 0 };
    WAN_TRY(part_sizes(info, s, "pth", m, wan_measure_latent));
    WAN_TRY(part_sizes(info, s, "pickle", m, wan_measure_text));
    return longest_text(info, s, m);
}

/* Digests of the json member, and of all others when it does not hold theirs. */
static int digests(wan_sizes_row *row, const wan_shard_sample *s, const wan_shard_map *m)
{
    const wan_shard_part *json = wan_shard_find(s, "json");
    const uint8_t *data = NULL;
    int own = 0;
    if (json) {
        WAN_TRY(payload(&data, json, m));
        row->json = wan_crc32c(0, data, json->size);
        own = wan_samplemap_own(data, json->size);
    }
    for (int i = 0; !own && i < s->n; i++) {
        if (&s->part[i] == json)
            continue;
        WAN_TRY(payload(&data, &s->part[i], m));
        row->rest = wan_crc32c(row->rest, data, s->part[i].size);
    }
    return 0;
}

void wan_measure_other(void *others, uint64_t at, uint64_t size)
{
    wan_measure_others *o = others;
    if (at <= o->m->size && size <= o->m->size - at)
        o->crc = wan_crc32c(o->crc, o->m->data + at, size);
}

int wan_measure_row(wan_sizes_row *row, const wan_shard_sample *s, const wan_shard_map *m)
{
    wan_sample_info f;
    *row = (wan_sizes_row){ { 0 }, 0, 0, 0, 0 };
    WAN_TRY(digests(row, s, m));
    WAN_TRY(wan_measure_sizes(&f, s, m));
    for (int i = 0; i < 4; i++)
        if (f.latent[i] > UINT32_MAX)
            return wan_err("pth: a size of %" PRId64, f.latent[i]);
    if (f.text_rows > UINT32_MAX || f.text_dim > UINT32_MAX)
        return wan_err("pickle: a size of %" PRId64, f.text_rows);
    for (int i = 0; i < 4; i++)
        row->latent[i] = (uint32_t)f.latent[i];
    row->text_rows = (uint32_t)f.text_rows;
    row->text_dim = (uint32_t)f.text_dim;
    return 0;
}
