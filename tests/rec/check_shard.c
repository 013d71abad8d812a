/* SPDX-License-Identifier: Apache-2.0
 *
 * check_shard.c - names, tar bytes, rolling, record -> sample -> record, what is refused, the
 * division into parts, and the trainer's view; a shard made by DFM's code path included.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/rec/shard/dataset.h"
#include "lib/rec/shard/index.h"
#include "lib/rec/shard/samplemap.h"
#include "lib/rec/shard/shard_set.h"
#include "lib/rec/shard/split.h"
#include "tests/tap.h"

static char dir[] = "/tmp/wan-check-shard.XXXXXX";

static char *in_dir(const char *name)
{
    static char path[64][256];
    static int k;
    k = (k + 1) % 64;
    snprintf(path[k], sizeof path[k], "%s/%s", dir, name);
    return path[k];
}

static void names(void)
{
    static const struct {
        const char *name, *key, *part;
    } table[] = {
        { "a.json", "a", "json" },
        { "a.img1.jpg", "a", "img1.jpg" },
        { "d/a.json", "d/a", "json" },
        { "d.e/a.json", "d.e/a", "json" },
        { "./a.json", "./a", "json" },
        { "a.", "a", "" },
        { "a..b", "a", ".b" },
        { ".hidden", NULL, NULL },
        { "README", NULL, NULL },
        { "__index__/foo.json", NULL, NULL },
        { "__meta__.json", "__meta__", "json" },
        { "x/__m__/y.z", "x/__m__/y", "z" },
        { "d/.y", "d/", "y" },
        { "d.e/.y", NULL, NULL },
        { "d.e/f/.y", "d.e/f/", "y" },
        { "f/d.e/.y", NULL, NULL },
        { "./.y", NULL, NULL },
        { "\xe7\x8c\xab b.json", "\xe7\x8c\xab b", "json" },
        { "v1.5_clip.json", "v1", "5_clip.json" },
    };
    int good = 1;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        size_t len = 0;
        const char *part = NULL;
        int rc = wan_shard_split(table[i].name, &len, &part);
        int same = table[i].key ? rc == 1 && len == strlen(table[i].key) &&
                                      !strncmp(table[i].name, table[i].key, len) &&
                                      !strcmp(part, table[i].part)
                                : rc == 0;
        if (!same)
            printf("# %s\n", table[i].name);
        good &= same;
    }
    ok(good, "member names split as webdataset splits them");
    static const char *const unsafe[] = { "/etc/x.json", "../x.json", "a/../b.json",
                                          "a\n.json",    "a/..",      "" };
    for (size_t i = 0; i < sizeof unsafe / sizeof *unsafe; i++) {
        size_t len;
        const char *part;
        good &= wan_shard_split(unsafe[i], &len, &part) == -1;
    }
    ok(good, "unsafe names are refused: %s", wan_err_text());
}

static void patterns(void)
{
    wan_names l = { 0, 0, 0 }, back = { 0, 0, 0 };
    int good = wan_names_expand(&l, "s{008..010}/{a,b{1..2}}.tar") == 0 && l.n == 9;
    ok(good && !strcmp(l.v[0], "s008/a.tar") && !strcmp(l.v[8], "s010/b2.tar"),
       "braces: ranges, lists, nested");
    wan_names_clear(&l);
    good =
        wan_names_expand(&l, "r0-{000..003}.tar") == 0 && wan_names_expand(&l, "r1-000.tar") == 0;
    ok(good && wan_names_collapse(&back, &l) == 0 && back.n == 2 &&
           !strcmp(back.v[0], "r0-{000..003}.tar") && !strcmp(back.v[1], "r1-000.tar"),
       "runs of numbers collapse (%s)", back.n ? back.v[0] : "");
    wan_names_clear(&l);
    wan_names_clear(&back);
    ok(wan_names_expand(&l, "a{1..9999999999}.tar") < 0 && wan_names_expand(&l, "a{b.tar") < 0 &&
           wan_names_expand(&l, "{0..999}{0..999}{0..999}{0..999}") < 0,
       "bad and huge patterns are refused: %s", wan_err_text());
    wan_names_clear(&l);
}

static int ends_are(size_t n, uint64_t a, uint64_t b, uint64_t c, size_t x, size_t y, size_t z)
{
    size_t end[3];
    uint64_t w[3] = { a, b, c };
    wan_split_ends(end, n, w, 3);
    return end[0] == x && end[1] == y && end[2] == z;
}

static void division(void)
{
    ok(ends_are(10, 7, 2, 1, 7, 9, 10) && ends_are(10, 6, 3, 1, 6, 9, 10),
       "7,2,1 and 6,3,1 of ten lose no shard");
    ok(ends_are(100, 8, 1, 1, 80, 90, 100) && ends_are(10, 8, 1, 1, 8, 9, 10) &&
           ends_are(3, 8, 1, 1, 2, 2, 3) && ends_are(2, 8, 1, 1, 1, 1, 2),
       "8,1,1 as Energon divides");
    ok(ends_are(1, 8, 1, 1, 1, 1, 1) && ends_are(1, 1, 1, 8, 1, 1, 1) &&
           ends_are(1, 0, 1, 0, 0, 1, 1) && ends_are(4, 1, 0, 0, 4, 4, 4) &&
           ends_are(2, 1, 9, 0, 1, 2, 2),
       "the first part gets the only shard");
}

/* A record with a latent, text and two tensors of the user's own. */
static void make(wan_record *r, int i, wan_dtype t)
{
    static const int64_t ls[4] = { 16, 2, 4, 6 }, us[2] = { 3, 1 };
    int64_t ts[2] = { 3 + i, 8 };
    static float x[768], y[512];
    static uint16_t xh[768];
    static uint8_t u[3] = { 1, 2, 255 };
    char key[32];
    for (int k = 0; k < 768; k++)
        xh[k] = wan_f32_to_bf16(x[k] = (float)(k % 37) * 0.25f - 4 + (float)i);
    for (int k = 0; k < 512; k++)
        y[k] = (float)k * 0.01f;
    snprintf(key, sizeof key, "set/clip_%06d", i);
    int rc = wan_record_set_key(r, key);
    json_object_set_new(r->meta, "caption", json_string("a \xc3\xa9 \"cat\""));
    json_object_set_new(r->meta, "source", json_string("/films/cat.mp4"));
    json_object_set_new(r->meta, "fps", json_real(16.1));
    rc |= wan_record_add(r, "mask", WAN_U8, us, 2, u, WAN_BORROW);
    rc |= wan_record_add(r, "latent", t, ls, 4, t == WAN_F32 ? (void *)x : (void *)xh, WAN_BORROW);
    rc |= wan_record_add(r, "text", WAN_F32, ts, 2, y, WAN_BORROW);
    if (rc < 0)
        printf("# %s\n", wan_err_text());
}

