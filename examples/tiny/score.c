/* SPDX-License-Identifier: Apache-2.0
 *
 * score - says whether a sampled clip shows what its caption says.
 *
 *     score [--strict] [--caption TEXT] VIDEO.mp4 ...
 *
 * One table row per video: the colour, shape and motion measured from the pixels, and PASS when
 * all three are the caption's; --strict asks for the background too.  Without --caption (which
 * holds for all videos after it) the caption is read from VIDEO.json.  Exit status 0 when all
 * passed, 1 when some failed.
 *
 * Each pixel's distance from the border's colour, relative to the shape's, says how much of the
 * pixel is the shape.  Centre and area follow from the sums; the shape is the ideal outline of
 * that centre and area that leaves the least over.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clips.h"
#include "lib/base/json.h"
#include "lib/media/video.h"

/* What is needed to see a shape at all: contrast in 0..441, area as part of the frame, the part
 * of the area that may differ from the ideal outline, and the way from the first third of the
 * frames to the last in pixels of a 64-pixel frame. */
static const double MIN_CONTRAST = 40, MIN_AREA = 0.01, MAX_AREA = 0.5, MAX_MISFIT = 0.35;
static const double MIN_WAY = 3.0;

typedef struct seen_frame {
    double ground[3], colour[3];
    double area, x, y;     /* in pixels */
    double misfit[SHAPES]; /* part of the area off the ideal outline */
} seen_frame;

typedef struct seen {
    int colour, shape, motion, ground; /* indices of clips.h, -1: none is clear */
    double misfit, way;
} seen;

static double distance3(const double *a, const double *b)
{
    double s = 0;
    for (int k = 0; k < 3; k++)
        s += (a[k] - b[k]) * (a[k] - b[k]);
    return sqrt(s);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The value that `part` of v[n] lies below; sorts v. */
static double quantile(double *v, size_t n, double part)
{
    qsort(v, n, sizeof *v, by_value);
    return v[(size_t)(part * (double)(n - 1))];
}

/* The border's median: the shape may touch the border, but not cover half of it. */
static void border_colour(double *rgb, const uint8_t *px, int h, int w, double *tmp)
{
    for (int k = 0; k < 3; k++) {
        size_t n = 0;
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++)
                if (x < 2 || y < 2 || x >= w - 2 || y >= h - 2)
                    tmp[n++] = px[(y * w + x) * 3 + k];
        rgb[k] = quantile(tmp, n, 0.5);
    }
}

/* alpha[h*w] = how much of each pixel is the shape; returns the contrast. */
static double separate(double *alpha, const double *ground, const uint8_t *px, int n, double *tmp)
{
    for (int i = 0; i < n; i++) {
        double rgb[3] = { px[i * 3], px[i * 3 + 1], px[i * 3 + 2] };
        tmp[i] = alpha[i] = distance3(rgb, ground);
    }
    double contrast = quantile(tmp, (size_t)n, 0.96);
    for (int i = 0; i < n; i++) {
        double a = contrast > 0 ? alpha[i] / contrast : 0;
        alpha[i] = a < 0.2 ? 0 : fmin(a, 1); /* compression noise is not shape */
    }
    return contrast;
}

static void centre(seen_frame *s, const double *alpha, int h, int w)
{
    double m = 0, mx = 0, my = 0;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            double a = alpha[y * w + x];
            m += a;
            mx += a * (x + 0.5);
            my += a * (y + 0.5);
        }
    s->area = m;
    s->x = m > 0 ? mx / m : 0;
    s->y = m > 0 ? my / m : 0;
}

static void mean_colour(seen_frame *s, const double *alpha, const uint8_t *px, int n)
{
    double sum[3] = { 0 }, m = 0;
    for (int i = 0; i < n; i++) {
        if (alpha[i] < 0.9)
            continue;
        m++;
        for (int k = 0; k < 3; k++)
            sum[k] += px[i * 3 + k];
    }
    for (int k = 0; k < 3; k++)
        s->colour[k] = m > 0 ? sum[k] / m : s->ground[k];
}

/* Signed distance to the outline of the given area around the origin. */
static double outline(int shape, double dx, double dy, double area)
{
    if (shape == 0)
        return sqrt(dx * dx + dy * dy) - sqrt(area / 3.14159265358979);
    if (shape == 1)
        return fmax(fabs(dx), fabs(dy)) - sqrt(area) / 2;
    return fmax(0.8660254037844386 * fabs(dx) - 0.5 * dy, dy) - sqrt(area / 5.196152422706632);
}

