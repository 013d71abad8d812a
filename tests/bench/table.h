/* SPDX-License-Identifier: Apache-2.0
 *
 * table.h - where the time of a step goes: every op it calls, with the bytes and FLOPs that the dry device
 * counts for the same call (ops_dry.c), beside what the machine needs for these at least.
 */
#ifndef WAN_BENCH_TABLE_H
#define WAN_BENCH_TABLE_H

#include "kernels/device_dry.h"
#include "tests/bench/peak.h"

enum { TABLE_ROWS = 96 };

typedef struct table_row {
    const char *op;
    int64_t size[3]; /* of a product M, N, K; of attention queries and keys of all samples */
    double seconds, flops, bytes;
    double least; /* seconds in the step where it was fastest */
    int calls;
} table_row;

/* One for the program: ops have no argument to find it by. */
static struct table {
    wan_ops ops, timed;
    wan_backend backend, timed_backend;
    wan_dev *dry;
    table_row row[TABLE_ROWS];
    int rows, depth;
} table;

static void table_clear(void)
{
    table.rows = 0;
}

static table_row *table_find(const char *op, int64_t a, int64_t b, int64_t c)
{
    int i = 0;
    while (i < table.rows && (table.row[i].op != op || table.row[i].size[0] != a ||
                              table.row[i].size[1] != b || table.row[i].size[2] != c))
        i++;
    if (i == table.rows) {
        if (table.rows == TABLE_ROWS)
            bench_must(wan_err("more than %d ops", TABLE_ROWS));
        table.row[table.rows++] = (table_row){ .op = op, .size = { a, b, c } };
    }
    return &table.row[i];
}

static double table_flops(const wan_dry *y)
{
    return y->products + y->attention + y->attention_back;
}

