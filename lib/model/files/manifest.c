/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest.c - see manifest.h.
 */
#include "lib/model/files/manifest.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/crc32c.h"
#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/base/sha256.h"

enum { PIECE = 1 << 20 };

/* SHA-256 in hex, or CRC32C as eight digits. */
static int digest(const char *path, int crc32c, char hex[65], int64_t *bytes)
{
    unsigned char *buf = wan_malloc(PIECE, 1, "file");
    FILE *f = buf ? fopen(path, "rb") : NULL;
    wan_sha256 s;
    uint32_t crc = 0;
    size_t n;
    if (!f) {
        int rc = buf ? wan_err_errno("%s", path) : -1;
        free(buf);
        return rc;
    }
    wan_sha256_init(&s);
    *bytes = 0;
    while ((n = fread(buf, 1, PIECE, f)) > 0) {
        if (crc32c)
            crc = wan_crc32c(crc, buf, n);
        else
            wan_sha256_add(&s, buf, n);
        *bytes += (int64_t)n;
    }
    int bad = ferror(f);
    fclose(f);
    free(buf);
    if (crc32c)
        snprintf(hex, 65, "%08x", crc);
    else
        wan_sha256_hex(&s, hex);
    return bad ? wan_err("%s: read error", path) : 0;
}

/* What is listed so far. */
typedef struct list {
    json_t *files;
    const wan_manifest_known *known;
    int n;
} list;

static int add_file(const list *l, const char *path, const char *rel)
{
    char hex[65];
    int64_t bytes;
    json_t *one = NULL;
    for (int i = 0; i < l->n && !one; i++) {
        const wan_manifest_known *k = &l->known[i];
        if (strcmp(k->name, rel))
            continue;
        snprintf(hex, sizeof hex, "%08x", k->crc32c);
        one = json_pack("{s:I, s:s}", "bytes", (json_int_t)k->bytes, "crc32c", hex);
    }
    if (!one) {
        WAN_TRY(digest(path, 0, hex, &bytes));
        one = json_pack("{s:I, s:s}", "bytes", (json_int_t)bytes, "sha256", hex);
    }
    return json_object_set_new(l->files, rel, one) < 0 ? wan_err("out of memory") : 0;
}

/* Adds every regular file below dir under its path relative to the top. */
static int walk(const list *l, const char *dir, const char *rel)
{
    DIR *d = opendir(dir);
    int rc = 0;
    if (!d)
        return wan_err_errno("%s", dir);
    while (rc == 0) {
        struct stat st;
        char name[1024];
        errno = 0;
        struct dirent *e = readdir(d);
        if (!e) {
            rc = errno ? wan_err_errno("%s: cannot be read to its end", dir) : 0;
            break;
        }
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        char *path = wan_path_join(dir, e->d_name);
        snprintf(name, sizeof name, "%s%s%s", rel, *rel ? "/" : "", e->d_name);
        if (!path || stat(path, &st) < 0)
            rc = wan_err_errno("%s", path ? path : name);
        else if (S_ISDIR(st.st_mode))
            rc = walk(l, path, name);
        else if (S_ISREG(st.st_mode) && strcmp(name, "manifest.json"))
            rc = add_file(l, path, name);
        free(path);
    }
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

static int check_file(const char *dir, const char *rel, const json_t *entry)
{
    char hex[65];
    int64_t bytes = 0, want = 0;
    const char *sha = "", *crc = "";
    char *path;
    if (*rel == '/' || strstr(rel, ".."))
        return wan_err("%s/manifest.json: \"%s\" leads out of the folder", dir, rel);
    WAN_TRY(wan_json_int(entry, "bytes", -1, 0, INT64_C(1) << 53, &want, rel));
    WAN_TRY(wan_json_str(entry, "sha256", "", &sha, rel));
    WAN_TRY(wan_json_str(entry, "crc32c", "", &crc, rel));
    if (!(path = wan_path_join(dir, rel)))
        return -1;
    int rc = digest(path, *crc != 0, hex, &bytes);
    if (rc < 0)
        wan_err_suffix(" (named in manifest.json)");
    if (rc == 0 && bytes != want)
        rc = wan_err("%s: differs from manifest.json: it has %" PRId64 " bytes and not %" PRId64
                     ", the file is damaged or was changed",
                     path, bytes, want);
    else if (rc == 0 && strcmp(hex, *crc ? crc : sha))
        rc = wan_err("%s: differs from manifest.json: the file is damaged or was changed", path);
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

int wan_manifest_check_under(const char *dir, const char *below)
{
    int there = has_manifest(dir);
    return there <= 0 ? there : check(dir, below, 0, 1);
}

int wan_manifest_check_weights(const char *path)
{
    static const char *const leaf[] = { "/transformer", "/optimizer/ema.safetensors" };
    for (size_t i = 0; i < sizeof leaf / sizeof *leaf; i++) {
        size_t n = strlen(path), m = strlen(leaf[i]);
        if (n <= m || strcmp(path + n - m, leaf[i]))
            continue;
        char *dir = strndup(path, n - m);
        int rc = dir ? wan_manifest_check_under(dir, leaf[i] + 1) : wan_err("out of memory");
        free(dir);
        return rc;
    }
    return 0;
}

int wan_manifest_check_part(const char *path)
{
    int own = has_manifest(path);
    if (own)
        return own < 0 ? -1 : wan_manifest_check(path, 0, 1);
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    char *dir = strndup(path, n), *slash = dir ? strrchr(dir, '/') : NULL;
    char *below = dir ? wan_path_join(slash ? slash + 1 : dir, "") : NULL; /* "vae/" */
    if (slash)
        slash[slash == dir] = 0;
    int rc = below ? wan_manifest_check_under(slash ? dir : ".", below) : wan_err("out of memory");
    free(below);
    free(dir);
    return rc;
}
