/* SPDX-License-Identifier: Apache-2.0
 *
 * check_record.c - the record stream: round trip, and every way to damage it.
 */
#include <unistd.h>

#include "lib/base/crc32c.h"
#include "lib/base/file.h"
#include "lib/rec/record/clip_key.h"
#include "lib/rec/record/record_format.h"
#include "tests/tap.h"

typedef struct bytes {
    char *p;
    size_t n;
} bytes;

static FILE *begin(bytes *b)
{
    *b = (bytes){ 0, 0 };
    return open_memstream(&b->p, &b->n);
}

static void add_clip(wan_writer *w, const char *key, int frames)
{
    static uint8_t px[4 * 3 * 5 * 3];
    float text[7];
    wan_record r = WAN_RECORD_INIT;
    for (size_t i = 0; i < sizeof px; i++)
        px[i] = (uint8_t)(i * 37 + (size_t)frames);
    for (int i = 0; i < 7; i++)
        text[i] = (float)i / 3 - 1;
    if (wan_record_set_key(&r, key) < 0 ||
        wan_record_add(&r, "frames", WAN_U8, (int64_t[]){ frames, 3, 5, 3 }, 4, px, 0) < 0 ||
        wan_record_add(&r, "text", WAN_F32, (int64_t[]){ 1, 7 }, 2, text, 0) < 0 ||
        wan_record_add(&r, "empty", WAN_BF16, (int64_t[]){ 0, 4 }, 2, NULL, 0) < 0 ||
        wan_record_add(&r, "one", WAN_F32, NULL, 0, text, 0) < 0)
        WAN_BUG("%s", wan_err_text());
    json_object_set_new(r.meta, "caption", json_string("zwei W\xc3\xb6rter"));
    json_object_set_new(r.meta, "a", json_integer(frames));
    if (wan_writer_put(w, &r) < 0)
        WAN_BUG("%s", wan_err_text());
    wan_record_clear(&r);
}

/* A stream of n clips that program made. */
static bytes make_by(const char *program, int n, int finish)
{
    bytes b;
    wan_writer *w;
    FILE *f = begin(&b);
    json_t *head = wan_provenance_append(NULL, program, NULL);
    if (wan_writer_open(&w, f, "mem", head) < 0)
        WAN_BUG("%s", wan_err_text());
    for (int i = 0; i < n; i++) {
        char key[32];
        snprintf(key, sizeof key, "clip_%d", i + 1);
        add_clip(w, key, i + 1);
    }
    if (!finish)
        wan_writer_abandon(&w);
    else if (wan_writer_finish(&w) < 0)
        WAN_BUG("%s", wan_err_text());
    fclose(f);
    json_decref(head);
    return b;
}

static bytes make(int n, int finish)
{
    return make_by("check", n, finish);
}

/* Reads everything; the number of records, or -1 - number when it ended in an error. */
static int count(const void *p, size_t n)
{
    wan_reader *r;
    wan_record rec = WAN_RECORD_INIT;
    FILE *f = n ? fmemopen((void *)p, n, "rb") : fopen("/dev/null", "rb");
    int rc = wan_reader_open(&r, f, "mem"), got = 0;
    while (rc >= 0 && (rc = wan_reader_next(r, &rec)) > 0)
        got++;
    wan_record_clear(&rec);
    wan_reader_close(&r);
    fclose(f);
    return rc < 0 ? -1 - got : got;
}

