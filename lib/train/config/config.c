/* SPDX-License-Identifier: Apache-2.0
 *
 * config.c - setting, checking and printing the keys of the keys_*.c.
 */
#include "lib/train/config/config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/file.h"
#include "lib/base/opt.h"

/* One row per key of the flow presets, wan-data(7), Flow presets. */
static const struct {
    const char *key, *pretrain, *finetune;
} presets[] = {
    { "flow.timestep_sampling", "logit_normal", "uniform" },
    { "flow.logit_mean", "0", "0" },
    { "flow.logit_std", "1.5", "1" },
    { "flow.shift", "2.5", "3" },
    { "flow.mix_uniform_ratio", "0.2", "0.1" },
    { "flow.sigma_min", "0", "0" },
    { "flow.sigma_max", "1", "1" },
    { "flow.use_loss_weighting", "true", "true" },
};

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

/* Exact names first, then "section.*" rows; -1 when unknown. */
static int key_find(const char *name)
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
            return i;
    }
    return -1;
}

static int is_section(const char *name)
{
    size_t n = strlen(name);
    for (int i = 0; i < wan_config_n_keys(); i++) {
        const char *key = wan_config_key(i)->name;
        if (!strncmp(key, name, n) && key[n] == '.')
            return 1;
    }
    return 0;
}

/* The nearest of all names and aliases; a slip in the section alone is found too. */
static int key_unknown(const char *name)
{
    if (is_section(name))
        return wan_err("\"%s\" is a section of keys, not a key", name);
    size_t n = 0, cap = (size_t)wan_config_n_keys() * 4;
    const char **names = wan_calloc(cap, sizeof *names, "key names");
    char *copies = wan_calloc(cap, 80, "key names");
    const char *near = NULL;
    if (!names || !copies) {
        free(names);
        free(copies);
        return -1;
    }
    for (int i = 0; i < wan_config_n_keys(); i++) {
        names[n++] = wan_config_key(i)->name;
        for (const char *p = wan_config_key(i)->aliases; p && *p && n < cap;) {
            size_t len = strcspn(p, " ");
            char *copy = copies + n * 80;
            memcpy(copy, p, len < 79 ? len : 79);
            names[n++] = copy;
            p += len + (p[len] == ' ');
        }
    }
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; i < n && !near; i++) {
        const char *d = strrchr(names[i], '.');
        if (d && dot && !strcmp(d, dot))
            near = names[i];
    }
    const char *close = wan_nearest(name, names, n);
    if (close)
        near = close;
    if (near)
        wan_err("unknown key \"%s\"; the nearest known key is \"%s\"", name, near);
    else
        wan_err("unknown key \"%s\"; wan-train --help-keys lists all keys", name);
    free(names);
    free(copies);
    return -1;
}

/* The shortest decimal that reads back as x. */
static void real_text(char *s, size_t size, double x)
{
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(s, size, "%.*g", digits, x);
        if (strtod(s, NULL) == x)
            return;
    }
}

static int parse_bool(int *out, const char *value, const char *what)
{
    static const char *const words[] = { "false", "no", "off", "0", "true", "yes", "on", "1" };
    for (int i = 0; i < 8; i++)
        if (!strcasecmp(value, words[i]))
            return *out = i >= 4, 0;
    return wan_err("key %s: \"%s\" is neither true nor false", what, value);
}

/* The word's row; where the list knows true and false, also YAML's other names for them. */
static const wan_word *find_word(const wan_word *words, const char *value)
{
    int truth;
    for (const wan_word *w = words; w->name; w++)
        if (!strcasecmp(value, w->name))
            return w;
    const wan_word *yes = strcmp(value, "true") ? find_word(words, "true") : NULL;
    if (!yes || parse_bool(&truth, value, "") < 0)
        return NULL;
    return truth ? yes : find_word(words, "false");
}

/* The first name of a value: the canonical one. */
static const char *word_name(const wan_word *words, int value)
{
    while (words->value != value)
        words++;
    return words->name;
}

/* "a|b|c": every value's name once. */
static void word_list(const wan_word *words, char *out, size_t size)
{
    size_t n = 0;
    out[0] = 0;
    for (const wan_word *w = words; w->name && n < size; w++)
        if (word_name(words, w->value) == w->name)
            n += (size_t)snprintf(out + n, size - n, "%s%s", n ? "|" : "", w->name);
}

static int parse_enum(int *out, const wan_word *words, const char *value, const char *what)
{
    char list[256];
    const wan_word *w = find_word(words, value);
    if (w)
        return *out = w->value, 0;
    word_list(words, list, sizeof list);
    return wan_err("key %s: \"%s\" is not one of %s", what, value, list);
}

