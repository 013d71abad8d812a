/* SPDX-License-Identifier: Apache-2.0
 *
 * opt_help.c - the option table as help text and as a man page section.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/opt_priv.h"

enum { VERSION_LINES = 32 };
static const char *(*version_line[VERSION_LINES])(void);
static int version_lines;

void wan_version_add(const char *(*line)(void))
{
    if (version_lines < VERSION_LINES)
        version_line[version_lines++] = line;
}

void wan_opt_version(const wan_tool *t)
{
    printf("%s %s\n%s\n", t->name, wan_version(), wan_version_build());
    for (int i = 0; i < version_lines; i++)
        puts(version_line[i]());
}

/* The default is whatever the destination holds now, so help cannot lie. */
static void default_of(char *out, size_t n, const wan_opt *o)
{
    const char *s;
    out[0] = '\0';
    switch (o->kind) {
    case WAN_OPT_K_INT: snprintf(out, n, "%lld", (long long)*(int64_t *)o->dst); break;
    case WAN_OPT_K_SIZE: {
        int64_t v = *(int64_t *)o->dst;
        static const char unit[] = " KMGT";
        int u = 0;
        while (v && v % 1024 == 0 && u < 4) {
            v /= 1024;
            u++;
        }
        snprintf(out, n, u ? "%lld%c" : "%lld", (long long)v, unit[u]);
        break;
    }
    case WAN_OPT_K_REAL: snprintf(out, n, "%g", *(double *)o->dst); break;
    case WAN_OPT_K_STR:
    case WAN_OPT_K_ENUM:
        s = *(const char **)o->dst;
        if (s)
            snprintf(out, n, "%s", *s ? s : "\"\"");
        break;
    case WAN_OPT_K_FLAG:
        if (*(int *)o->dst == 1)
            snprintf(out, n, "on");
        break;
    default: break;
    }
}

/* Writes text wrapped at 80 columns, continuation lines indented. */
static void wrap(const char *text, int column, int indent)
{
    while (*text) {
        size_t n = strcspn(text, " ");
        if (column + 1 + (int)n > 80 && column > indent) {
            printf("\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            putchar(' ');
            column++;
        }
        printf("%.*s", (int)n, text);
        column += (int)n;
        text += n;
        text += strspn(text, " ");
    }
    putchar('\n');
}

static void help_row(const wan_opt *o)
{
    enum { INDENT = 30 };
    char left[80], def[128], text[640];
    int n = o->letter ? snprintf(left, sizeof left, "  -%c, --%s", o->letter, o->name)
                      : snprintf(left, sizeof left, "      --%s", o->name);
    if (o->arg)
        snprintf(left + n, sizeof left - (size_t)n, o->kind == WAN_OPT_K_LIST ? " %s..." : " %s",
                 o->arg);
    default_of(def, sizeof def, o);
    n = snprintf(text, sizeof text, "%s", o->help);
    for (const wan_opt *a = o + 1; a->kind == WAN_OPT_K_ALSO && n < (int)sizeof text; a++)
        n += snprintf(text + n, sizeof text - (size_t)n, "; also --%s", a->name);
    if (def[0] && n < (int)sizeof text)
        snprintf(text + n, sizeof text - (size_t)n, " [%s]", def);
    int col = printf("%s", left);
    if (col > INDENT - 2)
        col = printf("\n%*s", INDENT, "") - 1;
    else
        col += printf("%*s", INDENT - col, "");
    wrap(text, INDENT, INDENT);
}

void wan_opt_help(const wan_tool *t)
{
    printf("usage: %s %s\n%s.\n", t->name, t->synopsis, t->summary);
    for (const wan_opt *o = t->opts; o->kind; o++) {
        if (o->kind == WAN_OPT_K_GROUP)
            printf("\n%s:\n", o->help);
        else if (o->help)
            help_row(o);
    }
    printf("\nOptions may be written with '-' or '_'. Details: man %s\n", t->name);
}

/* mdoc: a leading '.' or '\'' would be a macro, '\\' an escape. */
static void mdoc_text(const char *s)
{
    if (*s == '.' || *s == '\'')
        fputs("\\&", stdout);
    for (; *s; s++)
        if (*s == '\\')
            fputs("\\e", stdout);
        else
            putchar(*s);
}

static void mdoc_row(const wan_opt *o)
{
    char def[128];
    fputs(".It ", stdout);
    if (o->letter)
        printf("Fl %c , ", o->letter);
    printf("Fl Fl %s", o->name);
    if (o->arg)
        printf(" Ar %s%s", o->arg, o->kind == WAN_OPT_K_LIST ? " ..." : "");
    putchar('\n');
    mdoc_text(o->help);
    puts(".");
    default_of(def, sizeof def, o);
    if (def[0])
        printf("Default: %s.\n", def);
    for (const wan_opt *a = o + 1; a->kind == WAN_OPT_K_ALSO; a++)
        printf("Also\n.Fl Fl %s .\n", a->name);
}

void wan_opt_mdoc(const wan_tool *t)
{
    int open = 0;
    for (const wan_opt *o = t->opts; o->kind; o++) {
        if (o->kind == WAN_OPT_K_GROUP) {
            if (open)
                puts(".El");
            printf(".Ss %s\n.Bl -tag -width Ds\n", o->help);
            open = 1;
        } else if (o->help) {
            if (!open)
                puts(".Bl -tag -width Ds");
            open = 1;
            mdoc_row(o);
        }
    }
    if (open)
        puts(".El");
}