static void check_round_trip(void)
{
    bytes b = make(2, 1), again = make(2, 1);
    wan_reader *r;
    wan_record rec = WAN_RECORD_INIT;
    FILE *f = fmemopen(b.p, b.n, "rb");
    ok(b.n % 64 == 0, "the stream is a multiple of 64 bytes");
    ok(b.n == again.n && !memcmp(b.p, again.p, b.n), "same input, same bytes");
    ok(!memcmp(b.p, "\x89WAN\r\n\x01\x00HEAD", 12), "magic, version, type");
    ok(wan_reader_open(&r, f, "mem") == 0, "opens");
    ok(json_array_size(json_object_get(wan_reader_header(r), "provenance")) == 1, "provenance");
    ok(wan_reader_next(r, &rec) == 1 && !strcmp(rec.key, "clip_1"), "first record");
    ok(!strcmp(json_string_value(json_object_get(rec.meta, "caption")), "zwei W\xc3\xb6rter"),
       "caption");
    wan_tensor *t = wan_record_find(&rec, "frames");
    ok(t && t->dtype == WAN_U8 && t->rank == 4 && t->shape[2] == 5 && t->bytes == 45, "shape");
    ok(t && !((uintptr_t)t->data % 64), "data aligned to 64 bytes");
    int same = 1;
    for (int i = 0; i < 45; i++)
        same &= ((uint8_t *)t->data)[i] == (uint8_t)(i * 37 + 1);
    ok(same, "pixels");
    t = wan_record_find(&rec, "one");
    ok(t && t->rank == 0 && *(float *)t->data == -1.0f, "rank 0");
    t = wan_record_find(&rec, "empty");
    ok(t && t->bytes == 0 && t->shape[1] == 4, "empty tensor");
    wan_record_drop(&rec, "frames");
    ok(rec.n_tensors == 3 && !wan_record_find(&rec, "frames") && wan_record_find(&rec, "one"),
       "drop");
    ok(wan_reader_next(r, &rec) == 1 && !strcmp(rec.key, "clip_2"), "second record");
    ok(wan_reader_next(r, &rec) == 0 && wan_reader_count(r) == 2, "end");
    wan_record_clear(&rec);
    wan_reader_close(&r);
    fclose(f);
    free(b.p);
    free(again.p);
}

/* Cut at every byte: an error that names the record; only the whole stream is good. */
static void check_truncation(void)
{
    bytes b = make(2, 1);
    size_t at[4], n = 0, wrong = 0, unnamed = 0;
    for (size_t i = 0; i < b.n; i += 64)
        if (!memcmp(b.p + i, "\x89WAN\r\n", 6) && n < 4)
            at[n++] = i;
    ok(n == 4, "header, two records, end record found");
    for (size_t cut = 0; cut < b.n; cut++) {
        int whole = cut >= at[3] ? 2 : cut >= at[2] ? 1 : 0; /* records that end before the cut */
        char name[32];
        wrong += count(b.p, cut) != -1 - whole;
        snprintf(name, sizeof name, "record %d", whole + 1);
        unnamed += !strstr(wan_err_text(), name);
    }
    ok(!wrong, "every truncation is an error (%zu not)", wrong);
    ok(!unnamed, "every sentence names the record (%zu not)", unnamed);
    free(b.p);
    b = make(2, 0);
    ok(count(b.p, b.n) == -3 && strstr(wan_err_text(), "without an end record"),
       "no end record: %s", wan_err_text());
    free(b.p);
}

static void check_bit_flips(void)
{
    bytes b = make(2, 1);
    size_t missed = 0;
    for (size_t i = 0; i < b.n * 8; i++) {
        b.p[i / 8] = (char)(b.p[i / 8] ^ 1 << i % 8);
        missed += count(b.p, b.n) >= 0;
        b.p[i / 8] = (char)(b.p[i / 8] ^ 1 << i % 8);
    }
    ok(!missed, "every flipped bit is found (%zu of %zu not)", missed, b.n * 8);
    ok(count(b.p, b.n) == 2, "and the undamaged stream is good");
    free(b.p);
}

static void check_cat(void)
{
    bytes a = make(2, 1), b = make(3, 1);
    char *p = malloc(a.n + b.n);
    memcpy(p, a.p, a.n);
    memcpy(p + a.n, b.p, b.n);
    ok(count(p, a.n + b.n) == 5, "cat a b is one stream");
    ok(count(p, a.n + b.n - 64) == -6, "whose second half may not lack its end");
    memmove(p + a.n, b.p + 64, b.n - 64);
    ok(count(p, a.n + b.n - 64) == -3, "nor its header: %s", wan_err_text());
    memcpy(p + a.n, "trailing rubbish", 16);
    ok(count(p, a.n + 16) == -3, "rubbish behind it: %s", wan_err_text());
    free(p);
    free(a.p);
    free(b.p);
}