static int put_told(wan_shard_writer *w, int i, wan_dtype t, const json_t *history)
{
    wan_samplemap_options opt = { -1, -1, "test.1", history };
    wan_samplemap m;
    wan_record r = WAN_RECORD_INIT;
    make(&r, i, t);
    int rc = wan_samplemap_pack(&m, &r, &opt);
    if (rc == 0) {
        rc = wan_shard_writer_put(w, r.key, m.part, m.n);
        wan_samplemap_clear(&m);
    }
    wan_record_clear(&r);
    return rc;
}

static int put(wan_shard_writer *w, int i, wan_dtype t)
{
    return put_told(w, i, t, NULL);
}

static int same_record(const wan_record *a, const wan_record *b)
{
    int same =
        !strcmp(a->key, b->key) && json_equal(a->meta, b->meta) && a->n_tensors == b->n_tensors;
    for (int i = 0; same && i < a->n_tensors; i++) {
        const wan_tensor *x = &a->tensors[i], *y = &b->tensors[i];
        same = !strcmp(x->name, y->name) && x->dtype == y->dtype && x->rank == y->rank &&
               !memcmp(x->shape, y->shape, (size_t)x->rank * 8) && x->bytes == y->bytes &&
               !memcmp(x->data, y->data, x->bytes);
    }
    return same;
}

/* A shard takes a sample while it has less payload than the limit, and only then. */
static void rolling_at(const char *folder)
{
    wan_shard_writer *w = NULL;
    wan_shard_part part = { .name = "x", .data = "12345678", .size = 8 };
    wan_shard_options opt = { .dir = folder, .max_count = 99, .max_bytes = 16 };
    uint64_t at[4] = { 0 };
    int rc = wan_shard_writer_open(&w, &opt);
    for (int i = 0; rc == 0 && i < 4; i++) {
        char key[2] = { (char)('a' + i), 0 };
        part.size = i == 1 ? 7 : 8;
        rc = wan_shard_writer_put(w, key, &part, 1);
        at[i] = wan_shard_writer_shards(w);
    }
    ok(rc == 0 && wan_shard_writer_finish(&w) == 0 && at[0] == 0 && at[1] == 0 && at[2] == 0 &&
           at[3] == 1,
       "at 15 of 16 bytes it takes one more, at 23 none");
}

static void writing(void)
{
    wan_shard_writer *w = NULL;
    wan_shard_options opt = { .dir = in_dir("a"), .max_count = 3, .max_bytes = 1 << 30 };
    int rc = wan_shard_writer_open(&w, &opt);
    for (int i = 0; rc == 0 && i < 7; i++)
        rc = put(w, i, i % 2 ? WAN_F32 : WAN_BF16);
    ok(rc == 0, "seven samples (%s)", rc ? wan_err_text() : "");
    ok(access(in_dir("a/shard-rank00-000002.tar"), F_OK) != 0 &&
           access(in_dir("a/shard-rank00-000002.tar.tmp"), F_OK) == 0,
       "an unfinished shard has no final name");
    ok(put(w, 3, WAN_F32) < 0, "a key twice: %s", wan_err_text());
    ok(wan_shard_writer_finish(&w) == 0 && access(in_dir("a/shard-rank00-000002.tar"), F_OK) == 0 &&
           access(in_dir("a/shard-rank00-000003.tar"), F_OK) != 0,
       "three shards of 3, 3, 1");
    ok(wan_shard_writer_open(&w, &opt) < 0, "existing shards: %s", wan_err_text());
    opt.force = 1;
    rc = wan_shard_writer_open(&w, &opt);
    for (int i = 0; rc == 0 && i < 4; i++)
        rc = put(w, i, WAN_F32);
    wan_shard_writer_abandon(&w);
    ok(rc == 0 && access(in_dir("a/shard-rank00-000002.tar"), F_OK) == 0 &&
           access(in_dir("a/shard-rank00-000001.tar.tmp"), F_OK) != 0,
       "abandoned: the open shard goes, others stay");
    rc = wan_shard_writer_open(&w, &opt);
    for (int i = 0; rc == 0 && i < 4; i++) {
        /* the first sample tells the history "x", the third "y" */
        json_t *header = i % 2 ? NULL : json_pack("{s:[s]}", "provenance", i ? "y" : "x");
        ok(wan_shard_writer_begins(w) == (i % 3 == 0), "sample %d %s a shard", i,
           i % 3 ? "stays in" : "begins");
        rc = put_told(w, i, WAN_F32, header);
        json_decref(header);
    }
    ok(rc == 0 && wan_shard_writer_finish(&w) == 0 &&
           access(in_dir("a/shard-rank00-000002.tar"), F_OK) != 0,
       "--force leaves no shard of the earlier run");
    opt.dir = in_dir("b");
    opt.max_bytes = 1;
    rc = wan_shard_writer_open(&w, &opt);
    for (int i = 0; rc == 0 && i < 2; i++)
        rc = put(w, i, WAN_F32);
    ok(rc == 0 && wan_shard_writer_finish(&w) == 0 &&
           access(in_dir("b/shard-rank00-000001.tar"), F_OK) == 0,
       "rolling by bytes");
    rolling_at(in_dir("c"));
}

