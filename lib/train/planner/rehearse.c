/* SPDX-License-Identifier: Apache-2.0
 *
 * rehearse.c - see rehearse.h.
 */
#include "lib/train/planner/rehearse.h"

#include <string.h>

#include "lib/dist/comm_dry.h"

const char *wan_rehearse_class(enum wan_memory_class c)
{
    static const char *const names[WAN_MEMORY_CLASSES] = {
        "weights", "gradients", "optimizer", "activations", "buffers", "recordings"
    };
    return names[c];
}

/* What wan_dev_alloc was told, and the class it counts in; anything else is a buffer. */
static const struct {
    const char *what;
    enum wan_memory_class class;
} classes[] = {
    { "weights", WAN_MEMORY_WEIGHTS },           { "bf16 weights", WAN_MEMORY_WEIGHTS },
    { "gathered weights", WAN_MEMORY_WEIGHTS },  { "gradients", WAN_MEMORY_GRADS },
    { "gradients of a part", WAN_MEMORY_GRADS }, { "first moments", WAN_MEMORY_OPTIMIZER },
    { "second moments", WAN_MEMORY_OPTIMIZER },  { "average of weights", WAN_MEMORY_OPTIMIZER },
    { "activations", WAN_MEMORY_ACTS },
};

static void count_buffer(void *arg, const char *what, size_t bytes)
{
    wan_rehearsal *r = arg;
    enum wan_memory_class c = WAN_MEMORY_BUFFERS;
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (!strcmp(what, classes[i].what))
            c = classes[i].class;
    r->bytes[c] += (int64_t)bytes;
}

/* What a GPU takes beside what it is asked for. */
static void count_driver(wan_rehearsal *r)
{
    r->bytes[WAN_MEMORY_DRIVER] = r->plan.graphs;
    r->bytes[WAN_MEMORY_BUFFERS] += r->plan.keeps ? r->plan.rounded : 0;
}

static int take_report(void *arg, const wan_report *r)
{
    wan_rehearsal *out = arg;
    out->traffic = r->traffic;
    out->model_flops = r->flops;
    out->tokens = r->tokens;
    return 0;
}

/* The step: from here on the clock runs. */
static int run_step(wan_rehearsal *out, wan_train *t, wan_comm *comm, const wan_cluster *m,
                    int trial)
{
    WAN_TRY(wan_train_start(t));
    wan_dev *d = wan_train_device(t);
    wan_dev_each(d, count_buffer, out);
    count_driver(out);
    if (trial && !wan_rehearse_fits(out, m))
        return 0;
    memset(out->bytes, 0, sizeof out->bytes);
    wan_dry *y = wan_device_dry_of(d);
    y->rates = m->rates;
    y->now = y->products = y->attention = y->attention_back = y->moved = y->computing = 0;
    y->ops = 0;
    wan_comm_dry_run(comm, &m->links, &y->now);
    int rc = wan_train_run(t, take_report, out);
    WAN_TRY(rc);
    wan_dev_each(d, count_buffer, out);
    count_driver(out);
    out->work = *y;
    out->waited = *wan_comm_dry_waited(comm);
    out->far = *wan_comm_dry_far(comm);
    return 0;
}

/* One step, from the start, that leaves nothing behind. */
static void restrict_run(wan_train_config *v)
{
    v->save = v->load = v->pretrained = v->debug_dump = "";
    v->workers = v->eval_interval = v->exit_interval = 0;
    if (v->model_mode == WAN_START_FINETUNE)
        v->model_mode = WAN_START_PRETRAIN;
}

int wan_rehearse(wan_rehearsal *out, wan_config *c, const wan_cluster *m, int ranks, int rank,
                 int trial)
{
    const wan_train_config before = c->v;
    const wan_train_options o = {
        .device = "dry", .compute = wan_config_compute(&c->v), .mock = c->v.mock, .rehearse = 1
    };
    wan_comm *comm = NULL;
    wan_train *t = NULL;
    memset(out, 0, sizeof *out);
    restrict_run(&c->v);
    int rc = wan_comm_dry_open(&comm, rank, ranks);
    if (rc == 0)
        rc = wan_train_open(&t, c, comm, &o);
    if (rc == 0) {
        const int size[WAN_AXES] = { (int)c->v.pp, (int)c->v.dp_replicate, (int)c->v.dp_shard,
                                     (int)c->v.cp, (int)c->v.tp };
        out->plan = *wan_train_plan(t);
        if (*before.save && before.ckpt_enabled)
            wan_plan_saves(&out->plan, (int)before.async_save);
        rc = wan_mesh_new(&out->mesh, size, rank, ranks);
    }
    c->v.train_iters = 1; /* the configuration's own length is known by now */
    c->v.epochs = 0;
    if (rc == 0)
        rc = run_step(out, t, comm, m, trial);
    wan_train_close(&t);
    if (comm)
        wan_comm_close(&comm);
    c->v = before;
    return rc;
}

int64_t wan_rehearse_total(const wan_rehearsal *r)
{
    int64_t n = 0;
    for (int i = 0; i < WAN_MEMORY_CLASSES; i++)
        n += r->bytes[i];
    return n;
}

int wan_rehearse_fits(const wan_rehearsal *r, const wan_cluster *m)
{
    return (double)wan_rehearse_total(r) + m->workspace <= m->memory;
}
