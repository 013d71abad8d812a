/* SPDX-License-Identifier: Apache-2.0
 *
 * shard_write.c - rolling tar writer.  Plain ustar headers with constant owner and time; a pax
 * header appears only where a name is too long for ustar.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/rec/shard/keyset.h"
#include "lib/rec/shard/shard.h"
#include "lib/rec/shard/shard_replace.h"

enum { RECORD = 10240 }; /* a tar file is a multiple of 20 blocks, as everybody's is */

struct wan_shard_writer {
    wan_shard_options opt;
    char *dir;
    wan_keyset keys, old; /* written; in shards that were there (resume) */
    char *earlier;        /* one of those shards */
    uint64_t first;       /* number of our first shard */
    uint64_t samples, shards, bytes;
    uint64_t in_count, in_bytes; /* of the open shard */
    wan_out *lock;               /* a file that only one writer of this rank can have open */
    wan_out *out;
    struct archive *tar;
    int staged; /* there are shards to replace: ours get their names with the last one */
    int committed;
    int broken;  /* a write failed inside of a sample */
    int dropped; /* the open shard is given up: nothing more is written */
};

static char *shard_path(const wan_shard_writer *w, uint64_t number, const char *suffix)
{
    char name[80];
    snprintf(name, sizeof name, "shard-rank%02d-%06" PRIu64 ".tar%s", w->opt.rank, number, suffix);
    return wan_path_join(w->dir, name);
}

/* Keys of a shard that was there. */
static int read_keys(wan_shard_writer *w, const char *path)
{
    wan_shard_reader *r;
    wan_shard_sample s;
    int rc;
    WAN_TRY(wan_shard_reader_open(&r, path, 1));
    while ((rc = wan_shard_reader_next(r, &s)) == 1)
        if (wan_keyset_add(&w->old, s.key) < 0)
            rc = -1;
    wan_shard_reader_close(&r);
    return rc;
}

static int go_on_behind(wan_shard_writer *w, const char *name, uint64_t number)
{
    char *path = wan_path_join(w->dir, name);
    int rc = path ? read_keys(w, path) : -1;
    if (rc == 0 && number >= w->first) {
        w->first = number + 1;
        free(w->earlier);
        w->earlier = path;
        path = NULL;
    }
    free(path);
    return rc;
}

static int refuse(wan_shard_writer *w, const char *name, uint64_t number)
{
    (void)number;
    return wan_err("%s/%s: exists; --force replaces it, --resume goes on behind it", w->dir, name);
}

static int note_old(wan_shard_writer *w, const char *name, uint64_t number)
{
    (void)name, (void)number;
    w->staged = 1;
    return 0;
}

/* Calls each() for every whole shard of the rank. */
static int each_shard(wan_shard_writer *w, int (*each)(wan_shard_writer *, const char *, uint64_t))
{
    DIR *d = opendir(w->dir);
    const char *name;
    int rc = d ? 1 : wan_err_errno("%s", w->dir);
    while (rc > 0 && (rc = wan_dir_next(d, w->dir, &name)) > 0) {
        const char *end;
        int64_t number = wan_shard_replace_number(w->opt.rank, name, &end);
        if (number >= 0 && !strcmp(end, ".tar") && each(w, name, (uint64_t)number) < 0)
            rc = -1;
    }
    if (d)
        closedir(d);
    return rc;
}

static la_ssize_t on_write(struct archive *a, void *user, const void *data, size_t n)
{
    wan_shard_writer *w = user;
    errno = 0;
    if (w->dropped || wan_out_put(w->out, data, n) == 0)
        return (la_ssize_t)n;
    archive_set_error(a, errno, "%s", strerror(errno));
    return -1;
}

static int tar_err(wan_shard_writer *w)
{
    const char *why = archive_error_string(w->tar);
    return wan_err("%s: %s", wan_out_name(w->out), why ? why : "cannot write");
}