static double misfit(int shape, const seen_frame *s, const double *alpha, int h, int w)
{
    double off = 0;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            double d = outline(shape, x + 0.5 - s->x, y + 0.5 - s->y, s->area);
            off += fabs(alpha[y * w + x] - fmin(1, fmax(0, 0.5 - d / 2)));
        }
    return s->area > 0 ? off / s->area : 1;
}

/* 1 when a shape can be told from the background. */
static int look(seen_frame *s, const uint8_t *px, int h, int w, double *alpha, double *tmp)
{
    border_colour(s->ground, px, h, w, tmp);
    double contrast = separate(alpha, s->ground, px, h * w, tmp);
    centre(s, alpha, h, w);
    mean_colour(s, alpha, px, h * w);
    for (int k = 0; k < SHAPES; k++)
        s->misfit[k] = misfit(k, s, alpha, h, w);
    return contrast >= MIN_CONTRAST && s->area >= MIN_AREA * h * w && s->area <= MAX_AREA * h * w;
}

static int nearest(const tiny_named *table, int n, const double *rgb)
{
    int best = -1;
    double least = 1e9;
    for (int i = 0; i < n; i++) {
        double c[3] = { table[i].rgb[0], table[i].rgb[1], table[i].rgb[2] };
        double d = distance3(c, rgb);
        if (d < least) {
            least = d;
            best = i;
        }
    }
    return best;
}

/* The direction of (dx, dy), -1 when it is short or oblique. */
static int direction(double dx, double dy)
{
    int across = fabs(dx) > fabs(dy);
    double far = across ? fabs(dx) : fabs(dy), near = across ? fabs(dy) : fabs(dx);
    if (far < MIN_WAY || far < 2 * near)
        return -1;
    return across ? (dx < 0 ? 0 : 1) : (dy < 0 ? 2 : 3);
}

static void judge_motion(seen *out, const seen_frame *f, int n, int size)
{
    int third = n / 3 > 0 ? n / 3 : 1;
    double dx = 0, dy = 0, unit = 64.0 / size / third;
    for (int i = 0; i < third; i++) {
        dx += (f[n - 1 - i].x - f[i].x) * unit;
        dy += (f[n - 1 - i].y - f[i].y) * unit;
    }
    out->way = sqrt(dx * dx + dy * dy);
    out->motion = direction(dx, dy);
}

static void judge(seen *out, const seen_frame *f, int n, int size)
{
    double colour[3] = { 0 }, ground[3] = { 0 }, off[SHAPES] = { 0 };
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < 3; k++) {
            colour[k] += f[i].colour[k] / n;
            ground[k] += f[i].ground[k] / n;
        }
        for (int k = 0; k < SHAPES; k++)
            off[k] += f[i].misfit[k] / n;
    }
    out->colour = nearest(tiny_colours, COLOURS, colour);
    out->ground = nearest(tiny_grounds, GROUNDS, ground);
    out->shape = 0;
    for (int k = 1; k < SHAPES; k++)
        if (off[k] < off[out->shape])
            out->shape = k;
    out->misfit = off[out->shape];
    if (out->misfit > MAX_MISFIT)
        out->shape = -1;
    judge_motion(out, f, n, size);
}

/* Looks at every frame; all are -1 when some frame shows no shape. */
static int measure(seen *out, const wan_video *v)
{
    int h = v->height, w = v->width, n = (int)v->frames, clear = 1;
    seen_frame *f = calloc((size_t)n, sizeof *f);
    double *alpha = calloc((size_t)h * (size_t)w * 2, sizeof *alpha);
    if (!f || !alpha) {
        free(f);
        free(alpha);
        return wan_err("out of memory");
    }
    for (int i = 0; i < n; i++)
        clear &= look(&f[i], v->rgb + (size_t)i * h * w * 3, h, w, alpha, alpha + (size_t)h * w);
    judge(out, f, n, w);
    if (!clear)
        out->colour = out->shape = out->motion = -1;
    free(f);
    free(alpha);
    return 0;
}

/* 1 when `word` stands in text on its own. */
static int has_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = text; (p = strstr(p, word)); p += n) {
        int starts = p == text || p[-1] == ' ', ends = !strchr("abcdefghijklmnopqrstuvwxyz", p[n]);
        if (starts && (ends || !p[n]))
            return 1;
    }
    return 0;
}