/* The json member says what DFM's script would, in ASCII. */
static int is_dfm_json(const wan_shard_part *p)
{
    json_t *j = wan_json_parse(p->data, p->size, "json");
    const char *path = json_string_value(json_object_get(j, "video_path"));
    const char *caption = json_string_value(json_object_get(j, "caption"));
    const char *mode = json_string_value(json_object_get(j, "processing_mode"));
    int good = path && !strcmp(path, "cat.mp4") && mode && !strcmp(mode, "video") && caption &&
               !strcmp(caption, "a \xc3\xa9 \"cat\"") &&
               json_integer_value(json_object_get(j, "processed_frames")) == 5 &&
               json_integer_value(json_object_get(j, "processed_height")) == 32 &&
               json_integer_value(json_object_get(j, "processed_width")) == 48;
    for (uint64_t i = 0; i < p->size; i++)
        good &= ((const uint8_t *)p->data)[i] < 0x80;
    json_decref(j);
    return good;
}

static void reading(void)
{
    wan_shard_reader *r = NULL;
    wan_shard_sample s;
    wan_record got = WAN_RECORD_INIT;
    int n = 0, good = wan_shard_reader_open(&r, in_dir("a/shard-rank00-000000.tar"), 0) == 0,
        rc = 0;
    while (good && (rc = wan_shard_reader_next(r, &s)) == 1) {
        wan_record want = WAN_RECORD_INIT;
        make(&want, n, WAN_F32);
        json_t *told = NULL;
        good = wan_samplemap_unpack(&got, &told, &s, "shard") == 0 && same_record(&want, &got) &&
               s.n == 4 && !strcmp(s.part[0].name, "json") && !strcmp(s.part[3].name, "t0.wan");
        good = good && is_dfm_json(&s.part[0]);
        const char *from =
            json_string_value(json_array_get(json_object_get(told, "provenance"), 0));
        good = good && (n == 1 ? !told : from && !strcmp(from, n ? "y" : "x"));
        json_decref(told);
        wan_record_clear(&want);
        *(uint8_t *)s.part[3].data ^= 1; /* raw bytes: only the digest can tell */
        good = good && wan_samplemap_unpack(&got, NULL, &s, "shard") < 0;
        n++;
    }
    ok(good && rc == 0 && n == 3, "records come back as they were, each with its provenance (%s)",
       good ? "" : wan_err_text());
    wan_record_clear(&got);
    wan_shard_reader_close(&r);
}

/* Field of the header at offset `at`, NUL- and space-trimmed, equals s. */
static int field(const char *h, int at, int size, const char *s)
{
    int n = (int)strnlen(h + at, (size_t)size);
    while (n && h[at + n - 1] == ' ')
        n--;
    return n == (int)strlen(s) && !memcmp(h + at, s, (size_t)n);
}

/* 0 when the shard at path reads to a proper end. */
static int read_all(const char *path, int headers)
{
    wan_shard_reader *r = NULL;
    wan_shard_sample s;
    int rc = wan_shard_reader_open(&r, path, headers);
    while (rc >= 0 && (rc = wan_shard_reader_next(r, &s)) == 1)
        ;
    wan_shard_reader_close(&r);
    return rc;
}

static void cut_anywhere(const char *t, size_t n)
{
    size_t refused = 0, tried = 0, cut = n - 512;
    while (cut && !t[cut - 1])
        cut--; /* end of the last payload: a file is whole with two more blocks */
    cut = (cut + 511) / 512 * 512;
    for (size_t k = 0; k < cut + 1024; k += 512, tried++)
        refused += wan_spew(in_dir("cut.tar"), t, k) < 0 ||
                   read_all(in_dir("cut.tar"), (int)(k / 512 % 2)) < 0;
    ok(refused == tried, "cut at any block it is refused (%zu of %zu)", refused, tried);
}

static void end_to_end(const char *t, size_t n)
{
    char *two = malloc(2 * n);
    memcpy(two, t, n);
    memcpy(two + n, t, n);
    int rc = wan_spew(in_dir("cut.tar"), two, 2 * n);
    ok(rc == 0 && read_all(in_dir("cut.tar"), 1) < 0, "two tars end to end: %s", wan_err_text());
    free(two);
}

static void bytes(void)
{
    char *t;
    size_t n;
    if (wan_slurp(&t, &n, in_dir("a/shard-rank00-000000.tar"), 1 << 24) < 0)
        return;
    const char *h = t;
    ok(n % 10240 == 0 && field(h, 0, 100, "set/clip_000000.json") && field(h, 100, 8, "000444") &&
           field(h, 108, 8, "000000") && field(h, 116, 8, "000000") &&
           field(h, 136, 12, "00000000000") && h[156] == '0' &&
           !memcmp(h + 257,
                   "ustar\0"
                   "00",
                   8) &&
           field(h, 265, 32, "bigdata") && field(h, 297, 32, "bigdata"),
       "plain ustar, mode 0444, nobody's, time 0");
    cut_anywhere(t, n);
    end_to_end(t, n);
    unlink(in_dir("cut.tar"));
    free(t);
}

