/* SPDX-License-Identifier: Apache-2.0
 *
 * config_print.c - the effective configuration as YAML that reads back as itself, its marks, and
 * the key table of the man page.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/mem.h"
#include "lib/train/config/config_priv.h"

/* ---- scalars ---- */

static int is_plain(const char *text)
{
    static const char *const taken[] = {
        "null", "none", "true", "false", "yes", "no", "on", "off"
    };
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-";
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
        if (!strcasecmp(text, taken[i]))
            return 0;
    int number = strchr("0123456789.-", *text) != NULL; /* may be one, for another reader */
    return !number && strspn(text, letters) == strlen(text);
}

static int is_utf8(const char *s)
{
    uint32_t code;
    for (int n; *s; s += n)
        if (!(n = wan_config_utf8(s, &code)))
            return 0;
    return 1;
}

/* Bytes that are no text. */
static void put_binary(FILE *f, const char *s)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *u = (const unsigned char *)s;
    fputs("!!binary \"", f);
    for (size_t n = strlen(s); n > 0; u += 3, n -= n < 3 ? n : 3) {
        uint32_t x = (uint32_t)u[0] << 16 | (n > 1 ? (uint32_t)u[1] << 8 : 0) | (n > 2 ? u[2] : 0);
        fprintf(f, "%c%c%c%c", digit[x >> 18], digit[x >> 12 & 63],
                n > 1 ? digit[x >> 6 & 63] : '=', n > 2 ? digit[x & 63] : '=');
    }
    putc('"', f);
}

/* In double quotes; a ${ that is text gets the backslash that says so. */
static void put_quoted(FILE *f, const char *s)
{
    putc('"', f);
    for (int n; *s; s += n) {
        uint32_t code;
        size_t slashes = strspn(s, "\\");
        if (!strncmp(s + slashes, "${", 2)) {
            for (size_t i = 0; i < 2 * slashes + 1; i++)
                fputs("\\\\", f);
            fputs("${", f);
            n = (int)slashes + 2;
            continue;
        }
        n = wan_config_utf8(s, &code);
        if (code == '"' || code == '\\')
            fprintf(f, "\\%c", (int)code);
        else if (code < 32 || code == 127)
            fprintf(f, "\\x%02x", (unsigned)code);
        else if ((code >= 128 && code < 160) || code == 0x2028 || code == 0x2029 || code >= 0xfeff)
            fprintf(f, code > 0xffff ? "\\U%08x" : "\\u%04x", (unsigned)code);
        else
            fprintf(f, "%.*s", n, s);
    }
    putc('"', f);
}

/* A scalar that reads back as the same text. */
static void put_scalar(FILE *f, const wan_key *k, const char *text)
{
    if (k->kind != WAN_KEY_STR || is_plain(text))
        fputs(text, f);
    else if (is_utf8(text))
        put_quoted(f, text);
    else
        put_binary(f, text);
}

/* ---- sections ---- */

/* Bytes of key i's section with its dot, or 0 when the key is not printed: another model's. */
static size_t section_of(const wan_config *c, int i, int places)
{
    const wan_key *k = wan_config_key(i);
    const enum wan_model_type only = wan_config_key_model(i);
    int place = k->class == WAN_KEY_PLACE || k->class == WAN_KEY_OWN;
    int hidden = (only != WAN_MODEL_ANY && only != c->v.model_type) || k->class == WAN_KEY_NOTED ||
                 k->kind == WAN_KEY_BETAS || (place && !places);
    return hidden ? 0 : strcspn(k->name, ".") + 1;
}

/* The first key at or after i in the section of name (n bytes with the dot), or the table's end. */
static int next_in(const wan_config *c, const char *name, size_t n, int i, int places)
{
    while (i < wan_config_n_keys() &&
           (section_of(c, i, places) != n || memcmp(wan_config_key(i)->name, name, n) != 0))
        i++;
    return i;
}

static void put_pair(const wan_config *c, FILE *f, int i, size_t n)
{
    const wan_key_value *v = &c->value[i];
    fprintf(f, "  %s: ", wan_config_key(i)->name + n);
    put_scalar(f, wan_config_key(i), v->text ? v->text : "");
}

/* How wide it is; without memory as if it were nothing. */
static int width_of(const wan_config *c, int i, size_t n)
{
    char *line = NULL;
    size_t size = 0;
    FILE *m = wan_mem_open(&line, &size);
    if (m) {
        put_pair(c, m, i, n);
        if (wan_mem_close(m) < 0)
            size = 0;
    }
    free(line);
    return (int)size;
}

