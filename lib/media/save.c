/* SPDX-License-Identifier: Apache-2.0
 *
 * save.c - a generated clip to an mp4, a PNG or a record.
 */
#include "lib/media/save.h"

#include <ctype.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/media/video.h"

struct wan_save {
    wan_save_clip c; /* with its own strings and a reference to meta */
    char *path, *key;
    wan_video_writer *video; /* mp4 */
    uint8_t *rgb;            /* a picture or a record: [frames, height, width, 3] */
    int64_t done;
    int kept; /* the pictures of a sequence are to stay */
};

/* ---- names */

static int ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), k = strlen(end);
    return n > k && strcmp(s + n - k, end) == 0;
}

/* "%d", "%04d": where the number of a frame goes; NULL: none, or more than one. */
static const char *frame_number(const char *path)
{
    const char *at = strchr(path, '%');
    size_t digits = at ? strspn(at + 1, "0123456789") : 0;
    int good = at && digits <= 2 && at[digits + 1] == 'd' && !strchr(at + 1, '%');
    return good ? at : NULL;
}

int wan_save_is_sequence(const char *path)
{
    return ends_with(path, ".png") && frame_number(path) != NULL;
}

/* Bytes of the UTF-8 character that s begins with; what is none counts as one byte. */
static size_t character(const char *s)
{
    unsigned char c = (unsigned char)*s;
    size_t n = c < 0xc0 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 1;
    return n;
}

/* Up to 50 bytes of the prompt, cut between characters, that any file system takes. */
static void safe_words(char *out, size_t size, const char *prompt)
{
    size_t n = 0, k;
    for (const char *p = prompt; *p && n + (k = character(p)) < size; p += k)
        if (k > 1 || isalnum((unsigned char)*p) || *p & 0x80 || strchr("-.,", *p))
            memcpy(out + n, p, k), n += k;
        else
            out[n++] = '_';
    out[n] = 0;
}

int wan_save_names_file(const char *name)
{
    return ends_with(name, ".png") || (strrchr(name, '.') && wan_video_container(name));
}

char *wan_save_path(const char *name, const wan_save_clip *c, int i, int n, const char *task,
                    const char *prompt)
{
    char words[51], *path = NULL;
    const char *dot = strrchr(name, '.'), *slash = strrchr(name, '/');
    const char *part = slash ? slash + 1 : name; /* behind the folder */
    int rc;
    safe_words(words, sizeof words, prompt);
    if (!wan_save_names_file(name))
        rc = asprintf(&path, "%.*s%s_%s_videoindex%d_size%" PRId64 "x%" PRId64 "_%s.%s",
                      (int)(part - name), name, task, part, i, c->width, c->height, words,
                      c->frames == 1 ? "png" : "mp4");
    else if (n == 1)
        rc = asprintf(&path, "%s", name);
    else if (wan_save_is_sequence(name))
        rc = asprintf(&path, "%.*s%02d_%s", (int)(frame_number(name) - name), name, i,
                      frame_number(name));
    else
        rc = asprintf(&path, "%.*s_%02d%s", (int)(dot - name), name, i, dot);
    if (rc < 0)
        return wan_err("out of memory"), NULL;
    return path;
}

/* ---- one clip */

static int is_video(const char *path)
{
    return path && !ends_with(path, ".png");
}

/* Name of picture i of a sequence.  It needs no memory, so that what there is can always be removed. */
static int picture(char name[PATH_MAX], const char *path, int64_t i)
{
    const char *at = frame_number(path);
    int width = atoi(at + 1);
    const char *rest = strchr(at, 'd') + 1;
    int n = snprintf(name, PATH_MAX, "%.*s%0*" PRId64 "%s", (int)(at - path), path, width, i, rest);
    return n >= 0 && n < PATH_MAX ? 0 : wan_err("%s: a name too long", path);
}

int wan_save_is_there(const wan_save_clip *c)
{
    char last[PATH_MAX];
    if (!wan_save_is_sequence(c->path))
        return access(c->path, F_OK) == 0;
    return picture(last, c->path, c->frames - 1) == 0 && access(last, F_OK) == 0;
}

static int put_picture(const char *path, int64_t i, const uint8_t *rgb, const wan_save_clip *c)
{
    char name[PATH_MAX];
    WAN_TRY(picture(name, path, i));
    return wan_png_write(name, rgb, (int)c->height, (int)c->width);
}

static const char *name_of(const wan_save_clip *c)
{
    return c->path ? c->path : c->key;
}

static int open_video(wan_video_writer **w, const wan_save_clip *c)
{
    return wan_video_writer_open(w, c->path, (int)c->height, (int)c->width, c->fps, c->crf);
}

