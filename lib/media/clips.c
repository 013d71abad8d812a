/* SPDX-License-Identifier: Apache-2.0
 *
 * clips.c - the list of clips and their keys.  Needs no libav.
 */
#include "lib/media/clips.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "lib/base/crc32c.h"
#include "lib/base/file.h"
#include "lib/base/opt.h"
#include "lib/rec/record/clip_key.h"
#include "lib/media/clip_rows.h"

const char *wan_clips_extension(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && dot != path && dot[-1] != '/' && !strchr(dot, '/') ? dot : path + strlen(path);
}

static int among(const char *name, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strcasecmp(wan_clips_extension(name), list[i]))
            return 1;
    return 0;
}

int wan_clips_is_video(const char *name)
{
    static const char *const known[] = { ".mp4",  ".m4v", ".mov",  ".mkv",  ".webm", ".avi", ".3g2",
                                         ".3gp",  ".asf", ".f4v",  ".flv",  ".gif",  ".ivf", ".m2v",
                                         ".m2ts", ".mj2", ".mpg",  ".mts",  ".mpeg", ".mxf", ".nut",
                                         ".ogm",  ".ogv", ".qt",   ".ts",   ".vob",  ".wmv", ".y4m",
                                         ".264",  ".265", ".h264", ".hevc", ".apng", ".dv" };
    return among(name, known, sizeof known / sizeof *known);
}

int wan_clips_is_picture(const char *name)
{
    static const char *const known[] = { ".png", ".jpg", ".jpeg", ".webp" };
    return among(name, known, sizeof known / sizeof *known);
}

wan_clip *wan_clips_put(wan_clips *c, const char *path, const char *below)
{
    if (c->n == c->room) {
        size_t room = c->room ? 2 * c->room : 64;
        wan_clip *grown = reallocarray(c->v, room, sizeof *grown);
        if (!grown)
            return wan_err("out of memory (list of clips)"), NULL;
        c->v = grown;
        c->room = room;
    }
    wan_clip *clip = &c->v[c->n];
    *clip = (wan_clip){ .path = strdup(path),
                        .stem = strndup(below, (size_t)(wan_clips_extension(below) - below)) };
    if (clip->path && clip->stem) {
        const char *slash = strrchr(clip->path, '/');
        clip->name = slash ? slash + 1 : clip->path;
        return c->n++, clip;
    }
    free(clip->path);
    free(clip->stem);
    wan_err("out of memory (list of clips)");
    return NULL;
}

/* Lists path as no clip, for the recorded reason. */
int wan_clips_reject(wan_clips *c, const char *path, int strange)
{
    if (wan_err_memory())
        return -1; /* nothing is known of it */
    char *why = strdup(wan_err_text());
    wan_clip *clip = why ? wan_clips_put(c, path, path) : NULL;
    if (!clip) {
        free(why);
        return wan_err("out of memory (list of clips)");
    }
    clip->why = why;
    clip->strange = strange;
    return 0;
}

/* ---- lists */

typedef struct listing {
    wan_clips *c;
    const char *file, *folder;
    size_t root; /* bytes of a path that are the operand's */
    int own;     /* the list of the folder itself: its files are not met again */
    int any;     /* there was a row */
} listing;

/* The path that a row names. */
static const char *path_in(const json_t *row)
{
    static const char *const names[] = { "path",  "file_name",  "filename", "file",
                                         "video", "video_path", "image",    "media_path" };
    const char *path = NULL;
    for (size_t i = 0; !path && i < sizeof names / sizeof *names; i++)
        path = json_string_value(json_object_get(row, names[i]));
    return path && *path ? path : NULL;
}

/* A number, or the text of one; what is not there or empty leaves *out as it is. */
static int number_in(const json_t *row, const char *name, double *out)
{
    const json_t *v = json_object_get(row, name);
    const char *text = json_string_value(v);
    if (!v || json_is_null(v) || (text && !*text))
        return 0;
    if (text)
        return wan_parse_real(out, text, 0, 1e9, name);
    if (!json_is_number(v))
        return wan_err("%s is no number", name);
    *out = json_number_value(v);
    return *out >= 0 && *out <= 1e9 ? 0 : wan_err("%s is %g", name, *out);
}

static int frame_in(const json_t *row, const char *name, double *out)
{
    WAN_TRY(number_in(row, name, out));
    return *out == floor(*out) ? 0 : wan_err("%s is %g, no number of a frame", name, *out);
}

