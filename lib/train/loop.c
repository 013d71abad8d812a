/* SPDX-License-Identifier: Apache-2.0
 *
 * loop.c - the steps of a run: draw, micro-batches, sum over ranks, update, report, checkpoint.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/signals.h"
#include "lib/model/files/rundir.h"
#include "lib/train/samples.h"
#include "lib/train/tune.h"

/* All samples of a pack take the draw of its first, but for the caption. */
static void draw_per_pack(wan_train *t, const wan_batch *b)
{
    const wan_deal *q = &b->deal;
    for (int64_t k = 0; k < q->micros; k++)
        for (int64_t i = q->start[k] + 1; i < q->start[k + 1]; i++) {
            int drop = t->draw[q->item[i]].drop;
            t->draw[q->item[i]] = t->draw[q->item[q->start[k]]];
            t->draw[q->item[i]].drop = drop;
        }
}

void wan_train_draw(wan_train *t, const wan_feed *f, const wan_batch *b, uint64_t step, int eval)
{
    for (int64_t i = 0; i < b->n; i++) {
        wan_draw_at at = { .seed = (uint64_t)t->c->v.seed,
                           .step = step,
                           .position = (uint64_t)(b->position + i),
                           .index = i,
                           .batch = b->n,
                           .eval = eval };
        float sigma;
        t->draw[i] = wan_feed_sigma(f, b->sample[i], &sigma)
                         ? t->objective->at_sigma(t->settings, sigma)
                         : t->objective->draw(t->settings, &at);
    }
    if (t->c->v.per_pack && !eval)
        draw_per_pack(t, b);
}

/* Factor of sample i's loss in the objective. */
static double factor(const wan_train *t, const wan_batch *b, int64_t i)
{
    return t->c->v.reduction == WAN_MEAN_TOKEN ? (double)b->tokens[i] / (double)b->total
                                               : 1 / (double)b->n;
}

static wan_step_sample make_sample(const wan_train *t, const wan_feed *f, const wan_batch *b,
                                   int64_t i, const wan_sample *s, uint64_t step)
{
    const wan_draw *d = &t->draw[i];
    wan_step_sample v = { .x0 = s->latent,
                          .text = d->drop ? t->empty : s->text,
                          .text_rows = d->drop ? t->empty_rows : s->info.text_rows,
                          .draw = *d,
                          .coef = d->weight * factor(t, b, i) };
    memcpy(v.latent, s->info.latent, sizeof v.latent);
    v.noise = wan_feed_noise(f, b->sample[i]);
    v.stream =
        wan_rng_stream((uint64_t)t->c->v.seed, WAN_RNG_NOISE, step, (uint64_t)(b->position + i));
    return v;
}

/* The micro-batches of this rank's pipeline in one step. */
typedef struct work {
    wan_train *t;
    wan_data *d;
    const wan_feed *f;
    const wan_batch *b;
    uint64_t step;
    int train;
    int64_t micros, rounds;
} work;

/* What happens around the parts of a micro-batch; last: of the step. */
static wan_hooks hooks_of(wan_train *t, int last)
{
    if (t->fsdp)
        return wan_fsdp_hooks(t->fsdp, last);
    return (wan_hooks){ .arg = t->dp, .back_after = last ? wan_dp_part : NULL };
}

/* Adds what has passed since `begin` to where it went. */
static int timed(wan_train *t, enum wan_time what, double begin, int rc)
{
    t->spent[what] += wan_now() - begin;
    return rc;
}

static int fill_seat(void *arg, int64_t i, int seat)
{
    const work *w = arg;
    wan_train *t = w->t;
    wan_train_micro *m = &t->micro[i];
    const int64_t *item = w->b->deal.item + w->b->deal.start[m->k];
    if (!m->here)
        WAN_TRY(wan_data_micro(w->d, m->k, &m->loaded));
    m->here = 1;
    for (int j = 0; j < m->loaded.n; j++) {
        t->own_index[m->at + j] = item[j];
        t->samples[j] = make_sample(t, w->f, w->b, item[j], &m->loaded.sample[j], w->step);
    }
    return wan_step_load(t->step, &t->step->seat[seat], t->samples, m->loaded.n, m->at);
}