/* Two numbers in brackets or without. */
static int parse_betas(double out[2], const char *value, const char *what)
{
    double a, b;
    int n = 0, brackets = *value == '[' || *value == '(';
    char close = *value == '(' ? ')' : ']';
    if (sscanf(value + brackets, "%lf , %lf %n", &a, &b, &n) < 2 ||
        value[brackets + n] != (brackets ? close : 0) || (brackets && value[brackets + n + 1]))
        return wan_err("key %s: \"%s\" is not a pair [a, b]", what, value);
    if (!(a >= 0 && a < 1 && b >= 0 && b < 1))
        return wan_err("key %s: \"%s\": both must be in [0, 1)", what, value);
    out[0] = a;
    out[1] = b;
    return 0;
}

/* Stores the value in v and its canonical text in text. */
static int key_store(wan_config *c, int i, const char *value, const char *what, char *text,
                     size_t size)
{
    const wan_key *k = wan_config_key(i);
    void *at = (char *)&c->v + k->offset;
    switch (k->kind) {
    case WAN_KEY_INT: {
        /* 1e6 and 1_000 are how people write step counts in YAML */
        double x;
        char *end;
        int64_t n = 0;
        x = strtod(value, &end);
        if (*value && !*end && strpbrk(value, ".eE") && x == floor(x) && fabs(x) < 9e15) {
            n = (int64_t)x;
            if (x < k->lo || x > k->hi)
                return wan_err("key %s: %s is not within [%g, %g]", what, value, k->lo, k->hi);
        } else {
            WAN_TRY(wan_parse_int(&n, value, (int64_t)k->lo, (int64_t)k->hi, what));
        }
        *(int64_t *)at = n;
        snprintf(text, size, "%lld", (long long)n);
        return 0;
    }
    case WAN_KEY_REAL:
        WAN_TRY(wan_parse_real(at, value, k->lo, k->hi, what));
        real_text(text, size, *(double *)at);
        return 0;
    case WAN_KEY_BOOL:
        WAN_TRY(parse_bool(at, value, what));
        snprintf(text, size, "%s", *(int *)at ? "true" : "false");
        return 0;
    case WAN_KEY_ENUM:
        WAN_TRY(parse_enum(at, k->words, value, what));
        snprintf(text, size, "%s", word_name(k->words, *(int *)at));
        return 0;
    case WAN_KEY_BETAS: return parse_betas(at, value, what);
    case WAN_KEY_STR:
    case WAN_KEY_ANY:
        if (strlen(value) >= size)
            return wan_err("key %s: longer than %zu bytes", what, size - 1);
        snprintf(text, size, "%s", value);
        return 0;
    }
    return 0;
}

static int noted_add(wan_config *c, const char *key, const char *value)
{
    size_t n = strlen(key) + strlen(value ? value : "null") + 2;
    char *line = wan_malloc(n, 1, "a key");
    char **list = realloc(c->noted, (size_t)(c->n_noted + 1) * sizeof *list);
    if (!line || !list) {
        free(line);
        c->noted = list ? list : c->noted;
        return wan_err("out of memory");
    }
    snprintf(line, n, "%s=%s", key, value ? value : "null");
    for (char *p = line; *p; p++) /* it is saved as a comment of one line */
        if ((unsigned char)*p < 32 || *p == 127)
            *p = ' ';
    c->noted = list;
    int i = c->n_noted++;
    for (; i > 0 && strcmp(list[i - 1], line) > 0; i--)
        list[i] = list[i - 1];
    list[i] = line;
    return 0;
}

static int value_set(wan_config *c, int i, const char *text, enum wan_key_source from,
                     const char *by)
{
    wan_key_value *v = &c->value[i];
    char *copy = strdup(text);
    if (!copy)
        return wan_err("out of memory");
    free(v->text);
    v->text = copy;
    v->source = from;
    v->by = by;
    const wan_key *k = wan_config_key(i);
    if (k->kind == WAN_KEY_STR)
        *(const char **)((char *)&c->v + k->offset) = copy;
    return 0;
}

/* The name as the table holds it, so that it outlives the caller's string. */
static const char *key_spelling(int i, const char *key)
{
    return strcmp(wan_config_key(i)->name, key) ? "one of its aliases" : wan_config_key(i)->name;
}

