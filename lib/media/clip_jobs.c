/* SPDX-License-Identifier: Apache-2.0
 *
 * clip_jobs.c - a ring of child processes.  Needs no libav.
 */
#include "lib/media/clip_jobs.h"

#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "lib/base/file.h"

enum {
    MOST_JOBS = 256 /* and as many more wait for their turn */,
    HUGE_PAGE = 2 << 20,
    CHUNK = 1 << 20 /* of what is streamed */
};
static const int64_t held_most = 1ll << 30; /* bytes of results that wait */

/* In the room that both see; the frames come by the pipe. */
typedef struct facts {
    wan_video video;
    int wants_filter; /* it failed only because libavfilter is not open */
    _Atomic int turn; /* of the parent: it is the oldest, and its frames can be taken */
} facts;

/* In front of frames that are streamed; behind that of frame 0 a wan_video.  first = -1: no more. */
typedef struct message {
    int64_t first, bytes;
} message;

typedef struct job {
    wan_child *child;
    wan_clip_task task;
    int ended;
    facts said; /* a copy, which the child cannot change any more */
} job;

struct wan_clip_jobs {
    job *ring;
    size_t room, first, n; /* of the ring */
    size_t jobs, cores;
    wan_child_limits limits;
    int64_t max_bytes;
    uint8_t *pixels, *marks; /* of the oldest */
    size_t pixels_room;
    int64_t left, came; /* bytes of the message at hand, and of the clip since its frame 0 */
};

static job *at(const wan_clip_jobs *j, size_t i)
{
    return &j->ring[(j->first + i) % j->room];
}

/* ---- the child's side */

static int64_t bytes_of(const wan_video *v)
{
    return v->frames * v->height * v->width * 3;
}

/* Pictures as large as a piece of the length that this clip gives can have: it is read once to know. */
static int budget(wan_video *v, const wan_clip_task *t, wan_video_options *o)
{
    wan_video_options only = *o;
    only.max_frames = 1;
    only.look = 0;
    only.scene_cut = 0;
    only.give = NULL;
    WAN_TRY(wan_video_read(v, t->path, &only));
    int64_t n =
        o->max_frames && o->max_frames < v->frames_retimed ? o->max_frames : v->frames_retimed;
    int64_t length = t->chosen ? 1 : wan_pieces_length(&t->pieces, n);
    int64_t pixels = t->max_tokens / (length > 0 ? (length - 1) / 4 + 1 : 1) * 256;
    if (!o->max_pixels || pixels < o->max_pixels)
        o->max_pixels = pixels;
    wan_video_free(v);
    return 0;
}

static int read_video(wan_video *v, const wan_clip_task *t, wan_video_options *o)
{
    if (t->max_tokens)
        WAN_TRY(budget(v, t, o));
    if (t->chosen) {
        int64_t *index = wan_calloc((size_t)t->chosen, sizeof *index, "frame numbers");
        int rc = index ? wan_video_read_frames(v, index, t->chosen, t->path, o) : -1;
        free(index);
        return rc;
    }
    WAN_TRY(wan_video_read(v, t->path, o));
    if (!t->middle || v->frames_retimed <= o->max_frames)
        return 0;
    o->skip_frames = (v->frames_retimed - o->max_frames) / 2; /* known only now */
    wan_video_free(v);
    return wan_video_read(v, t->path, o);
}

static facts *mine;

/* As wan_video_options.give: from the parent's sign on. */
static int give(const wan_video *v, const uint8_t *rgb, int64_t first, int64_t n)
{
    message m = { first, n * v->height * v->width * 3 };
    if (!atomic_load(&mine->turn))
        return 0;
    WAN_TRY(wan_child_stream(&m, sizeof m));
    if (!first)
        WAN_TRY(wan_child_stream(v, sizeof *v));
    return wan_child_stream(rgb, (size_t)m.bytes) < 0 ? -1 : 1;
}

