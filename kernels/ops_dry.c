/* SPDX-License-Identifier: Apache-2.0
 *
 * ops_dry.c - the ops of the device that computes nothing: what each would do, counted.
 */
#include "kernels/device_dry.h"
#include "kernels/ops.h"
#include "kernels/plans.h"
#include "kernels/space.h"

/* an op's parameters are its type's, though sizes are all that is looked at */
#pragma GCC diagnostic ignored "-Wunused-parameter"

#define REAL ((double)sizeof(wan_real))

static double size(wan_buf b)
{
    return (double)wan_dtype_size(b.t);
}

/* Where op's calls are counted; the last place takes what there is no room for. */
static wan_dry_op *place(wan_dry *y, const char *op)
{
    int i = 0;
    while (i < y->kinds && y->op[i].name != op)
        i++;
    if (i == y->kinds && i < WAN_DRY_OPS)
        y->op[y->kinds++] = (wan_dry_op){ .name = op };
    return &y->op[i < WAN_DRY_OPS ? i : WAN_DRY_OPS - 1];
}

/* The longer of flops at their rate and bytes at the memory's. */
static int spend(wan_dry *y, const char *op, double flops, double rate, double bytes)
{
    double one = rate > 0 ? flops / rate : 0;
    double other = y->rates.memory > 0 ? bytes / y->rates.memory : 0;
    double seconds = one > other ? one : other;
    wan_dry_op *p = place(y, op);
    p->calls++;
    p->flops += flops;
    p->bytes += bytes;
    p->seconds += seconds;
    y->moved += bytes;
    y->now += seconds;
    y->computing += seconds;
    y->ops++;
    return 0;
}

static int pass_as(wan_dev *d, const char *op, double bytes)
{
    return spend(wan_device_dry_of(d), op, 0, 0, bytes);
}

static int product_at(wan_dev *d, const char *op, double flops, double rate, double bytes)
{
    wan_dry *y = wan_device_dry_of(d);
    y->products += flops;
    return spend(y, op, flops, rate, bytes);
}

static double rate8(wan_dev *d)
{
    const wan_dry_rates *r = &wan_device_dry_of(d)->rates;
    return r->products8 > 0 ? r->products8 : r->products;
}

#define pass(d, bytes) pass_as(d, __func__, bytes)
#define product(d, flops, bytes)                                                                   \
    product_at(d, __func__, flops, wan_device_dry_of(d)->rates.products, bytes)
#define product8(d, flops, bytes) product_at(d, __func__, flops, rate8(d), bytes)

/* Columns of all pairs of a query and a key that meet. */
static double pairs(const wan_attn *a)
{
    double sum = 0;
    for (int i = 0; i < a->pq->n; i++)
        sum += (double)(a->pq->cu_host[i + 1] - a->pq->cu_host[i]) *
               (double)(a->pk->cu_host[i + 1] - a->pk->cu_host[i]);
    return sum * a->H * (double)a->hd;
}

/* Bytes of so many for each element of the queries and of the keys. */
static double rows(const wan_attn *a, double q, double k)
{
    return (q * (double)a->pq->S + k * (double)a->pk->S) * a->H * (double)a->hd;
}

/* `sums` column sums of chunks of rows, written and added up. */
static double partial(double sums, int64_t S, int64_t D)
{
    return 2 * sums * REAL * (double)S / WAN_SPACE_SEAM * (double)D;
}

/* Whether cuBLASLt takes GELU, its derivative, or a bias gradient along with the product. */
static int along(wan_buf y, wan_buf pre, enum wan_act act, int64_t row)
{
    return act == WAN_ACT_GELU_TANH && y.t == WAN_BF16 && (!pre.p || pre.t == WAN_BF16) &&
           row % 8 == 0;
}

static int bf16(wan_buf a, wan_buf b)
{
    return a.t == WAN_BF16 && b.t == WAN_BF16;
}

/* Else an activation is a pass of its own over what the product has written. */
static double act_again(wan_buf y, wan_buf pre, enum wan_act act, double n)
{
    return pre.p ? size(pre) * n : act == WAN_ACT_NONE ? 0 : 2 * size(y) * n;
}

