/* SPDX-License-Identifier: Apache-2.0
 *
 * captions.c - captions to text rows, with a memory of those already encoded.
 */
#include "lib/model/text/captions.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"

#define KEPT_BYTES ((size_t)64 << 20)

typedef struct kept {
    char *text; /* as given, before cleaning */
    int32_t *ids;
    float *rows; /* NULL until encoded */
    int64_t n, dropped;
} kept;

struct wan_captions {
    wan_tokenizer *tokenizer;
    wan_umt5 *encoder;
    kept *v; /* oldest first */
    int n, cap;
    size_t bytes;
};

static int open_parts(wan_captions *c, wan_dev *d, const char *model, wan_dtype compute)
{
    char *tokenizer = wan_path_join(model, "tokenizer");
    char *encoder = wan_path_join(model, "text_encoder");
    int rc = tokenizer && encoder ? wan_tokenizer_open(&c->tokenizer, tokenizer) : -1;
    if (rc == 0)
        rc = wan_umt5_open(&c->encoder, d, encoder, compute);
    free(tokenizer);
    free(encoder);
    return rc;
}

int wan_captions_open(wan_captions **out, wan_dev *d, const char *model, wan_dtype compute)
{
    *out = NULL;
    wan_captions *c = wan_calloc(1, sizeof *c, "captions");
    if (!c)
        return -1;
    if (open_parts(c, d, model, compute) < 0) {
        wan_captions_close(&c);
        return -1;
    }
    *out = c;
    return 0;
}

static void forget(wan_captions *c, int i)
{
    kept *k = &c->v[i];
    if (k->rows)
        c->bytes -= (size_t)(k->n * wan_umt5_width(c->encoder)) * sizeof *k->rows;
    free(k->text);
    free(k->ids);
    free(k->rows);
    memmove(k, k + 1, (size_t)(--c->n - i) * sizeof *k);
}

void wan_captions_close(wan_captions **cp)
{
    wan_captions *c = cp ? *cp : NULL;
    if (!c)
        return;
    while (c->n > 0)
        forget(c, c->n - 1);
    free(c->v);
    wan_umt5_close(&c->encoder);
    wan_tokenizer_close(&c->tokenizer);
    free(c);
    *cp = NULL;
}

int64_t wan_captions_width(const wan_captions *c)
{
    return wan_umt5_width(c->encoder);
}

static kept *find(const wan_captions *c, const char *text)
{
    for (int i = 0; i < c->n; i++)
        if (!strcmp(c->v[i].text, text))
            return &c->v[i];
    return NULL;
}

int wan_captions_missing(const wan_captions *c, const char *const *text, int n)
{
    for (int i = 0; i < n; i++)
        if (!find(c, text[i]))
            return 1;
    return 0;
}

/* A new entry with its token ids, still without rows. */
static int tokenise(wan_captions *c, const char *text)
{
    if (c->n == c->cap) {
        int cap = c->cap ? 2 * c->cap : 64;
        kept *v = realloc(c->v, (size_t)cap * sizeof *v);
        if (!v)
            return wan_err("out of memory for captions");
        c->v = v;
        c->cap = cap;
    }
    kept k = { 0 };
    char *clean = NULL;
    k.text = strdup(text);
    int rc = k.text ? wan_text_clean(&clean, text) : wan_err("out of memory for captions");
    if (rc == 0)
        rc = wan_tokenizer_encode(c->tokenizer, &k.ids, &k.n, clean, INT32_MAX);
    free(clean);
    if (rc < 0) {
        free(k.text);
        return -1;
    }
    if (k.n > WAN_CAPTION_TOKENS) {
        k.dropped = k.n - WAN_CAPTION_TOKENS;
        k.ids[WAN_CAPTION_TOKENS - 1] = k.ids[k.n - 1];
        k.n = WAN_CAPTION_TOKENS;
    }
    c->v[c->n++] = k;
    return 0;
}

int wan_captions_check(const float *rows, int64_t n, int64_t width, const char *text)
{
    for (int64_t i = 0; i < n; i++) {
        int zero = 1, finite = 1;
        for (int64_t k = 0; k < width; k++) {
            zero &= rows[i * width + k] == 0;
            finite &= rows[i * width + k] - rows[i * width + k] == 0;
        }
        if (zero || !finite)
            return wan_err("caption \"%.60s\": text row %lld is %s", text, (long long)i,
                           zero ? "all zero" : "not finite");
    }
    return 0;
}

/* Hands the rows of `all` out to the entries from first on. */
static int share_rows(wan_captions *c, int first, const float *all)
{
    int64_t width = wan_umt5_width(c->encoder);
    for (int i = first; i < c->n; i++) {
        kept *k = &c->v[i];
        size_t bytes = (size_t)(k->n * width) * sizeof *all;
        WAN_TRY(wan_captions_check(all, k->n, width, k->text));
        if (!(k->rows = wan_malloc(1, bytes, "text rows")))
            return -1;
        memcpy(k->rows, all, bytes);
        all += k->n * width;
        c->bytes += bytes;
    }
    return 0;
}

/* Encodes the entries from first on in one walk. */
static int encode_new(wan_captions *c, int first)
{
    int n = c->n - first, rc = -1;
    int64_t total = 0;
    if (n == 0)
        return 0;
    const int32_t **ids = wan_malloc((size_t)n, sizeof *ids, "captions");
    int64_t *len = wan_malloc((size_t)n, sizeof *len, "captions");
    for (int i = 0; ids && len && i < n; i++) {
        ids[i] = c->v[first + i].ids;
        total += len[i] = c->v[first + i].n;
    }
    float *all = wan_malloc((size_t)(total * wan_umt5_width(c->encoder)), sizeof *all, "text rows");
    if (ids && len && all)
        rc = wan_umt5_encode(c->encoder, all, ids, len, n);
    if (rc == 0)
        rc = share_rows(c, first, all);
    free(all);
    free(ids);
    free(len);
    return rc;
}

/* Drops the oldest entries that are too many and not asked for now. */
static void make_room(wan_captions *c, const char *const *text, int n)
{
    for (int i = 0; i < c->n && c->bytes > KEPT_BYTES;) {
        int wanted = 0;
        for (int k = 0; k < n && !wanted; k++)
            wanted = !strcmp(c->v[i].text, text[k]);
        if (wanted)
            i++;
        else
            forget(c, i);
    }
}

int wan_captions_encode(wan_captions *c, wan_caption_rows *out, const char *const *text, int n)
{
    make_room(c, text, n);
    int first = c->n, rc = 0;
    for (int i = 0; i < n && rc == 0; i++)
        if (!find(c, text[i]) && (rc = tokenise(c, text[i])) < 0)
            wan_err_prefix("caption \"%.60s\"", text[i]);
    if (rc == 0)
        rc = encode_new(c, first);
    while (rc < 0 && c->n > first)
        forget(c, c->n - 1);
    for (int i = 0; i < n && rc == 0; i++) {
        const kept *k = find(c, text[i]);
        out[i] = (wan_caption_rows){ k->ids, k->rows, k->n, k->dropped };
    }
    return rc;
}
