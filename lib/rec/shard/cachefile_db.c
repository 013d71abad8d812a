/* SPDX-License-Identifier: Apache-2.0
 *
 * cachefile_db.c - caches of diffusion-pipe: torch files one behind the other, and where they are.
 */
#include <inttypes.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/rec/record/clip_key.h"
#include "lib/rec/shard/cachefile_in.h"
#include "lib/rec/shard/shard.h"
#include "lib/rec/tensor/torch.h"

enum { MAX_ITEM = 1 << 30 };

typedef struct place {
    int64_t shard, offset, size;
} place;

/* A folder of items. */
typedef struct store {
    char *dir;
    place *v;
    int64_t n;
} store;

static void close_store(store *s)
{
    free(s->dir);
    free(s->v);
    *s = (store){ 0 };
}

/* The place of item `index` of a shard. */
static int find_place(sqlite3 *db, place *p, int64_t index)
{
    char sql[128];
    sqlite3_stmt *q = NULL;
    snprintf(sql, sizeof sql,
             "SELECT offset, size FROM shard_%" PRId64 " ORDER BY rowid LIMIT 1 OFFSET %" PRId64,
             p->shard, index);
    int rc = sqlite3_prepare_v2(db, sql, -1, &q, NULL) == SQLITE_OK && sqlite3_step(q) == SQLITE_ROW
                 ? 0
                 : wan_err("item %" PRId64 " of shard %" PRId64 " has no place", index, p->shard);
    if (rc == 0) {
        p->offset = sqlite3_column_int64(q, 0);
        p->size = sqlite3_column_int64(q, 1);
        if (p->offset < 0 || p->size < 1 || p->size > MAX_ITEM)
            rc = wan_err("item %" PRId64 " of shard %" PRId64 ": %" PRId64 " bytes at %" PRId64,
                         index, p->shard, p->size, p->offset);
    }
    sqlite3_finalize(q);
    return rc;
}

static int read_places(store *s, sqlite3 *db)
{
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_prepare_v2(db, "SELECT shard, shard_index FROM items ORDER BY rowid", -1, &q,
                                NULL) == SQLITE_OK
                 ? 0
                 : wan_err("%s", sqlite3_errmsg(db));
    int got = SQLITE_DONE;
    while (rc == 0 && (got = sqlite3_step(q)) == SQLITE_ROW) {
        if (!(s->n & (s->n - 1))) {
            place *more = reallocarray(s->v, s->n ? 2 * (size_t)s->n : 1, sizeof *more);
            if (!more) {
                rc = wan_err("out of memory (items)");
                break;
            }
            s->v = more;
        }
        s->v[s->n] = (place){ .shard = sqlite3_column_int64(q, 0) };
        rc = find_place(db, &s->v[s->n], sqlite3_column_int64(q, 1));
        s->n += rc == 0;
    }
    if (rc == 0 && got != SQLITE_DONE) /* the rest would be missing */
        rc = wan_err("%s", sqlite3_errmsg(db));
    sqlite3_finalize(q);
    return rc;
}

static int open_store(store *s, const char *dir)
{
    sqlite3 *db = NULL;
    *s = (store){ .dir = strdup(dir) };
    char *path = s->dir ? wan_path_join(dir, "metadata.db") : NULL;
    int rc = !path ? wan_err("out of memory (file name)")
             : sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK
                 ? read_places(s, db)
                 : wan_err("%s", sqlite3_errmsg(db));
    if (rc < 0) {
        wan_err_prefix("%s/metadata.db", dir);
        close_store(s);
    }
    sqlite3_close(db);
    free(path);
    return rc;
}

/* Item i: *data, to be freed, holds what *w reads. */
static int open_item(wan_torch **w, void **data, const store *s, int64_t i)
{
    const place *p = &s->v[i];
    char *path = wan_malloc(strlen(s->dir) + 40, 1, "file name");
    FILE *f = NULL;
    *data = NULL;
    *w = NULL;
    if (!path)
        return -1;
    sprintf(path, "%s/shard_%" PRId64 ".bin", s->dir, p->shard);
    int rc = (f = fopen(path, "rb")) ? 0 : wan_err_errno("%s", path);
    if (rc == 0)
        rc = (*data = wan_malloc(1, (size_t)p->size, "item of a cache")) ? 0 : -1;
    if (rc == 0 && (fseeko(f, p->offset, SEEK_SET) < 0 ||
                    fread(*data, 1, (size_t)p->size, f) != (size_t)p->size))
        rc = wan_err("%s: ends before its item %" PRId64, path, i);
    if (rc == 0)
        rc = wan_torch_parse(w, *data, (size_t)p->size, path);
    if (f)
        fclose(f);
    free(path);
    return rc;
}

