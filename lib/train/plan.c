/* SPDX-License-Identifier: Apache-2.0
 *
 * plan.c - see plan.h.
 */
#include "lib/train/plan.h"

#include <string.h>

#include "lib/train/checkpoint/spread.h"
#include "lib/train/optim.h"
#include "lib/train/step.h"

enum {
    SMALL = 16 << 10, /* bytes: lengths of samples, factors, a few sums */
    EMA = 4 << 20
}; /* an average and the weights change places through this */
/* What a GPU keeps of a recording: around 10 KB for each kernel, as NVIDIA's CCCL counts (github.com/NVIDIA/cccl, pull
 * request 3768), here 16 KiB; kernels, products, copies and clears of one part, forward and backward, at most, with
 * products in eight bits, and of its update (tests/gpu/check_quiet.c counts them).  A backward that overwrites gradients
 * and one that adds to them are two. */
enum { NODE = 16 << 10, PART_NODES = 256, PART_NODES8 = 448, UPDATE_NODES = 8 };
#define MIB(x) ((double)(x) / (1 << 20))

/* What providers ask for inside one op: packed keys and values, a packed weight, partial sums; a quarter more
 * for tiles that are not full and operands that are widened.  Taken at the start (wan_train_start). */
static int64_t scratch(const wan_arch *arch, const wan_capacity *cap, int64_t largest)
{
    wan_sizes z;
    wan_model_sizes(&z, arch);
    return (2 * cap->tokens * z.width + largest) * (int64_t)sizeof(wan_real) / 4 * 5 + (2 << 20);
}

/* Whether the sizes are such that tensor cores take all products as they are. */
static int even(const wan_sizes *z, int64_t width, int64_t largest)
{
    return width % 8 == 0 && z->in_width % 8 == 0 && z->out_width % 8 == 0 &&
           z->text_dim % 8 == 0 && largest % (8 * width) == 0;
}

/* Of the largest pack, whole: ranks that share its tokens share its heads, or have fewer of them. */
static wan_space space_of(const wan_plan *p, const wan_ranks *ranks, wan_dtype compute,
                          int64_t largest)
{
    wan_sizes z;
    wan_model_sizes(&z, &p->arch);
    const int64_t tp = ranks->slice.ranks > 1 ? ranks->slice.ranks : 1, all = z.width / z.head_dim;
    wan_space s = { .tokens = p->cap.tokens,
                    .longest = p->cap.tokens,
                    .samples = p->cap.samples,
                    .text_len = z.text_len,
                    .heads = (all + tp - 1) / tp,
                    .head_dim = z.head_dim,
                    .width = z.width,
                    .columns = largest / z.width > 6 * z.width ? largest / z.width : 6 * z.width,
                    .elements = p->parameters,
                    .bf16 = compute == WAN_BF16 };
    const int64_t rows = s.tokens + p->cap.text_rows;
    if (s.bf16)
        s.widened = even(&z, z.width / tp, largest / tp) ? s.tokens * z.in_width
                                                         : rows * 2 * s.columns + largest;
    return s;
}

void wan_plan_cuda(wan_plan *p, int device_flags)
{
    const int64_t before = p->kernels + p->libraries;
    p->space.any_order = (device_flags & WAN_DEV_NONDETERMINISTIC) != 0;
    p->space.two_passes = (device_flags & (WAN_DEV_TWO_PASSES | WAN_DEV_OWN)) != 0;
    p->kernels = wan_space_most(&p->space);
    p->kernels = p->kernels > EMA ? p->kernels : EMA;
    p->libraries = WAN_SPACE_PRODUCTS + WAN_SPACE_RING;
    p->rows += p->kernels + p->libraries - before;
    p->total += p->kernels + p->libraries - before;
}

/* Weights in eight bits that are kept: of all parts, or of those that are gathered at once. */
static int64_t rounded(const wan_params *p, const wan_ranks *r)
{
    int64_t most;
    const int64_t all = wan_store_eight(&most, p, &r->slice, 1);
    return r->sharding == WAN_SHARD_FSDP ? 2 * most : all;
}

