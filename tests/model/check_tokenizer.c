/* SPDX-License-Identifier: Apache-2.0
 *
 * check_tokenizer.c - token ids against HuggingFace's fast tokenizer on the same spiece.model, with
 * and without byte fallback pieces in it, and through tokenizer.json.
 */
#include <unistd.h>

#include "tests/refs.h"
#include "tests/tap.h"

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/base/rng.h"
#include "lib/model/text/text.h"

static int same_ids(const json_t *want, const int32_t *ids, int64_t n)
{
    if ((int64_t)json_array_size(want) != n)
        return 0;
    for (int64_t i = 0; i < n; i++)
        if (json_integer_value(json_array_get(want, (size_t)i)) != ids[i])
            return 0;
    return 1;
}

static void check_case(const char *dir)
{
    const char *name = refs_name(dir);
    char path[640], *data, *line, *save = NULL;
    size_t size;
    wan_tokenizer *t;
    int rows = 0, wrong = 0, longest = 0;
    snprintf(path, sizeof path, "%s/tokenizer", dir);
    int rc = wan_tokenizer_open(&t, path);
    snprintf(path, sizeof path, "%s/ids.jsonl", dir);
    if (!ok(rc == 0, "%s: opened", name) || wan_slurp(&data, &size, path, 16 << 20) < 0) {
        fprintf(stderr, "%s\n", wan_err_text());
        return;
    }
    for (line = strtok_r(data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        json_t *j = json_loads(line, JSON_ALLOW_NUL, NULL);
        const json_t *s = json_object_get(j, "text");
        int32_t *ids = NULL;
        int64_t n = 0;
        if (json_string_length(s) != strlen(json_string_value(s))) {
            json_decref(j); /* a C string cannot hold NUL: refused before it comes here */
            continue;
        }
        if (wan_tokenizer_encode(t, &ids, &n, json_string_value(s), 512) < 0 ||
            !same_ids(json_object_get(j, "ids"), ids, n)) {
            if (wrong++ < 10)
                fprintf(stderr, "%s row %d: %s\n", name, rows, line);
        }
        longest = n > longest ? (int)n : longest;
        free(ids);
        rows++;
        json_decref(j);
    }
    ok(rows >= 500 && wrong == 0, "%s: %d strings, %d with other ids", name, rows, wrong);
    ok(longest == 512, "%s: the longest is cut to 512 with </s> last", name);
    free(data);
    wan_tokenizer_close(&t);
}

static void check_ids(wan_tokenizer *t, const char *text, int64_t max_len, const char *what)
{
    int32_t *ids;
    int64_t n;
    if (!ok(wan_tokenizer_encode(t, &ids, &n, text, max_len) == 0 && n >= 1 && n <= max_len &&
                ids[n - 1] == 1,
            "%s", what))
        return;
    free(ids);
}

static void check_json(void)
{
    wan_tokenizer *t;
    int32_t *ids;
    int64_t n;
    if (!ok(wan_tokenizer_open(&t, "examples/tiny/tokenizer") == 0, "tokenizer.json: opened"))
        return;
    check_ids(t, "", 512, "the empty text is </s>");
    check_ids(t, "a red circle moves up", 3, "cut to three ids");
    int rc =
        wan_tokenizer_encode(t, &ids, &n, "\xf0\x90\x8d\x88", 512); /* U+10348: byte fallback */
    ok(rc == 0 && n == 6 && ids[1] == 4 + 0xf0 && ids[4] == 4 + 0x88,
       "an unknown character becomes its bytes");
    free(ids);
    rc = wan_tokenizer_encode(t, &ids, &n, "a\xff", 512);
    ok(rc < 0, "not UTF-8: %s", wan_err_text());
    wan_tokenizer_close(&t);
}

static int write_bytes(const char *path, const char *p, size_t n)
{
    FILE *f = fopen(path, "wb");
    return f && fwrite(p, 1, n, f) == n && fclose(f) == 0 ? 0 : -1;
}

/* Damaged files are refused or read as something else, but never read or written out of bounds
 * (make check-asan sees that). */
static void check_damage(const char *from, const char *name)
{
    char dir[] = "/tmp/wan-tok.XXXXXX", path[64], *data;
    size_t size;
    int refused = 0, tries = 150;
    wan_rng r = wan_rng_stream(1, WAN_RNG_TEST, 7, 0);
    if (!ok(mkdtemp(dir) && wan_slurp(&data, &size, from, 1 << 24) == 0, "%s: to be damaged", name))
        return;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    for (int i = 0; i < tries; i++) {
        size_t n = i % 3 ? size : (size_t)wan_rng_below(&r, (uint64_t)(100 * i), size);
        size_t window = i % 2 ? size : 3000; /* the beginning holds what matters most */
        char *copy = malloc(size);
        memcpy(copy, data, size);
        for (int k = 1; k < 1 + i % 7; k++)
            copy[wan_rng_below(&r, (uint64_t)(100 * i + 2 * k), window)] =
                (char)wan_rng_u32(&r, (uint64_t)(100 * i + 2 * k + 1));
        wan_tokenizer *t = NULL;
        int32_t *ids = NULL;
        int64_t count;
        if (write_bytes(path, copy, n) < 0)
            tries = i;
        else if (wan_tokenizer_open(&t, dir) < 0 ||
                 wan_tokenizer_encode(t, &ids, &count, "A \xe7\x8c\xab, \xef\xac\x81 e\xcc\x81!",
                                      512) < 0)
            refused++;
        wan_tokenizer_close(&t);
        free(ids);
        free(copy);
    }
    ok(tries == 150 && refused > 20, "%s: %d of %d damaged files refused", name, refused, tries);
    remove(path);
    rmdir(dir);
    free(data);
}

int main(void)
{
    wan_tokenizer *t;
    refs cases = refs_find("tokenizer_", "ids.jsonl");
    ok(cases.n == 2, "%d cases in %s", cases.n, refs_root());
    for (int i = 0; i < cases.n; i++)
        check_case(cases.dir[i]);
    check_json();
    if (refs_small()) {
        check_damage(REFS_SMALL "/tokenizer_bytes/tokenizer/spiece.model", "spiece.model");
        check_damage("examples/tiny/tokenizer/tokenizer.json", "tokenizer.json");
    }
    int rc = wan_tokenizer_open(&t, REFS_SMALL "/vae_r1");
    ok(rc < 0 && !t, "no tokenizer there: %s", wan_err_text());
    return tap_done();
}
