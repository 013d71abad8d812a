/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest.c - see manifest.h.
 */
#include "lib/model/files/manifest.h"

#include <inttypes.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/crc32c.h"
#include "lib/base/file.h"
#include "lib/base/ranges.h"
#include "lib/base/sha256.h"

enum { CHUNK = 1 << 16 };

/* What is known of a file. */
typedef struct digest {
    int crc32c;   /* SHA-256, or that */
    char hex[65]; /* of all, or as eight digits */
    wan_ranges r;
} digest;

/* Reads it all into d, whose ranges are set. */
static int read_file(digest *d, FILE *f, const char *path)
{
    unsigned char buf[CHUNK];
    wan_sha256 s;
    uint32_t all = 0;
    size_t n;
    wan_sha256_init(&s);
    while ((n = fread(buf, 1, sizeof buf, f)) > 0) {
        WAN_TRY(wan_ranges_add(&d->r, buf, n));
        if (d->crc32c)
            all = wan_crc32c(all, buf, n);
        else
            wan_sha256_add(&s, buf, n);
    }
    if (ferror(f))
        return wan_err("%s: read error", path);
    if (d->crc32c)
        snprintf(d->hex, sizeof d->hex, "%08x", all);
    else
        wan_sha256_hex(&s, d->hex);
    return 0;
}

static int digest_file(digest *d, const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return wan_err_errno("%s", path);
    int rc = read_file(d, f, path);
    fclose(f);
    return rc;
}

/* What is listed so far. */
typedef struct list {
    json_t *files;
    const wan_manifest_known *known;
    int n;
} list;

/* The CRC32C of all from those of its ranges. */
static uint32_t whole(const uint32_t *sum, int64_t bytes)
{
    const int64_t range = wan_ranges_each(bytes);
    uint32_t crc = wan_crc32c_zeros((uint64_t)bytes);
    for (int64_t at = 0; at < bytes; at += range) {
        const int64_t n = bytes - at < range ? bytes - at : range;
        crc ^= wan_crc32c_range(*sum++, (uint64_t)n, (uint64_t)(bytes - at - n));
    }
    return crc;
}

/* {"bytes": ..., "sha256": ...}, with "ranges" where there are several (ranges.h). */
static json_t *entry_of(const digest *d)
{
    json_t *o = json_pack("{s:I, s:s}", "bytes", (json_int_t)d->r.bytes,
                          d->crc32c ? "crc32c" : "sha256", d->hex);
    wan_ranges_put(&o, &d->r);
    return o;
}

/* d of a file whose digests are known. */
static int take_known(digest *d, const wan_manifest_known *k)
{
    const int64_t each = d->r.each = wan_ranges_each(k->bytes);
    d->crc32c = 1;
    snprintf(d->hex, sizeof d->hex, "%08x", whole(k->crc32c, k->bytes));
    for (int64_t at = 0; at < k->bytes; at += each)
        WAN_TRY(wan_ranges_add_sum(&d->r, k->crc32c[at / each],
                                   each < k->bytes - at ? each : k->bytes - at));
    return 0;
}

static int add_file(const list *l, const char *path, const char *rel, int64_t bytes)
{
    const wan_manifest_known *k = l->known, *end = k + l->n;
    digest d = { .r.each = wan_ranges_each(bytes) };
    while (k < end && strcmp(k->name, rel))
        k++;
    int rc = k < end ? take_known(&d, k) : digest_file(&d, path);
    if (rc == 0 && json_object_set_new(l->files, rel, entry_of(&d)) < 0)
        rc = wan_err("%s: out of memory, or a name that is not UTF-8", path);
    wan_ranges_clear(&d.r);
    return rc;
}

static int walk(const list *l, const char *dir, const char *rel);

/* One entry of a folder, which is `rel` below the top. */
static int visit(const list *l, const char *dir, const char *rel, const char *entry)
{
    struct stat st;
    char *path = wan_path_join(dir, entry), *name = wan_path_join(*rel ? rel : NULL, entry);
    int rc = path && name ? 0 : -1;
    if (rc == 0 && stat(path, &st) < 0)
        rc = wan_err_errno("%s", path);
    else if (rc == 0 && S_ISDIR(st.st_mode))
        rc = walk(l, path, name);
    else if (rc == 0 && S_ISREG(st.st_mode) && strcmp(name, "manifest.json"))
        rc = add_file(l, path, name, st.st_size);
    free(path);
    free(name);
    return rc;
}

/* Adds every regular file below dir under its path relative to the top. */
static int walk(const list *l, const char *dir, const char *rel)
{
    DIR *d = opendir(dir);
    const char *entry;
    int rc = d ? 1 : wan_err_errno("%s", dir);
    while (rc > 0 && (rc = wan_dir_next(d, dir, &entry)) > 0)
        if (visit(l, dir, rel, entry) < 0)
            rc = -1;
    if (d)
        closedir(d);
    return rc;
}

int wan_manifest_save(const char *dir, const wan_manifest_known *known, int n)
{
    json_t *files = json_object(), *top = json_pack("{s:O}", "files", files);
    const list l = { files, known, n };
    char *path = wan_path_join(dir, "manifest.json");
    int rc = files && top && path ? walk(&l, dir, "") : wan_err("out of memory");
    if (rc == 0)
        rc = wan_json_save(path, top, 1);
    free(path);
    json_decref(top);
    json_decref(files);
    return rc;
}