/* Parameters, weights, gradients and moments; the largest matrix that a GEMM reads. */
static int measure_store(wan_plan *p, const wan_ranks *ranks, wan_dtype compute,
                         enum wan_training training, int64_t tokens, int64_t *largest)
{
    const wan_slice *slice = &ranks->slice;
    wan_params params;
    int64_t total;
    WAN_TRY(p->arch.model->params(&params, p->arch.c));
    p->parameters = params.count;
    p->aside = wan_params_aside(&params, tokens);
    p->rounded = rounded(&params, ranks);
    *largest = 0;
    for (int i = 0; i < params.n; i++)
        if (params.v[i].gemm && params.v[i].count > *largest)
            *largest = params.v[i].count;
    int rc = wan_store_plan(&p->store, &total, &params, slice, compute, training);
    wan_fsdp_bytes(&p->store, compute, ranks->sharding);
    p->optimizer = wan_optim_bytes(total);
    p->vectors = 2;
    wan_params_free(&params);
    return rc;
}

/* What it takes to keep one of the things that selective does again. */
static int measure_modules(wan_plan *p, const wan_acts_options *o, int seats)
{
    wan_acts_options own = *o;
    wan_acts_bytes less, more;
    own.cap.recompute = WAN_RECOMPUTE_SELECTIVE;
    WAN_TRY(wan_model_acts_plan(&less, &p->arch, &own));
    for (int k = 0; k < 3; k++) {
        own.cap.spared = 1 << k;
        WAN_TRY(wan_model_acts_plan(&more, &p->arch, &own));
        p->modules[k] += seats * (more.kept - less.kept);
    }
    return 0;
}

/* What every micro-batch that is alive at once keeps, in each range of parts; work space once. */
static int measure_acts(wan_plan *p, const wan_ranks *ranks, const wan_acts_options *o)
{
    for (int i = 0; i < ranks->ranges; i++) {
        const wan_pp_range *r = &ranks->range[i];
        wan_slice slice = ranks->slice;
        wan_acts_options own = *o;
        wan_acts_bytes bytes;
        slice.first = r->first;
        slice.end = r->end;
        slice.gaps = 0;
        own.slice = &slice;
        WAN_TRY(wan_model_acts_plan(&bytes, &p->arch, &own));
        p->acts.kept += r->seats * bytes.kept;
        p->acts.away += r->seats * bytes.away;
        p->acts.work = bytes.work;
        own.cap.recompute_blocks = own.cap.recompute_group = own.cap.away = own.cap.spared = 0;
        for (int k = 0; k < 3; k++) {
            own.cap.recompute = (enum wan_recompute)k;
            WAN_TRY(wan_model_acts_plan(&bytes, &p->arch, &own));
            p->modes[k] += r->seats * bytes.kept;
        }
        WAN_TRY(measure_modules(p, &own, r->seats));
    }
    return 0;
}

/* Shapes that are recorded for every micro-batch that is alive at once; where shards are gathered, their gradients come
 * to lie in either of two rooms (tapes.c).  And the update. */
static int64_t recordings(const wan_ranks *ranks, int eight)
{
    const int64_t most = eight ? PART_NODES8 : PART_NODES;
    const int64_t rooms = ranks->sharding == WAN_SHARD_FSDP ? 2 : 1;
    int64_t nodes = 0;
    for (int i = 0; i < ranks->ranges; i++) {
        const wan_pp_range *r = &ranks->range[i];
        const int64_t parts = r->end - r->first;
        nodes += parts * (r->seats * rooms * WAN_TAPES_SHAPES * most + UPDATE_NODES);
    }
    return nodes * NODE;
}

