/* SPDX-License-Identifier: Apache-2.0
 *
 * config.c - keys as they are given: found, kept, set, taken back; what is wrong is collected.
 */
#include "lib/train/config/config.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/opt.h"
#include "lib/train/config/config_priv.h"

#define MAX_ENTRIES (1 << 14)
#define MAX_VALUE 4096

/* ---- names ---- */

static int word_in(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; p && *p;) {
        size_t len = strcspn(p, " ");
        if (len == n && !memcmp(p, word, n))
            return 1;
        p += len + (p[len] == ' ');
    }
    return 0;
}

/* Whether a letter or two are wrong in the name of a key with an effect: no section takes it then. */
static int is_slip(const char *name)
{
    char known[64];
    for (int i = 0; i < wan_config_n_keys(); i++) {
        const wan_key *k = wan_config_key(i);
        const char *p = k->name;
        while (k->class != WAN_KEY_NOTED && p && *p) {
            size_t n = strcspn(p, " ");
            snprintf(known, sizeof known, "%.*s", (int)n, p);
            if (n < sizeof known && wan_opt_distance(name, known) <= 2)
                return 1;
            p = p == k->name ? k->aliases : p + n + (p[n] == ' ');
        }
    }
    return 0;
}

int wan_config_find(const char *name)
{
    const int n = wan_config_n_keys();
    for (int i = 0; i < n; i++) {
        const wan_key *k = wan_config_key(i);
        if (!strcmp(k->name, name) || word_in(k->aliases, name))
            return i;
    }
    for (int i = 0; i < n; i++) {
        const char *row = wan_config_key(i)->name;
        size_t len = strlen(row);
        if (row[len - 1] == '*' && !strncmp(row, name, len - 1))
            return is_slip(name) ? -1 : i;
    }
    return -1;
}

static int starts_section(const char *key, const char *name, size_t n)
{
    return !strncmp(key, name, n) && key[n] == '.';
}

int wan_config_is_section(const char *name)
{
    size_t n = strlen(name);
    for (int i = 0; i < wan_config_n_keys(); i++) {
        const wan_key *k = wan_config_key(i);
        if (starts_section(k->name, name, n))
            return 1;
        for (const char *p = k->aliases; p && *p; p += strcspn(p, " "), p += *p == ' ')
            if (starts_section(p, name, n))
                return 1;
    }
    return 0;
}

/* How far a name is from the known one of n letters: letters to change; a slip in the section alone,
 * or a word left out, is near. */
static int distance(const char *name, const char *known, size_t n)
{
    char whole[64];
    if (n >= sizeof whole)
        return 63;
    snprintf(whole, sizeof whole, "%.*s", (int)n, known);
    const char *a = strrchr(name, '.'), *b = strrchr(whole, '.');
    int d = wan_opt_distance(name, whole);
    if (a && b && !strcmp(a, b) && d > 3)
        return 3;
    int same_section = a && b && a - name == b - whole && !strncmp(name, whole, (size_t)(a - name));
    if (same_section && d > 2 && (strstr(b + 1, a + 1) || strstr(a + 1, b + 1)))
        return 2;
    return d;
}

int wan_config_unknown(const char *name)
{
    const char *near = NULL;
    size_t n_near = 0;
    int least = 1 << 10;
    for (int i = 0; i < wan_config_n_keys(); i++) {
        const wan_key *k = wan_config_key(i);
        const char *p = k->name;
        while (p && *p) {
            size_t n = strcspn(p, " ");
            int d = p[n - 1] == '*' ? 1 << 10 : distance(name, p, n);
            if (d < least) {
                least = d;
                near = p;
                n_near = n;
            }
            p = p == k->name ? k->aliases : p + n + (p[n] == ' ');
        }
    }
    return wan_err("unknown key \"%s\"; the nearest known key is \"%.*s\"", name, (int)n_near,
                   near);
}

/* ---- what is kept ---- */

static int set_text(char **out, const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        return wan_err("out of memory");
    free(*out);
    *out = copy;
    return 0;
}

static int value_keep(wan_config *c, int i, const char *text, const wan_config_entry *e)
{
    wan_key_value *v = &c->value[i];
    const wan_key *k = wan_config_key(i);
    WAN_TRY(set_text(&v->text, text));
    WAN_TRY(set_text(&v->by, e->key));
    WAN_TRY(set_text(&v->origin, e->origin));
    v->source = e->source;
    v->layer = e->layer;
    if (k->kind == WAN_KEY_STR)
        *(const char **)((char *)&c->v + k->offset) = v->text;
    return 0;
}