/* A round of nothing: the calls of a micro-batch in the parts of a seat. */
static int pass(const work *w, int seat, int back)
{
    const wan_step_seat *q = &w->t->step->seat[seat];
    const wan_capacity *cap = &w->t->plan.cap;
    if (!back)
        return wan_fsdp_pass(w->t->fsdp, q->first, q->end);
    const int64_t group = wan_capacity_grouped(cap) ? cap->recompute_group : 0;
    return wan_fsdp_pass_back(w->t->fsdp, q->first, q->end, (int)group);
}

/* The pipeline's micro-batch i into a seat. */
static int load(void *arg, int64_t i, int seat)
{
    double begin = wan_now();
    return timed(((const work *)arg)->t, WAN_TIME_DATA, begin, fill_seat(arg, i, seat));
}

static int forward_seat(void *arg, int64_t i, int seat)
{
    const work *w = arg;
    wan_train *t = w->t;
    wan_train_micro *m = &t->micro[i];
    const wan_hooks hooks = hooks_of(t, i == w->rounds - 1);
    if (i >= w->micros)
        return pass(w, seat, 0);
    int rc = wan_step_forward(t->step, &t->step->seat[seat], w->train, &hooks);
    if (t->step->seat[seat].end < t->ranks.range[t->ranks.ranges - 1].end)
        return rc; /* a later range here needs the samples too */
    if (rc == 0 && w->train && t->dump)
        rc = wan_debug_micro(t, &m->loaded, w->b->deal.item + w->b->deal.start[m->k]);
    wan_loaded_free(&m->loaded);
    m->here = 0;
    return rc;
}

static int forward(void *arg, int64_t i, int seat)
{
    double begin = wan_now();
    return timed(((const work *)arg)->t, WAN_TIME_FORWARD, begin, forward_seat(arg, i, seat));
}

static int backward_seat(void *arg, int64_t i, int seat)
{
    const work *w = arg;
    const wan_hooks hooks = hooks_of(w->t, i == w->rounds - 1);
    if (i >= w->micros)
        return pass(w, seat, 1);
    return wan_step_backward(w->t->step, &w->t->step->seat[seat], &hooks);
}

static int backward(void *arg, int64_t i, int seat)
{
    double begin = wan_now();
    return timed(((const work *)arg)->t, WAN_TIME_BACKWARD, begin, backward_seat(arg, i, seat));
}

static wan_acts *acts(void *arg, int seat)
{
    return ((const work *)arg)->t->step->seat[seat].acts;
}

/* As many as the busiest rank of those that share the weights has, if all of them must call. */
static int64_t rounds(const wan_train *t, const wan_deal *q, int64_t own)
{
    const int shards = t->ranks.mesh.size[WAN_DP_SHARD], me = t->ranks.mesh.dp_rank;
    int64_t most = own;
    for (int r = me - me % shards; r < me - me % shards + shards; r++) {
        int64_t n = 0;
        for (int64_t k = 0; k < q->micros; k++)
            n += q->rank[k] == r;
        most = n > most ? n : most;
    }
    return t->fsdp && wan_fsdp_rounds(t->fsdp) ? most : own;
}

/* Lists this rank's micro-batches of b; their number, and that of their samples. */
static int64_t list_micros(wan_train *t, const wan_batch *b, int64_t *samples)
{
    const wan_deal *q = &b->deal;
    int64_t n = 0;
    *samples = 0;
    for (int64_t k = 0; k < q->micros; k++) {
        if (q->rank[k] != t->ranks.mesh.dp_rank)
            continue;
        t->micro[n] = (wan_train_micro){ .k = k, .at = *samples };
        *samples += q->start[k + 1] - q->start[k];
        n++;
    }
    return n;
}

/* The number of samples of this rank, whose losses are on the device; -1: failed. */
static int64_t run_micros(wan_train *t, wan_data *d, const wan_feed *f, const wan_batch *b,
                          uint64_t step, int train)
{
    int64_t samples, n = list_micros(t, b, &samples);
    work w = { t, d, f, b, step, train, n, rounds(t, &b->deal, n) };
    const wan_pp_job job = { .micros = n,
                             .rounds = w.rounds,
                             .train = train,
                             .arg = &w,
                             .load = load,
                             .forward = forward,
                             .backward = backward,
                             .acts = acts };
    if (wan_train_keeps(t))
        wan_dev_still(t->dev, WAN_STILL); /* the optimizer comes behind all of it */
    int rc = wan_pp_run(t->ranks.pp, &job);
    wan_dev_still(t->dev, WAN_STILL_NOT);
    for (int64_t i = 0; i < n; i++) /* after a failure */
        if (t->micro[i].here)
            wan_loaded_free(&t->micro[i].loaded);
    return rc < 0 ? -1 : samples;
}

