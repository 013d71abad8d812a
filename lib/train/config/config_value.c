/* SPDX-License-Identifier: Apache-2.0
 *
 * config_value.c - values out of text: numbers and booleans as YAML 1.1 has them, words, pairs.
 */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/opt.h"
#include "lib/train/config/config_priv.h"

void wan_config_real_text(char *s, size_t size, double x)
{
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(s, size, "%.*g", digits, x);
        if (strtod(s, NULL) == x)
            return;
    }
}

/* ---- numbers ---- */

/* Copies value without the underscores between its digits. */
static int strip(char *out, size_t size, const char *value, const char *what)
{
    size_t n = 0;
    for (const char *p = value; *p; p++) {
        if (*p == '_' && p > value && isalnum((unsigned char)p[-1]) && isalnum((unsigned char)p[1]))
            continue;
        if (n + 1 >= size)
            return wan_err("key %s: \"%.20s...\" is no number", what, value);
        out[n++] = *p;
    }
    out[n] = 0;
    return 0;
}

static int is_real(const char *s)
{
    s += *s == '+' || *s == '-';
    return isdigit((unsigned char)*s) || (*s == '.' && isdigit((unsigned char)s[1]))
               ? strspn(s, "0123456789.eE+-") == strlen(s)
               : 0;
}

/* 0x1f and 0b11, and in a file also the octal 017. */
static int based(int64_t *out, const char *s, enum wan_value_kind kind, const char *what)
{
    const char *digits = s + (*s == '+' || *s == '-');
    int base = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X')   ? 16
               : digits[0] == '0' && (digits[1] == 'b' || digits[1] == 'B') ? 2
               : digits[0] == '0' && isdigit((unsigned char)digits[1])      ? 8
                                                                            : 10;
    char *end;
    if (base == 10)
        return 0;
    if (base == 8 && kind != WAN_VALUE_PLAIN)
        return wan_err("key %s: \"%s\" is an octal number in YAML: write it without leading zeros",
                       what, s);
    digits += base == 8 ? 1 : 2;
    errno = 0;
    long long v = isxdigit((unsigned char)*digits) ? strtoll(digits, &end, base) : -1;
    if (v < 0 || *end || errno)
        return wan_err("key %s: \"%s\" is no number", what, s);
    *out = *s == '-' ? -v : v;
    return 1;
}

static int parse_int(int64_t *out, const wan_key *k, const char *value, enum wan_value_kind kind,
                     const char *what)
{
    char s[64];
    int64_t n = 0;
    WAN_TRY(strip(s, sizeof s, value, what));
    double x = is_real(s) && strpbrk(s, ".eE") ? strtod(s, NULL) : NAN;
    int rc = based(&n, s, kind, what);
    if (rc == 0 && x == floor(x) && fabs(x) < 9e15) /* 1e6 is how people write step counts */
        n = (int64_t)x;
    else if (rc == 0)
        return wan_parse_int(out, s, (int64_t)k->lo, (int64_t)k->hi, what);
    if (rc < 0)
        return -1;
    if ((double)n < k->lo || (double)n > k->hi)
        return wan_err("key %s: %s is not within [%.15g, %.15g]", what, value, k->lo, k->hi);
    *out = n;
    return 0;
}

static int parse_real(double *out, const wan_key *k, const char *value, const char *what)
{
    char s[64];
    WAN_TRY(strip(s, sizeof s, value, what));
    if (!is_real(s))
        return wan_err("key %s: \"%s\" is not a number from %g to %g", what, value, k->lo, k->hi);
    return wan_parse_real(out, s, k->lo, k->hi, what);
}

/* Two numbers in brackets or without. */
int wan_config_parse_betas(double out[2], const char *value, const char *what)
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

/* ---- words ---- */

static int truth_of(const char *value)
{
    static const char *const words[] = { "false", "no", "off", "0", "true", "yes", "on", "1" };
    for (int i = 0; i < 8; i++)
        if (!strcasecmp(value, words[i]))
            return i >= 4;
    return -1;
}

