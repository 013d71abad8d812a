/* SPDX-License-Identifier: Apache-2.0
 *
 * check_stamps.c - time stamps as files have them, and the ones frames get: written by hand, not by
 * the rule under test.  `N` is none.
 */
#include "lib/media/stamps.h"
#include "tests/tap.h"

#define N WAN_STAMP_NONE
enum { MOST = 8 };

static const struct {
    const char *what;
    int n;
    int64_t raw[MOST], want[MOST];
    int repeated, wild;
} cases[] = {
    { "as they should be", 5, { 0, 40, 80, 120, 160 }, { 0, 40, 80, 120, 160 }, 0, 0 },
    { "from 1000 on", 3, { 1000, 1040, 1080 }, { 1000, 1040, 1080 }, 0, 0 },
    { "none", 4, { N, N, N, N }, { 0, 40, 80, 120 }, 0, 0 },
    { "the first is missing", 3, { N, 40, 80 }, { 40, 40, 80 }, 1, 0 },
    { "one repeated: the next stays", 4, { 0, 40, 40, 120 }, { 0, 40, 40, 120 }, 1, 0 },
    { "one far ahead", 5, { 0, 40, 300000, 120, 160 }, { 0, 40, 80, 120, 160 }, 0, 1 },
    { "one a little ahead", 4, { 0, 90, 80, 120 }, { 0, 40, 80, 120 }, 0, 1 },
    { "the first far ahead", 4, { 300000, 40, 80, 120 }, { 40, 40, 80, 120 }, 1, 1 },
    { "one far behind", 5, { 0, 40, -9000, 120, 160 }, { 0, 40, 80, 120, 160 }, 0, 1 },
    { "back to the start", 5, { 0, 40, 80, 0, 40 }, { 0, 40, 80, 120, 160 }, 0, 2 },
    { "a gap that is allowed", 3, { 0, 40, 9000 }, { 0, 40, 9000 }, 0, 0 },
    { "a gap that is not", 3, { 0, 40, 10041 }, { 0, 40, 10041 }, 0, 1 },
    { "all the same", 3, { 7, 7, 7 }, { 7, 7, 7 }, 2, 1 },
    { "the ends of the range",
      3,
      { INT64_MIN + 1, 0, INT64_MAX },
      { INT64_MIN + 1, 0, INT64_MAX },
      0,
      2 },
};

static void check(int i)
{
    wan_stamps s = { .tick = 0.001, .max_gap = 10 };
    int wrong = 0;
    for (int k = 0; k < cases[i].n; k++) {
        int64_t next = k + 1 < cases[i].n ? cases[i].raw[k + 1] : N;
        wrong += wan_stamps_next(&s, cases[i].raw[k], next, 40) != cases[i].want[k];
    }
    wan_stamps_end(&s);
    ok(!wrong && s.repeated == cases[i].repeated && s.wild == cases[i].wild,
       "%s: %d wrong, %d repeated, %d wild%s%s", cases[i].what, wrong, (int)s.repeated, (int)s.wild,
       s.wild ? ": " : "", s.first_wild);
}

int main(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check((int)i);
    wan_stamps s = { .tick = 0.001, .max_gap = 10 };
    (void)wan_stamps_next(&s, 0, 40, 40);
    (void)wan_stamps_next(&s, 40, N, 11000);
    wan_stamps_end(&s);
    ok(s.wild == 1, "a last frame that lasts too long: %s", s.first_wild);
    wan_stamps one = { .tick = 0.001, .max_gap = 10 };
    (void)wan_stamps_next(&one, 0, N, 11000);
    wan_stamps_end(&one);
    ok(one.wild == 1, "so is the only one: %s", one.first_wild);
    ok(fabs(wan_stamps_fps(&s) - 25) < 1e-9, "25 frames a second");
    return tap_done();
}