/* The tensor of that name; *out is to be freed. */
static int take(void **out, wan_torch_tensor **t, wan_torch *w, const char *name, int rank)
{
    *t = wan_torch_find(w, name);
    if (!*t || (*t)->rank != rank || !(*t)->count || (*t)->count > MAX_ITEM)
        return wan_err("no tensor %s of %d dimensions", name, rank);
    *out = wan_malloc((size_t)(*t)->count, wan_dtype_size((*t)->dtype), name);
    if (!*out)
        return -1;
    if (wan_torch_read(w, *t, *out, (*t)->dtype) == 0)
        return 0;
    free(*out);
    return -1;
}

static int add_latent(wan_record *r, const store *s, int64_t i)
{
    wan_torch *w;
    wan_torch_tensor *t;
    void *data, *x;
    int rc = open_item(&w, &data, s, i);
    if (rc == 0)
        rc = take(&x, &t, w, "latents", 4);
    if (rc == 0)
        rc = wan_record_add(r, "latent", t->dtype, t->shape, 4, x, WAN_TAKE);
    wan_torch_close(&w);
    free(data);
    return rc;
}

static int add_text(wan_record *r, const store *s, int64_t i)
{
    wan_torch *w;
    wan_torch_tensor *t;
    void *data, *x;
    int64_t length = 0;
    int rc = open_item(&w, &data, s, i);
    if (rc == 0)
        rc = take(&x, &t, w, "text_embeddings", 2);
    if (rc == 0) {
        wan_torch_tensor *n = wan_torch_find(w, "seq_lens");
        int64_t rows = t->shape[0];
        if (n && n->count == 1 && n->dtype == WAN_I64 &&
            wan_torch_read(w, n, &length, WAN_I64) == 0 && length > 0 && length < rows)
            rows = length;
        rc = wan_cachefile_text(r, t->dtype, rows, t->shape[1], x);
    }
    wan_torch_close(&w);
    free(data);
    return rc;
}

/* Both stores are in the order of the same shuffled list; a clip with several captions has as many texts
 * one behind the other. */
static int each_pair(const store *latents, const store *texts, const char *bucket,
                     wan_cachefile_fn *fn, void *arg, uint64_t *n)
{
    wan_record r = WAN_RECORD_INIT;
    int64_t each = latents->n ? texts->n / latents->n : 0;
    int rc = 0;
    if (!latents->n || texts->n != each * latents->n || !each)
        return wan_err("%s: %" PRId64 " latents and %" PRId64
                       " texts: which belong together is not in the cache",
                       latents->dir, latents->n, texts->n);
    for (int64_t i = 0; i < latents->n && rc == 0; i++) {
        char name[300], *key;
        snprintf(name, sizeof name, "%.255s/%06" PRId64, bucket, i);
        key = wan_clip_key_make(NULL, name);
        wan_record_clear(&r);
        rc = key ? wan_record_set_key(&r, key) : -1;
        if (rc == 0)
            wan_json_put(&r.meta, "caption", json_string(""));
        if (rc == 0)
            rc = r.meta ? 0 : -1;
        if (rc == 0)
            rc = add_latent(&r, latents, i);
        if (rc == 0)
            rc = add_text(&r, texts, i * each);
        if (rc < 0)
            wan_err_prefix("%s: item %" PRId64, latents->dir, i);
        else
            rc = fn(arg, &r);
        free(key);
        ++*n;
    }
    wan_record_clear(&r);
    return rc;
}

/* name: BUCKET/latents/metadata.db below dir, of which `stem` bytes are BUCKET/. */
static int read_bucket(const char *dir, char *name, size_t stem, wan_cachefile_fn *fn, void *arg,
                       uint64_t *n)
{
    store latents, texts = { 0 };
    char *path = wan_malloc(strlen(dir) + strlen(name) + 40, 1, "file name");
    if (!path)
        return -1;
    sprintf(path, "%s/%.*slatents", dir, (int)stem, name);
    int rc = open_store(&latents, path);
    sprintf(path, "%s/%.*stext_embeddings_1", dir, (int)stem, name);
    if (rc == 0 && (rc = open_store(&texts, path)) == 0) {
        name[stem ? stem - 1 : 0] = 0;
        const char *slash = strrchr(name, '/');
        rc = each_pair(&latents, &texts, slash ? slash + 1 : *name ? name : "cache", fn, arg, n);
    }
    close_store(&latents);
    close_store(&texts);
    free(path);
    return rc;
}

int wan_cachefile_db_each(const char *dir, wan_cachefile_fn *fn, void *arg, uint64_t *n)
{
    static const char *const ends[] = { "etadata.db", NULL };
    static const char tail[] = "latents/metadata.db";
    char **names = NULL;
    size_t count = 0;
    int rc = wan_shard_list_as(&names, &count, dir, ends);
    for (size_t i = 0; i < count && rc == 0; i++) {
        size_t len = strlen(names[i]), end = sizeof tail - 1;
        if (len >= end && !strcmp(names[i] + len - end, tail) &&
            (len == end || names[i][len - end - 1] == '/'))
            rc = read_bucket(dir, names[i], len - end, fn, arg, n);
    }
    wan_shard_list_free(names, count);
    return rc;
}
