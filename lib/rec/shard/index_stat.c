/* SPDX-License-Identifier: Apache-2.0
 *
 * index_stat.c - counts sizes from the index, and sums up the latents.
 */
#include "lib/rec/shard/index_stat.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/rec/shard/dataset.h"
#include "lib/rec/shard/dataset_in.h"
#include "lib/rec/shard/shard.h"

enum { MAX_CHANNELS = 4096 };

struct channel {
    double sum, squares;
    uint64_t n;
};

struct stat {
    FILE *out;
    const char *part;
    wan_sample_info *info; /* [n], sorted */
    int64_t n;
    struct channel *channel; /* [channels] */
    int64_t channels;
};

static int line(const struct stat *s, const char *what, const char *of, const char *value,
                int64_t count)
{
    return fprintf(s->out, "%s\t%s\t%s\t%s\t%" PRId64 "\n", s->part, what, of, value, count) < 0
               ? wan_err_errno("cannot write")
               : 0;
}

static int by_latent(const void *a, const void *b)
{
    const int64_t *x = ((const wan_sample_info *)a)->latent,
                  *y = ((const wan_sample_info *)b)->latent;
    for (int i = 0; i < 4; i++)
        if (x[i] != y[i])
            return x[i] < y[i] ? -1 : 1;
    return 0;
}

static int by_frames(const void *a, const void *b)
{
    int64_t x = ((const wan_sample_info *)a)->latent[1],
            y = ((const wan_sample_info *)b)->latent[1];
    return (x > y) - (x < y);
}

static int by_text(const void *a, const void *b)
{
    int64_t x = ((const wan_sample_info *)a)->text_rows,
            y = ((const wan_sample_info *)b)->text_rows;
    return (x > y) - (x < y);
}

static void name_latent(char *text, size_t n, const wan_sample_info *f)
{
    snprintf(text, n, "%" PRId64 "x%" PRId64 "x%" PRId64 "x%" PRId64, f->latent[0], f->latent[1],
             f->latent[2], f->latent[3]);
}

static void name_frames(char *text, size_t n, const wan_sample_info *f)
{
    snprintf(text, n, "%" PRId64, 1 + 4 * (f->latent[1] - 1));
}

static void name_text(char *text, size_t n, const wan_sample_info *f)
{
    snprintf(text, n, "%" PRId64, f->text_rows);
}

/* A line for each value, with the number of samples that have it. */
static int histogram(struct stat *s, const char *what, int (*order)(const void *, const void *),
                     void (*name)(char *, size_t, const wan_sample_info *))
{
    char text[96];
    if (s->n)
        qsort(s->info, (size_t)s->n, sizeof *s->info, order);
    for (int64_t i = 0, j; i < s->n; i = j) {
        for (j = i + 1; j < s->n && !order(&s->info[i], &s->info[j]); j++)
            ;
        name(text, sizeof text, &s->info[i]);
        WAN_TRY(line(s, what, text, "-", j - i));
    }
    return 0;
}

static int add_latent(struct stat *s, const wan_sample *x)
{
    int64_t c = x->info.latent[0], n = x->info.latent[1] * x->info.latent[2] * x->info.latent[3];
    if (c > s->channels) {
        struct channel *more =
            c > MAX_CHANNELS ? NULL : realloc(s->channel, (size_t)c * sizeof *more);
        if (!more)
            return wan_err("sample %s: %" PRId64 " channels, or out of memory", x->key, c);
        memset(more + s->channels, 0, (size_t)(c - s->channels) * sizeof *more);
        s->channel = more;
        s->channels = c;
    }
    for (int64_t i = 0; i < c; i++) {
        struct channel *h = &s->channel[i];
        const float *v = x->latent + i * n;
        double sum = 0, squares = 0;
        for (int64_t k = 0; k < n; k++) {
            sum += (double)v[k];
            squares += (double)v[k] * (double)v[k];
        }
        h->sum += sum;
        h->squares += squares;
        h->n += (uint64_t)n;
    }
    return 0;
}

static int moments(struct stat *s)
{
    char of[24], value[40];
    for (int64_t i = 0; i < s->channels; i++) {
        const struct channel *h = &s->channel[i];
        double mean = h->sum / (double)h->n, var = h->squares / (double)h->n - mean * mean;
        snprintf(of, sizeof of, "%" PRId64, i);
        snprintf(value, sizeof value, "%.6g", mean);
        WAN_TRY(line(s, "mean", of, value, (int64_t)h->n));
        snprintf(value, sizeof value, "%.6g", var > 0 ? sqrt(var) : 0);
        WAN_TRY(line(s, "std", of, value, (int64_t)h->n));
    }
    return 0;
}

static int read_all(struct stat *s, const wan_dataset *d, void (*progress)(size_t, size_t))
{
    wan_sample x = WAN_SAMPLE_INIT;
    int rc = 0;
    for (int64_t i = 0; rc == 0 && i < s->n; i++) {
        if (progress)
            progress((size_t)i, (size_t)s->n);
        rc = wan_dataset_read(d, i, &x);
        if (rc == 0)
            rc = add_latent(s, &x);
    }
    wan_sample_clear(&x);
    return rc;
}

static int stat_part(FILE *out, const char *dir, const char *part, void (*progress)(size_t, size_t))
{
    wan_dataset *d;
    struct stat s = { .out = out, .part = part };
    WAN_TRY(wan_dataset_open(&d, dir, part));
    s.n = wan_dataset_count(d);
    s.info = wan_malloc((size_t)s.n + 1, sizeof *s.info, "sizes of samples");
    int rc = s.info ? wan_dataset_infos(d, s.info) : -1;
    if (rc == 0)
        rc = line(&s, "samples", "-", "-", s.n);
    if (rc == 0)
        rc = histogram(&s, "latent", by_latent, name_latent);
    if (rc == 0)
        rc = histogram(&s, "frames", by_frames, name_frames);
    if (rc == 0)
        rc = histogram(&s, "text", by_text, name_text);
    if (rc == 0)
        rc = read_all(&s, d, progress);
    if (rc == 0)
        rc = moments(&s);
    free(s.info);
    free(s.channel);
    wan_dataset_close(&d);
    return rc;
}

int wan_index_stat(FILE *out, const char *dir, void (*progress)(size_t, size_t))
{
    json_t *counts;
    wan_split split;
    WAN_TRY(wan_dataset_meta(&counts, &split, dir));
    int rc = fputs("part\twhat\tof\tvalue\tcount\n", out) < 0 ? wan_err_errno("cannot write") : 0;
    if (rc == 0)
        rc = wan_dataset_tell_unknown(dir);
    for (size_t i = 0; rc == 0 && i < split.n; i++)
        rc = stat_part(out, dir, split.part[i].name, progress);
    json_decref(counts);
    wan_split_clear(&split);
    return rc;
}
