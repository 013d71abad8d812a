/* SPDX-License-Identifier: Apache-2.0
 *
 * dataset.c - opens a split: .info.json, split.yaml and the offsets of every shard must agree.
 */
#include "lib/rec/shard/dataset.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/sha256.h"
#include "lib/rec/shard/dataset_in.h"
#include "lib/rec/shard/index_in.h"
#include "lib/rec/shard/info.h"
#include "lib/rec/shard/keyset.h"
#include "lib/rec/shard/shard.h"
#include "lib/rec/shard/split.h"

/* Is NAME excluded, wholly (NAME) or in part (NAME/KEY)? 0 no, 1 in part, 2 wholly. */
static int excluded(const wan_split *s, const char *name)
{
    size_t n = strlen(name);
    int part = 0;
    for (size_t i = 0; i < s->exclude.n; i++) {
        const char *e = s->exclude.v[i];
        if (strncmp(e, name, n))
            continue;
        if (!e[n])
            return 2;
        part |= e[n] == '/';
    }
    return part;
}

/* met [exclude.n]: which of them have excluded something. */
static int key_excluded(const wan_split *s, const char *name, const char *key, char *met)
{
    size_t n = strlen(name);
    int out = 0;
    for (size_t i = 0; i < s->exclude.n; i++) {
        const char *e = s->exclude.v[i];
        if (!strncmp(e, name, n) && e[n] == '/' && !strcmp(e + n + 1, key))
            met[i] = 1, out = 1;
    }
    return out;
}

/* An exclusion that excludes nothing is a mistake: what it meant would be learned. */
static int check_met(const wan_split *s, const char *name, const char *met)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < s->exclude.n; i++) {
        const char *e = s->exclude.v[i];
        if (!strncmp(e, name, n) && e[n] == '/' && !met[i])
            return wan_err("split.yaml excludes %s, and no sample has this key", e);
    }
    return 0;
}

/* Shards may be excluded that the index does not know, where they are there. */
static int check_exclude(const wan_split *s, const char *dir, const json_t *counts)
{
    for (size_t i = 0; i < s->exclude.n; i++) {
        const char *e = s->exclude.v[i], *slash = NULL, *name;
        json_t *count;
        int known = json_object_get(counts, e) != NULL;
        json_object_foreach((json_t *)counts, name, count)
        {
            size_t n = known ? 0 : strlen(name);
            known |= n && !strncmp(e, name, n) && e[n] == '/';
        }
        char *path = known ? NULL : wan_path_join(dir, e);
        if (!known && !path)
            return -1;
        if (!known && (slash = strstr(e, ".tar/"))) /* of a shard that no part has */
            path[strlen(path) - strlen(slash) + 4] = 0;
        known = known || wan_exists(path);
        free(path);
        if (!known)
            return wan_err("split.yaml excludes %s, which is not there", e);
    }
    return 0;
}

/* Lists the samples of a shard that single exclusions leave. */
static int keep_some(struct wan_dataset_shard *sh, const wan_split *s)
{
    sh->keep = wan_malloc(sh->n + 1, sizeof *sh->keep, "kept samples");
    char *met = wan_calloc(s->exclude.n + 1, 1, "exclusions");
    int rc = sh->keep && met ? 0 : -1;
    sh->kept = 0;
    for (size_t i = 0; i < sh->n && rc == 0; i++) {
        wan_shard_reader *r;
        wan_shard_sample x;
        rc = wan_shard_reader_open_range(&r, sh->path, 1, sh->offset[i], sh->offset[i + 1]);
        if (rc < 0)
            break;
        rc = wan_shard_reader_next(r, &x);
        if (rc == 1 && !key_excluded(s, sh->name, x.key, met))
            sh->keep[sh->kept++] = i;
        rc = rc == 1 ? 0 : rc < 0 ? -1 : wan_err("%s: sample %zu is missing", sh->path, i);
        wan_shard_reader_close(&r);
    }
    if (rc == 0)
        rc = check_met(s, sh->name, met);
    free(met);
    return rc;
}

static int add_shard(wan_dataset *d, const char *dir, const char *name, const json_t *counts,
                     const wan_split *s)
{
    const json_t *count = json_object_get(counts, name);
    int out = excluded(s, name);
    if (!count)
        return wan_err("split.yaml names %s, .info.json does not", name);
    if (out == 2)
        return 0;
    struct wan_dataset_shard *sh = &d->shard[d->n_shards];
    *sh = (struct wan_dataset_shard){ .n = (size_t)json_integer_value(count) };
    sh->kept = sh->n;
    sh->name = strdup(name);
    sh->path = wan_path_join(dir, name);
    d->n_shards++;
    if (!sh->name || !sh->path)
        return wan_err("out of memory (shards)");
    WAN_TRY(wan_dataset_sizes(d, sh));
    if (out)
        WAN_TRY(keep_some(sh, s));
    sh->first = d->count;
    d->count += (int64_t)sh->kept;
    return 0;
}

