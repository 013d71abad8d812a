/* SPDX-License-Identifier: Apache-2.0
 *
 * modeldigest.c - digests of a model folder, without reading its weights and with.
 */
#include "lib/model/files/modeldigest.h"

#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/crc32c.h"
#include "lib/base/ends.h"
#include "lib/base/file.h"
#include "lib/base/sha256.h"
#include "lib/rec/record/recordcache.h"

#define MAX_HEADER (100u << 20)

static int is_model_file(const struct dirent *e)
{
    return e->d_name[0] != '.' &&
           (wan_ends_with(e->d_name, ".json") || wan_ends_with(e->d_name, ".model") ||
            wan_ends_with(e->d_name, ".safetensors"));
}

/* Bytes of f that count: all, or a safetensors header with its length in front; -1: it cannot be read. */
static int64_t counted(FILE *f, const char *path, int64_t size)
{
    uint8_t b[8];
    uint64_t n = 0;
    if (!wan_ends_with(path, ".safetensors"))
        return size;
    if (fread(b, 1, 8, f) != 8)
        return ferror(f) ? wan_err_errno("%s: cannot be read", path) : 0;
    for (int i = 7; i >= 0; i--)
        n = n << 8 | b[i];
    if (fseeko(f, 0, SEEK_SET) != 0)
        return wan_err_errno("%s: cannot be read", path);
    return n <= MAX_HEADER && n + 8 <= (uint64_t)size ? (int64_t)n + 8 : 8;
}

static int add_file(wan_sha256 *s, const char *path)
{
    char block[1 << 14];
    struct stat st;
    FILE *f = fopen(path, "rb");
    if (!f || fstat(fileno(f), &st) < 0) {
        if (f)
            fclose(f);
        return wan_err_errno("%s: cannot open", path);
    }
    int64_t size = st.st_size, left = counted(f, path, size);
    if (left < 0) {
        fclose(f);
        return -1;
    }
    wan_sha256_add(s, &size, sizeof size);
    while (left > 0) {
        size_t want = left < (int64_t)sizeof block ? (size_t)left : sizeof block;
        size_t got = fread(block, 1, want, f);
        wan_sha256_add(s, block, got);
        left -= (int64_t)got;
        if (got < want)
            break;
    }
    int bad = left > 0;
    fclose(f);
    return bad ? wan_err("%s: cannot be read to its end", path) : 0;
}

/* Everything of a file, MiB by MiB. */
static int add_contents(wan_sha256 *s, const char *path)
{
    enum { BLOCK = 1 << 20 };
    FILE *f = fopen(path, "rb");
    char *block = f ? wan_malloc(BLOCK, 1, "reading a model") : NULL;
    if (!block) {
        if (f)
            fclose(f);
        return f ? -1 : wan_err_errno("%s: cannot open", path);
    }
    for (size_t n = 1; n;) {
        n = fread(block, 1, BLOCK, f);
        uint64_t v[2] = { n, wan_crc32c(0, block, n) };
        wan_sha256_add(s, v, sizeof v);
    }
    int rc = ferror(f) ? wan_err_errno("%s: cannot be read to its end", path) : 0;
    free(block);
    fclose(f);
    return rc;
}

static int digest_files(char hex[65], const char *dir, int (*add)(wan_sha256 *s, const char *path))
{
    struct dirent **list = NULL;
    wan_sha256 s;
    int rc = 0, n = scandir(dir, &list, is_model_file, alphasort);
    hex[0] = 0;
    if (n < 0)
        return errno == ENOENT || errno == ENOTDIR
                   ? 0
                   : wan_err_errno("%s: cannot be read to its end", dir);
    wan_sha256_init(&s);
    for (int i = 0; i < n; i++) {
        char *path = wan_path_join(dir, list[i]->d_name);
        wan_sha256_add(&s, list[i]->d_name, strlen(list[i]->d_name) + 1);
        if (rc == 0)
            rc = path ? add(&s, path) : -1;
        free(path);
        free(list[i]);
    }
    free(list);
    wan_sha256_hex(&s, hex);
    return rc;
}

int wan_modeldigest(char hex[65], const char *dir)
{
    return digest_files(hex, dir, add_file);
}

static void add_name(wan_sha256 *s, const char *text)
{
    wan_sha256_add(s, text, strlen(text) + 1);
}

static int add_stamp(wan_sha256 *s, const char *path, const char *name)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return wan_err_errno("%s", path);
    if (!S_ISREG(st.st_mode))
        return 0;
    int64_t v[5] = { st.st_size, st.st_mtim.tv_sec, st.st_mtim.tv_nsec, st.st_ctim.tv_sec,
                     st.st_ctim.tv_nsec };
    add_name(s, name);
    wan_sha256_add(s, v, sizeof v);
    return 0;
}

int wan_modeldigest_stamp(wan_sha256 *s, const char *path)
{
    struct dirent **list = NULL;
    int n = scandir(path, &list, NULL, alphasort), why = errno, rc = 0;
    for (int i = 0; i < n; i++) {
        char *file = rc == 0 ? wan_path_join(path, list[i]->d_name) : NULL;
        rc = file ? add_stamp(s, file, list[i]->d_name) : -1;
        free(file);
        free(list[i]);
    }
    free(list);
    add_name(s, path);
    if (n < 0 && why == ENOTDIR)
        return add_stamp(s, path, path);
    errno = why;
    return n < 0 && why != ENOENT ? wan_err_errno("%s", path) : rc;
}

int wan_modeldigest_contents(char hex[65], const char *dir, const char *memo)
{
    char name[65];
    const char *known;
    wan_record r = WAN_RECORD_INIT;
    wan_sha256 s;
    wan_sha256_init(&s);
    add_name(&s, "contents of a model 1");
    WAN_TRY(wan_modeldigest_stamp(&s, dir));
    wan_sha256_hex(&s, name);
    int found = wan_recordcache_get(memo, name, &r);
    WAN_TRY(found);
    known = found == WAN_RECORDCACHE_FOUND ? json_string_value(json_object_get(r.meta, "digest"))
                                           : NULL;
    if (known && strlen(known) == 64) {
        memcpy(hex, known, 65);
        wan_record_clear(&r);
        return 0;
    }
    wan_record_clear(&r);
    WAN_TRY(digest_files(hex, dir, add_contents));
    if (!*hex)
        return 0;
    int rc = wan_record_set_key(&r, name);
    if (rc == 0 && json_object_set_new(r.meta, "digest", json_string(hex)) < 0)
        rc = wan_err("out of memory");
    if (rc == 0)
        rc = wan_recordcache_put(memo, name, &r);
    wan_record_clear(&r);
    return rc;
}
