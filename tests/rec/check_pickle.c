/* SPDX-License-Identifier: Apache-2.0
 *
 * check_pickle.c - pickled tensors as Python writes them (all protocols), our own, and pickles
 * that mean harm: nothing is run, nothing is believed.
 */
#include <inttypes.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/rec/tensor/pickle.h"
#include "lib/rec/tensor/torch.h"
#include "tests/tap.h"

static void python_file(const char *name, int64_t n, int64_t first)
{
    char path[256];
    static float got[4096];
    wan_torch *w = NULL;
    snprintf(path, sizeof path, "tests/data/torch/%s", name);
    int good = wan_torch_open(&w, path) == 0 && wan_torch_count(w) == 1;
    wan_torch_tensor *t = good ? wan_torch_find(w, "") : NULL;
    good = t && t->count == n && wan_torch_read(w, t, got, WAN_F32) == 0;
    for (int64_t i = 0; good && i < n; i++)
        good = got[i] == (float)(first + i) * 0.5f - 3;
    ok(good, "%s: %" PRId64 " values (%s)", name, n, good ? "" : wan_err_text());
    wan_torch_close(&w);
}

static void cut_everywhere(const char *name)
{
    char path[256], *file;
    size_t n, refused = 0;
    wan_torch *w = NULL;
    snprintf(path, sizeof path, "tests/data/torch/%s", name);
    if (wan_slurp(&file, &n, path, 1 << 20) < 0)
        n = 0, file = NULL;
    for (size_t cut = 0; cut < n; cut++)
        refused += wan_torch_parse(&w, file, cut, "cut") < 0;
    ok(n && refused == n, "%s: cut anywhere it is refused (%zu of %zu)", name, refused, n);
    free(file);
}

static int run(const char *text, size_t n)
{
    wan_pickle *p = wan_pickle_new();
    size_t used;
    int good = wan_pickle_run(p, text, n, &used) != NULL;
    wan_pickle_free(&p);
    return good;
}
#define RUN(s) run(s, sizeof s - 1)

static void machine(void)
{
    ok(RUN("\x80\x02K\x05."), "an integer");
    ok(!RUN("\x80\x02K\x05"), "no end: %s", wan_err_text());
    ok(!RUN("\x80\x02."), "nothing: %s", wan_err_text());
    ok(!RUN("\x80\x02(."), "an open mark: %s", wan_err_text());
    ok(!RUN("\x80\x02K\1K\2."), "two values: %s", wan_err_text());
    ok(!RUN("\x80\x09N."), "protocol 9: %s", wan_err_text());
    ok(!RUN("\x80\x02X\xff\xff\xff\x7f"
            "a."),
       "a long text: %s", wan_err_text());
    ok(!RUN("\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\xff"
            "a."),
       "bytes: %s", wan_err_text());
    ok(!RUN("\x80\x02Nr\xff\xff\xff\xff."), "a huge memo: %s", wan_err_text());
    ok(!RUN("\x80\x02h\x00."), "an empty memo: %s", wan_err_text());
    ok(!RUN("\x80\x02(K\1u."), "a key without value: %s", wan_err_text());
    ok(!RUN("\x80\x02}K\1a."), "append to a map: %s", wan_err_text());
    ok(!RUN("\x80\x02NR."), "a call of nothing: %s", wan_err_text());
    ok(!RUN("\x80\x02\x8b\xff\xff\xff\xff."), "a giant integer: %s", wan_err_text());
    ok(!RUN("\x80\x02"
            "cos\nsystem"),
       "a cut name: %s", wan_err_text());
    ok(!RUN("\x80\x02"
            "I5\n."),
       "an opcode torch never writes: %s", wan_err_text());
    ok(RUN("\x80\x02]q\0h\0a."), "a list inside itself is no trouble here");
}

