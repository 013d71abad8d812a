/* SPDX-License-Identifier: Apache-2.0
 *
 * index_scan.c - one pass over the headers of a shard, or over what the old index says of it.
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

static int is_whole(const wan_shard_sample *s)
{
    return wan_shard_find(s, "json") && wan_shard_find(s, "pth") && wan_shard_find(s, "pickle");
}

/* The sample's sizes; one that has none is counted, and the first named. */
static int measure(struct wan_index_scan *scan, wan_sizes_row *row, const wan_shard_sample *s,
                   const wan_shard_map *m, const char *name)
{
    if (wan_measure_row(row, s, m) == 0)
        return 0;
    if (wan_err_memory())
        return -1;
    if (!is_whole(s))
        return 0;
    scan->unreadable++;
    wan_err_prefix("%s: sample %s", name, s->key);
    if (!scan->why && !(scan->why = strdup(wan_err_text())))
        return wan_err("out of memory (index)");
    return 0;
}

static int occurs_twice(struct wan_index_scan *scan, const char *key, const char *name)
{
    size_t first;
    WAN_TRY(wan_index_db_find(scan->db, key, &first));
    return wan_err("%s: sample %s: this key occurs twice in the dataset, first in %s", name, key,
                   first < scan->seen.n ? scan->seen.v[first] : "another shard");
}

static int add_sample(struct wan_index_scan *scan, const wan_shard_sample *s, const char *name,
                      size_t shard, size_t number)
{
    int rc = wan_index_db_add(scan->db, shard, number, s);
    if (rc == 0)
        return occurs_twice(scan, s->key, name);
    WAN_TRY(rc);
    wan_sha256_add(&scan->digest, s->key, strlen(s->key) + 1);
    wan_sha256_add(&scan->digest, &s->begin, sizeof s->begin);
    scan->incomplete += !is_whole(s);
    return 0;
}

static int scan_samples(struct wan_index_scan *scan, struct wan_index_shard *out,
                        wan_shard_reader *r, const wan_shard_map *m, const char *name, size_t shard)
{
    size_t cap = 0;
    wan_shard_sample s;
    wan_measure_others other = { m, 0 };
    int rc;
    wan_shard_reader_on_other(r, wan_measure_other, &other);
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
    out->ignored = wan_shard_reader_ignored(r);
    out->other = other.crc;
    return 0;
}

/* What the whole dataset is told of a shard. */
static void add_totals(struct wan_index_scan *scan, const struct wan_index_shard *s)
{
    uint64_t end = s->offset[s->n];
    scan->bytes += end;
    scan->ignored += s->ignored;
    wan_sha256_add(&scan->digest, &end, sizeof end);
}

int wan_index_scan_shard(struct wan_index_scan *scan, struct wan_index_shard *out, const char *dir,
                         const char *name, size_t number)
{
    wan_shard_reader *r;
    wan_shard_map m;
    *out = (struct wan_index_shard){ 0 };
    WAN_TRY(wan_names_add(&scan->seen, name, strlen(name)));
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
    if (rc == 0)
        add_totals(scan, out);
    wan_measure_unmap(&m);
    free(path);
    return rc;
}

/* The keys and parts of sample i of the old index, handed on as if it had been read. */
struct taking {
    struct wan_index_scan *scan;
    const char *name;
    size_t number;
};

static int take_sample(void *arg, const wan_shard_sample *s, size_t i)
{
    struct taking *t = arg;
    return add_sample(t->scan, s, t->name, t->number, i);
}

int wan_index_scan_old(struct wan_index_scan *scan, struct wan_index_shard *out, wan_index_old *old,
                       const char *name, size_t number)
{
    struct taking t = { scan, name, number };
    int rc = wan_index_old_find(old, out, name);
    if (rc <= 0)
        return rc;
    WAN_TRY(wan_names_add(&scan->seen, name, strlen(name)));
    wan_sha256_add(&scan->digest, name, strlen(name) + 1);
    WAN_TRY(wan_index_old_samples(old, name, out, take_sample, &t));
    add_totals(scan, out);
    scan->reused++;
    return 1;
}

void wan_index_shard_clear(struct wan_index_shard *s)
{
    free(s->offset);
    free(s->row);
    *s = (struct wan_index_shard){ 0 };
}

void wan_index_scan_clear(struct wan_index_scan *scan)
{
    wan_index_db_close(&scan->db);
    wan_names_clear(&scan->seen);
    free(scan->why);
    scan->why = NULL;
}
