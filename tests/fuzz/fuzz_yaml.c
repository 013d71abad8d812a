/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_yaml.c - any bytes as a YAML document; the tree that comes of it is walked.
 */
#include "lib/base/yaml.h"
#include "tests/fuzz/fuzz.h"

/* Aliases make a tree of n nodes a walk of 2^n steps. */
static void walk(const wan_yaml_node *x, int depth, int *left)
{
    int truth;
    if (depth > 64 || x->line < 1)
        abort();
    if (x->kind == WAN_YAML_SCALAR && !x->text)
        abort();
    (void)wan_yaml_is_null(x), (void)wan_yaml_is_bool(x, &truth);
    for (size_t i = 0; x->kind != WAN_YAML_SCALAR && i < x->n && --*left > 0; i++) {
        if (x->kind == WAN_YAML_MAP && !wan_yaml_get(x, x->key[i]))
            abort();
        walk(x->item[i], depth + !x->item[i]->aliased, left);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    wan_yaml *y;
    int left = 10000;
    if (wan_yaml_parse(&y, (const char *)data, n, "input") == 0)
        walk(wan_yaml_root(y), 0, &left);
    wan_yaml_free(&y);
    return 0;
}
