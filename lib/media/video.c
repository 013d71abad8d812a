/* SPDX-License-Identifier: Apache-2.0
 *
 * video.c - reading a clip: which decoded frames are kept, and where they go.
 *
 * Re-timing follows ffmpeg's fps filter: a source frame at t seconds after the first takes the
 * output slot round(t * fps); output frame k shows the latest source frame of a slot <= k; the
 * clip ends at the slot of the end of its last frame.
 */
#include "lib/media/video.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/media/video_internal.h"
#include "lib/media/video_log.h"
#include "lib/media/video_late.h"

#define lav wan_video_late

enum { HUGE_PAGE = 2 << 20, MAX_RESERVE = 1 << 30 };

typedef struct clip {
    wan_source src;
    wan_window win;
    wan_fit_state fit;
    const wan_video_options *opt;
    wan_video *out;
    int64_t expected; /* output frames the container promises; a hint, 0 none */
    int64_t room;     /* frames allocated */
    int64_t first;    /* the frame that out->rgb begins with: those before it were given away */
    int fitted;       /* fit was begun */
    wan_video_marks marks;
    int64_t mark_room;
} clip;

/* Output frames of the clip before max_frames and skip_frames, as the container has it. */
static int64_t slots(const clip *c)
{
    double n = c->opt->fps > 0 ? wan_source_seconds(&c->src) * c->opt->fps
                               : (double)wan_source_promised(&c->src);
    return n < 1e9 ? (int64_t)n + 1 : 0; /* + 1: rounding */
}

/* Those that are kept. */
static int64_t promised(const clip *c)
{
    int64_t most = c->opt->max_frames, n = slots(c);
    n -= n > c->opt->skip_frames ? c->opt->skip_frames : n;
    return most && most < n ? most : n;
}

/* The first call fixes the size of the picture. */
static int begin(clip *c, const AVFrame *like)
{
    wan_video *v = c->out;
    if (c->fitted)
        return 0;
    c->fitted = 1;
    WAN_TRY(wan_fit_begin(&c->fit, c->opt, like, wan_source_turn(&c->src, like), &v->colour));
    v->height = c->fit.out_h;
    v->width = c->fit.out_w;
    v->source_height = c->fit.source_h;
    v->source_width = c->fit.source_w;
    return 0;
}

/* Memory for the frames the container promises: touched only as frames come, and by huge pages,
 * which saves most of the kernel's work for it.  NULL when it does not promise a sensible number. */