/* Back to the default, as if nobody had given it. */
static int key_reset(wan_config *c, int i)
{
    const wan_key *k = wan_config_key(i);
    if (k->kind == WAN_KEY_BETAS) {
        WAN_TRY(key_reset(c, key_find("optimizer.adam_beta1")));
        return key_reset(c, key_find("optimizer.adam_beta2"));
    }
    return k->def ? wan_config_set(c, k->name, k->def, WAN_FROM_DEFAULT) : 0;
}

int wan_config_set(wan_config *c, const char *key, const char *value, enum wan_key_source from)
{
    char text[4096] = "";
    int i = key_find(key);
    if (i < 0)
        return !value && is_section(key) ? 0 : key_unknown(key); /* null: a section without keys */
    const wan_key *k = wan_config_key(i);
    if (k->class == WAN_KEY_NOTED) {
        c->value[i].source = from;
        return noted_add(c, key, value);
    }
    const wan_key_value *old = &c->value[i];
    int again =
        old->source == from && old->text &&
        (from == WAN_FROM_YAML || (from == WAN_FROM_WORD && strcmp(old->by, key_spelling(i, key))));
    if (!value && k->kind != WAN_KEY_STR)
        return again ? 0 : key_reset(c, i); /* null under one name leaves what another one says */
    if (!value)
        value = "";
    WAN_TRY(key_store(c, i, value, key, text, sizeof text));
    if (k->kind == WAN_KEY_BETAS) {
        double ab[2] = { c->v.beta1, c->v.beta2 };
        real_text(text, sizeof text, ab[0]);
        WAN_TRY(wan_config_set(c, "optimizer.adam_beta1", text, from));
        real_text(text, sizeof text, ab[1]);
        return wan_config_set(c, "optimizer.adam_beta2", text, from);
    }
    if (again && strcmp(old->text, text))
        return wan_err("key %s = %s disagrees with %s = %s: they are one setting (%s)", key, text,
                       old->by, old->text, k->name);
    return value_set(c, i, text, from, key_spelling(i, key));
}

int wan_config_word(wan_config *c, const char *word)
{
    char key[256];
    if (*word == '~') {
        int i = key_find(word + 1);
        return i < 0 ? key_unknown(word + 1) : key_reset(c, i);
    }
    word += *word == '+';
    size_t n = strcspn(word, "=");
    if (!word[n])
        return wan_err("\"%s\" is not of the form key=value", word);
    if (n >= sizeof key)
        return wan_err("key name \"%.40s...\" is too long", word);
    memcpy(key, word, n);
    key[n] = 0;
    const char *value = word + n + 1;
    if (!strcmp(value, "null") || !strcmp(value, "None"))
        value = NULL;
    return wan_config_set(c, key, value, WAN_FROM_WORD);
}

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
        if (wan_config_key(i)->def)
            WAN_GOTO(wan_config_set(c, wan_config_key(i)->name, wan_config_key(i)->def,
                                    WAN_FROM_DEFAULT),
                     fail);
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
    for (int i = 0; c->value && i < wan_config_n_keys(); i++)
        free(c->value[i].text);
    for (int i = 0; i < c->n_noted; i++)
        free(c->noted[i]);
    free(c->noted);
    free(c->value);
    free(c);
    *pc = NULL;
}

enum wan_key_source wan_config_source(const wan_config *c, const char *key)
{
    int i = key_find(key);
    return i < 0 ? WAN_FROM_DEFAULT : c->value[i].source;
}

double wan_config_number(const wan_config *c, const char *key)
{
    int i = key_find(key);
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
    int i = key_find(key);
    return i < 0 ? "" : c->value[i].text;
}

void wan_config_fields(const wan_config *c, const wan_field *fields, void *settings, int given)
{
    for (const wan_field *f = fields; f->key; f++)
        if (!given || wan_config_source(c, f->key) != WAN_FROM_DEFAULT)
            wan_field_set(f, settings, wan_config_number(c, f->key));
}

static int derive_int(wan_config *c, const char *key, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    return wan_config_set(c, key, text, WAN_FROM_PRESET);
}

static int apply_preset(wan_config *c, const char *mode)
{
    if (c->v.preset == WAN_START_AUTO)
        WAN_TRY(wan_config_set(c, "flow.preset", mode, WAN_FROM_PRESET));
    int pretrain = c->v.preset == WAN_START_PRETRAIN;
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++)
        if (wan_config_source(c, presets[i].key) <= WAN_FROM_PRESET)
            WAN_TRY(wan_config_set(c, presets[i].key,
                                   pretrain ? presets[i].pretrain : presets[i].finetune,
                                   WAN_FROM_PRESET));
    return 0;
}