/* One member of the open shard. */
static int put_member(wan_shard_writer *w, const char *name, const void *data, uint64_t size)
{
    struct archive_entry *e = archive_entry_new();
    if (!e)
        return wan_err("out of memory (tar header)");
    archive_entry_set_pathname(e, name);
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_perm(e, 0444);
    archive_entry_set_size(e, (la_int64_t)size);
    archive_entry_set_uname(e, "bigdata");
    archive_entry_set_gname(e, "bigdata");
    archive_entry_set_mtime(e, 0, 0);
    int rc = archive_write_header(w->tar, e) == ARCHIVE_OK ? 0 : tar_err(w);
    archive_entry_free(e);
    if (rc == 0 && size && archive_write_data(w->tar, data, size) != (la_ssize_t)size)
        rc = tar_err(w);
    return rc;
}

static int open_shard(wan_shard_writer *w)
{
    char *path = shard_path(w, w->first + w->shards, w->staged ? ".new" : "");
    if (!path)
        return -1;
    int rc = wan_out_open(&w->out, path);
    free(path);
    if (rc < 0)
        return -1;
    w->in_count = w->in_bytes = 0;
    w->tar = archive_write_new();
    if (!w->tar)
        return wan_err("out of memory (tar)");
    if (archive_write_set_format_pax_restricted(w->tar) != ARCHIVE_OK ||
        archive_write_set_bytes_per_block(w->tar, RECORD) != ARCHIVE_OK ||
        archive_write_set_bytes_in_last_block(w->tar, RECORD) != ARCHIVE_OK ||
        archive_write_open(w->tar, w, NULL, on_write, NULL) != ARCHIVE_OK)
        return tar_err(w);
    return 0;
}

/* A reader finds in the shard what was put into it; wan_out_finish compares the bytes. */
static int read_back(wan_shard_writer *w)
{
    wan_shard_reader *r;
    wan_shard_sample s;
    uint64_t samples = 0, bytes = 0;
    const char *tmp = wan_out_flushed(w->out);
    int rc = tmp ? wan_shard_reader_open(&r, tmp, 1) : -1;
    WAN_TRY(rc);
    while ((rc = wan_shard_reader_next(r, &s)) == 1) {
        samples++;
        for (int i = 0; i < s.n; i++)
            bytes += s.part[i].size;
    }
    wan_shard_reader_close(&r);
    if (rc == 0 && (samples != w->in_count || bytes != w->in_bytes))
        rc = wan_err("%s: was written badly: %" PRIu64 " samples of %" PRIu64, wan_out_name(w->out),
                     samples, w->in_count);
    return rc;
}

static int close_shard(wan_shard_writer *w)
{
    if (!w->tar)
        return 0;
    int rc = archive_write_close(w->tar) == ARCHIVE_OK ? 0 : tar_err(w);
    archive_write_free(w->tar);
    w->tar = NULL;
    if (rc < 0 || read_back(w) < 0) {
        wan_out_discard(&w->out);
        return -1;
    }
    char *idx = shard_path(w, w->first + w->shards, ".idx");
    if (!idx)
        return -1;
    rc = !w->staged && unlink(idx) < 0 && errno != ENOENT ? wan_err_errno("%s: cannot remove", idx)
                                                          : 0;
    free(idx);
    WAN_TRY(rc);
    WAN_TRY(wan_out_finish(&w->out));
    w->shards++;
    w->in_count = w->in_bytes = 0;
    return 0;
}

int wan_shard_writer_open(wan_shard_writer **out, const wan_shard_options *opt)
{
    *out = NULL;
    WAN_TRY(wan_mkdirs(opt->dir));
    wan_shard_writer *w = wan_calloc(1, sizeof *w, "shard writer");
    if (!w)
        return -1;
    w->opt = *opt;
    w->dir = strdup(opt->dir);
    int rc = w->dir ? wan_shard_replace_lock(&w->lock, w->dir, opt->rank)
                    : wan_err("out of memory (shards)");
    if (rc == 0)
        rc = wan_shard_replace_settle(w->dir, opt->rank);
    if (rc == 0)
        rc = each_shard(w, opt->force ? note_old : opt->resume ? go_on_behind : refuse);
    if (rc < 0) {
        wan_shard_writer_abandon(&w);
        return -1;
    }
    *out = w;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const wan_shard_part *const *)a)->name,
                  (*(const wan_shard_part *const *)b)->name);
}

