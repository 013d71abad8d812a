/* SPDX-License-Identifier: Apache-2.0
 *
 * index_manifest.c - wan-index.json: the files of one generation of .nv-meta, each with its size, the CRC32C of
 * all of it, and that of each range (ranges.h) where it has several.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/crc32c.h"
#include "lib/base/file.h"
#include "lib/base/ranges.h"
#include "lib/rec/shard/index_in.h"

/* Ours; samples.bin and the manifest are not in the manifest. */
static const char *const own_files[] = { ".info.json",   ".info.yaml",      "split.yaml",
                                         "dataset.yaml", "index.sqlite",    "index.uuid",
                                         "samples.bin",  WAN_INDEX_MANIFEST };
enum { LISTED = 6, OWN = sizeof own_files / sizeof *own_files };

int wan_index_manifest_own(const char *name)
{
    size_t i = 0;
    while (i < OWN && strcmp(name, own_files[i]))
        i++;
    return i < OWN;
}

/* ---- made */

/* What is known of a file's bytes. */
struct sum {
    uint32_t crc; /* CRC32C of all */
    wan_ranges r;
};

/* Of the file meta/name, the bytes of a range set: 1, 0 when it is not there.  *s is released either way. */
static int sum(struct sum *s, const char *meta, const char *name)
{
    enum { CHUNK = 1 << 20 };
    size_t n;
    char *path = wan_path_join(meta, name);
    FILE *f = path ? fopen(path, "rb") : NULL;
    int rc = !path ? -1 : f ? 1 : errno == ENOENT ? 0 : wan_err_errno("%s", path);
    uint8_t *buf = rc > 0 ? wan_malloc(CHUNK, 1, "checksum") : NULL;
    if (rc > 0 && !buf)
        rc = -1;
    while (rc > 0 && (n = fread(buf, 1, CHUNK, f)) > 0) {
        s->crc = wan_crc32c(s->crc, buf, n);
        if (wan_ranges_add(&s->r, buf, n) < 0)
            rc = -1;
    }
    if (rc > 0 && ferror(f))
        rc = wan_err_errno("%s: cannot read", path);
    if (f)
        fclose(f);
    free(buf);
    free(path);
    return rc;
}

/* Adds the entry of a file that is there. */
static int list_file(json_t **files, const char *meta, const char *name)
{
    struct stat st;
    struct sum s = { 0 };
    char hex[16], *path = wan_path_join(meta, name);
    int rc = !path                  ? -1
             : stat(path, &st) == 0 ? 1
             : errno == ENOENT      ? 0
                                    : wan_err_errno("%s", path);
    free(path);
    if (rc <= 0)
        return rc;
    s.r.each = wan_ranges_each(st.st_size);
    rc = sum(&s, meta, name);
    if (rc > 0) {
        json_t *one = wan_json_object();
        snprintf(hex, sizeof hex, "%08" PRIx32, s.crc);
        wan_json_put(&one, "bytes", json_integer((json_int_t)s.r.bytes));
        wan_json_put(&one, "crc32c", json_string(hex));
        wan_ranges_put(&one, &s.r);
        wan_json_put(files, name, one);
    }
    wan_ranges_clear(&s.r);
    return rc;
}

int wan_index_manifest_save(const char *meta, const char *id)
{
    json_t *top = wan_json_object(), *files = wan_json_object();
    int rc = 0;
    for (int i = 0; rc >= 0 && i < LISTED; i++)
        rc = list_file(&files, meta, own_files[i]);
    wan_json_put(&top, "format", json_integer(1));
    wan_json_put(&top, "generation", json_string(id));
    wan_json_put(&top, "files", files);
    char *path = wan_path_join(meta, WAN_INDEX_MANIFEST);
    if (rc >= 0)
        rc = path ? wan_json_save(path, top, 2) : -1;
    free(path);
    json_decref(top);
    return rc;
}

/* ---- the files held against it */

/* The entry cannot be read. */
static int bad_entry(char *why, size_t room)
{
    snprintf(why, room, "what " WAN_INDEX_MANIFEST " says of it is damaged: %s", wan_err_text());
    wan_err_clear();
    return 1;
}