/* The losses of the batch from those that this rank has. */
static void place_losses(wan_train *t, const float *own, const int64_t *index, int64_t own_n,
                         int64_t n)
{
    memset(t->losses, 0, (size_t)(n + 2) * sizeof *t->losses);
    for (int64_t k = 0; k < own_n && wan_ranks_counts(&t->ranks); k++)
        t->losses[index[k]] = own[k];
}

int wan_train_micros(wan_train *t, wan_data *d, const wan_feed *f, const wan_batch *b,
                     uint64_t step, int train)
{
    int64_t samples = run_micros(t, d, f, b, step, train);
    WAN_TRY(samples);
    WAN_TRY(wan_step_losses(t->step, t->own, samples));
    place_losses(t, t->own, t->own_index, samples, b->n);
    return 0;
}

/* Losses into the report of a batch whose samples have these draws and factors. */
static void count_losses(wan_report *r, const wan_draw *draw, const double *factors,
                         const double *losses)
{
    for (int64_t i = 0; i < r->samples; i++) {
        int bin = draw[i].bin;
        r->loss += draw[i].weight * factors[i] * losses[i];
        r->loss_unweighted += factors[i] * losses[i];
        r->bin_loss[bin] += losses[i];
        r->bin_count[bin]++;
        r->dropped += draw[i].drop;
    }
    for (int k = 0; k < WAN_SIGMA_BINS; k++)
        if (r->bin_count[k])
            r->bin_loss[k] /= (double)r->bin_count[k];
}

/* All of it but the losses. */
static void fill_report(wan_train *t, const wan_batch *b, wan_report *r)
{
    wan_capacity cap; /* of training: the plan's holds validation and samples too */
    wan_data_capacity(t->data, &cap);
    for (int64_t i = 0; i < b->n; i++)
        t->factors[i] = factor(t, b, i);
    r->samples = b->n;
    r->tokens = b->total;
    r->micros = b->deal.micros;
    r->padding = 1 - (double)b->total / ((double)r->micros * (double)cap.tokens);
    r->flops = 3 * t->arch.model->flops(t->arch.c, (int)b->n, b->tokens);
    r->ranks = t->comm->size;
    r->imbalance = wan_deal_imbalance(&b->deal, NULL);
}

/* What the step's calls have cost, in the calls that have ended; this rank's part of the mean. */
static void count_traffic(wan_train *t, const wan_traffic *before, wan_report *r)
{
    wan_traffic_read(&r->traffic, t->comm);
    wan_traffic_since(&r->traffic, before);
    r->waited = wan_traffic_seconds(&r->traffic) / t->comm->size;
}

/* Of an update that was made: what goes with it. */
static int updated(wan_train *t)
{
    t->row = 0;
    t->st.updates = t->optim->step;
    return t->ema ? wan_ema_update(t->ema, t->averaged + t->st.updates) : 0;
}

/* Of one that was not, the reason; an error where there are too many in a row.  The gradient is that of the step
 * (look) or is gone. */
static int skipped(wan_train *t, wan_report *r, int look)
{
    const char *name = NULL;
    if (!isfinite(r->grad_norm) && look)
        WAN_TRY(wan_ranks_bad(&t->ranks, t->store, wan_optim_find_bad(t->optim), &name));
    snprintf(r->skipped, sizeof r->skipped, "%s is not finite%s%s",
             isfinite(r->loss) ? "the gradient" : "the loss",
             name ? ", first in the gradient of " : "", name ? name : "");
    t->st.skipped++;
    if (++t->row > t->c->v.max_skipped)
        return wan_err("step %lld: %s, for %lld steps in a row (train.max_skipped)",
                       (long long)r->step, r->skipped, (long long)t->row);
    return 0;
}

/* The update, or the reason why there is none. */
static int update(wan_train *t, wan_report *r)
{
    WAN_TRY(wan_ranks_norm(&t->ranks, t->store, t->optim->sumsq, &r->grad_norm));
    if (!isfinite(r->grad_norm) || !isfinite(r->loss))
        return skipped(t, r, 1);
    WAN_TRY(wan_optim_step(t->optim, r->lr, t->c->v.weight_decay, t->c->v.clip_grad));
    WAN_TRY(updated(t));
    return t->fsdp ? wan_fsdp_changed(t->fsdp) : 0;
}

