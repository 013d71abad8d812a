/* SPDX-License-Identifier: Apache-2.0
 *
 * config_refs.c - ${...} in values, as OmegaConf has it: ${section.key}, ${.sibling},
 * ${oc.env:VAR,default}, ${oc.select:key,default}, ${oc.decode:...}, and Automodel's ${VAR,default}.
 * \${ is the text ${.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/train/config/config_priv.h"

#define MAX_NEST 16
#define MAX_TEXT 4096

typedef struct value {
    enum wan_value_kind kind;
    char text[MAX_TEXT]; /* with kind NULL: not looked at */
} value;

typedef struct scope {
    wan_config *c;
    const char *key; /* whose value holds the reference */
    int depth;
} scope;

static int expand(scope s, const char *text, size_t n, value *out);

static int too_long(const scope *s)
{
    return wan_err("key %s: longer than %d bytes", s->key, MAX_TEXT - 1);
}

static int value_set(const scope *s, value *out, enum wan_value_kind kind, const char *text,
                     size_t n)
{
    if (n >= MAX_TEXT)
        return too_long(s);
    out->kind = kind;
    memmove(out->text, text, n);
    out->text[n] = 0;
    return 0;
}

/* ---- what a name stands for ---- */

/* .name and ..name count from the section that the key stands in. */
static int absolute(const scope *s, const char *name, char *out, size_t size)
{
    size_t up = strspn(name, "."), n = strlen(s->key);
    for (size_t i = 0; i < up; i++) {
        while (n > 0 && s->key[n - 1] != '.')
            n--;
        n -= n > 0;
    }
    int len =
        snprintf(out, size, "%.*s%s%s", up ? (int)n : 0, s->key, up && n ? "." : "", name + up);
    return len < 0 || (size_t)len >= size ? wan_err("key %s: ${%.40s...} is too long", s->key, name)
                                          : 0;
}

static wan_config_entry *entry_find(const wan_config *c, const char *key)
{
    for (int i = c->n_entries; i > 0; i--)
        if (!strcmp(c->entry[i - 1].key, key))
            return &c->entry[i - 1];
    return NULL;
}

/* 1: found, 0: there is no such key. */
static int lookup_key(scope s, const char *key, value *out)
{
    wan_config_entry *e = entry_find(s.c, key);
    int i = wan_config_find(key);
    const wan_key *k = i < 0 ? NULL : wan_config_key(i);
    if (e)
        e->asked = 1;
    if (e && e->waiting) {
        s.key = e->key;
        s.depth++;
        WAN_TRY(expand(s, e->text, strlen(e->text), out));
        if (out->kind != WAN_VALUE_NULL && e->kind == WAN_VALUE_LIST)
            out->kind = WAN_VALUE_LIST;
        return 1;
    }
    if (k && k->class != WAN_KEY_NOTED && k->kind != WAN_KEY_BETAS) {
        const char *text = s.c->value[i].text;
        enum wan_value_kind kind = k->kind == WAN_KEY_STR ? WAN_VALUE_TEXT : WAN_VALUE_PLAIN;
        if (e && !e->text)
            kind = WAN_VALUE_NULL;
        return value_set(&s, out, kind, text, strlen(text)) < 0 ? -1 : 1;
    }
    if (!e)
        return 0;
    const char *text = e->text ? e->text : "";
    return value_set(&s, out, e->kind, text, strlen(text)) < 0 ? -1 : 1;
}

/* The default after a comma: null, a quoted text, or a text with references of its own. */
static int expand_default(scope s, const char *text, size_t n, value *out)
{
    while (n && *text == ' ')
        text++, n--;
    while (n && text[n - 1] == ' ')
        n--;
    if (n == 4 && !memcmp(text, "null", 4)) {
        out->kind = WAN_VALUE_NULL;
        return 0;
    }
    if (n >= 2 && (*text == '"' || *text == '\'') && text[n - 1] == *text)
        return value_set(&s, out, WAN_VALUE_TEXT, text + 1, n - 2);
    WAN_TRY(expand(s, text, n, out));
    if (out->kind == WAN_VALUE_TEXT)
        out->kind = WAN_VALUE_PLAIN;
    return 0;
}

static int lookup_env(scope s, const char *name, const char *def, size_t n, value *out)
{
    const char *env = getenv(name);
    if (env)
        return value_set(&s, out, WAN_VALUE_TEXT, env, strlen(env));
    if (def)
        return expand_default(s, def, n, out);
    return wan_err("key %s: the environment variable %s is not set and has no default", s.key,
                   name);
}

/* ---- one reference ---- */

/* The first c outside of inner references, or n. */
static size_t find_flat(const char *text, size_t n, char c)
{
    int depth = 0;
    for (size_t i = 0; i < n; i++) {
        if (!depth && text[i] == c)
            return i;
        depth += text[i] == '{';
        depth -= text[i] == '}';
    }
    return n;
}

