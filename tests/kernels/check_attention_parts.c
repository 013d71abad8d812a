/* SPDX-License-Identifier: Apache-2.0
 * Attention over keys in parts, as the ranks of a ring hold them, against the reference over all
 * keys: forward merged by log-sum-exp, backward with the whole's o and lse. */
#include "tests/kernels/compare.h"

static const double bound_f32 = 2e-5, bound_bf16 = 6e-3, bound_bf16_grad = 8e-3;

enum { PARTS = 3 };

/* Part p of sample i has its keys cut[i][p] .. cut[i][p+1]. */
typedef struct ring {
    int n, H;
    int64_t hd, lq[4], cut[4][PARTS + 1];
    int biased;
} ring;

/* The whole, and what the device under test has of part p. */
typedef struct data {
    vec *q, *k, *v, *bias, *g, *o, *lse, *dq, *dk, *dv;
    vec *kp[PARTS], *vp[PARTS], *biasp[PARTS];
    wan_attn whole, part[PARTS];
} data;

/* Rows of W elements of part p <-> their place among all keys; to: into the part */
static void rows(const ring *s, int p, size_t row, char *part, char *all, int to)
{
    for (int i = 0; i < s->n; i++) {
        size_t bytes = (size_t)(s->cut[i][p + 1] - s->cut[i][p]) * row;
        char *at = all + (size_t)s->cut[i][p] * row;
        memcpy(to ? part : at, to ? at : part, bytes);
        part += bytes;
        all += (size_t)s->cut[i][PARTS] * row;
    }
}

static char *host_of(const vec *v)
{
    size_t bytes = v->n * wan_dtype_size(v->t);
    char *host = (char *)malloc(bytes);
    cmp_must(wan_dev_read(cmp_dev[1], host, v->b[1].p, bytes));
    return host;
}

/* A vector of the rows of part p of v. */
static vec *part_of(const ring *s, int p, const vec *v, size_t W)
{
    size_t n = 0, row = W * wan_dtype_size(v->t);
    for (int i = 0; i < s->n; i++)
        n += (size_t)(s->cut[i][p + 1] - s->cut[i][p]);
    char *all = host_of(v), *part = (char *)malloc(n * row);
    rows(s, p, row, part, all, 1);
    vec *r = vec_of(v->t, n * W, part);
    free(all);
    free(part);
    return r;
}

/* The rows of part p into their place in v, on the device under test. */
static void part_back(const ring *s, int p, const vec *part, const vec *v, size_t W)
{
    char *all = host_of(v), *host = host_of(part);
    rows(s, p, W * wan_dtype_size(v->t), host, all, 0);
    cmp_must(wan_dev_write(cmp_dev[1], v->b[1].p, all, v->n * wan_dtype_size(v->t)));
    cmp_must(wan_dev_sync(cmp_dev[1]));
    free(all);
    free(host);
}

static wan_attn attn_of(const ring *s, const wan_pack *pq, const wan_pack *pk)
{
    int64_t W = s->H * s->hd;
    return (wan_attn){ pq, pk, s->H, s->hd, 1 / sqrt((double)s->hd), W, W, W, W, NULL };
}

