/* SPDX-License-Identifier: Apache-2.0
 *
 * index_scan.c - one pass over the headers of a shard.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/rec/shard/index_in.h"

/* Room for sample i and the offset behind it. */
static int grow(struct wan_index_shard *out, size_t *cap, size_t i)
{
    if (i < *cap)
        return 0;
    size_t more = *cap ? 2 * *cap : 256;
    uint64_t *offset = realloc(out->offset, (more + 1) * sizeof *offset);
    if (offset)
        out->offset = offset;
    wan_sizes_row *row = offset ? realloc(out->row, more * sizeof *row) : NULL;
    if (!row)
        return wan_err("out of memory (index)");
    out->row = row;
    *cap = more;
    return 0;
}

/* The sample's sizes; one that has none is counted, and the first named. */
static int measure(struct wan_index_scan *scan, wan_sizes_row *row, const wan_shard_sample *s,
                   const wan_shard_map *m, const char *name)
{
    int whole =
        wan_shard_find(s, "json") && wan_shard_find(s, "pth") && wan_shard_find(s, "pickle");
    scan->incomplete += !whole;
    if (wan_measure_row(row, s, m) == 0)
        return 0;
    if (wan_err_memory())
        return -1;
    if (!whole)
        return 0;
    scan->unreadable++;
    wan_err_prefix("%s: sample %s", name, s->key);
    if (!scan->why && !(scan->why = strdup(wan_err_text())))
        return wan_err("out of memory (index)");
    return 0;
}

static int add_sample(struct wan_index_scan *scan, const wan_shard_sample *s, const char *name,
                      size_t shard, size_t number)
{
    int rc = wan_keyset_add(&scan->keys, s->key);
    if (rc == 0)
        return wan_err("%s: sample %s: this key occurs twice in the dataset", name, s->key);
    WAN_TRY(rc);
    wan_sha256_add(&scan->digest, s->key, strlen(s->key) + 1);
    wan_sha256_add(&scan->digest, &s->begin, sizeof s->begin);
    return scan->db ? wan_index_db_add(scan->db, shard, number, s) : 0;
}

static int scan_samples(struct wan_index_scan *scan, struct wan_index_shard *out,
                        wan_shard_reader *r, const wan_shard_map *m, const char *name, size_t shard)
{
    size_t cap = 0;
    wan_shard_sample s;
    int rc;
    while ((rc = wan_shard_reader_next(r, &s)) == 1) {
        WAN_TRY(grow(out, &cap, out->n));
        out->offset[out->n] = s.begin;
        out->offset[out->n + 1] = s.end;
        WAN_TRY(add_sample(scan, &s, name, shard, out->n));
        WAN_TRY(measure(scan, &out->row[out->n], &s, m, name));
        out->n++;
    }
    WAN_TRY(rc);
    if (!out->n)
        return wan_err("%s: no samples", name);
    uint64_t end = out->offset[out->n];
    scan->bytes += end;
    scan->ignored += wan_shard_reader_ignored(r);
    wan_sha256_add(&scan->digest, &end, sizeof end);
    return 0;
}

int wan_index_scan_shard(struct wan_index_scan *scan, struct wan_index_shard *out, const char *dir,
                         const char *name, size_t number)
{
    wan_shard_reader *r;
    wan_shard_map m;
    *out = (struct wan_index_shard){ 0, 0, NULL, NULL };
    char *path = wan_path_join(dir, name);
    if (!path)
        return -1;
    wan_sha256_add(&scan->digest, name, strlen(name) + 1);
    int rc = wan_measure_map(&m, path);
    if (rc == 0)
        rc = wan_shard_reader_open(&r, path, 1);
    if (rc == 0) {
        out->bytes = m.size;
        rc = scan_samples(scan, out, r, &m, path, number);
        wan_shard_reader_close(&r);
    }
    wan_measure_unmap(&m);
    free(path);
    return rc;
}

void wan_index_shard_clear(struct wan_index_shard *s)
{
    free(s->offset);
    free(s->row);
    *s = (struct wan_index_shard){ 0, 0, NULL, NULL };
}

void wan_index_scan_clear(struct wan_index_scan *scan)
{
    wan_keyset_clear(&scan->keys);
    free(scan->why);
    scan->why = NULL;
}
