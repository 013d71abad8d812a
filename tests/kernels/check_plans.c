/* SPDX-License-Identifier: Apache-2.0
 * The store of plans against a list that is searched from its start; and products of thousands of
 * shapes, as packs bring them. */
#include "kernels/plans.h"

#include "tests/kernels/compare.h"

enum { MOST = 64, KEYS = 5000, STEPS = 200000 };

typedef struct shape {
    int64_t m, n;
    int32_t t, zero;
} shape;

typedef struct plan {
    shape made_for;
    int32_t serial, alive;
    char pad[21];
} plan;

static int64_t dropped, wrong;

static void drop(void *value)
{
    plan *p = (plan *)value;
    wrong += p->alive != 1;
    p->alive = 2;
    dropped++;
}

static shape key_of(uint64_t k)
{
    return (shape){ (int64_t)(k % 1000) * 128, (int64_t)(k / 1000) << 40, (int32_t)(k % 3), 0 };
}

/* Newest first. */
static struct {
    uint64_t key[MOST];
    int32_t serial[MOST];
    int n;
} list;

/* The serial number of key, which moves to the front; 0: not there. */
static int32_t listed(uint64_t key, int32_t fresh)
{
    int i = 0;
    while (i < list.n && list.key[i] != key)
        i++;
    int32_t s = i < list.n ? list.serial[i] : 0;
    if (i == list.n)
        list.n += list.n < MOST;
    if (i >= list.n)
        i = list.n - 1;
    memmove(list.key + 1, list.key, (size_t)i * sizeof *list.key);
    memmove(list.serial + 1, list.serial, (size_t)i * sizeof *list.serial);
    list.key[0] = key;
    list.serial[0] = s ? s : fresh;
    return s;
}

static void unlist(uint64_t key)
{
    for (int i = 0; i < list.n; i++)
        if (list.key[i] == key) {
            list.n--;
            memmove(list.key + i, list.key + i + 1, (size_t)(list.n - i) * sizeof *list.key);
            memmove(list.serial + i, list.serial + i + 1, (size_t)(list.n - i) * sizeof(int32_t));
        }
}

/* One request: found where the list has it, made where not. */
static void ask(wan_plans *c, uint64_t key, int32_t step)
{
    shape k = key_of(key);
    plan *p = (plan *)wan_plans_find(c, &k);
    wrong += (p ? p->serial : 0) != listed(key, step);
    if (p) {
        wrong += memcmp(&p->made_for, &k, sizeof k) != 0 || p->alive != 1;
        return;
    }
    p = (plan *)wan_plans_add(c, &k);
    if (!p)
        abort();
    wrong += p->serial != 0 || p->alive != 0 || p->pad[20] != 0;
    *p = (plan){ .made_for = k, .serial = step, .alive = 1 };
}

static void against_a_list(void)
{
    wan_plans c = WAN_PLANS(sizeof(shape), sizeof(plan), MOST, drop);
    wan_rng r = wan_rng_stream(1, WAN_RNG_TEST, 2, 3);
    int64_t removed = 0;
    for (int32_t s = 1; s <= STEPS; s++) {
        /* mostly few keys, now and then any */
        uint64_t any = wan_rng_below(&r, 3 * (uint64_t)s, 4) == 0 ? KEYS : 80;
        uint64_t key = wan_rng_below(&r, 3 * (uint64_t)s + 1, any);
        if (wan_rng_below(&r, 3 * (uint64_t)s + 2, 50) == 0) {
            shape k = key_of(key);
            removed += wan_plans_find(&c, &k) != NULL;
            wan_plans_remove(&c, &k);
            unlist(key);
        } else {
            ask(&c, key, s);
        }
        wrong += c.used != list.n || c.used > MOST;
    }
    ok(wrong == 0 && removed > 100, "%d requests for %d shapes, %lld removed: as the list has it",
       STEPS, KEYS, (long long)removed);
    int64_t before = dropped, left = c.used;
    wan_plans_clear(&c);
    ok(dropped == before + left && c.used == 0, "all are dropped once");
    ask(&c, 7, 1);
    ok(c.used == 1, "and it starts anew");
    wan_plans_clear(&c);
}

/* y [M, N] = x w^T for more shapes than are kept, then for the first again. */
static void shapes(wan_dtype t)
{
    enum { FROM = 1, TO = 1200, N = 8, K = 16 };
    vec *x = vec_new(t, (size_t)TO * K, 0, 1), *w = vec_new(t, (size_t)N * K, 0, 1);
    vec *y = vec_new(t, (size_t)TO * N, 7, 1);
    wan_buf none = WAN_BUF_NONE;
    for (int64_t m = FROM; m < TO; m++)
        cmp_must(cmp_dev[1]->ops->linear_forward(cmp_dev[1], y->b[1], none, x->b[1], w->b[1], NULL,
                                                 m, N, K, WAN_ACT_NONE));
    CMP_BOTH(linear_forward(d, y->b[i], none, x->b[i], w->b[i], NULL, FROM, N, K, WAN_ACT_NONE));
    CMP_BOTH(linear_forward(d, y->b[i], none, x->b[i], w->b[i], NULL, TO, N, K, WAN_ACT_NONE));
    vec_ok(y, t == WAN_BF16 ? 6e-3 : 1e-5, "%s: products of %d shapes", CMP_NAME(t), TO - FROM);
    cmp_reset();
}

int main(void)
{
    against_a_list();
    if (!cmp_open("plans"))
        return tap_done();
    shapes(WAN_BF16);
    shapes(WAN_REAL);
    return cmp_done();
}
