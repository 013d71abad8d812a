/* SPDX-License-Identifier: Apache-2.0
 *
 * opt_complete.c - the option table as completion for bash (--help-bash) and zsh (--help-zsh).
 * Words of a value are those of its argument ("auto|cpu|cuda[:N]"); FILE, PATH and DIR are names of
 * files and folders; commands are the bare words of the synopsis.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/opt_priv.h"

typedef enum value_kind { VALUE_NONE, VALUE_ANY, VALUE_WORDS, VALUE_FILE, VALUE_DIR } value_kind;

static value_kind value_of(const wan_opt *o)
{
    if (o->kind < WAN_OPT_K_INT || o->kind > WAN_OPT_K_LIST)
        return VALUE_NONE;
    if (strchr(o->arg, '|'))
        return VALUE_WORDS;
    if (!strcmp(o->arg, "DIR"))
        return VALUE_DIR;
    return strstr(o->arg, "FILE") || strstr(o->arg, "PATH") ? VALUE_FILE : VALUE_ANY;
}

static int shown(const wan_opt *o)
{
    return o->kind != WAN_OPT_K_GROUP && o->name && (o->help || o->kind == WAN_OPT_K_ALSO);
}

static int negated(const wan_opt *o)
{
    return o->kind == WAN_OPT_K_FLAG && strncmp(o->name, "no", 2) != 0;
}

/* "a|b|c[:N]" as "a b c". */
static void words(const char *arg)
{
    for (const char *p = arg; *p; p++)
        if (*p == '|')
            putchar(' ');
        else if (*p == '[')
            p += strcspn(p, "]") - (strchr(p, ']') ? 0 : 1);
        else
            putchar(*p);
}

/* The next bare word of a synopsis, *n letters of it: "[options] import|export FROM TO | check DIR" has
 * three.  NULL: no more. */
static const char *command(const char *p, size_t *n)
{
    for (; *p; p += *n, p += strspn(p, " |")) {
        size_t k = 0;
        *n = strcspn(p, " |");
        while (k < *n && (islower((unsigned char)p[k]) || (k && p[k] == '-')))
            k++;
        if (*n && k == *n)
            return p;
    }
    return NULL;
}

static void commands(const wan_tool *t)
{
    size_t n = 0;
    const char *sep = "";
    for (const char *p = t->synopsis; (p = command(p, &n)); p += n + strspn(p + n, " |")) {
        printf("%s%.*s", sep, (int)n, p);
        sep = " ";
    }
}

static void function_name(const wan_tool *t)
{
    putchar('_');
    for (const char *p = t->name; *p; p++)
        putchar(*p == '-' ? '_' : *p);
}

/* ---- bash */

static void bash_pattern(const char *sep, const char *name)
{
    printf("%s--", sep);
    for (const char *p = name; *p; p++)
        putchar(*p == '_' ? '-' : *p);
}

/* What follows an option that takes a value. */
static void bash_value(const wan_opt *o)
{
    static const char *const how[] = {
        [VALUE_FILE] = "_wan_names -f", [VALUE_DIR] = "_wan_names -d"
    };
    value_kind v = value_of(o);
    if (v == VALUE_NONE)
        return;
    bash_pattern("    ", o->name);
    for (const wan_opt *a = o + 1; a->kind == WAN_OPT_K_ALSO; a++)
        bash_pattern("|", a->name);
    if (o->letter)
        printf("|-%c", o->letter);
    fputs(") ", stdout);
    if (v == VALUE_WORDS) {
        fputs("_wan_words '", stdout);
        words(o->arg);
        fputs("'; ", stdout);
    } else if (v != VALUE_ANY)
        printf("%s; ", how[v]);
    puts("return ;;");
}

static void bash_names(const wan_tool *t, const char *before, int (*which)(const wan_opt *))
{
    const char *sep = "";
    for (const wan_opt *o = t->opts; o->kind; o++)
        if (shown(o) && which(o)) {
            printf("%s%s%s", sep, before, o->name);
            sep = " ";
        }
}

