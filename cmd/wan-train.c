/* SPDX-License-Identifier: Apache-2.0
 *
 * wan-train - shards and a configuration in, checkpoints out.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/tile.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/opt.h"
#include "lib/base/signals.h"
#include "lib/train/config/examples.h"
#include "lib/train/events.h"
#include "lib/train/metrics.h"
#include "lib/train/planner/predict.h"
#include "lib/train/schedule.h"
#include "lib/train/train.h"

static struct {
    const char *config, *mode, *device, *precision, *metrics, *transport, *dataset;
    int mock, plan, dry_run, strict, fast, keys, keys_mdoc, print_config, debug;
    int64_t memory, ranks;
    int search, offload, graphs;
} o = { .device = "auto", .metrics = "-", .transport = "auto" };

static const wan_opt table[] = {
    WAN_OPT_GROUP("Configuration"),
    WAN_OPT_STR(
        "config-file", 'c', "FILE", &o.config,
        "YAML file with keys; it overrides the recipe and is overridden by key=value; a "
        "FILE.yaml among the operands is one too, and a later one overrides an earlier one"),
    WAN_OPT_ALSO("config"),
    WAN_OPT_ENUM("training-mode", 0, "pretrain|finetune", &o.mode,
                 "numbers of the flow.* keys that are not given (finetune, or those of Automodel's "
                 "pipeline where a file is written in its names)"),
    WAN_OPT_FLAG("mock", 0, &o.mock, "train on random data of the dataset.* shape"),
    WAN_OPT_STR("dataset-path", 0, "PATH", &o.dataset, "the key dataset.path"),
    WAN_OPT_FLAG("print-config", 0, &o.print_config,
                 "print the effective configuration, each value with its origin, and exit; with "
                 "--plan or --dry-run after the model and the data have been looked at"),
    WAN_OPT_FLAG("help-keys", 0, &o.keys, "print all keys with their values and exit"),
    WAN_OPT_FLAG("help-keys-mdoc", 0, &o.keys_mdoc, "print the key table of the manual and exit"),
    WAN_OPT_GROUP("Running"),
    WAN_OPT_FLAG(
        "plan", 0, &o.plan,
        "print tokens, memory, FLOPs and what the device is, and exit: 1 if it does not fit"),
    WAN_OPT_INT(
        "ranks", 0, "N", &o.ranks, 0, 1 << 20,
        "with --plan: what so many ranks of the machines that --device names will take; 0: of "
        "those that run, or where one process plans a layout of several, of so many"),
    WAN_OPT_FLAG("search", 0, &o.search,
                 "with --plan --ranks: every layout that fits, the fastest one in full"),
    WAN_OPT_FLAG("dry-run", 0, &o.dry_run, "open and check everything, train nothing"),
    WAN_OPT_STR("device", 0, "NAME", &o.device, "auto, cpu, ref, cuda or cuda:N"),
    WAN_OPT_FLAG("strict", 0, &o.strict, "refuse the slower kernels that else are warned of"),
    WAN_OPT_FLAG("fast", 0, &o.fast, "allow kernels whose sums have no fixed order"),
    WAN_OPT_ENUM("precision", 0, "fp32|bf16|fp8", &o.precision,
                 "type of GEMM and attention operands: the key model.compute_dtype"),
    WAN_OPT_FLAG("offload", 0, &o.offload,
                 "optimizer states and kept activations wait in host memory: the keys "
                 "optimizer.optimizer_cpu_offload and model.cpu_offloading"),
    WAN_OPT_FLAG(
        "graphs", 0, &o.graphs,
        "CUDA: micro-batches whose shape comes again are started from recordings, with the "
        "same bytes: the key train.graphs"),
    WAN_OPT_SIZE("memory", 0, "BYTES", &o.memory, 0, 9e15,
                 "memory that a rank may take (0: what the device has)"),
    WAN_OPT_ENUM("transport", 0, "auto|self|mpi|nccl", &o.transport,
                 "how ranks talk to each other"),
    WAN_OPT_GROUP("Output"),
    WAN_OPT_STR("metrics", 0, "FILE", &o.metrics,
                "one JSON line per step; a resumed run replaces the lines of the steps that it "
                "makes anew (- is standard output)"),
    WAN_OPT_FLAG("debug", 0, &o.debug, "say everything, as -vv"),
    WAN_OPT_COMMON,
    WAN_OPT_END
};
static const wan_tool tool = { "wan-train", "train a WAN 2.1 transformer by flow matching",
                               "[options] [FILE.yaml...] [key=value...]", table };

typedef struct sink {
    FILE *f;            /* NULL after the reader has gone */
    wan_events *events; /* NULL: none are asked for */
    int rank;
    int64_t interval;
    int next_lr;         /* people are shown the rate that Automodel's log would have */
    double pace;         /* seconds of a step, smoothed; 0: none yet */
    double data, others; /* of them, waiting for samples and for other ranks */
} sink;

