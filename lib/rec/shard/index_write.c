/* SPDX-License-Identifier: Apache-2.0
 *
 * index_write.c - the metadata of a dataset as one generation: a new folder .nv-meta.tmp beside the
 * old .nv-meta takes its place in one step, when everything is on disk.  New .tar.idx files wait in
 * it too and are named just before: those of shards that have not changed are what they were.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/ends.h"
#include "lib/base/file.h"
#include "lib/base/le.h"
#include "lib/rec/shard/index_in.h"

struct wan_index_write {
    char *dir, *meta, *tmp, *aside;
    int lock; /* of dir */
    wan_sizes_writer *sizes;
    json_t *counts;
    wan_names idx; /* shards whose new .tar.idx waits as .nv-meta.tmp/NUMBER.idx.tmp */
};

/* ---- beginning */

/* One writer at a time; a file system without locks is taken as it is. */
static int lock_folder(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return wan_err_errno("%s", dir);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
        close(fd);
        return wan_err("%s: another wan-index is at work", dir);
    }
    return fd;
}

/* Puts back what a killed run left aside (a file system without exchange of names), removes what it
 * had begun. */
static int clean_up(const wan_index_write *w)
{
    int there = wan_is_dir(w->meta), aside = wan_is_dir(w->aside);
    if (there < 0 || aside < 0)
        return -1;
    if (!there && aside && rename(w->aside, w->meta) < 0)
        return wan_err_errno("%s: cannot rename to %s", w->aside, w->meta);
    if (there && aside)
        wan_remove_tree(w->aside);
    wan_remove_tree(w->tmp);
    return 0;
}

/* The new folder, with the rights of the old one. */
static int make_folder(const wan_index_write *w)
{
    struct stat st;
    if (mkdir(w->tmp, 0777) < 0)
        return wan_err_errno("%s: cannot create directory", w->tmp);
    if (stat(w->meta, &st) < 0)
        return errno == ENOENT ? 0 : wan_err_errno("%s", w->meta);
    return chmod(w->tmp, st.st_mode & 07777) < 0 ? wan_err_errno("%s", w->tmp) : 0;
}

static int begin(wan_index_write *w, wan_index_db **db, const char *dir)
{
    w->dir = strdup(dir);
    w->meta = wan_path_join(dir, ".nv-meta");
    w->tmp = wan_path_join(dir, ".nv-meta.tmp");
    w->aside = wan_path_join(dir, ".nv-meta.old");
    w->counts = wan_json_object();
    if (!w->dir || !w->meta || !w->tmp || !w->aside || !w->counts)
        return wan_err("out of memory (index)");
    WAN_TRY(w->lock = lock_folder(dir));
    WAN_TRY(clean_up(w));
    WAN_TRY(make_folder(w));
    char *path = wan_path_join(w->tmp, "index.sqlite"), *bin = wan_path_join(w->tmp, "samples.bin");
    int rc = path && bin ? wan_index_db_open(db, path) : -1;
    if (rc == 0)
        rc = wan_sizes_writer_open(&w->sizes, bin);
    free(path);
    free(bin);
    return rc;
}

int wan_index_write_open(wan_index_write **out, wan_index_db **db, const char *dir)
{
    wan_index_write *w = wan_calloc(1, sizeof *w, "index");
    *out = NULL;
    if (!w)
        return -1;
    w->lock = -1;
    if (begin(w, db, dir) < 0) {
        wan_index_db_close(db);
        wan_index_write_abandon(&w);
        return -1;
    }
    *out = w;
    return 0;
}

/* ---- .tar.idx */

/* dir/NAME.idx, malloc'ed */
static char *idx_path(const char *dir, const char *name)
{
    char *side = wan_shard_idx(name), *path = side ? wan_path_join(dir, side) : NULL;
    free(side);
    return path;
}

static char *waiting_path(const wan_index_write *w, size_t i)
{
    char name[32];
    snprintf(name, sizeof name, "%zu.idx.tmp", i); /* no name of a file that comes along */
    return wan_path_join(w->tmp, name);
}

/* Written and read back, not yet synced: one sync is for all. */
static int put_file(const char *path, const void *data, size_t n)
{
    char *back = NULL;
    size_t size = 0;
    FILE *f = fopen(path, "wb");
    int bad = !f || fwrite(data, 1, n, f) != n;
    if ((f && fclose(f) != 0) || bad)
        return wan_err_errno("%s: cannot write", path);
    WAN_TRY(wan_slurp(&back, &size, path, n + 8));
    int same = size == n && !memcmp(back, data, n);
    free(back);
    return same ? 0 : wan_err("%s: what is there is not what was written", path);
}

static int put_idx(wan_index_write *w, const char *name, const struct wan_index_shard *s)
{
    size_t n = 8 * (s->n + 1);
    char *tar = wan_path_join(w->dir, name);
    int fresh = tar && wan_shard_idx_fresh(tar, s->offset, n); /* little-endian: sizes_in.h */
    free(tar);
    if (fresh)
        return 0;
    wan_err_clear();
    char *path = waiting_path(w, w->idx.n);
    int rc = path ? put_file(path, s->offset, n) : -1;
    free(path);
    return rc == 0 ? wan_names_add(&w->idx, name, strlen(name)) : -1;
}

int wan_index_write_shard(wan_index_write *w, const char *name, const struct wan_index_shard *x)
{
    wan_sizes_shard s = { .name = name,
                          .n = x->n,
                          .bytes = x->bytes,
                          .ignored = x->ignored,
                          .other = x->other,
                          .offset = x->offset,
                          .row = x->row };
    wan_json_put(&w->counts, name, json_integer((json_int_t)x->n));
    if (!w->counts)
        return -1;
    WAN_TRY(wan_sizes_writer_put(w->sizes, &s));
    return put_idx(w, name, x);
}