int wan_save_probe(const wan_save_clip *c)
{
    wan_video_writer *w;
    if (!c->path)
        return 0;
    if (wan_save_is_sequence(c->path)) {
        char first[PATH_MAX];
        WAN_TRY(picture(first, c->path, 0));
        return wan_out_probe(first);
    }
    if (!is_video(c->path))
        return wan_out_probe(c->path);
    WAN_TRY(open_video(&w, c));
    wan_video_writer_discard(&w);
    return 0;
}

int wan_save_open(wan_save **out, const wan_save_clip *c)
{
    *out = NULL;
    const int video = is_video(c->path), sequence = c->path && wan_save_is_sequence(c->path);
    if (c->path && !video && !sequence && c->frames != 1)
        return wan_err("%s: a PNG holds one frame, not %" PRId64 " (of several: NAME_%%04d.png)",
                       c->path, c->frames);
    wan_save *s = wan_calloc(1, sizeof *s, "clip");
    if (!s)
        return -1;
    s->c = *c;
    s->c.path = s->path = c->path ? strdup(c->path) : NULL;
    s->c.key = s->key = c->key ? strdup(c->key) : NULL;
    s->c.meta = json_incref(c->meta);
    int rc = 0;
    if ((c->path && !s->path) || (c->key && !s->key))
        rc = wan_err("out of memory");
    else if (video)
        rc = open_video(&s->video, c);
    else if (!sequence && !(s->rgb = wan_malloc((size_t)(c->frames * c->height),
                                                (size_t)c->width * 3, "frames")))
        rc = -1;
    if (rc < 0)
        wan_save_discard(&s);
    *out = s;
    return rc;
}

int wan_save_frames(wan_save *s, const uint8_t *rgb, int64_t n)
{
    size_t frame = (size_t)(s->c.height * s->c.width * 3);
    if (n > s->c.frames - s->done)
        return wan_err("%s: more than %" PRId64 " frames", name_of(&s->c), s->c.frames);
    if (s->rgb)
        memcpy(s->rgb + (size_t)s->done * frame, rgb, (size_t)n * frame);
    for (int64_t i = 0; i < n && s->video; i++)
        WAN_TRY(wan_video_writer_frame(s->video, rgb + (size_t)i * frame));
    for (int64_t i = 0; i < n && !s->video && !s->rgb; i++, s->done++)
        WAN_TRY(put_picture(s->path, s->done, rgb + (size_t)i * frame, &s->c));
    if (s->video || s->rgb)
        s->done += n;
    return 0;
}

static int put_record(const wan_save *s)
{
    const wan_save_clip *c = &s->c;
    const int64_t shape[4] = { c->frames, c->height, c->width, 3 };
    wan_record r = WAN_RECORD_INIT;
    int rc = wan_record_set_key(&r, c->key);
    if (rc == 0 && c->meta && json_object_update(r.meta, c->meta) < 0)
        rc = wan_err("out of memory");
    if (rc == 0)
        rc = wan_record_add(&r, "frames", WAN_U8, shape, 4, s->rgb, WAN_BORROW);
    if (rc == 0)
        rc = wan_writer_put(c->records, &r);
    wan_record_clear(&r);
    return rc;
}

int wan_save_finish(wan_save **sp)
{
    wan_save *s = *sp;
    const wan_save_clip *c = &s->c;
    int rc;
    if (s->done != c->frames)
        rc = wan_err("%s: %" PRId64 " frames of %" PRId64, name_of(c), s->done, c->frames);
    else if (s->video)
        rc = wan_video_writer_finish(&s->video);
    else if (c->path && !s->rgb)
        rc = 0;
    else if (c->path)
        rc = wan_png_write(c->path, s->rgb, (int)c->height, (int)c->width);
    else
        rc = put_record(s);
    s->kept = rc == 0;
    wan_save_discard(sp);
    return rc;
}

/* The pictures of a sequence that was not finished go. */
static void drop_pictures(const wan_save *s)
{
    for (int64_t i = 0; i < s->done; i++) {
        char name[PATH_MAX];
        if (picture(name, s->path, i) == 0)
            wan_remove_file(name);
    }
}

void wan_save_discard(wan_save **sp)
{
    wan_save *s = sp ? *sp : NULL;
    if (!s)
        return;
    if (s->path && !s->kept && !s->video && !s->rgb && wan_save_is_sequence(s->path))
        drop_pictures(s);
    wan_video_writer_discard(&s->video);
    json_decref(s->c.meta);
    free(s->path);
    free(s->key);
    free(s->rgb);
    free(s);
    *sp = NULL;
}