static void put_key(const wan_config *c, FILE *f, int i, size_t n, int origins)
{
    const wan_key_value *v = &c->value[i];
    put_pair(c, f, i, n);
    if (origins) {
        int width = width_of(c, i, n);
        fprintf(f, "%*s # %s", width < 44 ? 44 - width : 0, "", v->origin);
        if (v->source > WAN_FROM_PRESET && strcmp(v->by, wan_config_key(i)->name))
            fprintf(f, " (%s)", v->by);
    }
    putc('\n', f);
}

static void put_all(const wan_config *c, FILE *f, int places, int origins)
{
    const int keys = wan_config_n_keys();
    for (int i = 0; i < keys; i++) {
        const char *name = wan_config_key(i)->name;
        size_t n = section_of(c, i, places);
        if (!n || next_in(c, name, n, 0, places) < i) /* a section may stand twice in the table */
            continue;
        fprintf(f, "%.*s:\n", (int)n - 1, name);
        for (int j = i; j < keys; j = next_in(c, name, n, j + 1, places))
            put_key(c, f, j, n, origins);
    }
}

void wan_config_print(const wan_config *c, FILE *f, int places)
{
    put_all(c, f, places, 0);
}

void wan_config_print_origins(const wan_config *c, FILE *f)
{
    put_all(c, f, 1, 1);
    for (int i = 0; i < c->n_noted; i++)
        fprintf(f, "%s# accepted without effect: %s\n", i ? "" : "\n", c->noted[i]);
}

static uint64_t mark_of(const char *text)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 1099511628211u;
    return h;
}

void wan_config_marks(const wan_config *c, uint64_t *h)
{
    for (int i = 0; i < wan_config_n_keys(); i++) {
        const wan_key *k = wan_config_key(i);
        const char *text = c->value[i].text ? c->value[i].text : "";
        h[i] = 0;
        if (k->class == WAN_KEY_PLACE && k->kind == WAN_KEY_STR)
            h[i] = *text != 0; /* a folder may be another one on each machine */
        else if (k->class == WAN_KEY_USED || k->class == WAN_KEY_PLACE)
            h[i] = mark_of(text);
    }
}

/* ---- the man page ---- */

static void mdoc_range(FILE *f, const wan_key *k)
{
    static const char *const kinds[] = { "integer", "number", "boolean", "text",
                                         "word",    "pair",   "any" };
    char list[256];
    if (k->kind == WAN_KEY_ENUM) {
        wan_config_word_list(k->words, list, sizeof list);
        fprintf(f, "%s", list);
    } else
        fprintf(f, "%s", kinds[k->kind]);
    if (k->def && *k->def)
        fprintf(f, "; default %s", k->def);
}

static void mdoc_used(FILE *f, const wan_key *k)
{
    fprintf(f, ".It Va %s Pq ", k->name);
    mdoc_range(f, k);
    fprintf(f, "\n%s.\n", k->help);
    if (k->aliases)
        fprintf(f, "Also %s.\n", k->aliases);
}

static void mdoc_noted(FILE *f, const wan_key *k)
{
    if (k->only && *k->only)
        fprintf(f, ".It Va %s Pq only %s\n%s.\n", k->name, k->only, k->help);
    else
        fprintf(f, ".It Va %s\n%s.\n", k->name, k->help);
}

void wan_config_mdoc(FILE *f)
{
    const int n = wan_config_n_keys();
    fprintf(f, ".Bl -tag -width Ds\n");
    for (int i = 0; i < n; i++)
        if (wan_config_key(i)->class != WAN_KEY_NOTED)
            mdoc_used(f, wan_config_key(i));
    fprintf(f, ".El\n.Pp\nAccepted, reported and without effect:\n.Bl -tag -width Ds -compact\n");
    for (int i = 0; i < n; i++) {
        const wan_key *k = wan_config_key(i);
        if (k->class == WAN_KEY_NOTED && (!k->only || *k->only))
            mdoc_noted(f, k);
    }
    fprintf(f, ".El\n.Pp\nKnown and refused:\n.Bl -tag -width Ds -compact\n");
    for (int i = 0; i < n; i++) {
        const wan_key *k = wan_config_key(i);
        if (k->class == WAN_KEY_NOTED && k->only && !*k->only)
            mdoc_noted(f, k);
    }
    fprintf(f, ".El\n");
}