/* All frames, of 4k+1, where give has not taken them. */
static void send_rest(const wan_video *v)
{
    static const message end = { -1, 0 };
    static message m;
    m = (message){ 0, ((v->frames - 1) / 4 * 4 + 1) * v->height * v->width * 3 };
    if (!v->given) {
        wan_child_send(&m, sizeof m);
        wan_child_send(v, sizeof *v);
        wan_child_send(v->rgb, (size_t)m.bytes);
    }
    wan_child_send(&end, sizeof end);
}

static int work(void *arg, void *room)
{
    const wan_clip_task *t = arg;
    facts *f = room;
    wan_video_options o = t->video;
    o.opened = 1;
    o.beat = wan_child_beat;
    o.give = t->stream ? give : NULL;
    o.behind = WAN_CHILD_BEHIND;
    mine = f;
    wan_video_filter_seal();
    int rc = read_video(&f->video, t, &o);
    f->wants_filter = rc < 0 && wan_video_filter_wanted();
    if (rc == 0 && t->stream)
        send_rest(&f->video);
    if (rc == 0 && f->video.mark)
        wan_child_send(f->video.mark, (size_t)f->video.frames);
    if (rc == 0 && !t->stream)
        wan_child_send(f->video.rgb, (size_t)bytes_of(&f->video));
    return rc;
}

/* ---- the parent's side */

/* Jobs that may be there at once: each holds a descriptor. */
static size_t ring_size(size_t jobs)
{
    enum { OURS = 32 };
    struct rlimit r;
    size_t most = jobs + MOST_JOBS;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < most + OURS)
        most = r.rlim_cur > OURS + 1 ? (size_t)r.rlim_cur - OURS : 1;
    return most;
}

int wan_clip_jobs_open(wan_clip_jobs **out, int jobs, const wan_child_limits *limits,
                       int64_t max_bytes)
{
    cpu_set_t set;
    wan_clip_jobs *j = *out = wan_calloc(1, sizeof *j, "jobs");
    if (!j)
        return -1;
    j->cores = sched_getaffinity(0, sizeof set, &set) == 0 ? (size_t)CPU_COUNT(&set) : 1;
    j->jobs = jobs ? (size_t)jobs : j->cores < MOST_JOBS ? j->cores : MOST_JOBS;
    j->room = ring_size(j->jobs);
    j->limits = *limits;
    j->max_bytes = max_bytes;
    j->ring = wan_calloc(j->room, sizeof *j->ring, "jobs");
    if (!j->ring)
        wan_clip_jobs_close(out);
    return *out ? 0 : -1;
}

static size_t running(const wan_clip_jobs *j)
{
    size_t n = 0;
    for (size_t i = 0; i < j->n; i++)
        n += !at(j, i)->ended;
    return n;
}

/* What ended jobs hold. */
static int64_t held(const wan_clip_jobs *j)
{
    int64_t n = 0;
    for (size_t i = 0; i < j->n; i++)
        n += at(j, i)->ended ? bytes_of(&at(j, i)->said.video) : 0;
    return n;
}

int wan_clip_jobs_room(const wan_clip_jobs *j)
{
    return j->n < j->room && running(j) < j->jobs && (j->n < j->jobs || held(j) < held_most);
}

size_t wan_clip_jobs_most(const wan_clip_jobs *j)
{
    return j->room;
}

/* The cores of one of n: twice its part, because others end before it. */
static int share(const wan_clip_jobs *j, size_t n)
{
    size_t cores = (2 * j->cores + n - 1) / n;
    return (int)(cores < j->cores ? cores : j->cores);
}

/* The oldest may send its frames. */
static void give_turn(wan_clip_jobs *j)
{
    j->left = j->came = 0;
    if (j->n && at(j, 0)->task.stream)
        atomic_store(&((facts *)wan_child_room(at(j, 0)->child))->turn, 1);
}

static int start(wan_clip_jobs *j, job *b)
{
    memset(wan_child_room(b->child), 0, sizeof(facts));
    WAN_TRY(wan_child_start(b->child, &j->limits, b->task.path, work, &b->task));
    if (b == at(j, 0))
        give_turn(j);
    return 0;
}

