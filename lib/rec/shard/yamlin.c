/* SPDX-License-Identifier: Apache-2.0
 *
 * yamlin.c - libyaml's events, with what could surprise refused.
 */
#include "lib/rec/shard/yamlin.h"

#include <stdlib.h>

#include "lib/base/err.h"
#include "lib/base/file.h"

enum { MAX_YAML = 64 << 20 };

int wan_yamlin_bad(const yaml_event_t *e, const char *why)
{
    return wan_err("line %zu: %s", e->start_mark.line + 1, why);
}

int wan_yamlin_next(yaml_parser_t *y, yaml_event_t *e)
{
    if (!yaml_parser_parse(y, e))
        return y->error == YAML_MEMORY_ERROR
                   ? wan_err("out of memory (YAML)")
                   : wan_err("line %zu: %s", y->problem_mark.line + 1,
                             y->problem ? y->problem : "cannot read YAML");
    int plain = e->type != YAML_ALIAS_EVENT;
    if (e->type == YAML_SCALAR_EVENT)
        plain = !e->data.scalar.anchor && !e->data.scalar.tag;
    else if (e->type == YAML_SEQUENCE_START_EVENT)
        plain = !e->data.sequence_start.anchor && !e->data.sequence_start.tag;
    else if (e->type == YAML_MAPPING_START_EVENT)
        plain = !e->data.mapping_start.anchor && !e->data.mapping_start.tag;
    if (plain)
        return 0;
    wan_yamlin_bad(e, "anchors and tags are not allowed");
    yaml_event_delete(e);
    return -1;
}

int wan_yamlin_expect(yaml_parser_t *y, yaml_event_type_t type, const char *why)
{
    yaml_event_t e;
    WAN_TRY(wan_yamlin_next(y, &e));
    int rc = e.type == type ? 0 : wan_yamlin_bad(&e, why);
    yaml_event_delete(&e);
    return rc;
}

int wan_yamlin_load(const char *path, int (*read)(yaml_parser_t *, void *), void *user)
{
    char *text;
    size_t n;
    yaml_parser_t y;
    WAN_TRY(wan_slurp(&text, &n, path, MAX_YAML));
    if (!yaml_parser_initialize(&y)) {
        free(text);
        return wan_err("out of memory (YAML)");
    }
    yaml_parser_set_input_string(&y, (const unsigned char *)text, n);
    int rc = read(&y, user);
    yaml_parser_delete(&y);
    free(text);
    return rc < 0 ? wan_err_prefix("%s", path) : 0;
}
