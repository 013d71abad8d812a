/* SPDX-License-Identifier: Apache-2.0
 *
 * check_comm.c - the calls of groups against what every rank can compute alone.  Runs as one rank by
 * itself, and under mpirun from comm.sh; rank 0 reports, any rank's failure is its failure.
 *
 *     check_comm                    all calls, types and lengths
 *     check_comm long               more than 2^31 elements
 *     check_comm differ-HOW         the last rank makes another call than the others
 */
#include <sys/mman.h>
#include <unistd.h>

#include "lib/dist/group.h"
#include "lib/dist/traffic.h"
#include "tests/tap.h"

static wan_comm *c;
static wan_group *world;

/* Whether all ranks say yes. */
static int all(int yes)
{
    double no = !yes;
    return wan_group_all_reduce(world, NULL, &no, 1, WAN_F64, WAN_SUM) == 0 && no == 0;
}

static void say(int yes, const char *what)
{
    if (!yes && *wan_err_text())
        fprintf(stderr, "rank %d: %s: %s\n", c->rank, what, wan_err_text());
    yes = all(yes);
    if (c->rank == 0)
        ok(yes, "%d rank(s): %s", c->size, what);
}

/* ---- a device whose memory cannot be touched but through it */

#define FAR ((uintptr_t)1 << 46)
static size_t carried;

static void *near(const void *x)
{
    return (void *)((uintptr_t)x - FAR);
}

static int fake_ready(void *arg)
{
    (void)arg;
    return 0;
}

static int fake_read(void *arg, void *host, const void *x, size_t bytes)
{
    (void)arg;
    carried += bytes;
    memcpy(host, near(x), bytes);
    return 0;
}

static int fake_write(void *arg, void *x, const void *host, size_t bytes)
{
    (void)arg;
    carried += bytes;
    memcpy(near(x), host, bytes);
    return 0;
}

static int fake_copy(void *arg, void *to, const void *from, size_t bytes)
{
    (void)arg;
    memmove(near(to), near(from), bytes);
    return 0;
}

static const wan_where fake = { NULL, fake_ready, fake_read, fake_write, fake_copy, NULL, 0 };
static const wan_where *where; /* NULL or fake */

/* Memory of `where`, and how the check reads it. */
static void *get(size_t n, wan_dtype t)
{
    char *p = malloc(n * wan_dtype_size(t) + 64);
    memset(p, 0xee, n * wan_dtype_size(t) + 64);
    return where ? (void *)((uintptr_t)p + FAR) : p;
}

static void *see(const void *p)
{
    return where ? near(p) : (void *)(uintptr_t)p;
}

static void put(void *p)
{
    free(see(p));
}

/* ---- numbers */

typedef struct kind {
    wan_dtype t;
    int adds;
} kind;

static void draw(void *x, wan_dtype t, size_t n, int rank, uint64_t which)
{
    uint64_t h = which * 1000003 + (uint64_t)rank * 7919 + 1;
    for (size_t i = 0; i < n; i++) {
        h = h * 6364136223846793005u + 1442695040888963407u;
        int64_t v = (int64_t)h >> 12;
        switch (t) {
        case WAN_F32: ((float *)x)[i] = (float)v * 0x1p-48f; break;
        case WAN_F64: ((double *)x)[i] = (double)v / 3e14; break;
        case WAN_BF16: ((uint16_t *)x)[i] = wan_f32_to_bf16((float)v * 0x1p-48f); break;
        case WAN_I64: ((int64_t *)x)[i] = v; break;
        default: ((unsigned char *)x)[i] = (unsigned char)(h >> 56); break;
        }
    }
}

static double value(const void *x, wan_dtype t, size_t i)
{
    switch (t) {
    case WAN_F32: return (double)((const float *)x)[i];
    case WAN_F64: return ((const double *)x)[i];
    default: return (double)wan_bf16_to_f32(((const uint16_t *)x)[i]);
    }
}

