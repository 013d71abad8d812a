/* SPDX-License-Identifier: Apache-2.0
 *
 * clips.c - finding clips, their captions and their keys.  Needs no libav.
 */
#include "lib/media/clips.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "lib/base/file.h"
#include "lib/rec/record/record.h"

enum { MAX_DEPTH = 32, MAX_SIDECAR = 1 << 20 };

static const char *extension(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && dot != name && !strchr(dot, '/') ? dot : name + strlen(name);
}

static int is_video(const char *name)
{
    static const char *const known[] = { ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi" };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcasecmp(extension(name), known[i]))
            return 1;
    return 0;
}

static int add_file(wan_clips *c, const char *path, const char *below)
{
    const char *slash = strrchr(path, '/');
    wan_clip *grown = realloc(c->v, (c->n + 1) * sizeof *grown);
    if (!grown)
        return wan_err("out of memory (list of clips)");
    c->v = grown;
    wan_clip *clip = &grown[c->n++];
    clip->path = strdup(path);
    clip->name = strdup(slash ? slash + 1 : path);
    clip->stem = strndup(below, (size_t)(extension(below) - below));
    return clip->path && clip->name && clip->stem ? 0 : wan_err("out of memory (list of clips)");
}

static int visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int walk(wan_clips *c, const char *dir, size_t root, int depth);

static int visit(wan_clips *c, const char *dir, const char *name, size_t root, int depth)
{
    struct stat s;
    char *path = wan_path_join(dir, name);
    if (!path)
        return -1;
    int rc = 0;
    if (stat(path, &s) < 0) /* a dangling link matters only where a clip was meant */
        rc = is_video(name) ? wan_err_errno("%s", path) : 0;
    else if (S_ISDIR(s.st_mode))
        rc = walk(c, path, root, depth + 1);
    else if (S_ISREG(s.st_mode) && is_video(name)) /* opening a named pipe would wait for ever */
        rc = add_file(c, path, path + root);
    free(path);
    return rc;
}

static int walk(wan_clips *c, const char *dir, size_t root, int depth)
{
    struct dirent **list;
    if (depth > MAX_DEPTH)
        return wan_err("%s: folders nested more than %d deep (a loop of links?)", dir, MAX_DEPTH);
    int n = scandir(dir, &list, visible, by_bytes), rc = 0;
    if (n < 0)
        return wan_err_errno("%s", dir);
    for (int i = 0; i < n; i++) {
        if (!rc)
            rc = visit(c, dir, list[i]->d_name, root, depth);
        free(list[i]);
    }
    free(list);
    return rc;
}

int wan_clips_add(wan_clips *c, const char *operand)
{
    struct stat s;
    size_t before = c->n, len = strlen(operand);
    if (stat(operand, &s) < 0)
        return wan_err_errno("%s", operand);
    if (!S_ISDIR(s.st_mode)) {
        const char *slash = strrchr(operand, '/');
        return add_file(c, operand, slash ? slash + 1 : operand);
    }
    char *dir = strdup(operand);
    if (!dir)
        return wan_err("out of memory (list of clips)");
    while (len > 1 && dir[len - 1] == '/')
        dir[--len] = 0;
    int rc = walk(c, dir, len + (dir[len - 1] != '/'), 0);
    if (!rc && c->n == before)
        rc = wan_err("%s: no video file in this folder", operand);
    free(dir);
    return rc;
}

char *wan_clip_caption(const wan_clip *clip)
{
    size_t stem = (size_t)(extension(clip->path) - clip->path), n;
    char *side = wan_malloc(stem + 6, 1, "file name"), *text, *caption = NULL;
    if (!side)
        return NULL;
    snprintf(side, stem + 6, "%.*s.json", (int)stem, clip->path);
    if (wan_slurp(&text, &n, side, MAX_SIDECAR) < 0) {
        wan_err_prefix("%s: no caption", clip->path);
        free(side);
        return NULL;
    }
    json_t *j = wan_json_parse(text, n, side);
    const char *s = json_string_value(json_object_get(j, "caption"));
    if (j && !s)
        wan_err("%s: no string \"caption\" in it", side);
    else if (s && !(caption = strdup(s)))
        wan_err("%s: out of memory", side);
    json_decref(j);
    free(text);
    free(side);
    return caption;
}

char *wan_clips_key(wan_clips *c, const char *text)
{
    size_t n = strlen(text) + (c->prefix ? strlen(c->prefix) : 0) + 1;
    char *whole = wan_malloc(n, 1, "key"), *base = NULL;
    if (whole) {
        snprintf(whole, n, "%s%s", c->prefix ? c->prefix : "", text);
        base = wan_key_from(whole);
        free(whole);
    }
    if (!c->keys)
        c->keys = json_object();
    if (!base || !c->keys)
        return free(base), NULL;
    size_t room = strlen(base) + 24;
    char *key = wan_malloc(room, 1, "key");
    for (unsigned i = 1; key; i++) {
        if (i == 1)
            snprintf(key, room, "%s", base);
        else
            snprintf(key, room, "%s_%u", base, i);
        if (!json_object_get(c->keys, key)) {
            json_object_set_new(c->keys, key, json_true());
            break;
        }
    }
    free(base);
    return key;
}

void wan_clips_free(wan_clips *c)
{
    for (size_t i = 0; i < c->n; i++) {
        free(c->v[i].path);
        free(c->v[i].name);
        free(c->v[i].stem);
    }
    free(c->v);
    json_decref(c->keys);
    *c = (wan_clips){ 0 };
}
