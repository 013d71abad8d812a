/* SPDX-License-Identifier: Apache-2.0
 *
 * tokenizer.c - SentencePiece Unigram with the ids of HuggingFace's fast tokenizer.
 *
 * Text is cut at the added tokens, each part is normalised and split in front of every U+2581, and
 * each word becomes the sequence of pieces with the largest sum of scores (Viterbi).  A character
 * without a piece costs the smallest score less 10; unknowns side by side become one.
 */
#include <stdio.h>

#include "lib/base/file.h"
#include "lib/model/text/tokenizer_spec.h"

#define UNK_PENALTY 10.0
static const char meta[] = "\xe2\x96\x81";
enum { META_BYTES = 3 };

static int32_t probe(const wan_tokenizer *t, uint32_t h, const char *s, size_t n)
{
    for (h &= t->mask; t->table[h]; h = (h + 1) & t->mask) {
        const tok_piece *p = &t->pieces[t->table[h] - 1];
        if (p->n == n && !memcmp(p->s, s, n))
            return t->table[h] - 1;
    }
    return -1;
}

int32_t wan_tokenizer_find(const wan_tokenizer *t, const char *s, size_t n)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)s[i]) * 16777619u;
    return probe(t, h, s, n);
}

/* ---- ids as they grow */

typedef struct id_list {
    int32_t *v;
    int64_t n, cap;
    int bad;
} id_list;