/* Offset of the record number i (the header is 0). */
static uint8_t *nth(bytes b, int i)
{
    uint8_t *p = (uint8_t *)b.p;
    while (i--)
        p += wan_le_get64(p + 16);
    return p;
}

static int follow(void *w, const json_t *header)
{
    return wan_writer_next_stream(w, header);
}

static int fail_to_follow(void *arg, const json_t *header)
{
    (void)arg, (void)header;
    return wan_err("no second stream");
}

/* What a filter that only copies makes of the input; n in: -1 when it failed. */
static bytes filter(const bytes *in, wan_reader_stream_fn *fn)
{
    bytes b;
    wan_reader *r;
    wan_writer *w = NULL;
    wan_record rec = WAN_RECORD_INIT;
    FILE *from = fmemopen(in->p, in->n, "rb"), *to = begin(&b);
    int rc = wan_reader_open(&r, from, "mem");
    if (rc == 0)
        rc = wan_writer_open(&w, to, "mem", wan_reader_header(r));
    if (rc == 0)
        wan_reader_on_stream(r, fn, w);
    while (rc >= 0 && (rc = wan_reader_next(r, &rec)) > 0)
        rc = wan_writer_put(w, &rec);
    if (rc == 0)
        rc = wan_writer_finish(&w);
    wan_writer_abandon(&w);
    wan_record_clear(&rec);
    wan_reader_close(&r);
    fclose(from);
    fclose(to);
    if (rc < 0)
        b.n = 0;
    return b;
}

/* Streams of different headers stay apart in a filter's output, records keep their history. */
static void check_histories(void)
{
    bytes part[4] = { make_by("one", 1, 1), make_by("two", 2, 1), make_by("none", 0, 1),
                      make_by("one", 1, 1) },
          in;
    FILE *f = begin(&in);
    for (int i = 0; i < 4; i++)
        fwrite(part[i].p, 1, part[i].n, f);
    fclose(f);
    bytes out = filter(&in, follow);
    ok(out.n == in.n && !memcmp(out.p, in.p, in.n), "a filter keeps four histories apart");
    free(out.p);
    out = filter(&in, fail_to_follow);
    ok(!out.n && strstr(wan_err_text(), "mem: record 2: no second stream"),
       "where it cannot, reading ends: %s", wan_err_text());
    free(out.p);
    free(in.p);
    f = begin(&in);
    fwrite(part[0].p, 1, part[0].n, f);
    fwrite(part[3].p, 1, part[3].n, f);
    fclose(f);
    out = filter(&in, fail_to_follow);
    ok(out.n && out.n < in.n && count(out.p, out.n) == 2, "equal headers become one stream");
    free(out.p);
    free(in.p);
    for (int i = 0; i < 4; i++)
        free(part[i].p);
}

static void reseal(uint8_t *head)
{
    wan_le_put32(head + 60, wan_crc32c(0, head, 60));
}

/* Sets a head field of the first data record, checksum made good again; must be refused. */
static void refuse(const char *what, int at, uint64_t value, int width, const char *say)
{
    bytes b = make(1, 1);
    uint8_t *head = nth(b, 1);
    if (width == 8)
        wan_le_put64(head + at, value);
    else
        wan_le_put32(head + at, (uint32_t)value);
    reseal(head);
    ok(count(b.p, b.n) == -1 && strstr(wan_err_text(), say), "%s: %s", what, wan_err_text());
    free(b.p);
}