static int add_row(listing *l, const json_t *row)
{
    double start = 0, end = 0, first = 0, last = -1;
    const char *named = path_in(row);
    if (!named)
        return wan_err("no path in it");
    if (number_in(row, "start", &start) < 0 || number_in(row, "end", &end) < 0 ||
        frame_in(row, "start_frame", &first) < 0 || frame_in(row, "end_frame", &last) < 0)
        return -1;
    if ((end > 0 && end <= start) || (last >= 0 && last < first))
        return wan_err("it ends before it starts");
    char *path = wan_path_join(l->folder, named), *text = path ? wan_json_dump(row) : NULL;
    const char *below = !path ? NULL : *named == '/' ? named + 1 : path + l->root;
    wan_clip *clip = text ? wan_clips_put(l->c, path, below) : NULL;
    if (clip) {
        clip->row = text;
        clip->start = start;
        clip->end = end;
        clip->first_frame = (int64_t)first;
        clip->end_frame = (int64_t)last + 1;
        if (l->own)
            wan_json_put(&l->c->listed, path, json_true());
    } else {
        free(text);
    }
    free(path);
    return clip && (!l->own || l->c->listed) ? 0 : -1;
}

static int meet_row(void *arg, json_t *row, int64_t line)
{
    listing *l = arg;
    l->any = 1;
    if (row && add_row(l, row) == 0)
        return 0;
    if (row)
        wan_err_prefix("%s: line %" PRId64, l->file, line);
    return wan_clips_reject(l->c, l->file, 0);
}

int wan_clips_rows(wan_clips *c, const char *file, const char *folder, size_t root)
{
    listing l = { c, file, folder, root, 1, 0 };
    if (!c->listed && !(c->listed = json_object()))
        return wan_err("out of memory (list of clips)");
    return wan_clip_rows_each(file, meet_row, &l) < 0 ? wan_clips_reject(c, file, 0) : 0;
}

int wan_clips_list(wan_clips *c, const char *file)
{
    const char *slash = strrchr(file, '/');
    char *folder = slash ? strndup(file, (size_t)(slash - file) + (slash == file)) : NULL;
    if (slash && !folder)
        return wan_err("out of memory (list of clips)");
    size_t n = folder ? strlen(folder) : 0;
    listing l = { c, file, folder, n + (n && folder[n - 1] != '/'), 0, 0 };
    int rc = wan_clip_rows_each(file, meet_row, &l);
    free(folder);
    if (rc == 0 && !l.any)
        return wan_err("%s: no rows in it (of CSV and TSV the first line names the columns)", file);
    return rc;
}

/* ---- keys */

/* Without what tells clips of one key apart; *n is its length, and there is room for more behind it. */
static char *key_of(const wan_clips *c, const wan_clip *clip, int64_t piece, int64_t caption,
                    int64_t frame, size_t *n, size_t *room)
{
    char *base = wan_clip_key_make(c->prefix, clip->stem);
    *room = base ? strlen(base) + 120 : 0;
    char *key = base ? wan_malloc(*room, 1, "key") : NULL;
    if (key) {
        *n = (size_t)snprintf(key, *room, "%s", base);
        if (clip->start > 0)
            *n += (size_t)snprintf(key + *n, *room - *n, "_-s%.0f", clip->start * 1000);
        if (clip->first_frame > 0)
            *n += (size_t)snprintf(key + *n, *room - *n, "_-f%" PRId64, clip->first_frame);
        if (piece > 1)
            *n += (size_t)snprintf(key + *n, *room - *n, "_-p%" PRId64, piece);
        if (caption > 1)
            *n += (size_t)snprintf(key + *n, *room - *n, "_-c%" PRId64, caption);
        if (frame > 0)
            *n += (size_t)snprintf(key + *n, *room - *n, "_%02" PRId64, frame);
    }
    free(base);
    return key;
}

char *wan_clips_key(wan_clips *c, const wan_clip *clip, int64_t piece, int64_t caption,
                    int64_t frame)
{
    size_t n = 0, room;
    char *key = key_of(c, clip, piece, caption, frame, &n, &room);
    if (!c->keys)
        c->keys = json_object();
    /* a key holds the number of the last clip that wanted it: of many the next is not searched for from 2 */
    json_int_t i = key ? json_integer_value(json_object_get(c->keys, key)) : 0;
    if (i && json_object_set_new(c->keys, key, json_integer(++i)) < 0)
        goto lost;
    for (; i > 1; i++) {
        snprintf(key + n, room - n, "_-n%" JSON_INTEGER_FORMAT, i);
        if (!json_object_get(c->keys, key))
            break;
    }
    if (!key || json_object_set_new(c->keys, key, json_integer(1)) == 0)
        return key;
lost:
    free(key);
    wan_err("out of memory (list of keys)");
    return NULL;
}

static void clear(wan_clip *clip)
{
    free(clip->path);
    free(clip->stem);
    free(clip->why);
    free(clip->row);
}

void wan_clips_part(wan_clips *c, uint32_t i, uint32_t n)
{
    size_t kept = 0;
    for (size_t k = 0; k < c->n; k++) {
        const char *stem = c->v[k].stem;
        if (wan_crc32c(0, stem, strlen(stem)) % n == i)
            c->v[kept++] = c->v[k];
        else
            clear(&c->v[k]);
    }
    c->n = kept;
}

void wan_clips_free(wan_clips *c)
{
    for (size_t i = 0; i < c->n; i++)
        clear(&c->v[i]);
    free(c->v);
    json_decref(c->keys);
    json_decref(c->listed);
    *c = (wan_clips){ 0 };
}