/* want [n]: the members' draws added in their order, or their maximum */
static void expect(void *want, wan_dtype t, size_t n, const wan_group *g, uint64_t which,
                   wan_group_op op)
{
    void *x = malloc(n * 8 + 8);
    float *f = calloc(n + 1, sizeof *f);
    for (int r = 0; r < g->size; r++) {
        draw(x, t, n, g->member[r], which);
        if (r == 0)
            memcpy(want, x, n * wan_dtype_size(t));
        for (size_t i = 0; i < n; i++) {
            if (t == WAN_I64) {
                int64_t *w = want, v = ((int64_t *)x)[i];
                w[i] = r == 0 ? v : op == WAN_SUM ? w[i] + v : v > w[i] ? v : w[i];
                continue;
            }
            double a = r == 0          ? 0
                       : t == WAN_BF16 ? (double)f[i]
                                       : value(want, t, i),
                   b = value(x, t, i);
            double s = r == 0 ? b : op == WAN_SUM ? a + b : a > b ? a : b;
            f[i] = (float)s; /* a sum of two floats in double, rounded once, is the float sum */
            if (t == WAN_F32)
                ((float *)want)[i] = f[i];
            else if (t == WAN_F64)
                ((double *)want)[i] = s;
            else
                ((uint16_t *)want)[i] = wan_f32_to_bf16(f[i]);
        }
    }
    free(x);
    free(f);
}

/* Lengths that do not divide, some of them 0; at most n each. */
static void uneven(size_t *len, int size, size_t n)
{
    for (int r = 0; r < size; r++)
        len[r] = r % 3 == 2 ? 0 : r % 2 ? n : n / 2 + (size_t)r;
}

static size_t total(const size_t *len, int size)
{
    size_t n = 0;
    for (int r = 0; r < size; r++)
        n += len[r];
    return n;
}

static int same(const void *got, const void *want, size_t n, wan_dtype t)
{
    static const unsigned char guard[32] = { [0 ... 31] = 0xee };
    size_t bytes = n * wan_dtype_size(t);
    return !memcmp(see(got), want, bytes) && !memcmp((char *)see(got) + bytes, guard, sizeof guard);
}

/* ---- one call each */

static int reduces(wan_group *g, wan_dtype t, size_t n, wan_group_op op)
{
    void *x = get(n, t), *want = malloc(n * 8 + 8);
    expect(want, t, n, g, n, op);
    draw(see(x), t, n, c->rank, n);
    int good = wan_group_all_reduce(g, where, x, n, t, op) == 0 && same(x, want, n, t);
    put(x);
    free(want);
    return good;
}

static int scatters(wan_group *g, wan_dtype t, size_t n, int even, int inside)
{
    size_t len[16], at = 0, e = wan_dtype_size(t);
    uneven(len, g->size, n);
    for (int r = 0; even && r < g->size; r++)
        len[r] = n;
    for (int r = 0; r < g->rank; r++)
        at += len[r];
    size_t sum = total(len, g->size), mine = len[g->rank];
    void *x = get(sum, t), *want = malloc(sum * 8 + 8),
         *out = inside ? (char *)x + at * e : get(mine, t);
    expect(want, t, sum, g, n, WAN_SUM);
    draw(see(x), t, sum, c->rank, n);
    int rc = even ? wan_group_reduce_scatter(g, where, out, x, n, t, WAN_SUM)
                  : wan_group_reduce_scatter_v(g, where, out, x, len, t, WAN_SUM);
    int good = rc == 0 && !memcmp(see(out), (char *)want + at * e, mine * e);
    if (!inside) {
        good &= same(out, (char *)want + at * e, mine, t);
        put(out);
    }
    put(x);
    free(want);
    return good;
}

static int gathers(wan_group *g, wan_dtype t, size_t n, int even, int inside)
{
    size_t len[16], at = 0, e = wan_dtype_size(t);
    uneven(len, g->size, n);
    for (int r = 0; even && r < g->size; r++)
        len[r] = n;
    size_t sum = total(len, g->size);
    char *want = malloc(sum * 8 + 8), *out = get(sum, t), *x = NULL;
    for (int r = 0; r < g->size; r++) {
        draw(want + at * e, t, len[r], g->member[r], n);
        if (r == g->rank) {
            x = inside ? out + at * e : get(len[r], t);
            memcpy(see(x), want + at * e, len[r] * e);
        }
        at += len[r];
    }
    int rc = even ? wan_group_all_gather(g, where, out, x, n, t)
                  : wan_group_all_gather_v(g, where, out, x, len, t);
    int good = rc == 0 && same(out, want, sum, t);
    if (!inside)
        put(x);
    put(out);
    free(want);
    return good;
}

