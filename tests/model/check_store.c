/* SPDX-License-Identifier: Apache-2.0
 *
 * check_store.c - a model shared out over tensor parallel ranks and shards: every element of every tensor
 * is somewhere once, where the flat vectors say it is; random weights are those of one rank; and
 * gradients that are zero, whatever lies in their memory.
 */
#include "lib/model/store.h"
#include "tests/tap.h"

enum { PARAMS = 9, SEED = 5 };

/* Odd extents, both cuts, heads of 3 rows that no number of ranks divides, an empty class in part 2. */
static int declare(wan_params *p)
{
    static const wan_param row[PARAMS] = {
        { .name = "e.w", .rank = 2, .shape = { 13, 7 }, .cut = -1, .gemm = 1 },
        { .name = "e.b", .rank = 1, .shape = { 13 }, .cut = -1 },
        { .name = "q",
          .rank = 2,
          .shape = { 21, 11 },
          .part = 1,
          .cut = 0,
          .unit = 3,
          .gemm = 1,
          .dense = 1 },
        { .name = "q.b", .rank = 1, .shape = { 21 }, .part = 1, .cut = 0, .unit = 3 },
        { .name = "o", .rank = 2, .shape = { 11, 21 }, .part = 1, .cut = 1, .unit = 3, .gemm = 1 },
        { .name = "deep",
          .rank = 3,
          .shape = { 4, 9, 5 },
          .part = 1,
          .cut = 1,
          .gemm = 1,
          .dense = 1 },
        { .name = "n", .rank = 1, .shape = { 300 }, .part = 1, .cut = -1 },
        { .name = "m", .rank = 3, .shape = { 1, 6, 11 }, .part = 2, .cut = -1 },
        { .name = "h", .rank = 1, .shape = { 1 }, .part = 2, .cut = -1 },
    };
    *p = (wan_params){ 0 };
    for (int i = 0; i < PARAMS; i++) {
        wan_param one = row[i];
        one.init = WAN_INIT_NORMAL;
        one.scale = 1;
        WAN_TRY(wan_params_add(p, &one));
    }
    return 0;
}

/* One rank's elements into whole[i], counted in seen[i]; -1: one lies where no piece can. */
static int add_rank(wan_dev *d, wan_slice slice, float *whole[PARAMS], int *seen[PARAMS])
{
    wan_params p;
    wan_store *s = NULL;
    int rc = declare(&p) < 0 || wan_store_new(&s, d, &p, &slice, WAN_REAL, 1) < 0 ||
                     wan_store_init(s, SEED) < 0
                 ? -1
                 : 0;
    for (int i = 0; i < PARAMS && rc == 0; i++) {
        const wan_piece q = wan_store_piece(s, i);
        const wan_param *v = &s->params.v[i];
        int64_t at, from, n;
        if (q.at < 0 || q.at + q.n > s->total || (v->cut < 0 && slice.rank))
            continue;
        for (int64_t k = 0; wan_store_run(v, &s->item[i], &q, k, &at, &from, &n); k++)
            for (int64_t j = 0; j < n; j++) {
                whole[i][at + j] = s->master[q.at + from + j];
                seen[i][at + j]++;
            }
    }
    wan_store_free(&s);
    return rc;
}

static void shared_out(wan_dev *d, int ranks, int shards)
{
    float *whole[PARAMS], *want[PARAMS];
    int *seen[PARAMS];
    wan_params p;
    int rc = declare(&p), once = 1, same = 1;
    for (int i = 0; i < PARAMS; i++) {
        size_t n = (size_t)p.v[i].count;
        whole[i] = calloc(n, sizeof **whole);
        want[i] = calloc(n, sizeof **want);
        seen[i] = calloc(n, sizeof **seen);
        wan_params_init(&p.v[i], SEED, 0, p.v[i].count, want[i]);
    }
    for (int r = 0; r < ranks; r++)
        for (int k = 0; k < shards; k++)
            rc |= add_rank(
                d, (wan_slice){ .rank = r, .ranks = ranks, .end = 3, .shard = k, .shards = shards },
                whole, seen);
    for (int i = 0; i < PARAMS; i++) {
        for (int64_t j = 0; j < p.v[i].count; j++) {
            once &= seen[i][j] == 1;
            same &= whole[i][j] == want[i][j];
        }
        free(whole[i]);
        free(want[i]);
        free(seen[i]);
    }
    wan_params_free(&p);
    ok(rc == 0 && once, "%d ranks, %d shards: every element once", ranks, shards);
    ok(same, "... with the value of one rank");
}

/* Elements of tensor i's gradient that are not x. */
static int64_t others(const wan_store *s, int i, float x)
{
    const wan_piece q = wan_store_piece(s, i);
    int64_t n = 0;
    for (int64_t k = 0; k < q.n; k++)
        n += s->grad[q.at + k] != x;
    return n;
}

static void fill(wan_store *s, int i, float x)
{
    const wan_piece q = wan_store_piece(s, i);
    for (int64_t k = 0; k < q.n; k++)
        s->grad[q.at + k] = x;
}

/* Of part 1 two tensors are dense: one is written, of the other nothing comes. */
static void gradients(wan_dev *d)
{
    wan_params p;
    wan_store *s = NULL;
    float got[4 * 9 * 5];
    int64_t wrong = 0;
    if (declare(&p) < 0 || wan_store_new(&s, d, &p, NULL, WAN_REAL, 1) < 0 ||
        wan_store_zero_grad(s) < 0) {
        ok(0, "a store: %s", wan_err_text());
        return;
    }
    const int q = wan_params_find(&s->params, "q"), deep = wan_params_find(&s->params, "deep");
    for (int i = 0; i < PARAMS; i++)
        fill(s, i, 7);
    ok(wan_store_get_grad(s, deep, got) == 0 && got[0] == 0 && got[179] == 0,
       "a gradient that is zero, whatever lies there");
    ok(wan_store_back_begin(s, 1) == 0 && s->unset[q] == 1 && s->unset[deep] == 1,
       "dense layers are to be overwritten");
    for (int i = 0; i < PARAMS; i++) /* cleared: the rest of this part */
        wrong += others(s, i, s->params.v[i].part != 1 || i == q || i == deep ? 7 : 0);
    ok(wrong == 0, "the rest of the part is cleared");
    fill(s, q, 3);
    s->unset[q] = 0;
    ok(wan_store_back_end(s, 1) == 0 && others(s, q, 3) == 0 && others(s, deep, 0) == 0 &&
           !s->unset[deep],
       "what nothing came to is cleared at the end");
    s->part[1].fresh = 0;
    ok(wan_store_back_begin(s, 1) == 0 && !s->unset[q] && others(s, q, 3) == 0,
       "the second time is added");
    ok(wan_store_settle_grad(s) == 0 && others(s, q, 3) == 0 && others(s, 0, 0) == 0 &&
           others(s, 1, 0) == 0 && others(s, 7, 0) == 0,
       "parts without a backward are cleared");
    wan_store_free(&s);
}

int main(void)
{
    wan_dev *d;
    if (wan_dev_open(&d, "ref", 0) < 0) {
        printf("Bail out! %s\n", wan_err_text());
        return 1;
    }
    for (int ranks = 1; ranks <= 4; ranks++)
        for (int shards = 1; shards <= 7; shards += 2)
            shared_out(d, ranks, shards);
    gradients(d);
    wan_dev_close(&d);
    return tap_done();
}
