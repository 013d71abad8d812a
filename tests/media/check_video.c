/* SPDX-License-Identifier: Apache-2.0
 *
 * check_video.c - clips written by our writer and read back: which frames, which place, which
 * colours; and what libav refuses.  Frame k of a clip is filled with the grey level 8 + 7 * k, so a frame tells its
 * number.
 */
#include <dlfcn.h>
#include <libavutil/dict.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/media/sheet.h"
#include "lib/media/video.h"
#include "lib/media/video_late.h"
#include "tests/tap.h"

static char dir[] = "/tmp/wan-video.XXXXXX";
static char path[256];

static const char *in_dir(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static int write_greys(const char *file, int frames, double fps, int h, int w)
{
    wan_video_writer *out;
    uint8_t *px = malloc((size_t)h * (size_t)w * 3);
    int rc = wan_video_writer_open(&out, file, h, w, fps, 10);
    for (int k = 0; rc == 0 && k < frames; k++) {
        memset(px, 8 + 7 * k, (size_t)h * (size_t)w * 3);
        rc = wan_video_writer_frame(out, px);
    }
    if (rc == 0)
        rc = wan_video_writer_finish(&out);
    wan_video_writer_discard(&out); /* NULL by now, unless a frame was refused */
    free(px);
    return rc;
}

/* The number that frame k of v shows. */
static int number(const wan_video *v, int64_t k)
{
    size_t n = (size_t)v->height * (size_t)v->width * 3;
    const uint8_t *p = v->rgb + (size_t)k * n;
    return (p[n / 2] - 8 + 3) / 7;
}

static void check_retime(double from, double to, int frames)
{
    wan_video v;
    wan_video_options o = { .height = 32, .width = 32, .fps = to };
    if (!ok(write_greys(in_dir("grey.mp4"), frames, from, 32, 32) == 0, "written") ||
        !ok(wan_video_read(&v, path, &o) == 0, "%g to %g: read%s", from, to,
            v.rgb ? "" : wan_err_text()))
        return;
    int64_t want = (int64_t)floor(frames / from * to + 0.5), wrong = 0;
    for (int64_t k = 0; k < v.frames; k++) {
        int64_t best = 0;
        for (int64_t j = 0; j < frames; j++)
            if (floor((double)j / from * to + 0.5) <= (double)k)
                best = j;
        wrong += number(&v, k) != best;
    }
    ok(v.frames == want && v.frames_retimed == want && v.frames_in == frames,
       "%g to %g: %lld of %lld frames, %lld expected", from, to, (long long)v.frames,
       (long long)v.frames_in, (long long)want);
    ok(!wrong, "each the latest of its slot (%lld wrong)", (long long)wrong);
    ok(fabs(v.fps_in - from) < 0.01 && v.fps == to && v.damaged == 0, "rates %g %g, %lld damaged",
       v.fps_in, v.fps, (long long)v.damaged);
    wan_video_free(&v);
}

static void check_source_rate(void)
{
    wan_video v;
    wan_video_options o = { .skip_frames = 3, .max_frames = 5 };
    ok(write_greys(in_dir("grey.mp4"), 20, 12.5, 48, 64) == 0 &&
           wan_video_read(&v, path, &o) == 0 && v.frames == 5 && v.frames_retimed == 20 &&
           v.height == 48 && v.width == 64 && number(&v, 0) == 3 && number(&v, 4) == 7,
       "source rate and size, skip 3, keep 5");
    wan_video_free(&v);
    o = (wan_video_options){ .max_bytes = 4 * 48 * 64 * 3 };
    ok(wan_video_read(&v, path, &o) < 0 && strstr(wan_err_text(), "more than") && !v.rgb, "%s",
       wan_err_text());
}

static void check_frames_mode(void)
{
    wan_video v;
    int64_t index[8], one;
    static const int64_t want[8] = { 0, 2, 5, 8, 10, 13, 16, 19 }; /* numpy.linspace(0, 19, 8) */
    wan_video_options o = { .height = 16, .width = 16 };
    int rc = write_greys(in_dir("grey.mp4"), 20, 24, 32, 32);
    ok(rc == 0 && wan_video_read_frames(&v, index, 8, path, &o) == 0 && v.frames == 8, "8 of 20");
    ok(!memcmp(index, want, sizeof want), "numpy's places");
    int wrong = 0;
    for (int k = 0; k < 8; k++)
        wrong += number(&v, k) != want[k];
    ok(!wrong, "those frames");
    wan_video_free(&v);
    ok(wan_video_read_frames(&v, &one, 1, path, &o) == 0 && one == 0 && number(&v, 0) == 0,
       "one frame is the first");
    wan_video_free(&v);
    rc = write_greys(in_dir("grey.mp4"), 3, 24, 32, 32);
    ok(rc == 0 && wan_video_read_frames(&v, index, 8, path, &o) == 0 && index[1] == 0 &&
           index[4] == 1 && index[7] == 2 && number(&v, 7) == 2,
       "8 of 3 repeat");
    wan_video_free(&v);
}

/* 64 x 96: red grows to the right, green downwards. */
static void gradient(uint8_t *px)
{
    for (int y = 0; y < 64; y++)
        for (int x = 0; x < 96; x++) {
            uint8_t *p = px + (y * 96 + x) * 3;
            p[0] = (uint8_t)(20 + 2 * x);
            p[1] = (uint8_t)(20 + 3 * y);
            p[2] = 90;
        }
}

/* The largest difference from the gradient seen through scale and offset. */
static double off(const wan_video *v, double scale_y, double scale_x, double top, double left)
{
    double worst = 0;
    for (int y = 2; y < v->height - 2; y++)
        for (int x = 2; x < v->width - 2; x++) {
            const uint8_t *p = v->rgb + (y * v->width + x) * 3;
            double r = 20 + 2 * ((x + left + 0.5) * scale_x - 0.5);
            double g = 20 + 3 * ((y + top + 0.5) * scale_y - 0.5);
            worst = worse(worst, worse(fabs(p[0] - r), fabs(p[1] - g)));
        }
    return worst;
}

static void check_fit(void)
{
    static uint8_t px[64 * 96 * 3];
    wan_video v;
    gradient(px);
    ok(wan_png_write(in_dir("a.png"), px, 64, 96) == 0, "PNG written");
    ok(wan_video_read(&v, path, &(wan_video_options){ 0 }) == 0 && v.frames == 1 &&
           !memcmp(v.rgb, px, sizeof px),
       "PNG read back bit for bit");
    wan_video_free(&v);
    wan_video_options o = { .height = 32, .width = 32, .fit = WAN_FIT_CROP };
    ok(wan_video_read(&v, path, &o) == 0 && v.height == 32 && v.width == 32, "cover and crop");
    ok_err(off(&v, 2, 2, 0, 8), 2.5, "its centre");
    wan_video_free(&v);
    o.fit = WAN_FIT_STRETCH;
    ok(wan_video_read(&v, path, &o) == 0 && v.height == 32 && v.width == 32, "stretch");
    ok_err(off(&v, 2, 3, 0, 0), 2.5, "all of it");
    wan_video_free(&v);
    o = (wan_video_options){ .height = 64, .width = 64, .fit = WAN_FIT_INSIDE };
    ok(wan_video_read(&v, path, &o) == 0 && v.height == 32 && v.width == 64,
       "inside: 42 x 64 becomes 32 x 64, not odd");
    ok_err(off(&v, 64.0 / 42, 1.5, 5, 0), 2.5, "its centre");
    ok(v.source_height == 64 && v.source_width == 96, "source size");
    wan_video_free(&v);
    for (int r = WAN_RESIZE_BILINEAR; r <= WAN_RESIZE_LANCZOS; r++) {
        o = (wan_video_options){
            .height = 48, .width = 64, .fit = WAN_FIT_CROP, .resize = (enum wan_resize)r
        };
        ok(wan_video_read(&v, path, &o) == 0 && off(&v, 64.0 / 48, 64.0 / 48, 0, 4) < 6,
           "resize method %d", r);
        wan_video_free(&v);
    }
    o = (wan_video_options){ .height = 40, .width = 64 };
    ok(wan_video_read(&v, path, &o) < 0 && strstr(wan_err_text(), "multiples of 16"), "%s",
       wan_err_text());
}

/* Writes file again as path, with another display matrix [a b; c d] in its track header. */
static int set_matrix(const char *file, const char *to, const int32_t m[4])
{
    char *a, *at;
    size_t n;
    if (wan_slurp(&a, &n, file, 1 << 20) < 0)
        return -1;
    at = memmem(a, n, "tkhd", 4);
    static const int place[4] = { 0, 1, 3, 4 };
    for (int i = 0; at && i < 4; i++) {
        uint32_t v = (uint32_t)m[i] << 16;
        uint8_t be[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), 0, 0 };
        memcpy(at + 44 + 4 * place[i], be, 4); /* behind version, times, track, layer, volume */
    }
    int rc = at ? wan_spew(to, a, n) : -1;
    free(a);
    return rc;
}