/* What rank a sends rank b. */
static size_t between(int a, int b, size_t n)
{
    return (a + 2 * b) % 3 == 0 ? 0 : a == b ? n / 3 : n / (size_t)(1 + (a + b) % 4);
}

static int exchanges(wan_group *g, wan_dtype t, size_t n)
{
    size_t send[16], recv[16], at = 0, e = wan_dtype_size(t);
    for (int r = 0; r < g->size; r++) {
        send[r] = between(g->rank, r, n);
        recv[r] = between(r, g->rank, n);
    }
    size_t in = total(recv, g->size), outn = total(send, g->size);
    char *x = get(outn, t), *out = get(in, t), *want = malloc(in * 8 + 8);
    for (int r = 0; r < g->size; at += send[r++])
        draw((char *)see(x) + at * e, t, send[r], g->rank * 16 + r, n);
    at = 0;
    for (int r = 0; r < g->size; at += recv[r++])
        draw(want + at * e, t, recv[r], r * 16 + g->rank, n);
    int good = wan_group_all_to_all(g, where, out, recv, x, send, t) == 0 && same(out, want, in, t);
    put(x);
    put(out);
    free(want);
    return good;
}

static int broadcasts(wan_group *g, wan_dtype t, size_t n)
{
    int good = 1;
    for (int root = 0; root < g->size; root++) {
        void *x = get(n, t), *want = malloc(n * 8 + 8);
        draw(want, t, n, root, n);
        if (g->rank == root)
            memcpy(see(x), want, n * wan_dtype_size(t));
        good &= wan_group_broadcast(g, where, x, n, t, root) == 0 && same(x, want, n, t);
        put(x);
        free(want);
    }
    return good;
}

/* Everyone sends to everyone, all at once, two calls with one tag and one with another. */
static int pairs(wan_group *g, wan_dtype t, size_t n)
{
    enum { CALLS = 3 };
    static const int tags[CALLS] = { 7, 7, WAN_GROUP_TAGS - 1 };
    wan_group_req in[16][CALLS], out[16][CALLS];
    char *x[16][CALLS], *y[16][CALLS], *want = malloc((n + CALLS) * 8 + 8);
    int good = 1;
    for (int r = 0; r < g->size; r++)
        for (int k = 0; k < CALLS && r != g->rank; k++) {
            x[r][k] = get(n + (size_t)k, t);
            draw(see(x[r][k]), t, n + (size_t)k, g->rank * 16 + r, (uint64_t)k);
            good &= wan_group_send_start(g, where, x[r][k], n + (size_t)k, t, r, tags[k],
                                         &out[r][k]) == 0;
        }
    for (int r = 0; r < g->size; r++)
        for (int k = CALLS - 1; k >= 0 && r != g->rank; k--) {
            int j = k == 2 ? 2 : 1 - k; /* in the order of the tag */
            y[r][j] = get(n + (size_t)j, t);
            good &= wan_group_recv_start(g, where, y[r][j], n + (size_t)j, t, r, tags[j],
                                         &in[r][j]) == 0;
        }
    good &= wan_group_push(g) == 0; /* begins them, and waits for none */
    for (int r = g->size - 1; r >= 0; r--)
        for (int k = 0; k < CALLS && r != g->rank; k++) {
            draw(want, t, n + (size_t)k, r * 16 + g->rank, (uint64_t)k);
            good &= wan_group_wait(&in[r][k]) == 0 && same(y[r][k], want, n + (size_t)k, t);
            good &= wan_group_wait(&out[r][k]) == 0;
            put(x[r][k]);
            put(y[r][k]);
        }
    free(want);
    return good;
}

