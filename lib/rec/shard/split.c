/* SPDX-License-Identifier: Apache-2.0
 *
 * split.c - reads and writes split.yaml.
 */
#include "lib/rec/shard/split.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/file.h"
#include "lib/rec/shard/yamlin.h"

enum { MAX_PARTS = 1000 };

struct wan_split_part *wan_split_add(wan_split *s, const char *name, size_t len)
{
    if (s->n >= MAX_PARTS) {
        wan_err("more than %d parts", MAX_PARTS);
        return NULL;
    }
    struct wan_split_part *more = realloc(s->part, (s->n + 1) * sizeof *more);
    if (more)
        s->part = more;
    char *copy = more ? strndup(name, len) : NULL;
    if (!copy) {
        wan_err("out of memory (split)");
        return NULL;
    }
    more[s->n] = (struct wan_split_part){ copy, { 0, 0, 0 } };
    return &more[s->n++];
}

const struct wan_split_part *wan_split_find(const wan_split *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (!strcmp(s->part[i].name, name))
            return &s->part[i];
    return NULL;
}

void wan_split_clear(wan_split *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->part[i].name);
        wan_names_clear(&s->part[i].shards);
    }
    free(s->part);
    wan_names_clear(&s->exclude);
    *s = (wan_split){ 0 };
}

/* A list of patterns, expanded into l; also null (nothing). */
static int read_list(yaml_parser_t *y, wan_names *l)
{
    yaml_event_t e;
    WAN_TRY(wan_yamlin_next(y, &e));
    int rc = 0, open = e.type == YAML_SEQUENCE_START_EVENT;
    if (!open && !(e.type == YAML_SCALAR_EVENT && !e.data.scalar.length))
        rc = wan_yamlin_bad(&e, "a list of shards is expected");
    yaml_event_delete(&e);
    while (rc == 0 && open) {
        WAN_TRY(wan_yamlin_next(y, &e));
        if (e.type == YAML_SEQUENCE_END_EVENT)
            open = 0;
        else if (e.type == YAML_SCALAR_EVENT)
            rc = wan_names_expand(l, (const char *)e.data.scalar.value);
        else
            rc = wan_yamlin_bad(&e, "a shard name is expected");
        yaml_event_delete(&e);
    }
    return rc;
}

static int read_parts(yaml_parser_t *y, wan_split *s)
{
    WAN_TRY(wan_yamlin_expect(y, YAML_MAPPING_START_EVENT, "split_parts must be a map"));
    for (;;) {
        yaml_event_t e;
        WAN_TRY(wan_yamlin_next(y, &e));
        int end = e.type == YAML_MAPPING_END_EVENT, rc = 0;
        struct wan_split_part *p = NULL;
        if (!end && e.type != YAML_SCALAR_EVENT)
            rc = wan_yamlin_bad(&e, "the name of a part is expected");
        else if (!end && wan_split_find(s, (const char *)e.data.scalar.value))
            rc = wan_yamlin_bad(&e, "this part occurs twice");
        else if (!end)
            p = wan_split_add(s, (const char *)e.data.scalar.value, e.data.scalar.length);
        yaml_event_delete(&e);
        if (end || rc < 0)
            return rc;
        WAN_TRY(p ? 0 : -1);
        WAN_TRY(read_list(y, &p->shards));
    }
}

static int read_document(yaml_parser_t *y, void *split)
{
    wan_split *s = split;
    WAN_TRY(wan_yamlin_expect(y, YAML_STREAM_START_EVENT, "empty"));
    WAN_TRY(wan_yamlin_expect(y, YAML_DOCUMENT_START_EVENT, "empty"));
    WAN_TRY(wan_yamlin_expect(y, YAML_MAPPING_START_EVENT, "a map is expected"));
    for (;;) {
        yaml_event_t e;
        WAN_TRY(wan_yamlin_next(y, &e));
        const char *key = e.type == YAML_SCALAR_EVENT ? (const char *)e.data.scalar.value : "";
        int rc = 0, parts = !strcmp(key, "split_parts"), exclude = !strcmp(key, "exclude");
        int end = e.type == YAML_MAPPING_END_EVENT;
        if (!parts && !exclude && !end)
            rc = wan_yamlin_bad(&e, "only split_parts and exclude are known");
        yaml_event_delete(&e);
        if (rc < 0 || end)
            return rc;
        WAN_TRY(parts ? read_parts(y, s) : read_list(y, &s->exclude));
    }
}

int wan_split_load(wan_split *s, const char *path)
{
    *s = (wan_split){ 0 };
    if (wan_yamlin_load(path, read_document, s) == 0)
        return 0;
    wan_split_clear(s);
    return -1;
}

/* Plain where YAML reads it back as the same text, else in single quotes. */
void wan_split_put_name(FILE *f, const char *s)
{
    int plain = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z');
    for (const char *p = s; *p; p++)
        plain &= strchr("_-./{},", *p) || (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                 (*p >= '0' && *p <= '9');
    static const char *const word[] = { "null", "true", "false", "yes", "no", "on",
                                        "off",  "y",    "n",     "nan", "inf" };
    for (size_t i = 0; i < sizeof word / sizeof *word; i++)
        plain &= strcasecmp(s, word[i]) != 0;
    if (plain) {
        fputs(s, f);
        return;
    }
    putc('\'', f);
    for (const char *p = s; *p; p++) {
        if (*p == '\'')
            putc('\'', f);
        putc(*p, f);
    }
    putc('\'', f);
}

static int put_list(FILE *f, const wan_names *l, const char *indent)
{
    wan_names c = { 0, 0, 0 };
    if (wan_names_collapse(&c, l) < 0) {
        wan_names_clear(&c);
        return -1;
    }
    fputs(c.n ? ":\n" : ": []\n", f);
    for (size_t i = 0; i < c.n; i++) {
        fputs(indent, f);
        fputs("- ", f);
        wan_split_put_name(f, c.v[i]);
        putc('\n', f);
    }
    wan_names_clear(&c);
    return 0;
}

int wan_split_save(const wan_split *s, const char *path)
{
    wan_out *o;
    WAN_TRY(wan_out_open(&o, path));
    FILE *f = wan_out_file(o);
    int rc = 0;
    fputs("split_parts:\n", f);
    for (size_t i = 0; rc == 0 && i < s->n; i++) {
        fputs("  ", f);
        wan_split_put_name(f, s->part[i].name);
        rc = put_list(f, &s->part[i].shards, "  ");
    }
    fputs("exclude", f);
    if (rc < 0 || put_list(f, &s->exclude, "") < 0) {
        wan_out_discard(&o);
        return -1;
    }
    return wan_out_finish(&o);
}

void wan_split_ends(size_t *end, size_t n, const uint64_t *weight, size_t parts)
{
    unsigned __int128 sum = 0, total = 0;
    size_t first = 0;
    for (size_t i = 0; i < parts; i++)
        total += weight[i];
    while (first + 1 < parts && !weight[first])
        first++;
    for (size_t i = 0; i < parts; i++) {
        sum += weight[i];
        end[i] = (size_t)(sum * n / total);
        if (i >= first && n && !end[i])
            end[i] = 1;
    }
}