static void *reserve(const clip *c, size_t size)
{
    size_t n = c->expected > 0 && c->expected <= (int64_t)(MAX_RESERVE / size)
                   ? (size_t)c->expected * size
                   : 0;
    void *p = n >= 8 * HUGE_PAGE
                  ? aligned_alloc(HUGE_PAGE, (n + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE)
                  : NULL;
    if (p)
        (void)madvise(p, n, MADV_HUGEPAGE);
    return p;
}

/* Room for at least one frame more. */
static int grow(clip *c, size_t size)
{
    wan_video *v = c->out;
    if (!v->rgb && (v->rgb = reserve(c, size))) {
        c->room = c->expected;
        return 0;
    }
    int64_t room = c->room + 16 + c->room / 8;
    uint8_t *grown = realloc(v->rgb, (size_t)room * size);
    if (!grown)
        return wan_err("out of memory (%lld frames of %d x %d)", (long long)room, v->height,
                       v->width);
    v->rgb = grown;
    c->room = room;
    return 0;
}

/* The mark of the output frame that was just begun. */
static int grow_marks(clip *c)
{
    wan_video *v = c->out;
    if (!c->opt->look && c->opt->scene_cut <= 0)
        return 0;
    if (v->frames > c->mark_room) {
        int64_t room = 2 * v->frames + 64;
        uint8_t *grown = realloc(v->mark, (size_t)room);
        if (!grown)
            return wan_err("out of memory (%lld frames)", (long long)room);
        v->mark = grown;
        c->mark_room = room;
    }
    v->mark[v->frames - 1] = 0;
    return 0;
}

/* Space for one more output frame. */
static uint8_t *new_frame(clip *c, const AVFrame *like)
{
    wan_video *v = c->out;
    if (begin(c, like) < 0)
        return NULL;
    size_t size = (size_t)v->height * (size_t)v->width * 3;
    if (c->opt->max_bytes > 0 && (uint64_t)(v->frames + 1) * size > (uint64_t)c->opt->max_bytes) {
        wan_err("more than %lld bytes of frames to keep at %d x %d (after %lld frames)",
                (long long)c->opt->max_bytes, v->height, v->width, (long long)v->frames);
        return NULL;
    }
    if (v->frames - c->first == c->room && grow(c, size) < 0)
        return NULL;
    v->frames++;
    return grow_marks(c) < 0 ? NULL : v->rgb + (size_t)(v->frames - 1 - c->first) * size;
}

/* What the video will be, when nothing is wrong with it. */
static wan_video foresee(const clip *c)
{
    const AVStream *s = c->src.stream;
    wan_video v = *c->out;
    int64_t n = wan_source_promised(&c->src),
            each = s->avg_frame_rate.num > 0
                       ? lav.av_rescale_q(1, av_inv_q(s->avg_frame_rate), s->time_base)
                       : 0;
    double span = (double)(n - 1) * (double)each * c->src.at.tick;
    if (n > c->win.taken && n < 1 << 30)
        v.frames_in = n;
    else
        v.frames_in = c->win.taken;
    v.fps_in = v.frames_in == n && span > 0 ? (double)(n - 1) / span : wan_window_fps(&c->win);
    v.fps = c->opt->fps > 0 ? c->opt->fps : v.fps_in;
    if (v.frames_retimed < slots(c))
        v.frames_retimed = slots(c);
    v.rgb = v.mark = NULL;
    return v;
}

/* Frames there is room for while they are given away: the last one, four, and others that stay. */
static int64_t few(const clip *c, size_t size)
{
    return 5 + 4 * ((c->opt->behind + 4 * (int64_t)size - 1) / (4 * (int64_t)size));
}

/* Begins anew in the first place, with the last frame, which the next may repeat.  What lies behind the places that
 * are used from now on goes back. */
static void wrap(clip *c, size_t size, int64_t room)
{
    wan_video *v = c->out;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)(v->rgb + (size_t)room * size) + page - 1) / page * page,
              to = (uintptr_t)(v->rgb + (size_t)c->room * size) / page * page;
    memmove(v->rgb, v->rgb + (size_t)(v->frames - 1 - c->first) * size, size);
    c->first = v->frames - 1;
    if (to >
        from) /* not by realloc: pages that are on their way must not be used for anything else */
        (void)madvise((void *)from, to - from, MADV_DONTNEED);
    c->room = room;
}

/* Offers the frames that are there. */
static int give(clip *c)
{
    wan_video *v = c->out, said;
    size_t size = (size_t)v->height * (size_t)v->width * 3;
    if (!c->opt->give || v->frames % 4 != 1)
        return 0;
    int64_t room = few(c, size);
    while (!v->given && c->room < room)
        WAN_TRY(grow(c, size));
    said = foresee(c);
    int rc = c->opt->give(&said, v->rgb + (size_t)(v->given - c->first) * size, v->given,
                          v->frames - v->given);
    if (rc <= 0)
        return rc;
    v->given = v->frames;
    if (v->frames - c->first + 4 > room)
        wrap(c, size, room);
    return 0;
}

/* The frame that was just made, dst, is looked at. */
static void look(clip *c, const uint8_t *dst)
{
    wan_video *v = c->out;
    size_t pixels = (size_t)v->height * (size_t)v->width;
    if (c->opt->look)
        v->mark[v->frames - 1] |=
            (uint8_t)wan_video_marks_look(dst, v->frames > 1 ? dst - 3 * pixels : NULL, pixels);
}

static int keep(clip *c, const AVFrame *f)
{
    uint8_t *dst = new_frame(c, f);
    if (!dst || wan_fit_frame(&c->fit, dst, f) < 0)
        return -1;
    look(c, dst);
    return give(c);
}

static int repeat_last(clip *c, const AVFrame *f)
{
    uint8_t *dst = new_frame(c, f);
    size_t size = (size_t)c->out->height * (size_t)c->out->width * 3;
    if (!dst)
        return -1;
    memcpy(dst, dst - size, size);
    look(c, dst);
    return give(c);
}

