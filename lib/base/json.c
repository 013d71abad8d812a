/* SPDX-License-Identifier: Apache-2.0
 *
 * json.c - jansson with one sentence per error.
 */
#include "lib/base/json.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"

enum { JSON_FILE_MAX = 64 << 20 };

json_t *wan_json_parse(const char *text, size_t n, const char *what)
{
    json_error_t e;
    json_t *j = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
    if (!j)
        wan_err("%s: invalid JSON at line %d, column %d: %s", what, e.line, e.column, e.text);
    return j;
}

json_t *wan_json_load(const char *path)
{
    char *text;
    size_t n;
    if (wan_slurp(&text, &n, path, JSON_FILE_MAX) < 0)
        return NULL;
    json_t *j = wan_json_parse(text, n, path);
    free(text);
    return j;
}

char *wan_json_dump(const json_t *j)
{
    char *s = json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    if (!s)
        wan_err("cannot write JSON: out of memory or not UTF-8");
    return s;
}

json_t *wan_json_text(const char *bytes)
{
    json_t *j = json_string(bytes);
    char *text = j ? NULL : wan_malloc(strlen(bytes) + 1, 4, "text"), *p = text;
    if (!text)
        return j;
    for (; *bytes; bytes++)
        if ((unsigned char)*bytes < 0x80)
            *p++ = *bytes;
        else
            p += sprintf(p, "\\x%02x", (unsigned char)*bytes);
    *p = 0;
    j = json_string(text);
    free(text);
    return j;
}

int wan_json_line(FILE *f, const char *name, json_t *j)
{
    char *text = wan_json_dump(j);
    int rc = text ? 0 : -1;
    if (text && fprintf(f, "%s\n", text) < 0)
        rc = wan_err_errno("%s: write failed", name);
    free(text);
    json_decref(j);
    return rc;
}

int wan_json_save(const char *path, const json_t *j, int indent)
{
    char *s = json_dumps(j, (size_t)JSON_INDENT(indent) | JSON_SORT_KEYS);
    if (!s)
        return wan_err("%s: cannot write JSON: out of memory or not UTF-8", path);
    size_t n = strlen(s);
    s[n++] = '\n'; /* in place of the terminator, which is not written */
    int rc = wan_spew(path, s, n);
    free(s);
    return rc;
}

int wan_json_int(const json_t *o, const char *key, int64_t def, int64_t lo, int64_t hi,
                 int64_t *out, const char *what)
{
    const json_t *v = json_object_get(o, key);
    *out = def;
    if (!v)
        return 0;
    if (!json_is_integer(v) || json_integer_value(v) < lo || json_integer_value(v) > hi)
        return wan_err("%s: key \"%s\" must be an integer from %lld to %lld", what, key,
                       (long long)lo, (long long)hi);
    *out = json_integer_value(v);
    return 0;
}

int wan_json_real(const json_t *o, const char *key, double def, double *out, const char *what)
{
    const json_t *v = json_object_get(o, key);
    *out = def;
    if (!v)
        return 0;
    if (!json_is_number(v))
        return wan_err("%s: key \"%s\" must be a number", what, key);
    *out = json_number_value(v);
    return 0;
}

int wan_json_bool(const json_t *o, const char *key, int def, int *out, const char *what)
{
    const json_t *v = json_object_get(o, key);
    *out = def;
    if (!v)
        return 0;
    if (!json_is_boolean(v))
        return wan_err("%s: key \"%s\" must be true or false", what, key);
    *out = json_is_true(v);
    return 0;
}

int wan_json_str(const json_t *o, const char *key, const char *def, const char **out,
                 const char *what)
{
    const json_t *v = json_object_get(o, key);
    *out = def;
    if (!v)
        return 0;
    if (!json_is_string(v))
        return wan_err("%s: key \"%s\" must be a string", what, key);
    *out = json_string_value(v);
    return 0;
}
