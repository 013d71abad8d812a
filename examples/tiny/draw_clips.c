/* SPDX-License-Identifier: Apache-2.0
 *
 * draw_clips - draws the demo's clips as NAME.mp4 with NAME.json ({"caption": ...}).
 *
 *     draw_clips [--copies N] [--frames N] [--held-out DIR] OUTDIR
 *
 * The training combinations go to OUTDIR, N (2) different clips of each; with --held-out the
 * other combinations go to DIR, one clip of each.  The same command gives the same bytes.
 */
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "clips.h"
#include "lib/media/video.h"

enum { CRF = 10 };

/* Where the shape is at frame 0, how far it goes per frame, its size; in pixels. */
typedef struct path {
    double x, y, vx, vy, r;
} path;

/* splitmix64: a few reproducible numbers per clip, the same in C and in Python. */
static double next_unit(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-53;
}

static path path_of(tiny_combo c, int index, int copy, int frames)
{
    uint64_t state = (uint64_t)index * 64 + (uint64_t)copy + 1;
    path p;
    p.r = 11.0 + 3.0 * next_unit(&state);
    double speed = 1.25 + 0.5 * next_unit(&state);
    double x = 32.0 - 3.0 + 6.0 * next_unit(&state);
    double y = 32.0 - 3.0 + 6.0 * next_unit(&state);
    p.vx = speed * tiny_motions[c.motion].x;
    p.vy = speed * tiny_motions[c.motion].y;
    p.x = x - p.vx * (frames - 1) / 2.0; /* x, y is the middle of the way */
    p.y = y - p.vy * (frames - 1) / 2.0;
    return p;
}

/* Signed distance to the outline, negative inside; exact but at the corners' outsides. */
static double distance(int shape, double dx, double dy, double r)
{
    if (shape == 0)
        return sqrt(dx * dx + dy * dy) - r;
    if (shape == 1)
        return fmax(fabs(dx), fabs(dy)) - 0.886 * r;
    return fmax(0.8660254037844386 * fabs(dx) - 0.5 * dy, dy) - 0.65 * r;
}

/* How much of the pixel is the shape: a ramp two pixels wide. */
static double cover(double d)
{
    return fmin(1.0, fmax(0.0, 0.5 - d / 2.0));
}

static void draw_frame(uint8_t *rgb, tiny_combo c, path p, int f)
{
    const uint8_t *fg = tiny_colours[c.colour].rgb, *bg = tiny_grounds[c.ground].rgb;
    for (int y = 0; y < CLIP_SIZE; y++)
        for (int x = 0; x < CLIP_SIZE; x++) {
            double a = cover(
                distance(c.shape, x + 0.5 - (p.x + p.vx * f), y + 0.5 - (p.y + p.vy * f), p.r));
            for (int k = 0; k < 3; k++)
                *rgb++ = (uint8_t)floor(bg[k] + a * (fg[k] - bg[k]) + 0.5);
        }
}

static int write_video(const char *file, tiny_combo c, path p, int frames)
{
    static uint8_t rgb[CLIP_SIZE * CLIP_SIZE * 3];
    wan_video_writer *w = NULL;
    WAN_TRY(wan_video_writer_open(&w, file, CLIP_SIZE, CLIP_SIZE, CLIP_FPS, CRF));
    for (int f = 0; f < frames; f++) {
        draw_frame(rgb, c, p, f);
        if (wan_video_writer_frame(w, rgb) < 0) {
            wan_video_writer_discard(&w);
            return -1;
        }
    }
    return wan_video_writer_finish(&w);
}

static int write_caption(const char *file, tiny_combo c)
{
    FILE *f = fopen(file, "w");
    if (!f)
        return wan_err_errno("%s", file);
    fprintf(f, "{\"caption\": \"a %s %s moves %s on a %s background\"}\n",
            tiny_colours[c.colour].name, tiny_shapes[c.shape], tiny_motions[c.motion].caption,
            tiny_grounds[c.ground].name);
    int bad = ferror(f);
    if (fclose(f) != 0 || bad)
        return wan_err_errno("%s", file);
    return 0;
}

static int write_clip(const char *dir, int index, int copy, int frames)
{
    tiny_combo c = tiny_combo_of(index);
    char file[4096];
    int n = snprintf(file, sizeof file - 8, "%s/%s-%s-%s-%s-%d", dir, tiny_colours[c.colour].name,
                     tiny_shapes[c.shape], tiny_motions[c.motion].name, tiny_grounds[c.ground].name,
                     copy);
    if (n < 0 || (size_t)n >= sizeof file - 8)
        return wan_err("%s: name too long", dir);
    strcpy(file + n, ".mp4");
    WAN_TRY(write_video(file, c, path_of(c, index, copy, frames), frames));
    strcpy(file + n, ".json");
    return write_caption(file, c);
}

static int make_dir(const char *dir)
{
    return mkdir(dir, 0777) == 0 || errno == EEXIST ? 0 : wan_err_errno("%s", dir);
}

/* Number of clips written, -1. */
static int write_all(const char *dir, int held_out, int copies, int frames)
{
    int n = 0;
    WAN_TRY(make_dir(dir));
    for (int i = 0; i < CLIPS; i++)
        for (int copy = 0; tiny_held_out(tiny_combo_of(i)) == held_out && copy < copies; copy++) {
            WAN_TRY(write_clip(dir, i, copy, frames));
            n++;
        }
    return n;
}

static int usage(void)
{
    fputs("usage: draw_clips [--copies N] [--frames N] [--held-out DIR] OUTDIR\n", stderr);
    return WAN_EXIT_USAGE;
}

static int number(const char *text, int lo, int hi)
{
    char *end;
    long v = strtol(text, &end, 10);
    return *text && !*end && v >= lo && v <= hi ? (int)v : -1;
}

static int report(const char *dir, int n)
{
    if (n < 0) {
        fprintf(stderr, "draw_clips: %s\n", wan_err_text());
        return WAN_EXIT_FAILED;
    }
    printf("%s: %d clips\n", dir, n);
    return WAN_EXIT_DONE;
}

int main(int argc, char **argv)
{
    const char *out = NULL, *held_out = NULL;
    int copies = 2, frames = CLIP_FRAMES;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--held-out") && i + 1 < argc)
            held_out = argv[++i];
        else if (!strcmp(argv[i], "--copies") && i + 1 < argc)
            copies = number(argv[++i], 1, 63);
        else if (!strcmp(argv[i], "--frames") && i + 1 < argc)
            frames = number(argv[++i], 1, 17);
        else if (argv[i][0] == '-' || out)
            return usage();
        else
            out = argv[i];
    }
    if (!out || copies < 0 || frames < 0)
        return usage();
    int status = report(out, write_all(out, 0, copies, frames));
    if (status == WAN_EXIT_DONE && held_out)
        status = report(held_out, write_all(held_out, 1, 1, frames));
    return status;
}