/* A ustar header; sizes beyond eight GiB as GNU and Python write them, in base 256. */
static void tar_header(uint8_t h[512], const char *name, uint64_t size, char type)
{
    memset(h, 0, 512);
    strcpy((char *)h, name);
    memcpy(h + 100, "0000444", 7);
    memcpy(h + 257,
           "ustar\0"
           "00",
           8);
    memset(h + 148, ' ', 8);
    if (size < 1ull << 33)
        snprintf((char *)h + 124, 12, "%011" PRIo64, size);
    else
        for (int i = 0; i < 12; i++)
            h[124 + i] = i ? (uint8_t)(i < 4 ? 0 : size >> 8 * (11 - i)) : 0x80;
    h[156] = (uint8_t)type;
    if (type == 'S') { /* old GNU sparse: one byte at offset 0, of 1024 */
        memcpy(h + 257, "ustar  ", 8);
        memcpy(h + 386,
               "00000000000\0"
               "00000000001",
               23);
        memcpy(h + 483, "00000002000", 11);
    } else if (type == '1' || type == '2') {
        memcpy(h + 157, "a.json", 6);
    }
    unsigned sum = 0;
    for (int i = 0; i < 512; i++)
        sum += h[i];
    snprintf((char *)h + 148, 8, "%06o", sum);
}

/* A shard of one member a.json and then one more, of that name, type and size. */
static int two_members(const char *name, char type, uint64_t size, int64_t bytes, uint64_t *ignored)
{
    static uint8_t t[5 * 512];
    wan_shard_reader *r = NULL;
    wan_shard_sample s;
    memset(t, 0, sizeof t);
    tar_header(t, "a.json", 2, '0');
    memcpy(t + 512, "{}", 2);
    tar_header(t + 1024, name, size, type);
    int rc = wan_spew(in_dir("two.tar"), t, sizeof t);
    if (rc == 0 && bytes)
        rc = truncate(in_dir("two.tar"), bytes);
    if (rc == 0)
        rc = wan_shard_reader_open(&r, in_dir("two.tar"), 1);
    while (rc >= 0 && (rc = wan_shard_reader_next(r, &s)) == 1)
        ;
    *ignored = r ? wan_shard_reader_ignored(r) : 0;
    wan_shard_reader_close(&r);
    unlink(in_dir("two.tar"));
    return rc;
}

static void members(void)
{
    uint64_t ignored;
    ok(two_members("a.pth", '0', 0, 0, &ignored) == 0 && !ignored, "two parts");
    ok(two_members("a.pth", 0, 0, 0, &ignored) == 0 && !ignored, "of the type of old tars");
    ok(two_members("a.json", '0', 0, 0, &ignored) < 0, "a part twice: %s", wan_err_text());
    ok(two_members("a.pth", '1', 0, 0, &ignored) == 0 && ignored == 1, "a hard link is counted");
    ok(two_members("a.pth", '2', 0, 0, &ignored) == 0 && ignored == 1, "a symbolic link too");
    ok(two_members("a.pth", '5', 0, 0, &ignored) == 0 && ignored == 1, "and a folder");
    ok(two_members("__x__/a.pth", '0', 0, 0, &ignored) == 0 && !ignored, "metadata is not");
    ok(two_members("../a.pth", '0', 0, 0, &ignored) < 0, "outside: %s", wan_err_text());
    ok(two_members("a.pth", '0', 600, 0, &ignored) < 0, "more than there is: %s", wan_err_text());
    ok(two_members("a.pth", '0', (1ull << 36) + 512, (1ll << 36) + 8192, &ignored) < 0,
       "64 GiB: %s", wan_err_text());
    ok(two_members("a.pth", 'S', 0, 0, &ignored) < 0, "a sparse member: %s", wan_err_text());
}

/* A sparse shard of 12 GiB: sizes over 8 GiB, offsets over 4 GiB. */
static void large(void)
{
    static const struct {
        const char *name;
        uint64_t size, at;
    } m[] = {
        { "a.json", 2, 0 },
        { "a.t0.wan", (9ull << 30) + 5, 1024 },
        { "b.json", 3ull << 30, (9ull << 30) + 2048 },
        { "c.json", 1, (12ull << 30) + 2560 },
    };
    const char *path = in_dir("large.tar");
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0666), rc = fd < 0;
    uint8_t h[512];
    for (size_t i = 0; rc == 0 && i < 4; i++) {
        tar_header(h, m[i].name, m[i].size, '0');
        rc = pwrite(fd, h, 512, (off_t)m[i].at) != 512;
    }
    const uint64_t end = m[3].at + 1024;
    rc |= ftruncate(fd, (off_t)end + 1024) != 0;
    close(fd);
    if (rc) {
        ok(1, "a shard of 12 GiB # SKIP no sparse files in the scratch folder");
        return;
    }
    wan_shard_reader *r = NULL;
    wan_shard_sample s;
    uint64_t from[3] = { 0 }, to[3] = { 0 }, part = 0;
    int n = 0;
    rc = wan_shard_reader_open(&r, path, 1);
    while (rc == 0 && n < 3 && wan_shard_reader_next(r, &s) == 1) {
        from[n] = s.begin;
        to[n++] = s.end;
        part = s.part[s.n - 1].at;
    }
    ok(n == 3 && wan_shard_reader_next(r, &s) == 0 && !from[0] && to[0] == m[2].at &&
           from[1] == m[2].at && to[1] == m[3].at && from[2] == m[3].at && to[2] == end &&
           part == m[3].at + 512,
       "a shard of 12 GiB: offsets (%s)", n == 3 ? "" : wan_err_text());
    wan_shard_reader_close(&r);
    rc = wan_shard_reader_open_range(&r, path, 0, m[3].at, end);
    ok(rc == 0 && wan_shard_reader_next(r, &s) == 1 && !strcmp(s.key, "c") && s.part[0].size == 1,
       "and a sample behind them");
    wan_shard_reader_close(&r);
    ok(wan_shard_reader_open_range(&r, path, 0, m[3].at, UINT64_MAX - 511) < 0,
       "an end beyond all files: %s", wan_err_text());
    unlink(path);
}