static void check_caps(void)
{
    refuse("record too long", 16, (1ull << 36) + 64, 8, "2^36");
    refuse("record of 2^64 - 64 bytes", 16, UINT64_MAX - 63, 8, "2^36");
    refuse("length of no multiple of 64", 16, 1000, 8, "does not fit");
    refuse("length zero", 16, 0, 8, "does not fit");
    refuse("record of 2^36 bytes on a short input", 16, 1ull << 36, 8, "does not fit");
    refuse("wrong ordinal", 24, 7, 8, "number 7");
    refuse("key too long", 32, 256, 4, "key of 256");
    refuse("metadata too long", 36, (16u << 20) + 1, 4, "metadata of");
    refuse("table too long", 40, UINT32_MAX, 4, "table of");
    refuse("too many tensors", 44, 4097, 4, "4097 tensors");
    refuse("one tensor missing", 44, 3, 4, "does not fit");
    refuse("unknown critical flag", 12, 1, 4, "flags");
    refuse("reserved field used", 56, 1, 4, "flags");
    bytes b = make(1, 1);
    nth(b, 1)[6] = 2;
    reseal(nth(b, 1));
    ok(count(b.p, b.n) == -1 && strstr(wan_err_text(), "version 2.0"), "major version");
    free(b.p);
    b = make(1, 1);
    nth(b, 1)[7] = 9;
    reseal(nth(b, 1));
    ok(count(b.p, b.n) == -2 && strstr(wan_err_text(), "digest"),
       "a changed head that is sound in itself: %s", wan_err_text());
    free(b.p);
}

/* Table entry fields of the first tensor (frames) of the first record. */
static void refuse_entry(const char *what, int at, uint64_t value, const char *say)
{
    bytes b = make(1, 1);
    uint8_t *head = nth(b, 1);
    size_t table =
        64 + wan_align(wan_align(wan_le_get32(head + 32), 8) + wan_le_get32(head + 36), 8);
    wan_le_put64(head + table + at, value);
    wan_head h;
    if (wan_head_decode(&h, head) < 0)
        WAN_BUG("%s", wan_err_text());
    wan_le_put32(head + 48, wan_crc32c(0, head + 64, wan_head_front(&h)));
    reseal(head);
    ok(count(b.p, b.n) == -1 && strstr(wan_err_text(), say), "%s: %s", what, wan_err_text());
    free(b.p);
}

static void check_table(void)
{
    refuse_entry("unknown dtype", 0, 0x3959, "Y9");
    refuse_entry("begin shifted", 8, 640, "extent");
    refuse_entry("end shifted", 16, 12345, "extent");
    refuse_entry("rank 17", 24, 6 | 17 << 16, "rank 17");
    refuse_entry("huge dimension", 32, UINT64_MAX, "dimension");
    refuse_entry("overflowing shape", 32, 1ull << 62, "");
    refuse_entry("larger than the record", 32, 1000000, "extent");
}

/* A record of another type between the two; the tee copies it. */
/* Record i of a sound stream, changed and all its checksums made good again, must be refused. */
static void refuse_sealed(const char *what, bytes b, int i, const char *say)
{
    uint8_t *head = nth(b, i);
    wan_head h;
    if (wan_head_decode(&h, head) < 0)
        WAN_BUG("%s", wan_err_text());
    size_t front = wan_head_front(&h), payload = h.length - 64 - front;
    wan_le_put32(head + 48, wan_crc32c(0, head + 64, front));
    wan_le_put32(head + 52, wan_crc32c(0, head + 64 + front, payload));
    reseal(head);
    ok(count(b.p, b.n) < 0 && strstr(wan_err_text(), say), "%s: %s", what, wan_err_text());
    free(b.p);
}

/* Where text stands in record i; it must. */
static char *find(bytes b, int i, const char *text)
{
    char *p = (char *)nth(b, i);
    while (memcmp(p, text, strlen(text)))
        if (++p == b.p + b.n - strlen(text))
            WAN_BUG("no %s", text);
    return p;
}

