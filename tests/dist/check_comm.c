/* SPDX-License-Identifier: Apache-2.0
 *
 * check_comm.c - the collectives against what every rank can compute alone.  Runs as one rank by
 * itself, and under mpirun from comm.sh; rank 0 reports, any rank's failure is its failure.
 */
#include "lib/base/rng.h"
#include "lib/dist/comm.h"
#include "lib/dist/mesh.h"
#include "tests/tap.h"

static wan_comm *c;

/* Whether all ranks say yes. */
static int all(int yes)
{
    double no = !yes;
    return wan_comm_sum_f64(c, &no, 1) == 0 && no == 0;
}

static void say(int yes, const char *what)
{
    yes = all(yes);
    if (c->rank == 0)
        ok(yes, "%d rank(s): %s", c->size, what);
}

static void draw(float *x, size_t n, int rank, uint64_t which)
{
    wan_rng r = wan_rng_stream(9, WAN_RNG_TEST, which, (uint64_t)rank);
    wan_rng_normal(&r, x, 0, n);
}

/* The sum in the order of ranks, bit for bit. */
static int sums(size_t n)
{
    float *x = malloc(n * sizeof *x), *want = calloc(n, sizeof *want), *y = malloc(n * sizeof *y);
    for (int r = 0; r < c->size; r++) {
        draw(y, n, r, n);
        for (size_t i = 0; i < n; i++)
            want[i] = r ? want[i] + y[i] : y[i];
    }
    draw(x, n, c->rank, n);
    int good = wan_comm_sum_f32(c, x, n) == 0 && !memcmp(x, want, n * sizeof *x);
    free(x);
    free(want);
    free(y);
    return good;
}

/* Many pieces on their way at once, of sizes that do not divide. */
static int in_flight(void)
{
    enum { PIECES = 20, LENGTH = 4097 };
    static float x[PIECES][LENGTH];
    wan_comm_req req[PIECES];
    int good = 1;
    for (int k = 0; k < PIECES; k++) {
        for (int i = 0; i < LENGTH; i++)
            x[k][i] = (float)(k + c->rank * 3);
        good &= wan_comm_sum_start(c, x[k], LENGTH - (size_t)k, &req[k]) == 0;
    }
    for (int k = PIECES - 1; k >= 0; k--) {
        good &= wan_comm_wait(c, req[k]) == 0;
        for (int i = 0; i < LENGTH - k; i++)
            good &= x[k][i] == (float)(c->size * k + 3 * c->size * (c->size - 1) / 2);
        good &= x[k][LENGTH - 1] == (float)(k + c->rank * 3) || k == 0;
    }
    return good;
}

static int gathers(void)
{
    char mine[7], *got = malloc((size_t)c->size * sizeof mine);
    memset(mine, 'a' + c->rank, sizeof mine);
    int good = wan_comm_gather(c, mine, sizeof mine, got) == 0;
    for (int r = 0; r < c->size; r++)
        for (size_t i = 0; i < sizeof mine; i++)
            good &= got[(size_t)r * sizeof mine + i] == 'a' + r;
    free(got);
    return good;
}

static int broadcasts(void)
{
    int good = 1;
    for (int root = 0; root < c->size; root++) {
        const size_t n = 300001;
        float *x = calloc(n, sizeof *x), *want = malloc(n * sizeof *want);
        draw(want, n, root, 5);
        if (c->rank == root)
            memcpy(x, want, n * sizeof *x);
        good &=
            wan_comm_broadcast(c, x, n * sizeof *x, root) == 0 && !memcmp(x, want, n * sizeof *x);
        free(x);
        free(want);
    }
    return good;
}

static void meshes(void)
{
    wan_mesh m;
    const int dp[WAN_AXES] = { 1, 0, 1, 1, 1 }, tp[WAN_AXES] = { 1, 0, 1, 1, 2 };
    const int five[WAN_AXES] = { 1, 5, 1, 1, 1 };
    ok(wan_mesh_new(&m, dp, 2, 3) == 0 && m.dp == 3 && m.dp_rank == 2, "a mesh of 3 replicas");
    ok(wan_mesh_new(&m, tp, 0, 2) < 0 && strstr(wan_err_text(), "tensor parallel size 2"),
       "an axis without code is refused: %s", wan_err_text());
    ok(wan_mesh_new(&m, five, 0, 3) < 0 && strstr(wan_err_text(), "5 places"), "too few ranks: %s",
       wan_err_text());
}

int main(void)
{
    if (wan_comm_open(&c, "auto", 20, 60) < 0) {
        ok(0, "opens: %s", wan_err_text());
        return tap_done();
    }
    const size_t sizes[] = { 1, 2, 3, 1000, 262147 };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char what[64];
        snprintf(what, sizeof what, "sum of %zu, in the order of ranks", sizes[i]);
        say(sums(sizes[i]), what);
    }
    say(in_flight(), "20 sums in flight");
    say(gathers(), "gather");
    say(broadcasts(), "broadcast from every rank");
    int rank = c->rank;
    wan_comm_close(&c);
    if (rank != 0)
        return 0;
    meshes();
    return tap_done();
}
