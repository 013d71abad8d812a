/* SPDX-License-Identifier: Apache-2.0
 *
 * metrics.c - see metrics.h.
 */
#include "lib/train/metrics.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/file.h"
#include "lib/base/json.h"

#define MAX_LINE 65536

/* ---- a file that is there already ---- */

enum { NO_LINE = -1, NO_MEMORY = -2 };
/* The step of a line, or one of these. */
static int64_t line_step(const char *line, size_t n)
{
    int64_t step = NO_LINE;
    wan_err_clear();
    json_t *j = wan_json_parse(line, n, "metrics");
    if (!json_is_object(j) || wan_json_int(j, "step", -1, 0, INT64_C(1) << 53, &step, "") < 0)
        step = wan_err_memory() ? NO_MEMORY : NO_LINE;
    json_decref(j);
    return step;
}

/* Copies the lines up to step from in to keep (NULL: only counts the others). */
static int filter(FILE *in, const char *path, int64_t step, FILE *keep, int64_t *dropped)
{
    static const char start[] = "{\"step\":";
    static char line[MAX_LINE];
    *dropped = 0;
    for (int64_t number = 1; fgets(line, sizeof line, in); number++) {
        size_t n = strlen(line);
        int cut = line[n - (n > 0)] != '\n' && feof(in) && !strncmp(line, start, sizeof start - 1);
        int64_t its = cut ? NO_LINE : line_step(line, n);
        if (its == NO_MEMORY)
            return -1;
        if (its < 0 && !cut)
            return wan_err("%s: line %lld is no line of metrics: the file is left as it is, name "
                           "another one",
                           path, (long long)number);
        if (cut || its > step)
            ++*dropped;
        else if (keep)
            fputs(line, keep);
    }
    return ferror(in) ? wan_err_errno("%s: cannot read", path) : 0;
}

static int drop_after(const char *path, int64_t step, int64_t *dropped)
{
    wan_out *o = NULL;
    FILE *in = fopen(path, "r");
    if (!in)
        return wan_err_errno("%s", path);
    int rc = filter(in, path, step, NULL, dropped);
    if (rc == 0 && *dropped) {
        rc = fseeko(in, 0, SEEK_SET) ? wan_err_errno("%s: cannot be read again", path)
                                     : wan_out_open(&o, path);
        if (rc == 0)
            rc = filter(in, path, step, wan_out_file(o), dropped);
        if (rc == 0)
            rc = wan_out_finish(&o);
        wan_out_discard(&o);
    }
    fclose(in);
    return rc;
}

int wan_metrics_open(FILE **out, const char *path, int64_t step, int64_t *dropped)
{
    struct stat st;
    *dropped = 0;
    int there = stat(path, &st) == 0;
    if (!there && errno != ENOENT)
        return wan_err_errno("%s", path);
    if (there && S_ISREG(st.st_mode) && st.st_size)
        WAN_TRY(drop_after(path, step, dropped));
    *out = fopen(path, "a");
    return *out ? 0 : wan_err_errno("%s", path);
}

/* ---- lines ---- */

static void bins(FILE *f, const wan_report *r)
{
    fprintf(f, ",\"sigma_bins\":[");
    for (int i = 0; i < WAN_SIGMA_BINS; i++)
        if (r->bin_count[i] && r->bin_loss[i] - r->bin_loss[i] == 0)
            fprintf(f, "%s[%lld,%.7g]", i ? "," : "", (long long)r->bin_count[i], r->bin_loss[i]);
        else
            fprintf(f, "%s[%lld,null]", i ? "," : "", (long long)r->bin_count[i]);
    fprintf(f, "]");
}

/* JSON has no NaN. */
static void number(FILE *f, const char *key, double x)
{
    if (x - x == 0)
        fprintf(f, ",\"%s\":%.9g", key, x);
    else
        fprintf(f, ",\"%s\":null", key);
}

/* {"tp":{"all_reduce":[calls, bytes, seconds], ...}, ...} */
static void traffic(FILE *f, const wan_traffic *t)
{
    const char *open = NULL;
    fprintf(f, ",\"comm\":{");
    for (int i = 0; i < t->n; i++) {
        const wan_traffic_line *l = &t->line[i];
        if (open && strcmp(open, l->group))
            fprintf(f, "},");
        if (!open || strcmp(open, l->group))
            fprintf(f, "\"%s\":{", l->group);
        else
            fprintf(f, ",");
        open = l->group;
        fprintf(f, "\"%s\":[%lld,%lld,%.4g]", wan_group_kind_name(l->kind),
                (long long)l->count.calls, (long long)l->count.bytes, l->count.seconds);
    }
    fprintf(f, "%s}", open ? "}" : "");
}

static void times(FILE *f, const wan_report *r)
{
    static const char *const name[WAN_TIMES] = { "data", "forward", "backward", "optimizer",
                                                 "save" };
    fprintf(f, ",\"time\":{");
    for (int i = 0; i < WAN_TIMES; i++)
        fprintf(f, "%s\"%s\":%.3g", i ? "," : "", name[i], r->spent[i]);
    fprintf(f, "}");
}

void wan_metrics_write(FILE *f, const wan_report *r)
{
    fprintf(f, "{\"step\":%lld", (long long)r->step);
    number(f, "loss", r->loss);
    number(f, "loss_unweighted", r->loss_unweighted);
    number(f, "lr", r->lr);
    number(f, "grad_norm", r->grad_norm);
    fprintf(f, ",\"samples\":%lld,\"tokens\":%lld,\"packs\":%lld,\"consumed_samples\":%lld",
            (long long)r->samples, (long long)r->tokens, (long long)r->micros,
            (long long)r->position);
    number(f, "epoch", r->epoch);
    number(f, "padding", r->padding);
    fprintf(f, ",\"dropped_captions\":%lld,\"ranks\":%d", (long long)r->dropped, r->ranks);
    number(f, "s_per_step", r->seconds);
    number(f, "tokens_per_s", (double)r->tokens / r->seconds);
    number(f, "samples_per_s", (double)r->samples / r->seconds);
    number(f, "model_tflops", r->flops / r->seconds * 1e-12 / r->ranks);
    fprintf(f, ",\"memory\":%lld,\"workspace\":%lld", (long long)r->memory,
            (long long)r->workspace);
    if (r->ranks > 1) {
        number(f, "imbalance", r->imbalance);
        number(f, "s_waiting", r->waited);
        traffic(f, &r->traffic);
    }
    if (*r->skipped)
        fprintf(f, ",\"skipped\":\"%s\"", r->skipped);
    if (r->has_val)
        number(f, "val_loss", r->val_loss);
    times(f, r);
    bins(f, r);
    fprintf(f, "}\n");
}