static void check_sealed(void)
{
    bytes b = make(1, 1);
    wan_head h;
    if (wan_head_decode(&h, nth(b, 1)) < 0)
        WAN_BUG("%s", wan_err_text());
    nth(b, 1)[64 + wan_head_front(&h) + 45] = 1; /* behind 45 bytes of frames */
    refuse_sealed("padding of a tensor used", b, 1, "padding");
    b = make(1, 1);
    nth(b, 1)[64 + 6] = 1; /* behind clip_1 */
    refuse_sealed("padding of the key used", b, 1, "padding");
    b = make(1, 1);
    nth(b, 1)[64 + wan_head_front(&h) - 1] = 1;
    refuse_sealed("padding of the front used", b, 1, "padding");
    b = make(1, 1);
    find(b, 1, "caption")[0] = '!';
    refuse_sealed("an unknown key that counts", b, 1, "!aption");
    b = make(1, 1);
    find(b, 1, "clip_1")[4] = '.';
    refuse_sealed("a key with a dot", b, 1, "0x2e");
    b = make(1, 1);
    find(b, 2, "\"records\":1")[10] = '2';
    refuse_sealed("a record less than promised", b, 2, "promises");
    b = make(1, 1);
    find(b, 2, "\"bytes\":7")[8] = '8';
    refuse_sealed("bytes less than promised", b, 2, "promises");
}

static void check_unknown(const char *type, int allowed)
{
    bytes b;
    wan_writer *w;
    FILE *f = begin(&b);
    uint8_t body[128] = "key";
    wan_head h = { .type = WAN_T_IGNORE, .length = 192, .key_len = 3 };
    memcpy(h.name, type, 4);
    memset(body + 64, 0xaa, 64);
    int rc = wan_writer_open(&w, f, "mem", NULL);
    add_clip(w, "a", 1);
    rc |= wan_writer_raw(w, &h, body, body + 64);
    add_clip(w, "b", 1);
    rc |= wan_writer_finish(&w);
    fclose(f);
    if (allowed)
        ok(rc == 0 && count(b.p, b.n) == 2, "unknown type %s is passed over", type);
    else
        ok(rc == 0 && count(b.p, b.n) == -2 && strstr(wan_err_text(), type), "%s refused: %s", type,
           wan_err_text());
    if (allowed) {
        wan_reader *r;
        wan_record rec = WAN_RECORD_INIT;
        bytes copy;
        FILE *in = fmemopen(b.p, b.n, "rb"), *out = begin(&copy);
        rc = wan_reader_open(&r, in, "mem");
        rc |= wan_writer_open(&w, out, "mem", NULL);
        wan_reader_tee(r, w);
        while (wan_reader_next(r, &rec) > 0)
            rc |= wan_writer_put(w, &rec);
        rc |= wan_writer_finish(&w);
        fclose(in);
        fclose(out);
        wan_reader_close(&r);
        wan_record_clear(&rec);
        ok(rc == 0 && copy.n == b.n && !memcmp(copy.p, b.p, b.n), "a filter copies it unchanged");
        free(copy.p);
        nth(b, 2)[64 + 64] ^= 1;
        ok(count(b.p, b.n) < 0 && strstr(wan_err_text(), "checksum of its payload"),
           "and its checksum is compared: %s", wan_err_text());
    }
    free(b.p);
}

static void check_not_records(void)
{
    ok(count("", 0) == -1 && strstr(wan_err_text(), "empty input"), "%s", wan_err_text());
    const char *text = "{\"caption\": \"this is a text file and not at all a stream of records\"}";
    ok(count(text, strlen(text)) == -1 && strstr(wan_err_text(), "not a record"), "%s",
       wan_err_text());
    ok(count("hello, world", 12) == -1 && strstr(wan_err_text(), "not a record"), "short text");
}

