/* SPDX-License-Identifier: Apache-2.0
 *
 * index_check.c - the lint Energon lacks: do shards, offsets, counts, parts and payload agree?
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/rec/shard/dataset_in.h"
#include "lib/rec/shard/index_in.h"
#include "lib/rec/shard/info.h"
#include "lib/rec/shard/sample_check.h"

struct check {
    const char *dir;
    void (*problem)(const char *);
    void (*progress)(size_t, size_t);
    wan_index_report *rep;
    const json_t *counts;
    wan_split split;
    wan_sizes *sizes; /* samples.bin, or NULL */
    struct wan_index_scan scan;
    int64_t bad;
    wan_sample_like like;
};

static void WAN_PRINTF(2, 3) tell(struct check *c, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    c->problem(text);
    c->bad++;
}

static int in_list(const wan_names *l, const char *name)
{
    int n = 0;
    for (size_t i = 0; i < l->n; i++)
        n += !strcmp(l->v[i], name);
    return n;
}

/* Is the shard in exactly one part, and on disk? */
static void check_membership(struct check *c, const char *name)
{
    int n = 0;
    for (size_t i = 0; i < c->split.n; i++)
        n += in_list(&c->split.part[i].shards, name);
    if (in_list(&c->split.exclude, name))
        return;
    if (n != 1)
        tell(c, n ? "%s: split.yaml names it %d times" : "%s: is in no part of split.yaml", name,
             n);
}

static void check_offsets(struct check *c, const char *name, const char *path,
                          const struct wan_index_shard *s)
{
    uint64_t *idx;
    size_t want = (size_t)json_integer_value(json_object_get(c->counts, name));
    if (s->n != want)
        tell(c, "%s: holds %zu samples, .info.json says %zu", name, s->n, want);
    if (wan_dataset_load_idx(&idx, s->n, path) < 0) {
        tell(c, "%s", wan_err_text());
        return;
    }
    size_t i = 0;
    while (i <= s->n && (idx[i] == s->offset[i] || (i == 0 && idx[0] == 0)))
        i++;
    if (i <= s->n)
        tell(c, "%s.idx: entry %zu is %" PRIu64 ", the shard says %" PRIu64, name, i, idx[i],
             s->offset[i]);
    free(idx);
}

/* What samples.bin says of the shard against what is there. */
static void check_sizes(struct check *c, const char *name, const struct wan_index_shard *s)
{
    wan_sizes_shard t;
    int rc = c->sizes ? wan_sizes_find(c->sizes, name, &t) : -1;
    if (!c->sizes)
        return; /* Energon's own index; the trainer measures */
    if (rc <= 0) {
        tell(c, "%s: %s", name, rc < 0 ? wan_err_text() : "samples.bin does not know this shard");
        return;
    }
    if (t.n != s->n || t.bytes != s->bytes || memcmp(t.offset, s->offset, 8 * (s->n + 1))) {
        tell(c, "%s: samples.bin knows another shard of this name", name);
        return;
    }
    if (t.other != s->other)
        tell(c, "%s: provenance, or another member that belongs to no sample, has changed", name);
    for (size_t i = 0; i < s->n; i++) {
        const wan_sizes_row *is = &s->row[i], *was = &t.row[i];
        if (is->json != was->json || is->rest != was->rest)
            tell(c, "%s: sample %zu: %s not what it was when it was indexed", name, i,
                 is->json != was->json ? "json is" : "its parts are");
        else if (memcmp(is, was, sizeof *is))
            tell(c, "%s: sample %zu: samples.bin says another size", name, i);
    }
}

static void check_payload(struct check *c, const char *name, const char *path)
{
    wan_shard_reader *r;
    wan_shard_sample s;
    int rc = wan_shard_reader_open(&r, path, 0);
    if (rc < 0) {
        tell(c, "%s", wan_err_text());
        return;
    }
    while ((rc = wan_shard_reader_next(r, &s)) == 1) {
        c->rep->samples++;
        if (wan_sample_check(&c->like, &s, name) < 0)
            tell(c, "%s", wan_err_text());
    }
    if (rc < 0)
        tell(c, "%s", wan_err_text());
    wan_shard_reader_close(&r);
}