static int dry_linear_forward(wan_dev *d, wan_buf y, wan_buf pre, wan_buf x, wan_buf w,
                              const wan_real *b, int64_t M, int64_t N, int64_t K, enum wan_act act)
{
    return product(
        d, 2.0 * M * N * K,
        size(y) * M * N + (pre.p ? size(pre) * M * N : 0) + size(x) * M * K + size(w) * N * K +
            (bf16(x, w) && along(y, pre, act, N) ? 0 : act_again(y, pre, act, (double)M * N)));
}

static int dry_linear_dgrad(wan_dev *d, wan_buf dx, wan_buf dy, wan_buf w, int64_t M, int64_t N,
                            int64_t K, int accumulate)
{
    return product(d, 2.0 * M * N * K,
                   (1.0 + !!accumulate) * size(dx) * M * K + size(dy) * M * N + size(w) * N * K);
}

static int dry_linear_dgrad_act(wan_dev *d, wan_buf dx, wan_buf dy, wan_buf w, wan_buf z, int64_t M,
                                int64_t N, int64_t K, enum wan_act act)
{
    const int again = !bf16(dy, w) || !along(dx, z, act, K);
    return product(d, 2.0 * M * N * K,
                   ((1.0 + 2 * again) * size(dx) + size(z)) * M * K + size(dy) * M * N +
                       size(w) * N * K);
}

static int dry_linear_wgrad(wan_dev *d, wan_real *dw, wan_real *db, wan_buf dy, wan_buf x,
                            int64_t M, int64_t N, int64_t K, int accumulate)
{
    return product(d, 2.0 * M * N * K,
                   (1.0 + !!accumulate) * REAL * N * K +
                       (db && !(bf16(dy, x) && K % 8 == 0) ? 2 : 1) * size(dy) * M * N +
                       size(x) * M * K);
}

static int dry_round8(wan_dev *d, wan_buf y, wan_buf x, int64_t n, enum wan_eight to)
{
    return pass(d, (size(y) + 2 * size(x)) * n);
}

static void forget(void *value)
{
    (void)value;
}

/* Bytes of rounding w into so many copies: where weights are still (wan_dev_still) all that are asked for are made, once. */
static double rounded(wan_dev *d, wan_buf w, int64_t N, int64_t K, int copies)
{
    static const wan_plans none = WAN_PLANS(4 * sizeof(int64_t), sizeof(int64_t), 4096, forget);
    wan_dry *y = wan_device_dry_of(d);
    const int64_t key[4] = { (int64_t)(intptr_t)w.p, N, K, w.t };
    const double once = (double)(N * K) * (2 * size(w) + (!d->still          ? copies
                                                          : d->still_forward ? 1
                                                                             : 2));
    if (!d->still)
        return once;
    if (!y->rounded && (y->rounded = malloc(sizeof none)))
        *y->rounded = none;
    int64_t *at = y->rounded ? wan_plans_find(y->rounded, key) : NULL;
    if (at && *at == d->still)
        return 0;
    if (!at && y->rounded)
        at = wan_plans_add(y->rounded, key);
    if (at)
        *at = d->still;
    return once;
}

/* Twice read for each tensor to round, and codes of a byte written, once more turned over for a product that
 * needs them so. */
static int dry_linear8_forward(wan_dev *d, wan_buf y, wan_buf pre, wan_buf x, wan_buf w,
                               const wan_real *b, int64_t M, int64_t N, int64_t K, enum wan_act act)
{
    WAN_TRY(pass(d, (2 * size(x) + 1.0) * M * K + rounded(d, w, N, K, 1)));
    return product8(d, 2.0 * M * N * K,
                    size(y) * M * N + (pre.p ? size(pre) * M * N : 0) + 1.0 * (M + N) * K +
                        (along(y, pre, act, N) ? 0 : act_again(y, pre, act, (double)M * N)));
}