static int same_folder(const char *a, const char *b)
{
    const char *p = strrchr(a, '/'), *q = strrchr(b, '/');
    return p && q ? p - a == q - b && !strncmp(a, b, (size_t)(p - a)) : p == q;
}

/* Gives a waiting .tar.idx its name, by copying where the shard's folder is another file system. */
static int name_idx(const wan_index_write *w, size_t i)
{
    char *from = waiting_path(w, i), *to = idx_path(w->dir, w->idx.v[i]), *text = NULL;
    size_t n;
    int rc = from && to ? 0 : -1;
    if (rc == 0 && rename(from, to) < 0) {
        rc = errno == EXDEV ? 0 : wan_err_errno("%s: cannot rename into place", to);
        if (rc == 0)
            rc = wan_slurp(&text, &n, from, (size_t)1 << 40);
        if (rc == 0)
            rc = wan_spew(to, text, n);
        if (rc == 0)
            unlink(from);
    }
    if (rc == 0 && (i + 1 == w->idx.n || !same_folder(w->idx.v[i], w->idx.v[i + 1])))
        rc = wan_fsync_parent(to);
    free(text);
    free(from);
    free(to);
    return rc;
}

/* ---- the other files */

static int spew(const wan_index_write *w, const char *name, const char *text)
{
    char *path = wan_path_join(w->tmp, name);
    int rc = path ? wan_spew(path, text, strlen(text)) : -1;
    free(path);
    return rc;
}

static int save_info(const wan_index_write *w)
{
    json_t *info = wan_json_object();
    wan_json_put(&info, "shard_counts", json_incref(w->counts));
    char *path = wan_path_join(w->tmp, ".info.json");
    int rc = path ? wan_json_save(path, info, 2) : -1;
    free(path);
    json_decref(info);
    return rc;
}

/* Energon before 7.0 reads this alone. */
static int save_old_info(const wan_index_write *w)
{
    char *path = wan_path_join(w->tmp, ".info.yaml");
    const char *name;
    json_t *count;
    wan_out *o;
    int rc = path ? wan_out_open(&o, path) : -1;
    free(path);
    WAN_TRY(rc);
    fputs("shard_counts:\n", wan_out_file(o));
    json_object_foreach(w->counts, name, count)
    {
        fputs("  ", wan_out_file(o));
        wan_split_put_name(wan_out_file(o), name);
        fprintf(wan_out_file(o), ": %" JSON_INTEGER_FORMAT "\n", json_integer_value(count));
    }
    return wan_out_finish(&o);
}

/* Files of somebody else in the old folder come along: sample_loader.py, join_index.bin, ... */
static int keep_foreign(const wan_index_write *w)
{
    DIR *d = opendir(w->meta);
    const char *name;
    if (!d)
        return errno == ENOENT ? 0 : wan_err_errno("%s", w->meta);
    int rc = 1;
    while (rc > 0 && (rc = wan_dir_next(d, w->meta, &name)) > 0) {
        if (wan_index_manifest_own(name) || wan_ends_with(name, ".tmp"))
            continue;
        char *from = wan_path_join(w->meta, name), *to = wan_path_join(w->tmp, name);
        if (!from || !to || wan_index_carry(from, to) < 0)
            rc = -1;
        free(from);
        free(to);
    }
    closedir(d);
    return rc;
}

/* ---- the end */

static int finish_files(wan_index_write *w, wan_index_db **db, const wan_split *split,
                        const char *id)
{
    WAN_TRY(wan_sizes_writer_finish(&w->sizes));
    WAN_TRY(wan_index_db_finish(db));
    WAN_TRY(spew(w, "index.uuid", id));
    char *path = wan_path_join(w->tmp, "split.yaml");
    int rc = path ? wan_split_save(split, path) : -1;
    free(path);
    WAN_TRY(rc);
    WAN_TRY(spew(w, "dataset.yaml", "__module__: megatron.energon\n__class__: CrudeWebdataset\n"));
    WAN_TRY(save_old_info(w));
    WAN_TRY(save_info(w));
    WAN_TRY(keep_foreign(w));
    return wan_index_manifest_save(w->tmp, id);
}

static int sync_all(const wan_index_write *w)
{
    int fd = open(w->tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 || syncfs(fd) < 0 ? wan_err_errno("%s: cannot sync", w->tmp) : 0;
    if (fd >= 0)
        close(fd);
    return rc;
}

int wan_index_write_finish(wan_index_write **pw, wan_index_db **db, const wan_split *split,
                           const char *id)
{
    wan_index_write *w = *pw;
    int rc = finish_files(w, db, split, id);
    if (rc == 0)
        rc = sync_all(w);
    for (size_t i = 0; rc == 0 && i < w->idx.n; i++)
        rc = name_idx(w, i);
    if (rc == 0)
        rc = wan_replace_dir(w->tmp, w->meta, w->aside);
    wan_index_write_abandon(pw);
    return rc;
}

void wan_index_write_abandon(wan_index_write **pw)
{
    wan_index_write *w = *pw;
    if (!w)
        return;
    wan_sizes_writer_abandon(&w->sizes);
    if (w->tmp && w->lock >= 0)
        wan_remove_tree(w->tmp);
    if (w->lock >= 0)
        close(w->lock);
    wan_names_clear(&w->idx);
    json_decref(w->counts);
    free(w->dir);
    free(w->meta);
    free(w->tmp);
    free(w->aside);
    free(w);
    *pw = NULL;
}