/* Runs the op and, where it is not another op's, notes it; the dry device's answer is its size. */
#define TABLE_CALL(name, a, b, c, ...)                                                             \
    do {                                                                                           \
        wan_dry *y = wan_device_dry_of(table.dry);                                                 \
        double flops = table_flops(y), moved = y->moved, t = bench_now();                          \
        table.depth++;                                                                             \
        int rc = table.ops.name(d, __VA_ARGS__);                                                   \
        t = bench_now() - t;                                                                       \
        if (--table.depth || rc < 0)                                                               \
            return rc;                                                                             \
        table_row *r = table_find(#name, a, b, c);                                                 \
        WAN_TRY(wan_ops_dry()->name(table.dry, __VA_ARGS__));                                      \
        r->seconds += t;                                                                           \
        r->flops += table_flops(y) - flops;                                                        \
        r->bytes += y->moved - moved;                                                              \
        r->calls++;                                                                                \
        return 0;                                                                                  \
    } while (0)
/* An op with its parameters; of a product with its sizes. */
#define TABLE_OP(name, params, ...)                                                                \
    static int table_##name params                                                                 \
    {                                                                                              \
        TABLE_CALL(name, 0, 0, 0, __VA_ARGS__);                                                    \
    }
#define TABLE_PRODUCT(name, params, ...)                                                           \
    static int table_##name params                                                                 \
    {                                                                                              \
        TABLE_CALL(name, M, N, K, __VA_ARGS__);                                                    \
    }
#define TABLE_ATTENTION(name, params, ...)                                                         \
    static int table_##name params                                                                 \
    {                                                                                              \
        TABLE_CALL(name, a->pq->S, a->pk->S, 0, __VA_ARGS__);                                      \
    }

/* clang-format off */
TABLE_PRODUCT(linear_forward, (wan_dev *d, wan_buf y_, wan_buf pre, wan_buf x, wan_buf w, const wan_real *b,
    int64_t M, int64_t N, int64_t K, enum wan_act act), y_, pre, x, w, b, M, N, K, act)
TABLE_PRODUCT(linear_dgrad, (wan_dev *d, wan_buf dx, wan_buf dy, wan_buf w, int64_t M, int64_t N, int64_t K,
    int add), dx, dy, w, M, N, K, add)
TABLE_PRODUCT(linear_dgrad_act, (wan_dev *d, wan_buf dx, wan_buf dy, wan_buf w, wan_buf z, int64_t M, int64_t N,
    int64_t K, enum wan_act act), dx, dy, w, z, M, N, K, act)
TABLE_PRODUCT(linear_wgrad, (wan_dev *d, wan_real *dw, wan_real *db, wan_buf dy, wan_buf x, int64_t M,
    int64_t N, int64_t K, int add), dw, db, dy, x, M, N, K, add)
TABLE_OP(act_forward, (wan_dev *d, wan_buf y_, wan_buf x, int64_t n, enum wan_act act), y_, x, n, act)
TABLE_OP(act_backward, (wan_dev *d, wan_buf dx, wan_buf dy, wan_buf x, int64_t n, enum wan_act act),
    dx, dy, x, n, act)
TABLE_OP(ln_mod_forward, (wan_dev *d, wan_buf y_, wan_real *mean, wan_real *rstd, const wan_real *x,
    const wan_real *scale, const wan_real *shift, int64_t stride, const wan_pack *pack, int64_t D, double eps),
    y_, mean, rstd, x, scale, shift, stride, pack, D, eps)
TABLE_OP(ln_mod_backward, (wan_dev *d, wan_real *dx, wan_real *dscale, wan_real *dshift, int64_t dstride,
    wan_buf dy, const wan_real *x, const wan_real *mean, const wan_real *rstd, const wan_real *scale,
    int64_t stride, const wan_pack *pack, int64_t D),
    dx, dscale, dshift, dstride, dy, x, mean, rstd, scale, stride, pack, D)
TABLE_OP(ln_affine_forward, (wan_dev *d, wan_buf y_, wan_real *mean, wan_real *rstd, const wan_real *x,
    const wan_real *w, const wan_real *b, int64_t S, int64_t D, double eps), y_, mean, rstd, x, w, b, S, D, eps)
TABLE_OP(ln_affine_backward, (wan_dev *d, wan_real *dx, wan_real *dw, wan_real *db, wan_buf dy,
    const wan_real *x, const wan_real *mean, const wan_real *rstd, const wan_real *w, int64_t S, int64_t D),
    dx, dw, db, dy, x, mean, rstd, w, S, D)
TABLE_OP(rmsnorm_forward, (wan_dev *d, const wan_rms *a, wan_buf y_, wan_real *rstd, wan_buf x,
    const wan_real *w), a, y_, rstd, x, w)
TABLE_OP(rmsnorm_backward, (wan_dev *d, const wan_rms *a, wan_buf dx, wan_real *dw, wan_buf dy, wan_buf x,
    const wan_real *rstd, const wan_real *w), a, dx, dw, dy, x, rstd, w)
TABLE_ATTENTION(attention_forward, (wan_dev *d, const wan_attn *a, wan_buf o, wan_real *lse, wan_buf q,
    wan_buf k, wan_buf v), a, o, lse, q, k, v)
TABLE_ATTENTION(attention_backward, (wan_dev *d, const wan_attn *a, wan_buf dq, wan_buf dk, wan_buf dv,
    wan_buf dout, wan_buf o, const wan_real *lse, wan_buf q, wan_buf k, wan_buf v),
    a, dq, dk, dv, dout, o, lse, q, k, v)
TABLE_OP(residual_forward, (wan_dev *d, wan_real *out, const wan_real *x, wan_buf y_, const wan_real *gate,
    int64_t stride, const wan_pack *pack, int64_t D), out, x, y_, gate, stride, pack, D)
TABLE_OP(residual_backward, (wan_dev *d, wan_buf dy, wan_real *dgate, int64_t dstride, const wan_real *dout,
    wan_buf y_, const wan_real *gate, int64_t stride, const wan_pack *pack, int64_t D),
    dy, dgate, dstride, dout, y_, gate, stride, pack, D)
TABLE_OP(resnorm_forward, (wan_dev *d, const wan_resnorm *a, wan_real *out, wan_buf u, wan_real *mean,
    wan_real *rstd, const wan_real *x, wan_buf y_), a, out, u, mean, rstd, x, y_)
TABLE_OP(resnorm_backward, (wan_dev *d, const wan_resnorm *a, const wan_resnorm_grad *g, wan_real *dx, wan_buf dy,
    wan_buf du, const wan_real *out, const wan_real *mean, const wan_real *rstd, wan_buf y_),
    a, g, dx, dy, du, out, mean, rstd, y_)
TABLE_OP(modulation_forward, (wan_dev *d, wan_real *out, const wan_real *t_, const wan_real *e, int64_t n,
    int64_t R, int64_t D, int64_t e_rows), out, t_, e, n, R, D, e_rows)
TABLE_OP(modulation_backward, (wan_dev *d, wan_real *dt, wan_real *de, const wan_real *dout, int64_t n,
    int64_t R, int64_t D, int64_t e_rows), dt, de, dout, n, R, D, e_rows)
TABLE_OP(noise_patch, (wan_dev *d, const wan_noise *a, wan_buf rows, wan_real *target, const wan_real *x0,
    const wan_real *eps, const wan_rng *stream), a, rows, target, x0, eps, stream)
TABLE_OP(mse_loss, (wan_dev *d, wan_real *loss, wan_buf dpred, const wan_real *pred, const wan_real *target,
    const wan_real *coef, const wan_pack *pack, int64_t F), loss, dpred, pred, target, coef, pack, F)
TABLE_OP(cast, (wan_dev *d, wan_buf y_, wan_buf x, int64_t n), y_, x, n)
TABLE_OP(axpy, (wan_dev *d, wan_buf y_, double a, wan_buf x, int64_t n), y_, a, x, n)
TABLE_OP(sumsq, (wan_dev *d, double *out, wan_buf x, int64_t n, int add), out, x, n, add)
TABLE_OP(adamw_step, (wan_dev *d, const wan_adamw *a, const wan_real *row, wan_real *p, wan_real *m, wan_real *v,
    const wan_real *g, wan_buf shadow, const wan_real *coef, int64_t n), a, row, p, m, v, g, shadow, coef, n)
#define TABLE_OPS(X)                                                                               \
    X(linear_forward) X(linear_dgrad) X(linear_dgrad_act) X(linear_wgrad)                          \
    X(act_forward) X(act_backward)                                                                 \
    X(ln_mod_forward) X(ln_mod_backward) X(ln_affine_forward) X(ln_affine_backward)                \
    X(rmsnorm_forward) X(rmsnorm_backward) X(attention_forward) X(attention_backward)              \
    X(residual_forward) X(residual_backward) X(resnorm_forward) X(resnorm_backward)                \
    X(modulation_forward) X(modulation_backward)                                                   \
    X(noise_patch) X(mse_loss) X(cast) X(axpy) X(sumsq) X(adamw_step)
/* clang-format on */

static int table_zero(wan_dev *d, void *p, size_t bytes)
{
    double t = bench_now();
    WAN_TRY(table.backend.zero(d, p, bytes));
    table_row *r = table_find("zero", 0, 0, 0);
    r->seconds += bench_now() - t;
    r->bytes += (double)bytes;
    r->calls++;
    return 0;
}

/* From now on the ops of d are timed. */
static void table_watch(wan_dev *d)
{
    bench_must(wan_dev_open(&table.dry, "dry", 0));
    table.ops = table.timed = *d->ops;
    table.backend = table.timed_backend = *d->backend;
#define X(name) table.timed.name = table_##name;
    TABLE_OPS(X)
#undef X
    table.timed_backend.zero = table_zero;
    d->ops = &table.timed;
    d->backend = &table.timed_backend;
}

static void table_leave(wan_dev *d)
{
    d->ops = &table.ops;
    d->backend = &table.backend;
    wan_dev_close(&table.dry);
}

static int table_longer(const void *a, const void *b)
{
    double x = ((const table_row *)a)->seconds, y = ((const table_row *)b)->seconds;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Keeps in row what each op took where it was fastest, in this step or before; every step calls the same. */
static void table_keep(table_row *row, int rows)
{
    for (int i = 0; i < table.rows; i++) {
        double s = table.row[i].seconds, before = i < rows ? row[i].least : s;
        table.row[i].least = s < before ? s : before;
        if (i < rows)
            row[i].least = table.row[i].least;
    }
}

/* The rows of one step of `total` seconds, the longest first; floor: the longer of the FLOPs at `peak`
 * GFLOP/s and the bytes at `triad` GB/s; least: in the step where the op was fastest, because a step of
 * seconds never goes undisturbed as a whole. */
static void table_print(table_row *row, int rows, double total, double peak, double triad)
{
    double sum = 0, floors = 0, least = 0;
    qsort(row, (size_t)rows, sizeof *row, table_longer);
    printf("\n| op | calls | MB | GFLOP | floor ms | least ms | of floor | ms | of the step |\n"
           "|---|---:|---:|---:|---:|---:|---:|---:|---:|\n");
    for (int i = 0; i < rows; i++) {
        const table_row *r = &row[i];
        double a = r->flops / peak / 1e9, b = r->bytes / triad / 1e9, floor = a > b ? a : b;
        char name[80];
        int n = snprintf(name, sizeof name, "%s", r->op);
        for (int k = 0; k < 3 && r->size[k]; k++)
            n += snprintf(name + n, sizeof name - (size_t)n, "%s%lld", k ? "x" : " ",
                          (long long)r->size[k]);
        printf("| %s | %d | %.1f | %.2f | %.3f | %.3f | %.0f %% | %.3f | %.1f %% |\n", name,
               r->calls, r->bytes / 1e6, r->flops / 1e9, 1e3 * floor, 1e3 * r->least,
               100 * floor / r->least, 1e3 * r->seconds, 100 * r->seconds / total);
        sum += r->seconds;
        least += r->least;
        floors += floor;
    }
    printf("| sum | | | | %.3f | %.3f | %.0f %% | %.3f | %.1f %% |\n\n", 1e3 * floors, 1e3 * least,
           100 * floors / least, 1e3 * sum, 100 * sum / total);
    if (sum < 0.95 * total)
        printf("error: the ops are %.1f %% of the step\n", 100 * sum / total);
    fflush(stdout);
}

#endif
