/* SPDX-License-Identifier: Apache-2.0
 *
 * dataset_sizes.c - offsets and sizes of the samples of a shard: from samples.bin, or measured once
 * and kept there.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/file.h"
#include "lib/base/le.h"
#include "lib/base/log.h"
#include "lib/base/sha256.h"
#include "lib/rec/shard/dataset_in.h"

int wan_dataset_load_idx(uint64_t **offset, size_t n, const char *tar)
{
    struct stat st;
    char *data = NULL, *path = wan_shard_idx(tar);
    size_t size, want = 8 * (n + 1);
    if (!path)
        return -1;
    int rc = wan_slurp(&data, &size, path, want + 8);
    if (rc < 0)
        wan_err_suffix(" (%zu samples, as .info.json has it)", n);
    if (rc == 0 && size != want)
        rc = wan_err("%s: %zu bytes, the %zu samples of .info.json need %zu; run wan-index again",
                     path, size, n, want);
    if (rc == 0 && stat(tar, &st) < 0)
        rc = wan_err_errno("%s", tar);
    uint64_t *v = rc == 0 ? wan_malloc(n + 1, sizeof *v, path) : NULL;
    rc = v ? 0 : -1;
    for (size_t i = 0; rc == 0 && i <= n; i++) {
        v[i] = wan_le_get64((uint8_t *)data + 8 * i);
        if (v[i] % 512 || (i && v[i] <= v[i - 1]))
            rc = wan_err("%s: entry %zu is damaged; run wan-index again", path, i);
    }
    if (rc == 0 && (st.st_size < 1024 || v[n] > (uint64_t)st.st_size - 1024))
        rc = wan_err("%s: has %" PRId64 " bytes, its samples end at %" PRIu64
                     " as %s has it; one of them is damaged, or run wan-index again",
                     tar, (int64_t)st.st_size, v[n], path);
    free(path);
    free(data);
    if (rc < 0) {
        free(v);
        return -1;
    }
    *offset = v;
    return 0;
}

/* Does samples.bin speak of the shard that is there, with the .tar.idx that is there? */
static int known(const wan_dataset *d, struct wan_dataset_shard *sh)
{
    wan_sizes_shard s;
    struct stat tar, idx;
    int rc = d->sizes ? wan_sizes_find(d->sizes, sh->name, &s) : 0;
    if (rc <= 0)
        return rc;
    char *path = wan_shard_idx(sh->path);
    if (!path)
        return -1;
    if (stat(sh->path, &tar) < 0)
        rc = wan_err_errno("%s", sh->path);
    else if (stat(path, &idx) < 0)
        rc = errno == ENOENT ? 0 : wan_err_errno("%s", path);
    else
        rc = s.n == sh->n && (uint64_t)tar.st_size == s.bytes &&
             (uint64_t)idx.st_size == 8 * (s.n + 1);
    free(path);
    if (rc > 0) {
        sh->offset = s.offset;
        sh->row = s.row;
        sh->bytes = s.bytes;
        memcpy(sh->digest, s.digest, sizeof sh->digest);
    }
    return rc;
}

static int measure_all(struct wan_dataset_shard *sh, wan_shard_reader *r, const wan_shard_map *m)
{
    wan_shard_sample x;
    size_t i = 0;
    int rc;
    while ((rc = wan_shard_reader_next(r, &x)) == 1) {
        if (i == sh->n || x.end != sh->offset[i + 1])
            return wan_err("%s: sample %s: the index is stale; run wan-index again", sh->path,
                           x.key);
        if (wan_measure_row(&sh->own_row[i++], &x, m) == 0)
            continue;
        if (wan_err_memory())
            return -1;
        wan_err_clear(); /* said when somebody asks for the sample */
    }
    if (rc == 0 && i < sh->n)
        rc = wan_err("%s: sample %zu is missing; run wan-index again", sh->path, i);
    return rc;
}

static int measure(wan_dataset *d, struct wan_dataset_shard *sh)
{
    wan_shard_reader *r;
    wan_shard_map m;
    wan_measure_others other = { &m, 0 };
    wan_sha256 h;
    WAN_TRY(wan_dataset_load_idx(&sh->own_offset, sh->n, sh->path));
    sh->offset = sh->own_offset;
    wan_sha256_init(&h);
    wan_sha256_add(&h, sh->offset, (sh->n + 1) * sizeof *sh->offset);
    wan_sha256_bytes(&h, sh->digest);
    if (!d->measured++)
        wan_info("%s: the index does not say how large the samples are: reading them once", d->dir);
    sh->row = sh->own_row = wan_calloc(sh->n + 1, sizeof *sh->own_row, "sizes of samples");
    WAN_TRY(sh->row ? 0 : -1);
    WAN_TRY(wan_measure_map(&m, sh->path));
    sh->bytes = m.size;
    int rc = wan_shard_reader_open(&r, sh->path, 1);
    if (rc == 0) {
        wan_shard_reader_on_other(r, wan_measure_other, &other);
        rc = measure_all(sh, r, &m);
        sh->ignored = wan_shard_reader_ignored(r);
        sh->other = other.crc;
        wan_shard_reader_close(&r);
    }
    wan_measure_unmap(&m);
    return rc;
}

int wan_dataset_sizes(wan_dataset *d, struct wan_dataset_shard *sh)
{
    int rc = known(d, sh);
    return rc < 0 ? -1 : rc ? 0 : measure(d, sh);
}

static int is_measured(const wan_dataset *d, const char *name)
{
    for (size_t i = 0; i < d->n_shards; i++)
        if (d->shard[i].own_row && !strcmp(d->shard[i].name, name))
            return 1;
    return 0;
}

static int put_all(const wan_dataset *d, wan_sizes_writer *w)
{
    for (size_t i = 0; i < d->n_shards; i++) {
        const struct wan_dataset_shard *sh = &d->shard[i];
        wan_sizes_shard s = { .name = sh->name,
                              .n = sh->n,
                              .bytes = sh->bytes,
                              .ignored = sh->ignored,
                              .other = sh->other,
                              .offset = sh->offset,
                              .row = sh->row };
        if (sh->own_row)
            WAN_TRY(wan_sizes_writer_put(w, &s));
    }
    for (uint64_t i = 0; d->sizes && i < wan_sizes_count(d->sizes); i++) {
        wan_sizes_shard s;
        WAN_TRY(wan_sizes_at(d->sizes, i, &s));
        if (!is_measured(d, s.name))
            WAN_TRY(wan_sizes_writer_put(w, &s));
    }
    return 0;
}

void wan_dataset_keep(wan_dataset *d)
{
    wan_sizes_writer *w = NULL;
    if (!d->measured)
        return;
    int rc = wan_sizes_writer_open(&w, d->sizes_path);
    if (rc == 0)
        rc = put_all(d, w);
    if (rc == 0)
        rc = wan_sizes_writer_finish(&w);
    if (rc < 0)
        wan_info("the sizes of samples stay in memory only (%s); run wan-index to keep them",
                 wan_err_text());
    wan_err_clear();
    wan_sizes_writer_abandon(&w);
}
