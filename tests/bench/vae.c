/* SPDX-License-Identifier: Apache-2.0
 *
 * vae.c - time and memory of one pass of the VAE, for vae.sh.
 *
 *     vae DIR encode|decode fp32|bf16 FRAMES HEIGHT WIDTH [RUNS [RESULT]]
 *
 * Prints seconds (the fastest of RUNS, the first not counted where there are several) and the largest
 * resident size in MiB; RESULT gets the latents or the bytes of the frames.  With WAN_BENCH_CONV=1 a table
 * of the last run follows: each kind of convolution, its time, and how much of the peak it was.
 */
#include <sys/resource.h>

#include "kernels/conv_wino_simd.h"
#include "lib/model/vae/vae.h"
#include "tests/bench/peak.h"

typedef struct job {
    wan_vae *v;
    int64_t T, H, W, n_latents;
    uint8_t *rgb;
    float *latents;
    int64_t got; /* bytes of frames */
} job;

static int take(void *arg, const uint8_t *rgb, const float *pixels, int64_t n, int64_t H, int64_t W)
{
    job *j = arg;
    (void)pixels;
    memcpy(j->rgb + j->got, rgb, (size_t)(n * H * W * 3));
    j->got += n * H * W * 3;
    return 0;
}

/* ---- convolutions, by kind */

typedef struct kind {
    wan_conv c;
    int64_t calls;
    double seconds, direct, done; /* FLOP as the formula counts them, and as they are done */
} kind;

static kind kinds[64];
static int n_kinds;
static const wan_ops *inner;

static kind *kind_of(const wan_conv *c)
{
    for (int i = 0; i < n_kinds; i++) {
        const wan_conv *k = &kinds[i].c;
        if (k->Ci == c->Ci && k->Co == c->Co && k->kt == c->kt && k->kh == c->kh &&
            k->up == c->up && k->sh == c->sh && k->H == c->H && k->W == c->W)
            return &kinds[i];
    }
    if (n_kinds == 64)
        exit(1);
    kinds[n_kinds].c = *c;
    return &kinds[n_kinds++];
}

/* Taps that are not on padding in time, of all frames. */
static int64_t taps(const wan_conv *c)
{
    int64_t n = 0;
    for (int64_t t = 0; t < wan_conv_frames(c); t++)
        for (int64_t a = 0; a < c->kt; a++)
            n += t * c->st + a >= c->past;
    return n;
}

static int timed(wan_dev *d, const wan_conv *c, wan_buf y, wan_buf x, wan_buf w, const wan_real *b,
                 int add)
{
    kind *k = kind_of(c);
    double t = bench_now(), space;
    int rc = inner->conv_forward(d, c, y, x, w, b, add);
    k->seconds += bench_now() - t;
    k->calls++;
    space = (double)(c->H / c->sh) * (double)(c->W / c->sw) * (double)(c->Ci * c->Co) * 2;
    k->direct += space * (double)taps(c) * c->kh * c->kw;
    if (wan_conv_wino_fits(c))
        k->done += space * (double)taps(c) * (c->up ? 9 : 16) / 4;
    else
        k->done += space * (double)taps(c) * c->kh * c->kw;
    return rc;
}

static void print_kinds(double whole, wan_dtype t)
{
    bench_peaks p = bench_peak();
    double peak = t == WAN_BF16 ? p.bf16 : p.f32, in = 0;
    printf(
        "peak %.0f GFLOP/s\n| convolution | input | calls | s | of the time | direct GFLOP | done "
        "GFLOP | done GFLOP/s | of the peak | direct GFLOP/s |\n"
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        peak);
    for (int i = 0; i < n_kinds; i++) {
        const kind *k = &kinds[i];
        const wan_conv *c = &k->c;
        in += k->seconds;
        printf(
            "| %d,%d,%d%s%s %lld -> %lld | %lldx%lld | %lld | %.3f | %.1f %% | %.0f | %.0f | %.0f | "
            "%.0f %% | %.0f |\n",
            c->kt, c->kh, c->kw, c->up ? " enlarged" : "", c->sh > 1 ? " halved" : "",
            (long long)c->Ci, (long long)c->Co, (long long)c->H, (long long)c->W,
            (long long)k->calls, k->seconds, 100 * k->seconds / whole, k->direct / 1e9,
            k->done / 1e9, k->done / k->seconds / 1e9, 100 * k->done / k->seconds / 1e9 / peak,
            k->direct / k->seconds / 1e9);
    }
    printf("| all else | | | %.3f | %.1f %% | | | | | |\n", whole - in, 100 * (whole - in) / whole);
}

