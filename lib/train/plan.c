/* SPDX-License-Identifier: Apache-2.0
 *
 * plan.c - see plan.h.
 */
#include "lib/train/plan.h"

#include <string.h>

#include "lib/train/optim.h"
#include "lib/train/step.h"

#define MIB(x) ((double)(x) / (1 << 20))

/* What providers ask for inside one op: packed keys and values, a packed weight, partial sums. */
static int64_t scratch(const wan_net_config *c, const wan_net_capacity *cap)
{
    int64_t width = (int64_t)c->heads * c->head_dim, real = sizeof(wan_real);
    return 2 * cap->tokens * width * real + width * c->ffn * real + (2 << 20);
}

int wan_plan_make(wan_plan *p, const wan_net_config *c, wan_dtype compute,
                  const wan_net_capacity *cap, wan_data *data, const wan_feed *source,
                  int64_t batch, int64_t position, int ranks)
{
    wan_params params;
    wan_batch b;
    memset(p, 0, sizeof *p);
    p->cap = *cap;
    p->ranks = ranks;
    p->batch = batch;
    p->samples = wan_feed_count(source);
    WAN_TRY(wan_net_params(&params, c));
    p->parameters = params.count;
    p->optimizer = wan_optim_bytes(params.total);
    wan_params_free(&params);
    WAN_TRY(wan_net_plan(&p->model, c, compute, WAN_NET_TRAIN, cap));
    p->rows = wan_step_bytes(c, compute, cap) + scratch(c, cap);
    p->total = p->model.weights + p->model.grads + p->model.activations + p->model.workspace +
               p->optimizer + p->rows;
    for (int64_t i = 0; i < p->samples; i++) {
        int64_t t = wan_data_tokens(wan_feed_info(source, i));
        if (t > p->longest)
            p->longest = t;
    }
    WAN_TRY(wan_data_batch_at(data, &b, position));
    p->tokens = b.total;
    p->packs = b.packing.packs;
    p->flops = 3 * wan_net_flops(c, (int)b.n, b.tokens);
    wan_batch_free(&b);
    return 0;
}

void wan_plan_print(const wan_plan *p, const wan_net_config *c, FILE *f)
{
    fprintf(f, "model        %d blocks, width %d, %d heads, ffn %d: %lld parameters\n", c->layers,
            c->heads * c->head_dim, c->heads, c->ffn, (long long)p->parameters);
    fprintf(f, "data         %lld samples, the longest of %lld tokens\n", (long long)p->samples,
            (long long)p->longest);
    fprintf(f, "step         %lld samples, %lld tokens in %lld packs, on %d rank%s\n",
            (long long)p->batch, (long long)p->tokens, (long long)p->packs, p->ranks,
            p->ranks == 1 ? "" : "s");
    fprintf(f, "pack         at most %lld tokens, %lld samples, %lld text rows\n",
            (long long)p->cap.tokens, (long long)p->cap.samples, (long long)p->cap.text_rows);
    fprintf(f, "compute      %.4g TFLOP a step (forward and backward, without recompute)\n",
            p->flops * 1e-12);
    fprintf(f, "memory of a rank, MiB:\n");
    fprintf(f, "  weights      %12.1f\n", MIB(p->model.weights));
    fprintf(f, "  gradients    %12.1f\n", MIB(p->model.grads));
    fprintf(f, "  optimizer    %12.1f\n", MIB(p->optimizer));
    fprintf(f, "  activations  %12.1f\n", MIB(p->model.activations));
    fprintf(f, "  workspace    %12.1f\n", MIB(p->model.workspace + p->rows));
    fprintf(f, "  total        %12.1f\n", MIB(p->total));
}

int wan_plan_fits(const wan_plan *p, int64_t bytes, int share, const char *where)
{
    if (p->total * share <= bytes)
        return 0;
    return wan_err("the run needs %.1f MiB of %s%s, which has %.1f MiB: try "
                   "model.recompute_granularity=full, a smaller dataset.seq_length, or a smaller "
                   "model",
                   MIB(p->total * share), where, share > 1 ? " for its ranks" : "", MIB(bytes));
}