/* Gradients, losses and the wish to stop, of all ranks. */
static int compute(wan_train *t, const wan_batch *b, int *stop)
{
    uint64_t step = (uint64_t)t->st.step;
    wan_train_draw(t, t->feed, b, step, 0);
    WAN_TRY(wan_store_zero_grad(t->store));
    WAN_TRY(wan_train_micros(t, t->data, t->feed, b, step, 1));
    WAN_TRY(wan_store_settle_grad(t->store)); /* of a rank without a micro-batch */
    if (t->fsdp)
        WAN_TRY(wan_fsdp_finish(t->fsdp));
    WAN_TRY(wan_dp_finish(t->dp));
    t->losses[b->n] = wan_signals_stop();
    t->losses[b->n + 1] = t->job && wan_checkpoint_written(t->job);
    WAN_TRY(wan_comm_sum_f64(t->comm, t->losses, (size_t)b->n + 2));
    *stop = t->losses[b->n] > 0;
    t->written = t->losses[b->n + 1] == t->comm->size;
    return 0;
}

static void finish_report(wan_train *t, const wan_traffic *before, wan_report *r)
{
    r->memory = (int64_t)t->dev->peak;
    r->workspace = (int64_t)(t->dev->scratch_bytes + t->dev->aside_bytes);
    memcpy(r->spent, t->spent, sizeof r->spent);
    memset(t->spent, 0, sizeof t->spent);
    count_traffic(t, before, r);
}

static void count_step(wan_train *t, const wan_batch *b, wan_report *r)
{
    t->st.step++;
    t->st.position += b->n;
    r->step = t->st.step;
    r->next_lr = wan_schedule_lr(&t->schedule, t->st.step);
    r->position = t->st.position;
    r->epoch = (double)t->st.position / (double)t->st.samples;
}

/* ---- a step whose losses are read after the next one has been started, where the device computes beside the
 * host: the update that must not be is refused there (adamw.h); only the number of updates has to be known, and it
 * is when the next update is started. */

/* Of n samples, as they are told: of each share of their tokens. */
static int64_t told_losses(const wan_train *t, int64_t n)
{
    return n * t->ranks.mesh.size[WAN_CP];
}

/* After a step without an update the reason is looked for: not behind the gradient's back. */
static int runs_ahead(const wan_train *t)
{
    return wan_dev_fetches(t->dev) && (t->comm->size == 1 || t->late.sums) && !t->dump &&
           t->row == 0 &&
           16 + (told_losses(t, t->c->v.global_batch) + 3) * (int64_t)sizeof(float) <= WAN_DEV_SLOT;
}

/* The loss of sample i of n from the shares of those that have its tokens, each rounded as it is where ranks wait
 * for each other. */
static double join_shares(const wan_train *t, const float *sums, int64_t i, int64_t n)
{
    const int shares = t->ranks.mesh.size[WAN_CP];
    const int64_t tokens = t->late.tokens[i];
    int64_t first;
    double sum = 0;
    for (int r = 0; r < shares; r++) {
        const double part = (double)wan_cp_share(&first, tokens, r, shares) / (double)tokens;
        sum += (double)(float)(sums[r * n + i] * part);
    }
    return sum;
}

/* What the ranks know of the step before, as it was fetched. */
static void read_sums(wan_train *t, const float *sums, wan_report *r)
{
    const float *told = sums + told_losses(t, r->samples);
    for (int64_t i = 0; i < r->samples; i++)
        t->losses[i] = join_shares(t, sums, i, r->samples);
    t->late.stop = told[0] > 0;
    t->written = told[1] == (float)t->comm->size;
    r->waited = told[2];
}