static int dry_linear8_backward(wan_dev *d, wan_buf dx, wan_real *dw, wan_real *db, wan_buf dy,
                                wan_buf z, enum wan_act act, wan_buf x, wan_buf w, int64_t M,
                                int64_t N, int64_t K, int add)
{
    WAN_TRY(pass(d, (2.0 * (size(dy) + (z.p ? size(z) : 0)) + !!dx.p + !!dw) * M * N));
    if (dw) {
        WAN_TRY(pass(d, (2 * size(x) + 1.0) * M * K));
        WAN_TRY(product8(d, 2.0 * M * N * K, 2 * REAL * N * K + 1.0 * M * (N + K)));
    }
    if (!dx.p)
        return 0;
    WAN_TRY(pass(d, rounded(d, w, N, K, 1)));
    return product8(d, 2.0 * M * N * K, (1.0 + !!add) * size(dx) * M * K + 1.0 * N * (M + K));
}

static int dry_act_forward(wan_dev *d, wan_buf y, wan_buf x, int64_t n, enum wan_act act)
{
    return pass(d, (size(y) + size(x)) * n);
}

static int dry_act_backward(wan_dev *d, wan_buf dx, wan_buf dy, wan_buf x, int64_t n,
                            enum wan_act act)
{
    return pass(d, (size(dx) + size(dy) + size(x)) * n);
}

static int dry_act_gated(wan_dev *d, wan_buf y, wan_buf a, wan_buf b, int64_t n, enum wan_act act)
{
    return pass(d, (size(y) + size(a) + size(b)) * n);
}

static int dry_ln_mod_forward(wan_dev *d, wan_buf y, wan_real *mean, wan_real *rstd,
                              const wan_real *x, const wan_real *scale, const wan_real *shift,
                              int64_t stride, const wan_pack *pack, int64_t D, double eps)
{
    return pass(d, (size(y) + REAL) * pack->S * D);
}

static int dry_ln_mod_backward(wan_dev *d, wan_real *dx, wan_real *dscale, wan_real *dshift,
                               int64_t dstride, wan_buf dy, const wan_real *x, const wan_real *mean,
                               const wan_real *rstd, const wan_real *scale, int64_t stride,
                               const wan_pack *pack, int64_t D)
{
    return pass(d, (size(dy) + 3 * REAL) * pack->S * D + partial(2, pack->S, D));
}

static int dry_ln_affine_forward(wan_dev *d, wan_buf y, wan_real *mean, wan_real *rstd,
                                 const wan_real *x, const wan_real *w, const wan_real *b, int64_t S,
                                 int64_t D, double eps)
{
    return pass(d, (size(y) + REAL) * S * D);
}

static int dry_ln_affine_backward(wan_dev *d, wan_real *dx, wan_real *dw, wan_real *db, wan_buf dy,
                                  const wan_real *x, const wan_real *mean, const wan_real *rstd,
                                  const wan_real *w, int64_t S, int64_t D)
{
    return pass(d, (size(dy) + 3 * REAL) * S * D + partial(2, S, D));
}

static int dry_rmsnorm_forward(wan_dev *d, const wan_rms *a, wan_buf y, wan_real *rstd, wan_buf x,
                               const wan_real *w)
{
    return pass(d, (size(y) + size(x)) * a->S * a->D);
}

static int dry_rmsnorm_backward(wan_dev *d, const wan_rms *a, wan_buf dx, wan_real *dw, wan_buf dy,
                                wan_buf x, const wan_real *rstd, const wan_real *w)
{
    return pass(d, (size(dx) + size(dy) + size(x)) * a->S * a->D + partial(1, a->S, a->D));
}

static int dry_rms_sumsq(wan_dev *d, const wan_rms *a, wan_real *sum, wan_buf x)
{
    return pass(d, size(x) * a->S * a->D);
}

static int dry_rms_apply(wan_dev *d, const wan_rms *a, wan_buf y, wan_real *rstd,
                         const wan_real *sum, wan_buf x, const wan_real *w)
{
    return pass(d, (size(y) + size(x)) * a->S * a->D);
}

