/* SPDX-License-Identifier: Apache-2.0
 *
 * yaml.c - see yaml.h.
 */
#include "lib/base/yaml.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "lib/base/file.h"

#define MAX_DEPTH 64
#define MAX_NODES (1u << 20)

struct wan_yaml {
    wan_yaml_node *root;
    wan_yaml_node **node; /* all of them */
    size_t n;
};

typedef struct anchor {
    char *name;
    wan_yaml_node *node;
    int whole; /* the node has ended */
} anchor;

typedef struct reader {
    yaml_parser_t parser;
    wan_yaml *y;
    const char *name;
    anchor *anchor;
    size_t anchors;
} reader;

static int bad(const reader *r, size_t line, const char *why)
{
    return wan_err("%s: line %zu: %s", r->name, line, why);
}

static int next(reader *r, yaml_event_t *e)
{
    if (yaml_parser_parse(&r->parser, e))
        return 0;
    if (r->parser.error == YAML_MEMORY_ERROR)
        return wan_err("%s: out of memory (YAML)", r->name);
    return bad(r, r->parser.problem_mark.line + 1,
               r->parser.problem ? r->parser.problem : "not YAML");
}

/* ---- nodes ---- */

/* Room for one more element in a list that grows by doubling. */
static int grow(void *list, size_t n, size_t size)
{
    void **p = list;
    if (n & (n - 1))
        return 0;
    void *more = realloc(*p, (n ? 2 * n : 1) * size);
    if (!more)
        return wan_err("out of memory (YAML)");
    *p = more;
    return 0;
}

static wan_yaml_node *node_new(reader *r, enum wan_yaml_kind kind, size_t line)
{
    wan_yaml *y = r->y;
    if (y->n == MAX_NODES) {
        bad(r, line, "the file is too large");
        return NULL;
    }
    if (grow(&y->node, y->n, sizeof *y->node) < 0)
        return NULL;
    wan_yaml_node *x = wan_calloc(1, sizeof *x, "YAML");
    if (!x)
        return NULL;
    x->kind = kind;
    x->line = line;
    return y->node[y->n++] = x;
}

static int node_add(wan_yaml_node *x, char *key, wan_yaml_node *item)
{
    if (x->kind == WAN_YAML_MAP && grow(&x->key, x->n, sizeof *x->key) < 0)
        return -1;
    WAN_TRY(grow(&x->item, x->n, sizeof *x->item));
    if (key)
        x->key[x->n] = key;
    x->item[x->n++] = item;
    return 0;
}

static int anchor_add(reader *r, const yaml_char_t *name, wan_yaml_node *x)
{
    if (!name)
        return 0;
    WAN_TRY(grow(&r->anchor, r->anchors, sizeof *r->anchor));
    char *copy = strdup((const char *)name);
    if (!copy)
        return wan_err("out of memory (YAML)");
    r->anchor[r->anchors++] = (anchor){ copy, x, 0 };
    return 0;
}

/* The latest node of that name. */
static wan_yaml_node *anchor_find(const reader *r, const yaml_event_t *e)
{
    const char *name = (const char *)e->data.alias.anchor;
    for (size_t i = r->anchors; i > 0; i--)
        if (!strcmp(r->anchor[i - 1].name, name)) {
            if (r->anchor[i - 1].whole)
                return r->anchor[i - 1].node->aliased = 1, r->anchor[i - 1].node;
            wan_err("%s: line %zu: *%s stands in what it names", r->name, e->start_mark.line + 1,
                    name);
            return NULL;
        }
    wan_err("%s: line %zu: no anchor &%s stands before this", r->name, e->start_mark.line + 1,
            name);
    return NULL;
}

/* ---- from events ---- */

static int is_tag(const yaml_char_t *tag, const char *core)
{
    static const char prefix[] = "tag:yaml.org,2002:";
    const char *s = (const char *)tag;
    return !strncmp(s, prefix, sizeof prefix - 1) && !strcmp(s + sizeof prefix - 1, core);
}

/* Whether the tag is one of YAML's own for this kind of node. */
static int tag_known(const yaml_char_t *tag, enum wan_yaml_kind kind)
{
    static const char *const scalars[] = { "str", "int", "float", "bool", "null", "binary" };
    if (!tag || !*tag)
        return 1;
    if (kind != WAN_YAML_SCALAR)
        return is_tag(tag, kind == WAN_YAML_MAP ? "map" : "seq");
    for (size_t i = 0; i < sizeof scalars / sizeof scalars[0]; i++)
        if (is_tag(tag, scalars[i]))
            return 1;
    return 0;
}

