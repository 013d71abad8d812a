/* SPDX-License-Identifier: Apache-2.0
 *
 * dataset_read.c - one sample: its shapes from mapped headers, or all of it, checked.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/rec/shard/dataset_in.h"
#include "lib/rec/shard/samplemap.h"
#include "lib/rec/shard/shard.h"
#include "lib/rec/tensor/torch.h"

/* The shard that holds sample i of the split, and its number there. */
static const struct wan_dataset_shard *locate(const wan_dataset *d, int64_t i, size_t *at)
{
    size_t lo = 0, hi = d->n_shards;
    if (i < 0 || i >= d->count) {
        wan_err("sample %" PRId64 " of %" PRId64, i, d->count);
        return NULL;
    }
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (d->shard[mid].first <= i)
            lo = mid;
        else
            hi = mid;
    }
    const struct wan_dataset_shard *s = &d->shard[lo];
    size_t k = (size_t)(i - s->first);
    *at = s->keep ? s->keep[k] : k;
    return s;
}

/* Opens the range of one sample and reads it as far as asked. */
static int open_sample(wan_shard_reader **r, wan_shard_sample *x, const struct wan_dataset_shard *s,
                       size_t at, int headers)
{
    WAN_TRY(wan_shard_reader_open_range(r, s->path, headers, s->offset[at], s->offset[at + 1]));
    int rc = wan_shard_reader_next(*r, x);
    if (rc == 1 && x->end != s->offset[at + 1])
        rc = wan_err("%s: sample %s: the index is stale; run wan-index again", s->path, x->key);
    else if (rc == 0)
        rc = wan_err("%s: sample %zu is missing; run wan-index again", s->path, at);
    if (rc == 1)
        return 0;
    wan_shard_reader_close(r);
    return -1;
}

static int need(const wan_shard_sample *x, const char *name, const wan_shard_part **p)
{
    *p = wan_shard_find(x, name);
    return *p ? 0 : wan_err("part %s is missing", name);
}

/* Shapes; a batch of one in front of the text is dropped (old DFM shards). */
static int set_latent(wan_sample_info *info, const wan_torch_tensor *t)
{
    if (!t || t->rank != 4 || !t->count)
        return wan_err("pth: no tensor of four dimensions");
    memcpy(info->latent, t->shape, sizeof info->latent);
    return info->latent[2] % 2 || info->latent[3] % 2
               ? wan_err("pth: height %" PRId64 " and width %" PRId64 " must be even",
                         info->latent[2], info->latent[3])
               : 0;
}

static int set_text(wan_sample_info *info, const wan_torch_tensor *t)
{
    int skip = t && t->rank == 3 && t->shape[0] == 1;
    if (!t || t->rank - skip != 2 || !t->count)
        return wan_err("pickle: no tensor of two dimensions");
    info->text_rows = t->shape[skip];
    info->text_dim = t->shape[skip + 1];
    return 0;
}

static int set_shape(wan_sample_info *info, const char *part, wan_torch *w)
{
    const wan_torch_tensor *t = wan_torch_find(w, "");
    return !strcmp(part, "pth") ? set_latent(info, t) : set_text(info, t);
}

/* The headers of a torch part, mapped: only the pages at its ends are touched. */
static int map_shape(wan_sample_info *info, const wan_shard_part *p, int fd)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), from = p->at & ~(page - 1);
    size_t n = (size_t)(p->at - from + p->size);
    uint8_t *map = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, (off_t)from);
    wan_torch *w;
    if (map == MAP_FAILED)
        return wan_err_errno("cannot map");
    int rc = wan_torch_parse(&w, map + (p->at - from), p->size, p->name);
    if (rc == 0) {
        rc = set_shape(info, p->name, w);
        wan_torch_close(&w);
    }
    munmap(map, n);
    return rc;
}

static int read_info(wan_sample_info *info, const wan_shard_sample *x, const char *path)
{
    const wan_shard_part *pth, *text;
    WAN_TRY(need(x, "pth", &pth));
    WAN_TRY(need(x, "pickle", &text));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return wan_err_errno("cannot open");
    int rc = map_shape(info, pth, fd);
    if (rc == 0)
        rc = map_shape(info, text, fd);
    close(fd);
    return rc;
}

int wan_dataset_info(const wan_dataset *d, int64_t i, wan_sample_info *info)
{
    size_t at;
    const struct wan_dataset_shard *s = locate(d, i, &at);
    wan_shard_reader *r;
    wan_shard_sample x;
    if (!s)
        return -1;
    WAN_TRY(open_sample(&r, &x, s, at, 1));
    int rc = read_info(info, &x, s->path);
    if (rc < 0)
        wan_err_prefix("%s: sample %s", s->path, x.key);
    wan_shard_reader_close(&r);
    return rc;
}

static int read_tensor(float **out, wan_sample_info *info, const wan_shard_sample *x,
                       const char *part, float limit)
{
    const wan_shard_part *p;
    wan_torch *w;
    WAN_TRY(need(x, part, &p));
    WAN_TRY(wan_torch_parse(&w, p->data, p->size, part));
    wan_torch_tensor *t = wan_torch_find(w, "");
    int rc = set_shape(info, part, w);
    if (rc == 0 && (uint64_t)t->count > p->size) /* an expanded view */
        rc = wan_err("%s: its tensor is larger than the file", part);
    if (rc == 0)
        rc = (*out = wan_malloc((size_t)t->count, sizeof **out, part)) ? 0 : -1;
    if (rc == 0)
        rc = wan_torch_read(w, t, *out, WAN_F32);
    if (rc == 0)
        rc = wan_samplemap_finite(*out, t->count, limit, part);
    wan_torch_close(&w);
    return rc;
}

static int read_sample(wan_sample *s, const wan_shard_sample *x)
{
    const wan_shard_part *p;
    if (!(s->key = strdup(x->key)))
        return wan_err("out of memory (key)");
    WAN_TRY(need(x, "json", &p));
    if (!(s->json = wan_json_parse(p->data, p->size, "json")))
        return -1;
    WAN_TRY(read_tensor(&s->latent, &s->info, x, "pth", WAN_SAMPLE_LATENT_MAX));
    return read_tensor(&s->text, &s->info, x, "pickle", 0);
}

int wan_dataset_read(const wan_dataset *d, int64_t i, wan_sample *s)
{
    size_t at;
    const struct wan_dataset_shard *sh = locate(d, i, &at);
    wan_shard_reader *r;
    wan_shard_sample x;
    wan_sample_clear(s);
    if (!sh)
        return -1;
    WAN_TRY(open_sample(&r, &x, sh, at, 0));
    int rc = read_sample(s, &x);
    if (rc < 0) {
        wan_err_prefix("%s: sample %s", sh->path, x.key);
        wan_sample_clear(s);
    }
    wan_shard_reader_close(&r);
    return rc;
}

void wan_sample_clear(wan_sample *s)
{
    free(s->key);
    free(s->latent);
    free(s->text);
    json_decref(s->json);
    *s = (wan_sample)WAN_SAMPLE_INIT;
}