static sink sink_of(const wan_config *c, const wan_comm *comm)
{
    return (sink){ .rank = comm->rank,
                   .interval = c->v.log_interval,
                   .next_lr = c->v.recipe == WAN_RECIPE_AUTOMODEL };
}

static const char *metrics_name(void)
{
    return strcmp(o.metrics, "-") ? o.metrics : "<stdout>";
}

/* The mean of about the last 20 steps. */
static void smooth(double *mean, double x, int first)
{
    *mean = first ? x : *mean + 0.05 * (x - *mean);
}

/* One line on a terminal: where the run is, how fast, how long it will still take at that pace, and
 * what it waits for, where that is a fifth of the time. */
static void show_progress(sink *s, const wan_report *r)
{
    char left[32], wait[64] = "";
    const int first = s->pace <= 0;
    smooth(&s->data, r->spent[WAN_TIME_DATA], first);
    smooth(&s->others, r->waited, first);
    smooth(&s->pace, r->seconds, first);
    const double most = fmax(s->data, s->others) / s->pace;
    if (most > 0.2)
        snprintf(wait, sizeof wait, ", %.0f %% of it waiting for %s", 100 * fmin(most, 1),
                 s->data > s->others ? "data" : "other ranks");
    double seconds = s->pace * (double)(r->steps - r->step);
    if (seconds < 100)
        snprintf(left, sizeof left, "%.0f s", seconds);
    else if (seconds < 6000)
        snprintf(left, sizeof left, "%.0f min", seconds / 60);
    else
        snprintf(left, sizeof left, "%.1f h", seconds / 3600);
    wan_progress(r->step == r->steps, "step %lld/%lld  loss %.4f  %.3g s/step%s  %s left",
                 (long long)r->step, (long long)r->steps, r->loss, s->pace, wait, left);
}

static int report(void *arg, const wan_report *r)
{
    sink *s = arg;
    if (s->rank != 0)
        return 0;
    if (s->f) {
        wan_metrics_write(s->f, r);
        if (fflush(s->f) != 0 && errno == EPIPE) { /* a closed viewer must not end the run */
            wan_warn("nobody reads the metrics any more: they end at step %lld",
                     (long long)r->step);
            s->f = NULL;
        } else if (ferror(s->f)) {
            return wan_err_errno("%s: cannot write the metrics", metrics_name());
        }
    }
    if (s->events)
        WAN_TRY(wan_events_write(s->events, r));
    if (*r->skipped)
        wan_warn("step %lld made no update: %s", (long long)r->step, r->skipped);
    int end = r->step == r->steps;
    show_progress(s, r);
    if (end || r->step % s->interval == 0)
        wan_info("step %lld/%lld  loss %.5f (unweighted %.5f)  lr %.3g  norm %.4g  %.3g s  "
                 "%.4g tokens/s  %.3g TFLOP/s%s",
                 (long long)r->step, (long long)r->steps, r->loss, r->loss_unweighted,
                 s->next_lr ? r->next_lr : r->lr, r->grad_norm, r->seconds,
                 (double)r->tokens / r->seconds, r->flops / r->seconds * 1e-12,
                 *r->skipped ? "  (skipped)" : "");
    return 0;
}