/* Base 64 in place, for bytes that are no text; -1 when it is none, or holds a NUL byte. */
static int decode_binary(char *text)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned bits = 0, n = 0;
    char *out = text;
    for (const char *p = text; *p && *p != '='; p++) {
        const char *d = strchr(digit, *p);
        if (*p == ' ' || *p == '\n')
            continue;
        if (!d)
            return -1;
        bits = (bits << 6 | (unsigned)(d - digit)) & 0xffff;
        if ((n += 6) < 8)
            continue;
        *out = (char)(bits >> (n -= 8));
        if (!*out++)
            return -1;
    }
    *out = 0;
    return 0;
}

static int compose(reader *r, const yaml_event_t *e, int depth, wan_yaml_node **out);

static int compose_next(reader *r, int depth, wan_yaml_node **out)
{
    yaml_event_t e;
    WAN_TRY(next(r, &e));
    int rc = compose(r, &e, depth, out);
    yaml_event_delete(&e);
    return rc;
}

static int compose_scalar(reader *r, const yaml_event_t *e, wan_yaml_node **out)
{
    const size_t n = e->data.scalar.length, line = e->start_mark.line + 1;
    const yaml_char_t *tag = e->data.scalar.tag;
    if (!tag_known(tag, WAN_YAML_SCALAR))
        return wan_err("%s: line %zu: the tag %s is not known", r->name, line, (const char *)tag);
    if (memchr(e->data.scalar.value, 0, n))
        return bad(r, line, "a value holds a NUL byte");
    wan_yaml_node *x = *out = node_new(r, WAN_YAML_SCALAR, line);
    if (!x || !(x->text = wan_malloc(n + 1, 1, "YAML")))
        return -1;
    memcpy(x->text, e->data.scalar.value, n);
    x->text[n] = 0;
    if (tag && is_tag(tag, "binary") && decode_binary(x->text) < 0)
        return bad(r, line, "this is no base 64, or it holds a NUL byte");
    x->plain = tag ? !is_tag(tag, "str") && !is_tag(tag, "binary")
                   : e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    return anchor_add(r, e->data.scalar.anchor, x);
}

static int compose_list(reader *r, const yaml_event_t *e, int depth, wan_yaml_node **out)
{
    wan_yaml_node *x = *out = node_new(r, WAN_YAML_LIST, e->start_mark.line + 1), *item;
    if (!x)
        return -1;
    if (!tag_known(e->data.sequence_start.tag, WAN_YAML_LIST))
        return bad(r, x->line, "the tag of this list is not known");
    WAN_TRY(anchor_add(r, e->data.sequence_start.anchor, x));
    for (;;) {
        WAN_TRY(compose_next(r, depth + 1, &item));
        if (!item)
            return 0;
        WAN_TRY(node_add(x, NULL, item));
    }
}

static int key_at(const wan_yaml_node *map, const char *key)
{
    for (size_t i = 0; i < map->n; i++)
        if (!strcmp(map->key[i], key))
            return (int)i;
    return -1;
}

/* What stands in the map itself wins over what is merged, the first of several merged maps over the
 * others. */
static int merge(reader *r, wan_yaml_node *x, const wan_yaml_node *from)
{
    if (from->kind == WAN_YAML_LIST) {
        for (size_t i = 0; i < from->n; i++) {
            if (from->item[i]->kind != WAN_YAML_MAP)
                return bad(r, from->line, "only maps can be merged (<<)");
            WAN_TRY(merge(r, x, from->item[i]));
        }
        return 0;
    }
    if (from->kind != WAN_YAML_MAP)
        return bad(r, from->line, "only maps can be merged (<<)");
    for (size_t i = 0; i < from->n; i++) {
        if (key_at(x, from->key[i]) >= 0)
            continue;
        char *key = strdup(from->key[i]);
        if (!key || node_add(x, key, from->item[i]) < 0) {
            free(key);
            return key ? -1 : wan_err("out of memory (YAML)");
        }
    }
    return 0;
}

static int compose_map(reader *r, const yaml_event_t *e, int depth, wan_yaml_node **out)
{
    wan_yaml_node *x = *out = node_new(r, WAN_YAML_MAP, e->start_mark.line + 1);
    wan_yaml_node *key, *item, *merged = NULL;
    if (!x)
        return -1;
    if (!tag_known(e->data.mapping_start.tag, WAN_YAML_MAP))
        return bad(r, x->line, "the tag of this map is not known");
    WAN_TRY(anchor_add(r, e->data.mapping_start.anchor, x));
    for (;;) {
        WAN_TRY(compose_next(r, depth + 1, &key));
        if (!key)
            return merged ? merge(r, x, merged) : 0;
        if (key->kind != WAN_YAML_SCALAR)
            return bad(r, key->line, "a key must be a word");
        WAN_TRY(compose_next(r, depth + 1, &item));
        if (!item)
            return bad(r, key->line, "a key without a value");
        if (key->plain && !strcmp(key->text, "<<") && !merged) {
            merged = item;
            continue;
        }
        if (key_at(x, key->text) >= 0)
            return wan_err("%s: line %zu: key \"%s\" stands twice", r->name, key->line, key->text);
        char *copy = strdup(key->text);
        if (!copy || node_add(x, copy, item) < 0) {
            free(copy);
            return copy ? -1 : wan_err("out of memory (YAML)");
        }
    }
}