static void check_shard(struct check *c, const char *name, size_t number)
{
    struct wan_index_shard s = { 0 };
    char *path = wan_path_join(c->dir, name);
    check_membership(c, name);
    if (!path || wan_index_scan_shard(&c->scan, &s, c->dir, name, number) < 0) {
        tell(c, "%s", wan_err_text());
    } else {
        check_offsets(c, name, path, &s);
        check_sizes(c, name, &s);
        check_payload(c, name, path);
    }
    wan_index_shard_clear(&s);
    free(path);
}

/* Shards on disk that .info.json does not know, and parts that name unknown shards. */
static int check_lists(struct check *c)
{
    char **all;
    size_t n;
    WAN_TRY(wan_shard_list(&all, &n, c->dir));
    for (size_t i = 0; i < n; i++)
        if (!json_object_get(c->counts, all[i]) && !in_list(&c->split.exclude, all[i]))
            tell(c, "%s: .info.json does not know this shard", all[i]);
    wan_shard_list_free(all, n);
    for (size_t k = 0; k < c->split.n; k++)
        for (size_t i = 0; i < c->split.part[k].shards.n; i++)
            if (!json_object_get(c->counts, c->split.part[k].shards.v[i]))
                tell(c, "split.yaml: part %s names %s, .info.json does not know it",
                     c->split.part[k].name, c->split.part[k].shards.v[i]);
    const struct wan_split_part *train = wan_split_find(&c->split, "train");
    if (!train || !train->shards.n)
        tell(c, "split.yaml: part train is empty");
    return 0;
}

static int check_all(struct check *c)
{
    const char *name;
    json_t *count;
    size_t i = 0;
    WAN_TRY(check_lists(c));
    json_object_foreach((json_t *)c->counts, name, count)
    {
        if (c->progress)
            c->progress(i, json_object_size(c->counts));
        check_shard(c, name, i++);
    }
    c->rep->shards = i;
    c->rep->bytes = c->scan.bytes;
    c->rep->ignored = c->scan.ignored;
    return 0;
}

static void tell_one(void *c, const char *sentence)
{
    tell(c, "%s", sentence);
}

static void note(void *c, const char *sentence)
{
    ((struct check *)c)->problem(sentence);
}

/* The files of .nv-meta among themselves; a folder that Energon made has no manifest. */
static int check_meta(struct check *c)
{
    char *meta = wan_info_meta(c->dir);
    char *bin = meta ? wan_path_join(meta, "samples.bin") : NULL;
    char *manifest = meta ? wan_path_join(meta, WAN_INDEX_MANIFEST) : NULL;
    int rc = bin && manifest ? 0 : -1;
    if (rc == 0 && wan_sizes_open(&c->sizes, bin) < 0)
        tell(c, "%s", wan_err_text());
    if (rc == 0 && !c->sizes && wan_exists(manifest))
        tell(c, "samples.bin is missing");
    if (rc == 0 && wan_exists(manifest) && wan_index_manifest_check(meta, tell_one, note, c) < 0)
        tell(c, "%s", wan_err_text());
    free(manifest);
    free(bin);
    free(meta);
    return rc;
}

int64_t wan_index_check(wan_index_report *rep, const char *dir, void (*problem)(const char *),
                        void (*progress)(size_t, size_t))
{
    struct check c = { .dir = dir, .problem = problem, .progress = progress, .rep = rep };
    json_t *counts;
    memset(rep, 0, sizeof *rep);
    wan_sha256_init(&c.scan.digest);
    WAN_TRY(wan_dataset_meta(&counts, &c.split, dir));
    c.counts = counts;
    int rc = check_meta(&c);
    if (rc == 0)
        rc = wan_index_db_open(&c.scan.db, NULL);
    if (rc == 0)
        rc = check_all(&c);
    json_decref(counts);
    wan_split_clear(&c.split);
    wan_index_scan_clear(&c.scan);
    wan_sizes_close(&c.sizes);
    return rc < 0 ? -1 : c.bad;
}