/* One line of comment: what YAML would take for a line break or cannot hold becomes \xHH. */
static void put_line(FILE *f, const char *s)
{
    while (*s) {
        uint32_t code;
        int n = wan_config_utf8(s, &code);
        int bad = code < 32 || (code >= 127 && code < 160) || code == 0x2028 || code == 0x2029 ||
                  code == 0xfeff || code == 0xfffe || code == 0xffff;
        if (n && !bad)
            fprintf(f, "%.*s", n, s);
        else
            fprintf(f, "\\x%02x", (unsigned char)*s);
        s += n && !bad ? n : 1;
    }
}

int wan_config_note(wan_config *c, const char *key, const char *value, const char *why)
{
    char *line = NULL;
    size_t size;
    FILE *f = wan_mem_open(&line, &size);
    char **list = realloc(c->noted, (size_t)(c->n_noted + 1) * sizeof *list);
    c->noted = list ? list : c->noted;
    if (f) {
        put_line(f, key);
        putc('=', f);
        put_line(f, value ? value : "null");
        fprintf(f, ": %s", why);
    }
    int rc = f ? wan_mem_close(f) : -1;
    if (!list || rc < 0) {
        free(line);
        return wan_err("out of memory");
    }
    int i = c->n_noted++;
    for (; i > 0 && strcmp(list[i - 1], line) > 0; i--)
        list[i] = list[i - 1];
    list[i] = line;
    return 0;
}

int wan_config_problem(wan_config *c, const wan_config_entry *e)
{
    char *all = NULL;
    size_t size;
    FILE *f = wan_mem_open(&all, &size);
    if (!f)
        return wan_err("out of memory");
    if (c->problems)
        fprintf(f, "%s\n", c->problems);
    if (e->source == WAN_FROM_YAML)
        fprintf(f, "%s: ", e->origin);
    fputs(wan_err_text(), f);
    if (wan_mem_close(f) < 0) {
        free(all);
        return -1;
    }
    free(c->problems);
    c->problems = all;
    return 0;
}

/* ---- setting ---- */

static int apply_noted(wan_config *c, int i, const wan_config_entry *e)
{
    const wan_key *k = wan_config_key(i);
    int again = c->value[i].source == e->source; /* a refused section is named once */
    c->value[i].source = e->source;
    if (!e->text || wan_config_accepts(k, e->text))
        return wan_config_note(c, e->key, e->text, k->help);
    if (again && k->name[strlen(k->name) - 1] == '*')
        return 0;
    return wan_err("key %s: \"%s\" is not supported: %s", e->key, e->text, k->help);
}

/* Automodel takes a warm-up below 1 for a part of the run. */
static int apply_fraction(wan_config *c, const wan_config_entry *e)
{
    wan_config_entry one = *e;
    char *end;
    double x = strtod(e->text, &end);
    if (*end || !(x > 0 && x < 1))
        return 0;
    one.key = (char *)"scheduler.lr_warmup_fraction";
    return wan_config_apply(c, &one) < 0 ? -1 : 1;
}

/* Back to the default, as if nobody had given it; origin "recipe". */
static int reset(wan_config *c, int i)
{
    const wan_key *k = wan_config_key(i);
    char text[MAX_VALUE] = "";
    wan_config_entry e = { .key = (char *)k->name, .origin = (char *)"recipe" };
    if (k->kind == WAN_KEY_BETAS) {
        WAN_TRY(reset(c, wan_config_find("optimizer.adam_beta1")));
        return reset(c, wan_config_find("optimizer.adam_beta2"));
    }
    if (!k->def)
        return 0;
    WAN_TRY(wan_config_parse(k, (char *)&c->v + k->offset, k->def, WAN_VALUE_TEXT, k->name, text,
                             sizeof text));
    return value_keep(c, i, text, &e);
}

/* 1: the value that stands there counts, not this one; 0: this one; -1: they contradict. */
static int outranked(const wan_config *c, int i, const wan_config_entry *e, const char *text,
                     double was, double is)
{
    const wan_key_value *v = &c->value[i];
    if (v->source != e->source || v->layer != e->layer || !v->by || !strcmp(v->by, e->key) ||
        !strcmp(v->text, text))
        return v->source > e->source || (v->source == e->source && v->layer > e->layer);
    if (wan_config_key(i)->larger)
        return was > is;
    return wan_err("key %s = %s disagrees with %s = %s: they are one setting (%s)", e->key, text,
                   v->by, v->text, wan_config_key(i)->name);
}