/* What has become of the step that was started last. */
static int look(wan_train *t)
{
    wan_train_late *l = &t->late;
    wan_report *r = &l->r;
    if (!l->open)
        return 0;
    l->open = 0;
    const char *p = wan_dev_fetched(t->dev);
    if (!p)
        return -1;
    double sumsq[2], now = wan_now();
    const float *losses = (const float *)(const void *)(p + sizeof sumsq);
    memcpy(sumsq, p, sizeof sumsq);
    if (l->sums)
        read_sums(t, losses, r);
    else
        place_losses(t, losses, l->index, l->own, r->samples);
    count_losses(r, l->draw, l->factors, t->losses);
    r->grad_norm = sqrt(sumsq[0]);
    r->seconds = now - (t->looked > 0 ? t->looked : now - r->seconds);
    t->looked = now;
    if (isfinite(sumsq[0]) && isfinite(sumsq[1]))
        return updated(t);
    t->optim->step--;
    return skipped(t, r, 0);
}

/* Draws, factors and places of the step's losses are kept until they are read. */
static void keep(wan_train *t, const wan_report *r, int64_t own)
{
    wan_train_late *l = &t->late;
    wan_draw *draw = l->draw;
    double *factors = l->factors;
    int64_t *index = l->index;
    *l = (wan_train_late){ 1,   *r,      t->draw,   t->factors, t->own_index,
                           own, l->sums, l->tokens, l->stop };
    t->draw = draw;
    t->factors = factors;
    t->own_index = index;
}

/* This rank's losses in their places, and what else it has to say, to all ranks: on the device. */
static int tell(wan_train *t, const wan_batch *b, int64_t own, const wan_report *r)
{
    wan_dev *d = t->dev;
    const int64_t all = told_losses(t, b->n);
    float *sums = t->late.sums, *mine = sums + b->n * t->ranks.mesh.at[WAN_CP];
    const float told[3] = { (float)wan_signals_stop(),
                            (float)(t->job && wan_checkpoint_written(t->job)), (float)r->waited };
    WAN_TRY(wan_dev_zero(d, sums, (size_t)all * sizeof *sums));
    for (int64_t k = 0; k < own && wan_ranks_counts(&t->ranks); k++)
        WAN_TRY(wan_dev_copy(d, mine + t->own_index[k], t->step->loss + k, sizeof *sums));
    WAN_TRY(wan_dev_write(d, sums + all, told, sizeof told));
    memcpy(t->late.tokens, b->tokens, (size_t)b->n * sizeof *b->tokens);
    return wan_group_all_reduce(wan_group_world(t->comm), t->ranks.where, sums, (size_t)all + 3,
                                WAN_F32, WAN_SUM);
}

/* Gradients of this rank's micro-batches, summed over ranks, and the losses; the number of the latter here. */
static int64_t start_micros(wan_train *t, const wan_batch *b)
{
    wan_train_draw(t, t->feed, b, (uint64_t)t->st.step, 0);
    WAN_TRY(wan_store_zero_grad(t->store));
    int64_t own = run_micros(t, t->data, t->feed, b, (uint64_t)t->st.step, 1);
    WAN_TRY(own);
    WAN_TRY(wan_store_settle_grad(t->store));
    if (t->fsdp)
        WAN_TRY(wan_fsdp_finish(t->fsdp));
    WAN_TRY(wan_dp_finish(t->dp));
    return own;
}

/* The update, which is refused on the device where norm or losses are not finite; they are fetched. */
static int start_update(wan_train *t, const wan_report *r, int64_t own)
{
    wan_dev *d = t->dev;
    const wan_train_config *v = &t->c->v;
    double *sumsq = t->optim->sumsq;
    const float *sums = t->late.sums;
    if (sums) {
        WAN_TRY(wan_ranks_norm_begin(&t->ranks, t->store, sumsq, sums, told_losses(t, r->samples)));
        WAN_TRY(wan_optim_step(t->optim, r->lr, v->weight_decay, v->clip_grad));
    } else {
        WAN_TRY(wan_optim_norm_step(t->optim, t->step->loss, own, r->lr, v->weight_decay,
                                    v->clip_grad));
    }
    if (t->fsdp)
        WAN_TRY(wan_fsdp_changed(t->fsdp));
    WAN_TRY(wan_dev_fetch(d, 0, sumsq, 16));
    return wan_dev_fetch(d, 16, sums ? sums : t->step->loss,
                         (size_t)(sums ? told_losses(t, r->samples) + 3 : own) * sizeof(float));
}

