/* SPDX-License-Identifier: Apache-2.0
 *
 * index.c - builds the side files: every shard is read into a new index beside the old one, which
 * takes its place when all are well.
 */
#include "lib/rec/shard/index.h"

#include <errno.h>
#include <inttypes.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/rng.h"
#include "lib/rec/shard/index_in.h"
#include "lib/rec/shard/metafile.h"
#include "lib/rec/shard/split.h"

struct build {
    const char *dir;
    const wan_index_options *opt;
    wan_names names;
    uint64_t *count; /* [names.n] samples */
    wan_split split;
    struct wan_index_scan scan;
};

static int compile(regex_t *re, const char *pattern)
{
    char why[128];
    int rc = regcomp(re, pattern, REG_EXTENDED);
    if (!rc)
        return 0;
    regerror(rc, re, why, sizeof why);
    return wan_err("pattern \"%s\": %s", pattern, why);
}

/* Braces and $ in names break Energon, other things our own lists. */
static int check_name(const char *dir, const char *name)
{
    size_t n;
    const char *part;
    if (strpbrk(name, "{}$"))
        return wan_err("%s/%s: braces and $ in shard names break Energon", dir, name);
    int is_text = wan_json_is_text(name, strlen(name), dir);
    WAN_TRY(is_text);
    if (!is_text)
        return wan_err("%s/%s: a shard's name must be UTF-8, as the lists are", dir, name);
    return wan_shard_split(name, &n, &part) < 0 ? wan_err_prefix("%s", dir) : 0;
}

/* The place of the number in a name that wan-shard gives, 0 in any other. */
static size_t number_at(const char *name, long *number)
{
    const char *slash = strrchr(name, '/'), *file = slash ? slash + 1 : name;
    int rank, end = 0;
    if (sscanf(file, "shard-rank%2d-%6ld.tar%n", &rank, number, &end) < 2 || !end || file[end])
        return 0;
    return (size_t)(file - name) + strlen("shard-rankNN-");
}

/* A shard between others of its rank that is not there was lost, or never copied. */
static void note_gaps(wan_index_report *rep, char *const *name, size_t n)
{
    long before, number;
    for (size_t i = 1; i < n; i++) {
        size_t at = number_at(name[i], &number);
        if (!at || number_at(name[i - 1], &before) != at || strncmp(name[i], name[i - 1], at) ||
            number <= before + 1)
            continue;
        if (!rep->missing)
            snprintf(rep->gap, sizeof rep->gap, "%.*s%06ld.tar", (int)at, name[i], before + 1);
        rep->missing += (uint64_t)(number - before - 1);
    }
}

/* 1, 0; -1: out of memory, which the C library takes for no match. */
static int matches(const regex_t *re, const char *name)
{
    errno = 0;
    if (!regexec(re, name, 0, NULL, 0))
        return 1;
    return errno == ENOMEM ? wan_err("%s: out of memory (pattern)", name) : 0;
}

/* All shards below dir that `exclude` leaves. */
static int list_shards(struct build *b, wan_index_report *rep)
{
    char **all;
    size_t n;
    regex_t re;
    if (b->opt->exclude)
        WAN_TRY(compile(&re, b->opt->exclude));
    int rc = wan_shard_list_settled(&all, &n, b->dir);
    if (rc < 0)
        n = 0, all = NULL;
    note_gaps(rep, all, n);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        int out = b->opt->exclude ? matches(&re, all[i]) : 0;
        if (out < 0) {
            rc = -1;
        } else if (out) {
            rep->excluded++;
            rc = wan_names_add(&b->split.exclude, all[i], strlen(all[i]));
        } else {
            rc = check_name(b->dir, all[i]);
            if (rc == 0)
                rc = wan_names_add(&b->names, all[i], strlen(all[i]));
        }
    }
    wan_shard_list_free(all, n);
    if (b->opt->exclude)
        regfree(&re);
    if (rc == 0 && !b->names.n)
        rc = rep->excluded ? wan_err("%s: all %" PRIu64 " shards are left out by --exclude", b->dir,
                                     rep->excluded)
                           : wan_metafile_hint(b->dir, "no shards (*.tar)");
    return rc;
}

