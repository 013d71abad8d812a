/* SPDX-License-Identifier: Apache-2.0
 *
 * plot_loss.c - loss curves of training stages as one PNG.
 *
 *     plot_loss OUT.png STAGE1.jsonl [STAGE2.jsonl ...]
 *
 * One panel per file: the loss of every step in grey, its mean over the last 50 steps in colour, as
 * the partial-convergence experiment of NeMo DFM shows it.  The vertical axis is logarithmic.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/base/log.h"
#include "lib/media/video.h"

enum { W = 560, H = 360, LEFT = 56, RIGHT = 16, TOP = 28, BOTTOM = 34, SMOOTH = 50 };

typedef struct image {
    uint8_t *rgb;
    int w, h;
} image;

typedef struct curve {
    double *step, *loss;
    size_t n;
} curve;

/* 3x5 glyphs, rows from the top, 3 bits each. */
static const struct {
    char c;
    uint16_t bits;
} font[] = {
    { '0', 075557 }, { '1', 026227 }, { '2', 071747 }, { '3', 071717 }, { '4', 055711 },
    { '5', 074717 }, { '6', 074757 }, { '7', 071111 }, { '8', 075757 }, { '9', 075717 },
    { '.', 000002 }, { '-', 000700 }, { 's', 034716 }, { 't', 027223 }, { 'a', 003577 },
    { 'g', 035716 }, { 'e', 025743 }, { 'p', 065644 }, { 'l', 022223 }, { 'o', 002552 },
    { 'm', 005775 }, { 'n', 006555 }, { 'f', 034644 }, { ',', 000024 }, { ':', 002020 },
};

static void put(image *m, int x, int y, uint32_t c)
{
    if (x < 0 || y < 0 || x >= m->w || y >= m->h)
        return;
    uint8_t *p = m->rgb + 3 * ((size_t)y * (size_t)m->w + (size_t)x);
    p[0] = (uint8_t)(c >> 16);
    p[1] = (uint8_t)(c >> 8);
    p[2] = (uint8_t)c;
}

static void text(image *m, int x, int y, const char *s, uint32_t c)
{
    for (; *s; s++, x += 8)
        for (size_t g = 0; g < sizeof font / sizeof *font; g++)
            if (font[g].c == *s)
                for (int b = 0; b < 15; b++)
                    if (font[g].bits >> (14 - b) & 1)
                        for (int k = 0; k < 4; k++)
                            put(m, x + b % 3 * 2 + k % 2, y + b / 3 * 2 + k / 2, c);
}

static void line(image *m, double x0, double y0, double x1, double y1, uint32_t c, int thick)
{
    int n = (int)(fmax(fabs(x1 - x0), fabs(y1 - y0))) + 1;
    for (int i = 0; i <= n; i++)
        for (int t = 0; t < thick; t++)
            put(m, (int)lround(x0 + (x1 - x0) * i / n), (int)lround(y0 + (y1 - y0) * i / n) + t, c);
}

/* Lines that are JSON objects with numbers "step" and "loss"; others are refused. */
static int read_curve(curve *c, const char *path)
{
    FILE *f;
    const char *name;
    char *buf = NULL;
    size_t room = 0, cap = 0;
    WAN_TRY(wan_in_open(&f, path, &name));
    while (getline(&buf, &room, f) > 0) {
        json_t *j = wan_json_parse(buf, strlen(buf), path);
        double step = 0, loss = 0;
        if (!j)
            goto fail;
        int bad = !json_is_number(json_object_get(j, "step")) ||
                  !json_is_number(json_object_get(j, "loss"));
        step = json_number_value(json_object_get(j, "step"));
        loss = json_number_value(json_object_get(j, "loss"));
        json_decref(j);
        if (bad || !(loss > 0)) {
            wan_err("%s: line %zu has no step with a positive loss", path, c->n + 1);
            goto fail;
        }
        if (c->n == cap) {
            cap = cap ? 2 * cap : 1024;
            c->step = realloc(c->step, cap * sizeof *c->step);
            c->loss = realloc(c->loss, cap * sizeof *c->loss);
            if (!c->step || !c->loss) {
                wan_err("out of memory");
                goto fail;
            }
        }
        c->step[c->n] = step;
        c->loss[c->n++] = loss;
    }
    free(buf);
    wan_in_close(f);
    return c->n ? 0 : wan_err("%s: no steps", path);
fail:
    free(buf);
    wan_in_close(f);
    return -1;
}

