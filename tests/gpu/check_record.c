/* SPDX-License-Identifier: Apache-2.0
 *
 * check_record.c - work that is recorded and done again (wan_dev_record) on the device under test: nothing is done
 * while it is recorded, each replay does it once more on what lies in memory then, and what no recording can hold
 * is refused with a sentence, after which the device works as before.
 */
#include "kernels/ops.h"
#include "lib/model/reel.h"
#include "lib/model/take.h"
#include "tests/tap.h"

#include <dlfcn.h>
#include <pthread.h>

enum { N = 300, K = 40 };

static wan_dev *d;
static float *x, *y, host[N];
static wan_buf a, w, z;

static void must(int rc)
{
    if (rc < 0) {
        printf("Bail out! %s\n", wan_err_text());
        exit(1);
    }
}

static float first(const float *p)
{
    must(wan_dev_read(d, host, p, sizeof host));
    return host[0];
}

/* y = y + 2 x, then x = y; and a product of bf16 rows. */
static int work(void)
{
    WAN_TRY(d->ops->axpy(d, WAN_RBUF(y), 2, WAN_RBUF(x), N));
    WAN_TRY(wan_dev_copy(d, x, y, N * sizeof *x));
    return d->ops->linear_forward(d, z, wan_buf_of(NULL, WAN_F32), a, w, NULL, K, K, K,
                                  WAN_ACT_NONE);
}

static void replays(void)
{
    wan_tape *t;
    must(d->ops->fill(d, WAN_RBUF(x), 1, N));
    must(d->ops->fill(d, WAN_RBUF(y), 0, N));
    must(work()); /* x = y = 2: plans are made, work space grows */
    must(wan_dev_record(d));
    int rc = work();
    must(wan_dev_recorded(d, &t));
    ok(rc == 0 && t && first(y) == 2, "what is recorded is not done");
    must(wan_dev_replay(d, t));
    must(wan_dev_replay(d, t));
    ok(first(y) == 18 && first(x) == 18, "each replay does it again");
    must(d->ops->fill(d, WAN_RBUF(x), -9, N));
    must(d->ops->fill(d, a, 1, K * K));
    must(d->ops->fill(d, w, 0.5, K * K));
    must(wan_dev_replay(d, t));
    ok(first(x) == 0, "on what lies in memory by then");
    ok(first(z.p) == K / 2, "products, too");
    wan_dev_unrecord(d, &t);
    ok(!t, "and is forgotten");
}

static int allocates(void)
{
    void *p = wan_dev_alloc(d, 64, "memory");
    wan_dev_free(d, p);
    return p ? 0 : -1;
}

static int waits(void)
{
    return wan_dev_sync(d);
}

static int reads(void)
{
    return wan_dev_read(d, host, x, sizeof host);
}

static int writes(void)
{
    return wan_dev_write(d, x, host, sizeof host);
}

static int grows(void)
{
    return wan_dev_scratch(d, d->scratch_bytes + 1000) ? 0 : -1;
}

static void refusals(void)
{
    static const struct {
        const char *name;
        int (*fn)(void);
    } row[] = { { "memory", allocates },
                { "a wait", waits },
                { "a copy to the host", reads },
                { "a copy from the host", writes },
                { "work space that grows", grows } };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        wan_tape *t;
        must(wan_dev_record(d));
        int in = row[i].fn(), end = wan_dev_recorded(d, &t);
        ok(in < 0 && end < 0 && !t, "%s is refused: %s", row[i].name, wan_err_text());
        must(d->ops->fill(d, WAN_RBUF(y), (double)i + 1, N));
        ok(first(y) == (float)i + 1, "  and the device works on");
    }
}

static wan_dev *other; /* of the thread beside, which opens it where it is NULL */

/* A handle of its own in a thread of its own, as a transport between ranks has it. */
static void *aside(void *arg)
{
    float h[N];
    int *rc = arg;
    wan_dev *o = other;
    *rc = o ? 0 : wan_dev_open(&o, getenv("WAN_CHECK_DEVICE"), 0);
    *rc = *rc < 0 ? -1 : wan_dev_read(o, h, x, sizeof h);
    *rc = *rc < 0 ? -1 : wan_dev_write(o, x, h, sizeof h);
    *rc = *rc < 0 ? -1 : wan_dev_sync(o);
    if (*rc < 0)
        printf("# %s\n", wan_err_text());
    if (!other)
        wan_dev_close(&o);
    return NULL;
}