static int parse_text(const char *text, size_t n)
{
    wan_torch *w = NULL;
    int rc = wan_torch_parse(&w, text, n, "text");
    wan_torch_close(&w);
    return rc;
}

static void walks(void)
{
    static const char self[] = "\x80\x02]q\0h\0a.";
    ok(parse_text(self, sizeof self - 1) < 0, "but is no file of tensors: %s", wan_err_text());
    char bomb[512] = "\x80\x02]";
    size_t n = 3;
    bomb[n++] = 'q', bomb[n++] = 0;
    for (int i = 1; i < 40; i++) { /* each list holds the one before twice: 2^40 paths */
        char more[] = { ']', 'q', (char)i, 'h', (char)(i - 1), 'a', 'h', (char)(i - 1), 'a' };
        memcpy(bomb + n, more, sizeof more);
        n += sizeof more;
    }
    char wrap[600];
    memcpy(wrap, bomb, n);
    wrap[n] = '.';
    ok(parse_text(wrap, n + 1) < 0, "a bomb of lists: %s", wan_err_text());
    wan_torch *w = NULL;
    ok(wan_torch_open(&w, "tests/data/torch/evil.pickle") == 0 && wan_torch_count(w) == 1 &&
           wan_torch_skipped(w) == 1 && access("pickle-was-executed", F_OK) != 0,
       "a call of os.system is a value that is skipped");
    wan_torch_close(&w);
}

/* A text of 1 MiB turned into bytes 2000 times: more memory than there may be. */
static void memory(void)
{
    enum { TEXT = 1 << 20, CALLS = 2000 };
    static const char begin[] = "\x80\x02"
                                "c_codecs\nencode\nq\x01X\x00\x00\x10\x00";
    static const char middle[] = "q\x02X\x06\x00\x00\x00latin1q\x03(";
    static const char call[] = "h\x01h\x02h\x03\x86R";
    char *text = calloc(1, TEXT + CALLS * sizeof call + 200), *p = text;
    memcpy(p, begin, sizeof begin - 1);
    p += sizeof begin - 1;
    memset(p, 'a', TEXT);
    p += TEXT;
    memcpy(p, middle, sizeof middle - 1);
    p += sizeof middle - 1;
    for (int i = 0; i < CALLS; i++, p += sizeof call - 1)
        memcpy(p, call, sizeof call - 1);
    memcpy(p, "t.", 2);
    ok(!run(text, (size_t)(p + 2 - text)) && strstr(wan_err_text(), "more than"),
       "a bomb of texts: %s", wan_err_text());
    free(text);
}

static void written(void)
{
    static const int64_t shape[2] = { 3, 2 };
    static const float x[6] = { 1, -2, 3.5f, 0, 1e-9f, -1e9f };
    float got[6];
    void *file;
    size_t n;
    wan_torch *w = NULL;
    int good = wan_torch_pickle(&file, &n, x, WAN_F32, shape, 2) == 0;
    if (!ok(good, "a .pickle is written"))
        return;
    good = wan_torch_parse(&w, file, n, "mine") == 0 && wan_torch_count(w) == 1;
    good = good && wan_torch_read(w, wan_torch_at(w, 0), got, WAN_F32) == 0;
    ok(good && !memcmp(got, x, sizeof x), "and read back");
    wan_torch_close(&w);
    size_t refused = 0;
    for (size_t cut = 0; cut < n; cut++)
        refused += parse_text(file, cut) < 0;
    ok(refused == n, "cut anywhere it is refused");
    free(file);
}

int main(void)
{
    python_file("p2.pickle", 12, 0);
    python_file("p3.pickle", 12, 0);
    python_file("p4.pickle", 12, 0);
    python_file("p5.pickle", 12, 0);
    python_file("big.pickle", 2000, 0);
    python_file("view.pickle", 12, 6);
    cut_everywhere("p4.pickle");
    cut_everywhere("big.pickle");
    machine();
    walks();
    memory();
    written();
    return tap_done();
}