/* Looks at the step before and reports it, when this one's work is on its way. */
static int start_step(wan_train *t, wan_report_fn *report, void *arg, int *stop)
{
    double begin = wan_now();
    const wan_batch *b;
    wan_traffic before;
    wan_report r = { .lr = wan_schedule_lr(&t->schedule, t->st.step) };
    const int was = t->late.open, alone = !t->late.sums;
    t->written = alone ? t->job && wan_checkpoint_written(t->job) : 0;
    wan_traffic_read(&before, t->comm);
    WAN_TRY(timed(t, WAN_TIME_DATA, begin, wan_data_batch(t->data, &b)));
    int64_t own = start_micros(t, b);
    WAN_TRY(own);
    fill_report(t, b, &r);
    count_traffic(t, &before, &r);
    WAN_TRY(look(t));
    if (was)
        WAN_TRY(report(arg, &t->late.r));
    if (!alone)
        WAN_TRY(tell(t, b, own, &r));
    WAN_TRY(start_update(t, &r, own));
    count_step(t, b, &r);
    *stop = alone ? wan_signals_stop() : t->late.stop;
    r.seconds = wan_now() - begin;
    finish_report(t, &before, &r);
    keep(t, &r, own);
    return 0;
}

/* One training step; *stop is set when any rank was asked to stop. */
static int one_step(wan_train *t, wan_report *r, int *stop)
{
    double begin = wan_now();
    const wan_batch *b;
    wan_traffic before;
    memset(r, 0, sizeof *r);
    wan_traffic_read(&before, t->comm);
    r->lr = wan_schedule_lr(&t->schedule, t->st.step);
    WAN_TRY(timed(t, WAN_TIME_DATA, begin, wan_data_batch(t->data, &b)));
    WAN_TRY(compute(t, b, stop));
    fill_report(t, b, r);
    count_losses(r, t->draw, t->factors, t->losses);
    if (t->dump)
        WAN_TRY(wan_debug_write(t, b, r->loss));
    double ready = wan_now();
    r->step = t->st.step + 1;
    WAN_TRY(timed(t, WAN_TIME_OPTIMIZER, ready, update(t, r)));
    count_step(t, b, r);
    WAN_TRY(wan_dev_sync(t->dev));
    r->seconds = wan_now() - begin;
    t->looked = wan_now();
    finish_report(t, &before, r);
    return wan_comm_sum_f64(t->comm, &r->waited, 1);
}

/* Losses of a batch of the val split, at fixed noise levels. */
static int validate_batch(wan_train *t, double *sum, int64_t *count)
{
    const wan_batch *b;
    WAN_TRY(wan_data_batch(t->val, &b));
    wan_train_draw(t, t->val_feed, b, UINT64_MAX, 1);
    WAN_TRY(wan_train_micros(t, t->val, t->val_feed, b, UINT64_MAX, 0));
    WAN_TRY(wan_comm_sum_f64(t->comm, t->losses, (size_t)b->n));
    for (int64_t k = 0; k < b->n; k++)
        *sum += t->losses[k];
    *count += b->n;
    return 0;
}

/* Average and weights change places. */
static int swap_ema(wan_train *t)
{
    if (!t->ema)
        return 0;
    if (t->fsdp)
        WAN_TRY(wan_fsdp_settle(t->fsdp));
    WAN_TRY(wan_ema_swap(t->ema));
    return t->fsdp ? wan_fsdp_changed(t->fsdp) : 0;
}

int wan_train_validate(wan_train *t, double *loss)
{
    const int64_t n = t->c->v.eval_iters;
    int64_t count = 0;
    double sum = 0;
    WAN_TRY(swap_ema(t));
    int rc = wan_data_start(t->val, 0, n);
    for (int64_t i = 0; i < n && rc == 0; i++)
        rc = validate_batch(t, &sum, &count);
    wan_data_stop(t->val);
    if (rc == 0)
        rc = swap_ema(t);
    *loss = sum / (double)(count ? count : 1);
    return rc;
}

/* Videos of the weights, or of their average. */
static int make_samples(wan_train *t)
{
    WAN_TRY(swap_ema(t));
    WAN_TRY(wan_samples_make(t));
    return swap_ema(t);
}

/* Waits for the checkpoint that is being written, if one is. */
static int finish_save(wan_train *t)
{
    if (!t->job)
        return 0;
    WAN_TRY(wan_checkpoint_end(&t->job));
    t->saved = t->saving;
    if (t->comm->rank == 0)
        wan_info("checkpoint of step %lld in %s", (long long)t->saved, t->c->v.save);
    return 0;
}

