/* SPDX-License-Identifier: Apache-2.0
 *
 * config_yaml.c - a YAML file as a list of dotted keys, through libyaml's event parser.  Anchors,
 * aliases, tags, several documents and duplicate keys are refused.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "lib/base/file.h"
#include "lib/train/config/config.h"

#define MAX_DEPTH 16
#define MAX_PATH 512
#define MAX_FILE (4u << 20)

typedef struct reader {
    yaml_parser_t parser;
    wan_config *c;
    const char *name;
    char **seen; /* keys so far, to find duplicates */
    size_t n_seen;
} reader;

static int bad(reader *r, const yaml_event_t *e, const char *why)
{
    return wan_err("%s: line %zu: %s", r->name, e->start_mark.line + 1, why);
}

static int next(reader *r, yaml_event_t *e)
{
    if (!yaml_parser_parse(&r->parser, e))
        return wan_err("%s: line %zu: %s", r->name, r->parser.problem_mark.line + 1,
                       r->parser.problem ? r->parser.problem : "not YAML");
    const char *why = NULL;
    if (e->type == YAML_ALIAS_EVENT)
        why = "anchors and aliases (&, *) are not supported";
    else if (e->type == YAML_SCALAR_EVENT && (e->data.scalar.anchor || e->data.scalar.tag))
        why = "anchors and tags (&, !) are not supported";
    else if (e->type == YAML_MAPPING_START_EVENT &&
             (e->data.mapping_start.anchor || e->data.mapping_start.tag))
        why = "anchors and tags (&, !) are not supported";
    else if (e->type == YAML_SEQUENCE_START_EVENT &&
             (e->data.sequence_start.anchor || e->data.sequence_start.tag))
        why = "anchors and tags (&, !) are not supported";
    if (!why)
        return 0;
    bad(r, e, why);
    yaml_event_delete(e);
    return -1;
}

/* Appends the scalar to out, replacing ${oc.env:VAR} and ${oc.env:VAR,default}. */
static int expand(reader *r, const yaml_event_t *e, char *out, size_t size)
{
    const char *s = (const char *)e->data.scalar.value;
    size_t n = strlen(out);
    if (strlen(s) != e->data.scalar.length)
        return bad(r, e, "a value holds a NUL byte");
    while (*s) {
        const char *piece = s, *def = NULL;
        size_t len = 1;
        char var[256];
        if (!strncmp(s, "${", 2)) {
            const char *end = strchr(s, '}');
            if (!end || strncmp(s, "${oc.env:", 9))
                return bad(r, e,
                           "of ${...} only ${oc.env:VAR} and ${oc.env:VAR,default} are known");
            size_t name = strcspn(s + 9, ",}");
            if (name >= sizeof var)
                return bad(r, e, "the name of the environment variable is too long");
            memcpy(var, s + 9, name);
            var[name] = 0;
            def = s[9 + name] == ',' ? s + 10 + name : NULL;
            while (def && *def == ' ')
                def++;
            piece = getenv(var);
            if (!piece && !def)
                return wan_err("%s: line %zu: the environment variable %s is not set and has no "
                               "default",
                               r->name, e->start_mark.line + 1, var);
            len = piece ? strlen(piece) : (size_t)(end - def);
            piece = piece ? piece : def;
            s = end + 1;
        } else {
            s++;
        }
        if (n + len + 1 > size)
            return bad(r, e, "a value is too long");
        memcpy(out + n, piece, len);
        out[n += len] = 0;
    }
    return 0;
}

static int seen(reader *r, const yaml_event_t *e, const char *key)
{
    for (size_t i = 0; i < r->n_seen; i++)
        if (!strcmp(r->seen[i], key))
            return wan_err("%s: line %zu: key \"%s\" stands twice", r->name, e->start_mark.line + 1,
                           key);
    char **list = realloc(r->seen, (r->n_seen + 1) * sizeof *list);
    if (!list)
        return wan_err("out of memory");
    r->seen = list;
    if (!(list[r->n_seen] = strdup(key)))
        return wan_err("out of memory");
    r->n_seen++;
    return 0;
}

static int is_null(const yaml_event_t *e)
{
    const char *s = (const char *)e->data.scalar.value;
    return e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (!*s || !strcmp(s, "null") || !strcmp(s, "~") || !strcmp(s, "None"));
}