static void beside(void)
{
    wan_tape *t;
    pthread_t thread;
    int rc = -1;
    must(d->ops->fill(d, WAN_RBUF(x), 1, N));
    must(d->ops->fill(d, WAN_RBUF(y), 0, N));
    must(wan_dev_sync(d));
    must(wan_dev_record(d));
    int in = work();
    must(pthread_create(&thread, NULL, aside, &rc) ? -1 : 0);
    pthread_join(thread, NULL);
    in = in < 0 ? in : work();
    const int end = wan_dev_recorded(d, &t);
    ok(rc == 0, "another thread copies to and from the host while this one records");
    ok(in == 0 && end == 0 && t, "  and the recording stands");
    must(t ? wan_dev_replay(d, t) : -1);
    ok(first(y) == 6, "  whole");
    wan_dev_unrecord(d, &t);
}

/* ---- memory that goes */

static float *mine;

static int product(void)
{
    return d->ops->linear_forward(d, z, wan_buf_of(NULL, WAN_F32), a, wan_buf_of(mine, WAN_BF16),
                                  NULL, K, K, K, WAN_ACT_NONE);
}

static int scratched(void)
{
    void *p = wan_dev_scratch(d, N * sizeof *x);
    return p ? wan_dev_copy(d, p, x, N * sizeof *x) : -1;
}

static int cleared(void)
{
    return wan_dev_zero(d, mine, sizeof *mine);
}

static int summed(void)
{
    return d->ops->axpy(d, WAN_RBUF(y), 1, WAN_RBUF(mine), K);
}

static void *give_mine(void)
{
    wan_dev_free(d, mine);
    mine = NULL;
    return NULL;
}

static void *grow_scratch(void)
{
    return wan_dev_scratch(d, d->scratch_bytes + 4096);
}

/* A recording of work whose memory has been given back since is not played, wherever the next that is asked for lies;
 * one whose memory is there is. */
static void freed(void)
{
    static const struct {
        const char *name;
        int (*fn)(void);
        void *(*gone)(void);
    } row[] = { { "a kernel's operand", summed, give_mine },
                { "a product's", product, give_mine },
                { "what is cleared", cleared, give_mine },
                { "work space that has grown", scratched, grow_scratch } };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        wan_tape *t;
        mine = wan_dev_alloc(d, K * K * 4, "memory that goes");
        must(mine ? wan_dev_zero(d, mine, K * K * 4) : -1);
        must(row[i].fn());
        must(wan_dev_record(d));
        const int rc = row[i].fn();
        must(wan_dev_recorded(d, rc < 0 ? NULL : &t));
        must(wan_dev_replay(d, t));
        row[i].gone();
        void *next = wan_dev_alloc(d, K * K * 4, "what comes to lie there");
        must(next ? 0 : -1);
        ok(wan_dev_replay(d, t) < 0 && strstr(wan_err_text(), "has been freed"),
           "%s is gone, and a replay is refused: %s", row[i].name, wan_err_text());
        wan_dev_unrecord(d, &t);
        wan_dev_free(d, next);
        give_mine();
        must(d->ops->fill(d, WAN_RBUF(y), (double)i + 1, N));
        ok(first(y) == (float)i + 1, "  and the device works on");
    }
}

/* ---- reel.h */

static int runs;

/* y = y + a x */
static int adds(void *arg)
{
    runs++;
    return d->ops->axpy(d, WAN_RBUF(y), *(const double *)arg, WAN_RBUF(x), N);
}

static int writes_too(void *arg)
{
    WAN_TRY(adds(arg));
    return wan_dev_write(d, x, host, sizeof host);
}

static void play(wan_reel *r, double by, wan_reel_fn *fn)
{
    must(wan_reel_play(r, &by, sizeof by, fn, &by));
}

