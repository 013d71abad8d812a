/* SPDX-License-Identifier: Apache-2.0
 *
 * opt.c - parsing of the option table.  Printing is in opt_help.c and opt_complete.c.
 */
#include "lib/base/opt.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/opt_priv.h"

int wan_opt_quiet, wan_opt_verbose, wan_opt_progress = -1;

int wan_parse_int(int64_t *out, const char *s, int64_t lo, int64_t hi, const char *what)
{
    char *end;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    if (end == s || *end || errno || v < lo || v > hi)
        return wan_err("%s: \"%s\" is not an integer from %lld to %lld", what, s, (long long)lo,
                       (long long)hi);
    *out = v;
    return 0;
}

int wan_parse_real(double *out, const char *s, double lo, double hi, const char *what)
{
    char *end;
    errno = 0;
    double v = strtod(s, &end);
    if (end == s || *end || strpbrk(s, "xX") || !isfinite(v) || v < lo || v > hi)
        return wan_err("%s: \"%s\" is not a number from %g to %g", what, s, lo, hi);
    *out = v;
    return 0;
}

static int parse_size(int64_t *out, const char *s, double lo, double hi, const char *what)
{
    static const char suffix[] = "KMGT";
    char *end;
    errno = 0;
    double v = strtod(s, &end);
    int letter = toupper((unsigned char)*end);
    const char *u = letter ? strchr(suffix, letter) : NULL;
    if (u) {
        v *= pow(1024, (double)(u - suffix + 1));
        end++;
    }
    if (end == s || *end || strpbrk(s, "xX") || !(v >= lo && v <= hi))
        return wan_err("%s: \"%s\" is not a size from %.0f to %.0f bytes", what, s, lo, hi);
    *out = (int64_t)v;
    return 0;
}

/* Levenshtein distance, cut off where it no longer matters. */
int wan_opt_distance(const char *a, const char *b)
{
    enum { MAX = 63 };
    int row[MAX + 1];
    int na = (int)strlen(a), nb = (int)strlen(b);
    if (na > MAX || nb > MAX)
        return MAX;
    for (int j = 0; j <= nb; j++)
        row[j] = j;
    for (int i = 1; i <= na; i++) {
        int diag = row[0];
        row[0] = i;
        for (int j = 1; j <= nb; j++) {
            int d = diag + (a[i - 1] != b[j - 1]);
            diag = row[j];
            if (row[j] + 1 < d)
                d = row[j] + 1;
            if (row[j - 1] + 1 < d)
                d = row[j - 1] + 1;
            row[j] = d;
        }
    }
    return row[nb];
}

const char *wan_nearest(const char *word, const char *const *names, size_t n)
{
    const char *best = NULL;
    int least = 4;
    for (size_t i = 0; i < n; i++) {
        int d = wan_opt_distance(word, names[i]);
        if (d < least) {
            least = d;
            best = names[i];
        }
    }
    return best;
}

/* '_' and '-' are the same letter in an option name. */
static int same_name(const char *name, const char *word, size_t n)
{
    if (strlen(name) != n)
        return 0;
    for (size_t i = 0; i < n; i++)
        if ((name[i] == '_' ? '-' : name[i]) != (word[i] == '_' ? '-' : word[i]))
            return 0;
    return 1;
}

static const wan_opt *find_long(const wan_tool *t, const char *word, size_t n)
{
    const wan_opt *row = t->opts;
    for (const wan_opt *o = t->opts; o->kind; o++) {
        if (o->kind != WAN_OPT_K_ALSO)
            row = o;
        if (o->name && same_name(o->name, word, n))
            return row;
    }
    return NULL;
}

static const wan_opt *find_letter(const wan_tool *t, char c)
{
    for (const wan_opt *o = t->opts; o->kind; o++)
        if (o->letter == c && c)
            return o;
    return NULL;
}

static void unknown(const wan_tool *t, const char *word)
{
    const char *names[256];
    size_t n = 0;
    for (const wan_opt *o = t->opts; o->kind && n < 256; o++)
        if (o->name && o->kind != WAN_OPT_K_ELSEWHERE)
            names[n++] = o->name;
    const char *near = word[0] == '-' && word[1] == '-' ? wan_nearest(word + 2, names, n) : NULL;
    if (near)
        wan_err("unknown option %s; did you mean --%s?", word, near);
    else
        wan_err("unknown option %s", word);
    wan_die_usage();
}