/* How a file of these bytes differs from its entry, "" where it does not. */
static void differ(char *why, size_t room, const struct sum *s, int64_t bytes, const char *crc,
                   const char *place, int ranges)
{
    char hex[16];
    snprintf(hex, sizeof hex, "%08" PRIx32, s->crc);
    const int same = !strcmp(crc, hex);
    *why = 0;
    if (s->r.bytes != bytes)
        snprintf(why, room,
                 "is not what wan-index wrote: it has %" PRId64 " bytes and not %" PRId64
                 ", as " WAN_INDEX_MANIFEST " has it",
                 s->r.bytes, bytes);
    else if (same != !*place && ranges)
        snprintf(why, room, WAN_INDEX_MANIFEST " has another digest of %s%s, and is damaged",
                 same ? "what is" : "all of it", place);
    else if (!same && !ranges)
        snprintf(why, room,
                 "is not what wan-index wrote in bytes 0 to %" PRId64 ", as " WAN_INDEX_MANIFEST
                 " has it",
                 bytes - 1);
    else if (!same)
        snprintf(why, room, "is not what wan-index wrote%s, as " WAN_INDEX_MANIFEST " has it",
                 place);
}

/* 1 the file is there, 0 it is not, -1.  why: how it differs from its entry of the manifest, "" where it does not. */
static int compare(char *why, size_t room, const char *meta, const char *name, const json_t *entry)
{
    struct sum s = { 0 };
    char place[64];
    int64_t bytes = 0;
    const char *crc = "";
    *why = 0;
    if (wan_json_int(entry, "bytes", -1, 0, INT64_C(1) << 53, &bytes, name) < 0 ||
        wan_json_str(entry, "crc32c", "", &crc, name) < 0 ||
        wan_ranges_set(&s.r, entry, bytes, name) < 0)
        return bad_entry(why, room);
    int rc = sum(&s, meta, name);
    if (rc > 0 && wan_ranges_where(place, sizeof place, &s.r, entry, name) < 0)
        bad_entry(why, room);
    else if (rc > 0)
        differ(why, room, &s, bytes, crc, place, json_object_get(entry, "ranges") != NULL);
    wan_ranges_clear(&s.r);
    return rc;
}

int wan_index_manifest_same(const char *meta, const char *name)
{
    char why[256], *path = wan_path_join(meta, WAN_INDEX_MANIFEST);
    json_t *top = path && wan_exists(path) ? wan_json_load(path) : NULL;
    const json_t *entry = json_object_get(json_object_get(top, "files"), name);
    int same = 1;
    if (entry && compare(why, sizeof why, meta, name, entry) >= 0)
        same = !*why; /* else whoever reads the file says why */
    json_decref(top);
    free(path);
    return same;
}

/* What the manifest says of itself: its format, its generation, and of every file of ours that is there. */
static int check_manifest(const char *meta, const json_t *top,
                          void (*problem)(void *, const char *), void *arg)
{
    const json_t *files = json_object_get(top, "files");
    const char *id = json_string_value(json_object_get(top, "generation"));
    char text[512], *uuid = NULL, *path = wan_path_join(meta, "index.uuid");
    if (!path)
        return -1;
    if (json_integer_value(json_object_get(top, "format")) != 1 || !json_is_object(files))
        problem(arg, WAN_INDEX_MANIFEST ": its format is not 1, or it lists no files");
    int rc = wan_exists(path) ? wan_slurp(&uuid, NULL, path, 128) : 0;
    if (uuid && (!id || strcmp(id, uuid)))
        problem(arg, WAN_INDEX_MANIFEST ": is of another generation than index.uuid");
    free(uuid);
    free(path);
    for (int i = 0; rc == 0 && i < LISTED; i++) {
        path = wan_path_join(meta, own_files[i]);
        if (!path)
            return -1;
        if (!json_object_get(files, own_files[i]) && wan_exists(path)) {
            snprintf(text, sizeof text, "%s: " WAN_INDEX_MANIFEST " does not name it",
                     own_files[i]);
            problem(arg, text);
        }
        free(path);
    }
    return rc;
}

int wan_index_manifest_check(const char *meta, void (*problem)(void *, const char *),
                             void (*note)(void *, const char *), void *arg)
{
    char *path = wan_path_join(meta, WAN_INDEX_MANIFEST), text[512], why[256];
    json_t *top = path ? wan_json_load(path) : NULL, *one;
    const char *name;
    int rc = top ? check_manifest(meta, top, problem, arg) : -1;
    free(path);
    if (rc == 0)
        json_object_foreach(json_object_get(top, "files"), name, one)
        {
            if (strchr(name, '/')) {
                rc = wan_err("%s/" WAN_INDEX_MANIFEST ": names %s", meta, name);
                break;
            }
            if ((rc = compare(why, sizeof why, meta, name, one)) < 0)
                break;
            if (rc && !*why)
                continue;
            int edited = rc && !strcmp(name, "split.yaml");
            snprintf(text, sizeof text, "%s: %s", name,
                     !rc      ? "is missing, which " WAN_INDEX_MANIFEST " names"
                     : edited ? "was edited after wan-index wrote it"
                              : why);
            (edited ? note : problem)(arg, text);
        }
    json_decref(top);
    return rc < 0 ? -1 : 0;
}
