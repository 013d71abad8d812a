/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_config.c - any bytes as a YAML configuration; what is accepted must be saved in a form that
 * reads back as the same configuration.
 */
#include "lib/train/config/config.h"
#include "tests/fuzz/fuzz.h"

static char *printed(const wan_config *c)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    if (f) {
        wan_config_print(c, f, 1);
        fclose(f);
    }
    return text;
}

static void read_back(const wan_config *a)
{
    char *text = printed(a), *again = NULL;
    wan_config *b = NULL;
    if (!text || wan_config_new(&b) < 0 ||
        wan_config_yaml_text(b, text, strlen(text), "saved") < 0 ||
        wan_config_finish(b, "finetune") < 0 || !(again = printed(b)) || strcmp(text, again))
        fuzz_broken();
    wan_config_free(&b);
    free(text);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    wan_config *c;
    if (wan_config_new(&c) < 0)
        return fuzz_broken();
    if (wan_config_yaml_text(c, (const char *)data, n, "input") == 0 &&
        wan_config_finish(c, "pretrain") == 0)
        read_back(c);
    wan_config_free(&c);
    return 0;
}
