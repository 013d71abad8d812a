/* SPDX-License-Identifier: Apache-2.0
 *
 * check_safetensors.c - one bad file per rule of wan-data(7), Safetensors rules, sharded folders,
 * what we write read back, and Python's own reader and writer where they are installed.
 */
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/le.h"
#include "lib/rec/tensor/safetensors.h"
#include "tests/tap.h"

static char dir[] = "/tmp/wan-st.XXXXXX";
static char path[256];

static const char *in_dir(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

/* Writes name: header length n (strlen when negative), header text, data of so many bytes. */
static void make(const char *name, int64_t n, const char *header, size_t data)
{
    uint8_t len[8];
    FILE *f = fopen(in_dir(name), "wb");
    wan_le_put64(len, n < 0 ? strlen(header) : (uint64_t)n);
    fwrite(len, 1, 8, f);
    fwrite(header, 1, strlen(header), f);
    for (size_t i = 0; i < data; i++)
        putc((int)i, f);
    fclose(f);
}

static void refuse(const char *what, int64_t n, const char *header, size_t data, const char *say)
{
    wan_st *st;
    make("bad.safetensors", n, header, data);
    ok(wan_st_open(&st, path) < 0 && strstr(wan_err_text(), say) &&
           strstr(wan_err_text(), "bad.safetensors"),
       "%s: %s", what, wan_err_text());
}

static void accept(const char *what, const char *header, size_t data, size_t tensors)
{
    wan_st *st;
    make("good.safetensors", -1, header, data);
    int rc = wan_st_open(&st, path);
    ok(rc == 0 && wan_st_count(st) == tensors, "%s%s", what, rc < 0 ? wan_err_text() : "");
    if (rc == 0)
        wan_st_close(&st);
}

#define T(name, type, shape, begin, end)                                                           \
    "\"" name "\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

/* Rules 1 to 4 of wan-data(7), Safetensors rules: the header. */
static void check_header_rules(void)
{
    FILE *f = fopen(in_dir("short.safetensors"), "wb");
    fwrite("\1\0\0", 1, 3, f);
    fclose(f);
    wan_st *st;
    ok(wan_st_open(&st, path) < 0 && strstr(wan_err_text(), "shorter than 8"), "1: %s",
       wan_err_text());
    refuse("2 header too large", 100000001, "{}", 0, "more than the allowed");
    refuse("2 header 2^63", INT64_MAX, "{}", 0, "more than the allowed");
    refuse("3 header beyond the file", 3, "{}", 0, "file ends");
    refuse("4 not UTF-8", -1, "{\"\xff\":1}", 0, "invalid JSON");
    refuse("4 not JSON", -1, "{\"a\":}", 0, "invalid JSON");
    refuse("4 an array", -1, "[]", 0, "not a JSON object");
    refuse("4 unknown dtype", -1, "{" T("a", "F31", "[1]", "0", "4") "}", 4, "tensor a");
    refuse("4 negative dimension", -1, "{" T("a", "F32", "[-1]", "0", "4") "}", 4, "at least 0");
    refuse("4 fractional dimension", -1, "{" T("a", "F32", "[1.0]", "0", "4") "}", 4, "whole");
    refuse("4 dimension 2^64", -1, "{" T("a", "F32", "[18446744073709551616]", "0", "4") "}", 4,
           "invalid JSON");
    refuse("4 metadata of numbers", -1, "{\"__metadata__\":{\"a\":1}}", 0, "not a string");
    refuse("4 metadata no object", -1, "{\"__metadata__\":[]}", 0, "not an object");
    refuse("4 three offsets", -1, "{" T("a", "F32", "[1]", "0,4", "4") "}", 4, "data_offsets");
    refuse("4 no shape", -1, "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "exactly");
    refuse("4 tensor is a number", -1, "{\"a\":1}", 0, "exactly");
    refuse("4 unknown field", -1,
           "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":0}}", 4,
           "exactly");
}

/* Rules 5 to 10: places, sizes, names. */
static void check_place_rules(void)
{
    refuse("5 hole at the start", -1, "{" T("a", "F32", "[1]", "4", "8") "}", 8, "a hole");
    refuse("5 hole inside", -1,
           "{" T("a", "U8", "[1]", "0", "1") "," T("b", "U8", "[1]", "2", "3") "}", 3, "a hole");
    refuse("5 overlap", -1, "{" T("a", "U8", "[2]", "0", "2") "," T("b", "U8", "[2]", "1", "3") "}",
           3, "overlaps");
    refuse("5 end before begin", -1, "{" T("a", "U8", "[2]", "2", "0") "}", 2, "begin <= end");
    refuse("6 product overflows", -1,
           "{" T("a", "F32", "[4294967296,4294967296,4294967296]", "0", "4") "}", 4, "tensor a");
    refuse("6 too few bytes", -1, "{" T("a", "F32", "[2]", "0", "4") "}", 4, "need 8");
    refuse("6 too many bytes", -1, "{" T("a", "F32", "[1]", "0", "8") "}", 8, "need 4");
    refuse("7 trailing bytes", -1, "{" T("a", "F32", "[1]", "0", "4") "}", 5, "behind");
    refuse("7 data missing", -1, "{" T("a", "F32", "[1]", "0", "4") "}", 3, "has 3 bytes");
    accept("8 no tensor", "{}", 0, 0);
    accept("8 rank 0 and an empty one",
           "{" T("a", "F32", "[]", "0", "4") "," T("b", "I64", "[3,0]", "4", "4") "}", 4, 2);
    accept("any order, padded with spaces",
           "{" T("b", "U8", "[3]", "2", "5") "," T("a", "U8", "[2]", "0", "2") "}   ", 5, 2);
    refuse("9 duplicate name", -1,
           "{" T("a", "U8", "[1]", "0", "1") "," T("a", "U8", "[1]", "0", "1") "}", 1, "duplicate");
    refuse("10 leading space", -1, " {}", 0, "padded");
    refuse("10 trailing newline", -1, "{}\n", 0, "padded");
    refuse("rank 17", -1, "{" T("a", "U8", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "0", "1") "}", 1,
           "at most 16");
}

