/* SPDX-License-Identifier: Apache-2.0
 *
 * vae.c - time and memory of one pass of the VAE, for vae.sh.
 *
 *     vae DIR encode|decode fp32|bf16 FRAMES HEIGHT WIDTH [RUNS [RESULT]]
 *
 * Prints seconds (the fastest of RUNS, the first not counted where there are several) and the largest
 * resident size in MiB; RESULT gets the latents or the bytes of the frames.
 */
#include <sys/resource.h>

#include "lib/model/vae/vae.h"
#include "tests/bench/bench.h"

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

static double once(job *j, int decode)
{
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
    double best = once(&j, decode);
    for (int i = 1; i < runs; i++) {
        double t = once(&j, decode);
        best = i == 1 || t < best ? t : best;
    }
    getrusage(RUSAGE_SELF, &u);
    printf("%.3f %ld\n", best, u.ru_maxrss / 1024);
    if (argc > 8 && decode)
        write_result(argv[8], j.rgb, (size_t)j.got);
    else if (argc > 8)
        write_result(argv[8], j.latents, (size_t)j.n_latents * sizeof *j.latents);
    free(j.rgb), free(j.latents);
    wan_vae_close(&j.v);
    wan_dev_close(&d);
    return 0;
}
