/* SPDX-License-Identifier: Apache-2.0
 *
 * prompt.c - texts to rows: tokenizer first, then the text encoder, each freed before the next.
 */
#include "lib/model/text/prompt.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/model/text/captions.h"

static int tokenise_one(int32_t **ids, int64_t *n, wan_tokenizer *t, const char *text,
                        int64_t max_len)
{
    char *clean = NULL;
    WAN_TRY(wan_text_clean(&clean, text));
    int rc = wan_tokenizer_encode(t, ids, n, clean, INT32_MAX);
    free(clean);
    if (rc == 0 && *n > max_len) {
        wan_warn("prompt \"%.60s\"...: cut to %lld tokens, %lld lost", text, (long long)max_len,
                 (long long)(*n - max_len));
        (*ids)[max_len - 1] = (*ids)[*n - 1]; /* </s> stays last */
        *n = max_len;
    }
    return rc;
}

static int tokenise(int32_t **ids, int64_t *n, const char *const *text, int count,
                    const wan_prompt_encoder *e)
{
    wan_tokenizer *t;
    WAN_TRY(wan_tokenizer_open(&t, e->tokenizer));
    int rc = 0;
    for (int i = 0; i < count && rc == 0; i++)
        if ((rc = tokenise_one(&ids[i], &n[i], t, text[i], e->max_len)) < 0)
            wan_err_prefix("prompt \"%.60s\"", text[i]);
    wan_tokenizer_close(&t);
    return rc;
}

/* Cuts the rows of all texts into one piece for each. */
static int share(float **rows, const int64_t *n, const float *all, const char *const *text,
                 int count, int64_t width)
{
    for (int i = 0; i < count; i++) {
        WAN_TRY(wan_captions_check(all, n[i], width, text[i]));
        size_t size = (size_t)(n[i] * width);
        rows[i] = wan_malloc(size, sizeof **rows, "text rows");
        if (!rows[i])
            return -1;
        memcpy(rows[i], all, size * sizeof **rows);
        all += size;
    }
    return 0;
}

static int encode(float **rows, const int64_t *n, int32_t *const *ids, const char *const *text,
                  int count, const wan_prompt_encoder *e)
{
    wan_umt5 *u;
    int64_t total = 0;
    WAN_TRY(wan_umt5_open(&u, e->d, e->encoder, e->compute));
    for (int i = 0; i < count; i++)
        total += n[i];
    float *all = NULL;
    int rc = 0;
    if (wan_umt5_width(u) != e->width)
        rc = wan_err("%s: text rows %lld wide, the transformer takes %lld", e->encoder,
                     (long long)wan_umt5_width(u), (long long)e->width);
    else if (!(all = wan_malloc((size_t)(total * e->width), sizeof *all, "text rows")))
        rc = -1;
    if (rc == 0)
        rc = wan_umt5_encode(u, all, (const int32_t *const *)ids, n, count);
    if (rc == 0)
        rc = share(rows, n, all, text, count, e->width);
    free(all);
    wan_umt5_close(&u);
    return rc;
}

int wan_prompt_encode(float **rows, int64_t *n, const char *const *text, int count,
                      const wan_prompt_encoder *e)
{
    memset(rows, 0, (size_t)count * sizeof *rows);
    int32_t **ids = wan_calloc((size_t)count, sizeof *ids, "token ids");
    int rc = ids ? tokenise(ids, n, text, count, e) : -1;
    if (rc == 0)
        rc = encode(rows, n, ids, text, count, e);
    for (int i = 0; ids && i < count; i++)
        free(ids[i]);
    free(ids);
    for (int i = 0; rc < 0 && i < count; i++) {
        free(rows[i]);
        rows[i] = NULL;
    }
    return rc;
}
