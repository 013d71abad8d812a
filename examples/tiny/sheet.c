/* SPDX-License-Identifier: Apache-2.0
 *
 * sheet.c - contact sheet: for each sampled video the nearest training clip above it.
 *
 *     sheet OUT.png TRAINING_DIR SAMPLE.mp4...
 *
 * Nearest: least mean squared pixel difference over frames 0, 1/4 .. 1 of both clips, scaled to the
 * sample's size.  Prints one line per sample: its name, the nearest clip, the PSNR between them.
 */
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/media/video.h"

enum { PICKS = 5, CELL = 96, GAP = 4 };

/* PICKS frames of one clip at CELL x CELL. */
typedef struct strip {
    char *name;
    uint8_t *rgb; /* [PICKS, CELL, CELL, 3] */
} strip;

static int strip_read(strip *s, const char *path)
{
    wan_video v;
    wan_video_options opt = { .fit = WAN_FIT_CROP, .resize = WAN_RESIZE_BILINEAR, .fps = 0 };
    size_t frame = (size_t)CELL * CELL * 3;
    WAN_TRY(wan_video_read(&v, path, &opt));
    s->rgb = wan_malloc(PICKS, frame, "contact sheet");
    s->name = strdup(path);
    int rc = s->rgb && s->name ? 0 : -1;
    for (int k = 0; k < PICKS && rc == 0; k++) {
        int64_t t = (v.frames - 1) * k / (PICKS - 1);
        rc = wan_image_scale(s->rgb + (size_t)k * frame, CELL, CELL,
                             v.rgb + (size_t)t * (size_t)v.height * (size_t)v.width * 3, v.height,
                             v.width);
    }
    wan_video_free(&v);
    return rc;
}

static double distance(const strip *a, const strip *b)
{
    double s = 0;
    size_t n = (size_t)PICKS * CELL * CELL * 3;
    for (size_t i = 0; i < n; i++) {
        double d = (double)a->rgb[i] - b->rgb[i];
        s += d * d;
    }
    return s / (double)n;
}

static int is_mp4(const struct dirent *e)
{
    size_t n = strlen(e->d_name);
    return n > 4 && !strcmp(e->d_name + n - 4, ".mp4");
}

static int read_dir(strip **out, size_t *n, const char *dir)
{
    struct dirent **e;
    int found = scandir(dir, &e, is_mp4, alphasort);
    if (found < 0)
        return wan_err_errno("%s: cannot list", dir);
    strip *s = wan_calloc((size_t)found, sizeof *s, "clips");
    int rc = s ? 0 : -1;
    for (int i = 0; i < found; i++) {
        char *path = wan_path_join(dir, e[i]->d_name);
        if (rc == 0)
            rc = strip_read(s + i, path);
        free(path);
        free(e[i]);
    }
    free(e);
    *out = s;
    *n = (size_t)found;
    return rc < 0 || found ? rc : wan_err("%s: no .mp4 files", dir);
}

/* The strip as one row of the sheet with its top left corner at (x, y). */
static void paste(uint8_t *sheet, int width, const strip *s, int x, int y)
{
    for (int k = 0; k < PICKS; k++)
        for (int r = 0; r < CELL; r++)
            memcpy(sheet + 3 * ((size_t)(y + r) * (size_t)width + (size_t)(x + k * (CELL + GAP))),
                   s->rgb + 3 * (((size_t)k * CELL + (size_t)r) * CELL), CELL * 3);
}

static const strip *nearest(const strip *sample, const strip *clips, size_t n)
{
    const strip *best = NULL;
    double least = INFINITY;
    for (size_t i = 0; i < n; i++) {
        double d = distance(sample, clips + i);
        if (d < least) {
            least = d;
            best = clips + i;
        }
    }
    printf("%s\tnearest %s\t%.1f dB\n", sample->name, best->name,
           10 * log10(255 * 255 / fmax(least, 1e-3)));
    return best;
}

int main(int argc, char **argv)
{
    wan_log_init("sheet", 1);
    if (argc < 4) {
        wan_err("usage: sheet OUT.png TRAINING_DIR SAMPLE.mp4...");
        wan_die_usage();
    }
    strip *clips = NULL, sample;
    size_t n = 0;
    if (read_dir(&clips, &n, argv[2]) < 0)
        wan_die();
    int samples = argc - 3, columns = samples > 4 ? 2 : 1, rows = (samples + columns - 1) / columns;
    int cell_w = PICKS * (CELL + GAP) + 3 * GAP, cell_h = 2 * (CELL + GAP) + 4 * GAP;
    int w = columns * cell_w, h = rows * cell_h;
    uint8_t *sheet = wan_malloc((size_t)w * (size_t)h, 3, "contact sheet");
    if (!sheet)
        wan_die();
    memset(sheet, 255, (size_t)w * (size_t)h * 3);
    for (int i = 0; i < samples; i++) {
        if (strip_read(&sample, argv[3 + i]) < 0)
            wan_die();
        int x = i % columns * cell_w + GAP, y = i / columns * cell_h + GAP;
        paste(sheet, w, nearest(&sample, clips, n), x, y);
        paste(sheet, w, &sample, x, y + CELL + GAP);
        free(sample.rgb);
        free(sample.name);
    }
    if (wan_png_write(argv[1], sheet, h, w) < 0)
        wan_die();
    free(sheet);
    return WAN_EXIT_DONE;
}