static void make(data *c, const ring *s, wan_dtype t)
{
    int64_t len[4], W = s->H * s->hd;
    for (int i = 0; i < s->n; i++)
        len[i] = s->cut[i][PARTS];
    const wan_pack *pq = cmp_pack(s->lq, s->n, 0), *pq1 = cmp_pack(s->lq, s->n, 1);
    const wan_pack *pk = cmp_pack(len, s->n, 0);
    size_t Q = (size_t)(pq->S * W), K = (size_t)(pk->S * W), L = (size_t)(pq->S * s->H);
    *c = (data){ .q = vec_new(t, Q, 0, 2),
                 .k = vec_new(t, K, 0, 2),
                 .v = vec_new(t, K, 0, 1),
                 .bias = vec_new(WAN_REAL, (size_t)pk->S, 0, 2),
                 .g = vec_new(t, Q, 0, 1),
                 .o = vec_new(t, Q, 7, 1),
                 .lse = vec_new(WAN_REAL, L, 7, 1),
                 .dq = vec_new(WAN_REAL, Q, 0, 0),
                 .dk = vec_new(t, K, 7, 1),
                 .dv = vec_new(t, K, 7, 1) };
    c->whole = attn_of(s, pq, pk);
    c->whole.kbias = s->biased ? vec_p(c->bias, 0) : NULL;
    for (int p = 0; p < PARTS; p++) {
        for (int i = 0; i < s->n; i++)
            len[i] = s->cut[i][p + 1] - s->cut[i][p];
        cmp_pack(len, s->n, 0);
        c->part[p] = attn_of(s, pq1, cmp_pack(len, s->n, 1));
        c->kp[p] = part_of(s, p, c->k, (size_t)W);
        c->vp[p] = part_of(s, p, c->v, (size_t)W);
        c->biasp[p] = part_of(s, p, c->bias, 1);
        c->part[p].kbias = s->biased ? vec_p(c->biasp[p], 1) : NULL;
    }
}

/* The reference, over all keys at once. */
static void whole(data *c)
{
    wan_dev *d = cmp_dev[0];
    const wan_ops *o = d->ops;
    vec *dq = vec_new(c->q->t, c->q->n, 7, 1);
    cmp_must(o->attention_forward(d, &c->whole, c->o->b[0], vec_p(c->lse, 0), c->q->b[0],
                                  c->k->b[0], c->v->b[0]));
    cmp_must(o->attention_backward(d, &c->whole, dq->b[0], c->dk->b[0], c->dv->b[0], c->g->b[0],
                                   c->o->b[0], vec_p(c->lse, 0), c->q->b[0], c->k->b[0],
                                   c->v->b[0]));
    cmp_must(o->axpy(d, c->dq->b[0], 1, dq->b[0], (int64_t)dq->n));
}

/* Parts one after the other; nothing seen at first. */
static void forward(data *c, int order)
{
    wan_dev *d = cmp_dev[1];
    const wan_ops *o = d->ops;
    vec *sum = vec_new(WAN_REAL, c->o->n, 0, 1), *o2 = vec_new(c->o->t, c->o->n, 7, 1);
    vec *lse2 = vec_new(WAN_REAL, c->lse->n, 7, 1);
    cmp_must(o->fill(d, c->lse->b[1], -INFINITY, (int64_t)c->lse->n));
    for (int k = 0; k < PARTS; k++) {
        int p = order ? PARTS - 1 - k : k;
        cmp_must(o->attention_forward(d, &c->part[p], o2->b[1], vec_p(lse2, 1), c->q->b[1],
                                      c->kp[p]->b[1], c->vp[p]->b[1]));
        cmp_must(o->attention_merge(d, &c->part[p], sum->b[1], vec_p(c->lse, 1), o2->b[1],
                                    vec_p(lse2, 1)));
    }
    cmp_must(o->fill(d, lse2->b[1], -INFINITY, (int64_t)lse2->n)); /* and a part without keys */
    cmp_must(
        o->attention_merge(d, &c->part[0], sum->b[1], vec_p(c->lse, 1), o2->b[1], vec_p(lse2, 1)));
    cmp_must(o->cast(d, c->o->b[1], sum->b[1], (int64_t)sum->n));
}