static int dry_rms_dot(wan_dev *d, const wan_rms *a, wan_real *dot, wan_real *dw, wan_buf dy,
                       wan_buf x, const wan_real *rstd, const wan_real *w)
{
    return pass(d, (size(dy) + size(x)) * a->S * a->D + partial(1, a->S, a->D));
}

static int dry_rms_dx(wan_dev *d, const wan_rms *a, wan_buf dx, const wan_real *dot, wan_buf dy,
                      wan_buf x, const wan_real *rstd, const wan_real *w)
{
    return pass(d, (size(dx) + size(dy) + size(x)) * a->S * a->D);
}

/* Numbers of each row and head, laid out as cuDNN and as the model have them. */
static double statistics(const wan_attn *a, double n)
{
    return n * REAL * (double)a->pq->S * a->H;
}

static int dry_attention_forward(wan_dev *d, const wan_attn *a, wan_buf o, wan_real *lse, wan_buf q,
                                 wan_buf k, wan_buf v)
{
    wan_dry *y = wan_device_dry_of(d);
    double flops = 4 * pairs(a);
    y->attention += flops;
    return spend(y, __func__, flops, y->rates.attention,
                 rows(a, 2 * size(q), size(k) + size(v)) + statistics(a, 3));
}

/* What is asked for more than eight times is counted once: it stays in a cache. */
static double asked(int64_t times)
{
    return times > 8 ? 1 : (double)times;
}

/* Bytes of the two passes (attention_grad.cuh): a block of 128 rows of one side walks over all rows of the other;
 * in front of them dout and o are multiplied. */
static double two_passes(const wan_attn *a, wan_buf q, wan_buf k)
{
    const double row = (double)(a->H * a->hd);
    double sum = 0;
    for (int i = 0; i < a->pq->n; i++) {
        const int64_t nq = a->pq->cu_host[i + 1] - a->pq->cu_host[i];
        const int64_t nk = a->pk->cu_host[i + 1] - a->pk->cu_host[i];
        const int64_t qb = (nq + 127) / 128, kb = (nk + 127) / 128;
        const double once_q = asked(kb + 1) + asked(kb + 2) + 2; /* q; dout; o, dq */
        sum +=
            row * (size(q) * (double)nq * once_q + size(k) * (double)nk * (2 * asked(qb + 1) + 2));
        sum += REAL * (double)(nq * a->H) * (2 * asked(kb + 1) + 1); /* lse, delta */
    }
    return sum;
}

static int dry_attention_backward(wan_dev *d, const wan_attn *a, wan_buf dq, wan_buf dk, wan_buf dv,
                                  wan_buf dout, wan_buf o, const wan_real *lse, wan_buf q,
                                  wan_buf k, wan_buf v)
{
    wan_dry *y = wan_device_dry_of(d);
    const int own = d->flags & WAN_DEV_OWN;
    double flops = (own ? 14 : 10) * pairs(a); /* two passes make scores twice */
    y->attention_back += flops;
    return spend(y, __func__, flops, y->rates.attention_back,
                 own ? two_passes(a, q, k)
                     : rows(a, 4 * size(q), 2 * (size(k) + size(v))) + statistics(a, 5));
}

static int dry_attention_merge(wan_dev *d, const wan_attn *a, wan_buf o, wan_real *lse, wan_buf o2,
                               const wan_real *lse2)
{
    return pass(d, rows(a, 2 * size(o) + size(o2), 0));
}

static int dry_attention_t5(wan_dev *d, const wan_attn *a, wan_buf o, wan_buf q, wan_buf k,
                            wan_buf v, const wan_real *table)
{
    double again = 0; /* keys are read for every 16 queries */
    for (int i = 0; i < a->pq->n; i++)
        again += (double)((a->pq->cu_host[i + 1] - a->pq->cu_host[i] + 15) / 16) *
                 (double)(a->pk->cu_host[i + 1] - a->pk->cu_host[i]);
    return pass(d, rows(a, 2 * size(q), 0) + (size(k) + size(v)) * again * a->H * a->hd);
}