static void check_build(void)
{
    wan_record r = WAN_RECORD_INIT;
    int64_t shape[1] = { 2 }, bad[1] = { -2 };
    ok(wan_record_set_key(&r, "a.b") < 0 && wan_record_set_key(&r, "") < 0 &&
           wan_record_set_key(&r, "/a") < 0 && wan_record_set_key(&r, "a//b") < 0,
       "illegal keys");
    ok(wan_record_set_key(&r, "a/b-C_9") == 0, "legal key");
    ok(wan_record_add(&r, "x", WAN_F32, shape, 1, malloc(8), WAN_TAKE) == 0, "add");
    ok(wan_record_add(&r, "x", WAN_F32, shape, 1, malloc(8), WAN_TAKE) < 0, "duplicate name");
    ok(wan_record_add(&r, "y", WAN_F32, bad, 1, NULL, WAN_BORROW) < 0, "negative dimension");
    ok(wan_record_add(&r, "y z", WAN_F32, shape, 1, NULL, WAN_BORROW) < 0, "bad name");
    wan_record_clear(&r);
    char *k = wan_clip_key_of("a/b_-2E-c");
    ok(!strcmp(k, "a/b_-2E-c"), "a key is itself: %s", k);
    free(k);
    k = wan_clip_key_of("my clips/v1.2");
    ok(!strcmp(k, "my_-20-clips/v1_-2E-2"), "another text is not: %s", k);
    free(k);
    json_t *opts = json_pack("{s:s, s:i, s:[s]}", "model", "/home/me/models/tiny", "n", 3, "files",
                             "/tmp/a.mp4");
    json_t *one = wan_provenance_append(NULL, "wan-a", opts);
    json_t *two = wan_provenance_append(one, "wan-b", NULL);
    char *s = wan_json_dump(two);
    ok(!strstr(s, "/home") && !strstr(s, "/tmp") && strstr(s, "\"model\":\"tiny\"") &&
           strstr(s, "\"prev\":\"wan-a.1\"") && strstr(s, "\"id\":\"wan-b.2\""),
       "%s", s);
    free(s);
    json_decref(opts);
    json_decref(one);
    json_decref(two);
}

/* The stream of the hex dump in wan-record(5). */
/* One clip of 33 frames whose front was foreseen with a caption of `guess` bytes, after one that was taken back, or
 * by wan_writer_put: guess < 0. */
static void put_late(wan_writer *w, int guess)
{
    static uint8_t px[33 * 16 * 16 * 3];
    wan_record r = WAN_RECORD_INIT;
    int64_t shape[4] = { 33, 16, 16, 3 };
    char text[400];
    for (size_t i = 0; i < sizeof px; i++)
        px[i] = (uint8_t)(i * 31 + i / 251);
    int rc = wan_record_set_key(&r, "late");
    memset(text, 'x', sizeof text);
    text[guess < 0 ? 0 : guess] = 0;
    json_object_set_new(r.meta, "caption", json_string(text));
    for (int again = 0; rc == 0 && guess >= 0 && again < 2; again++) {
        shape[0] = 9;
        if (!rc && !(rc = wan_record_add(&r, "frames", WAN_U8, shape, 4, NULL, 0)))
            rc = wan_writer_begin(w, &r);
        for (size_t n = 0; !rc && n < sizeof px; n += 1000)
            rc = wan_writer_data(w, px + n, sizeof px - n < 1000 ? sizeof px - n : 1000);
        if (!rc && !again)
            rc = wan_writer_undo(w);
        wan_record_drop(&r, "frames");
    }
    shape[0] = 33;
    memset(text, 'y', 200);
    text[200] = 0;
    json_object_set_new(r.meta, "caption", json_string(text));
    if (rc || wan_record_add(&r, "frames", WAN_U8, shape, 4, guess < 0 ? px : NULL, 0) < 0 ||
        (guess < 0 ? wan_writer_put(w, &r) : wan_writer_end(w, &r)) < 0)
        WAN_BUG("%s", wan_err_text());
    wan_record_clear(&r);
}

