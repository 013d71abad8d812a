/* SPDX-License-Identifier: Apache-2.0
 *
 * check_save.c - clips to files and records: names, contents, and that a clip with a frame too few or
 * too many leaves nothing.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/media/save.h"
#include "lib/media/video.h"
#include "tests/tap.h"

#define H 32
#define W 48
#define T 5
#define TIMES 100

static char folder[] = "/tmp/wan-check-save.XXXXXX";
static uint8_t rgb[T * H * W * 3];

static void check_name(const char *want, const char *name, const wan_save_clip *c, int i, int n,
                       const char *prompt)
{
    char *path = wan_save_path(name, c, i, n, "t2v", prompt);
    ok(path && !strcmp(path, want), "%s, video %d of %d: %s", name, i, n, path ? path : "none");
    free(path);
}

static void check_names(void)
{
    wan_save_clip c = { .frames = T, .height = H, .width = W }, one = c;
    one.frames = 1;
    check_name("a/b.mp4", "a/b.mp4", &c, 0, 1, "x");
    check_name("a/b.c_02.png", "a/b.c.png", &one, 2, 3, "x");
    check_name("a/b_01.webm", "a/b.webm", &c, 1, 2, "x");
    check_name("s_01_%04d.png", "s_%04d.png", &c, 1, 2, "x");
    check_name("s/%d.png", "s/%d.png", &c, 0, 1, "x");
    check_name("t2v_v2.0_videoindex0_size48x32_x.mp4", "v2.0", &c, 0, 1, "x");
    check_name("a.b/t2v_n_videoindex1_size48x32_x_y-z.mp4", "a.b/n", &c, 1, 2, "x/y-z");
    check_name("t2v_.png_videoindex0_size48x32_.png", ".png", &one, 0, 1, "");
    /* 50 bytes of the prompt, none of them half a character */
    check_name("t2v_n_videoindex0_size48x32_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.mp4",
               "n", &c, 0, 1, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xc3\xa9");
}

/* 16 three-byte characters and a half are 50 bytes: the name ends behind the 16th. */
static void check_utf8(void)
{
    wan_save_clip c = { .frames = T, .height = H, .width = W };
    char prompt[64 * 3 + 1] = "", want[128];
    for (int i = 0; i < 64; i++)
        strcat(prompt, "\xe7\x8c\xab");
    snprintf(want, sizeof want, "t2v_n_videoindex0_size48x32_%.48s.mp4", prompt);
    check_name(want, "n", &c, 0, 1, prompt);
    check_name("t2v_n_videoindex0_size48x32_a\xff.mp4", "n", &c, 0, 1, "a\xff");
}

static int save(const wan_save_clip *c, int64_t frames)
{
    wan_save *s;
    WAN_TRY(wan_save_open(&s, c));
    int rc = 0;
    for (int64_t i = 0; i < frames && rc == 0; i++)
        rc = wan_save_frames(s, rgb + i * H * W * 3, 1);
    if (rc == 0)
        return wan_save_finish(&s);
    wan_save_discard(&s);
    return rc;
}

static int exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static void check_files(void)
{
    wan_save_clip c = {
        .path = "v.mp4", .frames = T, .height = H, .width = W, .fps = 16, .crf = 10
    };
    wan_video v;
    wan_video_options whole = { 0 };
    ok(wan_save_probe(&c) == 0 && !exists("v.mp4"), "a probe leaves nothing");
    ok(save(&c, T - 1) < 0 && !exists("v.mp4"), "a frame too few: %s", wan_err_text());
    ok(save(&c, T + 1) < 0 && !exists("v.mp4"), "a frame too many: %s", wan_err_text());
    ok(save(&c, T) == 0 && wan_video_read(&v, "v.mp4", &whole) == 0 && v.frames == T &&
           v.height == H && v.width == W,
       "an mp4 of %d frames", T);
    wan_video_free(&v);
    c.path = "v.png";
    ok(save(&c, T) < 0 && !exists("v.png"), "%s", wan_err_text());
    c.frames = 1;
    ok(save(&c, 1) == 0 && exists("v.png"), "a picture");
    c.path = "none/v.png";
    ok(wan_save_probe(&c) < 0 && strstr(wan_err_text(), "none/v.png"), "%s", wan_err_text());
}

/* Flat colours that change from frame to frame: what a lossy coder has to keep. */
static void paint(void)
{
    for (int t = 0; t < T; t++)
        for (int i = 0; i < H * W * 3; i++)
            rgb[t * H * W * 3 + i] =
                (uint8_t)(i / 3 % W < W / 2 ? 40 + 30 * t + 20 * (i % 3) : 200);
}

