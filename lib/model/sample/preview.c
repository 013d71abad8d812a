/* SPDX-License-Identifier: Apache-2.0
 *
 * preview.c - the linear map from latents to colours (preview.h), by the normal equations.
 */
#include "lib/model/sample/preview.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/rng.h"

/* Pictures to fit to, of SIDE x SIDE pixels of a latent in patches of FLAT x FLAT. */
enum { PICTURES = 6, SIDE = 16, FLAT = 2, SIZE = WAN_PREVIEW_CHANNELS + 1 };

/* Sums over the pixels: z z^T, z rgb^T, rgb^2, with z the channels and a 1. */
typedef struct sums {
    int n; /* of z */
    double zz[SIZE][SIZE], zc[SIZE][3], cc, count;
    const float *latent; /* of the picture that is being decoded */
} sums;

/* Colours of one pixel of the latent: the mean of its 8 x 8 pixels. */
static void mean_colour(double c[3], const uint8_t *rgb, int64_t W, int64_t y, int64_t x)
{
    c[0] = c[1] = c[2] = 0;
    for (int64_t i = 8 * y; i < 8 * y + 8; i++)
        for (int64_t j = 8 * x; j < 8 * x + 8; j++)
            for (int k = 0; k < 3; k++)
                c[k] += rgb[(i * W + j) * 3 + k] / 64.0;
}

static void add_pixel(sums *s, const double *z, const double c[3])
{
    for (int i = 0; i < s->n; i++) {
        for (int j = 0; j < s->n; j++)
            s->zz[i][j] += z[i] * z[j];
        for (int k = 0; k < 3; k++)
            s->zc[i][k] += z[i] * c[k];
    }
    for (int k = 0; k < 3; k++)
        s->cc += c[k] * c[k];
    s->count++;
}

static int add_picture(void *arg, const uint8_t *rgb, const float *pixels, int64_t n, int64_t H,
                       int64_t W)
{
    sums *s = arg;
    (void)pixels, (void)n, (void)H;
    for (int64_t y = 0; y < SIDE; y++)
        for (int64_t x = 0; x < SIDE; x++) {
            double z[SIZE], c[3];
            for (int i = 0; i < s->n - 1; i++)
                z[i] = (double)s->latent[(i * SIDE + y) * SIDE + x];
            z[s->n - 1] = 1;
            mean_colour(c, rgb, W, y, x);
            add_pixel(s, z, c);
        }
    return 0;
}

/* Patches of standard normal numbers, [channels, 1, SIDE, SIDE]. */
static void draw(float *latent, int channels, uint64_t picture)
{
    wan_rng r = wan_rng_stream(0, WAN_RNG_SAMPLE, picture, 1);
    for (int64_t i = 0; i < (int64_t)channels * SIDE * SIDE; i++) {
        const int64_t c = i / (SIDE * SIDE), y = i / SIDE % SIDE / FLAT, x = i % SIDE / FLAT;
        wan_rng_normal(&r, &latent[i], (uint64_t)((c * SIDE + y) * SIDE + x), 1);
    }
}

/* m x = v by elimination with pivots; m and v are used up, v is x then.  A row that is 0 leaves 0. */
static void solve(double m[SIZE][SIZE], double v[SIZE][3], int n)
{
    for (int i = 0; i < n; i++) {
        int p = i;
        for (int r = i + 1; r < n; r++)
            p = fabs(m[r][i]) > fabs(m[p][i]) ? r : p;
        for (int j = 0; j < n; j++) {
            double keep = m[i][j];
            m[i][j] = m[p][j], m[p][j] = keep;
        }
        for (int k = 0; k < 3; k++) {
            double keep = v[i][k];
            v[i][k] = v[p][k], v[p][k] = keep;
        }
        for (int r = 0; r < n; r++) {
            const double f = r == i || m[i][i] == 0 ? 0 : m[r][i] / m[i][i];
            for (int j = i; j < n && f != 0; j++)
                m[r][j] -= f * m[i][j];
            for (int k = 0; k < 3 && f != 0; k++)
                v[r][k] -= f * v[i][k];
        }
    }
    for (int i = 0; i < n; i++)
        for (int k = 0; k < 3; k++)
            v[i][k] = m[i][i] == 0 ? 0 : v[i][k] / m[i][i];
}

/* What is left is rgb^2 - rgb z^T a, summed. */
static void finish(wan_preview *map, sums *s)
{
    double zc[SIZE][3], left = s->cc;
    memcpy(zc, s->zc, sizeof zc);
    for (int i = 0; i < s->n; i++) /* keeps channels apart that the VAE does not tell apart */
        s->zz[i][i] += 1e-6 * s->count;
    solve(s->zz, zc, s->n);
    for (int i = 0; i < s->n; i++)
        for (int k = 0; k < 3; k++) {
            map->a[k][i] = zc[i][k];
            left -= zc[i][k] * s->zc[i][k];
        }
    map->error = sqrt(fmax(left, 0) / (3 * s->count));
}

int wan_preview_fit(wan_preview *map, wan_vae *vae)
{
    const int channels = wan_vae_channels(vae);
    if (channels > WAN_PREVIEW_CHANNELS)
        return wan_err("a preview of latents of %d channels: at most %d", channels,
                       (int)WAN_PREVIEW_CHANNELS);
    sums *s = wan_calloc(1, sizeof *s, "preview");
    float *latent = wan_malloc((size_t)channels * SIDE * SIDE, sizeof *latent, "preview");
    int rc = s && latent ? 0 : -1;
    if (rc == 0) {
        s->n = channels + 1;
        s->latent = latent;
    }
    for (uint64_t i = 0; rc == 0 && i < PICTURES; i++) {
        draw(latent, channels, i);
        rc = wan_vae_decode(vae, latent, 1, SIDE, SIDE, add_picture, s);
    }
    *map = (wan_preview){ .channels = channels };
    if (rc == 0)
        finish(map, s);
    free(s);
    free(latent);
    return rc;
}

void wan_preview_frame(const wan_preview *map, uint8_t *rgb, const float *latent, int64_t T,
                       int64_t h, int64_t w, int64_t t)
{
    for (int64_t i = 0; i < h * w; i++)
        for (int k = 0; k < 3; k++) {
            double v = map->a[k][map->channels];
            for (int c = 0; c < map->channels; c++)
                v += map->a[k][c] * (double)latent[(c * T + t) * h * w + i];
            rgb[3 * i + k] = (uint8_t)(v > 0 ? fmin(v, 255) + 0.5 : 0); /* NaN is black */
        }
}
