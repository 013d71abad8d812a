/* SPDX-License-Identifier: Apache-2.0
 *
 * index_stat.h - what a dataset holds, in figures.
 */
#ifndef WAN_REC_INDEX_STAT_H
#define WAN_REC_INDEX_STAT_H

#include <stdio.h>

#include "lib/base/err.h"

/* Writes lines of five columns with tabs between, a title first:
 *
 *     part   what     of            value   count
 *     train  samples  -             -       80      how many
 *     train  latent   16x21x60x104  -       40      of each size [C, T', h, w]
 *     train  frames   81            -       40      of each length, 1 + 4 (T' - 1)
 *     train  text     17            -       3       of each number of text rows
 *     train  mean     0             -0.02   5241600 mean of channel 0 over that many numbers
 *     train  std      0             0.98    5241600 standard deviation (population, sums in float64)
 *
 * Reads every latent.  progress (or NULL) is called for each sample. */
int wan_index_stat(FILE *out, const char *dir, void (*progress)(size_t done, size_t all))
    WAN_MUST_CHECK;

#endif