/* The clip in a container: frames, size, and what is left of the colours. */
static void check_container(const char *path, double bound)
{
    wan_save_clip c = { .path = path, .frames = T, .height = H, .width = W, .fps = 10, .crf = 4 };
    wan_video v = { 0 };
    wan_video_options whole = { 0 };
    double sum = 0;
    if (!wan_video_container(path)) {
        tap_skip(path, "this libav has no such container");
        return;
    }
    if (!ok(wan_save_probe(&c) == 0 && !exists(path) && save(&c, T) == 0 &&
                wan_video_read(&v, path, &whole) == 0,
            "%s: %s", path, wan_err_text()))
        return;
    int good = v.frames == T && v.height == H && v.width == W;
    for (size_t i = 0; good && i < sizeof rgb; i++)
        sum += abs(v.rgb[i] - rgb[i]);
    ok(good && sum / sizeof rgb < bound, "%s: %d frames, mean error %.2f (bound %g)", path,
       (int)v.frames, sum / sizeof rgb, bound);
    wan_video_free(&v);
}

/* The same frames are the same bytes, however often a process writes them and whatever it freed before:
 * x264 for AVX-512 as it comes failed this at 32x32, not at 48x32. */
static void check_again(void)
{
    wan_save_clip c = {
        .path = "a.mp4", .frames = T, .height = H, .width = 32, .fps = 16, .crf = 18
    };
    char *first = NULL, *now = NULL;
    size_t n = 0, m = 0;
    int same = 0;
    for (int i = 0; i < TIMES; i++) {
        if (save(&c, T) < 0 || wan_slurp(&now, &m, c.path, 1 << 20) < 0)
            break;
        same += !first || (m == n && !memcmp(first, now, n));
        free(first);
        first = now, n = m, now = NULL;
        void *dirt = malloc((size_t)(i % 7 + 1) << 14);
        if (dirt)
            memset(dirt, 37 * i, (size_t)(i % 7 + 1) << 14);
        free(dirt);
    }
    free(first);
    ok(same == TIMES, "an mp4 written %d times: %d as the one before", TIMES, same);
}

static void check_sequence(void)
{
    wan_save_clip c = { .path = "s_%03d.png", .frames = T, .height = H, .width = W };
    ok(save(&c, T - 1) < 0 && !exists("s_000.png") && !exists("s_003.png"),
       "a sequence that is cut off leaves no picture: %s", wan_err_text());
    ok(save(&c, T) == 0 && exists("s_000.png") && exists("s_004.png") && !exists("s_005.png"),
       "a sequence of pictures");
    wan_video v = { 0 };
    wan_video_options whole = { 0 };
    ok(wan_video_read(&v, "s_003.png", &whole) == 0 && v.height == H && v.width == W &&
           !memcmp(v.rgb, rgb + 3 * H * W * 3, H * W * 3),
       "picture 3 is frame 3");
    wan_video_free(&v);
}

static void check_record(void)
{
    FILE *f = tmpfile();
    wan_record r = WAN_RECORD_INIT;
    wan_reader *in = NULL;
    wan_save_clip c = { .frames = T, .height = H, .width = W, .key = "k" };
    c.meta = json_pack("{s:s}", "caption", "a cat");
    int rc = f ? wan_writer_open(&c.records, f, "stream", NULL) : -1;
    if (rc == 0)
        rc = save(&c, T) | wan_writer_finish(&c.records);
    json_decref(c.meta);
    if (f)
        rewind(f);
    ok(rc == 0 && wan_reader_open(&in, f, "stream") == 0 && wan_reader_next(in, &r) == 1,
       "a record");
    wan_tensor *t = wan_record_find(&r, "frames");
    ok(t && t->bytes == sizeof rgb && !memcmp(t->data, rgb, sizeof rgb) && !strcmp(r.key, "k") &&
           !strcmp(json_string_value(json_object_get(r.meta, "caption")), "a cat"),
       "has the frames and the caption");
    wan_record_clear(&r);
    wan_reader_close(&in);
    if (f)
        fclose(f);
}

int main(void)
{
    for (size_t i = 0; i < sizeof rgb; i++)
        rgb[i] = (uint8_t)(i * 31 + i / 211);
    if (!mkdtemp(folder) || chdir(folder) < 0)
        return 1;
    check_names();
    check_utf8();
    check_record();
    if (!strcmp(wan_video_version(), "no FFmpeg"))
        tap_skip("files", "this build has no FFmpeg");
    else {
        check_files();
        check_again();
        paint();
        check_container("v.mkv", 4);
        check_container("v.webm", 4);
        check_container("v.mov", 4);
        check_container("v.gif", 24);
        check_sequence();
    }
    wan_remove_tree(folder);
    return tap_done();
}
