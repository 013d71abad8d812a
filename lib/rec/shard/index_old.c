/* SPDX-License-Identifier: Apache-2.0
 *
 * index_old.c - what the index that is there says of shards that are as they were: a shard of the
 * same size, untouched since its .tar.idx, which is still what was indexed.  So a dataset that has grown
 * costs the new shards.
 */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/file.h"
#include "lib/rec/shard/index_in.h"
#include "lib/rec/shard/info.h"

struct wan_index_old {
    char *dir;
    wan_sizes *sizes;
    json_t *numbers; /* {shard: its number in the database} */
    sqlite3 *db;
    sqlite3_stmt *samples, *parts;
    wan_shard_part part[WAN_SHARD_PARTS];
};

static int db_err(const wan_index_old *o)
{
    wan_err("%s", o->db ? sqlite3_errmsg(o->db) : "out of memory");
    return wan_err_prefix("%s: the old index.sqlite", o->dir);
}

static void count_one(void *n, const char *sentence)
{
    (void)sentence;
    ++*(int *)n;
}

static void pass_by(void *n, const char *sentence)
{
    (void)n, (void)sentence;
}

/* Whether the files of the old index are those that were written together. */
static int is_whole(const char *meta)
{
    int bad = 0;
    char *path = wan_path_join(meta, WAN_INDEX_MANIFEST);
    int there = path && wan_exists(path);
    free(path);
    return there && wan_index_manifest_check(meta, count_one, pass_by, &bad) == 0 && !bad;
}