/* Packs a record with one thing wrong with it. */
static int refused(const char *name, wan_dtype t, const int64_t *shape, int rank, float value,
                   int latent_dtype)
{
    wan_samplemap_options opt = { latent_dtype, -1, NULL, NULL };
    wan_samplemap m;
    wan_record r = WAN_RECORD_INIT;
    int64_t n = 1;
    for (int i = 0; i < rank; i++)
        n *= shape[i];
    float *x = calloc((size_t)n + 1, sizeof *x);
    make(&r, 0, WAN_F32);
    wan_record_drop(&r, name);
    x[n / 2] = value;
    int rc = rank ? wan_record_add(&r, name, t, shape, rank, x, WAN_BORROW) : 0;
    if (rc == 0 && (rc = wan_samplemap_pack(&m, &r, &opt)) == 0)
        wan_samplemap_clear(&m);
    wan_record_clear(&r);
    free(x);
    return rc < 0;
}

static void refusals(void)
{
    static const int64_t odd[4] = { 16, 1, 3, 4 }, even[4] = { 16, 1, 2, 4 },
                         three[3] = { 2, 2, 2 }, rows[2] = { 513, 2 }, none[2] = { 0, 8 },
                         text[2] = { 4, 8 };
    ok(!refused("latent", WAN_F32, even, 4, 999, -1), "a good latent");
    ok(refused("latent", WAN_F32, odd, 4, 0, -1), "odd: %s", wan_err_text());
    ok(refused("latent", WAN_F32, even, 4, NAN, -1), "NaN: %s", wan_err_text());
    ok(refused("latent", WAN_F32, even, 4, -1001, -1), "large: %s", wan_err_text());
    ok(refused("latent", WAN_I32, even, 4, 0, -1), "no float: %s", wan_err_text());
    ok(refused("latent", WAN_F32, three, 3, 0, -1), "rank 3: %s", wan_err_text());
    ok(refused("latent", WAN_F32, NULL, 0, 0, -1), "none: %s", wan_err_text());
    ok(refused("text", WAN_F32, rows, 2, 0, -1), "513 rows: %s", wan_err_text());
    ok(refused("text", WAN_F32, none, 2, 0, -1), "no rows: %s", wan_err_text());
    ok(refused("text", WAN_F32, text, 2, INFINITY, -1), "infinity: %s", wan_err_text());
    wan_samplemap_options opt = { -1, WAN_F16, NULL, NULL };
    wan_samplemap m;
    wan_record r = WAN_RECORD_INIT;
    float x[8] = { 70000 };
    int64_t shape[2] = { 1, 8 };
    make(&r, 0, WAN_F32);
    wan_record_drop(&r, "text");
    int rc = wan_record_add(&r, "text", WAN_F32, shape, 2, x, WAN_BORROW);
    ok(rc == 0 && wan_samplemap_pack(&m, &r, &opt) < 0, "overflow in F16: %s", wan_err_text());
    wan_record_clear(&r);
}

static int copy(const char *from, const char *to)
{
    char *t;
    size_t n;
    WAN_TRY(wan_slurp(&t, &n, from, 1 << 24));
    int rc = wan_spew(to, t, n);
    free(t);
    return rc;
}

/* Sample i of DFM's shard: shapes without payload, then every value. */
static int as_made(const wan_dataset *d, int i)
{
    wan_sample s = WAN_SAMPLE_INIT;
    wan_sample_info info;
    int good = wan_dataset_info(d, i, &info) == 0 && wan_dataset_read(d, i, &s) == 0 &&
               !memcmp(&info, &s.info, sizeof info) && info.latent[0] == 16 &&
               info.latent[1] == 1 + i % 2 && info.latent[2] == 2 && info.latent[3] == 4 &&
               info.text_rows == i + 2 && info.text_dim == 8 && atoi(s.key) == i;
    for (int k = 0; good && k < 128 * (1 + i % 2); k++) {
        float want = ((float)k * 0.5f - 3) / 64 + (float)i;
        good = s.latent[k] == wan_f16_to_f32(wan_f32_to_f16(want));
    }
    for (int k = 0; good && k < 8 * (i + 2); k++)
        good = s.text[k] == (float)k * 0.5f - 3 + (float)i;
    wan_sample_clear(&s);
    return good;
}