static const float written[6] = { 1, -2, 0.5f, 3.14159f, 0, 1e-3f };

static void check_write(void)
{
    wan_st_writer *w;
    uint8_t b[3] = { 7, 8, 9 };
    int rc = wan_st_create(&w, in_dir("out.safetensors"));
    rc |= wan_st_declare(w, "odd", WAN_U8, (int64_t[]){ 3 }, 1);
    rc |= wan_st_declare(w, "w", WAN_F32, (int64_t[]){ 2, 3 }, 2);
    rc |= wan_st_declare(w, "h", WAN_BF16, (int64_t[]){ 6 }, 1);
    ok(wan_st_declare(w, "w", WAN_F32, NULL, 0) < 0, "declared twice: %s", wan_err_text());
    rc |= wan_st_set_metadata(w, "made_by", "check");
    rc |= wan_st_put(w, "odd", b, WAN_U8);
    ok(wan_st_put(w, "h", written, WAN_F32) < 0, "wrong order: %s", wan_err_text());
    ok(wan_st_declare(w, "late", WAN_F32, NULL, 0) < 0, "declared late: %s", wan_err_text());
    rc |= wan_st_put(w, "w", written, WAN_F32);
    rc |= wan_st_put(w, "h", written, WAN_F32);
    rc |= wan_st_finish(&w);
    ok(rc == 0 && !w, "written");
    char *text;
    size_t size;
    ok(wan_slurp(&text, &size, path, 1 << 20) == 0 && wan_le_get64((uint8_t *)text) % 8 == 0 &&
           text[8] == '{' && strstr(text + 8, "\"format\":\"pt\""),
       "padded header, pt format");
    free(text);
}

/* What check_write has made. */
static void check_read(void)
{
    wan_st *st;
    float back[6];
    const char *name = NULL;
    ok(wan_st_open(&st, in_dir("out.safetensors")) == 0 && wan_st_count(st) == 3, "read back");
    ok(!strcmp(wan_st_at(st, 0)->name, "h") && !strcmp(wan_st_at(st, 2)->name, "w"), "by name");
    ok(!strcmp(json_string_value(json_object_get(wan_st_metadata(st), "made_by")), "check"),
       "metadata");
    ok((uintptr_t)wan_st_find(st, "w")->data % 4 == 3, "w is not aligned in the file");
    ok(wan_st_load(st, "w", (int64_t[]){ 2, 3 }, 2, back, WAN_F32) == 0 &&
           !memcmp(written, back, sizeof back),
       "F32");
    ok(wan_st_load(st, "h", (int64_t[]){ 6 }, 1, back, WAN_F32) == 0 && back[3] == 3.140625f &&
           back[1] == -2,
       "BF16 to F32");
    ok(wan_st_load(st, "w", (int64_t[]){ 3, 2 }, 2, back, WAN_F32) < 0 &&
           strstr(wan_err_text(), "[2, 3], expected [3, 2]"),
       "%s", wan_err_text());
    ok(wan_st_load(st, "odd", (int64_t[]){ 3 }, 1, back, WAN_F32) < 0, "%s", wan_err_text());
    ok(wan_st_load(st, "no", (int64_t[]){ 3 }, 1, back, WAN_F32) < 0 &&
           strstr(wan_err_text(), "missing"),
       "%s", wan_err_text());
    ok(wan_st_unused(st, &name) == 0, "all used");
    wan_st_release(st, wan_st_find(st, "w"));
    ok(wan_st_load(st, "w", (int64_t[]){ 2, 3 }, 2, back, WAN_F32) == 0 &&
           !memcmp(written, back, sizeof back),
       "read again after release");
    wan_st_close(&st);
    ok(wan_st_open(&st, path) == 0 && wan_st_unused(st, &name) == 3 && !strcmp(name, "h"),
       "none used");
    wan_st_close(&st);
}