static seen read_caption(const char *text)
{
    seen s = { -1, -1, -1, -1, 0, 0 };
    for (int i = 0; i < COLOURS; i++)
        s.colour = has_word(text, tiny_colours[i].name) ? i : s.colour;
    for (int i = 0; i < SHAPES; i++)
        s.shape = has_word(text, tiny_shapes[i]) ? i : s.shape;
    for (int i = 0; i < MOTIONS; i++)
        s.motion = has_word(text, tiny_motions[i].name) ? i : s.motion;
    for (int i = 0; i < GROUNDS; i++)
        s.ground = has_word(text, tiny_grounds[i].name) ? i : s.ground;
    return s;
}

/* One row; returns 1 for PASS. */
static int print_row(const char *caption, const seen *want, const seen *got, int strict)
{
    int c = want->colour >= 0 && want->colour == got->colour;
    int s = want->shape >= 0 && want->shape == got->shape;
    int m = want->motion >= 0 && want->motion == got->motion;
    int g = want->ground >= 0 && want->ground == got->ground;
    int pass = c && s && m && (g || !strict);
    printf("%-4s  %-8s%c %-9s%c %-6s%c %-6s%c  %5.1f  %5.2f  %s\n", pass ? "PASS" : "FAIL",
           got->colour < 0 ? "none" : tiny_colours[got->colour].name, c ? ' ' : '!',
           got->shape < 0 ? "none" : tiny_shapes[got->shape], s ? ' ' : '!',
           got->motion < 0 ? "none" : tiny_motions[got->motion].name, m ? ' ' : '!',
           got->ground < 0 ? "none" : tiny_grounds[got->ground].name, g ? ' ' : '!', got->way,
           got->misfit, caption);
    return pass;
}

/* The "caption" of a .json file; the caller frees it. */
static char *load_caption(const char *file)
{
    const char *text = NULL;
    char *copy = NULL;
    json_t *j = wan_json_load(file);
    if (!j)
        return NULL;
    if (wan_json_str(j, "caption", NULL, &text, file) == 0) {
        copy = text ? strdup(text) : NULL;
        if (!copy)
            wan_err("%s: no caption", file);
    }
    json_decref(j);
    return copy;
}

/* That of the .json beside the video. */
static char *caption_beside(const char *video)
{
    size_t n = strlen(video);
    char file[4096];
    if (n < 4 || n + 2 > sizeof file || strcmp(video + n - 4, ".mp4")) {
        wan_err("%s: not an .mp4 with a .json beside it; give --caption", video);
        return NULL;
    }
    snprintf(file, sizeof file, "%.*s.json", (int)(n - 4), video);
    return load_caption(file);
}

/* 1 PASS, 0 FAIL, -1 error. */
static int score_one(const char *file, const char *caption, int strict)
{
    wan_video_options opt = { .max_frames = 256, .max_bytes = (int64_t)1 << 30, .threads = 1 };
    wan_video v = { 0 };
    seen got = { 0 }, want = read_caption(caption);
    WAN_TRY(wan_video_read(&v, file, &opt));
    int rc = v.frames > 0 ? measure(&got, &v) : wan_err("%s: no frames", file);
    wan_video_free(&v);
    return rc < 0 ? -1 : print_row(caption, &want, &got, strict);
}

static int score_arg(const char *file, const char *caption, int strict)
{
    char *own = caption ? NULL : caption_beside(file);
    if (!caption && !own)
        return -1;
    int rc = score_one(file, caption ? caption : own, strict);
    free(own);
    return rc;
}

int main(int argc, char **argv)
{
    const char *caption = NULL;
    int strict = 0, passed = 0, videos = 0;
    puts(
        "      colour    shape      motion  ground   way    misfit caption   (! = not as captioned)");
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--strict")) {
            strict = 1;
        } else if (!strcmp(argv[i], "--caption") && i + 1 < argc) {
            caption = argv[++i];
        } else if (argv[i][0] == '-') {
            fputs("usage: score [--strict] [--caption TEXT] VIDEO.mp4 ...\n", stderr);
            return WAN_EXIT_USAGE;
        } else {
            int rc = score_arg(argv[i], caption, strict);
            if (rc < 0) {
                fprintf(stderr, "score: %s\n", wan_err_text());
                return WAN_EXIT_FAILED;
            }
            passed += rc;
            videos++;
        }
    }
    printf("%d of %d passed\n", passed, videos);
    return passed == videos ? WAN_EXIT_DONE : WAN_EXIT_FAILED;
}