/* The gradient, shown as each of the eight matrices says: pixel (x, y) at (a x + c y, b x + d y). */
static void check_matrix(void)
{
    static const int32_t all[8][4] = { { 1, 0, 0, 1 },   { -1, 0, 0, 1 }, { 1, 0, 0, -1 },
                                       { -1, 0, 0, -1 }, { 0, 1, 1, 0 },  { 0, -1, 1, 0 },
                                       { 0, 1, -1, 0 },  { 0, -1, -1, 0 } };
    static uint8_t px[64 * 96 * 3];
    char plain[256];
    wan_video_writer *w;
    wan_video v;
    gradient(px);
    snprintf(plain, sizeof plain, "%s", in_dir("plain.mp4"));
    int rc = wan_video_writer_open(&w, plain, 64, 96, 16, 4);
    rc |= wan_video_writer_frame(w, px);
    rc |= wan_video_writer_finish(&w);
    ok(rc == 0, "written");
    for (int i = 0; rc == 0 && i < 8; i++) {
        const int32_t *m = all[i];
        double worst = 0;
        int got = set_matrix(plain, in_dir("turned.mp4"), m);
        got |= wan_video_read(&v, path, &(wan_video_options){ 0 });
        for (int y = 0; got == 0 && y < 64; y++)
            for (int x = 0; x < 96; x++) {
                int to_x = m[0] * x + m[2] * y, to_y = m[1] * x + m[3] * y;
                to_x += m[0] < 0 ? 95 : m[2] < 0 ? 63 : 0;
                to_y += m[1] < 0 ? 95 : m[3] < 0 ? 63 : 0;
                const uint8_t *p = v.rgb + (to_y * v.width + to_x) * 3, *q = px + (y * 96 + x) * 3;
                worst = worse(worst, worse(abs(p[0] - q[0]), abs(p[1] - q[1])));
            }
        ok(got == 0 && v.width == (m[0] ? 96 : 64) && worst < 12, "display matrix %d %d %d %d: %g",
           m[0], m[1], m[2], m[3], worst);
        wan_video_free(&v);
    }
}

