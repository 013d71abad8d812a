/* SPDX-License-Identifier: Apache-2.0
 *
 * index_db.c - index.sqlite, for energon mount and random access (wan-data(7), Sqlite).  Its
 * unique keys also tell whether a key occurs twice, in memory that does not grow.
 */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/rec/shard/index_in.h"

struct wan_index_db {
    sqlite3 *db;
    sqlite3_stmt *sample, *part;
    char *path; /* for messages */
};

static int db_err(const wan_index_db *d)
{
    wan_err("%s", d->db ? sqlite3_errmsg(d->db) : "out of memory");
    return wan_err_prefix("%s", d->path);
}

static int run(wan_index_db *d, const char *sql)
{
    return sqlite3_exec(d->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : db_err(d);
}

static int prepare(wan_index_db *d, sqlite3_stmt **s, const char *sql)
{
    return sqlite3_prepare_v2(d->db, sql, -1, s, NULL) == SQLITE_OK ? 0 : db_err(d);
}

static int create(wan_index_db *d, const char *path)
{
    if (sqlite3_open_v2(path ? path : "", &d->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                        NULL) != SQLITE_OK)
        return db_err(d);
    WAN_TRY(run(d, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA page_size=4096;"
                   "PRAGMA cache_size=-8192; BEGIN;"
                   "CREATE TABLE samples (tar_file_id INTEGER NOT NULL, sample_key TEXT NOT NULL "
                   "UNIQUE, sample_index INTEGER NOT NULL, byte_offset INTEGER, "
                   "byte_size INTEGER);"
                   "CREATE TABLE sample_parts (tar_file_id INTEGER NOT NULL, sample_index INTEGER "
                   "NOT NULL, part_name TEXT NOT NULL, content_byte_offset INTEGER NOT NULL, "
                   "content_byte_size INTEGER NOT NULL);"));
    WAN_TRY(prepare(d, &d->sample, "INSERT INTO samples VALUES (?,?,?,?,?)"));
    return path ? prepare(d, &d->part, "INSERT INTO sample_parts VALUES (?,?,?,?,?)") : 0;
}

int wan_index_db_open(wan_index_db **out, const char *path)
{
    wan_index_db *d = wan_calloc(1, sizeof *d, "index.sqlite");
    *out = NULL;
    if (!d)
        return -1;
    d->path = strdup(path ? path : "temporary database");
    if (!d->path || create(d, path) < 0) {
        if (!d->path)
            wan_err("out of memory (index.sqlite)");
        wan_index_db_close(&d);
        return -1;
    }
    *out = d;
    return 0;
}

/* 1, or 0 for a key that is there. */
static int step(wan_index_db *d, sqlite3_stmt *s)
{
    int rc = sqlite3_step(s);
    rc = rc == SQLITE_DONE                                             ? 1
         : sqlite3_extended_errcode(d->db) == SQLITE_CONSTRAINT_UNIQUE ? 0
                                                                       : db_err(d);
    sqlite3_reset(s);
    return rc;
}

static int bind_text(wan_index_db *d, sqlite3_stmt *s, int i, const char *text)
{
    return sqlite3_bind_text(s, i, text, -1, SQLITE_STATIC) == SQLITE_OK ? 0 : db_err(d);
}

int wan_index_db_add(wan_index_db *d, size_t shard, size_t number, const wan_shard_sample *s)
{
    sqlite3_bind_int64(d->sample, 1, (sqlite3_int64)shard);
    WAN_TRY(bind_text(d, d->sample, 2, s->key));
    sqlite3_bind_int64(d->sample, 3, (sqlite3_int64)number);
    sqlite3_bind_int64(d->sample, 4, (sqlite3_int64)s->begin);
    sqlite3_bind_int64(d->sample, 5, (sqlite3_int64)(s->end - s->begin));
    int rc = step(d, d->sample);
    if (rc <= 0)
        return rc;
    for (int i = 0; d->part && i < s->n; i++) {
        sqlite3_bind_int64(d->part, 1, (sqlite3_int64)shard);
        sqlite3_bind_int64(d->part, 2, (sqlite3_int64)number);
        WAN_TRY(bind_text(d, d->part, 3, s->part[i].name));
        sqlite3_bind_int64(d->part, 4, (sqlite3_int64)s->part[i].at);
        sqlite3_bind_int64(d->part, 5, (sqlite3_int64)s->part[i].size);
        WAN_TRY(step(d, d->part));
    }
    return 1;
}

int wan_index_db_find(wan_index_db *d, const char *key, size_t *shard)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(d->db, "SELECT tar_file_id FROM samples WHERE sample_key=?", -1, &s,
                                NULL) == SQLITE_OK
                 ? bind_text(d, s, 1, key)
                 : db_err(d);
    if (rc == 0)
        rc = sqlite3_step(s) == SQLITE_ROW ? 0 : db_err(d);
    if (rc == 0)
        *shard = (size_t)sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return rc;
}

static int close_db(wan_index_db *d)
{
    sqlite3_finalize(d->sample);
    sqlite3_finalize(d->part);
    int rc = sqlite3_close(d->db) == SQLITE_OK ? 0 : db_err(d);
    free(d->path);
    free(d);
    return rc;
}

int wan_index_db_finish(wan_index_db **pd)
{
    wan_index_db *d = *pd;
    int rc = run(d, "CREATE INDEX idx_samples_by_tar_and_idx ON samples(tar_file_id, sample_index);"
                    "CREATE INDEX idx_sample_parts_seq ON sample_parts(tar_file_id, sample_index, "
                    "content_byte_offset);"
                    "CREATE INDEX idx_sample_parts_full ON sample_parts(tar_file_id, sample_index, "
                    "part_name, content_byte_offset, content_byte_size);"
                    "COMMIT;");
    *pd = NULL;
    return close_db(d) < 0 ? -1 : rc;
}

void wan_index_db_close(wan_index_db **pd)
{
    if (*pd)
        close_db(*pd);
    *pd = NULL;
}
