/* SPDX-License-Identifier: Apache-2.0
 *
 * plot.c - see plot.h.
 */
#include "lib/media/plot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/ends.h"
#include "lib/base/out.h"
#include "lib/media/plot_late.h"

#define lib wan_plot_late

enum { LEFT = 80, RIGHT = 20, TOP = 44, BOTTOM = 56, MOST_TICKS = 64 };

/* Colours that people of every kind of sight tell apart (M. Okabe, K. Ito, Color Universal Design). */
static const double colours[][3] = { { 0.00, 0.45, 0.70 }, { 0.84, 0.37, 0.00 },
                                     { 0.00, 0.62, 0.45 }, { 0.80, 0.47, 0.65 },
                                     { 0.90, 0.62, 0.00 }, { 0.34, 0.71, 0.91 },
                                     { 0.00, 0.00, 0.00 }, { 0.60, 0.60, 0.60 } };
enum { COLOURS = sizeof colours / sizeof *colours };

/* One axis: where its values lie on the page. */
typedef struct axis {
    double lo, hi; /* in log10 where log */
    double from, to;
    int log;
    double tick[MOST_TICKS];
    int ticks;
} axis;

typedef struct page {
    const wan_plot *p;
    cairo_t *c;
    axis x, y;
} page;

/* ---- axes */

static double place(const axis *a, double v)
{
    double u = a->log ? log10(v) : v;
    return a->from + (u - a->lo) / (a->hi - a->lo) * (a->to - a->from);
}

static int visible(const wan_plot *p, double y)
{
    return y - y == 0 && (!p->log_y || y > 0);
}

/* The largest of 1, 2, 5 times a power of ten that is not beyond x. */
static double round_step(double x)
{
    double unit = pow(10, floor(log10(x))), f = x / unit * (1 + 1e-9);
    return unit * (f >= 5 ? 5 : f >= 2 ? 2 : 1);
}

static void linear_ticks(axis *a, int wanted)
{
    double step = round_step((a->hi - a->lo) / wanted);
    for (double v = ceil(a->lo / step - 1e-9) * step; v <= a->hi + step * 1e-9; v += step)
        if (a->ticks < MOST_TICKS)
            a->tick[a->ticks++] = fabs(v) < step * 1e-6 ? 0 : v;
}

/* 1, 2 and 5 in each power of ten; where that is fewer than two, as on a line. */
static void log_ticks(axis *a)
{
    static const double steps[] = { 1, 2, 5 };
    for (int k = (int)floor(a->lo); k <= (int)ceil(a->hi); k++)
        for (int i = 0; i < 3; i++) {
            double v = steps[i] * pow(10, k), u = log10(v);
            if (u >= a->lo && u <= a->hi && a->ticks < MOST_TICKS)
                a->tick[a->ticks++] = v;
        }
    if (a->ticks >= 2)
        return;
    axis flat = { .lo = pow(10, a->lo), .hi = pow(10, a->hi) };
    linear_ticks(&flat, 5);
    memcpy(a->tick, flat.tick, sizeof a->tick);
    a->ticks = flat.ticks;
}

static void widen(axis *a, double v)
{
    double u = a->log ? log10(v) : v;
    a->lo = fmin(a->lo, u);
    a->hi = fmax(a->hi, u);
}

/* Some room beyond the values; one value alone gets a range of its own. */
static void settle(axis *a, double part)
{
    double span = a->hi - a->lo;
    if (!(span > 0))
        span = a->log ? 1 : fabs(a->hi) > 0 ? fabs(a->hi) : 1, part = 0.5;
    a->lo -= part * span;
    a->hi += part * span;
}

static int measure(page *g)
{
    const wan_plot *p = g->p;
    g->x = (axis){ .lo = INFINITY, .hi = -INFINITY, .from = LEFT, .to = p->width - RIGHT };
    g->y = (axis){
        .lo = INFINITY, .hi = -INFINITY, .from = p->height - BOTTOM, .to = TOP, .log = p->log_y
    };
    for (int k = 0; k < p->n; k++)
        for (size_t i = 0; i < p->line[k].n; i++)
            if (visible(p, p->line[k].y[i])) {
                widen(&g->x, p->line[k].x[i]);
                widen(&g->y, p->line[k].y[i]);
            }
    if (!(g->x.lo <= g->x.hi))
        return wan_err("no value that can be drawn");
    settle(&g->x, 0);
    settle(&g->y, 0.04);
    linear_ticks(&g->x, 8);
    if (p->log_y)
        log_ticks(&g->y);
    else
        linear_ticks(&g->y, 6);
    return 0;
}