static void check_scale(void)
{
    static uint8_t px[64 * 96 * 3], half[32 * 48 * 3], big[96 * 192 * 3];
    gradient(px);
    wan_video v = { .rgb = half, .height = 32, .width = 48 };
    ok(wan_image_scale(half, 32, 48, px, 64, 96) == 0, "half");
    ok_err(off(&v, 2, 2, 0, 0), 1.01, "area mean");
    v = (wan_video){ .rgb = big, .height = 96, .width = 192 };
    ok(wan_image_scale(big, 96, 192, px, 64, 96) == 0, "grown");
    ok_err(off(&v, 64.0 / 96, 0.5, 0, 0), 1.01, "bilinear");
    ok(wan_image_scale(big, 0, 192, px, 64, 96) < 0, "%s", wan_err_text());
}

/* Nine grey frames of 16 x 32 in three columns: the first, the middle and the last one. */
static void check_sheet(void)
{
    static uint8_t px[9 * 16 * 32 * 3];
    wan_sheet *s;
    wan_video v;
    for (size_t i = 0; i < sizeof px; i++)
        px[i] = (uint8_t)(8 + 7 * (i / (16 * 32 * 3)));
    int rc = wan_sheet_open(&s, 2, 3, 16), shown[4];
    for (int i = 0; rc == 0 && i < 3; i++)
        shown[i] = wan_sheet_add(s, px, i == 1 ? 2 : 9, 16, 32);
    shown[3] = wan_sheet_add(s, px, 1, 0, 32);
    ok(rc == 0 && shown[0] == 1 && shown[1] == 1 && shown[2] == 0 && shown[3] < 0,
       "two rows of three, and no third");
    rc = wan_sheet_write(s, in_dir("sheet.png"));
    wan_sheet_close(&s);
    ok(rc == 0 && wan_video_read(&v, path, &(wan_video_options){ 0 }) == 0 && v.height == 32 &&
           v.width == 96,
       "34 x 102 pixels, read as 32 x 96");
    static const struct {
        int y, x, grey;
    } want[] = { { 8, 8, 8 },  { 8, 40, 8 + 7 * 4 }, { 8, 80, 8 + 7 * 8 },
                 { 24, 8, 8 }, { 24, 40, 8 + 7 },    { 24, 80, 0 } };
    for (size_t i = 0; v.rgb && i < sizeof want / sizeof *want; i++)
        ok(v.rgb[(want[i].y * 96 + want[i].x) * 3] == want[i].grey, "grey %d at %d, %d (%d there)",
           want[i].grey, want[i].y, want[i].x, v.rgb[(want[i].y * 96 + want[i].x) * 3]);
    wan_video_free(&v);
}

