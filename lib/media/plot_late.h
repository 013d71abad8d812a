/* SPDX-License-Identifier: Apache-2.0
 *
 * plot_late.h - what plot.c calls of Cairo and Pango, opened at run time and declared here: their libraries come with
 * libav's, but their headers would bring 75 Debian packages to a machine that builds.
 *
 * Source: the manuals of Cairo 1.16 and Pango 1.50; of their first ABI, which is that of libcairo.so.2 and libpango-1.0.so.0.
 */
#ifndef WAN_MEDIA_PLOT_LATE_H
#define WAN_MEDIA_PLOT_LATE_H

#include "lib/base/err.h"

typedef struct cairo_t cairo_t;
typedef struct cairo_surface_t cairo_surface_t;
typedef struct PangoLayout PangoLayout;
typedef struct PangoFontDescription PangoFontDescription;
/* Takes n bytes of a file; a status. */
typedef int plot_take(void *arg, const unsigned char *p, unsigned n);

enum { CAIRO_STATUS_SUCCESS = 0, CAIRO_STATUS_WRITE_ERROR = 11 };
enum { CAIRO_FORMAT_RGB24 = 1, CAIRO_LINE_JOIN_ROUND = 1 };

/* result, name, parameters */
#define WAN_PLOT_LATE(X)                                                                           \
    X(cairo_t *, cairo_create, (cairo_surface_t *))                                                \
    X(void, cairo_destroy, (cairo_t *))                                                            \
    X(int, cairo_status, (cairo_t *))                                                              \
    X(const char *, cairo_status_to_string, (int))                                                 \
    X(cairo_surface_t *, cairo_image_surface_create, (int format, int width, int height))          \
    X(cairo_surface_t *, cairo_svg_surface_create_for_stream,                                      \
      (plot_take *, void *, double width, double height))                                          \
    X(int, cairo_surface_write_to_png_stream, (cairo_surface_t *, plot_take *, void *))            \
    X(void, cairo_surface_finish, (cairo_surface_t *))                                             \
    X(int, cairo_surface_status, (cairo_surface_t *))                                              \
    X(void, cairo_surface_destroy, (cairo_surface_t *))                                            \
    X(void, cairo_save, (cairo_t *))                                                               \
    X(void, cairo_restore, (cairo_t *))                                                            \
    X(void, cairo_translate, (cairo_t *, double x, double y))                                      \
    X(void, cairo_rotate, (cairo_t *, double angle))                                               \
    X(void, cairo_move_to, (cairo_t *, double x, double y))                                        \
    X(void, cairo_line_to, (cairo_t *, double x, double y))                                        \
    X(void, cairo_rectangle, (cairo_t *, double x, double y, double width, double height))         \
    X(void, cairo_arc, (cairo_t *, double x, double y, double radius, double from, double to))     \
    X(void, cairo_new_sub_path, (cairo_t *))                                                       \
    X(void, cairo_stroke, (cairo_t *))                                                             \
    X(void, cairo_fill, (cairo_t *))                                                               \
    X(void, cairo_paint, (cairo_t *))                                                              \
    X(void, cairo_clip, (cairo_t *))                                                               \
    X(void, cairo_set_line_width, (cairo_t *, double))                                             \
    X(void, cairo_set_line_join, (cairo_t *, int))                                                 \
    X(void, cairo_set_source_rgb, (cairo_t *, double r, double g, double b))                       \
    X(void, cairo_set_source_rgba, (cairo_t *, double r, double g, double b, double a))            \
    X(PangoLayout *, pango_cairo_create_layout, (cairo_t *))                                       \
    X(void, pango_cairo_show_layout, (cairo_t *, PangoLayout *))                                   \
    X(PangoFontDescription *, pango_font_description_from_string, (const char *))                  \
    X(void, pango_font_description_free, (PangoFontDescription *))                                 \
    X(void, pango_layout_set_font_description, (PangoLayout *, const PangoFontDescription *))      \
    X(void, pango_layout_set_text, (PangoLayout *, const char *text, int length))                  \
    X(void, pango_layout_get_pixel_size, (PangoLayout *, int *width, int *height))                 \
    X(void, g_object_unref, (void *))

struct wan_plot_late {
#define WAN_PLOT_LATE_CALL(result, name, parameters) result(*name) parameters;
    WAN_PLOT_LATE(WAN_PLOT_LATE_CALL)
#undef WAN_PLOT_LATE_CALL
};

/* Whole once wan_plot_late_open has said 0. */
extern struct wan_plot_late wan_plot_late;

int wan_plot_late_open(void) WAN_MUST_CHECK;

#endif
