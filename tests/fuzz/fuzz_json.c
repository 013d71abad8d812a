/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_json.c - any bytes as JSON; what is accepted is written and reads back the same.
 */
#include "lib/base/json.h"
#include "tests/fuzz/fuzz.h"

static void typed(const json_t *j)
{
    int64_t i;
    double d;
    int b;
    const char *s;
    (void)!wan_json_int(j, "a", 1, -5, 1 << 20, &i, "input");
    (void)!wan_json_real(j, "a", 1, &d, "input");
    (void)!wan_json_bool(j, "a", 1, &b, "input");
    (void)!wan_json_str(j, "a", "", &s, "input");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    json_t *a = wan_json_parse((const char *)data, n, "input"), *b;
    if (!a)
        return 0;
    typed(a);
    char *text = wan_json_dump(a), *again = NULL;
    b = text ? wan_json_parse(text, strlen(text), "written") : NULL;
    if (!b || !json_equal(a, b) || !(again = wan_json_dump(b)) || strcmp(text, again))
        fuzz_broken();
    free(text);
    free(again);
    json_decref(a);
    json_decref(b);
    return 0;
}