int wan_config_mock(wan_config *c)
{
    static const char *const key[3] = { "dataset.F_latents", "dataset.H_latents",
                                        "dataset.W_latents" };
    const int64_t t = c->v.mock_t, h = c->v.mock_h / 2, w = c->v.mock_w / 2, room = c->v.capacity;
    double part = cbrt((double)room / (double)(t * h * w));
    if (wan_config_source(c, "checkpoint.save") == WAN_FROM_DEFAULT)
        WAN_TRY(wan_config_set(c, "checkpoint.save", "", WAN_FROM_PRESET));
    if (wan_config_source(c, "dataset.seq_length") == WAN_FROM_DEFAULT || part >= 1)
        return 0;
    for (int i = 0; i < 3; i++)
        if (wan_config_source(c, key[i]) != WAN_FROM_DEFAULT)
            return 0;
    const int64_t full[3] = { t, h, w };
    for (int i = 0; i < 3; i++) {
        int64_t n = (int64_t)((double)full[i] * part);
        WAN_TRY(derive_int(c, key[i], (n > 0 ? n : 1) * (i ? 2 : 1)));
    }
    return 0;
}

static int check_together(const wan_train_config *v)
{
    if (v->sigma_min >= v->sigma_max)
        return wan_err("flow.sigma_min %g is not below flow.sigma_max %g", v->sigma_min,
                       v->sigma_max);
    if (v->min_lr > v->lr)
        return wan_err("optimizer.min_lr %g is above optimizer.lr %g", v->min_lr, v->lr);
    if (v->warmup_init > v->lr)
        return wan_err("scheduler.lr_warmup_init %g is above optimizer.lr %g", v->warmup_init,
                       v->lr);
    if (v->wsd_iters > v->decay_iters)
        return wan_err("scheduler.lr_wsd_decay_iters %lld exceeds scheduler.lr_decay_iters %lld",
                       (long long)v->wsd_iters, (long long)v->decay_iters);
    if (v->lr_style == WAN_LR_WSD && v->wsd_iters == 0)
        return wan_err("scheduler.lr_decay_style WSD needs scheduler.lr_wsd_decay_iters");
    if (v->cross_width && v->hidden && v->cross_width != v->hidden)
        return wan_err("model.crossattn_emb_size %lld is not model.hidden_size %lld",
                       (long long)v->cross_width, (long long)v->hidden);
    if (v->sequence_parallel && v->tp == 1)
        return wan_err("model.sequence_parallel needs model.tensor_model_parallel_size > 1");
    return 0;
}

/* Keys that only one model has name the model, where nobody does; another model refuses them. */
static int check_model(wan_config *c)
{
    int said = wan_config_source(c, "model.type") > WAN_FROM_PRESET;
    for (int i = 0; i < wan_config_n_keys(); i++) {
        const enum wan_model_type only = wan_config_key_model(i);
        if (only == WAN_MODEL_ANY || only == c->v.model_type ||
            c->value[i].source <= WAN_FROM_PRESET)
            continue;
        const char *key = wan_config_key(i)->name;
        if (said || only != WAN_MODEL_DIT)
            return wan_err("%s is no key of the model that model.type names", key);
        return wan_err("%s is a key of DFM's DiT recipe; model.type dit: not supported yet", key);
    }
    if (c->v.model_type == WAN_MODEL_DIT)
        return wan_err("model.type dit: not supported yet");
    return 0;
}

int wan_config_finish(wan_config *c, const char *mode)
{
    wan_train_config *v = &c->v;
    WAN_TRY(check_model(c));
    WAN_TRY(apply_preset(c, mode));
    if (v->min_lr < 0) {
        char text[40];
        real_text(text, sizeof text, 0.1 * v->lr);
        WAN_TRY(wan_config_set(c, "optimizer.min_lr", text, WAN_FROM_PRESET));
    }
    if (!v->decay_iters)
        WAN_TRY(derive_int(c, "scheduler.lr_decay_iters", v->train_iters));
    if (v->warmup_fraction > 0)
        WAN_TRY(derive_int(c, "scheduler.lr_warmup_iters",
                           (int64_t)llround(v->warmup_fraction * (double)v->decay_iters)));
    else if (wan_config_source(c, "scheduler.lr_warmup_iters") == WAN_FROM_DEFAULT &&
             v->warmup_iters * 5 >
                 v->decay_iters) /* the recipe's 2000 of 10000, kept in proportion */
        WAN_TRY(derive_int(c, "scheduler.lr_warmup_iters", v->decay_iters / 5));
    return check_together(v);
}