static int64_t most_micros(const wan_deal *d, int ranks)
{
    int64_t most = 0;
    for (int r = 0; r < ranks; r++) {
        int64_t n = 0;
        for (int64_t k = 0; k < d->micros; k++)
            n += d->rank[k] == r;
        most = n > most ? n : most;
    }
    return most;
}

int wan_plan_make(wan_plan *p, const wan_arch *arch, const wan_ranks *ranks, wan_dtype compute,
                  const wan_capacity *cap, enum wan_training training, wan_data *data,
                  const wan_feed *feed, int64_t batch, int64_t position)
{
    int shares = ranks->mesh.size[WAN_CP];
    const wan_acts_options o = {
        .compute = compute, .train = 1, .cap = wan_cp_capacity(cap, shares), .slice = &ranks->slice
    };
    int64_t largest;
    wan_batch b;
    wan_sizes z;
    wan_model_sizes(&z, arch);
    memset(p, 0, sizeof *p);
    p->arch = *arch;
    p->cap = *cap;
    p->ranks = ranks->mesh.group[WAN_WORLD]->size;
    wan_mesh_text(&ranks->mesh, p->layout);
    p->batch = batch;
    p->samples = wan_feed_count(feed);
    WAN_TRY(measure_store(p, ranks, compute, training, o.cap.tokens, &largest));
    WAN_TRY(measure_acts(p, ranks, &o));
    const wan_step_options step = { .cap = *cap,
                                    .batch = batch,
                                    .shares = shares,
                                    .range = ranks->range,
                                    .ranges = ranks->ranges };
    p->kernels = scratch(arch, &o.cap, largest);
    p->space = space_of(p, ranks, compute, largest);
    p->rows = wan_step_bytes(arch, compute, &step) + wan_ranks_bytes(ranks, arch, compute, cap) +
              p->kernels + SMALL;
    p->away = training == WAN_TRAIN_FAR;
    p->far = p->store.far + p->acts.away + (p->away ? p->optimizer : 0);
    p->total = p->store.weights + p->store.grads + p->acts.kept + p->acts.work + p->rows +
               (p->away ? 0 : p->optimizer);
    for (int64_t i = 0; i < p->samples; i++) {
        int64_t t = wan_data_tokens(data, wan_feed_info(feed, i));
        if (t > p->longest)
            p->longest = t;
    }
    WAN_TRY(wan_data_batch_at(data, &b, position));
    p->tokens = b.total;
    p->micros = b.deal.micros;
    p->flops = 3 * arch->model->flops(arch->c, (int)b.n, b.tokens);
    p->imbalance = wan_deal_imbalance(&b.deal, &p->busiest);
    p->most_micros = most_micros(&b.deal, ranks->mesh.dp);
    p->pieces = ranks->ranges;
    wan_batch_free(&b);
    return 0;
}

void wan_plan_average(wan_plan *p)
{
    *(p->away ? &p->far : &p->total) += p->optimizer / p->vectors;
    p->optimizer += p->optimizer / p->vectors;
    p->vectors++;
}

void wan_plan_eight(wan_plan *p)
{
    p->eight = 1;
    p->rows += p->aside;
    p->total += p->aside;
}

void wan_plan_keeps(wan_plan *p)
{
    if (!p->keeps) {
        p->rows += p->rounded;
        p->total += p->rounded;
    }
    p->keeps = 1;
}

void wan_plan_graphs(wan_plan *p, const wan_ranks *ranks)
{
    if (p->graphs)
        return;
    p->graphs = recordings(ranks, p->eight);
    p->rows += p->graphs;
    p->total += p->graphs;
}

void wan_plan_videos(wan_plan *p, int64_t bytes)
{
    p->rows += bytes;
    p->total += bytes;
}

void wan_plan_saves(wan_plan *p, int behind)
{
    p->saving = WAN_SPREAD_BYTES;
    p->snapshot = behind ? p->optimizer / p->vectors * (p->vectors + 1) : 0; /* and the masters */
}