/* ---- all of them */

static const kind kinds[] = {
    { WAN_F32, 1 }, { WAN_BF16, 1 }, { WAN_F64, 1 }, { WAN_I64, 1 }, { WAN_U8, 0 }
};
static const size_t lengths[] = { 0, 1, 2, 3, 1000, 2049, 30001, 1000003 };

static void calls(wan_group *g, const char *name)
{
    char what[128];
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        const wan_dtype t = kinds[k].t;
        int sum = 1, max = 1, scatter = 1, gather = 1, exchange = 1, cast = 1, pair = 1;
        for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
            const size_t n = lengths[i];
            if (n > 100000 && (where || t != WAN_F32 || g != world))
                continue;
            if (kinds[k].adds) {
                sum &= reduces(g, t, n, WAN_SUM);
                max &= reduces(g, t, n, WAN_MAX);
                for (int v = 0; v < 4; v++)
                    scatter &= scatters(g, t, n, v & 1, v >> 1);
            }
            for (int v = 0; v < 4; v++)
                gather &= gathers(g, t, n, v & 1, v >> 1);
            exchange &= exchanges(g, t, n);
            cast &= broadcasts(g, t, n);
            pair &= pairs(g, t, n);
        }
        const struct {
            int good;
            const char *name;
        } r[] = {
            { sum, "sum" },           { max, "maximum" },         { scatter, "reduce_scatter" },
            { gather, "all_gather" }, { exchange, "all_to_all" }, { cast, "broadcast" },
            { pair, "send and recv" }
        };
        for (size_t i = kinds[k].adds ? 0 : 3; i < sizeof r / sizeof r[0]; i++) {
            snprintf(what, sizeof what, "%s of %s in %s, %s memory", r[i].name, wan_dtype_name(t),
                     name, where ? "device" : "host");
            say(r[i].good, what);
        }
    }
}

/* A NaN stays a NaN, from whichever rank; types that cannot be added are refused. */
static void odd_numbers(void)
{
    int good = 1;
    for (int r = 0; r < c->size; r++) {
        float x = r == c->rank ? NAN : 1;
        good &= wan_group_all_reduce(world, NULL, &x, 1, WAN_F32, WAN_MAX) == 0 && x != x;
    }
    say(good, "a maximum with a NaN is NaN");
    char b = 1;
    say(wan_group_all_reduce(world, NULL, &b, 1, WAN_U8, WAN_SUM) < 0 &&
            strstr(wan_err_text(), "U8"),
        "bytes are not added");
}

/* Many calls of several groups at once, started in another order by each rank. */
static int in_flight(wan_group *const *g, int groups)
{
    enum { PIECES = 20, LENGTH = 4097 };
    static float x[3][PIECES][LENGTH];
    wan_group_req req[3][PIECES];
    int good = 1;
    for (int j = 0; j < groups; j++) {
        int k = (j + c->rank) % groups;
        for (int p = 0; p < PIECES; p++) {
            for (int i = 0; i < LENGTH; i++)
                x[k][p][i] = (float)(p + g[k]->rank * 3);
            good &= wan_group_all_reduce_start(g[k], NULL, x[k][p], LENGTH - (size_t)p, WAN_F32,
                                               WAN_SUM, &req[k][p]) == 0;
        }
    }
    for (int j = 0; j < groups; j++) {
        int k = (j + 2 * c->rank) % groups, n = g[k]->size;
        for (int p = PIECES - 1; p >= 0; p--) {
            good &= wan_group_wait(&req[k][p]) == 0;
            for (int i = 0; i < LENGTH - p; i++)
                good &= x[k][p][i] == (float)(n * p + 3 * n * (n - 1) / 2);
            good &= x[k][p][LENGTH - 1] == (float)(p + g[k]->rank * 3) || p == 0 || n == 1;
        }
    }
    return good;
}