/* body, without the braces. */
static int reference(scope s, const char *body, size_t n, value *out)
{
    char name[256], key[256];
    size_t colon = find_flat(body, n, ':'), comma = find_flat(body, n, ',');
    size_t from = colon < n && colon < comma ? colon + 1 : 0;
    if (s.depth++ >= MAX_NEST)
        return wan_err("key %s: references (${...}) go round in a circle", s.key);
    const char *def = comma < n ? body + comma + 1 : NULL;
    size_t n_def = comma < n ? n - comma - 1 : 0;
    int resolver = from && colon == 9 && !memcmp(body, "oc.decode", 9)   ? 'd'
                   : from && colon == 9 && !memcmp(body, "oc.select", 9) ? 's'
                   : from && colon == 6 && !memcmp(body, "oc.env", 6)    ? 'e'
                   : from                                                ? 'x'
                                                                         : 0;
    if (resolver == 'x')
        return wan_err("key %s: ${%.*s:...}: of the resolvers only oc.env, oc.select and oc.decode "
                       "are known",
                       s.key, (int)colon, body);
    if (resolver == 'd')
        return expand_default(s, body + from, n - from, out);
    WAN_TRY(expand(s, body + from, comma - from, out));
    if (out->kind == WAN_VALUE_NULL || out->kind == WAN_VALUE_LIST ||
        strlen(out->text) >= sizeof name)
        return wan_err("key %s: ${%.*s} names nothing", s.key, (int)(n < 60 ? n : 60), body);
    snprintf(name, sizeof name, "%s", out->text);
    if (resolver == 'e')
        return lookup_env(s, name, def, n_def, out);
    WAN_TRY(absolute(&s, name, key, sizeof key));
    int rc = lookup_key(s, key, out);
    if (rc)
        return rc < 0 ? -1 : 0;
    if (resolver == 's')
        return def ? expand_default(s, def, n_def, out) : (out->kind = WAN_VALUE_NULL, 0);
    if (getenv(name) || def)
        return lookup_env(s, name, def, n_def, out);
    return wan_err("key %s: ${%s}: there is neither a key nor an environment variable of that name",
                   s.key, name);
}

/* ---- a text with references ---- */

/* Length of the reference at text, "${...}" with inner ones; 0 when its brace is not closed. */
static size_t reference_end(const char *text, size_t n)
{
    int depth = 0;
    for (size_t i = 1; i < n; i++) {
        depth += text[i] == '{';
        depth -= text[i] == '}';
        if (!depth)
            return i + 1;
    }
    return 0;
}

static int append(const scope *s, value *out, size_t *n, const char *text, size_t len)
{
    if (*n + len >= MAX_TEXT)
        return too_long(s);
    memcpy(out->text + *n, text, len);
    out->text[ *n += len] = 0;
    return 0;
}

/* A reference inside of a longer text. */
static int append_reference(scope s, value *out, size_t *n, const char *body, size_t len)
{
    value *part = malloc(sizeof *part);
    int rc = part ? reference(s, body, len, part) : wan_err("out of memory");
    if (rc == 0 && part->kind == WAN_VALUE_NULL)
        rc = wan_err("key %s: ${%.*s} is null and stands inside of a text", s.key, (int)len, body);
    if (rc == 0)
        rc = append(&s, out, n, part->text, strlen(part->text));
    free(part);
    return rc;
}

static int expand(scope s, const char *text, size_t n, value *out)
{
    size_t done = 0;
    if (n > 3 && !memcmp(text, "${", 2) && reference_end(text, n) == n)
        return reference(s, text + 2, n - 3, out);
    out->kind = WAN_VALUE_TEXT;
    out->text[0] = 0;
    for (size_t i = 0; i < n;) {
        size_t slashes = 0;
        while (i + slashes < n && text[i + slashes] == '\\')
            slashes++;
        int at = i + slashes + 1 < n && !memcmp(text + i + slashes, "${", 2);
        if (!at) {
            size_t len = slashes ? slashes : 1;
            WAN_TRY(append(&s, out, &done, text + i, len));
            i += len;
            continue;
        }
        WAN_TRY(append(&s, out, &done, text + i, slashes / 2));
        i += slashes;
        if (slashes % 2) {
            WAN_TRY(append(&s, out, &done, "${", 2));
            i += 2;
            continue;
        }
        size_t len = reference_end(text + i, n - i);
        if (!len)
            return wan_err("key %s: \"%.60s\": a ${ is not closed", s.key, text);
        WAN_TRY(append_reference(s, out, &done, text + i + 2, len - 3));
        i += len;
    }
    return 0;
}

int wan_config_resolve(wan_config *c)
{
    value *v = malloc(sizeof *v);
    int rc = v ? 0 : wan_err("out of memory");
    for (int i = 0; i < c->n_entries && rc == 0; i++) {
        wan_config_entry *e = &c->entry[i];
        if (!e->waiting)
            continue;
        int bad = expand((scope){ .c = c, .key = e->key }, e->text, strlen(e->text), v) < 0;
        int list = e->kind == WAN_VALUE_LIST && !bad && v->kind != WAN_VALUE_NULL;
        wan_config_entry whole = *e;
        whole.kind = list ? WAN_VALUE_LIST : v->kind;
        whole.text = whole.kind == WAN_VALUE_NULL ? NULL : v->text;
        if (bad || wan_config_apply(c, &whole) < 0)
            rc = wan_config_problem(c, e);
        e->unknown = whole.unknown;
    }
    for (int i = 0; i < c->n_entries; i++)
        c->entry[i].waiting = 0;
    free(v);
    return rc;
}