void wan_plan_print_saving(const wan_plan *p, FILE *f)
{
    if (p->far)
        fprintf(
            f,
            "  offloaded    %12.1f   host memory: weights %.1f, optimizer %.1f, activations %.1f\n",
            MIB(p->far), MIB(p->store.far), MIB(p->away ? p->optimizer : 0), MIB(p->acts.away));
    if (p->saving)
        fprintf(f, "  checkpoint   %12.1f   host memory more, while one is written or read\n",
                MIB(p->saving));
    if (p->snapshot)
        fprintf(f, "  snapshot     %12.1f   host memory, while a checkpoint is written\n",
                MIB(p->snapshot));
}

void wan_plan_print(const wan_plan *p, FILE *f)
{
    char text[256];
    wan_model_describe(&p->arch, text, sizeof text);
    fprintf(f, "model        %s: %lld parameters\n", text, (long long)p->parameters);
    fprintf(f, "data         %lld samples, the longest of %lld tokens\n", (long long)p->samples,
            (long long)p->longest);
    fprintf(f, "step         %lld samples, %lld tokens in %lld packs, on %d rank%s\n",
            (long long)p->batch, (long long)p->tokens, (long long)p->micros, p->ranks,
            p->ranks == 1 ? "" : "s");
    if (p->ranks > 1)
        fprintf(f, "layout       %s\n", p->layout);
    fprintf(f, "pack         at most %lld tokens, %lld samples, %lld text rows\n",
            (long long)p->cap.tokens, (long long)p->cap.samples, (long long)p->cap.text_rows);
    fprintf(f, "compute      %.4g TFLOP a step (forward and backward, without recompute)\n",
            p->flops * 1e-12);
    if (p->eight)
        fprintf(
            f,
            "products     of blocks in fp8 (e4m3, gradients e5m2), but keys and values of the text\n");
    fprintf(f, "memory of a rank, MiB:\n");
    fprintf(f, "  weights      %12.1f\n", MIB(p->store.weights));
    fprintf(f, "  gradients    %12.1f\n", MIB(p->store.grads));
    fprintf(f, "  optimizer    %12.1f\n", MIB(p->away ? 0 : p->optimizer));
    fprintf(f, "  activations  %12.1f\n", MIB(p->acts.kept));
    fprintf(f, "  workspace    %12.1f\n", MIB(p->acts.work + p->rows));
    if (p->graphs)
        fprintf(f, "    of it      %12.1f   recordings of %d shapes of micro-batches, at most\n",
                MIB(p->graphs), WAN_TAPES_SHAPES);
    fprintf(f, "  total        %12.1f\n", MIB(p->total));
    fprintf(f, "activations with recompute in all blocks: none %.1f, selective %.1f, full %.1f\n",
            MIB(p->modes[WAN_RECOMPUTE_NONE]), MIB(p->modes[WAN_RECOMPUTE_SELECTIVE]),
            MIB(p->modes[WAN_RECOMPUTE_FULL]));
    fprintf(
        f,
        "what selective does again, if it were kept: layernorm %.1f, qk_norm %.1f, mlp_act %.1f\n",
        MIB(p->modules[0]), MIB(p->modules[1]), MIB(p->modules[2]));
    if (wan_capacity_grouped(&p->cap))
        fprintf(
            f,
            "recomputed in groups of %lld blocks: their inputs are kept, %.1f, and a group works "
            "in %.1f\n",
            (long long)p->cap.recompute_group, MIB(p->acts.kept), MIB(p->acts.work));
    wan_plan_print_saving(p, f);
}

int wan_plan_fits(const wan_plan *p, int64_t bytes, int share, const char *where)
{
    if (p->total * share <= bytes)
        return 0;
    return wan_err(
        "the run needs %.1f MiB of %s%s, which has %.1f MiB: try "
        "model.recompute_granularity=full, --offload on a GPU, a smaller dataset.seq_length, or a smaller "
        "model",
        MIB(p->total * share), where, share > 1 ? " for its ranks" : "", MIB(bytes));
}