static int one_of(const char *words, const char *value)
{
    size_t n = strlen(value);
    for (const char *p = words; p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
        if (!strncmp(p, value, n) && (p[n] == '|' || !p[n]))
            return 1;
    return 0;
}

static int list_add(wan_strlist *l, const char *value)
{
    const char **v = realloc(l->v, (l->n + 1) * sizeof *v);
    if (!v)
        return wan_err("out of memory");
    l->v = v;
    l->v[l->n++] = value;
    return 0;
}

static int set_value(const wan_opt *o, const char *value)
{
    char what[80];
    snprintf(what, sizeof what, "--%s", o->name);
    switch (o->kind) {
    case WAN_OPT_K_INT: return wan_parse_int(o->dst, value, (int64_t)o->lo, (int64_t)o->hi, what);
    case WAN_OPT_K_REAL: return wan_parse_real(o->dst, value, o->lo, o->hi, what);
    case WAN_OPT_K_SIZE: return parse_size(o->dst, value, o->lo, o->hi, what);
    case WAN_OPT_K_LIST: return list_add(o->dst, value);
    case WAN_OPT_K_ENUM:
        if (!one_of(o->arg, value))
            return wan_err("%s: \"%s\" is none of %s", what, value, o->arg);
        /* fallthrough */
    case WAN_OPT_K_STR: *(const char **)o->dst = value; return 0;
    default: WAN_BUG("option %s takes no value", o->name);
    }
}

static int takes_value(const wan_opt *o)
{
    return o->kind >= WAN_OPT_K_INT && o->kind <= WAN_OPT_K_LIST;
}

/* The text asked for is out, or that is the error. */
static void __attribute__((noreturn)) printed(void)
{
    if (wan_out_close_stdout() < 0)
        wan_die();
    exit(WAN_EXIT_DONE);
}

static void act(const wan_tool *t, const wan_opt *o, int on)
{
    switch (o->kind) {
    case WAN_OPT_K_FLAG: *(int *)o->dst = on; break;
    case WAN_OPT_K_COUNT: *(int *)o->dst = on ? *(int *)o->dst + 1 : 0; break;
    case WAN_OPT_K_HELP: wan_opt_help(t); printed();
    case WAN_OPT_K_VERSION: wan_opt_version(t); printed();
    case WAN_OPT_K_MDOC: wan_opt_mdoc(t); printed();
    case WAN_OPT_K_BASH: wan_opt_bash(t); printed();
    case WAN_OPT_K_ZSH: wan_opt_zsh(t); printed();
    default: break;
    }
}

/* A word that cannot be an option: not starting with '-', or a negative number, or "-" itself. */
static int is_operand(const char *w)
{
    return w[0] != '-' || !w[1] || (w[1] >= '0' && w[1] <= '9') || w[1] == '.';
}

static const char *next_word(int argc, char **argv, int *i, const char *opt)
{
    if (*i + 1 >= argc) {
        wan_err("option %s needs a value", opt);
        wan_die_usage();
    }
    return argv[++*i];
}

static void must(int rc)
{
    if (rc < 0)
        wan_die_usage();
}

/* true and false, in any letters; 0 when it is neither. */
static int truth_word(const char *w, int *truth)
{
    *truth = !strcasecmp(w, "true");
    return *truth || !strcasecmp(w, "false");
}

/* The words that follow the first of a list. */
static void list_rest(const wan_opt *o, int argc, char **argv, int *i)
{
    while (o->kind == WAN_OPT_K_LIST && *i + 1 < argc && is_operand(argv[*i + 1]))
        must(set_value(o, argv[++*i]));
}

/* An option without a value; a flag takes True and False, as Python's scripts have it. */
static void parse_bare(const wan_tool *t, const wan_opt *o, int on, const char *value, int argc,
                       char **argv, int *i)
{
    int truth = 1, flag = o->kind == WAN_OPT_K_FLAG;
    if (value && !(flag && truth_word(value, &truth))) {
        wan_err(flag ? "option --%s is true or false" : "option --%s takes no value", o->name);
        wan_die_usage();
    }
    if (!value && flag && *i + 1 < argc && truth_word(argv[*i + 1], &truth))
        ++*i;
    else if (!value)
        truth = 1;
    act(t, o, on ? truth : !truth);
}

static void parse_long(const wan_tool *t, int argc, char **argv, int *i)
{
    char *word = argv[*i];
    const char *eq = strchr(word, '=');
    size_t n = eq ? (size_t)(eq - word - 2) : strlen(word + 2);
    const wan_opt *o = find_long(t, word + 2, n);
    int on = 1;
    if (!o && n > 3 && !strncmp(word + 2, "no-", 3)) {
        o = find_long(t, word + 5, n - 3);
        on = 0;
        if (o && takes_value(o))
            o = NULL;
    }
    if (!o)
        unknown(t, word);
    if (o->kind == WAN_OPT_K_ELSEWHERE) {
        wan_err("--%s: %s", o->name, o->arg);
        wan_die_usage();
    }
    if (!takes_value(o)) {
        parse_bare(t, o, on, eq ? eq + 1 : NULL, argc, argv, i);
        return;
    }
    must(set_value(o, eq ? eq + 1 : next_word(argc, argv, i, word)));
    if (!eq)
        list_rest(o, argc, argv, i);
}

static void parse_short(const wan_tool *t, int argc, char **argv, int *i)
{
    for (const char *p = argv[*i] + 1; *p; p++) {
        char name[3] = { '-', *p, 0 };
        const wan_opt *o = find_letter(t, *p);
        if (!o)
            unknown(t, name);
        if (takes_value(o)) {
            must(set_value(o, p[1] ? p + 1 : next_word(argc, argv, i, name)));
            if (!p[1])
                list_rest(o, argc, argv, i);
            return;
        }
        act(t, o, 1);
    }
}

int wan_opt_parse(const wan_tool *tool, int argc, char **argv)
{
    char **rest = wan_calloc((size_t)argc + 1, sizeof *rest, "operands");
    int n = 0, i;
    wan_file_reserve();
    wan_log_init(tool->name, 1);
    if (!rest)
        wan_die();
    for (i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--")) {
            for (i++; i < argc; i++)
                rest[n++] = argv[i];
        } else if (argv[i][0] == '-' && argv[i][1] == '-')
            parse_long(tool, argc, argv, &i);
        else if (argv[i][0] == '-' && argv[i][1])
            parse_short(tool, argc, argv, &i);
        else
            rest[n++] = argv[i];
    }
    memcpy(argv + argc - n, rest, (size_t)n * sizeof *rest);
    free(rest);
    wan_log_init(tool->name, wan_opt_quiet ? 0 : 1 + wan_opt_verbose);
    wan_progress_mode(wan_opt_progress);
    return argc - n;
}
