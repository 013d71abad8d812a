/* SPDX-License-Identifier: Apache-2.0
 *
 * check_mesh.c - how ranks are laid out: the arithmetic for any number of ranks, and the groups of this
 * run's (mesh.sh starts 8 and 6 of them).
 *
 *     check_mesh                    the arithmetic
 *     check_mesh PP R S CP TP       groups of the ranks that mpirun started
 */
#include "lib/dist/mesh.h"
#include "tests/tap.h"

/* pp, replicas, shards, cp, tp asked for, ranks; replicas and shards got (0: refused) */
static const struct {
    int size[WAN_AXES], ranks, replicas, shards;
} cases[] = {
    { { 1, 0, 1, 1, 1 }, 1, 1, 1 },       { { 1, 0, 1, 1, 1 }, 3, 3, 1 },
    { { 1, 0, 1, 1, 2 }, 8, 4, 1 },       { { 2, 0, 1, 2, 2 }, 8, 1, 1 },
    { { 1, 0, 1, 8, 1 }, 8, 1, 1 },       { { 1, 0, 1, 4, 2 }, 128, 16, 1 },
    { { 1, 1, 1, 1, 1 }, 8, 1, 8 },       { { 1, 1, 1, 1, 1 }, 2, 1, 2 },
    { { 1, 2, 1, 1, 1 }, 8, 2, 4 },       { { 1, 1, 0, 1, 1 }, 6, 1, 6 },
    { { 1, 0, 0, 1, 1 }, 6, 1, 6 },       { { 1, 0, 4, 1, 1 }, 8, 2, 4 },
    { { 1, 2, 4, 1, 1 }, 8, 2, 4 },       { { 1, 4, 2, 1, 1 }, 8, 4, 2 },
    { { 1, 2, 4, 1, 1 }, 16, 4, 4 },      { { 1, 8, 1, 1, 1 }, 8, 8, 1 },
    { { 1, 4, 1, 1, 1 }, 6, 3, 2 },       { { 1, 0, 4, 1, 1 }, 6, 2, 3 },
    { { 1, 0, 64, 1, 1 }, 8, 1, 8 },      { { 1, 64, 1, 1, 1 }, 8, 8, 1 },
    { { 1, 5, 1, 1, 1 }, 3, 3, 1 },       { { 1, 0, 1, 1, 2 }, 3, 0, 0 },
    { { 1, 0, 1, 4, 2 }, 4, 0, 0 },       { { 3, 0, 1, 1, 1 }, 8, 0, 0 },
    { { 1, 0, 1, 4096, 4096 }, 8, 0, 0 },
};

static int coordinates(const int size[WAN_AXES], int ranks)
{
    int good = 1, seen[256] = { 0 };
    for (int r = 0; r < ranks; r++) {
        wan_mesh m;
        good &= wan_mesh_new(&m, size, r, ranks) == 0;
        int at = 0;
        for (int i = 0; i < WAN_AXES; i++) {
            good &= m.at[i] >= 0 && m.at[i] < m.size[i];
            at = at * m.size[i] + m.at[i];
        }
        good &= at == r && m.dp_rank >= 0 && m.dp_rank < m.dp;
        seen[m.dp_rank]++;
    }
    wan_mesh m;
    good &= wan_mesh_new(&m, size, 0, ranks) == 0;
    for (int i = 0; i < m.dp; i++)
        good &= seen[i] == ranks / m.dp;
    return good;
}

static void arithmetic(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const int *s = cases[i].size;
        wan_mesh m;
        char text[80] = "refused";
        int rc = wan_mesh_new(&m, s, 0, cases[i].ranks);
        if (rc == 0)
            wan_mesh_text(&m, text);
        int good = cases[i].replicas ? rc == 0 && m.size[WAN_DP_REPLICATE] == cases[i].replicas &&
                                           m.size[WAN_DP_SHARD] == cases[i].shards &&
                                           m.dp == cases[i].replicas * cases[i].shards &&
                                           coordinates(s, cases[i].ranks)
                                     : rc < 0;
        ok(good, "pp %d, %d replicas, %d shards, cp %d, tp %d on %d ranks: %s", s[0], s[1], s[2],
           s[3], s[4], cases[i].ranks, text);
    }
    wan_mesh m;
    const int s[WAN_AXES] = { 1, 0, 1, 4, 2 };
    ok(wan_mesh_new(&m, s, 0, 4) < 0 &&
           strstr(wan_err_text(),
                  "context 4 x tensor parallel 2 take a multiple of 8 ranks, but 4 were started"),
       "too few ranks: %s", wan_err_text());
}

/* Every group adds up the numbers of exactly the ranks that differ from this one in its axes alone. */
static int groups(wan_comm *c, const int size[WAN_AXES])
{
    static const unsigned axes[WAN_MESH_GROUPS] = { 1, 2, 4, 8, 16, 6, 14, 12, 24, 17, 31 };
    wan_mesh m, other;
    int good = wan_mesh_open(&m, c, size) == 0;
    for (int i = 0; i < WAN_MESH_GROUPS && good; i++) {
        int64_t sum = 1 << c->rank, want = 0, before = -1;
        good &= wan_group_all_reduce(m.group[i], NULL, &sum, 1, WAN_I64, WAN_SUM) == 0;
        for (int r = 0; r < c->size; r++) {
            int mine = wan_mesh_new(&other, size, r, c->size) == 0;
            for (int a = 0; a < WAN_AXES; a++)
                mine &= (axes[i] >> a & 1) || other.at[a] == m.at[a];
            want |= mine ? 1 << r : 0;
        }
        good &= sum == want && m.group[i]->size == __builtin_popcountll((unsigned long long)want);
        for (int r = 0; r < m.group[i]->size; r++) {
            good &= m.group[i]->member[r] > before; /* one machine: in the order of ranks */
            before = m.group[i]->member[r];
        }
        if (i < WAN_AXES)
            good &= m.group[i]->rank == m.at[i] && m.group[i]->size == m.size[i];
    }
    good &= m.group[WAN_DP]->rank == m.dp_rank && m.group[WAN_DP]->size == m.dp;
    wan_mesh_close(&m);
    return good;
}

int main(int argc, char **argv)
{
    wan_comm *c;
    int size[WAN_AXES];
    if (argc < 1 + WAN_AXES) {
        arithmetic();
        return tap_done();
    }
    for (int i = 0; i < WAN_AXES; i++)
        size[i] = atoi(argv[i + 1]);
    if (wan_comm_open(&c, "auto", 20, 60) < 0)
        return 1;
    int64_t bad = !groups(c, size), rank = c->rank;
    if (wan_group_all_reduce(wan_group_world(c), NULL, &bad, 1, WAN_I64, WAN_SUM) < 0)
        return 1;
    wan_comm_close(&c);
    if (rank != 0)
        return bad != 0;
    ok(bad == 0, "groups of the mesh: %s", bad ? wan_err_text() : "all");
    return tap_done();
}
