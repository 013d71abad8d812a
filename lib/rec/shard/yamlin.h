/* SPDX-License-Identifier: Apache-2.0
 *
 * yamlin.h - the part of YAML that Energon's small files need: maps, lists and scalars; anchors,
 * aliases and tags are errors (wan-data(7), Untrusted input).
 */
#ifndef WAN_REC_YAMLIN_H
#define WAN_REC_YAMLIN_H

#include <yaml.h>

#include "lib/base/err.h"

/* Parses the file with read(parser, user). */
int wan_yamlin_load(const char *path, int (*read)(yaml_parser_t *, void *), void *user)
    WAN_MUST_CHECK;
/* The next event, without anchor or tag; the caller deletes it. */
int wan_yamlin_next(yaml_parser_t *y, yaml_event_t *e) WAN_MUST_CHECK;
/* Takes an event of that type or fails with `why`. */
int wan_yamlin_expect(yaml_parser_t *y, yaml_event_type_t type, const char *why) WAN_MUST_CHECK;
/* "line N: why" */
int wan_yamlin_bad(const yaml_event_t *e, const char *why);

#endif