/* Whether the file at path is what its entry says. */
static int compare(digest *d, const char *path, const char *rel, const json_t *entry)
{
    const char *sha = "", *crc = "";
    char place[64], what[PATH_MAX];
    int64_t want = 0;
    snprintf(what, sizeof what, "manifest.json: %s", rel);
    WAN_TRY(wan_json_int(entry, "bytes", -1, 0, INT64_C(1) << 53, &want, what));
    WAN_TRY(wan_json_str(entry, "sha256", "", &sha, what));
    WAN_TRY(wan_json_str(entry, "crc32c", "", &crc, what));
    WAN_TRY(wan_ranges_set(&d->r, entry, want, what));
    d->crc32c = *crc != 0;
    if (digest_file(d, path) < 0)
        return wan_err_suffix(" (named in manifest.json)");
    if (d->r.bytes != want)
        return wan_err("%s: differs from manifest.json: it has %" PRId64 " bytes and not %" PRId64
                       ", the file is damaged or was changed",
                       path, d->r.bytes, want);
    WAN_TRY(wan_ranges_where(place, sizeof place, &d->r, entry, what));
    const int same = !strcmp(d->hex, *crc ? crc : sha);
    if (!same && !*place && want)
        snprintf(place, sizeof place, " in bytes 0 to %" PRId64, want - 1);
    if (!same)
        return wan_err("%s: differs from manifest.json%s: the file is damaged or was changed", path,
                       place);
    return *place ? wan_err("%s: is as its digest in manifest.json says, and not as that%s: "
                            "manifest.json is damaged",
                            path, place)
                  : 0;
}

static int leads_out(const char *rel)
{
    int out = *rel == '/';
    for (const char *p = rel; p && !out; p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL)
        out = !strncmp(p, "..", 2) && (!p[2] || p[2] == '/');
    return out;
}

static int check_file(const char *dir, const char *rel, const json_t *entry)
{
    digest d = { 0 };
    if (leads_out(rel))
        return wan_err("%s/manifest.json: \"%s\" leads out of the folder", dir, rel);
    char *path = wan_path_join(dir, rel);
    int rc = path ? compare(&d, path, rel, entry) : -1;
    wan_ranges_clear(&d.r);
    free(path);
    return rc;
}

/* Every ranks-th of the files whose names begin with `below`. */
static int check(const char *dir, const char *below, int rank, int ranks)
{
    char *path = wan_path_join(dir, "manifest.json");
    json_t *top = path ? wan_json_load(path) : NULL, *files, *entry;
    const char *rel;
    int rc = top ? 0 : -1, k = 0;
    if (rc == 0 && !json_is_object(files = json_object_get(top, "files")))
        rc = wan_err("%s: no list of files", path);
    if (rc == 0)
        json_object_foreach(files, rel, entry)
        {
            if (strncmp(rel, below, strlen(below)) || k++ % ranks != rank)
                continue;
            if ((rc = check_file(dir, rel, entry)) < 0)
                break;
        }
    json_decref(top);
    free(path);
    return rc;
}

int wan_manifest_check(const char *dir, int rank, int ranks)
{
    return check(dir, "", rank, ranks);
}

static int has_manifest(const char *dir)
{
    char *path = wan_path_join(dir, "manifest.json");
    int there = path ? wan_exists(path) : -1;
    free(path);
    return there;
}

/* DIR of DIR/NAME, "." of NAME; malloc'ed. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
}

/* Those at path, a folder or a file, by the manifest in dir: 1 there is one, 0, -1. */
static int check_in(const char *dir, const char *path, int folder, int rank, int ranks)
{
    int there = has_manifest(dir);
    if (there <= 0)
        return there;
    size_t n = strcmp(dir, ".") || !strncmp(path, "./", 2) ? strlen(dir) : 0;
    const char *rest = strcmp(dir, path) ? path + n + (path[n] == '/') : "";
    char *below = folder && *rest ? wan_path_join(rest, "") : strdup(rest); /* "vae/" */
    int rc = below ? check(dir, below, rank, ranks) : wan_err("out of memory");
    free(below);
    return rc < 0 ? -1 : 1;
}

/* The path without slashes at its end, of a list of files their folder; malloc'ed. */
static char *trimmed(const char *path)
{
    static const char end[] = ".index.json";
    size_t n = strlen(path), m = sizeof end - 1;
    while (n > 1 && path[n - 1] == '/')
        n--;
    return n > m && !strncmp(path + n - m, end, m) ? folder_of(path) : strndup(path, n);
}

int wan_manifest_check_part(const char *path, int rank, int ranks)
{
    char *what = trimmed(path), *dir = what ? strdup(what) : NULL;
    int folder = dir ? wan_is_dir(what) : wan_err("out of memory");
    int rc = folder < 0 ? -1 : folder ? check_in(dir, what, 1, rank, ranks) : 0;
    for (int up = 1; rc == 0 && up <= 2 - folder; up++) {
        char *above = folder_of(dir);
        int top = above && !strcmp(above, dir);
        free(dir);
        dir = above;
        if (top)
            break;
        rc = dir ? check_in(dir, what, folder, rank, ranks) : wan_err("out of memory");
    }
    free(what);
    free(dir);
    return rc < 0 ? -1 : 0;
}