static int dry_residual_forward(wan_dev *d, wan_real *out, const wan_real *x, wan_buf y,
                                const wan_real *gate, int64_t stride, const wan_pack *pack,
                                int64_t D)
{
    return pass(d, (size(y) + 2 * REAL) * pack->S * D);
}

static int dry_residual_backward(wan_dev *d, wan_buf dy, wan_real *dgate, int64_t dstride,
                                 const wan_real *dout, wan_buf y, const wan_real *gate,
                                 int64_t stride, const wan_pack *pack, int64_t D)
{
    if (!gate)
        return pass(d, (size(dy) + REAL) * pack->S * D);
    return pass(d, (size(dy) + size(y) + REAL) * pack->S * D + partial(1, pack->S, D));
}

static int dry_resnorm_forward(wan_dev *d, const wan_resnorm *a, wan_real *out, wan_buf u,
                               wan_real *mean, wan_real *rstd, const wan_real *x, wan_buf y)
{
    return pass(d, (size(y) + size(u) + 2 * REAL) * a->pack->S * a->D);
}

static int dry_resnorm_backward(wan_dev *d, const wan_resnorm *a, const wan_resnorm_grad *g,
                                wan_real *dx, wan_buf dy, wan_buf du, const wan_real *out,
                                const wan_real *mean, const wan_real *rstd, wan_buf y)
{
    return pass(d, (size(dy) + size(du) + (a->gate ? size(y) : 0) + 3 * REAL) * a->pack->S * a->D +
                       partial(a->gate ? 3 : 2, a->pack->S, a->D));
}

static int dry_sinusoid(wan_dev *d, wan_real *y, const wan_real *t, int64_t n, int64_t dim)
{
    return pass(d, REAL * n * dim);
}

static int dry_modulation_forward(wan_dev *d, wan_real *out, const wan_real *table,
                                  const wan_real *e, int64_t n, int64_t R, int64_t D,
                                  int64_t e_rows)
{
    return pass(d, REAL * (n * R + R + n * e_rows) * D);
}

static int dry_modulation_backward(wan_dev *d, wan_real *dtable, wan_real *de, const wan_real *dout,
                                   int64_t n, int64_t R, int64_t D, int64_t e_rows)
{
    return pass(d, REAL * (2 * n * R + 2 * R + 2 * n * e_rows) * D); /* a pass for each sum */
}

static int dry_gather_add(wan_dev *d, wan_real *y, const wan_real *table, const int32_t *id,
                          int64_t S, int64_t D)
{
    return pass(d, 3 * REAL * S * D);
}

static int dry_patchify(wan_dev *d, wan_buf rows, const wan_real *latent, int64_t C, int64_t T,
                        int64_t h, int64_t w, enum wan_patch_order order)
{
    return pass(d, (size(rows) + REAL) * C * T * h * w);
}

static int dry_unpatchify(wan_dev *d, wan_real *latent, wan_buf rows, int64_t C, int64_t T,
                          int64_t h, int64_t w, enum wan_patch_order order)
{
    return pass(d, (size(rows) + REAL) * C * T * h * w);
}

static int dry_noise_patch(wan_dev *d, const wan_noise *a, wan_buf rows, wan_real *target,
                           const wan_real *x0, const wan_real *eps, const wan_rng *stream)
{
    return pass(d, (size(rows) + (eps ? 3 : 2) * REAL) * a->C * a->T * a->h * a->w);
}

static int dry_mse_loss(wan_dev *d, wan_real *loss, wan_buf dpred, const wan_real *pred,
                        const wan_real *target, const wan_real *coef, const wan_pack *pack,
                        int64_t F)
{
    return pass(d, (size(dpred) + 2 * REAL) * pack->S * F + 16.0 * pack->S); /* a token's sum */
}

static int dry_cast(wan_dev *d, wan_buf y, wan_buf x, int64_t n)
{
    return pass(d, (size(y) + size(x)) * n);
}

static int dry_axpy(wan_dev *d, wan_buf y, double a, wan_buf x, int64_t n)
{
    return pass(d, (2 * size(y) + size(x)) * n);
}

