/* SPDX-License-Identifier: Apache-2.0
 *
 * clips.c - finding clips, their captions and their keys.  Needs no libav.
 */
#include "lib/media/clips.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/rec/record/clip_key.h"
#include "lib/rec/record/record.h"

enum { MAX_DEPTH = 32, MAX_SIDECAR = 1 << 20 };

/* A folder on the way down to where we are: meeting it again is a loop of links. */
typedef struct place {
    const struct place *up;
    dev_t dev;
    ino_t ino;
    int depth;
} place;

/* What is looked through: `root` bytes of each path are the operand's. */
typedef struct hunt {
    wan_clips *c;
    size_t root;
} hunt;

static const char *extension(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && dot != name && !strchr(dot, '/') ? dot : name + strlen(name);
}

int wan_clips_is_video(const char *name)
{
    static const char *const known[] = { ".mp4",  ".m4v", ".mov",  ".mkv", ".webm", ".avi", ".3g2",
                                         ".3gp",  ".asf", ".f4v",  ".flv", ".gif",  ".ivf", ".m2v",
                                         ".m2ts", ".mj2", ".mpg",  ".mts", ".mpeg", ".mxf", ".nut",
                                         ".ogm",  ".ogv", ".qt",   ".ts",  ".vob",  ".wmv", ".y4m",
                                         ".264",  ".265", ".h264", ".hevc" };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcasecmp(extension(name), known[i]))
            return 1;
    return 0;
}

static wan_clip *add(wan_clips *c, const char *path, const char *below)
{
    if (c->n == c->room) {
        size_t room = c->room ? 2 * c->room : 64;
        wan_clip *grown = reallocarray(c->v, room, sizeof *grown);
        if (!grown)
            return wan_err("out of memory (list of clips)"), NULL;
        c->v = grown;
        c->room = room;
    }
    const char *slash = strrchr(path, '/');
    wan_clip *clip = &c->v[c->n++];
    *clip = (wan_clip){ .path = strdup(path),
                        .name = strdup(slash ? slash + 1 : path),
                        .stem = strndup(below, (size_t)(extension(below) - below)) };
    if (clip->path && clip->name && clip->stem)
        return clip;
    wan_err("out of memory (list of clips)");
    return NULL;
}

/* Lists path as no clip, for the recorded reason. */
static int add_reject(wan_clips *c, const char *path, int strange)
{
    char *why = strdup(wan_err_text());
    wan_clip *clip = why ? add(c, path, path) : NULL;
    if (!clip) {
        free(why);
        return wan_err("out of memory (list of clips)");
    }
    clip->why = why;
    clip->strange = strange;
    return 0;
}

static int visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* path without its extension, with .json; malloc'ed */
static char *sidecar(const char *path)
{
    size_t stem = (size_t)(extension(path) - path);
    char *side = wan_malloc(stem + 6, 1, "file name");
    if (side)
        snprintf(side, stem + 6, "%.*s.json", (int)stem, path);
    return side;
}

/* Whether the sorted list has a video of the same stem as entry i: they stand together. */
static int video_beside(struct dirent **list, int n, int i)
{
    const char *name = list[i]->d_name;
    size_t stem = (size_t)(extension(name) - name) + 1;
    for (int step = -1; step <= 1; step += 2)
        for (int k = i + step; k >= 0 && k < n && !strncmp(list[k]->d_name, name, stem); k += step)
            if (wan_clips_is_video(list[k]->d_name))
                return 1;
    return 0;
}

/* A file without a video's name is passed over in silence only when it has no caption. */
static int visit_other(hunt *h, const char *path, struct dirent **list, int n, int i)
{
    const char *name = list[i]->d_name, *ext = extension(name);
    if (!*ext || !strcasecmp(ext, ".json"))
        return 0;
    char *side = sidecar(path);
    if (!side)
        return -1;
    int rc = 0;
    if (!access(side, F_OK) && !video_beside(list, n, i)) {
        wan_err("%s: it has a caption, but %s is not the name of a video; name the file to have it "
                "taken",
                path, ext);
        rc = add_reject(h->c, path, 1);
    }
    free(side);
    return rc;
}

static int walk(hunt *h, const char *dir, const struct stat *s, const place *up);