static double once(job *j, int decode)
{
    n_kinds = 0;
    memset(kinds, 0, sizeof kinds);
    double t = bench_now();
    j->got = 0;
    bench_must(
        decode ? wan_vae_decode(j->v, j->latents, 1 + (j->T - 1) / 4, j->H / 8, j->W / 8, take, j)
               : wan_vae_encode(j->v, j->latents, j->rgb, j->T, j->H, j->W, 0));
    return bench_now() - t;
}

/* Some picture, some latents. */
static void fill(job *j)
{
    uint32_t s = 1;
    for (int64_t i = 0; i < 3 * j->T * j->H * j->W; i++)
        j->rgb[i] = (uint8_t)(i / 97 + ((s = s * 1664525 + 1013904223) >> 27));
    for (int64_t i = 0; i < j->n_latents; i++)
        j->latents[i] = (float)((s = s * 1664525 + 1013904223) >> 8) / (float)(1 << 23) - 1;
}

static void write_result(const char *path, const void *data, size_t bytes)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, bytes, f) != bytes || fclose(f))
        perror(path), exit(1);
}

int main(int argc, char **argv)
{
    if (argc < 7)
        return fprintf(stderr, "vae DIR encode|decode fp32|bf16 FRAMES HEIGHT WIDTH\n"), 2;
    int decode = !strcmp(argv[2], "decode"), runs = argc > 7 ? atoi(argv[7]) : 1;
    job j = { .T = atoll(argv[4]), .H = atoll(argv[5]), .W = atoll(argv[6]) };
    struct rusage u;
    wan_dev *d;
    bench_must(wan_dev_open(&d, "cpu", 0));
    bench_must(wan_vae_open(&j.v, d, argv[1], decode ? WAN_VAE_DECODER : WAN_VAE_ENCODER,
                            strcmp(argv[3], "bf16") ? WAN_F32 : WAN_BF16));
    j.n_latents = wan_vae_channels(j.v) * (1 + (j.T - 1) / 4) * (j.H / 8) * (j.W / 8);
    j.rgb = malloc((size_t)(3 * j.T * j.H * j.W));
    j.latents = malloc((size_t)j.n_latents * sizeof *j.latents);
    if (!j.rgb || !j.latents)
        return 1;
    fill(&j);
    wan_ops table = *d->ops;
    if (getenv("WAN_BENCH_CONV")) {
        inner = d->ops;
        table.conv_forward = timed;
        d->ops = &table;
    }
    double best = once(&j, decode), t = best;
    for (int i = 1; i < runs; i++) {
        t = once(&j, decode);
        best = i == 1 || t < best ? t : best;
    }
    getrusage(RUSAGE_SELF, &u);
    printf("%.3f %ld\n", best, u.ru_maxrss / 1024);
    if (getenv("WAN_BENCH_CONV"))
        print_kinds(t, strcmp(argv[3], "bf16") ? WAN_F32 : WAN_BF16);
    if (argc > 8 && decode)
        write_result(argv[8], j.rgb, (size_t)j.got);
    else if (argc > 8)
        write_result(argv[8], j.latents, (size_t)j.n_latents * sizeof *j.latents);
    free(j.rgb), free(j.latents);
    wan_vae_close(&j.v);
    wan_dev_close(&d);
    return 0;
}
