/* SPDX-License-Identifier: Apache-2.0
 *
 * opt_priv.h - what opt.c asks of opt_help.c and opt_complete.c.
 */
#ifndef WAN_BASE_OPT_PRIV_H
#define WAN_BASE_OPT_PRIV_H

#include "lib/base/opt.h"

void wan_opt_help(const wan_tool *t);    /* --help: usage and the table with current values */
void wan_opt_version(const wan_tool *t); /* --version */
void wan_opt_mdoc(const wan_tool *t);    /* --help-mdoc: the OPTIONS section */
void wan_opt_bash(const wan_tool *t);    /* --help-bash: completion */
void wan_opt_zsh(const wan_tool *t);     /* --help-zsh */

#endif