static int is_yaml(const char *word)
{
    const char *dot = strrchr(word, '.');
    return dot && !strchr(word, '=') && (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml"));
}

/* Automodel's overrides, "--section.key value" or "--section.key=value", become key=value words. */
static char **take_dotted(int *argc, char **argv)
{
    static char **out;          /* as long as argv */
    wan_log_init(tool.name, 1); /* what follows may already have something to say */
    out = wan_calloc((size_t)*argc + 1, sizeof *out, "words");
    int n = 0;
    if (!out)
        wan_die();
    for (int i = 0; i < *argc; i++) {
        char *word = argv[i], *eq = strchr(word, '='), *dot = strchr(word, '.');
        int dotted = i > 0 && !strncmp(word, "--", 2) && dot && (!eq || dot < eq) && dot > word + 2;
        if (!dotted || eq) {
            out[n++] = dotted ? word + 2 : word;
            continue;
        }
        int value = i + 1 < *argc && strncmp(argv[i + 1], "--", 2) != 0;
        size_t size = strlen(word) + (value ? strlen(argv[i + 1]) : 4) + 2;
        char *joined = wan_malloc(size, 1, "words");
        if (!joined)
            wan_die();
        snprintf(joined, size, "%s=%s", word + 2, value ? argv[i + 1] : "true");
        out[n++] = joined;
        i += value;
    }
    *argc = n;
    return out;
}

static int set_word(wan_config *c, const char *key, const char *value)
{
    return value ? wan_config_set(c, key, value, WAN_FROM_WORD) : 0;
}

/* All layers into c; status 2 on a bad key. */
static void configure(wan_config *c, int argc, char **argv, int from)
{
    if (o.config && wan_config_yaml(c, o.config) < 0)
        wan_die_usage();
    for (int i = from; i < argc; i++)
        if (is_yaml(argv[i]) && wan_config_yaml(c, argv[i]) < 0)
            wan_die_usage();
    for (int i = from; i < argc; i++)
        if (!is_yaml(argv[i]) && wan_config_word(c, argv[i]) < 0)
            wan_die_usage();
    if (set_word(c, "dataset.mock", o.mock ? "true" : NULL) < 0 ||
        set_word(c, "dataset.path", o.dataset) < 0 ||
        set_word(c, "model.compute_dtype", o.precision) < 0 ||
        set_word(c, "optimizer.optimizer_cpu_offload", o.offload ? "true" : NULL) < 0 ||
        set_word(c, "model.cpu_offloading", o.offload ? "true" : NULL) < 0 ||
        set_word(c, "train.graphs", o.graphs ? "true" : NULL) < 0 ||
        wan_config_finish(c, o.mode) < 0)
        wan_die_usage();
}

/* Every rank must train the same thing: marks of all keys side by side. */
static void compare(wan_comm *comm, const wan_config *c)
{
    size_t n = (size_t)wan_config_n_keys();
    uint64_t *mine = wan_calloc(n, sizeof *mine, "marks");
    uint64_t *all = wan_calloc(n * (size_t)comm->size, sizeof *all, "marks");
    if (!mine || !all)
        wan_die();
    wan_config_marks(c, mine);
    if (wan_comm_gather(comm, mine, n * sizeof *mine, all) < 0)
        wan_die();
    for (size_t i = n; i < n * (size_t)comm->size; i++)
        if (all[i] != all[i % n]) {
            wan_err("rank %zu was started with another configuration than rank 0: %s differs",
                    i / n, wan_config_key((int)(i % n))->name);
            wan_die_usage();
        }
    free(mine);
    free(all);
}

static void derive_batch(wan_config *c, wan_comm *comm)
{
    int machines;
    if (wan_comm_machines(comm, &machines) < 0)
        wan_die();
    if (wan_config_ranks(c, comm->size, machines) < 0)
        wan_die_usage();
}

static void print_config(const wan_config *c)
{
    for (int i = 0; i < c->n_noted; i++)
        wan_info("accepted without effect: %s", c->noted[i]);
    if (wan_log_level() >= 2)
        wan_config_print(c, stderr, 1);
}

/* What was printed has arrived; exits when not. */
static int close_stdout(void)
{
    if (wan_out_close_stdout() < 0)
        wan_die();
    return WAN_EXIT_DONE;
}

static int open_metrics(sink *s, const char *events, int64_t step)
{
    int64_t dropped = 0;
    if (s->rank == 0 && *events)
        WAN_TRY(wan_events_open(&s->events, events, step));
    if (!strcmp(o.metrics, "-"))
        s->f = stdout;
    else if (s->rank == 0)
        WAN_TRY(wan_metrics_open(&s->f, o.metrics, step, &dropped));
    if (dropped)
        wan_warn("%s: dropped %lld line%s of an earlier run after step %lld", o.metrics,
                 (long long)dropped, dropped == 1 ? "" : "s", (long long)step);
    return 0;
}

/* What runs here, and of a CPU how fast its products are: each way that there is by WAN_CPU_ISA. */
static void print_device(void)
{
    char text[512];
    wan_dev *d; /* a plan needs none, so that the run's is not open */
    if (wan_dev_open(&d, o.device ? o.device : "auto", 0) < 0)
        return;
    if (d->backend->describe(d, text, sizeof text) == 0)
        printf("device       %s\n", text);
    if (d->kind == WAN_DEV_CPU)
        printf(
            "products     %.0f GFLOP/s in fp32, %.0f in bf16 (measured on a block in the cache)\n",
            wan_tile_rate(WAN_F32), wan_tile_rate(WAN_BF16));
    wan_dev_close(&d);
}

/* What the lengths and rates of the configuration come to, with these data. */
static void print_length(const wan_config *c, const wan_train *t)
{
    const wan_train_config *v = &c->v;
    const wan_schedule s = wan_schedule_of(v);
    const int64_t step = wan_train_step(t), left = v->train_iters - step;
    const double seen = (double)wan_train_position(t) + (double)left * (double)v->global_batch,
                 epochs = seen / (double)wan_train_epoch(t);
    printf("run          %lld steps", (long long)v->train_iters);
    if (step)
        printf(", %lld of them done", (long long)step);
    if (v->epochs && epochs >= (double)v->epochs) /* the last batch may begin another one */
        printf(", %lld epoch%s", (long long)v->epochs, v->epochs == 1 ? "" : "s");
    else if (left >= 0)
        printf(", %.4g epochs", epochs);
    printf("\nrate         warm-up of %lld steps%s, then %s", (long long)v->warmup_iters,
           v->warmup_iters > 0 && v->warmup_iters >= v->train_iters ? ", which is the whole run"
                                                                    : "",
           wan_config_text(c, "scheduler.lr_decay_style"));
    if (left > 0)
        printf(": %g first, %.4g last", wan_schedule_lr(&s, step),
               wan_schedule_lr(&s, v->train_iters - 1));
    printf("\n");
}

static int train(wan_config *c, wan_comm *comm)
{
    wan_train *t;
    wan_train_options opt = { .device = o.device,
                              .mock = c->v.mock,
                              .memory = o.memory,
                              .compute = wan_config_compute(&c->v),
                              .device_flags = (o.strict ? WAN_DEV_STRICT : 0) |
                                              (o.fast ? WAN_DEV_NONDETERMINISTIC : 0) };
    sink s = sink_of(c, comm);
    if (wan_train_open(&t, c, comm, &opt) < 0)
        wan_die();
    if (comm->rank == 0)
        print_config(c);
    if (o.print_config) {
        if (comm->rank == 0)
            wan_config_print_origins(c, stdout);
        wan_train_close(&t);
        return close_stdout();
    }
    if (o.plan) {
        if (comm->rank == 0) {
            wan_plan_print(wan_train_plan(t), stdout);
            print_length(c, t);
            print_device();
        }
        int fits = wan_train_fits(t); /* the plan is printed first, also where it does not fit */
        if (comm->rank == 0 && fits == 0)
            close_stdout();
        if (fits < 0)
            wan_die();
        wan_train_close(&t);
        return WAN_EXIT_DONE;
    }
    if (wan_train_start(t) < 0)
        wan_die();
    int status = WAN_EXIT_DONE;
    if (!o.dry_run && (open_metrics(&s, c->v.tensorboard, wan_train_step(t)) < 0 ||
                       (status = wan_train_run(t, report, &s)) < 0))
        wan_die();
    if (s.f && fclose(s.f) != 0) {
        wan_err_errno("%s: cannot write the metrics", metrics_name());
        wan_die();
    }
    if (wan_events_close(&s.events) < 0)
        wan_die();
    wan_train_close(&t);
    return status;
}

/* --plan --ranks: of a cluster that is not there. */
static int foresee(wan_config *c)
{
    wan_cluster m;
    wan_prediction p;
    const int ranks = (int)o.ranks;
    if (wan_cluster_load(&m, strcmp(o.device, "auto") ? o.device : "h100") < 0 ||
        wan_config_ranks(c, ranks, (ranks + m.links.per_machine - 1) / m.links.per_machine) < 0)
        wan_die_usage();
    if (o.search) {
        if (wan_predict_search(c, &m, ranks, stdout) < 0)
            wan_die();
        return close_stdout();
    }
    if (wan_predict(&p, c, &m, ranks, 0) < 0)
        wan_die();
    wan_predict_print(&p, &m, stdout);
    int status = close_stdout();
    if (p.fits)
        return status;
    wan_err("the run needs %.2f GiB of a rank, and the libraries %.2f of the %.2f that %s has: try "
            "--search, or model.recompute_granularity=full",
            (double)wan_rehearse_total(&p.large) / (1 << 30), m.workspace / (1 << 30),
            m.memory / (1 << 30), m.name);
    wan_die();
}

/* --plan in one process of a layout that takes several: of so many, where nobody has named a device. */
static int alone_of_many(const wan_config *c, const wan_comm *comm)
{
    const int64_t ranks = c->v.tp * c->v.pp * c->v.cp;
    if (comm->size > 1 || ranks == 1 || strcmp(o.device, "auto"))
        return 0;
    o.ranks = ranks;
    wan_info("the plan of %lld ranks, which the layout takes at least (--ranks)", (long long)ranks);
    return 1;
}

/* Without arguments: what there is to begin with. */
static int start(void)
{
    printf("usage: %s %s\n\nConfigurations to start from:\n", tool.name, tool.synopsis);
    if (!wan_examples_list(stdout))
        printf("  (none is installed)\n");
    printf("\n  wan-train --mock --plan FILE.yaml      what it takes\n"
           "  wan-train --print-config FILE.yaml     every value, and where it comes from\n"
           "  wan-train --help, man wan-train        all options and keys\n");
    return close_stdout() == WAN_EXIT_DONE ? WAN_EXIT_USAGE : WAN_EXIT_FAILED;
}

/* Another thread than the one that trains: nothing is cleaned up, leftovers of a save are swept by the
 * next run. */
static void lost(const char *why, int end)
{
    if (why)
        wan_warn("%s", why);
    if (end)
        _exit(WAN_EXIT_FAILED);
}

int main(int argc, char **argv)
{
    wan_config *c;
    wan_comm *comm;
    argv = take_dotted(&argc, argv);
    int argi = wan_opt_parse(&tool, argc, argv);
    if (o.keys_mdoc) {
        wan_config_mdoc(stdout);
        return close_stdout();
    }
    if (argc == 1)
        return start();
    if (o.debug)
        wan_log_init(tool.name, 3);
    wan_signals_trainer();
    if (wan_config_new(&c) < 0)
        wan_die();
    configure(c, argc, argv, argi);
    if (o.keys) {
        wan_config_print(c, stdout, 1);
        return close_stdout();
    }
    if (o.plan && o.ranks)
        return foresee(c);
    if (o.ranks || o.search) {
        wan_err("--ranks and --search are for --plan, and --search for --ranks");
        wan_die_usage();
    }
    if (wan_comm_open(&comm, o.transport, (double)c->v.dead_seconds,
                      60.0 * (double)c->v.timeout_minutes) < 0)
        wan_die();
    wan_comm_on_lost(comm, lost);
    if (o.plan && alone_of_many(c, comm)) {
        wan_comm_close(&comm);
        return foresee(c);
    }
    compare(comm, c);
    derive_batch(c, comm);
    if (o.print_config && !o.plan && !o.dry_run) {
        if (comm->rank == 0)
            wan_config_print_origins(c, stdout);
        wan_comm_close(&comm);
        return close_stdout();
    }
    int status = train(c, comm);
    wan_comm_close(&comm);
    wan_config_free(&c);
    return status;
}