static int dry_fill(wan_dev *d, wan_buf y, double a, int64_t n)
{
    return pass(d, size(y) * n);
}

static int dry_lincomb(wan_dev *d, wan_real *y, int k, const double *c, const wan_real *const *x,
                       int64_t n)
{
    return pass(d, REAL * (k + 1) * n);
}

static int dry_sumsq(wan_dev *d, double *out, wan_buf x, int64_t n, int accumulate)
{
    return pass(d, size(x) * n);
}

static int dry_finite(wan_dev *d, int64_t *out, wan_buf x, int64_t n)
{
    return pass(d, size(x) * n);
}

static int dry_randn(wan_dev *d, wan_buf y, const wan_rng *stream, uint64_t first, int64_t n)
{
    return pass(d, size(y) * n);
}

static int dry_pick(wan_dev *d, wan_view y, wan_view x, const int32_t *from, int64_t n, int64_t w)
{
    return pass(d, (size(y.b) + size(x.b)) * n * w);
}

static int dry_adamw_step(wan_dev *d, const wan_adamw *a, const wan_real *row, wan_real *p,
                          wan_real *m, wan_real *v, const wan_real *g, wan_buf shadow,
                          const wan_real *coef, int64_t n)
{
    return pass(d, (7 * REAL + (shadow.p ? size(shadow) : 0)) * n);
}

static int dry_clip_coef(wan_dev *d, wan_real *coef, const double *sumsq, double max_norm)
{
    return pass(d, REAL);
}

static int dry_conv_forward(wan_dev *d, const wan_conv *c, wan_buf y, wan_buf x, wan_buf w,
                            const wan_real *b, int add)
{
    const double To = (double)wan_conv_frames(c), up = c->up ? 2 : 1;
    const double Ho = (double)((c->H + c->top + c->bottom - c->kh) / c->sh + 1);
    const double Wo = (double)((c->W + c->left + c->right - c->kw) / c->sw + 1);
    const double in = (double)(c->T * c->H * c->W * c->Ci) / (up * up), out = To * Ho * Wo * c->Co;
    double taps = To * c->kt; /* but not those on padding in front */
    for (int64_t t = 0; t < wan_conv_frames(c) && t * c->st < c->past; t++)
        taps -= (double)(c->past - t * c->st);
    return product(d, 2 * taps * c->kh * c->kw * Ho * Wo * (double)(c->Ci * c->Co),
                   size(x) * in + (1.0 + !!add) * size(y) * out +
                       size(w) * c->kt * c->kh * c->kw * (double)(c->Ci * c->Co));
}

static int dry_vae_norm(wan_dev *d, wan_buf y, wan_buf x, const wan_real *gamma, int64_t P,
                        int64_t C, enum wan_act act)
{
    return pass(d, (size(y) + size(x)) * P * C);
}

static int dry_vae_interleave(wan_dev *d, wan_buf y, wan_buf x, int64_t T, int64_t P, int64_t C)
{
    return pass(d, (size(y) + size(x)) * 2 * T * P * C);
}

static int dry_vae_from_rgb(wan_dev *d, wan_buf y, const uint8_t *rgb, int64_t P)
{
    return pass(d, (size(y) + 1) * 3 * P);
}

static int dry_vae_to_rgb(wan_dev *d, uint8_t *rgb, wan_buf x, int64_t P)
{
    return pass(d, (size(x) + 1) * 3 * P);
}

static int dry_vae_to_cfirst(wan_dev *d, wan_real *y, wan_buf x, const wan_real *a,
                             const wan_real *b, int64_t T, int64_t P, int64_t C)
{
    return pass(d, (size(x) + REAL) * T * P * C);
}

static int dry_vae_to_clast(wan_dev *d, wan_buf y, const wan_real *x, const wan_real *a,
                            const wan_real *b, int64_t T, int64_t P, int64_t C)
{
    return pass(d, (size(y) + REAL) * T * P * C);
}

const wan_ops *wan_ops_dry(void)
{
#define X(name) .name = dry_##name,
    static const wan_ops ops = { WAN_OPS(X) };
#undef X
    return &ops;
}
