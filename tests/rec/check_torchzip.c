/* SPDX-License-Identifier: Apache-2.0
 *
 * check_torchzip.c - archives written by torch 2 (tests/reference/torch_files.py) read back, our
 * own written and read back, and every kind of damage refused.
 */
#include "lib/base/crc32c.h"
#include "lib/base/file.h"
#include "lib/base/le.h"
#include "lib/rec/tensor/torch.h"
#include "tests/tap.h"

/* The value at flat place i of every fixture. */
static float ramp(int64_t i)
{
    return (float)i * 0.5f - 3;
}

static wan_torch *open_data(const char *name)
{
    char path[256];
    wan_torch *w;
    snprintf(path, sizeof path, "tests/data/torch/%s", name);
    if (wan_torch_open(&w, path) == 0)
        return w;
    ok(0, "%s", wan_err_text());
    return NULL;
}

/* Reads tensor `name` and compares element k with ramp(first + index[k]). */
static void same(wan_torch *w, const char *name, const int64_t *index, int64_t n, int rank,
                 wan_dtype t)
{
    float got[64] = { 0 };
    int good = 1;
    wan_torch_tensor *x = w ? wan_torch_find(w, name) : NULL;
    if (!ok(x && x->count == n && x->rank == rank && x->dtype == t, "tensor \"%s\" is there", name))
        return;
    if (wan_torch_read(w, x, got, WAN_F32) < 0)
        good = 0;
    for (int64_t i = 0; i < n; i++)
        good &= got[i] == ramp(index ? index[i] : i);
    ok(good, "tensor \"%s\" has torch's values", name);
}

static void one(const char *file, int64_t n, int rank, wan_dtype t)
{
    wan_torch *w = open_data(file);
    same(w, "", NULL, n, rank, t);
    wan_torch_close(&w);
}

static void views(void)
{
    static const int64_t t[24] = { 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22,
                                   1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23 };
    static const int64_t e[12] = { 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2 };
    static const int64_t v[6] = { 6, 7, 14, 15, 22, 23 };
    static const int64_t rows[10] = { 5, 6, 7, 8, 9, 10, 11, 12, 13, 14 };
    static const int64_t turned[20] = { 0,  5,  10, 15, 1,  6,  11, 16, 2,  7,
                                        12, 17, 3,  8,  13, 18, 4,  9,  14, 19 };
    wan_torch *w = open_data("strided.pth");
    same(w, "t", t, 24, 3, WAN_F32);
    same(w, "e", e, 12, 2, WAN_F32);
    same(w, "v", v, 6, 2, WAN_F32);
    wan_torch_close(&w);
    w = open_data("shared.pth");
    same(w, "all", NULL, 20, 2, WAN_F32);
    same(w, "rows", rows, 10, 2, WAN_F32);
    same(w, "turned", turned, 20, 2, WAN_F32);
    ok(w && wan_torch_unused(w, NULL) == 0, "all tensors were used");
    wan_torch_close(&w);
}

static void state(void)
{
    wan_torch *w = open_data("state.pth");
    int good = w && wan_torch_count(w) == 80;
    for (int i = 0; good && i < 40; i++)
        for (int b = 0; b < 2; b++) {
            char name[32];
            float got = -1;
            snprintf(name, sizeof name, "l%03d.%s", i, b ? "bias" : "weight");
            wan_torch_tensor *t = wan_torch_find(w, name);
            good = t && t->rank == 2 - b && wan_torch_read(w, t, &got, WAN_F32) == 0 &&
                   got == (float)(2 * i + b);
        }
    ok(good, "a state dict of 80 tensors: long memo, _metadata");
    wan_torch_close(&w);
    w = open_data("param.pth");
    same(w, "model.w", NULL, 4, 2, WAN_F32);
    same(w, "list.1", NULL, 3, 1, WAN_F32);
    ok(w && wan_torch_skipped(w) == 5, "five values that are no tensors are counted");
    wan_torch_close(&w);
}

static void legacy(void)
{
    static const int64_t turned[6] = { 0, 3, 1, 4, 2, 5 };
    int64_t c[3] = { -1, -1, -1 };
    wan_torch *w = open_data("legacy.pt");
    same(w, "a", NULL, 6, 2, WAN_F32);
    same(w, "b", NULL, 3, 1, WAN_F16);
    same(w, "d", turned, 6, 2, WAN_F32);
    wan_torch_tensor *t = w ? wan_torch_find(w, "c") : NULL;
    ok(t && wan_torch_read(w, t, c, WAN_I64) == 0 && c[0] == 0 && c[1] == 1 && c[2] == 2,
       "int64 tensors are copied as they are");
    ok(t && wan_torch_read(w, t, c, WAN_F32) < 0, "int64 is not read as float: %s", wan_err_text());
    wan_torch_close(&w);
}