/* A stream of a clip, a late one (twice, the last one maybe taken back) and a clip. */
static bytes make_late(int guess, FILE *f)
{
    bytes b = { 0, 0 };
    wan_writer *w;
    if (!f || wan_writer_open(&w, f, "late", NULL) < 0)
        WAN_BUG("%s", wan_err_text());
    add_clip(w, "clip_1", 1);
    ok(guess < 0 || wan_writer_late(w), "a file takes late records");
    put_late(w, guess);
    add_clip(w, "clip_2", 2);
    put_late(w, guess);
    if (wan_writer_finish(&w) < 0)
        WAN_BUG("%s", wan_err_text());
    b.n = (size_t)ftello(f);
    b.p = malloc(b.n + 1);
    rewind(f);
    ok(b.p && fread(b.p, 1, b.n + 1, f) == b.n, "the file ends where the stream does");
    fclose(f);
    return b;
}

static void check_late(void)
{
    static const int guess[] = { 200, 190, 0, 140, 260, 399 };
    bytes want = make_late(-1, tmpfile());
    for (size_t i = 0; i < sizeof guess / sizeof *guess; i++) {
        bytes got = make_late(guess[i], tmpfile());
        ok(got.n == want.n && !memcmp(got.p, want.p, want.n),
           "a late record foreseen with %d bytes for 200", guess[i]);
        free(got.p);
    }
    ok(count(want.p, want.n) == 4, "can be read");
    free(want.p);
    wan_writer *w;
    bytes b;
    FILE *f = begin(&b);
    ok(wan_writer_open(&w, f, "mem", NULL) == 0 && !wan_writer_late(w), "memory takes none");
    wan_record r = WAN_RECORD_INIT;
    ok(wan_record_set_key(&r, "x") == 0 && wan_writer_end(w, &r) < 0 && wan_writer_undo(w) == 0,
       "no end without a begin: %s", wan_err_text());
    wan_record_clear(&r);
    wan_writer_abandon(&w);
    fclose(f);
    free(b.p);
}

static void check_golden(void)
{
    bytes b;
    wan_writer *w;
    wan_record r = WAN_RECORD_INIT;
    uint8_t px[12];
    float text[2] = { 1, -0.5f };
    int32_t ids[3] = { 7, 8, 1 };
    FILE *f = begin(&b);
    json_t *head = json_pack("{s:[]}", "provenance");
    for (int i = 0; i < 12; i++)
        px[i] = (uint8_t)(i + 1);
    int rc = wan_writer_open(&w, f, "mem", head) | wan_record_set_key(&r, "clip_1");
    json_object_set_new(r.meta, "caption", json_string("a cat"));
    rc |= wan_record_add(&r, "frames", WAN_U8, (int64_t[]){ 1, 2, 2, 3 }, 4, px, WAN_BORROW);
    rc |= wan_record_add(&r, "text", WAN_F32, (int64_t[]){ 1, 2 }, 2, text, WAN_BORROW);
    rc |= wan_writer_put(w, &r);
    wan_record_clear(&r);
    rc |= wan_record_set_key(&r, "clip_2");
    json_object_set_new(r.meta, "caption", json_string("a dog"));
    rc |= wan_record_add(&r, "token_ids", WAN_I32, (int64_t[]){ 3 }, 1, ids, WAN_BORROW);
    rc |= wan_writer_put(w, &r) | wan_writer_finish(&w);
    wan_record_clear(&r);
    fclose(f);
    char *want;
    size_t n;
    ok(rc == 0 && wan_slurp(&want, &n, "tests/data/record/two.wan", 1 << 16) == 0, "golden file");
    ok(n == b.n && !memcmp(want, b.p, n), "the bytes of version 1.0 have not changed");
    free(want);
    free(b.p);
    json_decref(head);
}

int main(void)
{
    check_late();
    check_golden();
    check_build();
    check_round_trip();
    check_truncation();
    check_bit_flips();
    check_cat();
    check_histories();
    check_caps();
    check_table();
    check_sealed();
    check_unknown("note", 1);
    check_unknown("NOTE", 0);
    check_not_records();
    return tap_done();
}