/* Key i to what the entry says, under whatever name, where that counts. */
static int set_key(wan_config *c, int i, const wan_config_entry *e)
{
    const wan_key *k = wan_config_key(i);
    char text[MAX_VALUE] = "";
    union {
        int64_t n;
        double x;
        int word;
    } value = { 0 };
    WAN_TRY(wan_config_parse(k, &value, e->text, e->kind, e->key, text, sizeof text));
    void *at = (char *)&c->v + k->offset;
    int rc = outranked(c, i, e, text, k->kind == WAN_KEY_ENUM ? *(int *)at : 0, value.word);
    if (rc)
        return rc < 0 ? -1 : 0;
    if (k->kind == WAN_KEY_INT || k->kind == WAN_KEY_REAL)
        memcpy(at, &value, sizeof(int64_t));
    else if (k->kind == WAN_KEY_ENUM || k->kind == WAN_KEY_BOOL)
        *(int *)at = value.word;
    return value_keep(c, i, text, e);
}

static int apply_betas(wan_config *c, const wan_config_entry *e)
{
    static const char *const keys[2] = { "optimizer.adam_beta1", "optimizer.adam_beta2" };
    double ab[2];
    WAN_TRY(wan_config_parse_betas(ab, e->text, e->key));
    for (int i = 0; i < 2; i++) {
        char text[32];
        wan_config_entry one = *e;
        wan_config_real_text(text, sizeof text, ab[i]);
        one.text = text;
        WAN_TRY(set_key(c, wan_config_find(keys[i]), &one));
    }
    return 0;
}

/* null: unset.  Under an alias that is the default; a text of our own becomes empty. */
static int apply_null(wan_config *c, int i, const wan_config_entry *e)
{
    const wan_key *k = wan_config_key(i);
    const wan_key_value *v = &c->value[i];
    if (v->source >= e->source && v->layer >= e->layer && v->source > WAN_FROM_PRESET)
        return 0; /* leaves what another name of this layer, or a later layer, says */
    if (k->kind != WAN_KEY_STR || strcmp(k->name, e->key))
        return reset(c, i);
    return value_keep(c, i, "", e);
}

int wan_config_apply(wan_config *c, wan_config_entry *e)
{
    int i = wan_config_find(e->key);
    if (i < 0 && wan_config_is_section(e->key))
        return e->text ? wan_err("\"%s\" is a section of keys, not a key", e->key) : 0;
    if (i < 0)
        return e->unknown = 1, 0;
    const wan_key *k = wan_config_key(i);
    if (k->class == WAN_KEY_NOTED)
        return apply_noted(c, i, e);
    if (!e->text)
        return apply_null(c, i, e);
    if (k->kind == WAN_KEY_BETAS)
        return apply_betas(c, e);
    int moved = strcmp(k->name, "scheduler.lr_warmup_iters") ? 0 : apply_fraction(c, e);
    return moved ? (moved < 0 ? -1 : 0) : set_key(c, i, e);
}

static wan_config_entry *entry_add(wan_config *c, const wan_config_entry *e)
{
    if (c->n_entries == MAX_ENTRIES) {
        wan_err("more than %d keys", MAX_ENTRIES);
        return NULL;
    }
    if (!(c->n_entries & (c->n_entries - 1))) {
        size_t cap = c->n_entries ? 2 * (size_t)c->n_entries : 1;
        wan_config_entry *list = realloc(c->entry, cap * sizeof *list);
        if (!list) {
            wan_err("out of memory");
            return NULL;
        }
        c->entry = list;
    }
    wan_config_entry *x = &c->entry[c->n_entries];
    *x = *e;
    x->key = strdup(e->key);
    x->origin = strdup(e->origin);
    x->text = e->text ? strdup(e->text) : NULL;
    if (x->key && x->origin && (x->text || !e->text))
        return c->n_entries++, x;
    free(x->key);
    free(x->origin);
    free(x->text);
    wan_err("out of memory");
    return NULL;
}

int wan_config_give(wan_config *c, const wan_config_entry *e)
{
    wan_config_entry *x = entry_add(c, e);
    if (!x)
        return -1;
    for (int i = 0; i + 1 < c->n_entries; i++) {
        wan_config_entry *old = &c->entry[i];
        if (old->layer != x->layer || strcmp(old->key, x->key))
            continue;
        if (x->source == WAN_FROM_YAML) {
            wan_err("key \"%s\" stands twice", x->key);
            return wan_config_problem(c, x);
        }
        old->waiting = 0; /* of the words of one key the last counts */
    }
    if (x->text && strstr(x->text, "${"))
        return x->waiting = 1, 0;
    return wan_config_apply(c, x) < 0 ? wan_config_problem(c, x) : 0;
}

int wan_config_set(wan_config *c, const char *key, const char *value, enum wan_key_source from)
{
    wan_config_entry e = { .key = (char *)key,
                           .text = (char *)value,
                           .kind = value ? WAN_VALUE_TEXT : WAN_VALUE_NULL,
                           .source = from,
                           .layer = from,
                           .origin = (char *)(from == WAN_FROM_DEFAULT ? "recipe"
                                              : from == WAN_FROM_WORD  ? "command line"
                                                                       : "derived") };
    WAN_TRY(wan_config_apply(c, &e));
    return e.unknown ? wan_config_unknown(key) : 0;
}