static void check_writer(void)
{
    char *a, *b;
    size_t n, m;
    wan_video_writer *w;
    int rc = write_greys(in_dir("one.mp4"), 9, 16, 32, 48);
    rc |= wan_slurp(&a, &n, path, 1 << 20);
    rc |= write_greys(in_dir("two.mp4"), 9, 16, 32, 48);
    rc |= wan_slurp(&b, &m, path, 1 << 20);
    ok(rc == 0 && n == m && !memcmp(a, b, n), "same frames, same bytes");
    free(a);
    free(b);
    ok(wan_video_writer_open(&w, in_dir("x.mp4"), 33, 32, 16, 10) < 0 && !w, "%s", wan_err_text());
    ok(wan_video_writer_open(&w, in_dir("no/x.mp4"), 32, 32, 16, 10) < 0 && !w, "%s",
       wan_err_text());
    ok(wan_video_writer_open(&w, in_dir("x.mp4"), 32, 32, 16, 10) == 0 &&
           wan_video_writer_finish(&w) < 0 && access(path, F_OK),
       "%s", wan_err_text());
    ok(wan_png_write("/dev/full", (uint8_t *)"abc", 1, 1) < 0, "%s", wan_err_text());
}

/* Colours as a player shows them: BT.709, limited range, within coding error. */
static void check_colours(void)
{
    static const uint8_t patch[6][3] = { { 230, 20, 20 },  { 20, 200, 30 }, { 30, 40, 220 },
                                         { 240, 240, 20 }, { 0, 0, 0 },     { 255, 255, 255 } };
    static uint8_t px[32 * 192 * 3];
    wan_video v;
    wan_video_writer *w;
    for (int i = 0; i < 32 * 192; i++)
        memcpy(px + i * 3, patch[i % 192 / 32], 3);
    int rc = wan_video_writer_open(&w, in_dir("c.mp4"), 32, 192, 16, 4), worst = 0;
    rc |= wan_video_writer_frame(w, px);
    rc |= wan_video_writer_finish(&w);
    rc |= wan_video_read(&v, path, &(wan_video_options){ 0 });
    for (int i = 0; rc == 0 && i < 6; i++)
        for (int c = 0; c < 3; c++) {
            int d = abs(v.rgb[(16 * 192 + i * 32 + 16) * 3 + c] - patch[i][c]);
            worst = d > worst ? d : worst;
        }
    ok(rc == 0 && worst <= 4, "six colours through mp4 and back (worst %d of 255)", worst);
    wan_video_free(&v);
}