/* Shared by all tools: each file holds it, as any of them may be the one that is loaded. */
static const char bash_head[] =
    "# The word before the cursor is $cur; an option's name may be written with '-' or '_'.\n"
    "_wan_words() { mapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$cur\"); }\n"
    "_wan_names() { compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen \"$1\" -- \"$cur\"); }\n"
    "_wan_options() {\n"
    "    local list=$1\n"
    "    case ${cur#--} in *_*) list=${list//-/_} list=${list//__/--} ;; *-*) list=${list//_/-} ;; esac\n"
    "    _wan_words \"$list\"\n"
    "}\n";

void wan_opt_bash(const wan_tool *t)
{
    printf("# bash completion of %s, made from its option table: %s --help-bash\n%s", t->name,
           t->name, bash_head);
    function_name(t);
    puts("() {\n"
         "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} commands word\n"
         "    COMPREPLY=()\n"
         "    # bash makes a word of the '=' in --name=value\n"
         "    if [ \"$cur\" = = ]; then cur=\n"
         "    elif [ \"$prev\" = = ]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
         "    case $prev in --*) prev=${prev//_/-} ;; esac\n"
         "    case $prev in");
    for (const wan_opt *o = t->opts; o->kind; o++)
        if (shown(o) && o->kind != WAN_OPT_K_ALSO)
            bash_value(o);
    fputs("    esac\n    case $cur in\n    --no[-_]*) _wan_options '", stdout);
    bash_names(t, "--no-", negated);
    fputs(
        "'; [ ${#COMPREPLY[@]} -eq 0 ] || return ;;\n    esac\n    case $cur in\n    -*) _wan_options '",
        stdout);
    bash_names(t, "--", shown);
    fputs("'; return ;;\n    esac\n    commands='", stdout);
    commands(t);
    puts("'\n"
         "    for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
         "        case \" $commands \" in *\" $word \"*) commands= ;; esac\n"
         "    done\n"
         "    if [ -n \"$commands\" ]; then _wan_words \"$commands\"; else _wan_names -f; fi\n"
         "}");
    fputs("complete -F ", stdout);
    function_name(t);
    printf(" %s\n", t->name);
}

/* ---- zsh */

/* Inside of [...] of a specification in single quotes. */
static void zsh_text(const char *s)
{
    for (; *s; s++)
        if (*s == '\'')
            fputs("'\\''", stdout);
        else {
            if (strchr("[]:\\", *s))
                putchar('\\');
            putchar(*s);
        }
}

static void zsh_value(const wan_opt *o)
{
    value_kind v = value_of(o);
    if (v == VALUE_NONE)
        return;
    putchar(':');
    zsh_text(v == VALUE_WORDS ? "one of" : o->arg);
    putchar(':');
    if (v == VALUE_WORDS) {
        putchar('(');
        words(o->arg);
        putchar(')');
    } else
        fputs(v == VALUE_FILE ? "_files" : v == VALUE_DIR ? "_files -/" : "( )", stdout);
}

/* One specification; the long name takes its value after '=' or as the next word. */
static void zsh_spec(const char *before, const char *name, const wan_opt *o)
{
    int value = value_of(o) != VALUE_NONE,
        repeats = o->kind == WAN_OPT_K_LIST || o->kind == WAN_OPT_K_COUNT;
    printf(" \\\n    '%s%s%s%s[", repeats ? "*" : "", before, name,
           value && before[1] ? "="
           : value            ? "+"
                              : "");
    zsh_text(o->help);
    putchar(']');
    zsh_value(o);
    putchar('\'');
}

void wan_opt_zsh(const wan_tool *t)
{
    const wan_opt *row = t->opts;
    size_t n;
    printf("#compdef %s\n# Made from its option table: %s --help-zsh\n_arguments -s -S", t->name,
           t->name);
    for (const wan_opt *o = t->opts; o->kind; o++) {
        char letter[2] = { o->letter, 0 };
        if (!shown(o))
            continue;
        row = o->kind == WAN_OPT_K_ALSO ? row : o;
        zsh_spec("--", o->name, row);
        if (o->letter)
            zsh_spec("-", letter, o);
        if (negated(o))
            zsh_spec("--no-", o->name, o);
    }
    fputs(" \\\n    ", stdout);
    if (command(t->synopsis, &n)) {
        fputs("'1:command:(", stdout);
        commands(t);
        fputs(")' \\\n    ", stdout);
    }
    puts("'*:file:_files'");
}
