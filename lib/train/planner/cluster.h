/* SPDX-License-Identifier: Apache-2.0
 *
 * cluster.h - the machines that a plan is for: rates that a rank reaches, not those of a data sheet.
 */
#ifndef WAN_TRAIN_CLUSTER_H
#define WAN_TRAIN_CLUSTER_H

#include <stdio.h>

#include "kernels/device_dry.h"
#include "lib/dist/comm_dry.h"

typedef struct wan_cluster {
    char name[64];
    wan_dry_rates rates;
    wan_dry_links links;
    double memory;    /* bytes of a device */
    double workspace; /* of it, for libraries: products, attention, collectives */
} wan_cluster;

/* name: a100, h100, h200, b200 (any case), or a YAML file with the keys that wan_cluster_print prints; keys
 * that it does not name are those of `like`, h100 without one. */
int wan_cluster_load(wan_cluster *out, const char *name) WAN_MUST_CHECK;
/* As YAML that wan_cluster_load reads. */
void wan_cluster_print(const wan_cluster *m, FILE *f);

#endif