/* Frame f fills the output slots [from, to): counts them, keeps those that are wanted. */
static int emit(clip *c, const AVFrame *f, int64_t from, int64_t to)
{
    int64_t first = c->opt->skip_frames,
            end = c->opt->max_frames ? first + c->opt->max_frames : INT64_MAX;
    int fresh = 1;
    if (c->opt->scene_cut > 0)
        WAN_TRY(wan_video_marks_meet(&c->marks, f, c->opt->scene_cut, c->src.stream->time_base));
    if (to > c->out->frames_retimed)
        c->out->frames_retimed = to;
    for (int64_t k = from > first ? from : first; k < to && k < end; k++) {
        WAN_TRY(fresh ? keep(c, f) : repeat_last(c, f));
        if (c->marks.cut && k == from)
            c->out->mark[c->out->frames - 1] |= WAN_MARK_CUT;
        fresh = 0;
    }
    if (to > from) /* else the next one that is shown begins the scene */
        c->marks.cut = 0;
    return 0;
}

static int64_t slot_of(const clip *c, int64_t stamp, AVRational rate)
{
    if (c->opt->fps <= 0)
        return c->win.taken - 1; /* every source frame is an output frame */
    return lav.av_rescale_q_rnd(av_sat_sub64(stamp, c->win.base), c->src.stream->time_base,
                                av_inv_q(rate), AV_ROUND_NEAR_INF);
}

/* The slot where the clip ends: that of the end of the last frame. */
static int64_t end_slot(const clip *c, AVRational rate)
{
    if (c->opt->fps <= 0)
        return c->win.taken;
    int64_t end = slot_of(c, wan_window_end(&c->win), rate);
    return end > 0 ? end : 1;
}

static int no_frame(const clip *c)
{
    char said[160];
    if (c->src.at.frames)
        return wan_err("none of its %lld frames is in the part that is meant",
                       (long long)c->src.at.frames);
    wan_video_log_first(said, sizeof said);
    return *said ? wan_err("no frame could be decoded (libav: %s)", said)
                 : wan_err("no frame could be decoded");
}

/* Decodes everything; a frame is converted when the next one shows that it has a slot. */
static int read_all(clip *c)
{
    AVRational rate = lav.av_d2q(c->opt->fps > 0 ? c->opt->fps : 1, 1001000);
    AVFrame *now = lav.av_frame_alloc(), *next = lav.av_frame_alloc();
    int64_t slot = 0, next_slot;
    int rc = now && next ? wan_window_next(&c->win, now) : wan_err("out of memory (frame)");
    int any = rc == 1;
    while (rc > 0) {
        rc = wan_window_next(&c->win, next);
        if (rc < 0)
            break;
        next_slot = rc ? slot_of(c, next->pts, rate) : end_slot(c, rate);
        if (next_slot < slot) /* time stamps near the end of their range */
            rc = wan_err("time stamps out of range at frame %lld", (long long)c->src.at.frames);
        else if (emit(c, now, slot, next_slot) < 0)
            rc = -1;
        if (rc <= 0)
            break;
        slot = next_slot;
        lav.av_frame_unref(now);
        lav.av_frame_move_ref(now, next);
    }
    if (!rc && !any)
        rc = no_frame(c);
    lav.av_frame_free(&now);
    lav.av_frame_free(&next);
    return rc;
}

static void take_facts(clip *c)
{
    c->out->frames_in = c->win.taken;
    c->out->fps_in = wan_window_fps(&c->win);
    c->out->fps = c->opt->fps > 0 ? c->opt->fps : c->out->fps_in;
    c->out->streams = c->src.streams;
    c->out->edits = c->src.edits;
    wan_source_verdict(&c->src, c->out);
}

static int check_options(const wan_video_options *o, const char *path)
{
    if (!o->height != !o->width || o->height < 0 || o->width < 0 || o->height % 16 ||
        o->width % 16 || o->height > 16384 || o->width > 16384)
        return wan_err("%s: cannot scale to %d x %d: both must be multiples of 16", path, o->height,
                       o->width);
    return o->fps >= 0 && o->fps <= 1000 ? 0 : wan_err("%s: %g frames per second", path, o->fps);
}

typedef int pick_fn(clip *c, void *arg);

/* Opens path, lets pick() take the frames, closes; errors are prefixed with the path once.  *again:
 * what was read is left to chance, and must be read by one thread from the beginning. */