static int put_parts(wan_shard_writer *w, const char *key, const wan_shard_part *part, int n)
{
    const wan_shard_part **sorted = wan_malloc((size_t)n, sizeof *sorted, "parts");
    if (!sorted)
        return -1;
    for (int i = 0; i < n; i++)
        sorted[i] = &part[i];
    qsort(sorted, (size_t)n, sizeof *sorted, by_name);
    int rc = 0;
    for (int i = 0; rc == 0 && i < n; i++) {
        char name[1024];
        int len = snprintf(name, sizeof name, "%s.%s", key, sorted[i]->name);
        rc = len >= (int)sizeof name ? wan_err("sample %s: the key is too long", key)
                                     : put_member(w, name, sorted[i]->data, sorted[i]->size);
        w->in_bytes += sorted[i]->size;
        w->bytes += sorted[i]->size;
    }
    free(sorted);
    return rc;
}

int wan_shard_writer_has(const wan_shard_writer *w, const char *key)
{
    return wan_keyset_has(&w->old, key);
}

const char *wan_shard_writer_earlier(const wan_shard_writer *w)
{
    return w->earlier;
}

int wan_shard_writer_begins(const wan_shard_writer *w)
{
    return !w->tar || w->in_count >= (uint64_t)w->opt.max_count ||
           w->in_bytes >= (uint64_t)w->opt.max_bytes;
}

int wan_shard_writer_put(wan_shard_writer *w, const char *key, const wan_shard_part *part, int n)
{
    size_t len;
    const char *rest;
    char probe[300];
    snprintf(probe, sizeof probe, "%.255s.x", key);
    if (wan_shard_split(probe, &len, &rest) != 1 || len != strlen(key))
        return wan_err("sample %s: cannot be a key in a tar shard", key);
    int added = wan_keyset_add(&w->keys, key);
    WAN_TRY(added);
    if (!added)
        return wan_err("sample %s: this key was written before", key);
    if (wan_shard_writer_begins(w))
        WAN_TRY(close_shard(w));
    w->broken = 1;
    if (!w->tar)
        WAN_TRY(open_shard(w));
    WAN_TRY(put_parts(w, key, part, n));
    w->broken = 0;
    w->in_count++;
    w->samples++;
    return 0;
}

uint64_t wan_shard_writer_samples(const wan_shard_writer *w)
{
    return w->samples;
}

uint64_t wan_shard_writer_shards(const wan_shard_writer *w)
{
    return w->shards;
}

uint64_t wan_shard_writer_bytes(const wan_shard_writer *w)
{
    return w->bytes;
}

int wan_shard_writer_finish(wan_shard_writer **pw)
{
    wan_shard_writer *w = *pw;
    int rc = close_shard(w);
    w->committed = rc == 0;
    if (rc == 0 && w->staged)
        rc = wan_shard_replace_commit(w->dir, w->opt.rank);
    wan_shard_writer_abandon(pw);
    return rc;
}

void wan_shard_writer_stop(wan_shard_writer *w)
{
    char *why = strdup(wan_err_text());
    if (w->staged) /* none of ours gets its name */
        w->samples = w->shards = 0;
    else {
        if (!w->broken)
            (void)close_shard(w);
        w->samples -= w->in_count; /* of a shard that was not finished, now or before */
    }
    wan_err("%s", why ? why : "out of memory");
    free(why);
}

void wan_shard_writer_abandon(wan_shard_writer **pw)
{
    wan_shard_writer *w = *pw;
    if (!w)
        return;
    if (w->tar) {
        w->dropped = 1;
        archive_write_free(w->tar);
    }
    wan_out_discard(&w->out);
    if (w->staged && !w->committed) {
        char *why = strdup(wan_err_text()); /* what went wrong before matters more */
        if (wan_shard_replace_settle(w->dir, w->opt.rank) < 0 && why)
            wan_err("%s", why);
        free(why);
    }
    wan_out_discard(&w->lock);
    wan_keyset_clear(&w->keys);
    wan_keyset_clear(&w->old);
    free(w->earlier);
    free(w->dir);
    free(w);
    *pw = NULL;
}
