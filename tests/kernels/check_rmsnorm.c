/* SPDX-License-Identifier: Apache-2.0
 * RMSNorm (+RoPE): provider against reference, rows in wider matrices, columns divided over ranks. */
#include "tests/kernels/compare.h"

static const double bound_f32 = 2e-6, bound_bf16 = 3e-3;

enum { POSITIONS = 40 };

/* One case: S tokens of D columns, heads of hd (0: no rotation); rows pad elements apart. */
typedef struct shape {
    int64_t S, D, hd, pad;
    wan_dtype t;
} shape;

static wan_rope rope_of[2];
static wan_rms rms_of[2];

/* The rotation of a case on both devices: axes as uneven as the head allows. */
static void set(const shape *c)
{
    for (int i = 0; i < 2; i++) {
        rms_of[i] = wan_rms_of(c->S, c->D, 1e-6);
        rms_of[i].ldx = c->D + c->pad;
        rms_of[i].ldy = c->D + 2 * c->pad;
        rms_of[i].lddx = c->D + 3 * c->pad;
    }
    if (!c->hd)
        return;
    const int64_t grid[3] = { POSITIONS, 3, 5 };
    int side = 2 * (int)(c->hd / 6), axis[3] = { (int)c->hd - 2 * side, side, side };
    int32_t *pos = (int32_t *)malloc(3 * (size_t)c->S * sizeof *pos);
    wan_real *table = (wan_real *)malloc(POSITIONS * (size_t)c->hd * sizeof *table);
    wan_rope_positions(pos, grid, 2, c->S);
    wan_rope_table(table, POSITIONS, axis, 100);
    vec *p = vec_of(WAN_I32, 3 * (size_t)c->S, pos);
    vec *t = vec_of(WAN_REAL, POSITIONS * (size_t)c->hd, table);
    for (int i = 0; i < 2; i++) {
        rope_of[i] = (wan_rope){ p->b[i].p, vec_p(t, i), POSITIONS, { axis[0], axis[1], axis[2] } };
        rms_of[i].rope = &rope_of[i];
    }
    free(pos);
    free(table);
}

static size_t room(int64_t S, int64_t ld, int64_t D)
{
    return (size_t)((S - 1) * ld + D);
}

#define RMS (&rms_of[i])

static void run(shape c)
{
    set(&c);
    size_t S = (size_t)c.S, D = (size_t)c.D;
    double bound = c.t == WAN_BF16 ? bound_bf16 : bound_f32;
    vec *x = vec_new(c.t, room(c.S, rms_of[0].ldx, c.D), 0.1, 2);
    vec *y = vec_new(c.t, room(c.S, rms_of[0].ldy, c.D), 7, 1);
    vec *dy = vec_new(c.t, room(c.S, rms_of[0].ldy, c.D), 0, 1);
    vec *dx = vec_new(c.t, room(c.S, rms_of[0].lddx, c.D), 7, 1), *r = vec_new(WAN_REAL, S, 7, 1);
    vec *w = vec_new(WAN_REAL, D, 1, 0.3), *dw = vec_new(WAN_REAL, D, 0, 1);
    CMP_BOTH(rmsnorm_forward(d, RMS, y->b[i], vec_p(r, i), x->b[i], vec_p(w, i)));
    vec_ok(y, bound, "forward S=%lld D=%lld rope %lld pad %lld %s", (long long)c.S, (long long)c.D,
           (long long)c.hd, (long long)c.pad, CMP_NAME(c.t));
    vec_ok(r, bound_f32, "  rstd");
    CMP_BOTH(rmsnorm_backward(d, RMS, dx->b[i], vec_p(dw, i), dy->b[i], x->b[i], vec_p(r, i),
                              vec_p(w, i)));
    vec_ok(dx, bound, "  dx");
    vec_ok(dw, bound_f32, "  dw");
    for (int i = 0; i < 2; i++)
        rms_of[i].lddx = rms_of[i].ldy;
    CMP_BOTH(rmsnorm_backward(d, RMS, dy->b[i], vec_p(dw, i), dy->b[i], x->b[i], vec_p(r, i),
                              vec_p(w, i)));
    vec_ok(dy, bound, "  dx over dy");
    cmp_reset();
}