/* Before torch 0.4 a storage could be a view of another: (key, offset, elements). */
static void storage_view(void)
{
    static const char head[] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
                               "\x80\x02M\xe9\x03."
                               "\x80\x02}."
                               "\x80\x02"
                               "ctorch._utils\n_rebuild_tensor_v2\n(("
                               "X\7\0\0\0storage"
                               "ctorch\nFloatStorage\n"
                               "X\1\0\0\0a"
                               "X\3\0\0\0cpu"
                               "K\6"
                               "X\1\0\0\0v"
                               "K\2"
                               "K\4\x87"
                               "tQ"
                               "K\1"
                               "K\3\x85"
                               "K\1\x85"
                               "\x89)tR."
                               "\x80\x02]X\1\0\0\0aa."
                               "\6\0\0\0\0\0\0";
    static const float data[6] = { 0, 1, 2, 3, 4, 5 };
    char file[sizeof head + sizeof data];
    float got[3] = { 0 };
    wan_torch *w = NULL;
    memcpy(file, head, sizeof head); /* its end is the last byte of the count */
    memcpy(file + sizeof head, data, sizeof data);
    int rc = wan_torch_parse(&w, file, sizeof file, "view");
    if (rc == 0)
        rc = wan_torch_read(w, wan_torch_at(w, 0), got, WAN_F32);
    ok(rc == 0 && got[0] == 3 && got[1] == 4 && got[2] == 5,
       "a view of a storage: offsets add up (%s)", rc ? wan_err_text() : "");
    wan_torch_close(&w);
}

/* The type of a storage stands in its persistent id, wherever that is: one tensor is inside an object of a class. */
static void hidden(void)
{
#define TENSOR(key)                                                                                \
    "ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0" key     \
    "X\3\0\0\0cpuK\2NtQK\0K\2\x85K\1\x85\x89)tR"
    static const char head[] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
                               "\x80\x02M\xe9\x03."
                               "\x80\x02}."
                               "\x80\x02}X\1\0\0\0o"
                               "cmodule\nClass\n)R" TENSOR("b") "bsX\1\0\0\0w" TENSOR(
                                   "a") "s."
                                        "\x80\x02](X\1\0\0\0bX\1\0\0\0ae.";
    static const struct {
        uint64_t count;
        float v[2];
    } data[2] = { { 2, { 7, 8 } }, { 2, { -3, -2.5F } } };
    char file[sizeof head - 1 + sizeof data];
    wan_torch *w = NULL;
    memcpy(file, head, sizeof head - 1);
    memcpy(file + sizeof head - 1, data, sizeof data);
    int rc = wan_torch_parse(&w, file, sizeof file, "hidden");
    ok(rc == 0, "a storage that only an object of a class holds (%s)", rc ? wan_err_text() : "");
    same(w, "w", NULL, 2, 1, WAN_F32);
    wan_torch_close(&w);
}

/* Our own files: layout and values. */
static void written(void)
{
    static const int64_t shape[4] = { 2, 1, 3, 2 };
    uint16_t h[12];
    void *file;
    size_t n;
    wan_torch *w = NULL;
    for (int i = 0; i < 12; i++)
        h[i] = wan_f32_to_bf16(ramp(i));
    if (!ok(wan_torch_save(&file, &n, h, WAN_BF16, shape, 4) == 0, "a .pth is written"))
        return;
    ok(wan_torch_parse(&w, file, n, "mine") == 0, "and read back (%s)", wan_err_text());
    same(w, "", NULL, 12, 4, WAN_BF16);
    if (w)
        ok(((const char *)wan_torch_at(w, 0)->data - (char *)file) % 64 == 0,
           "its data is 64-byte aligned in the file");
    wan_torch_close(&w);
    size_t refused = 0;
    for (size_t cut = 0; cut < n; cut++)
        refused += wan_torch_parse(&w, file, cut, "cut") < 0;
    ok(refused == n, "cut at any of its %zu bytes it is refused", n);
    int caught = 0;
    for (size_t i = 0; i < n; i++) { /* every flipped bit: an error or the same tensor */
        uint16_t got[12];
        ((uint8_t *)file)[i] ^= 0x10;
        if (wan_torch_parse(&w, file, n, "flipped") < 0) {
            caught++;
        } else {
            wan_torch_tensor *t = wan_torch_find(w, "");
            caught += !t || t->dtype != WAN_BF16 || t->count != 12 ||
                      wan_torch_read(w, t, got, WAN_BF16) < 0 || !memcmp(got, h, sizeof h);
        }
        wan_torch_close(&w);
        ((uint8_t *)file)[i] ^= 0x10;
    }
    ok(caught == (int)n, "a flipped bit never gives wrong values (%d of %zu)", caught, n);
    free(file);
}

