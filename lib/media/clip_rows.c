/* SPDX-License-Identifier: Apache-2.0
 *
 * clip_rows.c - reading lists of clips.
 */
#include "lib/media/clip_rows.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/file.h"

enum { MAX_FILE = 1 << 30, MAX_COLUMNS = 4096 };

typedef struct rows {
    const char *path;
    wan_clip_rows_fn *fn;
    void *arg;
    const char *at, *end; /* of the text that is left */
    int64_t line;         /* of the row that is read */
} rows;

static int bad_row(rows *r, const char *why)
{
    wan_err("%s: line %" PRId64 ": %s", r->path, r->line, why);
    return r->fn(r->arg, NULL, r->line);
}

/* ---- JSON */

/* A caption, or several. */
static int is_caption(const json_t *v)
{
    size_t i = 0, n = json_array_size(v);
    while (i < n && json_is_string(json_array_get(v, i)))
        i++;
    return json_is_string(v) || (n && i == n);
}

/* Rows of an object whose members are captions by the name of a file; NULL: it is none such. */
static json_t *rows_by_name(const json_t *file)
{
    json_t *list = json_object_size(file) ? json_array() : NULL, *v;
    const char *name;
    json_object_foreach((json_t *)file, name, v)
    {
        const char *dot = strrchr(name, '.');
        if (!dot || dot == name || !is_caption(v)) {
            json_decref(list);
            return NULL;
        }
        json_array_append_new(list, json_pack("{s:s, s:O}", "file_name", name, "caption", v));
    }
    return list;
}

json_t *wan_clip_rows_in(const json_t *file)
{
    json_t *list = json_object_get(file, "items");
    if (!list)
        list = json_object_get(file, "data");
    if (json_is_array(file) || json_is_array(list))
        return json_incref(json_is_array(file) ? (json_t *)file : list);
    return rows_by_name(file);
}

static int each_in_json(rows *r, size_t size)
{
    json_t *file = wan_json_parse(r->at, size, r->path), *list = wan_clip_rows_in(file), *row;
    size_t i;
    int rc = list ? 0 : file ? wan_err("%s: no list of clips in it", r->path) : -1;
    if (!rc) {
        json_array_foreach(list, i, row)
        {
            r->line = (int64_t)i + 1;
            if (!rc)
                rc =
                    json_is_object(row) ? r->fn(r->arg, row, r->line) : bad_row(r, "not an object");
        }
    }
    json_decref(list);
    json_decref(file);
    return rc;
}

static int each_line(rows *r)
{
    int rc = 0;
    char what[64];
    for (r->line = 1; r->at < r->end && rc == 0; r->line++) {
        const char *stop = memchr(r->at, '\n', (size_t)(r->end - r->at));
        size_t n = (size_t)((stop ? stop : r->end) - r->at);
        if (n && strspn(r->at, " \t\r") < n) {
            snprintf(what, sizeof what, "line %" PRId64, r->line);
            json_t *row = wan_json_parse(r->at, n, what);
            if (!row)
                wan_err_prefix("%s", r->path);
            rc = json_is_object(row) ? r->fn(r->arg, row, r->line)
                 : row               ? bad_row(r, "not an object")
                                     : r->fn(r->arg, NULL, r->line);
            json_decref(row);
        }
        r->at += n + (stop != NULL);
    }
    return rc;
}

/* ---- CSV and TSV */