static int visit(hunt *h, const char *path, struct dirent **list, int n, int i, const place *here)
{
    struct stat s;
    const char *name = list[i]->d_name;
    int video = wan_clips_is_video(name);
    if (stat(path, &s) < 0) { /* a dead link matters only where a clip or a folder was meant */
        wan_err_errno("%s", path);
        return video || !*extension(name) ? add_reject(h->c, path, 0) : 0;
    }
    if (S_ISDIR(s.st_mode))
        return walk(h, path, &s, here);
    if (!video)
        return S_ISREG(s.st_mode) ? visit_other(h, path, list, n, i) : 0;
    if (S_ISREG(s.st_mode))
        return add(h->c, path, path + h->root) ? 0 : -1;
    wan_err("%s: not a regular file", path); /* opening a named pipe would wait for ever */
    return add_reject(h->c, path, 0);
}

static int walk(hunt *h, const char *dir, const struct stat *s, const place *up)
{
    place here = { up, s->st_dev, s->st_ino, up ? up->depth + 1 : 0 };
    struct dirent **list;
    for (const place *p = up; p; p = p->up)
        if (p->dev == here.dev && p->ino == here.ino) {
            wan_err("%s: a loop of links", dir);
            return add_reject(h->c, dir, 0);
        }
    if (here.depth > MAX_DEPTH) {
        wan_err("%s: folders nested more than %d deep", dir, MAX_DEPTH);
        return add_reject(h->c, dir, 0);
    }
    int n = scandir(dir, &list, visible, by_bytes), rc = 0;
    if (n < 0) {
        wan_err_errno("%s", dir);
        return add_reject(h->c, dir, 0);
    }
    for (int i = 0; i < n && !rc; i++) {
        char *path = wan_path_join(dir, list[i]->d_name);
        rc = path ? visit(h, path, list, n, i, &here) : -1;
        free(path);
    }
    for (int i = 0; i < n; i++)
        free(list[i]);
    free(list);
    return rc;
}

int wan_clips_add(wan_clips *c, const char *operand)
{
    struct stat s;
    size_t before = c->n, len = strlen(operand);
    if (stat(operand, &s) < 0) {
        wan_err_errno("%s", operand);
        return add_reject(c, operand, 0);
    }
    if (!S_ISDIR(s.st_mode)) {
        const char *slash = strrchr(operand, '/');
        return add(c, operand, slash ? slash + 1 : operand) ? 0 : -1;
    }
    char *dir = strdup(operand);
    if (!dir)
        return wan_err("out of memory (list of clips)");
    while (len > 1 && dir[len - 1] == '/')
        dir[--len] = 0;
    hunt h = { c, len + (dir[len - 1] != '/') };
    int rc = walk(&h, dir, &s, NULL);
    if (!rc && c->n == before) {
        wan_err("%s: no video file in this folder", operand);
        rc = add_reject(c, operand, 0);
    }
    free(dir);
    return rc;
}

/* The caption in the sidecar's text, checked for what later tools refuse. */
static char *caption_in(const json_t *j, const char *side)
{
    const char *s = json_string_value(json_object_get(j, "caption"));
    char *caption = NULL;
    if (!s)
        wan_err("%s: no string \"caption\" in it", side);
    else if (strlen(s) > WAN_MAX_CAPTION)
        wan_err("%s: a caption of %zu bytes, more than %d", side, strlen(s), WAN_MAX_CAPTION);
    else if (!(caption = strdup(s)))
        wan_err("%s: out of memory", side);
    return caption;
}

char *wan_clip_caption(const wan_clip *clip)
{
    char *side = sidecar(clip->path), *text, *caption = NULL;
    size_t n;
    if (!side)
        return NULL;
    if (wan_slurp(&text, &n, side, MAX_SIDECAR) < 0) {
        wan_err_prefix("%s: no caption", clip->path);
        free(side);
        return NULL;
    }
    json_t *j = wan_json_parse(text, n, side);
    if (j)
        caption = caption_in(j, side);
    json_decref(j);
    free(text);
    free(side);
    return caption;
}

char *wan_clips_key(wan_clips *c, const char *path, int64_t frame)
{
    char *base = wan_clip_key_make(c->prefix, path);
    size_t room = base ? strlen(base) + 48 : 0;
    char *key = base ? wan_malloc(room, 1, "key") : NULL;
    if (!c->keys)
        c->keys = json_object();
    for (unsigned i = 1; key; i++) {
        size_t n = (size_t)snprintf(key, room, "%s", base);
        if (frame > 0)
            n += (size_t)snprintf(key + n, room - n, "_%02" PRId64, frame);
        if (i > 1)
            snprintf(key + n, room - n, "_-n%u", i);
        if (!json_object_get(c->keys, key))
            break;
    }
    if (key && json_object_set_new(c->keys, key, json_true()) < 0) {
        wan_err("out of memory (list of keys)");
        free(key);
        key = NULL;
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
        free(c->v[i].why);
    }
    free(c->v);
    json_decref(c->keys);
    *c = (wan_clips){ 0 };
}