/* ---- text */

enum anchor { AT_LEFT, AT_CENTRE, AT_RIGHT };

/* Text whose first line is centred on y; turned: upwards, centred on (x, y). */
static void put_text(cairo_t *c, double x, double y, enum anchor where, int turned, const char *s)
{
    PangoLayout *l = lib.pango_cairo_create_layout(c);
    PangoFontDescription *f = lib.pango_font_description_from_string("Sans 10");
    int w, h;
    lib.pango_layout_set_font_description(l, f);
    lib.pango_layout_set_text(l, s, -1);
    lib.pango_layout_get_pixel_size(l, &w, &h);
    lib.cairo_save(c);
    lib.cairo_translate(c, x, y);
    if (turned)
        lib.cairo_rotate(c, -acos(-1) / 2);
    lib.cairo_move_to(c, where == AT_LEFT ? 0 : where == AT_CENTRE ? -w / 2.0 : -w, -h / 2.0);
    lib.pango_cairo_show_layout(c, l);
    lib.cairo_restore(c);
    lib.pango_font_description_free(f);
    lib.g_object_unref(l);
}

/* ---- what is drawn */

static void draw_axes(const page *g)
{
    const wan_plot *p = g->p;
    cairo_t *c = g->c;
    char s[32];
    lib.cairo_set_line_width(c, 1);
    for (int i = 0; i < g->x.ticks + g->y.ticks; i++) {
        int across = i < g->x.ticks;
        double v = across ? g->x.tick[i] : g->y.tick[i - g->x.ticks];
        double at = place(across ? &g->x : &g->y, v);
        lib.cairo_set_source_rgb(c, 0.88, 0.88, 0.88);
        lib.cairo_move_to(c, across ? at : g->x.from, across ? g->y.from : at);
        lib.cairo_line_to(c, across ? at : g->x.to, across ? g->y.to : at);
        lib.cairo_stroke(c);
        lib.cairo_set_source_rgb(c, 0.2, 0.2, 0.2);
        snprintf(s, sizeof s, "%.6g", v);
        put_text(c, across ? at : g->x.from - 8, across ? g->y.from + 14 : at,
                 across ? AT_CENTRE : AT_RIGHT, 0, s);
    }
    lib.cairo_rectangle(c, g->x.from, g->y.to, g->x.to - g->x.from, g->y.from - g->y.to);
    lib.cairo_stroke(c);
    put_text(c, (g->x.from + g->x.to) / 2, p->height - 16, AT_CENTRE, 0, p->x_name);
    put_text(c, 16, (g->y.from + g->y.to) / 2, AT_CENTRE, 1, p->y_name);
    if (p->title)
        put_text(c, (g->x.from + g->x.to) / 2, TOP / 2, AT_CENTRE, 0, p->title);
}

static void set_colour(cairo_t *c, int colour, double strength)
{
    const double *k = colours[colour % COLOURS];
    lib.cairo_set_source_rgba(c, k[0], k[1], k[2], strength);
}

/* Sum and number of the values that a mean is over. */
typedef struct window {
    double sum;
    size_t n;
} window;

/* The mean of the values of l that end with number i, at most `width` of them, gaps left out. */
static double mean(const wan_plot *p, const wan_plot_line *l, size_t i, size_t width, window *w)
{
    if (visible(p, l->y[i]))
        w->sum += l->y[i], w->n++;
    if (i >= width && visible(p, l->y[i - width]))
        w->sum -= l->y[i - width], w->n--;
    return visible(p, l->y[i]) ? w->sum / (double)w->n : NAN;
}

static void draw_curve(const page *g, const wan_plot_line *l, size_t width)
{
    window w = { 0, 0 };
    int pen = 0;
    for (size_t i = 0; i < l->n; i++) {
        double v = width > 1 ? mean(g->p, l, i, width, &w) : l->y[i];
        if (!visible(g->p, v)) {
            pen = 0;
            continue;
        }
        (pen ? lib.cairo_line_to : lib.cairo_move_to)(g->c, place(&g->x, l->x[i]), place(&g->y, v));
        pen = 1;
    }
    lib.cairo_stroke(g->c);
}

