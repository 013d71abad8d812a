/* SPDX-License-Identifier: Apache-2.0
 *
 * recordcache.c - see recordcache.h.
 */
#include "lib/rec/record/recordcache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"

/* DIR/ab, or DIR/ab/abcd....wan; malloc'ed */
static char *path_of(const char *dir, const char *hex, int file)
{
    char *path = NULL;
    if (file ? asprintf(&path, "%s/%.2s/%s.wan", dir, hex, hex) < 0
             : asprintf(&path, "%s/%.2s", dir, hex) < 0) {
        wan_err("out of memory (path)");
        return NULL;
    }
    return path;
}

/* The one record of a stream. */
static int read_entry(FILE *f, const char *path, const char *hex, wan_record *r)
{
    wan_reader *in;
    wan_record more = WAN_RECORD_INIT;
    WAN_TRY(wan_reader_open(&in, f, path));
    int rc = wan_reader_next(in, r);
    if (rc == 0)
        rc = wan_err("%s: no record", path);
    else if (rc > 0 && strcmp(r->key, hex))
        rc = wan_err("%s: holds the record of another digest (%.8s...)", path, r->key);
    else if (rc > 0 && (rc = wan_reader_next(in, &more)) > 0)
        rc = wan_err("%s: more than one record", path);
    wan_record_clear(&more);
    wan_reader_close(&in);
    return rc < 0 ? -1 : 0;
}

int wan_recordcache_get(const char *dir, const char *hex, wan_record *r)
{
    char *path = path_of(dir, hex, 1);
    wan_record_clear(r);
    if (!path)
        return -1;
    FILE *f = fopen(path, "rbe");
    int found = WAN_RECORDCACHE_FOUND, why = errno;
    if (!f && (why == ENOENT || why == ENOTDIR))
        found = WAN_RECORDCACHE_NONE;
    else if (!f)
        found = (wan_err_errno("%s: cannot open", path), WAN_RECORDCACHE_DAMAGED);
    else if (read_entry(f, path, hex, r) < 0)
        found = wan_err_memory() ? -1 : WAN_RECORDCACHE_DAMAGED;
    if (found != WAN_RECORDCACHE_FOUND)
        wan_record_clear(r);
    if (f)
        fclose(f);
    free(path);
    return found;
}

static int write_entry(const char *path, const char *hex, const wan_record *r)
{
    wan_out *out;
    wan_writer *w;
    wan_record entry = *r; /* borrowed, but for the key */
    entry.key = (char *)(uintptr_t)hex;
    if (wan_out_open(&out, path) < 0)
        return errno == EWOULDBLOCK ? 0 : -1;
    int rc = wan_writer_open(&w, wan_out_file(out), path, NULL);
    if (rc == 0 && wan_writer_put(w, &entry) < 0) {
        wan_writer_abandon(&w);
        rc = -1;
    } else if (rc == 0) {
        rc = wan_writer_finish(&w);
    }
    if (rc == 0)
        return wan_out_finish(&out);
    wan_out_discard(&out);
    return -1;
}

int wan_recordcache_put(const char *dir, const char *hex, const wan_record *r)
{
    char *folder = path_of(dir, hex, 0), *path = path_of(dir, hex, 1);
    int rc = folder && path ? wan_mkdirs(folder) : -1;
    if (rc == 0)
        rc = write_entry(path, hex, r);
    free(folder);
    free(path);
    return rc;
}
