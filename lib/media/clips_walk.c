/* SPDX-License-Identifier: Apache-2.0
 *
 * clips_walk.c - the clips of a folder and its subfolders.  Needs no libav.
 */
#include "lib/media/clips.h"

#include <errno.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/media/clip_caption.h"
#include "lib/media/clip_rows.h"

enum { MAX_DEPTH = 32 };

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

static int visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* Whether the sorted list has a video, or a picture, of the same stem as entry i: they stand together. */
static int clip_beside(struct dirent **list, int n, int i, int or_picture)
{
    const char *name = list[i]->d_name;
    size_t stem = (size_t)(wan_clips_extension(name) - name) + 1;
    for (int step = -1; step <= 1; step += 2)
        for (int k = i + step; k >= 0 && k < n && !strncmp(list[k]->d_name, name, stem); k += step)
            if (wan_clips_is_video(list[k]->d_name) ||
                (or_picture && wan_clips_is_picture(list[k]->d_name)))
                return 1;
    return 0;
}

/* A picture is a clip of one frame when it has a caption of its own. */
static int visit_picture(hunt *h, const char *path, struct dirent **list, int n, int i)
{
    if (clip_beside(list, n, i, 0))
        wan_err("%s: a picture beside a video of its name", path);
    else if (!wan_clip_captions_beside(path))
        wan_err("%s: a picture without a caption", path);
    else
        return wan_clips_put(h->c, path, path + h->root) ? 0 : -1;
    return wan_clips_reject(h->c, path, WAN_STRANGE_PICTURE);
}

/* A file without a video's name is passed over in silence only when it has no caption. */
static int visit_other(hunt *h, const char *path, struct dirent **list, int n, int i)
{
    const char *ext = wan_clips_extension(path);
    if (wan_clips_is_picture(path))
        return visit_picture(h, path, list, n, i);
    if (!strcasecmp(ext, ".json") || !strcasecmp(ext, ".jsonl") || !strcasecmp(ext, ".txt") ||
        !wan_clip_captions_beside(path) || clip_beside(list, n, i, 1))
        return 0;
    wan_err("%s: it has a caption, but %s is not the name of a video; name the file to have it "
            "taken",
            path, *ext ? ext : list[i]->d_name);
    return wan_clips_reject(h->c, path, WAN_STRANGE_NAME);
}

/* meta.json is a list, or the caption of a clip "meta"; so is captions.json. */
static int is_list(const char *path)
{
    if (strcmp(wan_clips_extension(path), ".json"))
        return 1;
    json_t *j = wan_json_load(path), *rows = wan_clip_rows_in(j);
    int list = !j || rows; /* one that cannot be read is named */
    json_decref(rows);
    json_decref(j);
    return list;
}

/* The list that a folder holds of its files, if any; these are not met again. */
static int visit_list(hunt *h, const char *dir)
{
    static const char *const names[] = { "metadata.jsonl", "captions.jsonl", "meta.jsonl",
                                         "metadata.csv",   "captions.json",  "meta.json" };
    int rc = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names && rc == 0; i++) {
        char *path = wan_path_join(dir, names[i]);
        struct stat s;
        if (!path)
            return -1;
        if (stat(path, &s) < 0)
            rc = errno == ENOENT ? 0 : wan_err_errno("%s", path);
        else if (S_ISREG(s.st_mode) && is_list(path))
            rc = wan_clips_rows(h->c, path, dir, h->root);
        free(path);
    }
    return rc;
}

static int walk(hunt *h, const char *dir, const struct stat *s, const place *up);

static int visit(hunt *h, const char *path, struct dirent **list, int n, int i, const place *here)
{
    struct stat s;
    const char *name = list[i]->d_name;
    int video = wan_clips_is_video(name);
    if (json_object_get(h->c->listed, path))
        return 0;
    if (stat(path, &s) < 0) { /* a dead link matters only where a clip or a folder was meant */
        wan_err_errno("%s", path);
        int clip = video || (wan_clips_is_picture(name) && wan_clip_captions_beside(path) &&
                             !clip_beside(list, n, i, 0));
        return clip || !*wan_clips_extension(name) ? wan_clips_reject(h->c, path, 0) : 0;
    }
    if (S_ISDIR(s.st_mode))
        return walk(h, path, &s, here);
    if (!video)
        return S_ISREG(s.st_mode) ? visit_other(h, path, list, n, i) : 0;
    if (S_ISREG(s.st_mode))
        return wan_clips_put(h->c, path, path + h->root) ? 0 : -1;
    wan_err("%s: not a regular file", path); /* opening a named pipe would wait for ever */
    return wan_clips_reject(h->c, path, 0);
}

static int walk(hunt *h, const char *dir, const struct stat *s, const place *up)
{
    place here = { up, s->st_dev, s->st_ino, up ? up->depth + 1 : 0 };
    struct dirent **list;
    for (const place *p = up; p; p = p->up)
        if (p->dev == here.dev && p->ino == here.ino) {
            wan_err("%s: a loop of links", dir);
            return wan_clips_reject(h->c, dir, 0);
        }
    if (here.depth > MAX_DEPTH) {
        wan_err("%s: folders nested more than %d deep", dir, MAX_DEPTH);
        return wan_clips_reject(h->c, dir, 0);
    }
    int n = scandir(dir, &list, visible, by_bytes), rc = 0;
    if (n < 0) {
        wan_err_errno("%s", dir);
        return wan_clips_reject(h->c, dir, 0);
    }
    rc = visit_list(h, dir);
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

static int walk_all(wan_clips *c, const char *folder, const struct stat *s)
{
    size_t len = strlen(folder), before = c->n;
    hunt h = { c, len + (folder[len - 1] != '/') };
    WAN_TRY(walk(&h, folder, s, NULL));
    if (c->n > before)
        return 0;
    wan_err("%s: no video in this folder", folder);
    return wan_clips_reject(c, folder, 0);
}

int wan_clips_add(wan_clips *c, const char *operand)
{
    struct stat s;
    size_t len = strlen(operand);
    if (stat(operand, &s) < 0) {
        wan_err_errno("%s", operand);
        return wan_clips_reject(c, operand, 0);
    }
    if (!S_ISDIR(s.st_mode)) {
        const char *slash = strrchr(operand, '/');
        return wan_clips_put(c, operand, slash ? slash + 1 : operand) ? 0 : -1;
    }
    char *dir = strdup(operand);
    if (!dir)
        return wan_err("out of memory (list of clips)");
    while (len > 1 && dir[len - 1] == '/')
        dir[--len] = 0;
    int rc = walk_all(c, dir, &s);
    free(dir);
    return rc;
}