/* Of a checkpoint that is not the last one, or is tried again: whether the run goes on without it. */
static int go_on(wan_train *t, int rc)
{
    if (rc == 0 || !t->c->v.save_anyway)
        return rc;
    if (t->comm->rank == 0)
        wan_warn("no checkpoint of step %lld, and the run goes on (checkpoint.on_error): %s",
                 (long long)t->saving, wan_err_text());
    return 0;
}

static int write_checkpoint(wan_train *t, int behind)
{
    const wan_checkpoint_vector v[] = { { "exp_avg", t->optim->exp_avg },
                                        { "exp_avg_sq", t->optim->exp_avg_sq },
                                        { t->ema ? "ema" : NULL, t->ema ? t->ema->x : NULL },
                                        { NULL, NULL } };
    WAN_TRY(go_on(t, finish_save(t)));
    if (!wan_train_saves(t) || t->saved == t->st.step)
        return 0;
    t->saving = t->st.step;
    WAN_TRY(wan_train_settle(t, wan_rundir_held(t->hold - 1, t->c->v.save)));
    WAN_TRY(wan_checkpoint_begin(&t->job, t->c->v.save, &t->st, &t->arch, &t->ranks, t->store, v,
                                 t->c, behind));
    return behind ? 0 : finish_save(t);
}

/* What a person who looks at the line of progress waits for. */
static void waiting(const wan_train *t, const char *what)
{
    if (t->comm->rank == 0)
        wan_progress(-1, "step %lld  %s", (long long)t->st.step, what);
}

/* behind: training goes on meanwhile. */
static int save(wan_train *t, int behind)
{
    double begin = wan_now();
    if (wan_train_saves(t) && !behind)
        waiting(t, "writing a checkpoint");
    return timed(t, WAN_TIME_SAVE, begin, write_checkpoint(t, behind));
}

/* Steps of the run: train.train_iters, or as many as train.epochs leaves samples for. */
static int64_t last_step(const wan_train *t)
{
    const wan_train_config *v = &t->c->v;
    int64_t total, left;
    if (v->epochs == 0 || __builtin_mul_overflow(v->epochs, t->st.samples, &total))
        return v->train_iters; /* more than can be counted is no limit */
    left = total > t->st.position ? (total - t->st.position - 1) / v->global_batch + 1 : 0;
    return v->train_iters - t->st.step < left ? v->train_iters : t->st.step + left;
}

/* Every rank has read what it goes on from: rank 0 may clear up after a killed run.  Where no further step
 * will do so, the last save may have been cut off before its pointer, or before it removed the oldest. */
static int sweep(wan_train *t)
{
    int rc = 0;
    if (!wan_train_saves(t))
        return 0;
    if (t->comm->rank == 0 && !t->hold) {
        int fd = -1;
        rc = wan_rundir_hold(&fd, t->c->v.save);
        t->hold = fd + 1;
    }
    if (rc == 0 && t->comm->rank == 0)
        rc = wan_rundir_sweep(t->c->v.save);
    if (rc == 0 && t->comm->rank == 0 && t->saved == t->st.step && t->st.step >= last_step(t))
        rc = wan_rundir_end(t->c->v.save, t->st.step, t->c->v.keep);
    return wan_train_settle(t, rc);
}

static int due(int64_t step, int64_t interval)
{
    return interval > 0 && step % interval == 0;
}

/* Whether the last step took the last sample of an epoch. */
static int ended_epoch(const wan_train *t)
{
    int64_t before = t->st.position - t->c->v.global_batch;
    return t->st.position / t->st.samples > before / t->st.samples;
}

/* The checkpoint that lets a run be started again, and its exit status. */
static int stop_here(wan_train *t, const char *why)
{
    WAN_TRY(save(t, 0));
    if (t->fsdp)
        WAN_TRY(wan_fsdp_settle(t->fsdp));
    if (t->saved != t->st.step)
        return wan_err("%s after step %lld; checkpoint.save is empty, so nothing was kept", why,
                       (long long)t->st.step);
    return WAN_EXIT_AGAIN;
}

/* Whether something is to be done after the step that was started last, for which it must have ended. */
static int pauses(const wan_train *t, int64_t end)
{
    const wan_train_config *v = &t->c->v;
    const int64_t step = t->st.step;
    return !t->late.open || step == end || (t->val && due(step, v->eval_interval)) ||
           (t->videos && due(step, v->sample_interval)) || due(step, v->save_interval) ||
           (v->save_every_epoch && ended_epoch(t)) || due(step, v->exit_interval);
}