/* A copy of tests/data/torch/f32.pth with `from` replaced by `to` everywhere (equal lengths). */
static int altered(const char *from, const char *to, size_t len)
{
    char *file;
    size_t n;
    wan_torch *w = NULL;
    if (wan_slurp(&file, &n, "tests/data/torch/f32.pth", 1 << 20) < 0)
        return 0;
    for (size_t i = 0; i + len <= n; i++)
        if (!memcmp(file + i, from, len))
            memcpy(file + i, to, len);
    /* the checksum of data.pkl is set to "not computed", so that the pickle itself is judged */
    for (size_t i = 0; i + 50 < n; i++)
        if (!memcmp(file + i, "PK\1\2", 4) && !memcmp(file + i + 46 + 4, "data.pkl", 8))
            memset(file + i + 16, 0, 4);
    int rc = wan_torch_parse(&w, file, n, "altered");
    wan_torch_close(&w);
    free(file);
    return rc;
}

static void hostile(void)
{
    static const char size[] = "K\2K\3\x86", big[] = "K\2K\4\x86";
    ok(altered("K\6tq", "K\7tq", 4) < 0, "more elements than the record: %s", wan_err_text());
    ok(altered(size, big, 5) < 0, "a shape over the storage: %s", wan_err_text());
    ok(altered("K\3K\1\x86", "K\4K\1\x86", 5) < 0, "a stride over the storage: %s", wan_err_text());
    ok(altered("FloatStorage", "FloatSt0rage", 12) < 0, "an unknown type: %s", wan_err_text());
    ok(altered("data/0", "data/1", 6) < 0, "a missing record: %s", wan_err_text());
    ok(altered("byteorder", "byte/rder", 9) == 0, "a missing byte order is little-endian");
    ok(altered("little", "big   ", 6) < 0, "big-endian: %s", wan_err_text());
    ok(altered("K\6tq", "K\6t.", 4) < 0, "a pickle that stops early: %s", wan_err_text());
    ok(altered("version", "versi0n", 7) < 0, "no version: %s", wan_err_text());
    ok(altered("PK\3\4", "PK\3\5", 4) < 0, "no local header: %s", wan_err_text());
}

/* A zip of our own: the pickle of an integer, a version, and one more entry as the caller wants. */
struct more {
    const char *name, *local_name; /* in the directory; in front of the data, NULL: the same */
    int flags, method, packed;     /* packed: compressed size, as far from the true one */
    int again;                     /* in the directory once more */
};

static size_t zip_header(uint8_t *p, int central, const char *name, size_t at, size_t n, int flags,
                         int method, int packed)
{
    uint8_t *h = p + (central ? 2 : 0);
    memset(p, 0, 46);
    memcpy(p, central ? "PK\1\2" : "PK\3\4", 4);
    wan_le_put16(h + 6, (uint16_t)flags);
    wan_le_put16(h + 8, (uint16_t)method);
    wan_le_put32(h + 18, (uint32_t)n + (uint32_t)packed);
    wan_le_put32(h + 22, (uint32_t)n);
    wan_le_put16(h + 26, (uint16_t)strlen(name));
    if (central)
        wan_le_put32(p + 42, (uint32_t)at);
    memcpy(p + (central ? 46 : 30), name, strlen(name));
    return (central ? 46 : 30) + strlen(name);
}