static void dataset_parts(const wan_dataset *d)
{
    wan_dataset *again = NULL;
    wan_sample s = WAN_SAMPLE_INIT;
    ok(wan_dataset_open(&again, in_dir("d"), "val") == 0 && wan_dataset_count(again) == 0,
       "an empty part");
    wan_dataset_close(&again);
    ok(wan_dataset_open(&again, in_dir("d"), "vall") < 0, "%s", wan_err_text());
    static const char old[] = "energon_version: 6.0.1\nshard_counts:\n  x-1.tar: 1\n  x-0.tar: 6\n";
    ok(unlink(in_dir("d/.nv-meta/.info.json")) == 0 &&
           wan_spew(in_dir("d/.nv-meta/.info.yaml"), old, sizeof old - 1) == 0 &&
           wan_dataset_open(&again, in_dir("d"), "train") == 0 && wan_dataset_count(again) == 7 &&
           !strcmp(wan_dataset_digest(d), wan_dataset_digest(again)),
       "the .info.yaml of older Energons");
    wan_dataset_close(&again);
    static const char split[] = "split_parts: {train: ['x-{0..1}.tar']}\nexclude:\n"
                                "- x-0.tar/000002\n- x-1.tar\n";
    ok(wan_spew(in_dir("d/.nv-meta/split.yaml"), split, sizeof split - 1) == 0 &&
           wan_dataset_open(&again, in_dir("d"), "train") == 0 && wan_dataset_count(again) == 5 &&
           wan_dataset_read(again, 2, &s) == 0 && !strcmp(s.key, "000003") &&
           strcmp(wan_dataset_digest(d), wan_dataset_digest(again)),
       "a shard and a sample excluded, and another digest");
    wan_sample_clear(&s);
    wan_dataset_close(&again);
    static const char twice[] = "split_parts: {train: ['x-{0..1}.tar', x-1.tar]}\n";
    ok(wan_spew(in_dir("d/.nv-meta/split.yaml"), twice, sizeof twice - 1) == 0 &&
           wan_dataset_open(&again, in_dir("d"), "train") < 0 &&
           strstr(wan_err_text(), "x-1.tar twice"),
       "a shard twice in one part: %s", wan_err_text());
    static const char *const nothing[] = { "x-0.tar/00002", "x-7.tar", "x-7.tar/000002" };
    for (int i = 0; i < 3; i++) {
        char text[128];
        int n = snprintf(text, sizeof text, "split_parts: {train: [x-0.tar]}\nexclude: [%s]\n",
                         nothing[i]);
        ok(wan_spew(in_dir("d/.nv-meta/split.yaml"), text, (size_t)n) == 0 &&
               wan_dataset_open(&again, in_dir("d"), "train") < 0 &&
               strstr(wan_err_text(), nothing[i]),
           "what is excluded is not there: %s", wan_err_text());
    }
    ok(wan_spew(in_dir("d/.nv-meta/split.yaml"), split, sizeof split - 1) == 0, "as it was");
}

static void dataset_stale(const wan_dataset *d)
{
    wan_dataset *again = NULL;
    wan_sample s = WAN_SAMPLE_INIT;
    char *idx = NULL;
    size_t len;
    static const char less[] = "shard_counts:\n  x-1.tar: 1\n  x-0.tar: 5\n";
    static const char one[] = "split_parts: {train: ['x-0.tar']}\n";
    int rc = wan_slurp(&idx, &len, in_dir("d/x-0.tar.idx"), 1 << 16);
    if (rc == 0) { /* forgets a sample */
        memmove(idx + 16, idx + 24, len - 24);
        rc = wan_spew(in_dir("d/x-0.tar.idx"), idx, len - 8);
    }
    rc |= wan_spew(in_dir("d/.nv-meta/.info.yaml"), less, sizeof less - 1);
    rc |= wan_spew(in_dir("d/.nv-meta/split.yaml"), one, sizeof one - 1);
    ok(rc == 0 && wan_dataset_open(&again, in_dir("d"), "train") < 0 &&
           strstr(wan_err_text(), "stale"),
       "an index of other samples: %s", wan_err_text());
    free(idx);
    ok(truncate(in_dir("d/x-0.tar"), 4096) == 0 &&
           wan_dataset_open(&again, in_dir("d"), "train") < 0,
       "a truncated shard: %s", wan_err_text());
    ok(d && wan_dataset_read(d, 3, &s) < 0, "also when it was open: %s", wan_err_text());
}

/* A shard as DFM writes it, indexed and read as the trainer does. */
static void dataset(void)
{
    wan_index_options opt = { .weight = { 1, 0, 0 } };
    wan_index_report rep;
    wan_dataset *d = NULL;
    wan_sample s = WAN_SAMPLE_INIT;
    int rc = wan_mkdirs(in_dir("d"));
    rc |= copy("tests/data/torch/dfm/shard-rank00-000000.tar", in_dir("d/x-0.tar"));
    rc |= copy(in_dir("b/shard-rank00-000000.tar"), in_dir("d/x-1.tar"));
    ok(rc == 0 && wan_dataset_open(&d, in_dir("d"), "train") < 0, "no index: %s", wan_err_text());
    ok(wan_index_build(&rep, in_dir("d"), &opt) == 0 && rep.samples == 7 && rep.shards == 2,
       "index of DFM's shard and ours (%s)", rep.lines);
    rc = wan_dataset_open(&d, in_dir("d"), "train");
    int good = rc == 0 && wan_dataset_count(d) == 7;
    for (int i = 0; good && i < 6; i++)
        good = as_made(d, i);
    ok(good, "samples of DFM: shapes without payload, then every value (%s)",
       good ? "" : wan_err_text());
    ok(d && wan_dataset_read(d, 7, &s) < 0, "behind the end: %s", wan_err_text());
    if (d) {
        dataset_parts(d);
        dataset_stale(d);
    }
    wan_dataset_close(&d);
}

/* Every row of samples.bin against the sample itself, by one who reads all of it. */
static int agrees(wan_dataset *d)
{
    int64_t n = wan_dataset_count(d);
    wan_sample_info *all = calloc((size_t)n, sizeof *all), one;
    int good = n == 7 && wan_dataset_infos(d, all) == 0;
    for (int64_t i = 0; good && i < n; i++) {
        wan_sample s = WAN_SAMPLE_INIT;
        good = wan_dataset_info(d, i, &one) == 0 && wan_dataset_read(d, i, &s) == 0 &&
               !memcmp(&one, &s.info, sizeof one) && !memcmp(&one, &all[i], sizeof one) &&
               one.text_rows == (i < 6 ? i + 2 : 3) && one.text_dim == 8;
        wan_sample_clear(&s);
    }
    free(all);
    return good;
}

