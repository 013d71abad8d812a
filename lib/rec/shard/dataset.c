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
#include "lib/rec/shard/exclude.h"
#include "lib/rec/shard/index_in.h"
#include "lib/rec/shard/info.h"
#include "lib/rec/shard/keyset.h"
#include "lib/rec/shard/shard.h"
#include "lib/rec/shard/split.h"

static int is_counted(void *counts, const char *name)
{
    return json_object_get(counts, name) != NULL;
}

/* Shards may be excluded that the index does not know, where they are there. */
static int check_exclude(const wan_split *s, const char *dir, const json_t *counts)
{
    for (size_t i = 0; i < s->exclude.n; i++) {
        const char *e = s->exclude.v[i], *slash = NULL;
        int known =
            json_object_get(counts, e) ? 1 : wan_exclude_each_front(e, is_counted, (void *)counts);
        WAN_TRY(known);
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
static int keep_some(struct wan_dataset_shard *sh, wan_exclude *without)
{
    sh->keep = wan_malloc(sh->n + 1, sizeof *sh->keep, "kept samples");
    int rc = sh->keep ? wan_exclude_look(without, sh->name) : -1;
    sh->kept = 0;
    for (size_t i = 0; i < sh->n && rc == 0; i++) {
        wan_shard_reader *r;
        wan_shard_sample x;
        rc = wan_shard_reader_open_range(&r, sh->path, 1, sh->offset[i], sh->offset[i + 1]);
        if (rc < 0)
            break;
        rc = wan_shard_reader_next(r, &x);
        int out = rc == 1 ? wan_exclude_sample(without, sh->name, x.key) : 0;
        if (rc == 1 && out == 0)
            sh->keep[sh->kept++] = i;
        rc = out < 0   ? -1
             : rc == 1 ? 0
             : rc < 0  ? -1
                       : wan_err("%s: sample %zu is missing", sh->path, i);
        wan_shard_reader_close(&r);
    }
    return rc;
}

static int add_shard(wan_dataset *d, const char *dir, const char *name, const json_t *counts,
                     wan_exclude *without)
{
    const json_t *count = json_object_get(counts, name);
    int out = wan_exclude_shard(without, name);
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
        WAN_TRY(keep_some(sh, without));
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

static int add_shards(wan_dataset *d, const char *dir, const wan_names *shards,
                      const json_t *counts, const wan_split *s)
{
    wan_exclude without;
    int rc = wan_exclude_new(&without, s, counts);
    for (size_t i = 0; i < shards->n && rc == 0; i++)
        rc = add_shard(d, dir, shards->v[i], counts, &without);
    if (rc == 0)
        rc = wan_exclude_check(&without);
    wan_exclude_clear(&without);
    return rc;
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
    WAN_TRY(add_shards(d, dir, &p->shards, counts, s));
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

int wan_dataset_has(const char *dir, const char *split)
{
    json_t *counts;
    wan_split s;
    WAN_TRY(wan_dataset_meta(&counts, &s, dir));
    int has = wan_split_find(&s, split) != NULL;
    json_decref(counts);
    wan_split_clear(&s);
    return has;
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

static int count_unknown(char **name, size_t n, const char *dir, const json_t *counts,
                         const wan_split *s)
{
    wan_exclude without;
    size_t unknown = 0, first = 0;
    int rc = wan_exclude_new(&without, s, counts);
    for (size_t i = n; rc == 0 && i-- > 0;)
        if (!json_object_get(counts, name[i]) && wan_exclude_shard(&without, name[i]) < 2) {
            unknown++;
            first = i;
        }
    if (unknown)
        wan_warn("%s: %zu shard%s not in the index, the first of them %s; run wan-index again", dir,
                 unknown, unknown == 1 ? " is" : "s are", name[first]);
    wan_exclude_clear(&without);
    return rc;
}

int wan_dataset_tell_unknown(const char *dir)
{
    static const char *const ends[] = { ".tar", ".tgz", ".tar.gz", NULL };
    json_t *counts;
    wan_split s;
    char **name;
    size_t n;
    WAN_TRY(wan_dataset_meta(&counts, &s, dir));
    int rc = wan_shard_list_as(&name, &n, dir, ends);
    if (rc == 0) {
        rc = count_unknown(name, n, dir, counts, &s);
        wan_shard_list_free(name, n);
    }
    json_decref(counts);
    wan_split_clear(&s);
    return rc;
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
