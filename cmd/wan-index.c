/* SPDX-License-Identifier: Apache-2.0
 *
 * wan-index - makes a folder of shards a dataset, or checks that it is one.
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/opt.h"
#include "lib/base/signals.h"
#include "lib/rec/shard/index.h"
#include "lib/rec/shard/index_stat.h"
#include "lib/rec/shard/stat_svg.h"

static struct {
    const char *ratio, *exclude, *picture;
    wan_strlist parts;
    int shuffle, check, reread, stat;
} o = { .ratio = "8,1,1" };

static const wan_opt table[] = {
    WAN_OPT_GROUP("Division"),
    WAN_OPT_STR("split-ratio", 0, "A,B,C", &o.ratio, "shares of train, val and test"),
    WAN_OPT_LIST("split-parts", 0, "NAME:PATTERN", &o.parts,
                 "instead of shares: shards whose path begins with PATTERN (braces, then an "
                 "extended regular expression) go to part NAME"),
    WAN_OPT_STR("exclude", 0, "REGEX", &o.exclude, "leave out shards that match anywhere"),
    WAN_OPT_FLAG("reread", 0, &o.reread,
                 "read also shards that have not changed since the last run"),
    WAN_OPT_FLAG("shuffle-tars", 0, &o.shuffle, "shuffle the shards (seed 42) before dividing"),
    WAN_OPT_GROUP("Checking"),
    WAN_OPT_FLAG("check", 'c', &o.check,
                 "write nothing; compare index, shards, parts, payload and digests; every member "
                 "parses, every number is finite, shapes agree"),
    WAN_OPT_ALSO("verify"),
    WAN_OPT_FLAG("stat", 0, &o.stat,
                 "write nothing; print sizes, lengths, text rows, and mean and deviation of each "
                 "channel for each part, as TSV"),
    WAN_OPT_STR("picture", 0, "FILE", &o.picture, "with --stat: the same as a picture (SVG)"),
    WAN_OPT_COMMON,
    WAN_OPT_END
};

static const wan_tool tool = { "wan-index", "index tar shards for training", "[options] DIR",
                               table };

/* "8,1,1" or "0.8,0.1,0.1": whole numbers of millionths. */
static int parse_ratio(uint64_t weight[3], const char *text)
{
    char copy[128];
    if (strlen(text) >= sizeof copy)
        return wan_err("--split-ratio %s: too long", text);
    strcpy(copy, text);
    char *save = NULL, *word = strtok_r(copy, ",", &save);
    uint64_t sum = 0;
    for (int i = 0; i < 3; i++, word = strtok_r(NULL, ",", &save)) {
        double v;
        if (!word)
            return wan_err("--split-ratio %s: three numbers are expected", text);
        WAN_TRY(wan_parse_real(&v, word, 0, 1e9, "--split-ratio"));
        weight[i] = (uint64_t)(v * 1e6 + 0.5);
        if (v > 0 && !weight[i])
            return wan_err("--split-ratio %s: %s is less than a millionth", text, word);
        sum += weight[i];
    }
    if (word)
        return wan_err("--split-ratio %s: three numbers are expected", text);
    return sum ? 0 : wan_err("--split-ratio %s: all parts are empty", text);
}

static const char *plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

static void problem(const char *sentence)
{
    wan_warn("%s", sentence);
}

static void progress(size_t done, size_t all)
{
    wan_progress(0, "shard %zu of %zu", done + 1, all);
}

static int check(const char *dir)
{
    wan_index_report rep;
    int64_t bad = wan_index_check(&rep, dir, problem, progress);
    if (bad < 0)
        wan_die();
    wan_progress(1, "%" PRIu64 " shards", rep.shards);
    if (rep.ignored)
        wan_warn("%" PRIu64 " members are no files of a sample and are passed over", rep.ignored);
    if (bad)
        wan_warn("%s: %" PRId64 " problem%s", dir, bad, plural((uint64_t)bad));
    else
        wan_info("%s: %" PRIu64 " shard%s, %" PRIu64 " sample%s, all well", dir, rep.shards,
                 plural(rep.shards), rep.samples, plural(rep.samples));
    return bad ? WAN_EXIT_FAILED : WAN_EXIT_DONE;
}

