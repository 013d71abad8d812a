/* SPDX-License-Identifier: Apache-2.0
 *
 * config_yaml.c - a YAML file as entries: maps become dotted keys, lists their flow form.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/yaml.h"
#include "lib/train/config/config_priv.h"

#define MAX_DEPTH 16
#define MAX_PATH 512
#define MAX_FILE (4u << 20)
#define MAX_LIST (1 << 16)

typedef struct reader {
    wan_config *c;
    const char *name;
    char path[MAX_PATH];
    int aliased; /* the value stands here for an anchor, so its key need not be one of ours */
} reader;

static int give(reader *r, const wan_yaml_node *x, char *text, enum wan_value_kind kind)
{
    char origin[4096 + 32];
    snprintf(origin, sizeof origin, "%.4096s: line %zu", r->name, x->line);
    return wan_config_give(r->c, &(wan_config_entry){ .key = r->path,
                                                      .text = text,
                                                      .kind = kind,
                                                      .source = WAN_FROM_YAML,
                                                      .layer = r->c->files,
                                                      .asked = r->aliased,
                                                      .origin = origin });
}

/* ---- lists and maps as text ---- */

static void put_scalar(FILE *f, const wan_yaml_node *x)
{
    if (x->plain) {
        fputs(x->text, f);
        return;
    }
    putc('"', f);
    for (const char *p = x->text; *p; p++) {
        if (*p == '"' || (*p == '\\' && strncmp(p + 1, "${", 2)))
            putc('\\', f);
        if (*p == '\n')
            fputs("\\n", f);
        else
            putc(*p, f);
    }
    putc('"', f);
}

static int put_flow(reader *r, FILE *f, const wan_yaml_node *x, int depth)
{
    if (depth > MAX_DEPTH)
        return wan_err("%s: line %zu: nested too deeply", r->name, x->line);
    if (x->kind == WAN_YAML_SCALAR) {
        put_scalar(f, x);
        return 0;
    }
    if (ftell(f) > MAX_LIST) /* aliases in aliases grow without bound */
        return wan_err("%s: line %zu: the list is too long", r->name, x->line);
    putc(x->kind == WAN_YAML_MAP ? '{' : '[', f);
    for (size_t i = 0; i < x->n; i++) {
        fputs(i ? ", " : "", f);
        if (x->kind == WAN_YAML_MAP)
            fprintf(f, "%s: ", x->key[i]);
        WAN_TRY(put_flow(r, f, x->item[i], depth + 1));
    }
    putc(x->kind == WAN_YAML_MAP ? '}' : ']', f);
    return 0;
}

static int read_list(reader *r, const wan_yaml_node *x)
{
    char *text = NULL;
    size_t n;
    FILE *f = wan_mem_open(&text, &n);
    if (!f)
        return wan_err("out of memory");
    int rc = put_flow(r, f, x, 0);
    if (wan_mem_close(f) < 0)
        rc = -1;
    if (rc == 0)
        rc = give(r, x, text, WAN_VALUE_LIST);
    free(text);
    return rc;
}

/* ---- maps as keys ---- */

/* A map without members stands for nothing, but only where a section may stand. */
static int empty_map(reader *r, const wan_yaml_node *x)
{
    if (!r->path[0] || wan_config_is_section(r->path))
        return 0;
    if (wan_config_find(r->path) < 0)
        return give(r, x, NULL, WAN_VALUE_NULL);
    wan_err("key %s: an empty map stands where a value belongs", r->path);
    char origin[4096 + 32];
    snprintf(origin, sizeof origin, "%.4096s: line %zu", r->name, x->line);
    return wan_config_problem(r->c,
                              &(wan_config_entry){ .source = WAN_FROM_YAML, .origin = origin });
}

static int read_map(reader *r, const wan_yaml_node *x, int depth);

static int read_node(reader *r, const wan_yaml_node *x, int depth)
{
    if (x->kind == WAN_YAML_SCALAR) {
        int null = wan_yaml_is_null(x) ||
                   (x->plain && (!strcmp(x->text, "None") || !strcmp(x->text, "none")));
        return give(r, x, null ? NULL : x->text,
                    null       ? WAN_VALUE_NULL
                    : x->plain ? WAN_VALUE_PLAIN
                               : WAN_VALUE_TEXT);
    }
    if (x->kind == WAN_YAML_LIST)
        return read_list(r, x);
    if (depth > MAX_DEPTH)
        return wan_err("%s: line %zu: nested too deeply", r->name, x->line);
    return x->n ? read_map(r, x, depth) : empty_map(r, x);
}

static int read_map(reader *r, const wan_yaml_node *x, int depth)
{
    const size_t n = strlen(r->path);
    const int aliased = r->aliased;
    for (size_t i = 0; i < x->n; i++) {
        int len = snprintf(r->path + n, MAX_PATH - n, "%s%s", n ? "." : "", x->key[i]);
        if (len < 0 || (size_t)len >= MAX_PATH - n)
            return wan_err("%s: line %zu: a key is too long", r->name, x->item[i]->line);
        r->aliased = aliased || x->item[i]->aliased;
        WAN_TRY(read_node(r, x->item[i], depth + 1));
        r->aliased = aliased;
        r->path[n] = 0;
    }
    return 0;
}

int wan_config_yaml_text(wan_config *c, const char *text, size_t n, const char *name)
{
    reader r = { .c = c, .name = name };
    wan_yaml *doc;
    c->files++;
    WAN_TRY(wan_yaml_parse(&doc, text, n, name));
    const wan_yaml_node *root = wan_yaml_root(doc);
    int rc = 0;
    if (root->kind == WAN_YAML_MAP)
        rc = read_node(&r, root, 0);
    else if (!wan_yaml_is_null(root))
        rc = wan_err("%s: line %zu: the top level must be a map of sections", name, root->line);
    wan_yaml_free(&doc);
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
