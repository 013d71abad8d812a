/* SPDX-License-Identifier: Apache-2.0
 *
 * predict.c - see predict.h.
 */
#include "lib/train/planner/predict.h"

#include <string.h>

#define GIB(x) ((double)(x) / (1 << 30))

/* The rank at a stage, of the busiest data parallel rank, first along the other axes. */
static int rank_of(const wan_mesh *m, int stage, int dp_rank)
{
    const int shards = m->size[WAN_DP_SHARD];
    const int at[WAN_AXES] = { stage, dp_rank / shards, dp_rank % shards, 0, 0 };
    int r = 0;
    for (int i = 0; i < WAN_AXES; i++)
        r = r * m->size[i] + at[i];
    return r;
}

static double all_flops(const wan_rehearsal *r)
{
    return r->work.products + r->work.attention + r->work.attention_back;
}

int wan_predict(wan_prediction *out, wan_config *c, const wan_cluster *m, int ranks, int trial)
{
    wan_rehearsal r;
    double flops = 0;
    memset(out, 0, sizeof *out);
    WAN_TRY(wan_rehearse(&r, c, m, ranks, 0, trial));
    out->first = out->slow = out->large = r;
    if (trial && !wan_rehearse_fits(&r, m))
        return 0;
    const wan_mesh *mesh = &out->first.mesh;
    const int stages = mesh->size[WAN_PP], busiest = r.plan.busiest;
    for (int s = 0; s < stages; s++) {
        if (s > 0 || busiest > 0)
            WAN_TRY(wan_rehearse(&r, c, m, ranks, rank_of(mesh, s, busiest), trial));
        if (trial && !wan_rehearse_fits(&r, m))
            return 0;
        flops += all_flops(&r);
        if (s == 0 || r.work.now > out->slow.work.now)
            out->slow = r;
        if (s == 0 || wan_rehearse_total(&r) > wan_rehearse_total(&out->large))
            out->large = r;
    }
    const wan_plan *p = &out->slow.plan;
    const double micros = (double)(p->most_micros ? p->most_micros : 1);
    out->flops = flops / stages * ranks / p->imbalance;
    out->bubble = (stages - 1) / (micros * p->pieces) * out->slow.work.computing;
    out->seconds = out->slow.work.now + out->bubble;
    out->tflops = out->slow.model_flops / out->seconds / ranks * 1e-12;
    out->fits = wan_rehearse_fits(&out->large, m);
    return 0;
}

static double waited_for(const wan_rehearsal *r, const wan_traffic_line *l)
{
    for (int i = 0; i < r->waited.n; i++)
        if (r->waited.line[i].kind == l->kind && !strcmp(r->waited.line[i].group, l->group))
            return r->waited.line[i].count.seconds;
    return 0;
}

static int64_t far_bytes(const wan_rehearsal *r, const wan_traffic_line *l)
{
    for (int i = 0; i < r->far.n; i++)
        if (r->far.line[i].kind == l->kind && !strcmp(r->far.line[i].group, l->group))
            return r->far.line[i].count.bytes;
    return 0;
}

static void print_traffic(const wan_rehearsal *r, FILE *f)
{
    fprintf(f, "messages of rank 0 in a step: group, call, number, bytes, link, seconds waited\n");
    for (int i = 0; i < r->traffic.n; i++) {
        const wan_traffic_line *l = &r->traffic.line[i];
        const int64_t far = far_bytes(r, l);
        fprintf(f, "  %-12s %-14s %7lld %16lld  %-12s %9.4f\n", l->group,
                wan_group_kind_name(l->kind), (long long)l->count.calls, (long long)l->count.bytes,
                far == 0               ? "in a machine"
                : far < l->count.bytes ? "both"
                                       : "network",
                waited_for(r, l));
    }
}

static void print_memory(const wan_prediction *p, const wan_cluster *m, FILE *f)
{
    const wan_rehearsal *r = &p->large;
    fprintf(f, "memory of a rank, bytes%s:\n",
            r->mesh.size[WAN_PP] > 1 ? " (the stage that needs most)" : "");
    for (int i = 0; i < WAN_MEMORY_CLASSES; i++)
        fprintf(f, "  %-12s %16lld  %8.2f GiB\n", wan_rehearse_class(i), (long long)r->bytes[i],
                GIB(r->bytes[i]));
    fprintf(f, "  %-12s %16lld  %8.2f GiB\n", "total", (long long)wan_rehearse_total(r),
            GIB(wan_rehearse_total(r)));
    fprintf(f, "  %s: %.2f GiB, less %.2f for libraries (kernels of a CPU: %lld bytes)\n",
            p->fits ? "fits" : "does not fit", m->memory / (1 << 30), m->workspace / (1 << 30),
            (long long)r->plan.kernels);
    if (r->plan.saving || r->plan.far)
        fprintf(f, "host memory of a rank, MiB:\n");
    wan_plan_print_saving(&r->plan, f);
}

static void print_assumptions(const wan_cluster *m, FILE *f)
{
    fprintf(f, "assumed, not measured (a file with other numbers is --device FILE):\n");
    wan_cluster_print(m, f);
    fprintf(
        f,
        "ops follow each other, each as long as its FLOPs or its bytes take; starting them, reading\n"
        "data, validation and checkpoints take no time; a call waits for its link, then takes\n"
        "2 (n-1)/n B / rate (all_reduce), (n-1)/n B / rate (reduce_scatter, all_gather) or B / rate\n"
        "and a latency for each doubling of n; nothing else is on the links\n");
}

void wan_predict_print(const wan_prediction *p, const wan_cluster *m, FILE *f)
{
    const wan_rehearsal *r = &p->slow;
    const wan_plan *plan = &r->plan;
    char text[256];
    plan->arch.model->describe(plan->arch.c, text, sizeof text);
    fprintf(f, "model        %s: %lld parameters\n", text, (long long)plan->parameters);
    fprintf(f, "ranks        %d: %s\n", plan->ranks, plan->layout);
    fprintf(f, "step         %lld samples, %lld tokens in %lld packs; imbalance %.3f\n",
            (long long)plan->batch, (long long)r->tokens, (long long)plan->micros, plan->imbalance);
    print_memory(p, m, f);
    fprintf(f,
            "compute of a rank: %.5g TFLOP in products, %.5g + %.5g in attention, %.4g GB moved\n",
            r->work.products * 1e-12, r->work.attention * 1e-12, r->work.attention_back * 1e-12,
            r->work.moved * 1e-9);
    fprintf(f, "compute of all: %.5g TFLOP, of them the model's %.5g (the rest is recomputed)\n",
            p->flops * 1e-12, r->model_flops * 1e-12);
    print_traffic(&p->first, f);
    fprintf(f,
            "time of a step: %.4f s: %.4f computing, %.4f waiting, %.4f bubble of the pipeline\n",
            p->seconds, r->work.computing, r->work.now - r->work.computing, p->bubble);
    fprintf(f, "predicted    %.4g s/step, %.4g model TFLOP/s of each rank, %.4g tokens/s\n",
            p->seconds, p->tflops, (double)r->tokens / p->seconds);
    print_assumptions(m, f);
}