static void splits(wan_group **half, wan_group **pair)
{
    wan_group *none, *alone;
    int good = wan_group_split(world, c->rank % 2, -c->rank, "half", half) == 0;
    good &= (*half)->size == (c->size + 1 - c->rank % 2) / 2 && !strcmp((*half)->name, "half") &&
            (*half)->member[(*half)->rank] == c->rank;
    for (int r = 1; r < (*half)->size; r++)
        good &= (*half)->member[r] == (*half)->member[r - 1] - 2;
    good &= wan_group_split(world, c->rank / 2, 0, "pair", pair) == 0;
    for (int r = 0; r < (*pair)->size; r++)
        good &= (*pair)->member[r] == c->rank / 2 * 2 + r;
    good &= wan_group_split(world, c->rank == 0 ? 0 : -1, 0, "one", &none) == 0;
    good &= (none != NULL) == (c->rank == 0);
    good &= wan_group_split(*half, 0, 0, "whole", &alone) == 0 && alone->size == (*half)->size &&
            !memcmp(alone->member, (*half)->member, (size_t)alone->size * sizeof(int));
    say(good, "groups by colour and key");
    wan_group_free(&none);
    wan_group_free(&alone);
}

static void counters(void)
{
    wan_group *g;
    float x[10] = { 0 }, y[160];
    int good = wan_group_split(world, 0, c->rank, "count", &g) == 0;
    for (int i = 0; i < 3; i++)
        good &= wan_group_all_reduce(g, NULL, x, 10, WAN_F32, WAN_SUM) == 0;
    good &= wan_group_all_gather(g, NULL, y, x, 10, WAN_F32) == 0;
    const wan_group_counter *k = wan_group_counters(g);
    good &= k[WAN_ALL_REDUCE].calls == 3 && k[WAN_ALL_REDUCE].bytes == 120 &&
            k[WAN_ALL_GATHER].calls == 1 && k[WAN_ALL_GATHER].bytes == 40 * c->size &&
            k[WAN_BROADCAST].calls == 0 && k[WAN_ALL_REDUCE].seconds >= 0;
    if (c->size > 1) {
        double before = k[WAN_BARRIER].seconds;
        if (c->rank == 0)
            usleep(200000);
        good &= wan_group_barrier(g) == 0;
        good &= c->rank == 0 || k[WAN_BARRIER].seconds - before > 0.1;
    }
    wan_traffic one, all;
    wan_traffic_read(&one, c);
    good &= wan_group_all_reduce(g, NULL, x, 10, WAN_F32, WAN_SUM) == 0;
    wan_traffic_read(&all, c);
    wan_traffic_since(&all, &one);
    good &= all.n == (c->size > 1) &&
            (c->size == 1 ||
             (!strcmp(all.line[0].group, "count") && all.line[0].kind == WAN_ALL_REDUCE &&
              all.line[0].count.calls == 1 && all.line[0].count.bytes == 40));
    say(good, "counters of calls, bytes and seconds");
    wan_group_free(&g);
}

/* ---- lengths beyond 2^31, in memory that repeats */

enum { PERIOD = 1 << 26 };

