/* SPDX-License-Identifier: Apache-2.0
 * Ways of shapes: what was noted is found, also behind a file; files that are none are refused. */
#include "kernels/ways.h"

#include <unistd.h>

#include "lib/base/file.h"
#include "tests/tap.h"

enum { MANY = 300 };

static void shape_of(char s[64], int i)
{
    snprintf(s, 64, "bf16 %d x %d", i * 7919 % MANY, 512);
}

static int noted(const wan_ways *w, int i, int from)
{
    char s[64], want[64];
    shape_of(s, i);
    snprintf(want, sizeof want, "way %d", from + i);
    const char *got = wan_ways_find(w, i % 2 ? "odd" : "even", s);
    return got && !strcmp(got, want);
}

static int note(wan_ways *w, int i, int from)
{
    char s[64], way[64];
    shape_of(s, i);
    snprintf(way, sizeof way, "way %d", from + i);
    return wan_ways_note(w, i % 2 ? "odd" : "even", s, way);
}

static void refused(const char *text, const char *why)
{
    wan_ways *w;
    int rc = wan_ways_new(&w);
    rc = rc == 0 ? wan_ways_parse(w, text, "x") : 0;
    ok(rc < 0 && strstr(wan_err_text(), why), "refused: %s", wan_err_text());
    wan_ways_free(&w);
}

int main(void)
{
    static const char path[] = "ways.txt";
    wan_ways *w, *again;
    int rc = wan_ways_new(&w) == 0 && wan_ways_new(&again) == 0 ? 0 : -1, all = 1, back = 1;
    for (int i = 0; i < MANY && rc == 0; i++)
        rc = note(w, i, 0);
    for (int i = 0; i < MANY && rc == 0; i += 3)
        rc = note(w, i, 1000);
    for (int i = 0; i < MANY && rc == 0; i++)
        all = all && noted(w, i, i % 3 ? 0 : 1000);
    ok(rc == 0 && all && w->n == MANY, "%d ways, a third of them noted twice", w->n);
    ok(!wan_ways_find(w, "odd", "bf16 0 x 511") && !wan_ways_find(NULL, "odd", "x"), "no others");
    rc = wan_ways_read(again, path);
    ok(rc == 0 && again->n == 0, "no file: none");
    rc = wan_ways_write(w, path) == 0 && wan_ways_read(again, path) == 0 ? 0 : -1;
    for (int i = 0; i < MANY && rc == 0; i++)
        back = back && noted(again, i, i % 3 ? 0 : 1000);
    ok(rc == 0 && back && again->n == MANY, "the same ones behind a file");
    unlink(path);
    for (int i = 0; i < WAN_WAYS_MOST + 10 && rc == 0; i++) {
        char s[64];
        snprintf(s, sizeof s, "%d", i);
        rc = wan_ways_note(again, "more", s, "x");
    }
    ok(rc == 0 && again->n == WAN_WAYS_MOST, "at most %d", again->n);
    ok(wan_ways_note(w, "a\tb", "c", "d") < 0 && wan_ways_note(w, "", "c", "d") < 0,
       "words of a tab, or of nothing, are refused");
    refused("", "does not begin");
    refused("wan-ways 2\n", "does not begin");
    refused("wan-ways 1\na\tb\tc\nd\te\n", "x: line 3: not a kind");
    refused("wan-ways 1\na\tb\tc\td\n", "x: line 2: not a kind");
    refused("wan-ways 1\na\tb\t\n", "x: line 2: ways: a word of 0 bytes");
    refused("wan-ways 1\na\tb\tc", "middle of a line");
    wan_ways_free(&w);
    wan_ways_free(&again);
    return tap_done();
}