static void reels(void)
{
    wan_reel r = { 0 };
    must(d->ops->fill(d, WAN_RBUF(x), 1, N));
    must(d->ops->fill(d, WAN_RBUF(y), 0, N));
    play(&r, 1, adds);
    play(&r, 1, adds);
    ok(runs == 2 && first(y) == 2, "a reel that is not open runs all work");
    wan_reel_open(&r, d);
    for (int i = 0; i < 4; i++)
        play(&r, 2, adds);
    ok(runs == 4 && r.replays == 3 && first(y) == 10,
       "an open one runs it, records it, and has it");
    play(&r, 3, adds);
    ok(runs == 5 && first(y) == 13, "  other numbers are run");
    play(&r, 2, adds);
    play(&r, 2, adds);
    ok(runs == 7 && r.replays == 4 && first(y) == 17,
       "  and what came before them is recorded anew");
    wan_reel_close(&r);
    play(&r, 1, adds);
    ok(runs == 8 && first(y) == 18, "  until it is closed");
    const char *path = getenv("WAN_CUDA_PLUGIN");
    void *so = path ? dlopen(path, RTLD_LAZY | RTLD_NOLOAD) : NULL;
    if (!so || !dlsym(so, "emu_counts"))
        return;
    host[0] = 1;
    wan_reel_open(&r, d);
    play(&r, 1, writes_too);
    play(&r, 1, writes_too); /* cannot be recorded: it is run, once, and no longer tried */
    play(&r, 1, writes_too);
    ok(!r.d && runs == 12, "what cannot be recorded is run");
}

/* ---- take.h */

/* As two ranks with the same numbers would: x is asked for on the host, between kernels. */
static int doubles(void *arg, wan_dev *dev, wan_buf v, int64_t n)
{
    ++*(int *)arg;
    WAN_TRY(wan_dev_read(dev, host, v.p, (size_t)n * sizeof *host));
    for (int64_t i = 0; i < n; i++)
        host[i] *= 2;
    return wan_dev_write(dev, v.p, host, (size_t)n * sizeof *host);
}

/* x = 2 (x + 1) of N numbers, then of one, then y = x; arg not NULL: fails behind that. */
static int with_calls(void *arg)
{
    const struct {
        wan_acts *a;
        int fails;
    } *j = arg;
    const wan_wing *v = &j->a->wing;
    WAN_TRY(d->ops->axpy(d, WAN_RBUF(x), 1, WAN_RBUF(z.p), N));
    WAN_TRY(v->sum(v->arg, d, WAN_RBUF(x), N));
    WAN_TRY(d->ops->axpy(d, WAN_RBUF(x), 1, WAN_RBUF(z.p), N));
    WAN_TRY(v->sum(v->arg, d, WAN_RBUF(x), 1));
    WAN_TRY(wan_dev_copy(d, y, x, N * sizeof *x));
    return j->fails ? wan_err("as was asked") : 0;
}

static void takes(void)
{
    int calls = 0;
    wan_acts acts = { .d = d, .wing = { .arg = &calls, .sum = doubles } };
    struct {
        wan_acts *a;
        int fails;
    } j = { &acts, 0 };
    wan_take *t;
    must(d->ops->fill(d, WAN_RBUF(x), 1, N));
    must(d->ops->fill(d, WAN_RBUF(y), 0, N));
    must(d->ops->fill(d, WAN_RBUF(z.p), 1, N));
    must(wan_take_record(&t, &acts, with_calls, &j));
    ok(calls == 0 && first(x) == 1, "a take: nothing is done and nobody asked");
    ok(acts.wing.sum == doubles && acts.wing.arg == &calls, "  the wing is what it was");
    must(wan_take_play(t, &acts));
    ok(calls == 2 && first(y) == 10 && host[1] == 5, "  then all of it is, in order");
    must(wan_take_play(t, &acts));
    ok(calls == 4 && first(y) == 46 && host[1] == 13, "  and again");
    wan_take_drop(&t, d);
    j.fails = 1;
    const int rc = wan_take_record(&t, &acts, with_calls, &j);
    ok(rc < 0 && !t && calls == 4 && !strcmp(wan_err_text(), "as was asked"),
       "what fails behind a call: %s", wan_err_text());
    ok(first(x) == 46 && acts.wing.sum == doubles, "  was not done, and the device works on");
}

/* What an op says that fails meanwhile is what is said. */
static void fails(void)
{
    const wan_buf bytes = wan_buf_of(x, WAN_U8);
    char said[256];
    must(wan_dev_record(d));
    const int in = d->ops->act_forward(d, bytes, bytes, N, WAN_ACT_SILU);
    snprintf(said, sizeof said, "%s", wan_err_text());
    const int end = wan_dev_recorded(d, NULL);
    ok(in < 0 && end < 0 && !strcmp(said, wan_err_text()) && strstr(said, "act_forward"),
       "an op that fails: %s", wan_err_text());
    must(d->ops->fill(d, WAN_RBUF(y), 7, N));
    ok(first(y) == 7, "  and the device works on");
}

/* ---- plans of a library that holds few of them */

enum { LONGEST = 96, WIDEST = 280, CI = 8 }; /* of more shapes than there are plans */

static wan_pack pack;

