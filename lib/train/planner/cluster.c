/* SPDX-License-Identifier: Apache-2.0
 *
 * cluster.c - see cluster.h.
 */
#include "lib/train/planner/cluster.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/file.h"
#include "lib/base/yaml.h"

/* Machines of 8, one network adapter for each.  Products and attention of bf16 at what large shapes
 * reach, memory and links at nine tenths of what they are sold as. */
static const wan_cluster known[] = {
    { "a100", { 250e12, 180e12, 130e12, 1.8e12, 0 }, { 8, 270e9, 22e9, 5e-6, 15e-6 }, 80e9, 4e9 },
    { "h100", { 700e12, 600e12, 450e12, 3.0e12, 0 }, { 8, 400e9, 45e9, 5e-6, 15e-6 }, 80e9, 6e9 },
    { "h200", { 700e12, 600e12, 450e12, 4.3e12, 0 }, { 8, 400e9, 45e9, 5e-6, 15e-6 }, 141e9, 6e9 },
    { "b200",
      { 1600e12, 1200e12, 900e12, 7.2e12, 0 },
      { 8, 800e9, 45e9, 5e-6, 15e-6 },
      180e9,
      8e9 },
};

static const struct {
    const char *key, *unit;
    size_t at;
} fields[] = {
    { "products", "FLOP/s of matrix products", offsetof(wan_cluster, rates.products) },
    { "attention", "FLOP/s of its forward", offsetof(wan_cluster, rates.attention) },
    { "attention_backward", "FLOP/s", offsetof(wan_cluster, rates.attention_back) },
    { "memory_rate", "bytes/s", offsetof(wan_cluster, rates.memory) },
    { "link", "bytes/s of a rank inside a machine, each way", offsetof(wan_cluster, links.near) },
    { "network", "bytes/s of a rank between machines, each way", offsetof(wan_cluster, links.far) },
    { "link_latency", "s", offsetof(wan_cluster, links.near_latency) },
    { "network_latency", "s", offsetof(wan_cluster, links.far_latency) },
    { "memory", "bytes of a rank", offsetof(wan_cluster, memory) },
    { "workspace", "bytes of them for the libraries", offsetof(wan_cluster, workspace) },
};
enum { FIELDS = sizeof fields / sizeof *fields, MACHINE_MOST = 1024, FILE_MOST = 65536 };

static double *field(wan_cluster *m, int i)
{
    return (double *)(void *)((char *)m + fields[i].at);
}

static int find(wan_cluster *out, const char *name)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcasecmp(known[i].name, name)) {
            *out = known[i];
            return 1;
        }
    return 0;
}

/* One key of a file. */
static int set(wan_cluster *m, const char *file, const char *key, const char *text)
{
    char *end;
    double x = strtod(text, &end);
    if (!strcmp(key, "like"))
        return 0;
    if (!strcmp(key, "name")) {
        snprintf(m->name, sizeof m->name, "%s", text);
        return 0;
    }
    if (end == text || *end || !(x >= 0) || isinf(x))
        return wan_err("%s: %s: \"%s\" is no number from 0", file, key, text);
    if (!strcmp(key, "ranks_per_machine")) {
        if (x < 1 || x > MACHINE_MOST || x != floor(x))
            return wan_err("%s: %s: %s", file, key, text);
        m->links.per_machine = (int)x;
        return 0;
    }
    for (int i = 0; i < FIELDS; i++)
        if (!strcmp(key, fields[i].key)) {
            *field(m, i) = x;
            return 0;
        }
    return wan_err("%s: unknown key \"%s\" (wan-train --plan prints them all)", file, key);
}

static int from_map(wan_cluster *m, const char *file, const wan_yaml_node *x)
{
    const wan_yaml_node *like = x->kind == WAN_YAML_MAP ? wan_yaml_get(x, "like") : NULL;
    if (x->kind != WAN_YAML_MAP)
        return wan_err("%s: no keys of a cluster", file);
    if (like && (like->kind != WAN_YAML_SCALAR || !find(m, like->text)))
        return wan_err("%s: like: one of a100, h100, h200, b200", file);
    snprintf(m->name, sizeof m->name, "%s", file);
    for (size_t i = 0; i < x->n; i++) {
        if (x->item[i]->kind != WAN_YAML_SCALAR)
            return wan_err("%s: %s: a number is wanted", file, x->key[i]);
        WAN_TRY(set(m, file, x->key[i], x->item[i]->text));
    }
    return 0;
}

int wan_cluster_load(wan_cluster *out, const char *name)
{
    wan_yaml *y;
    if (find(out, name))
        return 0;
    FILE *f = fopen(name, "r");
    char *text = f ? wan_malloc(FILE_MOST, 1, name) : NULL;
    if (!f)
        return wan_err("--device %s: not one of a100, h100, h200, b200, and no such file", name);
    size_t n = text ? fread(text, 1, FILE_MOST, f) : 0;
    int rc = !text || ferror(f) ? wan_err_errno("%s", name) : 0;
    fclose(f);
    if (rc == 0 && n == FILE_MOST)
        rc = wan_err("%s: too long for the description of a cluster", name);
    find(out, "h100");
    if (rc == 0)
        rc = wan_yaml_parse(&y, text, n, name);
    if (rc == 0) {
        rc = from_map(out, name, wan_yaml_root(y));
        wan_yaml_free(&y);
    }
    free(text);
    return rc;
}

void wan_cluster_print(const wan_cluster *m, FILE *f)
{
    wan_cluster copy = *m;
    fprintf(f, "name: %s\nranks_per_machine: %d\n", m->name, m->links.per_machine);
    for (int i = 0; i < FIELDS; i++)
        fprintf(f, "%s: %.4g   # %s\n", fields[i].key, *field(&copy, i), fields[i].unit);
}