static int set(reader *r, const yaml_event_t *e, const char *key, const char *value)
{
    if (wan_config_set(r->c, key, value, WAN_FROM_YAML) < 0)
        return wan_err_prefix("%s: line %zu", r->name, e->start_mark.line + 1);
    return 0;
}

/* [a, b] after its start: joined as "[a, b]". */
static int read_list(reader *r, const char *key)
{
    char value[4096] = "[";
    yaml_event_t e;
    for (int n = 0;; n++) {
        WAN_TRY(next(r, &e));
        int end = e.type == YAML_SEQUENCE_END_EVENT, rc = 0;
        if (end) {
            strncat(value, "]", sizeof value - strlen(value) - 1);
            rc = set(r, &e, key, value);
        } else if (e.type != YAML_SCALAR_EVENT) {
            rc = bad(r, &e, "a list may hold scalars only");
        } else {
            if (n)
                strncat(value, ", ", sizeof value - strlen(value) - 1);
            rc = expand(r, &e, value, sizeof value - 2);
        }
        yaml_event_delete(&e);
        if (rc < 0 || end)
            return rc;
    }
}

static int read_map(reader *r, char *path, int depth);

static int read_value(reader *r, char *path, int depth)
{
    char value[4096] = "";
    yaml_event_t e;
    WAN_TRY(next(r, &e));
    yaml_event_type_t type = e.type;
    int rc = 0;
    if (type == YAML_SCALAR_EVENT) {
        rc = expand(r, &e, value, sizeof value);
        if (rc == 0)
            rc = set(r, &e, path, is_null(&e) ? NULL : value);
    } else if (depth >= MAX_DEPTH) {
        rc = bad(r, &e, "nested too deeply");
    }
    yaml_event_delete(&e);
    if (rc < 0 || type == YAML_SCALAR_EVENT)
        return rc;
    return type == YAML_SEQUENCE_START_EVENT ? read_list(r, path) : read_map(r, path, depth + 1);
}

/* A mapping after its start. */
static int read_map(reader *r, char *path, int depth)
{
    size_t n = strlen(path);
    for (;;) {
        yaml_event_t e;
        WAN_TRY(next(r, &e));
        int end = e.type == YAML_MAPPING_END_EVENT, rc = 0;
        if (!end && e.type != YAML_SCALAR_EVENT)
            rc = bad(r, &e, "a key must be a word");
        else if (!end && n + e.data.scalar.length + 2 > MAX_PATH)
            rc = bad(r, &e, "a key is too long");
        else if (!end) {
            snprintf(path + n, MAX_PATH - n, "%s%s", n ? "." : "",
                     (const char *)e.data.scalar.value);
            rc = seen(r, &e, path);
        }
        yaml_event_delete(&e);
        if (rc < 0 || end)
            return rc;
        WAN_TRY(read_value(r, path, depth));
        path[n] = 0;
    }
}

static int read_document(reader *r)
{
    char path[MAX_PATH] = "";
    yaml_event_t e;
    for (int documents = 0;;) {
        WAN_TRY(next(r, &e));
        yaml_event_type_t type = e.type;
        int rc = 0;
        if (type == YAML_DOCUMENT_START_EVENT && documents++)
            rc = bad(r, &e, "more than one document");
        else if (type == YAML_SEQUENCE_START_EVENT || (type == YAML_SCALAR_EVENT && !is_null(&e)))
            rc = bad(r, &e, "the top level must be a mapping of sections");
        yaml_event_delete(&e);
        if (rc < 0 || type == YAML_STREAM_END_EVENT)
            return rc;
        if (type == YAML_MAPPING_START_EVENT)
            WAN_TRY(read_map(r, path, 0));
    }
}

int wan_config_yaml_text(wan_config *c, const char *text, size_t n, const char *name)
{
    reader r = { .c = c, .name = name };
    if (!yaml_parser_initialize(&r.parser))
        return wan_err("%s: out of memory", name);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, n);
    int rc = read_document(&r);
    yaml_parser_delete(&r.parser);
    for (size_t i = 0; i < r.n_seen; i++)
        free(r.seen[i]);
    free(r.seen);
    return rc;
}

int wan_config_yaml(wan_config *c, const char *path)
{
    char *text;
    size_t n;
    WAN_TRY(wan_slurp(&text, &n, path, MAX_FILE));
    int rc = wan_config_yaml_text(c, text, n, path);
    free(text);
    return rc;
}
