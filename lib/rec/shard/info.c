/* SPDX-License-Identifier: Apache-2.0
 *
 * info.c - shard counts from JSON or YAML.
 */
#include "lib/rec/shard/info.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/opt.h"
#include "lib/rec/shard/metafile.h"
#include "lib/rec/shard/shard.h"
#include "lib/rec/shard/yamlin.h"

/* The text of a scalar, malloc'ed; NULL at the end of the map or on error (*rc < 0). */
static char *scalar(yaml_parser_t *y, int *rc)
{
    yaml_event_t e;
    *rc = wan_yamlin_next(y, &e);
    if (*rc < 0)
        return NULL;
    char *text = NULL;
    const char *value = e.type == YAML_SCALAR_EVENT ? (const char *)e.data.scalar.value : NULL;
    if (!value && e.type != YAML_MAPPING_END_EVENT)
        *rc = wan_yamlin_bad(&e, "a shard name or a count is expected");
    else if (value && strlen(value) != e.data.scalar.length)
        *rc = wan_yamlin_bad(&e, "a value holds a NUL byte");
    else if (value && !(text = strdup(value)))
        *rc = wan_err("out of memory (YAML)");
    yaml_event_delete(&e);
    return text;
}

static int read_counts(yaml_parser_t *y, json_t **counts)
{
    WAN_TRY(wan_yamlin_expect(y, YAML_MAPPING_START_EVENT, "shard_counts must be a map"));
    for (;;) {
        int rc;
        int64_t n;
        char *name = scalar(y, &rc), *count = name ? scalar(y, &rc) : NULL;
        if (!name)
            return rc;
        if (rc == 0)
            rc = count ? wan_parse_int(&n, count, 1, INT32_MAX, name) : wan_err("no count");
        if (rc == 0 && json_object_get(*counts, name))
            rc = wan_err("%s occurs twice", name);
        if (rc == 0) {
            wan_json_put(counts, name, json_integer(n));
            rc = *counts ? 0 : -1;
        }
        free(name);
        free(count);
        WAN_TRY(rc);
    }
}

static int read_yaml(yaml_parser_t *y, void *counts)
{
    WAN_TRY(wan_yamlin_expect(y, YAML_STREAM_START_EVENT, "empty"));
    WAN_TRY(wan_yamlin_expect(y, YAML_DOCUMENT_START_EVENT, "empty"));
    WAN_TRY(wan_yamlin_expect(y, YAML_MAPPING_START_EVENT, "a map is expected"));
    for (;;) {
        int rc;
        char *key = scalar(y, &rc), *value = NULL;
        if (!key)
            return rc;
        if (!strcmp(key, "shard_counts"))
            rc = read_counts(y, counts);
        else if (!strcmp(key, "energon_version"))
            value = scalar(y, &rc);
        else
            rc = wan_err("unknown key %s", key);
        free(key);
        free(value);
        WAN_TRY(rc);
    }
}

static json_t *load_json(const char *path)
{
    json_t *info = wan_json_load(path);
    if (!info)
        return NULL;
    json_t *counts = json_incref(json_object_get(info, "shard_counts"));
    json_decref(info);
    if (!counts)
        wan_err("%s: no shard_counts", path);
    return counts;
}

static json_t *load_yaml(const char *path)
{
    json_t *counts = wan_json_object();
    if (counts && wan_yamlin_load(path, read_yaml, &counts) == 0)
        return counts;
    json_decref(counts);
    return NULL;
}

static int check(const json_t *counts, const char *path)
{
    const char *name, *part;
    json_t *n;
    size_t len;
    if (!json_is_object(counts))
        return wan_err("%s: shard_counts must be a map", path);
    json_object_foreach((json_t *)counts, name, n)
    {
        if (!json_is_integer(n) || json_integer_value(n) < 1 || json_integer_value(n) > INT32_MAX)
            return wan_err("%s: the count of %s is damaged", path, name);
        if (wan_shard_split(name, &len, &part) < 0)
            return wan_err_prefix("%s", path);
    }
    return 0;
}

char *wan_info_meta(const char *dir)
{
    char *meta = wan_path_join(dir, ".nv-meta"), *old = wan_path_join(dir, ".nv-meta.old");
    int aside = meta && old && !wan_exists(meta) && wan_exists(old);
    free(aside ? meta : old);
    return aside ? old : meta;
}

json_t *wan_info_load(const char *dir)
{
    char *meta = wan_info_meta(dir);
    char *json = meta ? wan_path_join(meta, ".info.json") : NULL;
    char *yaml = meta ? wan_path_join(meta, ".info.yaml") : NULL;
    json_t *counts = NULL;
    int old = json && yaml && !wan_exists(json);
    if (old && !wan_exists(yaml))
        wan_metafile_hint(dir, "no .nv-meta/.info.json; run wan-index first");
    else if (json && yaml)
        counts = old ? load_yaml(yaml) : load_json(json);
    if (counts && check(counts, old ? yaml : json) < 0) {
        json_decref(counts);
        counts = NULL;
    }
    free(json);
    free(yaml);
    free(meta);
    return counts;
}