static void check_damage(void)
{
    char *a;
    size_t n;
    wan_video v;
    wan_video_options o = { .height = 32, .width = 32 };
    ok(wan_video_read(&v, in_dir("absent.mp4"), &o) < 0 && strstr(wan_err_text(), "absent.mp4"),
       "%s", wan_err_text());
    ok(wan_spew(in_dir("text.mp4"), "this is no video\n", 17) == 0 &&
           wan_video_read(&v, path, &o) < 0 && strstr(wan_err_text(), "not a video"),
       "%s", wan_err_text());
    int rc = write_greys(in_dir("grey.mp4"), 20, 16, 64, 64);
    rc |= wan_slurp(&a, &n, path, 1 << 20);
    ok(rc == 0 && wan_spew(in_dir("cut.mp4"), a, n * 3 / 4) == 0 &&
           wan_video_read(&v, path, &o) < 0,
       "cut: %s", wan_err_text());
    free(a);
}

/* ---- what libav refuses */

static const char *refused; /* the option that is not taken, and why */
static int refusal, frames_left;

/* In place of libavutil's. */
int av_dict_set(AVDictionary **d, const char *key, const char *value, int flags)
{
    int (*real)(AVDictionary **, const char *, const char *, int) =
        (__typeof__(real))dlsym(RTLD_NEXT, "av_dict_set");
    return refused && key && !strcmp(key, refused) ? refusal : real(d, key, value, flags);
}

static int set_option(void *obj, const char *name, const char *value, int flags)
{
    return !strcmp(name, refused) ? refusal : av_opt_set(obj, name, value, flags);
}

static int convert(struct SwsContext *c, const uint8_t *const src[], const int in[], int y, int h,
                   uint8_t *const dst[], const int out[])
{
    return frames_left-- > 0 ? sws_scale(c, src, in, y, h, dst, out) : refusal;
}

/* What a decoder may open must not be lost for want of memory: such a clip is not read. */
static void check_refused_reading(void)
{
    static const char *const option[] = { "format_whitelist", "protocol_whitelist" };
    wan_video_options o = { .height = 32, .width = 32 };
    wan_video v;
    refusal = AVERROR(ENOMEM);
    ok(write_greys(in_dir("grey.mp4"), 4, 16, 32, 32) == 0, "written");
    for (int i = 0; i < 2; i++) {
        refused = option[i];
        int rc = wan_video_read(&v, path, &o);
        ok(rc < 0 && strstr(wan_err_text(), "memory"), "%s without memory: %s", option[i],
           rc < 0 ? wan_err_text() : "read");
    }
    refused = NULL;
    ok(wan_video_read(&v, path, &o) == 0 && v.frames == 4, "and with memory it is read");
    wan_video_free(&v);
}

static void check_refused_writing(void)
{
    static const char *const option[] = { "preset", "x264-params" };
    wan_video_late.av_opt_set = set_option;
    unlink(in_dir("r.mp4"));
    for (int i = 0; i < 2; i++) {
        refused = option[i], refusal = AVERROR(ENOMEM);
        ok(write_greys(path, 4, 16, 32, 32) < 0 && access(path, F_OK), "%s without memory: %s",
           option[i], wan_err_text());
        refusal = AVERROR_OPTION_NOT_FOUND;
        ok(write_greys(path, 4, 16, 32, 32) == 0 && unlink(path) == 0,
           "%s of another libavcodec is left out", option[i]);
    }
    refused = NULL;
    wan_video_late.av_opt_set = av_opt_set;
    wan_video_late.sws_scale = convert;
    for (int k = 0; k < 4; k++) {
        static const int given[] = { AVERROR(ENOMEM), 0, 16, 31 };
        frames_left = k, refusal = given[k];
        ok(write_greys(path, 4, 16, 32, 32) < 0 && access(path, F_OK),
           "frame %d, of which %d rows are converted: %s", k, given[k], wan_err_text());
    }
    wan_video_late.sws_scale = sws_scale;
}

int main(void)
{
    if (!mkdtemp(dir))
        return 1;
    check_retime(30, 16, 30);
    check_retime(24, 16, 33);
    check_retime(8, 16, 12);
    check_retime(16, 16, 17);
    check_source_rate();
    check_frames_mode();
    check_fit();
    check_matrix();
    check_scale();
    check_sheet();
    check_writer();
    check_colours();
    check_damage();
    check_refused_reading();
    check_refused_writing();
    wan_remove_tree(dir);
    return tap_done();
}