/* The first step without its update, in which shapes are measured. */
static int tune(wan_train *t)
{
    int stop;
    const wan_batch *b;
    if (!wan_tune_begin(t))
        return 0;
    WAN_TRY(wan_data_start(t->data, t->st.position, 1));
    WAN_TRY(wan_data_batch(t->data, &b));
    WAN_TRY(compute(t, b, &stop));
    wan_data_stop(t->data);
    memset(t->spent, 0, sizeof t->spent); /* of training alone */
    return wan_tune_end(t);
}

/* Parts and updates are recorded where that is asked for: behind the measurements, which are not to be. */
static int begin_graphs(wan_train *t)
{
    if (!t->c->v.graphs || t->opt.rehearse)
        return 0;
    if (!wan_dev_records(t->dev) && t->comm->rank == 0)
        wan_warn("train.graphs: nothing is recorded on this device");
    wan_optim_record(t->optim);
    wan_reel_open(&t->ranks.reel, t->dev);
    return wan_step_record(t->step);
}

/* A step to its end, its report in t->late; or one that is only started. */
static int step(wan_train *t, wan_report_fn *report, void *arg, int *stop)
{
    const int ahead = runs_ahead(t), was = t->late.open;
    if (ahead)
        return start_step(t, report, arg, stop);
    WAN_TRY(look(t));
    if (was)
        WAN_TRY(report(arg, &t->late.r));
    return one_step(t, &t->late.r, stop);
}

static int run(wan_train *t, wan_report_fn *report, void *arg)
{
    const wan_train_config *v = &t->c->v;
    int64_t end = last_step(t);
    if (t->st.step >= end && t->comm->rank == 0)
        wan_info("step %lld of %lld: nothing left to do", (long long)t->st.step, (long long)end);
    WAN_TRY(sweep(t));
    if (t->st.step < end) {
        WAN_TRY(tune(t));
        WAN_TRY(begin_graphs(t));
        WAN_TRY(wan_data_start(t->data, t->st.position, end - t->st.step));
    }
    while (t->st.step < end) {
        wan_report *r = &t->late.r;
        int stop = 0;
        WAN_TRY(step(t, report, arg, &stop));
        r->steps = end;
        stop = stop || t->late.stop;
        if (t->written)
            WAN_TRY(go_on(t, finish_save(t)));
        if (!stop && !pauses(t, end))
            continue;
        WAN_TRY(look(t));
        stop = stop || t->late.stop;
        if (t->val && (due(t->st.step, v->eval_interval) || t->st.step == end)) {
            waiting(t, "validating");
            WAN_TRY(wan_train_validate(t, &r->val_loss));
            memset(t->spent, 0, sizeof t->spent); /* of training alone */
            r->has_val = 1;
        }
        WAN_TRY(report(arg, r));
        if (t->videos && (due(t->st.step, v->sample_interval) || t->st.step == end)) {
            waiting(t, "making samples");
            WAN_TRY(make_samples(t));
            memset(t->spent, 0, sizeof t->spent); /* of training alone */
        }
        if (stop && t->st.step < end)
            return stop_here(t, "stopped by a signal");
        if (due(t->st.step, v->save_interval) || (v->save_every_epoch && ended_epoch(t)))
            WAN_TRY(go_on(t, save(t, v->async_save)));
        if (due(t->st.step, v->exit_interval) && t->st.step < end)
            return stop_here(t, "train.exit_interval");
    }
    WAN_TRY(save(t, 0));
    return t->fsdp && wan_fsdp_settle(t->fsdp) < 0 ? -1 : WAN_EXIT_DONE;
}

int wan_train_run(wan_train *t, wan_report_fn *report, void *arg)
{
    int status = run(t, report, arg);
    if (status < 0 && t->job) /* what is half written of a checkpoint goes */
        wan_checkpoint_abandon(&t->job);
    if (status >= 0 && t->c->v.graphs && t->comm->rank == 0 && !t->opt.rehearse)
        wan_info("%lld parts of micro-batches and %lld updates were done from recordings",
                 (long long)wan_step_replays(t->step), (long long)wan_optim_replays(t->optim));
    return status;
}
