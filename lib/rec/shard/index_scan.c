/* SPDX-License-Identifier: Apache-2.0
 *
 * index_scan.c - one pass over the headers of a shard.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/rec/shard/index_in.h"

static int add_offset(struct wan_index_shard *out, size_t *cap, size_t i, uint64_t offset)
{
    if (i >= *cap) {
        size_t more = *cap ? 2 * *cap : 256;
        uint64_t *v = realloc(out->offset, more * sizeof *v);
        if (!v)
            return wan_err("out of memory (index)");
        out->offset = v;
        *cap = more;
    }
    out->offset[i] = offset;
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
    scan->incomplete +=
        !wan_shard_find(s, "json") || !wan_shard_find(s, "pth") || !wan_shard_find(s, "pickle");
    return scan->db ? wan_index_db_add(scan->db, shard, number, s) : 0;
}

static int scan_samples(struct wan_index_scan *scan, struct wan_index_shard *out,
                        wan_shard_reader *r, const char *name, size_t shard)
{
    size_t cap = 0;
    uint64_t end = 0;
    wan_shard_sample s;
    int rc;
    while ((rc = wan_shard_reader_next(r, &s)) == 1) {
        WAN_TRY(add_offset(out, &cap, out->n, s.begin));
        WAN_TRY(add_sample(scan, &s, name, shard, out->n));
        end = s.end;
        out->n++;
    }
    WAN_TRY(rc);
    if (!out->n)
        return wan_err("%s: no samples", name);
    scan->bytes += end;
    scan->ignored += wan_shard_reader_ignored(r);
    wan_sha256_add(&scan->digest, &end, sizeof end);
    return add_offset(out, &cap, out->n, end);
}

int wan_index_scan_shard(struct wan_index_scan *scan, struct wan_index_shard *out, const char *dir,
                         const char *name, size_t number)
{
    wan_shard_reader *r;
    *out = (struct wan_index_shard){ 0, NULL };
    char *path = wan_path_join(dir, name);
    if (!path)
        return -1;
    wan_sha256_add(&scan->digest, name, strlen(name) + 1);
    int rc = wan_shard_reader_open(&r, path, 1);
    if (rc == 0) {
        rc = scan_samples(scan, out, r, path, number);
        wan_shard_reader_close(&r);
    }
    free(path);
    return rc;
}