static int attend(void)
{
    const wan_attn at = { &pack, &pack, 1, 8, 0.3, 8, 8, 8, 8, NULL };
    return d->ops->attention_forward(d, &at, z, NULL, a, a, w);
}

static int convolve(void)
{
    const wan_conv c = { CI, CI, 1, 1, 3, 1, 1, 1, 0, 0, 1, 1, 1, 1, pack.S, 0, 0 };
    return d->ops->conv_forward(d, &c, z, a, w, NULL, 0);
}

static void of_length(int64_t n)
{
    wan_pack_free(d, &pack);
    must(wan_pack_new(d, &pack, &n, 1));
}

/* A recording of fn for n tokens stands when so many other lengths have come since that its plan is no longer kept. */
static void outlives(const char *what, int (*fn)(void), int64_t n, int64_t others)
{
    static uint16_t before[LONGEST * 8], after[LONGEST * 8];
    wan_tape *t = NULL;
    of_length(n);
    must(fn());
    must(wan_dev_read(d, before, z.p, sizeof before));
    must(wan_dev_record(d));
    const int rc = fn();
    must(wan_dev_recorded(d, rc < 0 ? NULL : &t));
    for (int64_t i = n + 1; i <= others; i++) {
        of_length(i);
        must(fn());
    }
    must(wan_dev_zero(d, z.p, WIDEST * CI * 2));
    must(wan_dev_replay(d, t));
    must(wan_dev_read(d, after, z.p, sizeof after));
    ok(before[0] && memcmp(before, after, (size_t)n * 8 * 2) == 0, "%s, behind %lld other shapes",
       what, (long long)(others - n));
    wan_dev_unrecord(d, &t);
    wan_pack_free(d, &pack);
}

static void plans(void)
{
    float v[WIDEST * CI];
    for (int i = 0; i < WIDEST * CI; i++)
        v[i] = (float)(i * 37 % 101) / 64 - 0.75f;
    const wan_buf from = WAN_RBUF(wan_dev_alloc(d, sizeof v, "values"));
    a = wan_buf_of(wan_dev_alloc(d, sizeof v, "a"), WAN_BF16);
    w = wan_buf_of(wan_dev_alloc(d, sizeof v, "w"), WAN_BF16);
    z = wan_buf_of(wan_dev_alloc(d, sizeof v, "z"), WAN_BF16);
    must(from.p && a.p && w.p && z.p ? 0 : -1);
    /* a recording keeps the address of work space, which must not grow */
    must(wan_dev_scratch(d, 4 << 20) ? 0 : -1);
    must(wan_dev_write(d, from.p, v, sizeof v));
    must(d->ops->cast(d, a, from, WIDEST * CI));
    must(d->ops->cast(d, w, from, WIDEST * CI));
    outlives("attention", attend, 16, LONGEST);
    outlives("a convolution", convolve, 3, WIDEST);
}

int main(void)
{
    const char *device = getenv("WAN_CHECK_DEVICE");
    if (wan_dev_open(&d, device && *device ? device : "cpu", 0) < 0) {
        tap_skip("recorded work", wan_err_text());
        return tap_done();
    }
    if (!wan_dev_records(d)) {
        wan_dev_close(&d);
        tap_skip("recorded work", "this device keeps none");
        return tap_done();
    }
    x = wan_dev_alloc(d, sizeof host, "x");
    y = wan_dev_alloc(d, sizeof host, "y");
    a = wan_buf_of(wan_dev_alloc(d, K * K * 2, "a"), WAN_BF16);
    w = wan_buf_of(wan_dev_alloc(d, K * K * 2, "w"), WAN_BF16);
    z = wan_buf_of(wan_dev_alloc(d, K * K * 4, "z"), WAN_F32);
    must(x && y && a.p && w.p && z.p ? 0 : -1);
    must(wan_dev_zero(d, a.p, K * K * 2));
    must(wan_dev_zero(d, w.p, K * K * 2));
    replays();
    beside();
    reels();
    must(wan_dev_open(&other, device, 0));
    beside();
    wan_dev_close(&other);
    takes();
    fails();
    const char *path = getenv("WAN_CUDA_PLUGIN");
    void *so = path ? dlopen(path, RTLD_LAZY | RTLD_NOLOAD) : NULL;
    if (so && dlsym(so, "emu_counts")) {
        freed();    /* a GPU does not notice */
        plans();    /* a GPU takes seconds for each */
        refusals(); /* ... and refuses some of them only where it has to */
    }
    wan_dev_close(&d);
    return tap_done();
}