/* ---- output ---- */

static int is_print(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 32 || *text == 127)
            return 0;
    return 1;
}

/* A scalar that YAML reads back as the same string. */
static void print_scalar(FILE *f, const wan_key *k, const char *text)
{
    if (k->kind != WAN_KEY_STR) {
        fputs(text, f);
        return;
    }
    int plain = *text != 0 && !strpbrk(text, "\"'\\:#{}[],&*!|>%@`") && is_print(text) &&
                text[0] != '-' && text[0] != '?' && text[0] != ' ' &&
                text[strlen(text) - 1] != ' ' && strcmp(text, "null") && strcmp(text, "~");
    if (plain) {
        fputs(text, f);
        return;
    }
    putc('"', f);
    for (const char *p = text; *p; p++) {
        unsigned char b = (unsigned char)*p;
        if (b == '"' || b == '\\')
            putc('\\', f);
        if (b < 32 || b == 127)
            fprintf(f, "\\x%02x", b);
        else
            putc(b, f);
    }
    putc('"', f);
}

/* The section of key i's name when its value is printed, else 0 bytes. */
static size_t section_of(int i, int places)
{
    const wan_key *k = wan_config_key(i);
    int hidden = k->class == WAN_KEY_NOTED || k->kind == WAN_KEY_BETAS ||
                 (k->class == WAN_KEY_PLACE && !places);
    return hidden ? 0 : strcspn(k->name, ".") + 1;
}

/* The first key at or after i in the section of name (n bytes with the dot), or the table's end. */
static int next_in(const char *name, size_t n, int i, int places)
{
    while (i < wan_config_n_keys() &&
           (section_of(i, places) != n || memcmp(wan_config_key(i)->name, name, n)))
        i++;
    return i;
}

void wan_config_print(const wan_config *c, FILE *f, int places)
{
    for (int i = 0; i < wan_config_n_keys(); i++) {
        const char *name = wan_config_key(i)->name;
        size_t n = section_of(i, places);
        if (!n || next_in(name, n, 0, places) < i) /* a section may stand twice in the table */
            continue;
        fprintf(f, "%.*s:\n", (int)n - 1, name);
        for (int j = i; j < wan_config_n_keys(); j = next_in(name, n, j + 1, places)) {
            fprintf(f, "  %s: ", wan_config_key(j)->name + n);
            print_scalar(f, wan_config_key(j), c->value[j].text ? c->value[j].text : "");
            putc('\n', f);
        }
    }
}

void wan_config_marks(const wan_config *c, uint64_t *h)
{
    for (int i = 0; i < wan_config_n_keys(); i++) {
        h[i] = 0;
        if (wan_config_key(i)->class != WAN_KEY_USED)
            continue;
        h[i] = 14695981039346656037u; /* FNV-1a */
        for (const char *p = c->value[i].text ? c->value[i].text : ""; *p; p++)
            h[i] = (h[i] ^ (unsigned char)*p) * 1099511628211u;
    }
}

static void mdoc_range(FILE *f, const wan_key *k)
{
    static const char *const kinds[] = { "integer", "number", "boolean", "text",
                                         "word",    "pair",   "any" };
    char list[256];
    if (k->kind == WAN_KEY_ENUM) {
        word_list(k->words, list, sizeof list);
        fprintf(f, "%s", list);
    } else
        fprintf(f, "%s", kinds[k->kind]);
    if (k->def && *k->def)
        fprintf(f, "; default %s", k->def);
}

void wan_config_mdoc(FILE *f)
{
    fprintf(f, ".Bl -tag -width Ds\n");
    for (int i = 0; i < wan_config_n_keys(); i++) {
        const wan_key *k = wan_config_key(i);
        if (k->class == WAN_KEY_NOTED)
            continue;
        fprintf(f, ".It Va %s Pq ", k->name);
        mdoc_range(f, k);
        fprintf(f, "\n%s.\n", k->help);
        if (k->aliases)
            fprintf(f, "Also %s.\n", k->aliases);
    }
    fprintf(f, ".El\n.Pp\nAccepted, reported and without effect:\n.Bl -tag -width Ds -compact\n");
    for (int i = 0; i < wan_config_n_keys(); i++)
        if (wan_config_key(i)->class == WAN_KEY_NOTED)
            fprintf(f, ".It Va %s\n%s.\n", wan_config_key(i)->name, wan_config_key(i)->help);
    fprintf(f, ".El\n");
}