static void backward(const ring *s, data *c)
{
    wan_dev *d = cmp_dev[1];
    const wan_ops *o = d->ops;
    vec *share = vec_new(c->q->t, c->q->n, 7, 1);
    for (int p = 0; p < PARTS; p++) {
        vec *dk = vec_new(c->k->t, c->kp[p]->n, 7, 1), *dv = vec_new(c->k->t, c->kp[p]->n, 7, 1);
        cmp_must(o->attention_backward(d, &c->part[p], share->b[1], dk->b[1], dv->b[1], c->g->b[1],
                                       c->o->b[1], vec_p(c->lse, 1), c->q->b[1], c->kp[p]->b[1],
                                       c->vp[p]->b[1]));
        cmp_must(o->axpy(d, c->dq->b[1], 1, share->b[1], (int64_t)share->n));
        part_back(s, p, dk, c->dk, (size_t)(s->H * s->hd));
        part_back(s, p, dv, c->dv, (size_t)(s->H * s->hd));
    }
}

static void run(const ring *s, wan_dtype t)
{
    double bound = t == WAN_BF16 ? bound_bf16 : bound_f32;
    double grad = t == WAN_BF16 ? bound_bf16_grad : bound_f32;
    for (int order = 0; order < 2; order++) {
        data c;
        make(&c, s, t);
        whole(&c);
        forward(&c, order);
        vec_ok(c.o, bound, "n=%d H=%d hd=%lld bias %d %s, %s part first", s->n, s->H,
               (long long)s->hd, s->biased, CMP_NAME(t), order ? "last" : "first");
        vec_ok(c.lse, bound_f32, "  lse");
        if (order == 0) {
            backward(s, &c);
            vec_ok(c.dq, grad, "  dq");
            vec_ok(c.dk, grad, "  dk");
            vec_ok(c.dv, grad, "  dv");
        }
        cmp_reset();
    }
}

/* Both operands of a merge in every pair of types; rows in a wider matrix. */
static void types(int H, int64_t hd, int pad)
{
    const int64_t len[2] = { 17, 46 };
    for (int k = 0; k < 4; k++) {
        const wan_pack *p[2] = { cmp_pack(len, 2, 0), cmp_pack(len, 2, 1) };
        int64_t ld = H * hd + pad, S = p[0]->S;
        wan_dtype a = cmp_types[k % 2], b = cmp_types[k / 2];
        vec *o1 = vec_new(a, (size_t)((S - 1) * ld + H * hd), 0, 1);
        vec *o2 = vec_new(b, (size_t)((S - 1) * ld + H * hd), 0, 1);
        vec *lse = vec_new(WAN_REAL, (size_t)(S * H), 3, 2);
        vec *lse2 = vec_new(WAN_REAL, (size_t)(S * H), 3, 2);
        wan_attn at[2];
        for (int i = 0; i < 2; i++)
            at[i] = (wan_attn){ p[i], p[i], H, hd, 1, ld, ld, ld, ld, NULL };
        CMP_BOTH(attention_merge(d, &at[i], o1->b[i], vec_p(lse, i), o2->b[i], vec_p(lse2, i)));
        vec_ok(o1, a == WAN_BF16 ? bound_bf16 : bound_f32, "merge H=%d hd=%lld pad %d %s <- %s", H,
               (long long)hd, pad, CMP_NAME(a), CMP_NAME(b));
        vec_ok(lse, bound_f32, "  lse");
        cmp_reset();
    }
}

int main(void)
{
    static const ring rings[] = {
        { 1, 2, 64, { 48 }, { { 0, 7, 40, 48 } }, 0 },
        { 2, 3, 12, { 63, 5 }, { { 0, 1, 30, 65 }, { 0, 2, 3, 17 } }, 1 },
        { 3, 2, 128, { 33, 1, 70 }, { { 0, 64, 99, 131 }, { 0, 1, 2, 3 }, { 0, 5, 200, 260 } }, 0 },
        { 1, 1, 20, { 100 }, { { 0, 300, 301, 450 } }, 1 },
    };
    if (!cmp_open("attention_parts"))
        return tap_done();
    for (size_t s = 0; s < sizeof rings / sizeof *rings; s++)
        for (int t = 0; t < 2; t++)
            run(&rings[s], cmp_types[t]);
    types(3, 20, 0);
    types(2, 64, 8);
    types(1, 5, 3);
    return cmp_done();
}