static void stat_progress(size_t done, size_t all)
{
    wan_progress(0, "sample %zu of %zu", done + 1, all);
}

/* The table on standard output, and drawn. */
static int draw(char *tsv, const char *dir)
{
    wan_out *out;
    if (fputs(tsv, stdout) < 0)
        return wan_err_errno("<stdout>");
    WAN_TRY(wan_out_open(&out, o.picture));
    if (wan_stat_svg(wan_out_file(out), tsv, dir) == 0)
        return wan_out_finish(&out);
    wan_out_discard(&out);
    return -1;
}

static int stat_all(const char *dir)
{
    char *tsv = NULL;
    size_t n;
    FILE *f = o.picture ? wan_mem_open(&tsv, &n) : stdout;
    int rc = f ? wan_index_stat(f, dir, stat_progress) : wan_err("out of memory (statistics)");
    wan_progress(1, "done");
    if (o.picture && f && wan_mem_close(f) < 0)
        rc = -1;
    if (rc == 0 && o.picture)
        rc = draw(tsv, dir);
    free(tsv);
    if (rc == 0)
        rc = wan_out_close_stdout();
    if (rc < 0)
        wan_die();
    return WAN_EXIT_DONE;
}

static void report(const wan_index_report *rep)
{
    wan_info("%" PRIu64 " shard%s, %" PRIu64 " sample%s: %s", rep->shards, plural(rep->shards),
             rep->samples, plural(rep->samples), rep->lines);
    if (rep->reused)
        wan_info("%" PRIu64 " shard%s had not changed since the last run", rep->reused,
                 plural(rep->reused));
    if (rep->excluded)
        wan_info("%" PRIu64 " shard%s left out by --exclude", rep->excluded, plural(rep->excluded));
    if (rep->empty[0])
        wan_warn("no shard for %s: there are %" PRIu64 " in all; make smaller ones with wan-shard "
                 "--shard-maxcount, or divide them with --split-parts",
                 rep->empty, rep->shards);
    if (rep->missing)
        wan_warn("%" PRIu64 " shard%s missing between others of one rank; the first: %s",
                 rep->missing, rep->missing == 1 ? " is" : "s are", rep->gap);
    if (rep->ignored)
        wan_warn("%" PRIu64 " members are no files of a sample and were passed over", rep->ignored);
    if (rep->incomplete)
        wan_warn("%" PRIu64 " samples lack json, pth or pickle and cannot be trained on",
                 rep->incomplete);
    if (rep->unreadable)
        wan_warn("%" PRIu64 " samples cannot be trained on; the first: %s", rep->unreadable,
                 rep->why);
}

int main(int argc, char **argv)
{
    wan_index_report rep;
    mallopt(M_TRIM_THRESHOLD, 64 << 20); /* a million times the same memory: it is kept */
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    int argi = wan_opt_parse(&tool, argc, argv);
    wan_signals_filter();
    if (argc - argi != 1) {
        wan_err(argc > argi ? "only one folder at a time" : "no folder given");
        wan_die_usage();
    }
    if (o.picture && !o.stat) {
        wan_err("--picture goes with --stat");
        wan_die_usage();
    }
    if (o.picture && !strcmp(o.picture, "-")) {
        wan_err("--picture needs a file: the table goes to standard output");
        wan_die_usage();
    }
    if (o.check && o.stat) {
        wan_err("--check or --stat, not both");
        wan_die_usage();
    }
    if (o.check || o.stat)
        return o.check ? check(argv[argi]) : stat_all(argv[argi]);
    wan_index_options opt = { .parts = o.parts.v,
                              .n_parts = o.parts.n,
                              .exclude = o.exclude,
                              .shuffle = o.shuffle,
                              .reread = o.reread,
                              .progress = progress };
    if (parse_ratio(opt.weight, o.ratio) < 0)
        wan_die_usage();
    if (wan_index_build(&rep, argv[argi], &opt) < 0)
        wan_die();
    wan_progress(1, "%" PRIu64 " shards", rep.shards);
    report(&rep);
    return WAN_EXIT_DONE;
}