static unsigned char *repeating(size_t bytes, int value)
{
    int fd = memfd_create("repeat", 0);
    unsigned char *x =
        mmap(NULL, bytes + PERIOD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (fd < 0 || x == MAP_FAILED || ftruncate(fd, PERIOD) < 0)
        return NULL;
    for (size_t at = 0; at < bytes; at += PERIOD)
        if (mmap(x + at, PERIOD, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
            MAP_FAILED)
            return NULL;
    for (size_t i = 0; i < PERIOD; i++)
        x[i] = (unsigned char)(value + (int)(i % 251));
    return x;
}

static int whole(const unsigned char *x, int value)
{
    for (size_t i = 0; i < PERIOD; i++)
        if (x[i] != (unsigned char)(value + (int)(i % 251)))
            return 0;
    return 1;
}

static void longest(void)
{
    const size_t n = ((size_t)1 << 31) + 12345;
    unsigned char *x = repeating(n, c->rank * 5 + 1);
    say(x && wan_group_broadcast(world, NULL, x, n, WAN_U8, 1) == 0 && whole(x, 6),
        "broadcast of 2^31 bytes");
    unsigned char *y = repeating(n, c->rank * 7 + 1);
    wan_group_req req = NULL;
    int rc = c->rank == 0   ? wan_group_send_start(world, NULL, y, n, WAN_U8, 1, 0, &req)
             : c->rank == 1 ? wan_group_recv_start(world, NULL, y, n, WAN_U8, 0, 0, &req)
                            : 0;
    say(rc == 0 && wan_group_wait(&req) == 0 && (c->rank > 1 || whole(y, 1)), "send of 2^31 bytes");
}

/* ---- ranks that differ */

static int differ(const char *how)
{
    float x[4000] = { 0 }, y[40000];
    const int odd = c->rank == c->size - 1;
    int rc = wan_group_barrier(world);
    if (!strcmp(how, "kind"))
        rc = odd ? wan_group_all_gather(world, NULL, y, x, 100, WAN_F32)
                 : wan_group_all_reduce(world, NULL, x, 100, WAN_F32, WAN_SUM);
    else if (!strcmp(how, "size"))
        rc = wan_group_all_reduce(world, NULL, x, odd ? 100 : 3999, WAN_F32, WAN_SUM);
    else if (!strcmp(how, "type"))
        rc = wan_group_all_reduce(world, NULL, x, 100, odd ? WAN_I64 : WAN_F64, WAN_SUM);
    else if (!strcmp(how, "op"))
        rc = wan_group_all_reduce(world, NULL, x, 100, WAN_F32, odd ? WAN_MAX : WAN_SUM);
    else if (!strcmp(how, "root"))
        rc = wan_group_broadcast(world, NULL, x, 100, WAN_F32, odd);
    else if (!strcmp(how, "order"))
        rc = odd ? wan_group_barrier(world) : wan_group_broadcast(world, NULL, x, 0, WAN_F32, 0);
    else if (!strcmp(how, "rows")) {
        size_t n[16] = { [0 ... 15] = 20 };
        n[odd] += 10;
        n[!odd] -= 10;
        rc = wan_group_all_gather_v(world, NULL, y, x, n, WAN_F32);
    } else if (!strcmp(how, "pieces")) {
        size_t n[16] = { [0 ... 15] = 20 }, m[16] = { [0 ... 15] = 20 };
        n[0] += odd ? 1 : 0;
        rc = wan_group_all_to_all(world, NULL, y, m, x, n, WAN_F32);
    } else if (!strcmp(how, "send")) {
        if (odd)
            rc = wan_group_send(world, NULL, x, 100, WAN_F32, 0, 3);
        else if (c->rank == 0)
            rc = wan_group_recv(world, NULL, x, 101, WAN_F32, c->size - 1, 3);
    } else if (!strcmp(how, "pace")) {
        sleep(odd ? 60 : 0); /* alive, but late */
    }
    if (rc == 0) /* who does not notice does not end the others before they speak */
        rc = wan_group_barrier(world);
    if (rc < 0)
        fprintf(stderr, "%s\n", wan_err_text());
    return rc < 0;
}

int main(int argc, char **argv)
{
    wan_group *g[3];
    if (wan_comm_open(&c, "auto", 20, argc > 1 && !strcmp(argv[1], "differ-pace") ? 2 : 60) < 0) {
        ok(0, "opens: %s", wan_err_text());
        return tap_done();
    }
    world = g[0] = wan_group_world(c);
    if (argc > 1 && !strncmp(argv[1], "differ-", 7))
        return differ(argv[1] + 7);
    if (argc > 1) {
        longest();
    } else {
        splits(&g[1], &g[2]);
        for (where = NULL;; where = &fake) {
            calls(world, "the world");
            calls(g[1], "a half");
            if (where)
                break;
        }
        say(c->size == 1 || carried > 0, "device memory is read through its device");
        where = NULL;
        odd_numbers();
        say(in_flight(g, 3), "60 sums of 3 groups in flight");
        counters();
        wan_group_free(&g[1]);
        wan_group_free(&g[2]);
    }
    int rank = c->rank;
    wan_comm_close(&c);
    if (rank != 0)
        return 0;
    return tap_done();
}
