/* SPDX-License-Identifier: Apache-2.0
 *
 * yaml.h - one YAML document as a tree, read with libyaml: aliases point to what they name, merge
 * keys (<<) are carried out, every node knows its line.
 *
 *     wan_yaml *doc;
 *     WAN_TRY(wan_yaml_parse(&doc, text, n, "run.yaml"));
 *     const wan_yaml_node *x = wan_yaml_get(wan_yaml_root(doc), "train");
 *     wan_yaml_free(&doc);
 *
 * Scalars are those of YAML 1.1, as PyYAML and OmegaConf read them.  Duplicate keys, several
 * documents and tags other than YAML's own are errors that name file and line.
 */
#ifndef WAN_BASE_YAML_H
#define WAN_BASE_YAML_H

#include <stddef.h>

#include "lib/base/err.h"

enum wan_yaml_kind { WAN_YAML_SCALAR, WAN_YAML_LIST, WAN_YAML_MAP };

typedef struct wan_yaml_node {
    enum wan_yaml_kind kind;
    size_t line; /* from 1 */
    char *text;  /* SCALAR: no NUL inside */
    int plain;   /* SCALAR: neither quotes nor !!str, so that it may be a null or a boolean */
    int aliased; /* an alias or a merge key names it */
    size_t n;    /* LIST, MAP: members */
    char **key;  /* MAP: [n], in the order of the file, merged ones last */
    struct wan_yaml_node **item; /* [n] */
} wan_yaml_node;

typedef struct wan_yaml wan_yaml;

/* name: for messages.  An empty text gives an empty map. */
int wan_yaml_parse(wan_yaml **out, const char *text, size_t n, const char *name) WAN_MUST_CHECK;
const wan_yaml_node *wan_yaml_root(const wan_yaml *y);
/* A member of a map, or NULL. */
const wan_yaml_node *wan_yaml_get(const wan_yaml_node *map, const char *key);
void wan_yaml_free(wan_yaml **y); /* NULL-safe */

/* A plain scalar that means null (empty, ~, null), or a boolean (true, yes, on, ...; then *truth). */
int wan_yaml_is_null(const wan_yaml_node *x);
int wan_yaml_is_bool(const wan_yaml_node *x, int *truth);

#endif
