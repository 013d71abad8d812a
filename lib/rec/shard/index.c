/* SPDX-License-Identifier: Apache-2.0
 *
 * index.c - builds the side files: first every shard is read, then everything is written, the
 * .info.json that makes the folder a dataset last.
 */
#include "lib/rec/shard/index.h"

#include <inttypes.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/base/rng.h"
#include "lib/rec/shard/index_in.h"
#include "lib/base/le.h"
#include "lib/rec/shard/split.h"

struct build {
    const char *dir;
    const wan_index_options *opt;
    wan_names names;
    struct wan_index_shard *shard; /* [names.n] */
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

/* All shards below dir that `exclude` leaves; braces and $ in names break Energon. */
static int list_shards(struct build *b, wan_index_report *rep)
{
    char **all;
    size_t n;
    regex_t re;
    if (b->opt->exclude)
        WAN_TRY(compile(&re, b->opt->exclude));
    int rc = wan_shard_list(&all, &n, b->dir);
    if (rc < 0)
        n = 0, all = NULL;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (b->opt->exclude && !regexec(&re, all[i], 0, NULL, 0)) {
            rep->excluded++;
            rc = wan_names_add(&b->split.exclude, all[i], strlen(all[i]));
        } else if (strpbrk(all[i], "{}$")) {
            rc = wan_err("%s/%s: braces and $ in shard names break Energon", b->dir, all[i]);
        } else {
            rc = wan_names_add(&b->names, all[i], strlen(all[i]));
        }
    }
    wan_shard_list_free(all, n);
    if (b->opt->exclude)
        regfree(&re);
    if (rc == 0 && !b->names.n)
        rc = wan_err("%s: no shards (*.tar)", b->dir);
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
    for (size_t i = 0; rc == 0 && i < b->names.n; i++)
        if (!regexec(&re, b->names.v[i], 0, NULL, 0)) {
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
    struct wan_split_part *p =
        name ? (struct wan_split_part *)wan_split_find(&b->split, name) : NULL;
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

static int write_idx(struct build *b, size_t i)
{
    const struct wan_index_shard *s = &b->shard[i];
    char *tar = wan_path_join(b->dir, b->names.v[i]);
    char *path = tar ? wan_malloc(strlen(tar) + 5, 1, "file name") : NULL;
    uint8_t *data = path ? wan_malloc(s->n + 1, 8, "index") : NULL;
    int rc = -1;
    if (data) {
        sprintf(path, "%s.idx", tar);
        for (size_t k = 0; k <= s->n; k++)
            wan_le_put64(data + 8 * k, s->offset[k]);
        rc = wan_spew(path, data, 8 * (s->n + 1));
    }
    free(tar);
    free(path);
    free(data);
    return rc;
}

static int write_sizes(struct build *b, const char *meta)
{
    wan_sizes_writer *w = NULL;
    char *path = wan_path_join(meta, "samples.bin");
    int rc = path ? wan_sizes_writer_open(&w, path) : -1;
    free(path);
    for (size_t i = 0; rc == 0 && i < b->names.n; i++) {
        const struct wan_index_shard *x = &b->shard[i];
        wan_sizes_shard s = {
            .name = b->names.v[i], .n = x->n, .bytes = x->bytes, .offset = x->offset, .row = x->row
        };
        rc = wan_sizes_writer_put(w, &s);
    }
    if (rc == 0)
        rc = wan_sizes_writer_finish(&w);
    wan_sizes_writer_abandon(&w);
    return rc;
}

static int spew(const char *meta, const char *name, const char *text)
{
    char *path = wan_path_join(meta, name);
    int rc = path ? wan_spew(path, text, strlen(text)) : -1;
    free(path);
    return rc;
}

/* A UUID (version 8: own scheme) made of the digest of everything indexed. */
static int write_uuid(struct build *b, const char *meta)
{
    char h[65], u[37];
    wan_sha256_hex(&b->scan.digest, h);
    snprintf(u, sizeof u, "%.8s-%.4s-8%.3s-%c%.3s-%.12s", h, h + 8, h + 13, "89ab"[h[16] % 4],
             h + 17, h + 20);
    return spew(meta, "index.uuid", u);
}

static int write_info(struct build *b, const char *meta)
{
    json_t *counts = wan_json_object(), *info = wan_json_object();
    for (size_t i = 0; i < b->names.n; i++)
        wan_json_put(&counts, b->names.v[i], json_integer((json_int_t)b->shard[i].n));
    wan_json_put(&info, "shard_counts", counts);
    char *path = wan_path_join(meta, ".info.json");
    int rc = path ? wan_json_save(path, info, 2) : -1;
    free(path);
    json_decref(info);
    return rc;
}

/* Energon before 7.0 reads .info.yaml alone, so one that is there must not stay behind. */
static int refresh_old_info(struct build *b, const char *meta)
{
    char *path = wan_path_join(meta, ".info.yaml");
    wan_out *o;
    int rc = !path ? -1 : !wan_exists(path) ? 1 : wan_out_open(&o, path);
    free(path);
    if (rc)
        return rc < 0 ? -1 : 0;
    fputs("shard_counts:\n", wan_out_file(o));
    for (size_t i = 0; i < b->names.n; i++) {
        fputs("  ", wan_out_file(o));
        wan_split_put_name(wan_out_file(o), b->names.v[i]);
        fprintf(wan_out_file(o), ": %zu\n", b->shard[i].n);
    }
    return wan_out_finish(&o);
}

static int write_all(struct build *b, const char *meta)
{
    for (size_t i = 0; i < b->names.n; i++)
        WAN_TRY(write_idx(b, i));
    WAN_TRY(write_sizes(b, meta));
    WAN_TRY(wan_index_db_finish(&b->scan.db));
    WAN_TRY(write_uuid(b, meta));
    char *split = wan_path_join(meta, "split.yaml");
    int rc = split ? wan_split_save(&b->split, split) : -1;
    free(split);
    WAN_TRY(rc);
    WAN_TRY(
        spew(meta, "dataset.yaml", "__module__: megatron.energon\n__class__: CrudeWebdataset\n"));
    WAN_TRY(refresh_old_info(b, meta));
    return write_info(b, meta);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void fill_report(struct build *b, wan_index_report *rep)
{
    rep->shards = b->names.n;
    rep->bytes = b->scan.bytes;
    rep->ignored = b->scan.ignored;
    rep->incomplete = b->scan.incomplete;
    rep->unreadable = b->scan.unreadable;
    snprintf(rep->why, sizeof rep->why, "%s", b->scan.why ? b->scan.why : "");
    size_t at = 0;
    for (size_t k = 0; k < b->split.n && at < sizeof rep->lines; k++) {
        const struct wan_split_part *p = &b->split.part[k];
        uint64_t samples = 0;
        for (size_t j = 0; j < p->shards.n; j++) {
            char **at_name = bsearch(&p->shards.v[j], b->names.v, b->names.n, sizeof(char *),
                                     by_text); /* the names are sorted */
            samples += at_name ? b->shard[at_name - b->names.v].n : 0;
        }
        at += (size_t)snprintf(rep->lines + at, sizeof rep->lines - at,
                               "%s%s %zu shard%s %" PRIu64 " sample%s", k ? ", " : "", p->name,
                               p->shards.n, p->shards.n == 1 ? "" : "s", samples,
                               samples == 1 ? "" : "s");
    }
    for (size_t i = 0; i < b->names.n; i++)
        rep->samples += b->shard[i].n;
}

static int build(struct build *b, wan_index_report *rep)
{
    WAN_TRY(list_shards(b, rep));
    WAN_TRY(b->opt->n_parts ? split_by_pattern(b) : split_by_weight(b));
    b->shard = wan_calloc(b->names.n, sizeof *b->shard, "index");
    char *meta = wan_path_join(b->dir, ".nv-meta"), *db = NULL;
    int rc = b->shard && meta ? wan_mkdirs(meta) : -1;
    if (rc == 0)
        rc = (db = wan_path_join(meta, "index.sqlite")) ? wan_index_db_open(&b->scan.db, db) : -1;
    for (size_t i = 0; rc == 0 && i < b->names.n; i++) {
        if (b->opt->progress)
            b->opt->progress(i, b->names.n);
        rc = wan_index_scan_shard(&b->scan, &b->shard[i], b->dir, b->names.v[i], i);
    }
    if (rc == 0)
        rc = write_all(b, meta);
    wan_index_db_abandon(&b->scan.db);
    if (rc < 0 && meta)
        rmdir(meta); /* goes only if this run made it: then it is empty */
    if (rc == 0)
        fill_report(b, rep);
    free(db);
    free(meta);
    return rc;
}

int wan_index_build(wan_index_report *rep, const char *dir, const wan_index_options *opt)
{
    struct build b = { .dir = dir, .opt = opt };
    memset(rep, 0, sizeof *rep);
    wan_sha256_init(&b.scan.digest);
    int rc = build(&b, rep);
    for (size_t i = 0; b.shard && i < b.names.n; i++)
        wan_index_shard_clear(&b.shard[i]);
    free(b.shard);
    wan_index_scan_clear(&b.scan);
    wan_split_clear(&b.split);
    wan_names_clear(&b.names);
    return rc;
}
