/* SPDX-License-Identifier: Apache-2.0
 *
 * dataset_read.c - one sample: its sizes from the index, or all of it, checked.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/crc32c.h"
#include "lib/base/file.h"
#include "lib/rec/shard/dataset_in.h"
#include "lib/rec/shard/samplemap.h"
#include "lib/rec/shard/shard.h"
#include "lib/rec/tensor/torch.h"

/* The shard that holds sample i of the split, and its number there. */
static const struct wan_dataset_shard *locate(const wan_dataset *d, int64_t i, size_t *at)
{
    size_t lo = 0, hi = d->n_shards;
    if (i < 0 || i >= d->count) {
        wan_err("sample %" PRId64 " of %" PRId64, i, d->count);
        return NULL;
    }
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (d->shard[mid].first <= i)
            lo = mid;
        else
            hi = mid;
    }
    const struct wan_dataset_shard *s = &d->shard[lo];
    size_t k = (size_t)(i - s->first);
    *at = s->keep ? s->keep[k] : k;
    return s;
}

/* Opens the range of one sample and reads it as far as asked. */
static int open_sample(wan_shard_reader **r, wan_shard_sample *x, const struct wan_dataset_shard *s,
                       size_t at, int headers)
{
    WAN_TRY(wan_shard_reader_open_range(r, s->path, headers, s->offset[at], s->offset[at + 1]));
    int rc = wan_shard_reader_next(*r, x);
    if (rc == 1 && x->end != s->offset[at + 1])
        rc = wan_err("%s: sample %s: the index is stale; run wan-index again", s->path, x->key);
    else if (rc == 0)
        rc = wan_err("%s: sample %zu is missing; run wan-index again", s->path, at);
    if (rc == 1)
        return 0;
    wan_shard_reader_close(r);
    return -1;
}

static int need(const wan_shard_sample *x, const char *name, const wan_shard_part **p)
{
    *p = wan_shard_find(x, name);
    return *p ? 0 : wan_err("part %s is missing", name);
}

/* Sizes of a sample that the index could not measure: this gives the reason. */
static int measure(wan_sample_info *info, const struct wan_dataset_shard *s, size_t at)
{
    wan_shard_reader *r;
    wan_shard_sample x;
    wan_shard_map m;
    WAN_TRY(open_sample(&r, &x, s, at, 1));
    int rc = wan_measure_map(&m, s->path);
    if (rc == 0 && (rc = wan_measure_sizes(info, &x, &m)) < 0)
        wan_err_prefix("%s: sample %s", s->path, x.key);
    wan_measure_unmap(&m);
    wan_shard_reader_close(&r);
    return rc;
}

static int info_at(wan_sample_info *info, const struct wan_dataset_shard *s, size_t at)
{
    const wan_sizes_row *row = &s->row[at];
    if (!row->latent[0])
        return measure(info, s, at);
    for (int i = 0; i < 4; i++)
        info->latent[i] = row->latent[i];
    info->text_rows = row->text_rows;
    info->text_dim = row->text_dim;
    return 0;
}

int wan_dataset_info(const wan_dataset *d, int64_t i, wan_sample_info *info)
{
    size_t at;
    const struct wan_dataset_shard *s = locate(d, i, &at);
    return s ? info_at(info, s, at) : -1;
}

int wan_dataset_infos(const wan_dataset *d, wan_sample_info *info)
{
    for (size_t i = 0; i < d->n_shards; i++) {
        const struct wan_dataset_shard *s = &d->shard[i];
        for (size_t k = 0; k < s->kept; k++)
            WAN_TRY(info_at(info++, s, s->keep ? s->keep[k] : k));
    }
    return 0;
}

/* One part as float; t gives the shape. */
static int read_tensor(float **out, wan_torch_tensor *shape, const wan_shard_sample *x,
                       const char *part, float limit)
{
    const wan_shard_part *p;
    wan_torch *w;
    WAN_TRY(need(x, part, &p));
    WAN_TRY(wan_torch_parse(&w, p->data, p->size, part));
    wan_torch_tensor *t = wan_torch_find(w, "");
    int rc = !t ? wan_err("%s: holds no single tensor", part)
             : (uint64_t)t->count > p->size
                 ? wan_err("%s: its tensor is larger than the file", part)
                 : 0; /* an expanded view */
    if (rc == 0)
        rc = (*out = wan_malloc((size_t)t->count, sizeof **out, part)) ? 0 : -1;
    if (rc == 0)
        rc = wan_torch_read(w, t, *out, WAN_F32);
    if (rc == 0)
        rc = wan_samplemap_finite(*out, t->count, limit, part);
    if (rc == 0)
        *shape = *t;
    wan_torch_close(&w);
    return rc;
}