static void draw_dots(const page *g, const wan_plot_line *l)
{
    for (size_t i = 0; i < l->n; i++)
        if (visible(g->p, l->y[i])) {
            lib.cairo_new_sub_path(g->c);
            lib.cairo_arc(g->c, place(&g->x, l->x[i]), place(&g->y, l->y[i]), 3, 0, 2 * acos(-1));
        }
    lib.cairo_fill(g->c);
}

static void draw_line(const page *g, const wan_plot_line *l)
{
    size_t smooth = l->dots ? 1 : g->p->smooth;
    if (smooth > 1) {
        set_colour(g->c, l->colour, 0.25);
        lib.cairo_set_line_width(g->c, 1);
        draw_curve(g, l, 1);
    }
    set_colour(g->c, l->colour, 1);
    lib.cairo_set_line_width(g->c, l->dots ? 1 : 2);
    draw_curve(g, l, smooth);
    if (l->dots)
        draw_dots(g, l);
}

static void draw_legend(const page *g)
{
    double y = TOP + 16;
    for (int i = 0; i < g->p->n; i++) {
        const wan_plot_line *l = &g->p->line[i];
        if (!l->name)
            continue;
        double x = g->x.to - 12;
        lib.cairo_set_source_rgb(g->c, 0.1, 0.1, 0.1);
        put_text(g->c, x - 30, y, AT_RIGHT, 0, l->name);
        set_colour(g->c, l->colour, 1);
        lib.cairo_set_line_width(g->c, l->dots ? 1 : 2);
        lib.cairo_move_to(g->c, x - 24, y);
        lib.cairo_line_to(g->c, x, y);
        lib.cairo_stroke(g->c);
        if (l->dots) {
            lib.cairo_arc(g->c, x - 12, y, 3, 0, 2 * acos(-1));
            lib.cairo_fill(g->c);
        }
        y += 18;
    }
}

static void draw(page *g)
{
    lib.cairo_set_source_rgb(g->c, 1, 1, 1);
    lib.cairo_paint(g->c);
    draw_axes(g);
    lib.cairo_save(g->c);
    lib.cairo_rectangle(g->c, g->x.from, g->y.to, g->x.to - g->x.from, g->y.from - g->y.to);
    lib.cairo_clip(g->c);
    lib.cairo_set_line_join(g->c, CAIRO_LINE_JOIN_ROUND);
    for (int i = 0; i < g->p->n; i++)
        draw_line(g, &g->p->line[i]);
    lib.cairo_restore(g->c);
    draw_legend(g);
}

/* ---- files */

static int take(void *f, const unsigned char *p, unsigned n)
{
    return fwrite(p, 1, n, f) == n ? CAIRO_STATUS_SUCCESS : CAIRO_STATUS_WRITE_ERROR;
}

static int draw_into(page *g, const char *path, FILE *f)
{
    const wan_plot *p = g->p;
    int png = wan_ends_with(path, ".png");
    cairo_surface_t *s =
        png ? lib.cairo_image_surface_create(CAIRO_FORMAT_RGB24, p->width, p->height)
            : lib.cairo_svg_surface_create_for_stream(take, f, p->width, p->height);
    g->c = lib.cairo_create(s);
    draw(g);
    int status = lib.cairo_status(g->c);
    lib.cairo_destroy(g->c);
    if (status == CAIRO_STATUS_SUCCESS && png)
        status = lib.cairo_surface_write_to_png_stream(s, take, f);
    lib.cairo_surface_finish(s);
    if (status == CAIRO_STATUS_SUCCESS)
        status = lib.cairo_surface_status(s);
    lib.cairo_surface_destroy(s);
    return status == CAIRO_STATUS_SUCCESS
               ? 0
               : wan_err("%s: cannot draw: %s", path, lib.cairo_status_to_string(status));
}

int wan_plot_write(const wan_plot *p, const char *path)
{
    page g = { .p = p };
    wan_out *out = NULL;
    if (!wan_ends_with(path, ".png") && !wan_ends_with(path, ".svg"))
        return wan_err("%s: a plot is a .png or an .svg", path);
    if (p->width < 200 || p->height < 200 || p->width > 8192 || p->height > 8192)
        return wan_err("%s: %d x %d pixels: 200 to 8192 are possible", path, p->width, p->height);
    if (measure(&g) < 0)
        return wan_err_prefix("%s", path);
    int rc = wan_plot_late_open();
    if (rc == 0)
        rc = wan_out_open(&out, path);
    if (rc == 0)
        rc = draw_into(&g, path, wan_out_file(out));
    if (rc == 0)
        rc = wan_out_finish(&out);
    wan_out_discard(&out);
    return rc;
}
