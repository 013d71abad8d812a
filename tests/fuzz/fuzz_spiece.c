/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_spiece.c - any bytes as spiece.model, tokenizer.json or tokenizer_config.json (the first byte
 * says which); with what opens, texts are encoded.
 */
#include "lib/model/text/text.h"
#include "tests/fuzz/fuzz.h"

static void encode_all(void)
{
    static const char *const text[] = { "", "a cat", "  two  spaces\tand\nlines </s> a<pad>b ",
                                        "\xe2\x96\x81\xef\xac\x81 \xf0\x9f\x98\x80 aaaaaaaa" };
    wan_tokenizer *t;
    if (wan_tokenizer_open(&t, fuzz_dir) < 0)
        return;
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        int32_t *ids;
        int64_t n;
        if (wan_tokenizer_encode(t, &ids, &n, text[i], 16) == 0) {
            if (n < 1 || n > 16)
                abort();
            free(ids);
        }
    }
    wan_tokenizer_close(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const name[] = { "spiece.model", "tokenizer.json", "tokenizer_config.json" };
    static uint8_t *model;
    static size_t size;
    fuzz_begin();
    if (!n)
        return 0;
    int which = data[0] % 3;
    fuzz_put(name[which], data + 1, n - 1);
    if (which == 2 && !model)
        fuzz_put(name[0], "", 0);
    else if (which == 2)
        fuzz_put(name[0], model, size);
    encode_all();
    if (which == 0 && n < 4096) { /* the next configuration goes with this model */
        free(model);
        if ((model = malloc(size = n)))
            memcpy(model, data + 1, --size);
    }
    unlink(fuzz_path(name[which]));
    return 0;
}
