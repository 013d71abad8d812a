/* SPDX-License-Identifier: Apache-2.0
 *
 * json.c - jansson with one sentence per error.
 */
#include "lib/base/json.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"

enum { JSON_FILE_MAX = 64 << 20 };

/* jansson overlooks some failures of malloc: it aborts while it reads, or leaves out a key while it
 * writes.  So its memory does not fail: what malloc refuses comes from a reserve, and from then on
 * nothing that was read or put together counts any more. */
static char reserve[1 << 20];
static size_t reserve_used;
static int exhausted;

static void *json_malloc(size_t n)
{
    void *p = malloc(n);
    if (p)
        return p;
    __atomic_store_n(&exhausted, 1, __ATOMIC_RELAXED);
    size_t room = (n + 15) & ~(size_t)15;
    if (room < n || room > sizeof reserve)
        return NULL;
    size_t at = __atomic_fetch_add(&reserve_used, room, __ATOMIC_RELAXED);
    return at <= sizeof reserve - room ? reserve + at : NULL;
}

static void json_free(void *p)
{
    if ((char *)p < reserve || (char *)p >= reserve + sizeof reserve)
        free(p);
}

__attribute__((constructor)) static void json_memory(void)
{
    json_set_alloc_funcs(json_malloc, json_free);
}

static int short_of_memory(const char *what)
{
    if (!__atomic_load_n(&exhausted, __ATOMIC_RELAXED))
        return 0;
    wan_err("%s: out of memory (JSON)", what);
    return 1;
}

int wan_json_is_text(const char *text, size_t n, const char *what)
{
    json_t *j = json_stringn(text, n);
    int is = j != NULL;
    json_decref(j);
    return short_of_memory(what) ? -1 : is;
}

json_t *wan_json_parse(const char *text, size_t n, const char *what)
{
    json_error_t e;
    json_t *j = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
    if (short_of_memory(what)) {
        json_decref(j);
        return NULL;
    }
    if (!j)
        wan_err("%s: invalid JSON at line %d, column %d: %s", what, e.line, e.column, e.text);
    return j;
}

size_t wan_json_mark(const char *text, size_t n)
{
    return n >= 3 && !memcmp(text, "\xef\xbb\xbf", 3) ? 3 : 0;
}

json_t *wan_json_load(const char *path)
{
    char *text;
    size_t n;
    if (wan_slurp(&text, &n, path, JSON_FILE_MAX) < 0)
        return NULL;
    size_t mark = wan_json_mark(text, n);
    json_t *j = wan_json_parse(text + mark, n - mark, path);
    free(text);
    return j;
}

/* Text in the making. */
struct text {
    char *s;
    size_t n, room;
    int failed; /* jansson does not always stop */
};

static int add_text(const char *s, size_t n, void *arg)
{
    struct text *t = arg;
    if (t->failed)
        return -1;
    if (n >= t->room - t->n) {
        size_t room = 2 * t->room + n + 1;
        char *more = realloc(t->s, room);
        if (!more) {
            t->failed = 1;
            return -1;
        }
        t->s = more;
        t->room = room;
    }
    memcpy(t->s + t->n, s, n);
    t->n += n;
    return 0;
}

/* The text (with room for another character), its length in *n; what names it in the error. */
static char *dump(const json_t *j, size_t flags, size_t *n, const char *what)
{
    struct text t = { 0 };
    if (!j) /* said where it was lost */
        return NULL;
    int rc = json_dump_callback(j, add_text, &t, flags);
    if (rc == 0 && !t.failed && t.s && !short_of_memory(what)) {
        t.s[t.n] = 0;
        *n = t.n;
        return t.s;
    }
    free(t.s);
    wan_err(t.failed || exhausted ? "%s: out of memory (JSON)"
                                  : "%s: nested too deeply, or in itself",
            what);
    return NULL;
}

char *wan_json_dump_as(const json_t *j, size_t flags)
{
    size_t n;
    return dump(j, flags, &n, "cannot write JSON");
}

char *wan_json_dump(const json_t *j)
{
    return wan_json_dump_as(j, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
}

static json_t *made(json_t *j)
{
    if (!short_of_memory("cannot make JSON"))
        return j;
    json_decref(j);
    return NULL;
}

json_t *wan_json_object(void)
{
    return made(json_object());
}

json_t *wan_json_array(void)
{
    return made(json_array());
}

/* *to is lost; what names the place, made whether there was a value.  Our own memory says when it is lacking, and
 * so does who made none: else it is a text. */
static void lose(json_t **to, const char *what, int made)
{
    int memory = exhausted || (!made && wan_err_memory());
    json_decref(*to);
    *to = NULL;
    if (memory)
        wan_err("cannot make JSON (%s): out of memory", what);
    else
        wan_err("cannot make JSON (%s): a text that is not UTF-8", what);
}

void wan_json_put(json_t **to, const char *key, json_t *v)
{
    const int made = v != NULL;
    if (!*to)
        json_decref(v);
    else if (json_object_set_new(*to, key, v) < 0 || exhausted) /* also for v NULL */
        lose(to, key, made);
}

void wan_json_push(json_t **to, json_t *v)
{
    const int made = v != NULL;
    if (!*to)
        json_decref(v);
    else if (json_array_append_new(*to, v) < 0 || exhausted)
        lose(to, "list", made);
}

void wan_json_merge(json_t **to, const json_t *from)
{
    if (*to && from && (json_object_update(*to, (json_t *)from) < 0 || exhausted))
        lose(to, "keys", 1);
}

json_t *wan_json_ints(const int64_t *v, int n)
{
    json_t *a = wan_json_array();
    for (int i = 0; i < n; i++)
        wan_json_push(&a, json_integer((json_int_t)v[i]));
    return a;
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
    size_t n;
    char *s = dump(j, (size_t)JSON_INDENT(indent) | JSON_SORT_KEYS, &n, path);
    if (!s)
        return -1;
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