/* *out is NULL at the end of a list or map. */
static int compose(reader *r, const yaml_event_t *e, int depth, wan_yaml_node **out)
{
    *out = NULL;
    if (depth > MAX_DEPTH)
        return bad(r, e->start_mark.line + 1, "nested too deeply");
    const size_t own = r->anchors; /* if it has one */
    switch (e->type) {
    case YAML_SCALAR_EVENT: WAN_TRY(compose_scalar(r, e, out)); break;
    case YAML_SEQUENCE_START_EVENT: WAN_TRY(compose_list(r, e, depth, out)); break;
    case YAML_MAPPING_START_EVENT: WAN_TRY(compose_map(r, e, depth, out)); break;
    case YAML_ALIAS_EVENT: return (*out = anchor_find(r, e)) ? 0 : -1;
    default: return 0;
    }
    if (own < r->anchors)
        r->anchor[own].whole = 1;
    return 0;
}

static int compose_document(reader *r)
{
    yaml_event_t e;
    for (int documents = 0;;) {
        WAN_TRY(next(r, &e));
        yaml_event_type_t type = e.type;
        int rc = 0;
        if (type == YAML_DOCUMENT_START_EVENT && documents++)
            rc = bad(r, e.start_mark.line + 1, "more than one document");
        else if (type != YAML_STREAM_START_EVENT && type != YAML_STREAM_END_EVENT &&
                 type != YAML_DOCUMENT_START_EVENT && type != YAML_DOCUMENT_END_EVENT)
            rc = compose(r, &e, 0, &r->y->root);
        yaml_event_delete(&e);
        if (rc < 0 || type == YAML_STREAM_END_EVENT)
            return rc;
    }
}

int wan_yaml_parse(wan_yaml **out, const char *text, size_t n, const char *name)
{
    reader r = { .name = name };
    *out = NULL;
    if (!(r.y = wan_calloc(1, sizeof *r.y, "YAML")))
        return -1;
    if (!yaml_parser_initialize(&r.parser)) {
        free(r.y);
        return wan_err("%s: out of memory", name);
    }
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, n);
    int rc = compose_document(&r);
    yaml_parser_delete(&r.parser);
    for (size_t i = 0; i < r.anchors; i++)
        free(r.anchor[i].name);
    free(r.anchor);
    if (rc == 0 && !r.y->root)
        rc = (r.y->root = node_new(&r, WAN_YAML_MAP, 1)) ? 0 : -1;
    if (rc < 0)
        wan_yaml_free(&r.y);
    *out = r.y;
    return rc;
}

const wan_yaml_node *wan_yaml_root(const wan_yaml *y)
{
    return y->root;
}

const wan_yaml_node *wan_yaml_get(const wan_yaml_node *map, const char *key)
{
    int i = map->kind == WAN_YAML_MAP ? key_at(map, key) : -1;
    return i < 0 ? NULL : map->item[i];
}

void wan_yaml_free(wan_yaml **py)
{
    wan_yaml *y = *py;
    if (!y)
        return;
    for (size_t i = 0; i < y->n; i++) {
        wan_yaml_node *x = y->node[i];
        for (size_t k = 0; x->key && k < x->n; k++)
            free(x->key[k]);
        free(x->key);
        free(x->item);
        free(x->text);
        free(x);
    }
    free(y->node);
    free(y);
    *py = NULL;
}

int wan_yaml_is_null(const wan_yaml_node *x)
{
    const char *s = x->text;
    return x->kind == WAN_YAML_SCALAR && x->plain &&
           (!*s || !strcmp(s, "~") || !strcmp(s, "null") || !strcmp(s, "Null") ||
            !strcmp(s, "NULL"));
}

int wan_yaml_is_bool(const wan_yaml_node *x, int *truth)
{
    static const char *const words[] = { "false", "no", "off", "true", "yes", "on" };
    if (x->kind != WAN_YAML_SCALAR || !x->plain)
        return 0;
    for (int i = 0; i < 6; i++)
        if (!strcasecmp(x->text, words[i]))
            return *truth = i >= 3, 1;
    return 0;
}