/* The next field as a string; *last: the row ends behind it.  NULL with *why, or without one when memory is out. */
static json_t *field(rows *r, char between, int *last, const char **why)
{
    const char *p = r->at;
    size_t n = 0;
    int quoted = between == ',' && p < r->end && *p == '"';
    const char *stop = quoted ? p + 1 : p;
    while (stop < r->end && (quoted || (*stop != between && *stop != '\n'))) {
        if (quoted && *stop == '"') {
            if (stop + 1 == r->end || stop[1] != '"')
                break;
            stop++;
        }
        stop++;
    }
    if (quoted && (stop == r->end || (stop + 1 < r->end && !strchr(",\r\n", stop[1])))) {
        *why = stop == r->end ? "a quote that does not end" : "text behind a quoted field";
        return NULL;
    }
    char *text = wan_malloc((size_t)(stop - p) + 1, 1, "field");
    for (const char *q = quoted ? p + 1 : p; text && q < stop; q++) {
        r->line += quoted && *q == '\n';
        text[n++] = *q;
        q += quoted && *q == '"'; /* the second of a pair */
    }
    r->at = stop + quoted;
    if (r->at < r->end && *r->at == '\r')
        r->at++;
    if (!quoted && n && text[n - 1] == '\r')
        n--;
    *last = r->at == r->end || *r->at == '\n';
    r->at += r->at < r->end;
    json_t *s = text && !memchr(text, 0, n) ? json_stringn(text, n) : NULL;
    if (text && !s)
        *why = memchr(text, 0, n) ? "a NUL in it" : "not UTF-8";
    free(text);
    return s;
}

/* The fields of one row.  NULL with *why, the rest of the line is then skipped; or without one as above. */
static json_t *fields(rows *r, char between, const char **why)
{
    json_t *list = json_array(), *s = NULL;
    for (int last = 0; !last;) {
        const int room = json_array_size(list) < MAX_COLUMNS;
        if (room && (s = field(r, between, &last, why))) {
            json_array_append_new(list, s);
            continue;
        }
        if (!room)
            *why = "too many fields";
        const char *stop = last ? NULL : memchr(r->at, '\n', (size_t)(r->end - r->at));
        r->at = stop ? stop + 1 : last ? r->at : r->end;
        json_decref(list);
        return NULL;
    }
    return list;
}

static int all_differ(const json_t *names, const char **why)
{
    json_t *seen = json_object();
    for (size_t i = 0; i < json_array_size(names); i++)
        json_object_set_new(seen, json_string_value(json_array_get(names, i)), json_true());
    int good = json_object_size(seen) == json_array_size(names);
    json_decref(seen);
    *why = "two columns have the same name";
    return good;
}

static json_t *named(const json_t *names, const json_t *values)
{
    json_t *row = json_object();
    for (size_t i = 0; i < json_array_size(names); i++)
        json_object_set(row, json_string_value(json_array_get(names, i)),
                        json_array_get(values, i));
    return row;
}

static int each_record(rows *r, char between)
{
    const char *why = NULL;
    int64_t begin = r->line = 1;
    json_t *names = fields(r, between, &why);
    if (!names && !why)
        return -1;
    if (!names || !all_differ(names, &why)) {
        json_decref(names);
        return wan_err("%s: line 1: %s", r->path, why);
    }
    int rc = 0;
    while (r->at < r->end && rc == 0) {
        begin = ++r->line;
        why = NULL;
        json_t *values = fields(r, between, &why), *row = NULL;
        int64_t end = r->line;
        r->line = begin;
        size_t n = json_array_size(values);
        if (n == 1 && !*json_string_value(json_array_get(values, 0)))
            ; /* an empty line */
        else if (n == json_array_size(names))
            rc = r->fn(r->arg, row = named(names, values), begin);
        else if (!values && !why)
            rc = -1;
        else
            rc = bad_row(r, why ? why : "not as many fields as the first line");
        r->line = end;
        json_decref(row);
        json_decref(values);
    }
    json_decref(names);
    return rc;
}

int wan_clip_rows_each(const char *path, wan_clip_rows_fn *fn, void *arg)
{
    const char *dot = strrchr(path, '.'), *ext = dot ? dot + 1 : "";
    char *text;
    size_t n;
    WAN_TRY(wan_slurp(&text, &n, path, MAX_FILE));
    size_t mark = wan_json_mark(text, n);
    rows r = { path, fn, arg, text + mark, text + n, 1 };
    int rc;
    if (!strcasecmp(ext, "json"))
        rc = each_in_json(&r, n - mark);
    else if (!strcasecmp(ext, "jsonl"))
        rc = each_line(&r);
    else if (!strcasecmp(ext, "csv") || !strcasecmp(ext, "tsv"))
        rc = each_record(&r, !strcasecmp(ext, "csv") ? ',' : '\t');
    else
        rc = wan_err("%s: a list is named .csv, .tsv, .jsonl or .json", path);
    free(text);
    return rc;
}
