/* SPDX-License-Identifier: Apache-2.0
 *
 * clip_caption.c - captions under their many names.
 */
#include "lib/media/clip_caption.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/rec/record/record.h"

enum { MAX_SIDECAR = 1 << 20, MAX_CAPTIONS = 1000 };

static const char *const known[] = { "caption",           "text",     "prompt", "vila_caption",
                                     "gemini_v2_caption", "internvl", "usr" };
static const char *const kinds[] = { ".json", ".jsonl", ".txt" };

static int add(wan_clip_captions *out, const char *text, size_t n, const char *where)
{
    if (n > WAN_MAX_CAPTION)
        return wan_err("%s: a caption of %zu bytes, more than %d", where, n, WAN_MAX_CAPTION);
    if (out->n == MAX_CAPTIONS)
        return wan_err("%s: more than %d captions", where, MAX_CAPTIONS);
    char **grown = reallocarray(out->v, (size_t)out->n + 1, sizeof *grown);
    if (grown)
        out->v = grown;
    char *copy = grown ? strndup(text, n) : NULL;
    if (!copy)
        return wan_err("%s: out of memory (caption)", where);
    out->v[out->n++] = copy;
    return 0;
}

/* 1 the captions of this object were added, 0 it has none, -1. */
static int add_from(wan_clip_captions *out, const json_t *object, const char *field,
                    const char *where)
{
    const json_t *value = json_object_get(object, field ? field : known[0]), *item;
    const char *name = field ? field : known[0];
    for (size_t i = 1; !value && !field && i < sizeof known / sizeof *known; i++)
        value = json_object_get(object, name = known[i]);
    if (!value || json_is_null(value))
        return 0;
    size_t i, n = json_is_array(value) ? json_array_size(value) : 1;
    for (i = 0; i < n; i++) {
        item = json_is_array(value) ? json_array_get(value, i) : value;
        if (!json_is_string(item))
            return wan_err("%s: \"%s\" is no string", where, name);
        WAN_TRY(add(out, json_string_value(item), json_string_length(item), where));
    }
    snprintf(out->field, sizeof out->field, "%s", name);
    return n > 0;
}

static int from_json(wan_clip_captions *out, const char *text, size_t n, const char *field,
                     const char *side)
{
    json_t *j = wan_json_parse(text, n, side);
    int rc = j ? add_from(out, j, field, side) : -1;
    json_decref(j);
    return rc;
}

static int from_lines(wan_clip_captions *out, const char *text, size_t n, const char *field,
                      const char *side)
{
    int rc = 0, any = 0, line = 1;
    char *what = wan_malloc(strlen(side) + 32, 1, "file name");
    for (size_t at = 0, len; what && at < n && rc >= 0; at += len + 1, line++) {
        len = strcspn(text + at, "\n");
        if (strspn(text + at, " \t\r") >= len)
            continue;
        sprintf(what, "%s: line %d", side, line);
        rc = from_json(out, text + at, len, field, what);
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
    json_t *utf8 = json_stringn(text, n);
    json_decref(utf8);
    if (!utf8)
        return wan_err("%s: not UTF-8", side);
    return add(out, text, n, side) < 0 ? -1 : 1;
}

static char *beside(const char *path, const char *kind)
{
    size_t stem = (size_t)(wan_clips_extension(path) - path);
    char *side = wan_malloc(stem + 8, 1, "file name");
    if (side)
        snprintf(side, stem + 8, "%.*s%s", (int)stem, path, kind);
    return side;
}

/* 1 captions, 0 none there, -1. */
static int from_file(wan_clip_captions *out, const char *side, int kind, const char *field)
{
    char *text;
    size_t n;
    if (access(side, F_OK) < 0 && errno == ENOENT)
        return 0;
    WAN_TRY(wan_slurp(&text, &n, side, MAX_SIDECAR));
    int rc = kind == 0   ? from_json(out, text, n, field, side)
             : kind == 1 ? from_lines(out, text, n, field, side)
                         : from_text(out, text, n, side);
    free(text);
    return rc;
}

static int from_files(wan_clip_captions *out, const wan_clip *clip, const char *field)
{
    int any = 0, rc = 0;
    for (int k = 0; k < 3 && rc == 0; k++) {
        char *side = beside(clip->path, kinds[k]);
        any |= side && !access(side, F_OK);
        rc = side ? from_file(out, side, k, field) : -1;
        free(side);
    }
    if (rc)
        return rc;
    if (any || clip->row)
        return wan_err("%s: no \"%s\" in what is there for its caption", clip->path,
                       field ? field : "caption");
    return wan_err("%s: no caption: no .json, .jsonl or .txt of its name", clip->path);
}

int wan_clip_captions_read(wan_clip_captions *out, const wan_clip *clip, const char *field)
{
    *out = (wan_clip_captions){ 0 };
    int rc = clip->row ? add_from(out, clip->row, field, clip->path) : 0;
    if (rc == 0)
        rc = from_files(out, clip, field);
    if (rc < 0)
        wan_clip_captions_free(out);
    return rc < 0 ? -1 : 0;
}

void wan_clip_captions_free(wan_clip_captions *c)
{
    for (int i = 0; i < c->n; i++)
        free(c->v[i]);
    free(c->v);
    *c = (wan_clip_captions){ 0 };
}

int wan_clip_captions_beside(const char *path, int json_only)
{
    int found = 0;
    for (int k = 0; k < (json_only ? 2 : 3) && !found; k++) {
        char *side = beside(path, kinds[k]);
        found = side && !access(side, F_OK);
        free(side);
    }
    return found;
}