static int open_db(wan_index_old *o, const char *meta)
{
    char *path = wan_path_join(meta, "index.sqlite");
    int rc = !path                                                                    ? -1
             : sqlite3_open_v2(path, &o->db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ? db_err(o)
                                                                                      : 0;
    free(path);
    if (rc == 0 &&
        (sqlite3_prepare_v2(o->db,
                            "SELECT sample_key, byte_offset, byte_size FROM samples WHERE "
                            "tar_file_id=? ORDER BY sample_index",
                            -1, &o->samples, NULL) != SQLITE_OK ||
         sqlite3_prepare_v2(o->db,
                            "SELECT part_name, content_byte_offset, content_byte_size FROM "
                            "sample_parts WHERE tar_file_id=? AND sample_index=? ORDER BY "
                            "content_byte_offset",
                            -1, &o->parts, NULL) != SQLITE_OK))
        rc = db_err(o);
    return rc;
}

/* Shards are numbered in the order of .info.json. */
static int load_numbers(wan_index_old *o)
{
    json_t *counts = wan_info_load(o->dir), *count;
    const char *name;
    json_int_t i = 0;
    if (!counts)
        return -1;
    o->numbers = wan_json_object();
    json_object_foreach(counts, name, count) wan_json_put(&o->numbers, name, json_integer(i++));
    json_decref(counts);
    return o->numbers ? 0 : -1;
}

int wan_index_old_open(wan_index_old **out, const char *dir)
{
    char *meta = wan_path_join(dir, ".nv-meta"), *path = wan_path_join(dir, ".nv-meta/samples.bin");
    *out = NULL;
    int rc = meta && path ? is_whole(meta) : -1;
    wan_index_old *o = rc > 0 ? wan_calloc(1, sizeof *o, "old index") : NULL;
    if (o) {
        o->dir = strdup(dir);
        rc = o->dir && load_numbers(o) == 0 && wan_sizes_open(&o->sizes, path) == 0 && o->sizes &&
                     open_db(o, meta) == 0
                 ? 0
                 : -1;
    }
    free(meta);
    free(path);
    if (rc < 0 && wan_err_memory()) {
        wan_index_old_close(&o);
        return -1;
    }
    if (rc < 0 || !o)
        wan_index_old_close(&o); /* then everything is read */
    *out = o;
    return 0;
}

void wan_index_old_close(wan_index_old **po)
{
    wan_index_old *o = *po;
    if (!o)
        return;
    sqlite3_finalize(o->samples);
    sqlite3_finalize(o->parts);
    sqlite3_close(o->db);
    wan_sizes_close(&o->sizes);
    json_decref(o->numbers);
    free(o->dir);
    free(o);
    *po = NULL;
}

/* Has the shard the size that the index says, and is its .tar.idx what it says? */
static int unchanged(const wan_index_old *o, const wan_sizes_shard *s)
{
    struct stat tar;
    char *path = wan_path_join(o->dir, s->name);
    int same = path && stat(path, &tar) == 0 && (uint64_t)tar.st_size == s->bytes &&
               wan_shard_idx_fresh(path, s->offset, 8 * (size_t)(s->n + 1));
    free(path);
    return same;
}

int wan_index_old_find(wan_index_old *o, struct wan_index_shard *out, const char *name)
{
    wan_sizes_shard s;
    *out = (struct wan_index_shard){ 0 };
    if (!o || !json_object_get(o->numbers, name) || wan_sizes_find(o->sizes, name, &s) <= 0 ||
        !unchanged(o, &s))
        return 0;
    for (uint64_t i = 0; i < s.n; i++)
        if (!s.row[i].latent[0])
            return 0; /* read again, to say why */
    out->offset = wan_malloc((size_t)s.n + 1, sizeof *out->offset, "index");
    out->row = wan_malloc((size_t)s.n, sizeof *out->row, "index");
    if (!out->offset || !out->row)
        return -1;
    out->n = (size_t)s.n;
    out->bytes = s.bytes;
    out->ignored = s.ignored;
    out->other = s.other;
    memcpy(out->offset, s.offset, (out->n + 1) * sizeof *out->offset);
    memcpy(out->row, s.row, out->n * sizeof *out->row);
    return 1;
}

static int read_parts(wan_index_old *o, wan_shard_sample *s, sqlite3_int64 shard, size_t i)
{
    int rc, n = 0;
    sqlite3_bind_int64(o->parts, 1, shard);
    sqlite3_bind_int64(o->parts, 2, (sqlite3_int64)i);
    while ((rc = sqlite3_step(o->parts)) == SQLITE_ROW && n < WAN_SHARD_PARTS) {
        const char *name = (const char *)sqlite3_column_text(o->parts, 0);
        wan_shard_part *p = &o->part[n];
        *p = (wan_shard_part){ .name = name ? strdup(name) : NULL,
                               .at = (uint64_t)sqlite3_column_int64(o->parts, 1),
                               .size = (uint64_t)sqlite3_column_int64(o->parts, 2) };
        if (!p->name)
            break;
        n++;
    }
    s->part = o->part;
    s->n = n;
    sqlite3_reset(o->parts);
    return rc == SQLITE_DONE ? 0 : rc == SQLITE_ROW ? wan_err("out of memory (index)") : db_err(o);
}

static void free_parts(wan_index_old *o, int n)
{
    for (int i = 0; i < n; i++)
        free(o->part[i].name);
}

int wan_index_old_samples(wan_index_old *o, const char *name, const struct wan_index_shard *shard,
                          int (*each)(void *, const wan_shard_sample *, size_t), void *arg)
{
    sqlite3_int64 number = json_integer_value(json_object_get(o->numbers, name));
    size_t i = 0;
    int rc = 0, got;
    sqlite3_bind_int64(o->samples, 1, number);
    while (rc == 0 && (got = sqlite3_step(o->samples)) == SQLITE_ROW) {
        wan_shard_sample s = { .key = (const char *)sqlite3_column_text(o->samples, 0),
                               .begin = (uint64_t)sqlite3_column_int64(o->samples, 1) };
        s.end = s.begin + (uint64_t)sqlite3_column_int64(o->samples, 2);
        if (i >= shard->n || s.begin != shard->offset[i] || s.end != shard->offset[i + 1])
            rc = wan_err("%s: index.sqlite and samples.bin differ in %s; use --reread", o->dir,
                         name);
        else if (!s.key)
            rc = wan_err("out of memory (index)");
        if (rc == 0)
            rc = read_parts(o, &s, number, i);
        if (rc == 0)
            rc = each(arg, &s, i);
        free_parts(o, s.n);
        i++;
    }
    sqlite3_reset(o->samples);
    if (rc == 0 && got != SQLITE_DONE)
        rc = db_err(o);
    if (rc == 0 && i != shard->n)
        rc = wan_err("%s: index.sqlite knows %zu samples of %s, samples.bin %zu; use --reread",
                     o->dir, i, name, shard->n);
    return rc;
}