int wan_clip_jobs_put(wan_clip_jobs *j, const wan_clip_task *t, size_t behind)
{
    job *b = at(j, j->n);
    size_t together = running(j) + 1 + behind;
    WAN_TRY(wan_video_load()); /* here: decoders that are shut in open no file */
    if (!b->child)
        WAN_TRY(wan_child_open(&b->child, sizeof(facts)));
    b->task = *t;
    b->ended = 0;
    b->task.video.max_bytes = j->max_bytes;
    b->task.video.cores = share(j, together < j->jobs ? together : j->jobs);
    if (start(j, b) < 0) {
        if (!j->n)
            return -1;
        if (j->jobs > running(j))
            j->jobs = running(j) ? running(j) : 1; /* so many, then */
        return 1;
    }
    if (!j->n++)
        give_turn(j);
    return 0;
}

static int text_ok(const char *s, size_t room)
{
    return memchr(s, 0, room) != NULL;
}

static int count_ok(int64_t n)
{
    return n >= 0 && n <= 1ll << 40;
}

/* What a process that read a file of unknown origin says, taken as such a file. */
static int believable(const wan_clip_jobs *j, const wan_video *v)
{
    const wan_video_colour *c = &v->colour;
    int side = 16 <= v->height && v->height <= 65536 && 16 <= v->width && v->width <= 65536 &&
               v->height % 16 == 0 && v->width % 16 == 0;
    return side && v->frames >= 1 && v->frames <= j->max_bytes / v->height / v->width / 3 &&
           count_ok(v->frames_in) && count_ok(v->frames_retimed) && count_ok(v->interlaced) &&
           count_ok(v->repeated) && count_ok(v->damaged) && v->source_height > 0 &&
           v->source_width > 0 && isfinite(v->fps) && isfinite(v->fps_in) && v->fps >= 0 &&
           v->fps_in >= 0 && text_ok(v->damage, sizeof v->damage) &&
           text_ok(c->pixels, sizeof c->pixels) && text_ok(c->matrix, sizeof c->matrix) &&
           text_ok(c->range, sizeof c->range) && text_ok(c->transfer, sizeof c->transfer) &&
           text_ok(c->primaries, sizeof c->primaries) && text_ok(c->assumed, sizeof c->assumed);
}

/* Of those that have ended one may have to begin again: as wan_clip_jobs_wait. */
static int look(wan_clip_jobs *j)
{
    for (size_t i = 0; i < j->n; i++) {
        job *b = at(j, i);
        if (b->ended || wan_child_runs(b->child))
            continue;
        b->ended = 1;
        memcpy(&b->said, wan_child_room(b->child), sizeof b->said);
        int rc = wan_child_result(b->child);
        if (rc < 0 || !believable(j, &b->said.video))
            b->said.video = (wan_video){ 0 };
        if (rc == 0 || !b->said.wants_filter || wan_video_filter_load() < 0)
            continue;
        WAN_TRY(start(j, b));
        b->ended = 0;
    }
    return at(j, 0)->ended ? 1 : wan_child_speaks(at(j, 0)->child) ? 2 : 0;
}

int wan_clip_jobs_wait(wan_clip_jobs *j)
{
    wan_child *run[2 * MOST_JOBS];
    size_t n = 0;
    if (!j->n)
        return wan_err("no clip to wait for");
    if (at(j, 0)->ended)
        return 1;
    for (size_t i = 0; i < j->n; i++)
        if (!at(j, i)->ended)
            run[n++] = at(j, i)->child;
    (void)wan_child_wait(run, n, -1);
    return look(j);
}

static int impossible(const wan_clip_jobs *j)
{
    return wan_err("%s: its decoder says what cannot be", at(j, 0)->task.path);
}

static int take_marks(wan_clip_jobs *j, wan_video *v)
{
    job *b = at(j, 0);
    if (!b->said.video.mark)
        return 0;
    free(j->marks);
    v->mark = j->marks = wan_malloc((size_t)v->frames, 1, "marks of frames");
    return v->mark ? wan_child_receive(b->child, v->mark, (size_t)v->frames) : -1;
}

