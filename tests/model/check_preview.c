/* SPDX-License-Identifier: Apache-2.0
 *
 * check_preview.c - the clean sample that each step of every solver points to, where it is known; the map
 * from latents to colours against what the VAE makes of other latents.
 */
#include "lib/base/rng.h"
#include "lib/model/edm.h"
#include "lib/model/sample/preview.h"
#include "lib/model/sample/sampler.h"
#include "tests/must.h"
#include "tests/tap.h"

enum { N = 6, STEPS = 5, SIDE = 12 };

/* What a model answers that is given `in` at level sigma and knows the clean sample. */
static void know(wan_real *answer, const wan_real *in, const wan_real *truth, double sigma, int edm)
{
    const wan_edm_scaling c = wan_edm_scale(sigma);
    for (int i = 0; i < N; i++)
        answer[i] = (wan_real)(edm ? ((double)truth[i] - c.skip * (double)in[i] / c.in) / c.out
                                   : (double)(in[i] - truth[i]) / sigma);
}

static void check_clean(wan_dev *d, const char *objective, const char *solver)
{
    const int edm = !strcmp(objective, "edm");
    wan_sampler_options o = { .solver = solver, .steps = STEPS };
    wan_real x[N] = { 1, -1, 0.5f, 2, -0.25f, 0 }, truth[N] = { 3, -2, 1, 0, 0.5f, -1 };
    wan_real *answer = wan_dev_alloc(d, sizeof x, "test"),
             *now = wan_dev_alloc(d, sizeof x, "test");
    wan_real *clean = wan_dev_alloc(d, sizeof x, "test");
    wan_sampler *s;
    double off = 0;
    MUST(wan_sampler_resolve(&o, objective));
    MUST(wan_sampler_new(&s, d, objective, &o, N));
    memcpy(now, x, sizeof x);
    MUST(wan_sampler_start(s, now));
    for (int i = 0; i < STEPS; i++)
        for (int call = 0; call < wan_sampler_calls(s, i); call++) {
            const wan_real *in;
            double t;
            MUST(wan_sampler_ask(s, i, call, now, &in, &t));
            know(answer, in, truth, wan_sampler_sigma(s, i + call), edm);
            if (call == 0)
                MUST(wan_sampler_clean(s, i, now, answer, clean));
            for (int k = 0; k < N && call == 0; k++)
                off = worse(off, fabs((double)(clean[k] - truth[k])));
            MUST(wan_sampler_answer(s, i, call, now, answer));
        }
    ok(off < 2e-4, "%s by %s: every step points to the clean sample (%.1e)", objective, solver,
       off);
    off = 0;
    for (int k = 0; k < N; k++)
        off = worse(off, fabs((double)(now[k] - truth[k])));
    ok(off < 2e-4, "%s by %s: the last one is there (%.1e)", objective, solver, off);
    wan_sampler_free(&s);
    wan_dev_free(d, answer);
    wan_dev_free(d, now);
    wan_dev_free(d, clean);
}

/* ---- colours */

typedef struct picture {
    double rgb[SIDE * SIDE][3]; /* means of 8 x 8 pixels */
} picture;

static int keep(void *arg, const uint8_t *rgb, const float *pixels, int64_t n, int64_t H, int64_t W)
{
    picture *p = arg;
    (void)pixels, (void)n, (void)H;
    memset(p, 0, sizeof *p);
    for (int64_t y = 0; y < 8 * SIDE; y++)
        for (int64_t x = 0; x < 8 * SIDE; x++)
            for (int k = 0; k < 3; k++)
                p->rgb[y / 8 * SIDE + x / 8][k] += rgb[(y * W + x) * 3 + k] / 64.0;
    return 0;
}

/* Sum of squares of picture - (mean + gain (map - mean)). */
static double distance(const picture *p, const uint8_t *rgb, double gain)
{
    double sum = 0;
    for (int k = 0; k < 3; k++) {
        double mean = 0;
        for (int i = 0; i < SIDE * SIDE; i++)
            mean += rgb[3 * i + k] / (double)(SIDE * SIDE);
        for (int i = 0; i < SIDE * SIDE; i++) {
            const double e = p->rgb[i][k] - mean - gain * (rgb[3 * i + k] - mean);
            sum += e * e;
        }
    }
    return sum;
}

static void check_map(wan_dev *d, const char *dir)
{
    static float z[WAN_PREVIEW_CHANNELS * SIDE * SIDE];
    static uint8_t rgb[SIDE * SIDE * 3], two[SIDE * SIDE * 3];
    static float both[2 * WAN_PREVIEW_CHANNELS * SIDE * SIDE];
    const size_t frame = (size_t)SIDE * SIDE;
    wan_preview map;
    picture p;
    wan_vae *vae;
    double left = 0, none = 0, less = 0, more = 0;
    MUST(wan_vae_open(&vae, d, dir, WAN_VAE_DECODER, WAN_F32));
    MUST(wan_preview_fit(&map, vae));
    for (uint64_t i = 0; i < 8; i++) {
        wan_rng r = wan_rng_stream(5, WAN_RNG_TEST, i, 0);
        for (size_t j = 0; j < (size_t)map.channels * frame; j++)
            wan_rng_normal(&r, &z[j],
                           j / frame * frame + j % frame / SIDE / 2 * SIDE + j % SIDE / 2, 1);
        MUST(wan_vae_decode(vae, z, 1, SIDE, SIDE, keep, &p));
        wan_preview_frame(&map, rgb, z, 1, SIDE, SIDE, 0);
        left += distance(&p, rgb, 1), none += distance(&p, rgb, 0);
        less += distance(&p, rgb, 0.9), more += distance(&p, rgb, 1.1);
    }
    const double rms = sqrt(left / (8.0 * 3 * SIDE * SIDE));
    ok(left < 0.5 * none, "%s: colours of other latents, %.0f %% of their variance", dir,
       100 * (1 - left / none));
    ok(left < less && left < more, "... by a tenth more or less contrast worse (%.3f, %.3f)",
       less / left, more / left);
    ok(rms < 1.3 * map.error && rms > map.error / 1.3, "... as near as the fit says (%.2f, %.2f)",
       rms, map.error);
    for (int c = 0; c < map.channels; c++)
        for (int t = 0; t < 2; t++)
            for (size_t j = 0; j < frame; j++)
                both[((size_t)c * 2 + (size_t)t) * frame + j] = t ? z[(size_t)c * frame + j] : 9;
    wan_preview_frame(&map, two, both, 2, SIDE, SIDE, 1);
    ok(!memcmp(two, rgb, sizeof two), "... of the second frame of two");
    wan_vae_close(&vae);
}

int main(void)
{
    static const char *const kind[][2] = { { "flow", "unipc" },
                                           { "flow", "dpm++" },
                                           { "flow", "euler" },
                                           { "edm", "heun" },
                                           { "edm", "euler" } };
    wan_dev *d;
    MUST(wan_dev_open(&d, "cpu", 0));
    for (size_t i = 0; i < sizeof kind / sizeof *kind; i++)
        check_clean(d, kind[i][0], kind[i][1]);
    check_map(d, "examples/tiny/vae");
    wan_dev_close(&d);
    return tap_done();
}