static void check_unfinished(void)
{
    wan_st_writer *w;
    int rc = wan_st_create(&w, in_dir("half.safetensors"));
    rc |= wan_st_declare(w, "x", WAN_F32, NULL, 0);
    ok(rc == 0 && wan_st_finish(&w) < 0 && access(path, F_OK), "unfinished: %s, no file",
       wan_err_text());
}

static void index_file(const char *text)
{
    if (wan_spew(in_dir("m/model.safetensors.index.json"), text, strlen(text)) < 0)
        WAN_BUG("%s", wan_err_text());
    in_dir("m");
}

static void refuse_index(const char *text, const char *say)
{
    wan_st *st;
    index_file(text);
    ok(wan_st_open(&st, path) < 0 && strstr(wan_err_text(), say), "index: %s", wan_err_text());
}

static void check_shards(void)
{
    wan_st *st;
    mkdir(in_dir("m"), 0777);
    ok(wan_st_open(&st, path) < 0 && strstr(wan_err_text(), "no safetensors"), "%s",
       wan_err_text());
    make("m/s1.safetensors", -1, "{" T("b", "U8", "[2]", "0", "2") "}", 2);
    make("m/s2.safetensors", -1,
         "{" T("a", "U8", "[1]", "0", "1") "," T("c", "U8", "[1]", "1", "2") "}", 2);
    index_file("{\"metadata\":{\"total_size\":4},\"weight_map\":{\"a\":\"s2.safetensors\","
               "\"b\":\"s1.safetensors\",\"c\":\"s2.safetensors\"}}");
    uint8_t c = 0;
    ok(wan_st_open(&st, path) == 0 && wan_st_count(st) == 3 &&
           wan_st_load(st, "c", (int64_t[]){ 1 }, 1, &c, WAN_U8) == 0 && c == 1,
       "two shards");
    wan_st_close(&st);
    refuse_index("{\"weight_map\":{\"a\":\"../m/s2.safetensors\"}}", "leaves the folder");
    refuse_index("{\"weight_map\":{\"a\":\"s2.safetensors\",\"b\":\"s1.safetensors\"}}",
                 "nothing about it");
    refuse_index("{\"weight_map\":{\"a\":\"s2.safetensors\",\"c\":\"s2.safetensors\","
                 "\"d\":\"s2.safetensors\"}}",
                 "tensor d: not in");
    refuse_index("{\"weight_map\":{\"a\":\"s3.safetensors\"}}", "No such file");
    refuse_index("{}", "weight_map");
    make("m/s3.safetensors", -1, "{" T("b", "U8", "[1]", "0", "1") "}", 1);
    refuse_index("{\"weight_map\":{\"b\":\"s1.safetensors\",\"x\":\"s3.safetensors\"}}", "in both");
    make("m/model.safetensors", -1, "{}", 0);
    in_dir("m");
    ok(wan_st_open(&st, path) < 0 && strstr(wan_err_text(), "both"), "%s", wan_err_text());
}

/* The committed dumps were written by Python. */
static void check_dumps(void)
{
    wan_st *st;
    ok(wan_st_open(&st, "tests/data/ref/net_c/transformer") == 0 && wan_st_count(st) > 20,
       "a sharded diffusers folder");
    wan_st_close(&st);
    ok(wan_st_open(&st, "tests/data/ref/net_a/in.safetensors") == 0, "a file of torch");
    wan_st_close(&st);
}

static void check_python(void)
{
    const char *py = getenv("WAN_PYTHON"); /* a Python with safetensors and numpy */
    if (!py || access(py, X_OK)) {
        tap_skip("Python's safetensors", "WAN_PYTHON is not set to a Python with safetensors");
        return;
    }
    char cmd[1024];
    snprintf(cmd, sizeof cmd,
             "%s -c \"import numpy as np\n"
             "from safetensors import safe_open\n"
             "from safetensors.numpy import save_file\n"
             "f = safe_open('%s/out.safetensors', 'np')\n"
             "w = f.get_tensor('w'); assert w.shape == (2, 3) and w[0, 1] == -2\n"
             "assert f.get_tensor('odd').tolist() == [7, 8, 9]\n"
             "assert f.metadata() == {'format': 'pt', 'made_by': 'check'}\n"
             "save_file({'x': np.arange(6, dtype=np.float16).reshape(3, 2), 'y': np.array(5, "
             "np.int64)}, '%s/py.safetensors')\"",
             py, dir, dir);
    ok(system(cmd) == 0, "Python reads what we wrote");
    wan_st *st;
    float x[6];
    int64_t y = 0;
    ok(wan_st_open(&st, in_dir("py.safetensors")) == 0 &&
           wan_st_load(st, "x", (int64_t[]){ 3, 2 }, 2, x, WAN_F32) == 0 && x[5] == 5 &&
           wan_st_load(st, "y", NULL, 0, &y, WAN_I64) == 0 && y == 5,
       "we read what Python wrote");
    wan_st_close(&st);
}

int main(void)
{
    if (!mkdtemp(dir))
        return 1;
    check_header_rules();
    check_place_rules();
    check_write();
    check_read();
    check_unfinished();
    check_shards();
    check_dumps();
    check_python();
    wan_remove_tree(dir);
    return tap_done();
}
