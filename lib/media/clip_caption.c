/* SPDX-License-Identifier: Apache-2.0
 *
 * clip_caption.c - captions under their many names.
 */
#include "lib/media/clip_caption.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/rec/record/record.h"

enum { MAX_SIDECAR = 1 << 20, MAX_CAPTIONS = 1000 };

static const char *const known[] = { "caption",           "text",     "prompt", "vila_caption",
                                     "gemini_v2_caption", "internvl", "usr" };
static const char *const kinds[] = { ".json", ".jsonl", ".txt" };

/* Which fields are looked at. */
typedef struct fields {
    const char *only; /* NULL: the known ones */
    int all;          /* of these every one that is there */
} fields;

static int add(wan_clip_captions *out, const char *text, size_t n, const char *field,
               const char *where)
{
    if (n > WAN_MAX_CAPTION)
        return wan_err("%s: a caption of %zu bytes, more than %d", where, n, WAN_MAX_CAPTION);
    if (out->n == MAX_CAPTIONS)
        return wan_err("%s: more than %d captions", where, MAX_CAPTIONS);
    char **grown = reallocarray(out->v, (size_t)out->n + 1, sizeof *grown);
    if (grown)
        out->v = grown;
    char(*of)[64] = grown ? reallocarray(out->field, (size_t)out->n + 1, sizeof *of) : NULL;
    if (of)
        out->field = of;
    char *copy = of ? strndup(text, n) : NULL;
    if (!copy)
        return wan_err("%s: out of memory (caption)", where);
    snprintf(of[out->n], sizeof of[out->n], "%s", field);
    out->v[out->n++] = copy;
    return 0;
}

/* The captions of one field: 1 added, 0 it has none, -1. */
static int add_field(wan_clip_captions *out, const json_t *object, const char *name,
                     const char *where)
{
    const json_t *value = json_object_get(object, name);
    size_t n = json_is_array(value) ? json_array_size(value) : value && !json_is_null(value);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_is_array(value) ? json_array_get(value, i) : value;
        if (!json_is_string(item))
            return wan_err("%s: \"%s\" is no string", where, name);
        WAN_TRY(add(out, json_string_value(item), json_string_length(item), name, where));
    }
    return n > 0;
}

/* 1 the captions of this object were added, 0 it has none, -1. */
static int add_from(wan_clip_captions *out, const json_t *object, fields f, const char *where)
{
    int any = 0, rc = 0;
    if (f.only)
        return add_field(out, object, f.only, where);
    for (size_t i = 0; i < sizeof known / sizeof *known && (f.all || !any) && rc >= 0; i++) {
        rc = add_field(out, object, known[i], where);
        if (!f.all && json_object_get(object, known[i]))
            return rc;
        any |= rc > 0;
    }
    return rc < 0 ? -1 : any;
}

static int from_json(wan_clip_captions *out, const char *text, size_t n, fields f, const char *side)
{
    json_t *j = wan_json_parse(text, n, side);
    int rc = j ? add_from(out, j, f, side) : -1;
    json_decref(j);
    return rc;
}

static int from_lines(wan_clip_captions *out, const char *text, size_t n, fields f,
                      const char *side)
{
    int rc = 0, any = 0, line = 1;
    char *what = wan_malloc(strlen(side) + 32, 1, "file name");
    for (size_t at = 0, len; what && at < n && rc >= 0; at += len + 1, line++) {
        len = strcspn(text + at, "\n");
        if (strspn(text + at, " \t\r") >= len)
            continue;
        sprintf(what, "%s: line %d", side, line);
        rc = from_json(out, text + at, len, f, what);
        any |= rc > 0;
    }
    free(what);
    return !what || rc < 0 ? -1 : any;
}

static int from_text(wan_clip_captions *out, const char *text, size_t n, const char *side)
{
    while (n && strchr(" \t\r\n", text[n - 1]))
        n--;
    if (strlen(text) < n)
        return wan_err("%s: a NUL in it", side);
    int is = wan_json_is_text(text, n, side);
    WAN_TRY(is);
    if (!is)
        return wan_err("%s: not UTF-8", side);
    return add(out, text, n, "", side) < 0 ? -1 : 1;
}

static char *beside(const char *path, const char *kind)
{
    size_t stem = (size_t)(wan_clips_extension(path) - path);
    char *side = wan_malloc(stem + 8, 1, "file name");
    if (side)
        snprintf(side, stem + 8, "%.*s%s", (int)stem, path, kind);
    return side;
}

/* What cannot be told is there: opening it says why.  A name that is too long is nobody's. */
static int is_there(const char *side)
{
    return access(side, F_OK) == 0 || (errno != ENOENT && errno != ENAMETOOLONG);
}

/* 1 captions, 0 none there, -1. */
static int from_file(wan_clip_captions *out, const char *side, int kind, fields f)
{
    char *text;
    size_t n;
    if (!is_there(side))
        return 0;
    WAN_TRY(wan_slurp(&text, &n, side, MAX_SIDECAR));
    size_t mark = wan_json_mark(text, n);
    const char *from = text + mark;
    int rc = kind == 0   ? from_json(out, from, n - mark, f, side)
             : kind == 1 ? from_lines(out, from, n - mark, f, side)
                         : from_text(out, from, n - mark, side);
    free(text);
    return rc;
}

static int from_files(wan_clip_captions *out, const wan_clip *clip, fields f)
{
    int any = 0, rc = 0;
    for (int k = 0; k < 3 && rc == 0; k++) {
        char *side = beside(clip->path, kinds[k]);
        any |= side && is_there(side);
        rc = side ? from_file(out, side, k, f) : -1;
        free(side);
    }
    if (rc)
        return rc;
    if (any || clip->row)
        return wan_err("%s: no \"%s\" in what is there for its caption", clip->path,
                       f.only ? f.only : "caption");
    return wan_err("%s: no caption: no .json, .jsonl or .txt of its name", clip->path);
}

int wan_clip_captions_read(wan_clip_captions *out, const wan_clip *clip, const char *field, int all)
{
    fields f = { field, all };
    *out = (wan_clip_captions){ 0 };
    int rc = clip->row ? from_json(out, clip->row, strlen(clip->row), f, clip->path) : 0;
    if (rc == 0)
        rc = from_files(out, clip, f);
    if (rc < 0)
        wan_clip_captions_free(out);
    return rc < 0 ? -1 : 0;
}

void wan_clip_captions_free(wan_clip_captions *c)
{
    for (int i = 0; i < c->n; i++)
        free(c->v[i]);
    free(c->v);
    free(c->field);
    *c = (wan_clip_captions){ 0 };
}

int wan_clip_captions_beside(const char *path)
{
    char side[PATH_MAX]; /* no memory would be no caption */
    int stem = (int)(wan_clips_extension(path) - path), found = 0;
    for (int k = 0; k < 3 && !found; k++)
        found = snprintf(side, sizeof side, "%.*s%s", stem, path, kinds[k]) < PATH_MAX &&
                is_there(side);
    return found;
}