/* 1 when v and u hold the same bytes on the device under test */
static int same(const vec *v, const vec *u)
{
    int intact = 1;
    float *a = vec_read(v, 1, &intact), *b = vec_read(u, 1, &intact);
    int eq = intact && v->n == u->n && memcmp(a, b, v->n * sizeof *a) == 0;
    free(a);
    free(b);
    return eq;
}

/* The halves on one rank are the fused op, and rstd may be given. */
static void halves(shape c)
{
    set(&c);
    size_t N = (size_t)(c.S * c.D), S = (size_t)c.S, D = (size_t)c.D;
    vec *x = vec_new(c.t, N, 0.1, 2), *dy = vec_new(c.t, N, 0, 1),
        *w = vec_new(WAN_REAL, D, 1, 0.3);
    vec *y = vec_new(c.t, N, 7, 1), *y2 = vec_new(c.t, N, 8, 1), *y3 = vec_new(c.t, N, 9, 1);
    vec *dx = vec_new(c.t, N, 7, 1), *dx2 = vec_new(c.t, N, 8, 1);
    vec *r = vec_new(WAN_REAL, S, 7, 1), *r2 = vec_new(WAN_REAL, S, 7, 1);
    vec *sum = vec_new(WAN_REAL, S, 7, 1), *dot = vec_new(WAN_REAL, S, 7, 1);
    vec *dw = vec_new(WAN_REAL, D, 0, 0), *dw2 = vec_new(WAN_REAL, D, 0, 0);
    CMP_BOTH(rmsnorm_forward(d, RMS, y->b[i], vec_p(r, i), x->b[i], vec_p(w, i)));
    CMP_BOTH(rms_sumsq(d, RMS, vec_p(sum, i), x->b[i]));
    CMP_BOTH(rms_apply(d, RMS, y2->b[i], vec_p(r2, i), vec_p(sum, i), x->b[i], vec_p(w, i)));
    CMP_BOTH(rms_apply(d, RMS, y3->b[i], vec_p(r2, i), NULL, x->b[i], vec_p(w, i)));
    ok(same(y, y2) && same(y, y3) && same(r, r2), "sumsq + apply = forward D=%lld %s",
       (long long)c.D, CMP_NAME(c.t));
    CMP_BOTH(rmsnorm_backward(d, RMS, dx->b[i], vec_p(dw, i), dy->b[i], x->b[i], vec_p(r, i),
                              vec_p(w, i)));
    CMP_BOTH(
        rms_dot(d, RMS, vec_p(dot, i), vec_p(dw2, i), dy->b[i], x->b[i], vec_p(r, i), vec_p(w, i)));
    CMP_BOTH(rms_dx(d, RMS, dx2->b[i], vec_p(dot, i), dy->b[i], x->b[i], vec_p(r, i), vec_p(w, i)));
    ok(same(dx, dx2) && same(dw, dw2), "  dot + dx = backward");
    vec_ok(sum, bound_f32, "  sums against the reference");
    vec_ok(dot, 1e-4, "  dots against the reference");
    cmp_reset();
}

/* Host arithmetic on [S]: what ranks do between the halves. */
static void add_up(wan_real *out[2], size_t S)
{
    float *v[2];
    for (int k = 0; k < 2; k++) {
        v[k] = (float *)malloc(S * sizeof(float));
        cmp_must(wan_dev_read(cmp_dev[1], v[k], out[k], S * sizeof(float)));
    }
    for (size_t s = 0; s < S; s++)
        v[0][s] = v[1][s] = v[0][s] + v[1][s];
    for (int k = 0; k < 2; k++) {
        cmp_must(wan_dev_write(cmp_dev[1], out[k], v[k], S * sizeof(float)));
        cmp_must(wan_dev_sync(cmp_dev[1]));
        free(v[k]);
    }
}