/* Division by weights, over the names in order or shuffled. */
static int split_by_weight(struct build *b)
{
    static const char *const name[3] = { "train", "val", "test" };
    size_t n = b->names.n, end[3], *order = wan_malloc(n, sizeof *order, "shards"), at = 0;
    if (!order)
        return -1;
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    wan_rng rng = wan_rng_stream(42, WAN_RNG_SHUFFLE, 0, 0);
    for (size_t i = n; b->opt->shuffle && i-- > 1;) {
        size_t j = wan_rng_below(&rng, i, i + 1), t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
    wan_split_ends(end, n, b->opt->weight, 3);
    int rc = 0;
    for (int k = 0; rc == 0 && k < 3; k++) {
        struct wan_split_part *p = wan_split_add(&b->split, name[k], strlen(name[k]));
        rc = p ? 0 : -1;
        for (; rc == 0 && at < end[k]; at++)
            rc = wan_names_add(&p->shards, b->names.v[order[at]], strlen(b->names.v[order[at]]));
    }
    free(order);
    return rc;
}

/* Adds the shards whose path begins with a match of the pattern; used[] counts them. */
static int add_matches(struct build *b, struct wan_split_part *p, const char *pattern,
                       uint8_t *used)
{
    char *text = wan_malloc(strlen(pattern) + 4, 1, "pattern");
    regex_t re;
    if (!text)
        return -1;
    sprintf(text, "^(%s)", pattern);
    int rc = compile(&re, text);
    free(text);
    WAN_TRY(rc);
    for (size_t i = 0; rc == 0 && i < b->names.n; i++) {
        rc = matches(&re, b->names.v[i]);
        if (rc <= 0)
            continue;
        rc = used[i] ? wan_err("%s: is in two parts", b->names.v[i])
                     : wan_names_add(&p->shards, b->names.v[i], strlen(b->names.v[i]));
        used[i] = 1;
    }
    regfree(&re);
    return rc;
}

static int add_part(struct build *b, const char *text, uint8_t *used)
{
    const char *colon = strchr(text, ':');
    if (!colon || colon == text)
        return wan_err("--split-parts %s: NAME:PATTERN is expected", text);
    char *name = strndup(text, (size_t)(colon - text));
    if (!name)
        return wan_err("out of memory (split)");
    struct wan_split_part *p = (struct wan_split_part *)wan_split_find(&b->split, name);
    if (!p)
        p = wan_split_add(&b->split, text, (size_t)(colon - text));
    free(name);
    wan_names patterns = { 0, 0, 0 };
    int rc = p ? wan_names_expand(&patterns, colon + 1) : -1;
    for (size_t i = 0; rc == 0 && i < patterns.n; i++)
        rc = add_matches(b, p, patterns.v[i], used);
    wan_names_clear(&patterns);
    return rc;
}

static int split_by_pattern(struct build *b)
{
    uint8_t *used = wan_calloc(b->names.n, 1, "shards");
    int rc = used ? 0 : -1;
    for (size_t i = 0; rc == 0 && i < b->opt->n_parts; i++)
        rc = add_part(b, b->opt->parts[i], used);
    for (size_t i = 0; rc == 0 && i < b->names.n; i++)
        if (!used[i])
            rc = wan_err("%s: is in no part (leave it out with --exclude)", b->names.v[i]);
    free(used);
    return rc;
}

/* A UUID (version 8: own scheme) made of the digest of everything indexed. */
static void make_uuid(struct build *b, char u[37])
{
    char h[65];
    wan_sha256_hex(&b->scan.digest, h);
    snprintf(u, 37, "%.8s-%.4s-8%.3s-%c%.3s-%.12s", h, h + 8, h + 13, "89ab"[h[16] % 4], h + 17,
             h + 20);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "train 8 shards 64 samples"; names the parts that were asked for and got nothing. */
static void report_part(const struct build *b, wan_index_report *rep, size_t k, size_t *at)
{
    const struct wan_split_part *p = &b->split.part[k];
    uint64_t samples = 0;
    for (size_t j = 0; j < p->shards.n; j++) {
        char **name = bsearch(&p->shards.v[j], b->names.v, b->names.n, sizeof(char *),
                              by_text); /* the names are sorted */
        samples += name ? b->count[name - b->names.v] : 0;
    }
    if (*at < sizeof rep->lines)
        *at += (size_t)snprintf(rep->lines + *at, sizeof rep->lines - *at,
                                "%s%s %zu shard%s %" PRIu64 " sample%s", k ? ", " : "", p->name,
                                p->shards.n, p->shards.n == 1 ? "" : "s", samples,
                                samples == 1 ? "" : "s");
    size_t n = strlen(rep->empty);
    if (!p->shards.n && (b->opt->n_parts || b->opt->weight[k]))
        snprintf(rep->empty + n, sizeof rep->empty - n, "%s%s", n ? ", " : "", p->name);
}

static void fill_report(const struct build *b, wan_index_report *rep)
{
    size_t at = 0;
    rep->shards = b->names.n;
    rep->bytes = b->scan.bytes;
    rep->ignored = b->scan.ignored;
    rep->incomplete = b->scan.incomplete;
    rep->unreadable = b->scan.unreadable;
    rep->reused = b->scan.reused;
    snprintf(rep->why, sizeof rep->why, "%s", b->scan.why ? b->scan.why : "");
    for (size_t k = 0; k < b->split.n; k++)
        report_part(b, rep, k, &at);
    for (size_t i = 0; i < b->names.n; i++)
        rep->samples += b->count[i];
}

/* Reads a shard, or takes what the old index says of it, into the new index. */
static int add_shard(struct build *b, wan_index_write *w, wan_index_old *old, size_t i)
{
    struct wan_index_shard s;
    const char *name = b->names.v[i];
    int rc = wan_index_scan_old(&b->scan, &s, old, name, i);
    if (rc == 0)
        rc = wan_index_scan_shard(&b->scan, &s, b->dir, name, i);
    if (rc >= 0)
        rc = wan_index_write_shard(w, name, &s);
    b->count[i] = s.n;
    wan_index_shard_clear(&s);
    return rc;
}

static int add_shards(struct build *b, wan_index_write *w)
{
    wan_index_old *old = NULL;
    int rc = b->opt->reread ? 0 : wan_index_old_open(&old, b->dir);
    for (size_t i = 0; rc == 0 && i < b->names.n; i++) {
        if (b->opt->progress)
            b->opt->progress(i, b->names.n);
        rc = add_shard(b, w, old, i);
    }
    wan_index_old_close(&old);
    return rc;
}

static int build(struct build *b, wan_index_report *rep)
{
    char id[37];
    wan_index_write *w = NULL;
    WAN_TRY(list_shards(b, rep));
    WAN_TRY(b->opt->n_parts ? split_by_pattern(b) : split_by_weight(b));
    b->count = wan_calloc(b->names.n, sizeof *b->count, "index");
    int rc = b->count ? wan_index_write_open(&w, &b->scan.db, b->dir) : -1;
    if (rc == 0)
        rc = add_shards(b, w);
    if (rc == 0) {
        make_uuid(b, id);
        rc = wan_index_write_finish(&w, &b->scan.db, &b->split, id);
    }
    wan_index_db_close(&b->scan.db);
    wan_index_write_abandon(&w);
    if (rc == 0)
        fill_report(b, rep);
    return rc;
}

int wan_index_build(wan_index_report *rep, const char *dir, const wan_index_options *opt)
{
    struct build b = { .dir = dir, .opt = opt };
    memset(rep, 0, sizeof *rep);
    wan_sha256_init(&b.scan.digest);
    int rc = build(&b, rep);
    free(b.count);
    wan_index_scan_clear(&b.scan);
    wan_split_clear(&b.split);
    wan_names_clear(&b.names);
    return rc;
}