/* Written without waiting for the disk, as wan_spew does. */
static int plain(const char *path, const void *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    int bad = !f || fwrite(data, 1, n, f) != n;
    return (f && fclose(f)) || bad ? -1 : 0;
}

/* The n bytes of samples.bin with one flipped, and cut: refused, or the reader says no. */
static void sizes_damaged(char *was, size_t n)
{
    wan_dataset *d = NULL;
    int silent = 0;
    for (size_t i = 0; i < n; i++) {
        was[i] ^= 4;
        int bad = plain(in_dir("s/.nv-meta/samples.bin"), was, n) < 0;
        if (!bad && wan_dataset_open(&d, in_dir("s"), "train") == 0) {
            silent++;
            wan_dataset_close(&d);
        }
        was[i] ^= 4;
    }
    ok(n && !silent, "every flip of %zu bytes is noticed (%d were not)", n, silent);
    silent = 0;
    for (size_t i = 0; i < n; i++) {
        int bad = plain(in_dir("s/.nv-meta/samples.bin"), was, i) < 0;
        if (!bad && wan_dataset_open(&d, in_dir("s"), "train") == 0) {
            silent++;
            wan_dataset_close(&d);
        }
    }
    ok(n && !silent, "every cut is noticed (%d were not)", silent);
}

/* The sizes of samples: from the index, measured and kept, measured and not kept; damaged. */
static void sizes(void)
{
    wan_index_options opt = { .weight = { 1, 0, 0 } };
    wan_index_report rep;
    wan_dataset *d = NULL;
    char *was = NULL, *now = NULL;
    size_t n, m = 0;
    int rc = wan_mkdirs(in_dir("s"));
    rc |= copy("tests/data/torch/dfm/shard-rank00-000000.tar", in_dir("s/x-0.tar"));
    rc |= copy(in_dir("b/shard-rank00-000000.tar"), in_dir("s/x-1.tar"));
    ok(rc == 0 && wan_index_build(&rep, in_dir("s"), &opt) == 0 &&
           wan_slurp(&was, &n, in_dir("s/.nv-meta/samples.bin"), 1 << 16) == 0 &&
           wan_dataset_open(&d, in_dir("s"), "train") == 0 && agrees(d),
       "sizes from the index");
    wan_dataset_close(&d);
    ok(was && unlink(in_dir("s/.nv-meta/samples.bin")) == 0 &&
           wan_dataset_open(&d, in_dir("s"), "train") == 0 && agrees(d),
       "measured where the index lacks them");
    wan_dataset_close(&d);
    ok(was && wan_slurp(&now, &m, in_dir("s/.nv-meta/samples.bin"), 1 << 16) == 0 && m == n &&
           !memcmp(was, now, n),
       "and kept, as the index has them");
    free(now);
    ok(unlink(in_dir("s/.nv-meta/samples.bin")) == 0 &&
           wan_mkdirs(in_dir("s/.nv-meta/samples.bin.tmp")) == 0 &&
           wan_dataset_open(&d, in_dir("s"), "train") == 0 && agrees(d) &&
           access(in_dir("s/.nv-meta/samples.bin"), F_OK),
       "kept in memory where they cannot be written");
    wan_dataset_close(&d);
    rmdir(in_dir("s/.nv-meta/samples.bin.tmp"));
    sizes_damaged(was, was ? n : 0);
    free(was);
}

/* What a digest of the index covers: a caption, and the bytes of a shard without digests. */
static void digests(void)
{
    wan_index_options opt = { .weight = { 1, 0, 0 } };
    wan_index_report rep;
    wan_sample s = WAN_SAMPLE_INIT;
    wan_dataset *d = NULL;
    char *tar = NULL, *at;
    size_t n;
    int rc = wan_mkdirs(in_dir("g"));
    rc |= copy("tests/data/torch/dfm/shard-rank00-000000.tar", in_dir("g/x-0.tar"));
    rc |= wan_index_build(&rep, in_dir("g"), &opt);
    rc |= wan_slurp(&tar, &n, in_dir("g/x-0.tar"), 1 << 20);
    ok(rc == 0 && (at = memmem(tar, n, "clip 0", 6)) && (at[5] = '7') &&
           wan_spew(in_dir("g/x-0.tar"), tar, n) == 0 &&
           wan_dataset_open(&d, in_dir("g"), "train") == 0 && wan_dataset_read(d, 0, &s) < 0 &&
           strstr(wan_err_text(), "json") && wan_dataset_read(d, 1, &s) == 0,
       "a caption that has changed: %s", wan_err_text());
    wan_sample_clear(&s);
    wan_dataset_close(&d);
    free(tar);
}

