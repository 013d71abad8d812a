/* SPDX-License-Identifier: Apache-2.0
 *
 * examples.h - the configuration files to start from, where the program finds them: beside an
 * installed one in share/wan-tools/configs, beside a built one in examples/configs.
 */
#ifndef WAN_TRAIN_EXAMPLES_H
#define WAN_TRAIN_EXAMPLES_H

#include <stdio.h>

/* One line for each file, its path and its first comment, sorted by name.  Returns their number. */
int wan_examples_list(FILE *f);

#endif
