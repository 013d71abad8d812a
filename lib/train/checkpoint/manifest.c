/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest.c - see manifest.h.
 */
#include "lib/train/checkpoint/manifest.h"

#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/base/sha256.h"

static int digest(const char *path, char hex[65], int64_t *bytes)
{
    static const size_t piece = 1 << 20;
    unsigned char *buf = wan_malloc(piece, 1, "file");
    FILE *f = fopen(path, "rb");
    wan_sha256 s;
    size_t n;
    int bad;
    if (!f || !buf) {
        int rc = f ? -1 : wan_err_errno("%s", path);
        if (f)
            fclose(f);
        free(buf);
        return rc;
    }
    wan_sha256_init(&s);
    *bytes = 0;
    while ((n = fread(buf, 1, piece, f)) > 0) {
        wan_sha256_add(&s, buf, n);
        *bytes += (int64_t)n;
    }
    bad = ferror(f);
    fclose(f);
    free(buf);
    wan_sha256_hex(&s, hex);
    return bad ? wan_err("%s: read error", path) : 0;
}

static int add_file(json_t *files, const char *path, const char *rel)
{
    char hex[65];
    int64_t bytes;
    WAN_TRY(digest(path, hex, &bytes));
    json_t *one = json_pack("{s:I, s:s}", "bytes", (json_int_t)bytes, "sha256", hex);
    return json_object_set_new(files, rel, one) < 0 ? wan_err("out of memory") : 0;
}

/* Adds every regular file below dir under its path relative to the top. */
static int walk(json_t *files, const char *dir, const char *rel)
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
            rc = walk(files, path, name);
        else if (S_ISREG(st.st_mode) && strcmp(name, "manifest.json"))
            rc = add_file(files, path, name);
        free(path);
    }
    closedir(d);
    return rc;
}

int wan_manifest_save(const char *dir)
{
    json_t *files = json_object(), *top = json_pack("{s:O}", "files", files);
    char *path = wan_path_join(dir, "manifest.json");
    int rc = files && top && path ? walk(files, dir, "") : wan_err("out of memory");
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
    const char *sha = "";
    char *path;
    if (*rel == '/' || strstr(rel, ".."))
        return wan_err("%s/manifest.json: \"%s\" leads out of the folder", dir, rel);
    WAN_TRY(wan_json_int(entry, "bytes", -1, 0, INT64_C(1) << 53, &want, rel));
    WAN_TRY(wan_json_str(entry, "sha256", "", &sha, rel));
    if (!(path = wan_path_join(dir, rel)))
        return -1;
    int rc = digest(path, hex, &bytes);
    if (rc == 0 && (bytes != want || strcmp(hex, sha)))
        rc = wan_err("%s: differs from manifest.json: the file is damaged or was changed", path);
    free(path);
    return rc;
}

int wan_manifest_check(const char *dir)
{
    char *path = wan_path_join(dir, "manifest.json");
    json_t *top = path ? wan_json_load(path) : NULL, *files, *entry;
    const char *rel;
    int rc = top ? 0 : -1;
    if (rc == 0 && !json_is_object(files = json_object_get(top, "files")))
        rc = wan_err("%s: no list of files", path);
    if (rc == 0)
        json_object_foreach(files, rel, entry) if ((rc = check_file(dir, rel, entry)) < 0) break;
    json_decref(top);
    free(path);
    return rc;
}