/* The curve of a panel, smoothed over the last `window` steps. */
static void draw_curve(image *m, int x0, const curve *c, double lo, double hi, size_t window,
                       uint32_t colour, int thick)
{
    double px = 0, py = 0, sum = 0;
    double first = c->step[0], span = fmax(1, c->step[c->n - 1] - first);
    for (size_t i = 0; i < c->n; i++) {
        size_t have = i + 1 < window ? i + 1 : window;
        sum += c->loss[i];
        if (i >= window)
            sum -= c->loss[i - window];
        double v = log10(sum / (double)have);
        double x = x0 + LEFT + (W - LEFT - RIGHT) * (c->step[i] - first) / span;
        double y = TOP + (H - TOP - BOTTOM) * (hi - v) / (hi - lo);
        if (i)
            line(m, px, py, x, y, colour, thick);
        px = x;
        py = y;
    }
}

static void draw_axes(image *m, int x0, const curve *c, double lo, double hi, int stage)
{
    char s[64];
    for (double v = lo; v <= hi + 1e-9; v += (hi - lo) / 4) {
        int y = (int)(TOP + (H - TOP - BOTTOM) * (hi - v) / (hi - lo));
        line(m, x0 + LEFT, y, x0 + W - RIGHT, y, 0xe4e4e4, 1);
        snprintf(s, sizeof s, "%.2f", pow(10, v));
        text(m, x0 + 8, y - 5, s, 0x404040);
    }
    for (int k = 0; k <= 4; k++) {
        int x = x0 + LEFT + (W - LEFT - RIGHT) * k / 4;
        double v = c->step[0] + (c->step[c->n - 1] - c->step[0]) * k / 4;
        line(m, x, TOP, x, H - BOTTOM, 0xe4e4e4, 1);
        snprintf(s, sizeof s, "%.0f", v);
        text(m, x - 4 * (int)strlen(s), H - BOTTOM + 8, s, 0x404040);
    }
    snprintf(s, sizeof s, "stage %d: loss, mean of 50 steps", stage);
    text(m, x0 + LEFT, 8, s, 0x202020);
}

static void draw_panel(image *m, int x0, const curve *c, int stage)
{
    double lo = 1e9, hi = -1e9;
    for (size_t i = 0; i < c->n; i++) {
        lo = fmin(lo, log10(c->loss[i]));
        hi = fmax(hi, log10(c->loss[i]));
    }
    lo -= 0.03;
    hi += 0.03;
    draw_axes(m, x0, c, lo, hi, stage);
    draw_curve(m, x0, c, lo, hi, 1, 0xb8c4d0, 1);
    draw_curve(m, x0, c, lo, hi, SMOOTH, 0x0b5394, 2);
}

int main(int argc, char **argv)
{
    wan_log_init("plot_loss", 1);
    if (argc < 3) {
        wan_err("usage: plot_loss OUT.png METRICS.jsonl...");
        wan_die_usage();
    }
    int n = argc - 2;
    image m = { wan_malloc((size_t)W * (size_t)n * H, 3, "picture"), W * n, H };
    if (!m.rgb)
        wan_die();
    memset(m.rgb, 255, (size_t)m.w * H * 3);
    for (int i = 0; i < n; i++) {
        curve c = { 0 };
        if (read_curve(&c, argv[2 + i]) < 0)
            wan_die();
        draw_panel(&m, i * W, &c, i + 1);
        free(c.step);
        free(c.loss);
    }
    if (wan_png_write(argv[1], m.rgb, m.h, m.w) < 0)
        wan_die();
    free(m.rgb);
    return WAN_EXIT_DONE;
}
