/* SPDX-License-Identifier: Apache-2.0
 *
 * optim.c - see optim.h.
 */
#include "lib/train/optim.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"

int64_t wan_optim_bytes(int64_t n)
{
    return 2 * n * (int64_t)sizeof(wan_real);
}

int wan_optim_new(wan_optim **out, wan_net *m, double beta1, double beta2, double eps,
                  int no_decay_1d)
{
    size_t n = (size_t)m->params.total * sizeof(wan_real);
    wan_optim *o = wan_calloc(1, sizeof *o, "optimizer");
    *out = NULL;
    if (!o)
        return -1;
    o->m = m;
    o->beta1 = beta1;
    o->beta2 = beta2;
    o->eps = eps;
    o->no_decay_1d = no_decay_1d;
    o->exp_avg = wan_dev_alloc(m->d, n, "first moments");
    o->exp_avg_sq = wan_dev_alloc(m->d, n, "second moments");
    o->sumsq = wan_dev_alloc(m->d, sizeof *o->sumsq, "gradient norm");
    o->coef = wan_dev_alloc(m->d, sizeof *o->coef, "clip factor");
    if (!o->exp_avg || !o->exp_avg_sq || !o->sumsq || !o->coef ||
        wan_dev_zero(m->d, o->exp_avg, n) < 0 || wan_dev_zero(m->d, o->exp_avg_sq, n) < 0) {
        wan_optim_free(&o);
        return -1;
    }
    *out = o;
    return 0;
}

void wan_optim_free(wan_optim **po)
{
    wan_optim *o = *po;
    if (!o)
        return;
    wan_dev_free(o->m->d, o->exp_avg);
    wan_dev_free(o->m->d, o->exp_avg_sq);
    wan_dev_free(o->m->d, o->sumsq);
    wan_dev_free(o->m->d, o->coef);
    free(o);
    *po = NULL;
}

int wan_optim_norm(wan_optim *o, double *norm)
{
    wan_dev *d = o->m->d;
    double sumsq;
    WAN_TRY(d->ops->sumsq(d, o->sumsq, WAN_RBUF(o->m->grad), o->m->params.total, 0));
    WAN_TRY(wan_dev_read(d, &sumsq, o->sumsq, sizeof sumsq));
    *norm = sqrt(sumsq);
    return 0;
}

static int update(wan_optim *o, const wan_adamw *a, int64_t from, int64_t to, uint16_t *shadow,
                  const wan_real *coef)
{
    wan_dev *d = o->m->d;
    if (to <= from)
        return 0;
    return d->ops->adamw_step(d, a, o->m->master + from, o->exp_avg + from, o->exp_avg_sq + from,
                              o->m->grad + from, wan_buf_of(shadow, WAN_BF16), coef, to - from);
}

/* Biases, norms and modulation tables are no matrices. */
static int is_matrix(const wan_param *p)
{
    return p->rank >= 2 && !strstr(p->name, "scale_shift_table");
}

/* The parameters outside the GEMM prefix, run by run of equal weight decay.  Parameters lie in the
 * vector in the order of their list. */
static int update_rest(wan_optim *o, const wan_adamw *a, const wan_real *coef)
{
    const wan_params *ps = &o->m->params;
    int64_t from = ps->n_gemm;
    wan_adamw plain = *a;
    int decays = 1;
    plain.weight_decay = 0;
    for (int i = 0; i < ps->n && o->no_decay_1d; i++) {
        const wan_param *p = &ps->v[i];
        if (p->offset < ps->n_gemm || is_matrix(p) == decays)
            continue;
        WAN_TRY(update(o, decays ? a : &plain, from, p->offset, NULL, coef));
        from = p->offset;
        decays = !decays;
    }
    return update(o, decays ? a : &plain, from, ps->total, NULL, coef);
}

int wan_optim_step(wan_optim *o, double lr, double weight_decay, double max_norm)
{
    wan_net *m = o->m;
    wan_adamw a = { .lr = lr,
                    .beta1 = o->beta1,
                    .beta2 = o->beta2,
                    .eps = o->eps,
                    .weight_decay = weight_decay,
                    .step = o->step + 1 };
    const wan_real *coef = max_norm > 0 ? o->coef : NULL;
    if (coef)
        WAN_TRY(m->d->ops->clip_coef(m->d, o->coef, o->sumsq, max_norm));
    WAN_TRY(update(o, &a, 0, m->params.n_gemm, m->shadow, coef));
    WAN_TRY(update_rest(o, &a, coef));
    o->step++;
    return 0;
}

const char *wan_optim_find_bad(wan_optim *o)
{
    wan_net *m = o->m;
    int64_t count, *at = wan_dev_alloc(m->d, sizeof *at, "count");
    const char *name = NULL;
    for (int i = 0; at && i < m->params.n && !name; i++) {
        const wan_param *p = &m->params.v[i];
        if (m->d->ops->finite(m->d, at, WAN_RBUF(m->grad + p->offset), p->count) < 0 ||
            wan_dev_read(m->d, &count, at, sizeof count) < 0)
            break;
        if (count)
            name = p->name;
    }
    wan_dev_free(m->d, at);
    return name;
}