static void make_digest(wan_dataset *d)
{
    wan_sha256 h;
    wan_sha256_init(&h);
    for (size_t i = 0; i < d->n_shards; i++) {
        const struct wan_dataset_shard *s = &d->shard[i];
        uint64_t kept = s->kept;
        wan_sha256_add(&h, s->name, strlen(s->name) + 1);
        wan_sha256_add(&h, &kept, sizeof kept);
        wan_sha256_add(&h, s->digest, sizeof s->digest);
        if (s->keep)
            wan_sha256_add(&h, s->keep, s->kept * sizeof *s->keep);
    }
    wan_sha256_hex(&h, d->digest);
}

/* Its samples would count twice. */
static int check_twins(const wan_names *shards)
{
    wan_keyset met = WAN_KEYSET_INIT;
    int rc = 1;
    for (size_t i = 0; i < shards->n && rc > 0; i++)
        if ((rc = wan_keyset_add(&met, shards->v[i])) == 0)
            rc = wan_err("split.yaml names %s twice in one part", shards->v[i]);
    wan_keyset_clear(&met);
    return rc < 0 ? -1 : 0;
}

static int open_split(wan_dataset *d, const char *dir, const char *name, const json_t *counts,
                      const wan_split *s)
{
    const struct wan_split_part *p = wan_split_find(s, name);
    if (!p)
        return wan_err("split.yaml has no part \"%s\"", name);
    d->shard = wan_calloc(p->shards.n + 1, sizeof *d->shard, "shards");
    char *meta = wan_info_meta(dir);
    d->sizes_path = meta ? wan_path_join(meta, "samples.bin") : NULL;
    if (meta && wan_index_manifest_same(meta, "split.yaml") == 0)
        wan_info("%s: split.yaml was edited after wan-index wrote it", dir);
    free(meta);
    d->dir = strdup(dir);
    WAN_TRY(!d->shard || !d->sizes_path ? -1
            : !d->dir                   ? wan_err("out of memory (dataset)")
                                        : wan_sizes_open(&d->sizes, d->sizes_path));
    WAN_TRY(check_twins(&p->shards));
    for (size_t i = 0; i < p->shards.n; i++)
        WAN_TRY(add_shard(d, dir, p->shards.v[i], counts, s));
    wan_dataset_keep(d);
    make_digest(d);
    return 0;
}

int wan_dataset_meta(json_t **counts, wan_split *s, const char *dir)
{
    *s = (wan_split){ 0 };
    if (!(*counts = wan_info_load(dir)))
        return -1;
    char *meta = wan_info_meta(dir);
    char *yaml = meta ? wan_path_join(meta, "split.yaml") : NULL;
    char *json = meta ? wan_path_join(meta, "split.json") : NULL;
    int rc = !yaml || !json
                 ? -1
                 : wan_split_load(s, !wan_exists(yaml) && wan_exists(json) ? json : yaml);
    if (rc < 0)
        json_decref(*counts);
    free(yaml);
    free(json);
    free(meta);
    return rc;
}

/* shards: these instead of the part's, or NULL. */
static int open_dir(wan_dataset *d, const char *dir, const char *split, const wan_names *shards)
{
    json_t *counts;
    wan_split s;
    WAN_TRY(wan_dataset_meta(&counts, &s, dir));
    struct wan_split_part *p = shards ? wan_split_add(&s, "", 0) : NULL;
    int rc = shards && !p ? -1 : 0;
    for (size_t i = 0; shards && i < shards->n && rc == 0; i++) {
        const char *name = shards->v[i];
        if (!json_object_get(counts, name))
            rc = wan_err("%s: no shard of this folder's index; run wan-index again", name);
        else
            rc = wan_names_add(&p->shards, name, strlen(name));
    }
    if (rc == 0)
        rc = check_exclude(&s, dir, counts);
    if (rc == 0)
        rc = open_split(d, dir, shards ? "" : split, counts, &s);
    if (rc < 0)
        wan_err_prefix("%s", dir);
    json_decref(counts);
    wan_split_clear(&s);
    return rc;
}

static int open_some(wan_dataset **out, const char *dir, const char *split, const wan_names *shards)
{
    *out = NULL;
    wan_dataset *d = wan_calloc(1, sizeof *d, "dataset");
    if (!d)
        return -1;
    if (open_dir(d, dir, split, shards) < 0) {
        wan_dataset_close(&d);
        return -1;
    }
    *out = d;
    return 0;
}

int wan_dataset_open(wan_dataset **out, const char *dir, const char *split)
{
    return open_some(out, dir, split, NULL);
}

int wan_dataset_open_shards(wan_dataset **out, const char *dir, const wan_names *shards)
{
    return open_some(out, dir, NULL, shards);
}

int64_t wan_dataset_count(const wan_dataset *d)
{
    return d->count;
}

const char *wan_dataset_digest(const wan_dataset *d)
{
    return d->digest;
}

void wan_dataset_close(wan_dataset **pd)
{
    wan_dataset *d = *pd;
    if (!d)
        return;
    for (size_t i = 0; i < d->n_shards; i++) {
        free(d->shard[i].name);
        free(d->shard[i].path);
        free(d->shard[i].own_offset);
        free(d->shard[i].own_row);
        free(d->shard[i].keep);
    }
    wan_sizes_close(&d->sizes);
    free(d->shard);
    free(d->dir);
    free(d->sizes_path);
    free(d);
    *pd = NULL;
}