/* Whether a json member is ours, beside what a whole parser says; and no byte behind its end is looked at. */
static void own(void)
{
    static const char *const text[] = {
        "{}",
        "",
        "{\"wan\":{}}",
        " {\n \"a\": [1, {\"wan\": 2}],\t\"wan\" : {\"x\": \"}\"}} ",
        "{\"a\":{\"wan\":{}}}",
        "[\"wan\",{\"wan\":{}}]",
        "{\"a\":\"wan\",\"b\":{}}",
        "{\"wan\":\"{\"}",
        "{\"a\":\"\\\"wan\\\":{\",\"c\":\"\\\\\",\"wan\":{}}",
        "{\"a\":\"\\\"wan\\\":{\"}",
        "{\"wan\":[{}]}",
        "{\"wan\":{},\"wan\":1}",
        "{\"wan\":1,\"wan\":{}}",
        "{\"want\":{},\"xwan\":{}}",
        "{\"wan\":{}",
        "{\"wan\"",
        "{\"wan\":",
        "{\"wan",
        "{\"caption\":\"\\\\\\\"\",\"wan\":{\"id\":\"\\u0022\"}}",
    };
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        size_t n = strlen(text[i]);
        char *copy = malloc(n ? n : 1);
        memcpy(copy, text[i], n);
        json_t *root = json_loadb(copy, n, 0, NULL);
        ok(wan_samplemap_own(copy, n) == json_is_object(json_object_get(root, "wan")),
           "ours: text %zu", i);
        json_decref(root);
        free(copy);
    }
}

/* As NFS may: an entry that has gone since it was read takes the next one with it. */
static int places;
struct dirent *readdir(DIR *d)
{
    static struct dirent *(*real)(DIR *);
    static DIR *of;
    static char last[300];
    struct stat st;
    if (!real)
        real = (__typeof__(real))dlsym(RTLD_NEXT, "readdir");
    if (places && of == d && *last && fstatat(dirfd(d), last, &st, AT_SYMLINK_NOFOLLOW) < 0)
        (void)real(d);
    struct dirent *e = real(d);
    of = d;
    snprintf(last, sizeof last, "%s", e ? e->d_name : "");
    return e;
}

/* Whoever has listed shards is told when one of them becomes another one; not of what is new beside them. */
static void replaced(const char *folder)
{
    wan_shard_set s;
    wan_shard_options opt = { .dir = folder, .max_count = 9, .max_bytes = 1 << 30, .rank = 1 };
    wan_shard_writer *w;
    ok(wan_shard_set_list(&s, folder) == 0 && s.n == 3 && wan_shard_set_still(&s, folder) == 0,
       "three shards, which stay");
    ok(wan_shard_writer_open(&w, &opt) == 0 && put(w, 7, WAN_F32) == 0 &&
           wan_shard_writer_finish(&w) == 0 && wan_shard_set_still(&s, folder) == 0,
       "also beside one of another rank");
    opt.rank = 0, opt.max_count = 1, opt.force = 1;
    int rc = wan_shard_writer_open(&w, &opt);
    for (int i = 0; rc == 0 && i < 3; i++)
        rc = put(w, i, WAN_F32);
    ok(rc == 0 && wan_shard_writer_finish(&w) == 0 && wan_shard_set_still(&s, folder) < 0,
       "replaced by three of the same names and bytes: %s", wan_err_text());
    char *first = wan_path_join(folder, s.name[0]);
    ok(unlink(first) == 0 && symlink(s.name[0], first) == 0 &&
           wan_shard_set_still(&s, folder) < 0 && strstr(wan_err_text(), first) &&
           strstr(wan_err_text(), strerror(ELOOP)),
       "one that nobody can look at is not said to be replaced: %s", wan_err_text());
    unlink(first);
    free(first);
    wan_shard_set_clear(&s);
    unlink(in_dir("r/shard-rank01-000000.tar"));
}

/* Eight shards, of one sample each, by three others: no old one stays where reading and removing were mixed. */
static void replacing(void)
{
    wan_shard_writer *w = NULL;
    wan_shard_options opt = { .dir = in_dir("r"), .max_count = 1, .max_bytes = 1 << 30 };
    char **names;
    size_t n = 0;
    places = 1;
    int rc = 0;
    for (int k = 8; rc == 0 && k >= 3; k -= 5, opt.force = 1) {
        rc = wan_shard_writer_open(&w, &opt);
        for (int i = 0; rc == 0 && i < k; i++)
            rc = put(w, i, WAN_F32);
        if (rc == 0)
            rc = wan_shard_writer_finish(&w);
    }
    if (rc == 0 && (rc = wan_shard_list(&names, &n, opt.dir)) == 0)
        wan_shard_list_free(names, n);
    replaced(opt.dir);
    ok(rc == 0 && n == 3, "a folder that moves under the reader: three shards are there (%zu; %s)",
       n, rc ? wan_err_text() : "");
    places = 0;
}

/* A folder that another process works in: names that are gone when they are looked at. */
static void vanishing(void)
{
    char *busy = in_dir("busy"), *a = in_dir("busy/a"), *b = in_dir("busy/b");
    if (wan_mkdirs(busy) < 0)
        abort();
    fflush(stdout);
    pid_t child = fork();
    while (child == 0)
        close(rename(a, b) < 0 ? open(a, O_WRONLY | O_CREAT, 0600) : -1);
    char **list;
    size_t n;
    int rc = 0;
    for (int i = 0; i < 3000 && rc == 0; i++)
        if ((rc = wan_shard_list(&list, &n, busy)) == 0)
            wan_shard_list_free(list, n);
    ok(rc == 0, "a name that is gone meanwhile is passed over: %s", rc < 0 ? wan_err_text() : "");
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    ok(symlink("nowhere", in_dir("busy/l.tar")) == 0 && wan_shard_list(&list, &n, busy) < 0 &&
           strstr(wan_err_text(), "l.tar"),
       "a link to nothing is not: %s", wan_err_text());
}

int main(void)
{
    if (!mkdtemp(dir))
        return 1;
    names();
    patterns();
    division();
    writing();
    reading();
    bytes();
    members();
    large();
    refusals();
    own();
    dataset();
    sizes();
    digests();
    replacing();
    vanishing();
    wan_remove_tree(dir);
    return tap_done();
}