static int read_once(wan_video *out, const char *path, const wan_video_options *opt, int first_try,
                     pick_fn *pick, void *arg, int *again)
{
    clip c = { .opt = opt, .out = out, .win = { .opt = opt } };
    c.win.src = &c.src;
    memset(out, 0, sizeof *out);
    WAN_TRY(wan_source_open(&c.src, path, opt, first_try ? opt->threads : 1));
    if (first_try)
        wan_source_seek(&c.src);
    int rc = pick(&c, arg);
    wan_source_end(&c.src);
    *again = wan_source_by_chance(&c.src);
    if (rc < 0)
        wan_err_prefix("%s", path);
    else
        take_facts(&c);
    wan_source_close(&c.src);
    wan_fit_end(&c.fit);
    wan_video_marks_end(&c.marks);
    if (rc < 0)
        wan_video_free(out);
    return rc < 0 ? -1 : 0;
}

static int read_clip(wan_video *out, const char *path, const wan_video_options *opt, pick_fn *pick,
                     void *arg)
{
    int again = 0;
    memset(out, 0, sizeof *out);
    WAN_TRY(check_options(opt, path));
    int rc = read_once(out, path, opt, 1, pick, arg, &again);
    if (!again)
        return rc;
    wan_video_free(out);
    return read_once(out, path, opt, 0, pick, arg, &again);
}

static int is_part(const wan_video_options *o)
{
    return o->start > 0 || o->end > 0 || o->first_frame || o->end_frame;
}

static int pick_all(clip *c, void *arg)
{
    (void)arg;
    c->expected = is_part(c->opt) ? 0 : promised(c);
    return read_all(c);
}

int wan_video_read(wan_video *out, const char *path, const wan_video_options *opt)
{
    return read_clip(out, path, opt, pick_all, NULL);
}

/* ---- frames mode */

typedef struct choice {
    int64_t *index, n; /* the places, n >= 1 */
    int64_t total;     /* they were computed for */
} choice;

/* numpy.linspace(0, total - 1, n, dtype=int) */
static void choose(choice *p, int64_t total)
{
    double step = p->n > 1 ? (double)(total - 1) / (double)(p->n - 1) : 0;
    for (int64_t i = 0; i < p->n; i++)
        p->index[i] = (int64_t)floor((double)i * step);
    if (p->n > 1)
        p->index[p->n - 1] = total - 1;
    p->total = total;
}

/* Decodes all frames and keeps those at p->index. */
static int pick_frames(clip *c, void *arg)
{
    choice *p = arg;
    AVFrame *f = lav.av_frame_alloc();
    int rc = f ? 1 : wan_err("out of memory (frame)");
    int64_t i = 0;
    c->expected = p->n;
    while (rc > 0 && (rc = wan_window_next(&c->win, f)) > 0) {
        int64_t at = c->win.taken - 1;
        for (int first = 1; i < p->n && p->index[i] == at && rc > 0; i++, first = 0)
            if ((first ? keep(c, f) : repeat_last(c, f)) < 0)
                rc = -1;
        lav.av_frame_unref(f);
    }
    c->out->frames_retimed = c->win.taken;
    if (!rc && !c->win.taken)
        rc = no_frame(c);
    lav.av_frame_free(&f);
    return rc;
}

/* The container's frame count is a guess that saves a second pass when it turns out right. */
static int64_t guess_total(const char *path, const wan_video_options *opt)
{
    wan_source s;
    if (wan_source_open(&s, path, opt, 1) < 0)
        return -1;
    int64_t n = wan_source_promised(&s);
    wan_source_close(&s);
    return n;
}

int wan_video_read_frames(wan_video *out, int64_t *index, int64_t n, const char *path,
                          const wan_video_options *opt)
{
    memset(out, 0, sizeof *out);
    choice p = { .index = index, .n = n };
    wan_video_options plain = *opt;
    plain.fps = 0;
    if (n < 1)
        return wan_err("%s: %lld frames asked for", path, (long long)n);
    int64_t guess = is_part(opt) ? 0 : guess_total(path, opt);
    if (guess < 0)
        return -1;
    choose(&p, guess > 0 ? guess : 1);
    WAN_TRY(read_clip(out, path, &plain, pick_frames, &p));
    if (out->frames_in != p.total) {
        choose(&p, out->frames_in);
        wan_video_free(out);
        WAN_TRY(read_clip(out, path, &plain, pick_frames, &p));
    }
    if (out->frames != n) {
        wan_video_free(out);
        return wan_err("%s: its number of frames changes between two readings", path);
    }
    return 0;
}

void wan_video_free(wan_video *v)
{
    if (!v->borrowed) {
        free(v->rgb);
        free(v->mark);
    }
    v->rgb = v->mark = NULL;
    v->borrowed = 0;
    v->frames = 0;
}