/* Two ranks that hold 2 and 3 of 5 heads, against the reference of the whole. */
static void ranks(shape c)
{
    set(&c);
    size_t N = (size_t)(c.S * c.D), S = (size_t)c.S, D = (size_t)c.D;
    double bound = c.t == WAN_BF16 ? bound_bf16 : bound_f32;
    vec *x = vec_new(c.t, N, 0.1, 2), *dy = vec_new(c.t, N, 0, 1),
        *w = vec_new(WAN_REAL, D, 1, 0.3);
    vec *y = vec_new(c.t, N, 7, 1), *dx = vec_new(c.t, N, 7, 1), *dw = vec_new(WAN_REAL, D, 0, 1);
    vec *r = vec_new(WAN_REAL, S, 7, 1);
    vec *sum[2] = { vec_new(WAN_REAL, S, 7, 1), vec_new(WAN_REAL, S, 7, 1) };
    wan_real *sums[2] = { vec_p(sum[0], 1), vec_p(sum[1], 1) };
    const wan_ops *o = cmp_dev[1]->ops;
    wan_dev *d = cmp_dev[1];
    wan_rms part[2] = { rms_of[1], rms_of[1] };
    int64_t at[2] = { 0, 2 * c.D / 5 };
    part[0].D = at[1];
    part[1].D = c.D - at[1];
    cmp_must(cmp_dev[0]->ops->rmsnorm_forward(cmp_dev[0], &rms_of[0], y->b[0], vec_p(r, 0), x->b[0],
                                              vec_p(w, 0)));
    cmp_must(cmp_dev[0]->ops->rmsnorm_backward(cmp_dev[0], &rms_of[0], dx->b[0], vec_p(dw, 0),
                                               dy->b[0], x->b[0], vec_p(r, 0), vec_p(w, 0)));
#define AT(v) wan_buf_at((v)->b[1], at[k])
#define EACH for (int k = 0; k < 2; k++)
    EACH cmp_must(o->rms_sumsq(d, &part[k], sums[k], AT(x)));
    add_up(sums, S);
    EACH cmp_must(
        o->rms_apply(d, &part[k], AT(y), vec_p(r, 1), sums[k], AT(x), vec_p(w, 1) + at[k]));
    EACH cmp_must(o->rms_dot(d, &part[k], sums[k], vec_p(dw, 1) + at[k], AT(dy), AT(x), vec_p(r, 1),
                             vec_p(w, 1) + at[k]));
    add_up(sums, S);
    EACH cmp_must(
        o->rms_dx(d, &part[k], AT(dx), sums[k], AT(dy), AT(x), vec_p(r, 1), vec_p(w, 1) + at[k]));
    vec_ok(y, bound, "two ranks D=%lld %s", (long long)c.D, CMP_NAME(c.t));
    vec_ok(r, bound_f32, "  rstd");
    vec_ok(dx, bound, "  dx");
    vec_ok(dw, bound_f32, "  dw");
    cmp_reset();
}

/* What does not fit is refused. */
static void refused(void)
{
    const shape c = { 4, 12, 6, 0, WAN_REAL };
    set(&c);
    vec *x = vec_new(c.t, 48, 0, 1), *w = vec_new(WAN_REAL, 12, 1, 0),
        *r = vec_new(WAN_REAL, 4, 0, 1);
    const wan_ops *o = cmp_dev[1]->ops;
    for (int k = 0; k < 4; k++) {
        wan_rope rope = rope_of[1];
        wan_rms a = rms_of[1];
        a.rope = &rope;
        rope.axis[0] += k == 0 ? 1 : k == 1 ? 2 : 0;
        rope.P = k == 2 ? 0 : rope.P;
        a.width = k == 3 ? 24 : a.width;
        ok(o->rmsnorm_forward(cmp_dev[1], &a, x->b[1], vec_p(r, 1), x->b[1], vec_p(w, 1)) < 0,
           "refused: %s", wan_err_text());
    }
    cmp_reset();
}

int main(void)
{
    if (!cmp_open("rmsnorm"))
        return tap_done();
    for (int t = 0; t < 2; t++) {
        wan_dtype y = cmp_types[t];
        run((shape){ 1, 2, 2, 0, y });
        run((shape){ 3, 63, 0, 0, y });
        run((shape){ 65, 65, 0, 3, y });
        run((shape){ 63, 36, 12, 5, y });
        run((shape){ 65, 256, 64, 8, y });
        run((shape){ 33, 1536, 128, 1536, y });
        run((shape){ 67, 192, 96, 0, y });
        run((shape){ 1, 64, 0, 0, y });
        run((shape){ 400, 260, 20, 0, y });
        halves((shape){ 65, 260, 20, 0, y });
        halves((shape){ 33, 1536, 128, 0, y });
        ranks((shape){ 65, 260, 52, 0, y });
        ranks((shape){ 33, 640, 128, 0, y });
    }
    refused();
    return cmp_done();
}
