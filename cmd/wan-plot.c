/* SPDX-License-Identifier: Apache-2.0
 *
 * wan-plot - curves of several runs, from their metrics, as one picture.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/opt.h"
#include "lib/base/signals.h"
#include "lib/media/plot.h"
#include "lib/train/curve.h"

static struct {
    const char *out, *x, *y, *title;
    wan_strlist names;
    int64_t smooth, width, height;
    int log, val;
} o = { .out = "loss.png", .x = "step", .y = "loss", .smooth = 50, .width = 900, .height = 520 };

static const wan_opt table[] = {
    WAN_OPT_GROUP("Options"),
    WAN_OPT_STR("output", 'o', "FILE", &o.out, "the picture, .png or .svg"),
    WAN_OPT_STR("key", 'k', "NAME", &o.y,
                "what is drawn: loss, loss_unweighted, lr, grad_norm, val_loss, sigma_bins.3, any "
                "number of the metrics"),
    WAN_OPT_STR("by", 0, "NAME", &o.x, "over what: step, consumed_samples, epoch"),
    WAN_OPT_INT("smooth", 's', "N", &o.smooth, 1, 1000000,
                "mean over N lines, drawn over the values themselves in pale; 1: the values alone"),
    WAN_OPT_FLAG("log", 'l', &o.log, "logarithmic scale of what is drawn"),
    WAN_OPT_FLAG("val", 0, &o.val, "draw val_loss too, as dots"),
    WAN_OPT_LIST("name", 'n', "TEXT", &o.names,
                 "one for each run, for the legend; else the names of the files"),
    WAN_OPT_STR("title", 't', "TEXT", &o.title, "above the picture"),
    WAN_OPT_INT("width", 0, "PIXELS", &o.width, 200, 8192, "of the picture"),
    WAN_OPT_INT("height", 0, "PIXELS", &o.height, 200, 8192, "of the picture"),
    WAN_OPT_COMMON,
    WAN_OPT_END
};
static const wan_tool tool = { "wan-plot", "curves of training runs from their metrics",
                               "[options] METRICS.jsonl...", table };

/* Lines 2 i and 2 i + 1 are run i's: the key, and its validation. */
static int read_run(wan_curve *c, wan_plot_line *l, const char *path, const char *name, int i)
{
    static char val[64][300];
    WAN_TRY(wan_curve_read(&c[0], path, o.x, o.y));
    if (!c[0].n)
        return wan_err("%s: no line has a number \"%s\"", path, o.y);
    l[0] = (wan_plot_line){ c[0].x, c[0].y, c[0].n, name, strcmp(o.y, "val_loss") == 0, i };
    if (!o.val)
        return 0;
    WAN_TRY(wan_curve_read(&c[1], path, o.x, "val_loss"));
    snprintf(val[i % 64], sizeof val[0], "%.250s (val)", name);
    l[1] = (wan_plot_line){ c[1].x, c[1].y, c[1].n, c[1].n ? val[i % 64] : NULL, 1, i };
    return 0;
}

static int plot(char **path, int n)
{
    wan_curve *c = wan_calloc(2 * (size_t)n, sizeof *c, "curves");
    wan_plot_line *l = wan_calloc(2 * (size_t)n, sizeof *l, "curves");
    int rc = c && l ? 0 : -1;
    for (int i = 0; i < n && rc == 0; i++)
        rc = read_run(c + 2 * i, l + 2 * i, path[i], o.names.n ? o.names.v[i] : path[i], i);
    wan_plot p = { .title = o.title,
                   .x_name = o.x,
                   .y_name = o.y,
                   .width = (int)o.width,
                   .height = (int)o.height,
                   .smooth = (size_t)o.smooth,
                   .log_y = o.log,
                   .line = l,
                   .n = 2 * n };
    if (rc == 0)
        rc = wan_plot_write(&p, o.out);
    for (int i = 0; c && i < 2 * n; i++)
        wan_curve_free(&c[i]);
    free(c);
    free(l);
    return rc;
}

int main(int argc, char **argv)
{
    wan_signals_filter();
    int argi = wan_opt_parse(&tool, argc, argv), n = argc - argi;
    if (n < 1)
        wan_err("no file of metrics is named");
    else if (n > 64)
        wan_err("%d runs: at most 64 in one picture", n);
    else if (o.names.n && (int)o.names.n != n)
        wan_err("--name: %zu names for %d runs", o.names.n, n);
    else if (plot(argv + argi, n) < 0)
        wan_die();
    else
        return WAN_EXIT_DONE;
    wan_die_usage();
}