static int crafted(const struct more *m)
{
    static const char pkl[] = "\x80\x02K\x05.";
    const struct {
        const char *name, *data;
        size_t n;
    } e[] = { { "archive/data.pkl", pkl, sizeof pkl - 1 },
              { "archive/version", "3\n", 2 },
              { m->name, "data", 4 } };
    uint8_t zip[1024];
    size_t n = 0, at[3], dir;
    for (int i = 0; i < 3; i++) {
        const char *name = i == 2 && m->local_name ? m->local_name : e[i].name;
        at[i] = n;
        n += zip_header(zip + n, 0, name, 0, e[i].n, 0, 0, 0);
        memcpy(zip + n, e[i].data, e[i].n);
        n += e[i].n;
    }
    dir = n;
    for (int i = 0; i < 3 + m->again; i++) {
        int k = i < 3 ? i : 2, last = k == 2;
        n += zip_header(zip + n, 1, e[k].name, at[k], e[k].n, last ? m->flags : 0,
                        last ? m->method : 0, last ? m->packed : 0);
    }
    memset(zip + n, 0, 22);
    memcpy(zip + n, "PK\5\6", 4);
    wan_le_put16(zip + n + 8, (uint16_t)(3 + m->again));
    wan_le_put16(zip + n + 10, (uint16_t)(3 + m->again));
    wan_le_put32(zip + n + 12, (uint32_t)(n - dir));
    wan_le_put32(zip + n + 16, (uint32_t)dir);
    wan_torch *w = NULL;
    int rc = wan_torch_parse(&w, zip, n + 22, "crafted");
    wan_torch_close(&w);
    return rc;
}
#define REFUSED(say, ...)                                                                          \
    ok(crafted(&(struct more){ __VA_ARGS__ }) < 0 && strstr(wan_err_text(), say), "%s",            \
       wan_err_text())

/* A file of 70 kB that asks for 2 GiB: one element, many times. */
static void expanded(void)
{
    static const uint8_t size[] = { 'J', 0x70, 0x11, 1, 0, 'K', 1, 0x86, 'K', 1, 'K', 1, 0x86 };
    enum { N = 70000 };
    int64_t shape[2] = { N, 1 };
    uint8_t *data = calloc(N, 1);
    void *file = NULL;
    size_t n = 0;
    wan_torch *w = NULL;
    if (!ok(data && wan_torch_save(&file, &n, data, WAN_U8, shape, 2) == 0, "a tensor"))
        return;
    uint8_t *at = memmem(file, n, size, sizeof size), *entry = memmem(file, n, "PK\1\2", 4);
    if (ok(at && entry, "its shape")) {
        memset(entry + 16, 0, 4); /* without a checksum */
        at[9] = 0;                /* strides 0, 1 */
        at[3] = 0;                /* 4464 of them */
        ok(wan_torch_parse(&w, file, n, "short") == 0 && wan_torch_at(w, 0)->count == 4464,
           "a little expanded: %s", w ? "" : wan_err_text());
        wan_torch_close(&w);
        at[4] = 0x7f;
        ok(wan_torch_parse(&w, file, n, "short") < 0 &&
               strstr(wan_err_text(), "70000 bytes that are stored"),
           "much: %s", wan_err_text());
    }
    free(file);
    free(data);
}

static void zips(void)
{
    ok(crafted(&(struct more){ .name = "archive/more" }) == 0, "a zip with one entry more");
    REFUSED("encrypted", .name = "archive/more", .flags = 1);
    REFUSED("compressed", .name = "archive/more", .method = 8);
    REFUSED("compressed", .name = "archive/more", .packed = -1);
    REFUSED("occurs twice", .name = "archive/version");
    REFUSED("overlaps", .name = "archive/more", .again = 1);
    REFUSED("disagree", .name = "archive/more", .local_name = "archive/m0re");
    REFUSED("another folder", .name = "archives/more");
    REFUSED("another folder", .name = "../etc/passwd");
}

int main(void)
{
    one("f32.pth", 6, 2, WAN_F32);
    one("f16.pth", 48, 4, WAN_F16);
    one("bf16.pth", 5, 1, WAN_BF16);
    one("empty.pth", 0, 2, WAN_F32);
    float got = 0;
    wan_torch *w = open_data("scalar.pth");
    ok(w && wan_torch_read(w, wan_torch_at(w, 0), &got, WAN_F32) == 0 && got == 2.5f, "0-d tensor");
    wan_torch_close(&w);
    uint16_t u[7] = { 0 };
    w = open_data("u16.pth");
    ok(w && wan_torch_at(w, 0)->dtype == WAN_U16 &&
           wan_torch_read(w, wan_torch_at(w, 0), u, WAN_U16) == 0 && u[6] == 6,
       "_rebuild_tensor_v3 with an untyped storage");
    wan_torch_close(&w);
    views();
    state();
    legacy();
    storage_view();
    hidden();
    written();
    hostile();
    zips();
    expanded();
    return tap_done();
}