static void push(id_list *l, int32_t id)
{
    if (l->n == l->cap) {
        int64_t cap = l->cap ? 2 * l->cap : 64;
        int32_t *v = realloc(l->v, (size_t)cap * sizeof *v);
        if (!v) {
            l->bad = 1;
            return;
        }
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = id;
}

/* ---- one word */

typedef struct node {
    double score;
    int64_t from; /* -1: not reached */
    int32_t id;
} node;

static void relax(node *to, double score, size_t from, int32_t id)
{
    if (to->from < 0 || score > to->score)
        *to = (node){ score, (int64_t)from, id };
}

/* All pieces that start at i; the unknown where no piece is exactly the character there. */
static void extend(const wan_tokenizer *t, node *at, const char *s, size_t n, size_t i)
{
    uint32_t c, h = 2166136261u;
    size_t first = wan_utf8_next(&c, s + i, n - i), len = 0;
    int single = 0;
    while (i + len < n && len < t->longest) {
        h = (h ^ (uint8_t)s[i + len++]) * 16777619u;
        if (i + len < n && ((uint8_t)s[i + len] & 0xc0) == 0x80)
            continue; /* inside a character */
        int32_t id = probe(t, h, s + i, len);
        if (id < 0)
            continue;
        relax(&at[i + len], at[i].score + t->pieces[id].score, i, id);
        single |= len == first;
    }
    if (!single)
        relax(&at[i + first], at[i].score + t->min_score - UNK_PENALTY, i, t->unk);
}

/* Bytes that no piece covers: one unknown, or the byte pieces where the model has them all. */
static void push_unknown(const wan_tokenizer *t, id_list *out, const char *s, size_t n)
{
    int32_t id = wan_tokenizer_find(t, s, n);
    int64_t start = out->n;
    for (size_t i = 0; id < 0 && t->byte_fallback && i < n; i++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", (uint8_t)s[i]);
        int32_t b = wan_tokenizer_find(t, name, 6);
        if (b < 0) {
            out->n = start;
            break;
        }
        push(out, b);
    }
    if (out->n == start)
        push(out, id < 0 ? t->unk : id);
}

static int encode_word(const wan_tokenizer *t, id_list *out, const char *s, size_t n)
{
    node *at = wan_malloc(n + 1, sizeof *at, "text");
    size_t *cut = wan_malloc(n + 1, sizeof *cut, "text");
    size_t k = 0;
    if (at && cut) {
        for (size_t i = 0; i <= n; i++)
            at[i] = (node){ 0, -1, 0 };
        at[0].from = 0;
        for (size_t i = 0; i < n; i++)
            if (((uint8_t)s[i] & 0xc0) != 0x80)
                extend(t, at, s, n, i);
        for (size_t e = n; e > 0; e = (size_t)at[e].from)
            cut[k++] = e;
        for (size_t i = 0; k > 0;) { /* cut[] runs backwards */
            size_t e = cut[--k];
            if (at[e].id != t->unk) {
                push(out, at[e].id);
            } else {
                while (k > 0 && at[cut[k - 1]].id == t->unk)
                    e = cut[--k];
                push_unknown(t, out, s + i, e - i);
            }
            i = e;
        }
    }
    int rc = at && cut ? 0 : -1;
    free(at);
    free(cut);
    return rc;
}

/* ---- one part between added tokens */

/* Spaces become U+2581, one is put in front, and every U+2581 starts a word. */
static int encode_meta(const wan_tokenizer *t, id_list *out, const char *s, size_t n, int prepend)
{
    wan_textbuf b = { 0 };
    int rc = 0;
    if (n == 0)
        return 0;
    if (prepend && s[0] != ' ' && (n < META_BYTES || memcmp(s, meta, META_BYTES)))
        wan_textbuf_put(&b, meta, META_BYTES);
    for (size_t i = 0; i < n; i++)
        wan_textbuf_put(&b, s[i] == ' ' ? meta : s + i, s[i] == ' ' ? META_BYTES : 1);
    for (size_t i = 0, e; rc == 0 && !b.bad && i < b.n; i = e) {
        const char *next = b.n - i > 1 ? strstr(b.p + i + 1, meta) : NULL;
        e = next ? (size_t)(next - b.p) : b.n;
        rc = encode_word(t, out, b.p + i, e - i);
    }
    if (b.bad)
        rc = wan_err("out of memory for text");
    wan_textbuf_free(&b);
    return rc;
}

static int encode_part(const wan_tokenizer *t, id_list *out, const char *s, size_t n, int first)
{
    wan_textbuf b = { 0 };
    int prepend = t->prepend == TOK_ALWAYS || (t->prepend == TOK_FIRST && first);
    int rc = n ? wan_tokenizer_normalise(t, &b, s, n) : 0;
    if (rc == 0 && !t->white_split)
        rc = encode_meta(t, out, b.p, b.n, prepend);
    for (size_t i = 0, a = 0, len; rc == 0 && t->white_split && i < b.n; i += len) {
        uint32_t c;
        len = wan_utf8_next(&c, b.p + i, b.n - i);
        int space = wan_utf8_is_space(c);
        if (space || i + len == b.n)
            rc = encode_meta(t, out, b.p + a, (space ? i : i + len) - a, prepend);
        if (space)
            a = i + len;
    }
    wan_textbuf_free(&b);
    return rc;
}

/* ---- the text */

/* The longest added token at s, or NULL. */
static const tok_added *added_at(const wan_tokenizer *t, const char *s, size_t n)
{
    const tok_added *best = NULL;
    for (int i = 0; i < t->n_added; i++) {
        const tok_added *a = &t->added[i];
        if (a->n <= n && (!best || a->n > best->n) && !memcmp(a->s, s, a->n))
            best = a;
    }
    return best;
}

static size_t trim_end(const char *s, size_t a, size_t e)
{
    while (e > a && strchr(" \t\n\v\f\r", s[e - 1]))
        e--;
    return e;
}

static int encode_text(const wan_tokenizer *t, id_list *out, const char *s, size_t n)
{
    size_t start = 0;
    for (size_t i = 0; i < n;) {
        const tok_added *a = added_at(t, s + i, n - i);
        if (!a) {
            i++;
            continue;
        }
        size_t end = a->lstrip ? trim_end(s, start, i) : i;
        WAN_TRY(encode_part(t, out, s + start, end - start, start == 0));
        push(out, a->id);
        i += a->n;
        while (a->rstrip && i < n && strchr(" \t\n\v\f\r", s[i]))
            i++;
        start = i;
    }
    return encode_part(t, out, s + start, n - start, start == 0);
}

int wan_tokenizer_encode(wan_tokenizer *t, int32_t **ids, int64_t *n, const char *text,
                         int64_t max_len)
{
    id_list l = { 0 };
    size_t size = strlen(text);
    *ids = NULL;
    *n = 0;
    if (max_len < 1)
        return wan_err("tokenizer: at least one id must be allowed");
    for (size_t i = 0, len; i < size; i += len) {
        uint32_t c;
        len = wan_utf8_next(&c, text + i, size - i);
        if (len == 0)
            return wan_err("text is not valid UTF-8 at byte %zu", i);
    }
    int rc = encode_text(t, &l, text, size);
    if (l.n > max_len - 1)
        l.n = max_len - 1;
    push(&l, t->eos);
    if (rc < 0 || l.bad) {
        free(l.v);
        return rc < 0 ? -1 : wan_err("out of memory for text");
    }
    *ids = l.v;
    *n = l.n;
    return 0;
}