int wan_clip_jobs_take(wan_clip_jobs *j, wan_video *v)
{
    job *b = at(j, 0);
    *v = b->said.video;
    v->rgb = v->mark = NULL;
    v->borrowed = 1;
    if (wan_child_result(b->child) < 0) {
        if (b->said.wants_filter && wan_video_filter_load() < 0)
            wan_err_prefix("%s", b->task.path);
        return -1;
    }
    if (!v->frames)
        return impossible(j);
    return b->task.stream ? 0 : take_marks(j, v);
}

/* Room for the pixels, by huge pages: kept for the next clip. */
static int grow(wan_clip_jobs *j, size_t n)
{
    if (n <= j->pixels_room)
        return 0;
    n = (n + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    free(j->pixels);
    j->pixels = aligned_alloc(HUGE_PAGE, n);
    j->pixels_room = j->pixels ? n : 0;
    if (!j->pixels)
        return wan_err("out of memory (%zu bytes of frames)", n);
    (void)madvise(j->pixels, n, MADV_HUGEPAGE);
    return 0;
}

int wan_clip_jobs_pixels(wan_clip_jobs *j, wan_video *v)
{
    WAN_TRY(grow(j, (size_t)bytes_of(v)));
    WAN_TRY(wan_child_receive(at(j, 0)->child, j->pixels, (size_t)bytes_of(v)));
    v->rgb = j->pixels;
    return 0;
}

/* The head of the next message: 1, 0 no more frames. */
static int next_message(wan_clip_jobs *j, wan_clip_frames *out)
{
    message m;
    wan_child *c = at(j, 0)->child;
    WAN_TRY(wan_child_receive(c, &m, sizeof m));
    if (m.first < 0)
        return 0;
    if (m.bytes < 1 || m.bytes > j->max_bytes)
        return impossible(j);
    j->left = m.bytes;
    out->first = !m.first;
    if (m.first)
        return 1;
    WAN_TRY(wan_child_receive(c, &out->like, sizeof out->like));
    out->like.rgb = out->like.mark = NULL;
    j->came = 0;
    return believable(j, &out->like) ? 1 : impossible(j);
}

int wan_clip_jobs_streams(const wan_clip_jobs *j)
{
    return at(j, 0)->task.stream;
}

int wan_clip_jobs_frames(wan_clip_jobs *j, wan_video *v, wan_clip_frames *out)
{
    out->first = 0;
    int rc = j->left ? 1 : next_message(j, out);
    if (rc == 0 && v && j->came == ((v->frames - 1) / 4 * 4 + 1) * v->height * v->width * 3)
        return take_marks(j, v);
    if (rc <= 0)
        return rc < 0 ? -1 : impossible(j);
    WAN_TRY(grow(j, CHUNK));
    out->bytes = j->left < CHUNK ? (size_t)j->left : CHUNK;
    out->rgb = j->pixels;
    j->left -= (int64_t)out->bytes;
    j->came += (int64_t)out->bytes;
    return wan_child_receive(at(j, 0)->child, j->pixels, out->bytes) < 0 ? -1 : 1;
}

void wan_clip_jobs_done(wan_clip_jobs *j)
{
    wan_child_stop(at(j, 0)->child);
    j->first = (j->first + 1) % j->room;
    j->n--;
    give_turn(j);
}

const char *wan_clip_jobs_unfiltered(const wan_clip_jobs *j)
{
    return wan_child_unfiltered(at(j, 0)->child);
}

void wan_clip_jobs_close(wan_clip_jobs **out)
{
    wan_clip_jobs *j = *out;
    *out = NULL;
    for (size_t i = 0; j && j->ring && i < j->room; i++)
        wan_child_close(&j->ring[i].child);
    if (j) {
        free(j->ring);
        free(j->pixels);
        free(j->marks);
    }
    free(j);
}
