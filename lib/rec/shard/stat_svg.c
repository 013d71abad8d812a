/* SPDX-License-Identifier: Apache-2.0
 *
 * stat_svg.c - bars and lines.
 */
#include "lib/rec/shard/stat_svg.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"

enum { WIDE = 300, TALL = 130, LEFT = 20, HEAD = 70, MOST = 4096 /* lines of one kind */ };

/* A line of the table; its texts point into it. */
typedef struct row {
    const char *part, *what, *of, *value;
    double count;
} row;

typedef struct table {
    row *v;
    size_t n;
} table;

static char *cell(char **at, char end)
{
    char *from = *at, *stop = strchr(from, end);
    *at = stop ? stop + 1 : from + strlen(from);
    if (stop)
        *stop = 0;
    return from;
}

static int parse(table *t, char *tsv)
{
    size_t lines = 1;
    for (const char *p = tsv; *p; p++)
        lines += *p == '\n';
    t->v = wan_calloc(lines, sizeof *t->v, "statistics");
    if (!t->v)
        return -1;
    (void)cell(&tsv, '\n');
    for (; *tsv; t->n++) {
        char *line = cell(&tsv, '\n');
        t->v[t->n].part = cell(&line, '\t');
        t->v[t->n].what = cell(&line, '\t');
        t->v[t->n].of = cell(&line, '\t');
        t->v[t->n].value = cell(&line, '\t');
        t->v[t->n].count = strtod(line, NULL);
    }
    return 0;
}

/* Rows of a part of that kind; *most is the largest count. */
static size_t of_kind(const table *t, const char *part, const char *what, const row **v,
                      double *most)
{
    size_t n = 0;
    *most = 0;
    for (size_t i = 0; i < t->n && n < MOST; i++)
        if (!strcmp(t->v[i].part, part) && !strcmp(t->v[i].what, what)) {
            v[n++] = &t->v[i];
            if (t->v[i].count > *most)
                *most = t->v[i].count;
        }
    return n;
}

static void put_text(FILE *f, const char *s)
{
    for (; *s; s++)
        fprintf(f, *s == '&' ? "&amp;" : *s == '<' ? "&lt;" : "%c", *s);
}

/* A bar for each row, with its name below while there is room. */
static void bars(FILE *f, const row *const *v, size_t n, double most, const char *title, double x,
                 double y)
{
    double w = (double)(WIDE - 2 * LEFT) / (double)(n ? n : 1);
    fprintf(f, "<text class=\"t\" x=\"%g\" y=\"%g\">%s</text>\n", x, y - 8, title);
    for (size_t i = 0; i < n; i++) {
        double h = most > 0 ? v[i]->count / most * (TALL - 45) : 0, left = x + (double)i * w;
        fprintf(f,
                "<rect class=\"b\" x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\"><title>%s: "
                "%.0f</title></rect>\n",
                left, y + TALL - 30 - h, w * 0.9, h, v[i]->of, v[i]->count);
        if (i % (1 + n / 5) == 0)
            fprintf(f, "<text x=\"%.2f\" y=\"%.2f\">%s</text>\n", left, y + TALL - 15, v[i]->of);
        if (n <= 10)
            fprintf(f, "<text x=\"%.2f\" y=\"%.2f\">%.0f</text>\n", left, y + TALL - 33 - h,
                    v[i]->count);
    }
}

static double at(double value, double y)
{
    double v = value < -3 ? -3 : value > 3 ? 3 : value;
    return y + (TALL - 30) / 2.0 - v / 6 * (TALL - 30);
}

/* For each channel its mean, and a line as far as its deviation goes on both sides. */
static void channels(FILE *f, const row *const *mean, const row *const *std, size_t n, double x,
                     double y)
{
    double w = (double)(WIDE - 2 * LEFT) / (double)(n ? n : 1);
    fprintf(f, "<text class=\"t\" x=\"%g\" y=\"%g\">mean and deviation of each channel</text>\n", x,
            y - 8);
    for (int v = -3; v <= 3; v++)
        fprintf(f,
                "<line class=\"%s\" x1=\"%g\" x2=\"%g\" y1=\"%.2f\" y2=\"%.2f\"/><text x=\"%g\" "
                "y=\"%.2f\">%d</text>\n",
                v ? "g" : "z", x, x + WIDE - 2 * LEFT, at(v, y), at(v, y), x - 16, at(v, y) + 3, v);
    for (size_t i = 0; i < n; i++) {
        double m = strtod(mean[i]->value, NULL), s = strtod(std[i]->value, NULL),
               cx = x + ((double)i + 0.5) * w;
        fprintf(f,
                "<line class=\"s\" x1=\"%.2f\" x2=\"%.2f\" y1=\"%.2f\" y2=\"%.2f\"/><circle "
                "class=\"b\" cx=\"%.2f\" cy=\"%.2f\" r=\"3\"><title>%s: %s, %s</title></circle>\n",
                cx, cx, at(m - s, y), at(m + s, y), cx, at(m, y), mean[i]->of, mean[i]->value,
                std[i]->value);
    }
}

static int draw_part(FILE *f, const table *t, const char *part, double y)
{
    static const char *const what[] = { "latent", "frames", "text" };
    static const char *const title[] = { "latents, C x T' x h x w", "frames", "rows of text" };
    const row **v = wan_calloc(2 * MOST, sizeof *v, "statistics");
    double most;
    if (!v)
        return -1;
    (void)of_kind(t, part, "samples", v, &most);
    fprintf(f, "<text class=\"h\" x=\"%d\" y=\"%g\">", LEFT, y - 30);
    put_text(f, part);
    fprintf(f, ": %.0f samples</text>\n", most);
    for (int i = 0; i < 3; i++) {
        size_t n = of_kind(t, part, what[i], v, &most);
        bars(f, v, n, most, title[i], LEFT + i * WIDE, y);
    }
    size_t n = of_kind(t, part, "mean", v, &most), m = of_kind(t, part, "std", v + MOST, &most);
    channels(f, v, v + MOST, n < m ? n : m, LEFT + 3 * WIDE + 16, y);
    free(v);
    return 0;
}

int wan_stat_svg(FILE *out, char *tsv, const char *title)
{
    table t = { 0 };
    int rows = 0, rc = parse(&t, tsv);
    for (size_t i = 0; rc == 0 && i < t.n; i++)
        rows += !strcmp(t.v[i].what, "samples");
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
            "font-family=\"sans-serif\" font-size=\"10\">\n<style>.b { fill: #4a7ab0 } .s { "
            "stroke: #4a7ab0; stroke-width: 2 } .g { stroke: #ddd } .z { stroke: #888 } .t { "
            "font-size: 12px } .h { font-size: 16px; font-weight: bold }</style>\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/><title>",
            4 * WIDE + LEFT, HEAD + rows * (TALL + 60));
    put_text(out, title);
    fputs("</title>\n", out);
    double y = HEAD;
    for (size_t i = 0; rc == 0 && i < t.n; i++)
        if (!strcmp(t.v[i].what, "samples")) {
            rc = draw_part(out, &t, t.v[i].part, y);
            y += TALL + 60;
        }
    fputs("</svg>\n", out);
    free(t.v);
    return rc < 0 ? -1 : ferror(out) ? wan_err_errno("cannot write") : 0;
}