static int parse_bool(int *out, const char *value, const char *what)
{
    int truth = truth_of(value);
    if (truth < 0)
        return wan_err("key %s: \"%s\" is neither true nor false", what, value);
    *out = truth;
    return 0;
}

/* The word's row; where the list knows true and false, also YAML's other names for them. */
static const wan_word *find_word(const wan_word *words, const char *value)
{
    int truth = truth_of(value);
    for (const wan_word *w = words; w->name; w++)
        if (!strcasecmp(value, w->name) || (truth >= 0 && truth_of(w->name) == truth))
            return w;
    return NULL;
}

/* The first name of a value: the canonical one. */
static const char *word_name(const wan_word *words, int value)
{
    while (words->value != value)
        words++;
    return words->name;
}

void wan_config_word_list(const wan_word *words, char *out, size_t size)
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
    wan_config_word_list(words, list, sizeof list);
    return wan_err("key %s: \"%s\" is not one of %s", what, value, list);
}

int wan_config_accepts(const wan_key *k, const char *value)
{
    size_t n = strlen(value);
    for (const char *p = k->only; p && *p;) {
        char word[128];
        size_t len = strcspn(p, " ");
        snprintf(word, sizeof word, "%.*s", (int)len, p);
        int any = *word == '*', truth = truth_of(word);
        if (!strcasecmp(word, value) || (truth >= 0 && truth == truth_of(value)) ||
            (any && n >= len - 1 && !strcmp(value + n - (len - 1), word + 1)))
            return 1;
        p += len + (p[len] == ' ');
    }
    return !k->only;
}

/* ---- text ---- */

int wan_config_utf8(const char *s, uint32_t *code)
{
    const unsigned char *u = (const unsigned char *)s;
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    int n = u[0] < 0x80   ? 1
            : u[0] < 0xc2 ? 0
            : u[0] < 0xe0 ? 2
            : u[0] < 0xf0 ? 3
            : u[0] < 0xf5 ? 4
                          : 0;
    *code = n == 1 ? u[0] : n ? u[0] & (0x7fu >> n) : 0;
    for (int i = 1; i < n; i++) {
        if ((u[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (u[i] & 0x3fu);
    }
    return *code < least[n] || *code > 0x10ffff || (*code >= 0xd800 && *code < 0xe000) ? 0 : n;
}

static int parse_text(const wan_key *k, const char *value, enum wan_value_kind kind,
                      const char *what, char *text, size_t size)
{
    if (kind == WAN_VALUE_LIST && !k->list)
        return wan_err("key %s: a list stands where a text belongs", what);
    if (kind == WAN_VALUE_PLAIN && truth_of(value) >= 0 && !isdigit((unsigned char)*value))
        return wan_err("key %s: %s is a boolean where a text belongs; quotes make it one", what,
                       value);
    if (strlen(value) >= size)
        return wan_err("key %s: longer than %zu bytes", what, size - 1);
    snprintf(text, size, "%s", value);
    return 0;
}

int wan_config_parse(const wan_key *k, void *at, const char *value, enum wan_value_kind kind,
                     const char *what, char *text, size_t size)
{
    switch (k->kind) {
    case WAN_KEY_INT:
        WAN_TRY(parse_int(at, k, value, kind, what));
        snprintf(text, size, "%lld", (long long)*(int64_t *)at);
        return 0;
    case WAN_KEY_REAL:
        WAN_TRY(parse_real(at, k, value, what));
        wan_config_real_text(text, size, *(double *)at);
        return 0;
    case WAN_KEY_BOOL:
        WAN_TRY(parse_bool(at, value, what));
        snprintf(text, size, "%s", *(int *)at ? "true" : "false");
        return 0;
    case WAN_KEY_ENUM:
        WAN_TRY(parse_enum(at, k->words, value, what));
        snprintf(text, size, "%s", word_name(k->words, *(int *)at));
        return 0;
    case WAN_KEY_STR: return parse_text(k, value, kind, what, text, size);
    case WAN_KEY_BETAS:
    case WAN_KEY_ANY: break;
    }
    WAN_BUG("key %s has no value of its own", k->name);
}