/* What the index has digests of is what it was when it was indexed. */
static int check_digests(const wan_shard_sample *x, const wan_sizes_row *row)
{
    uint32_t json = 0, rest = 0;
    for (int i = 0; i < x->n; i++) {
        const wan_shard_part *p = &x->part[i];
        if (!strcmp(p->name, "json"))
            json = wan_crc32c(0, p->data, p->size);
        else if (row->rest)
            rest = wan_crc32c(rest, p->data, p->size);
    }
    if (json != row->json)
        return wan_err("json: its digest is not that of the index");
    return rest == row->rest ? 0 : wan_err("its digest is not that of the index");
}

static const char *field_at(const json_t *list, size_t i)
{
    const char *f = json_string_value(json_object_get(json_array_get(list, i), "field"));
    return f ? f : "";
}

/* The number of the caption that is meant, in the sample's list; 0: the text itself.  -1 */
static int choose(const json_t *root, const wan_caption_choice *c)
{
    const json_t *meta = json_object_get(json_object_get(root, "wan"), "meta");
    const json_t *list = json_object_get(meta, "caption_list");
    const char *own = json_string_value(json_object_get(meta, "caption_field"));
    size_t n = json_array_size(list), fits = 0, want;
    if (n < 2)
        return !c->field || (own && !strcmp(own, c->field))
                   ? 0
                   : wan_err("its caption is of field \"%s\", not of \"%s\"", own ? own : "",
                             c->field);
    for (size_t i = 0; i < n; i++)
        fits += !c->field || !strcmp(field_at(list, i), c->field);
    if (!fits)
        return wan_err("none of its %zu captions is of field \"%s\"", n, c->field);
    want = c->first ? 0 : (size_t)(((unsigned __int128)c->draw * fits) >> 64);
    for (size_t i = 0; i < n; i++)
        if ((!c->field || !strcmp(field_at(list, i), c->field)) && want-- == 0)
            return (int)i;
    return 0;
}

/* Caption i behind the first one, which wan-encode keeps as a tensor of its own. */
static int read_other(wan_sample *s, const wan_shard_sample *x, int i)
{
    wan_tensor t;
    char name[32];
    snprintf(name, sizeof name, "text_%d", i + 1);
    int rc = wan_samplemap_tensor(&t, x, s->json, name);
    if (rc == 0)
        return wan_err("tensor %s is missing: the captions are not all encoded", name);
    WAN_TRY(rc);
    if (t.rank != 2 || t.shape[0] < 1 || t.shape[1] < 1)
        rc = wan_err("tensor %s is not [rows, width]", name);
    int64_t count = rc < 0 ? 0 : t.shape[0] * t.shape[1];
    if (rc > 0)
        rc = (s->text = wan_malloc((size_t)count, sizeof *s->text, name)) ? 0 : -1;
    if (rc == 0)
        rc = wan_convert(s->text, WAN_F32, t.data, t.dtype, (size_t)count);
    if (rc == 0)
        rc = wan_samplemap_finite(s->text, count, 0, name);
    s->info.text_rows = t.shape[0];
    s->info.text_dim = t.shape[1];
    free(t.data);
    return rc;
}

static int read_sample(wan_sample *s, const wan_shard_sample *x, const wan_sizes_row *row,
                       const wan_caption_choice *choice)
{
    const wan_shard_part *p;
    wan_torch_tensor latent, text;
    if (!(s->key = strdup(x->key)))
        return wan_err("out of memory (key)");
    WAN_TRY(need(x, "json", &p));
    WAN_TRY(check_digests(x, row));
    if (!(s->json = wan_json_parse(p->data, p->size, "json")))
        return -1;
    WAN_TRY(read_tensor(&s->latent, &latent, x, "pth", WAN_SAMPLE_LATENT_MAX));
    WAN_TRY(wan_measure_latent(&s->info, &latent));
    int which = choice ? choose(s->json, choice) : 0;
    if (which)
        return which < 0 ? -1 : read_other(s, x, which);
    WAN_TRY(read_tensor(&s->text, &text, x, "pickle", 0));
    text.data = s->text;
    text.dtype = WAN_F32;
    text.contiguous = 1;
    return wan_measure_text(&s->info, &text);
}

int wan_dataset_read(const wan_dataset *d, int64_t i, wan_sample *s)
{
    return wan_dataset_read_caption(d, i, NULL, s);
}

int wan_dataset_read_caption(const wan_dataset *d, int64_t i, const wan_caption_choice *choice,
                             wan_sample *s)
{
    size_t at;
    const struct wan_dataset_shard *sh = locate(d, i, &at);
    wan_shard_reader *r;
    wan_shard_sample x;
    wan_sample_clear(s);
    if (!sh)
        return -1;
    WAN_TRY(open_sample(&r, &x, sh, at, 0));
    int rc = read_sample(s, &x, &sh->row[at], choice);
    if (rc < 0) {
        wan_err_prefix("%s: sample %s", sh->path, x.key);
        wan_sample_clear(s);
    }
    wan_shard_reader_close(&r);
    return rc;
}

void wan_sample_clear(wan_sample *s)
{
    free(s->key);
    free(s->latent);
    free(s->text);
    json_decref(s->json);
    *s = (wan_sample)WAN_SAMPLE_INIT;
}
