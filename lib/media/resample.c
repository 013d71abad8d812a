/* SPDX-License-Identifier: Apache-2.0
 *
 * resample.c - weights of source samples for each target sample, and their sums.
 */
#include "lib/media/resample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"

enum { FIXED = 8 /* taps at most of all filters but AREA */ };

/* Weights of the source samples of one target sample: w[0..n) from `first` on, sum 1. */
typedef struct taps {
    int first, n;
    float *w;
} taps;

struct wan_resample {
    int dh, dw, sh, sw, channels;
    taps *v, *h; /* [dh], [dw] */
    float *line; /* [sw, channels] */
};

static double sinc(double x)
{
    return fabs(x) < 1e-9 ? 1 : sin(M_PI * x) / (M_PI * x);
}

/* Keys' cubic convolution with a = -3/4. */
static double cubic(double d)
{
    const double a = -0.75;
    d = fabs(d);
    if (d < 1)
        return ((a + 2) * d - (a + 3)) * d * d + 1;
    return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}

/* n taps from place `from` on, whose weights are w; what is outside takes the sample at the edge. */
static void put_taps(taps *t, int from, int n, const double *w, int src)
{
    int last = from + n - 1 < src - 1 ? from + n - 1 : src - 1;
    t->first = from < 0 ? 0 : from > src - 1 ? src - 1 : from;
    t->n = last < t->first ? 1 : last - t->first + 1;
    for (int k = 0; k < t->n; k++)
        t->w[k] = 0;
    for (int k = 0; k < n; k++) {
        int at = from + k - t->first;
        t->w[at < 0 ? 0 : at >= t->n ? t->n - 1 : at] += (float)w[k];
    }
}

static void area_taps(taps *t, double a, double scale, int src)
{
    double b = fmin(a + scale, src);
    t->first = (int)(a + 1e-9);
    t->n = (int)ceil(b - 1e-9) - t->first;
    for (int k = 0; k < t->n; k++)
        t->w[k] = (float)((fmin(b, t->first + k + 1) - fmax(a, t->first + k)) / (b - a));
}

/* The part of target i behind the seam at the end of source floor_at; 0: there is no seam.  In single
 * precision, as OpenCV has it: else a seam on the edge of a pixel is at the one or at the other. */
static double behind_seam(int i, int floor_at, double grow)
{
    float f = (float)(i + 1 - (floor_at + 1) * grow);
    return f <= 0 ? 0 : (double)(f - floorf(f));
}

static void make_taps(taps *t, enum wan_taps kind, int i, int dst, int src)
{
    double scale = (double)src / dst, at = (i + 0.5) * scale - 0.5, w[FIXED] = { 1 }, sum = 0,
           grow = (double)dst / src; /* 1 / grow is rounded as OpenCV's */
    int floor_at = (int)floor(at), half = kind == WAN_TAPS_LANCZOS ? 4 : 2;
    double f = at - floor_at;
    if (kind == WAN_TAPS_AREA) {
        area_taps(t, i * scale, scale, src);
    } else if (kind == WAN_TAPS_NEAREST) {
        put_taps(t, (int)floor(i * (1 / grow)), 1, w, src);
    } else if (kind == WAN_TAPS_LINEAR || kind == WAN_TAPS_AREA_GROW) {
        if (kind == WAN_TAPS_AREA_GROW) {
            floor_at = (int)floor(i * (1 / grow));
            f = behind_seam(i, floor_at, grow);
        }
        w[0] = 1 - f;
        w[1] = f;
        put_taps(t, floor_at, 2, w, src);
    } else {
        for (int k = 0; k < 2 * half; k++) {
            double d = k - half + 1 - f;
            sum += w[k] = kind == WAN_TAPS_CUBIC ? cubic(d) : sinc(d) * sinc(d / 4);
        }
        for (int k = 0; k < 2 * half; k++)
            w[k] /= sum;
        put_taps(t, floor_at - half + 1, 2 * half, w, src);
    }
}

static taps *all_taps(enum wan_taps kind, int dst, int src)
{
    size_t most = kind == WAN_TAPS_AREA ? (size_t)(src / dst) + 3 : FIXED;
    taps *t = wan_malloc((size_t)dst, sizeof *t + most * sizeof(float), "scaling weights");
    for (int i = 0; t && i < dst; i++) {
        t[i].w = (float *)(t + dst) + (size_t)i * most;
        make_taps(&t[i], kind, i, dst, src);
    }
    return t;
}

int wan_resample_open(wan_resample **out, int dh, int dw, enum wan_taps vertical, int sh, int sw,
                      enum wan_taps horizontal, int channels)
{
    *out = NULL;
    if (dh < 1 || dw < 1 || sh < 1 || sw < 1)
        return wan_err("cannot scale %d x %d pixels to %d x %d", sh, sw, dh, dw);
    wan_resample *r = wan_calloc(1, sizeof *r, "scaling");
    if (!r)
        return -1;
    *r = (wan_resample){ dh, dw, sh, sw, channels, NULL, NULL, NULL };
    r->v = all_taps(vertical, dh, sh);
    r->h = all_taps(horizontal, dw, sw);
    r->line = wan_malloc((size_t)sw * (size_t)channels, sizeof *r->line, "scaling row");
    *out = r;
    if (r->v && r->h && r->line)
        return 0;
    wan_resample_close(out);
    return -1;
}

/* The source rows of one target row mixed into the line. */
static void mix_rows(wan_resample *r, const taps *v, const uint8_t *src, ptrdiff_t from_line)
{
    int n = r->sw * r->channels;
    memset(r->line, 0, (size_t)n * sizeof *r->line);
    for (int k = 0; k < v->n; k++) {
        const uint8_t *p = src + (v->first + k) * from_line;
        float w = v->w[k];
        for (int x = 0; x < n; x++)
            r->line[x] += w * p[x];
    }
}

void wan_resample_run(wan_resample *r, uint8_t *dst, ptrdiff_t to_line, const uint8_t *src,
                      ptrdiff_t from_line)
{
    int ch = r->channels;
    for (int y = 0; y < r->dh; y++, dst += to_line) {
        mix_rows(r, &r->v[y], src, from_line);
        for (int x = 0; x < r->dw; x++)
            for (int c = 0; c < ch; c++) {
                const taps *h = &r->h[x];
                float s = 0;
                for (int k = 0; k < h->n; k++)
                    s += h->w[k] * r->line[(h->first + k) * ch + c];
                dst[x * ch + c] = (uint8_t)fminf(fmaxf(s + 0.5f, 0), 255);
            }
    }
}

void wan_resample_close(wan_resample **r)
{
    if (!*r)
        return;
    free((*r)->v);
    free((*r)->h);
    free((*r)->line);
    free(*r);
    *r = NULL;
}
