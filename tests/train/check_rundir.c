/* SPDX-License-Identifier: Apache-2.0
 *
 * check_rundir.c - the folder of a run: names, the newest step, what a killed run left, what is kept.
 */
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/model/files/rundir.h"
#include "tests/tap.h"

static char root[] = "/tmp/wan-rundir.XXXXXX";

static char *in(const char *name)
{
    static char path[4][256];
    static int i;
    i = (i + 1) % 4;
    snprintf(path[i], sizeof path[i], "%s/%s", root, name);
    return path[i];
}

static void make(const char *name)
{
    if (wan_mkdirs(in(name)) < 0) {
        printf("Bail out! %s\n", wan_err_text());
        exit(1);
    }
}

static void put(const char *name, const char *text)
{
    if (wan_spew(in(name), text, strlen(text)) < 0) {
        printf("Bail out! %s\n", wan_err_text());
        exit(1);
    }
}

static int there(const char *name)
{
    return access(in(name), F_OK) == 0;
}

/* The steps of the run `name`, as text. */
static const char *steps(const char *name)
{
    static char text[256];
    int64_t *v;
    size_t n, at = 0;
    *text = 0;
    if (wan_rundir_list(&v, &n, in(name)) < 0)
        return wan_err_text();
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%lld ", (long long)v[i]);
    free(v);
    return text;
}

static int finds(const char *run, int64_t step, const char *name)
{
    char *path;
    int found = wan_rundir_find(&path, in(run), step);
    int right = found == 1 && !strcmp(path, in(name));
    free(path);
    return right;
}

static void names(void)
{
    char *path;
    int64_t step;
    ok(!strcmp(steps("none"), "") && wan_rundir_find(&path, in("none"), -1) == 0 &&
           wan_rundir_is(in("none")) == 0,
       "no folder: no steps");
    const char *const dirs[] = { "a/iter_0000000",
                                 "a/iter_0000012",
                                 "a/iter_12345678",
                                 "a/iter_999999999999999",
                                 "a/iter_12",
                                 "a/iter_00000012",
                                 "a/iter_",
                                 "a/iter_0000003x",
                                 "a/iter_1000000000000000",
                                 "a/.iter_0000005.tmp",
                                 "a/.iter_0000006.gone",
                                 "a/iter_-000001" };
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
        make(dirs[i]);
    ok(!strcmp(steps("a"), "0 12 12345678 999999999999999 "), "steps: %s", steps("a"));
    ok(finds("a", -1, "a/iter_999999999999999"), "without a pointer the highest");
    ok(finds("a", 12, "a/iter_0000012"), "one that is asked for");
    ok(wan_rundir_find(&path, in("a"), 13) < 0 && !path, "not there: %s", wan_err_text());
    put("a/latest_checkpointed_iteration.txt", "12345678\n");
    ok(finds("a", -1, "a/iter_12345678"), "the pointer, beyond seven digits");
    ok(wan_rundir_newest(&step, in("a")) == 1 && step == 12345678, "is the newest");
    put("a/latest_checkpointed_iteration.txt", "13");
    ok(wan_rundir_find(&path, in("a"), -1) < 0, "a pointer to nothing: %s", wan_err_text());
    const char *const wrong[] = { "", "release", "-1", "12x", "1e3", "1000000000000000" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        put("a/latest_checkpointed_iteration.txt", wrong[i]);
        ok(wan_rundir_find(&path, in("a"), -1) < 0, "%s", wan_err_text());
    }
    ok(wan_rundir_next(&path, in("a"), WAN_RUNDIR_MAX_STEP + 1) < 0 && !path, "%s", wan_err_text());
}

static int save(const char *run, int64_t step, const char *text)
{
    char *tmp, name[300];
    WAN_TRY(wan_rundir_next(&tmp, in(run), step));
    snprintf(name, sizeof name, "%s/file", tmp);
    free(tmp);
    WAN_TRY(wan_spew(name, text, strlen(text)));
    WAN_TRY(wan_rundir_replace(in(run), step));
    return wan_rundir_point(in(run), step);
}

static int holds(const char *name, const char *text)
{
    char *have = NULL;
    int same = wan_slurp(&have, NULL, in(name), 64) == 0 && !strcmp(have, text);
    free(have);
    return same;
}

static void saving(void)
{
    int64_t step;
    int rc = 0;
    for (int i = 1; i <= 5; i++)
        rc |= save("b", i, "first");
    ok(rc == 0 && !strcmp(steps("b"), "1 2 3 4 5 "), "five steps");
    ok(save("b", 4, "second") == 0 && holds("b/iter_0000004/file", "second"), "one made anew");
    ok(wan_rundir_newest(&step, in("b")) == 1 && step == 4, "is the newest");
    ok(!there("b/.iter_0000004.tmp") && !there("b/.iter_0000004.old"), "and leaves nothing");
    ok(wan_rundir_prune(in("b"), 4, 0) == 0 && !strcmp(steps("b"), "1 2 3 4 5 "), "keep all");
    ok(wan_rundir_prune(in("b"), 4, 2) == 0 && !strcmp(steps("b"), "3 4 5 "),
       "keep two up to step 4: %s", steps("b"));
    ok(!there("b/.iter_0000001.gone"), "and leave nothing");
}

static void sweeping(void)
{
    make("c/.iter_0000003.old");
    put("c/.iter_0000003.old/file", "whole");
    make("c/.iter_0000003.tmp/deep/folder");
    make("c/.iter_0000002.gone/x");
    make("c/iter_0000001");
    make("c/.iter_0000001.old");
    make("c/.iter_0000001.tmp");
    make("c/.iter_0000009.mine");
    ok(!strcmp(steps("c"), "1 3 "), "a step aside is a step");
    ok(finds("c", -1, "c/.iter_0000003.old") && finds("c", 3, "c/.iter_0000003.old"),
       "and is found where it is");
    ok(finds("c", 1, "c/iter_0000001"), "one in its place is found there");
    ok(wan_rundir_sweep(in("c")) == 0 && holds("c/iter_0000003/file", "whole"),
       "a sweep puts it back");
    ok(!there("c/.iter_0000003.old") && !there("c/.iter_0000003.tmp") &&
           !there("c/.iter_0000002.gone") && !there("c/.iter_0000001.old") &&
           !there("c/.iter_0000001.tmp"),
       "and removes what was left");
    ok(there("c/.iter_0000009.mine") && there("c/iter_0000001"), "and nothing else");
    ok(wan_rundir_sweep(in("none")) == 0, "nothing to sweep");
}

static void probing(void)
{
    put("file", "x");
    ok(wan_rundir_probe(in("new/er/run"), 1000) == 0 && !there("new"), "probed without a trace");
    make("half");
    ok(wan_rundir_probe(in("half/run/"), 1000) == 0 && there("half") && !there("half/run"),
       "also where a part is there");
    ok(wan_rundir_probe(in("half"), 1000) == 0 && there("half"), "or all of it");
    ok(wan_rundir_probe(in("new/run"), INT64_MAX) < 0 && !there("new"), "no room: %s",
       wan_err_text());
    ok(wan_rundir_probe(in("file/run"), 1) < 0, "in a file: %s", wan_err_text());
    ok(wan_rundir_probe("/proc/nowhere/run", 1) < 0, "%s", wan_err_text());
}

int main(void)
{
    wan_log_init("check_rundir", 0);
    if (!mkdtemp(root))
        return 1;
    names();
    saving();
    sweeping();
    probing();
    wan_remove_tree(root);
    return tap_done();
}
