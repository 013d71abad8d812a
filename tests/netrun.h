/* SPDX-License-Identifier: Apache-2.0
 *
 * netrun.h - one model in one object, for tests: store, acts of one micro-batch, sizes.
 * Include after tests/tap.h.
 */
#ifndef WAN_TESTS_NETRUN_H
#define WAN_TESTS_NETRUN_H

#include "lib/model/wan/net.h"

typedef struct netrun {
    wan_arch arch;
    wan_sizes z;
    wan_dev *d;
    wan_store *s;
    wan_acts *a;
} netrun;

/* model, c: a row of the table and its configuration */
static inline int netrun_open_model(netrun *m, wan_dev *d, const wan_model *model, const void *c,
                                    wan_dtype compute, int train, const wan_capacity *cap)
{
    wan_acts_options o = { .compute = compute, .train = train, .cap = *cap };
    *m = (netrun){ .d = d };
    wan_model_arch(&m->arch, model, c);
    wan_model_sizes(&m->z, &m->arch);
    WAN_TRY(wan_model_store(&m->s, d, &m->arch, NULL, compute, train));
    return wan_model_acts(&m->a, d, &m->arch, &o, NULL);
}

static inline int netrun_open(netrun *m, wan_dev *d, const wan_net_config *c, wan_dtype compute,
                              int train, const wan_capacity *cap)
{
    return netrun_open_model(m, d, &wan_net_model, c, compute, train, cap);
}

static inline void netrun_close(netrun *m)
{
    wan_model_acts_free(&m->a);
    wan_store_free(&m->s);
}

static inline int netrun_forward(netrun *m, const wan_micro *in, const wan_context *ctx,
                                 wan_real *pred)
{
    WAN_TRY(wan_model_fill(m->a, in, ctx));
    m->a->pred = pred;
    return wan_model_forward(m->a, m->s, 0, m->z.parts, NULL);
}

static inline int netrun_backward(netrun *m, wan_real *dpred, const wan_hooks *hooks)
{
    m->a->dpred = WAN_RBUF(dpred);
    return wan_model_backward(m->a, m->s, 0, m->z.parts, hooks);
}

static inline int netrun_input_grad(netrun *m, wan_real *drows)
{
    return m->arch.model->input_grad(m->a, m->s, drows);
}

#endif