int wan_config_derive(wan_config *c, const char *key, const char *value, const char *origin)
{
    wan_config_entry e = { .key = (char *)key,
                           .text = (char *)value,
                           .kind = WAN_VALUE_TEXT,
                           .source = WAN_FROM_PRESET,
                           .origin = (char *)origin };
    c->value[wan_config_find(key)].source = WAN_FROM_DEFAULT;
    return wan_config_apply(c, &e);
}

int wan_config_derive_int(wan_config *c, const char *key, int64_t value, const char *origin)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    return wan_config_derive(c, key, text, origin);
}

int wan_config_derive_real(wan_config *c, const char *key, double value, const char *origin)
{
    char text[32];
    wan_config_real_text(text, sizeof text, value);
    return wan_config_derive(c, key, text, origin);
}

/* "~key" takes back what all layers say. */
static int take_back(wan_config *c, const char *key)
{
    int i = wan_config_find(key);
    if (i < 0) {
        wan_config_unknown(key);
        return wan_config_problem(c, &(wan_config_entry){ .source = WAN_FROM_WORD });
    }
    for (int j = 0; j < c->n_entries; j++)
        if (c->entry[j].waiting && wan_config_find(c->entry[j].key) == i)
            c->entry[j].waiting = 0;
    return reset(c, i);
}

int wan_config_word(wan_config *c, const char *word)
{
    char key[256];
    if (*word == '~')
        return take_back(c, word + 1);
    word += *word == '+';
    size_t n = strcspn(word, "=");
    if (!word[n])
        return wan_err("\"%s\" is not of the form key=value", word);
    if (n >= sizeof key)
        return wan_err("key name \"%.40s...\" is too long", word);
    memcpy(key, word, n);
    key[n] = 0;
    const char *value = word + n + 1;
    int null = !strcmp(value, "null") || !strcmp(value, "None");
    return wan_config_give(c, &(wan_config_entry){ .key = key,
                                                   .text = null ? NULL : (char *)value,
                                                   .kind = null ? WAN_VALUE_NULL : WAN_VALUE_TEXT,
                                                   .source = WAN_FROM_WORD,
                                                   .origin = (char *)"command line" });
}

/* ---- the whole ---- */

int wan_config_new(wan_config **out)
{
    wan_config *c = wan_calloc(1, sizeof *c, "configuration");
    *out = NULL;
    if (!c)
        return -1;
    c->value = wan_calloc((size_t)wan_config_n_keys(), sizeof *c->value, "configuration");
    if (!c->value)
        goto fail;
    for (int i = 0; i < wan_config_n_keys(); i++)
        if (wan_config_key(i)->kind != WAN_KEY_BETAS)
            WAN_GOTO(reset(c, i), fail);
    *out = c;
    return 0;
fail:
    wan_config_free(&c);
    return -1;
}

void wan_config_free(wan_config **pc)
{
    wan_config *c = *pc;
    if (!c)
        return;
    for (int i = 0; c->value && i < wan_config_n_keys(); i++) {
        free(c->value[i].text);
        free(c->value[i].by);
        free(c->value[i].origin);
    }
    for (int i = 0; i < c->n_noted; i++)
        free(c->noted[i]);
    for (int i = 0; i < c->n_entries; i++) {
        free(c->entry[i].key);
        free(c->entry[i].text);
        free(c->entry[i].origin);
    }
    free(c->noted);
    free(c->value);
    free(c->entry);
    free(c->problems);
    free(c);
    *pc = NULL;
}

enum wan_key_source wan_config_source(const wan_config *c, const char *key)
{
    int i = wan_config_find(key);
    return i < 0 ? WAN_FROM_DEFAULT : c->value[i].source;
}

double wan_config_number(const wan_config *c, const char *key)
{
    int i = wan_config_find(key);
    if (i < 0)
        WAN_BUG("no key %s", key);
    const wan_key *k = wan_config_key(i);
    const void *at = (const char *)&c->v + k->offset;
    return k->kind == WAN_KEY_REAL  ? *(const double *)at
           : k->kind == WAN_KEY_INT ? (double)*(const int64_t *)at
                                    : *(const int *)at;
}

const char *wan_config_text(const wan_config *c, const char *key)
{
    int i = wan_config_find(key);
    return i < 0 || !c->value[i].text ? "" : c->value[i].text;
}

void wan_config_fields(const wan_config *c, const wan_field *fields, void *settings, int given)
{
    for (const wan_field *f = fields; f->key; f++)
        if (!given || wan_config_source(c, f->key) != WAN_FROM_DEFAULT)
            wan_field_set(f, settings, wan_config_number(c, f->key));
}
