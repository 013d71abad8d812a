/* SPDX-License-Identifier: Apache-2.0
 *
 * index_db.c - index.sqlite, for energon mount and random access (wan-data(7), Sqlite).
 */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/rec/shard/index_in.h"

struct wan_index_db {
    sqlite3 *db;
    sqlite3_stmt *sample, *part;
    wan_out *out; /* holds and renames the temporary file; sqlite writes it */
};

static int db_err(const wan_index_db *d)
{
    return wan_err("%s: %s", wan_out_name(d->out), d->db ? sqlite3_errmsg(d->db) : "no memory");
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
    char *tmp = wan_malloc(strlen(path) + 5, 1, "file name");
    if (!tmp)
        return -1;
    sprintf(tmp, "%s.tmp", path); /* the name wan_out_open has made */
    int rc = sqlite3_open_v2(tmp, &d->db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK ? 0 : db_err(d);
    free(tmp);
    WAN_TRY(rc);
    WAN_TRY(run(d, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA page_size=4096;"
                   "BEGIN;"
                   "CREATE TABLE samples (tar_file_id INTEGER NOT NULL, sample_key TEXT NOT NULL "
                   "UNIQUE, sample_index INTEGER NOT NULL, byte_offset INTEGER, "
                   "byte_size INTEGER);"
                   "CREATE TABLE sample_parts (tar_file_id INTEGER NOT NULL, sample_index INTEGER "
                   "NOT NULL, part_name TEXT NOT NULL, content_byte_offset INTEGER NOT NULL, "
                   "content_byte_size INTEGER NOT NULL);"));
    WAN_TRY(prepare(d, &d->sample, "INSERT INTO samples VALUES (?,?,?,?,?)"));
    return prepare(d, &d->part, "INSERT INTO sample_parts VALUES (?,?,?,?,?)");
}

int wan_index_db_open(wan_index_db **out, const char *path)
{
    wan_index_db *d = wan_calloc(1, sizeof *d, "index.sqlite");
    *out = NULL;
    if (!d)
        return -1;
    if (wan_out_open(&d->out, path) < 0 || create(d, path) < 0) {
        wan_index_db_abandon(&d);
        return -1;
    }
    *out = d;
    return 0;
}

static int step(wan_index_db *d, sqlite3_stmt *s)
{
    int rc = sqlite3_step(s) == SQLITE_DONE ? 0 : db_err(d);
    sqlite3_reset(s);
    return rc;
}

int wan_index_db_add(wan_index_db *d, size_t shard, size_t number, const wan_shard_sample *s)
{
    sqlite3_bind_int64(d->sample, 1, (sqlite3_int64)shard);
    sqlite3_bind_text(d->sample, 2, s->key, -1, SQLITE_TRANSIENT);
    sqlite3_bind_int64(d->sample, 3, (sqlite3_int64)number);
    sqlite3_bind_int64(d->sample, 4, (sqlite3_int64)s->begin);
    sqlite3_bind_int64(d->sample, 5, (sqlite3_int64)(s->end - s->begin));
    WAN_TRY(step(d, d->sample));
    for (int i = 0; i < s->n; i++) {
        sqlite3_bind_int64(d->part, 1, (sqlite3_int64)shard);
        sqlite3_bind_int64(d->part, 2, (sqlite3_int64)number);
        sqlite3_bind_text(d->part, 3, s->part[i].name, -1, SQLITE_TRANSIENT);
        sqlite3_bind_int64(d->part, 4, (sqlite3_int64)s->part[i].at);
        sqlite3_bind_int64(d->part, 5, (sqlite3_int64)s->part[i].size);
        WAN_TRY(step(d, d->part));
    }
    return 0;
}

static void close_db(wan_index_db *d)
{
    sqlite3_finalize(d->sample);
    sqlite3_finalize(d->part);
    sqlite3_close(d->db);
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
    close_db(d);
    if (rc == 0)
        rc = wan_out_finish(&d->out);
    wan_out_discard(&d->out);
    free(d);
    *pd = NULL;
    return rc;
}

void wan_index_db_abandon(wan_index_db **pd)
{
    wan_index_db *d = *pd;
    if (!d)
        return;
    close_db(d);
    wan_out_discard(&d->out);
    free(d);
    *pd = NULL;
}
