/* SPDX-License-Identifier: Apache-2.0
 *
 * tokenizer_norm.c - text normalisation as HuggingFace's fast tokenizers do it.
 *
 * The precompiled charsmap of SentencePiece maps byte strings to replacements through a double
 * array trie.  The fast tokenizers apply it to whole grapheme clusters of up to 5 bytes first (where
 * the *shortest* match decides for the whole cluster), then to single characters; this is not what
 * SentencePiece does, but it is what the reference does.
 */
#include <utf8proc.h>

#include "lib/model/text/tokenizer_spec.h"

#define CLUSTER_BYTES 6

static uint32_t little32(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

int wan_tokenizer_charsmap(wan_tokenizer *t, const uint8_t *p, size_t n, const char *path)
{
    size_t trie = n >= 4 ? little32(p) : 0;
    if (n < 4 || trie % 4 || trie < 4 || trie > n - 4 || trie > (1u << 28))
        return wan_err("%s: the precompiled charsmap is damaged", path);
    t->n_trie = trie / 4;
    t->n_replacements = n - 4 - trie;
    t->trie = malloc(trie);
    t->replacements = malloc(t->n_replacements + 1);
    if (!t->trie || !t->replacements)
        return wan_err("%s: out of memory", path);
    for (size_t i = 0; i < t->n_trie; i++)
        t->trie[i] = little32(p + 4 + 4 * i);
    memcpy(t->replacements, p + 4 + trie, t->n_replacements);
    t->replacements[t->n_replacements] = 0;
    return 0;
}

/* The replacement of the shortest prefix of s that has one, or NULL. */
static const char *look_up(const wan_tokenizer *t, const char *s, size_t n)
{
    size_t pos = 0;
    uint32_t unit = t->trie[0];
    pos ^= (unit >> 10) << ((unit & 0x200) >> 6);
    for (size_t i = 0; i < n && s[i]; i++) {
        uint8_t c = (uint8_t)s[i];
        pos ^= c;
        if (pos >= t->n_trie)
            return NULL;
        unit = t->trie[pos];
        if ((unit & 0x800000ffu) != c)
            return NULL;
        pos ^= (unit >> 10) << ((unit & 0x200) >> 6);
        if (pos >= t->n_trie)
            return NULL;
        if (unit >> 8 & 1) {
            uint32_t at = t->trie[pos] & 0x7fffffffu;
            return at < t->n_replacements ? t->replacements + at : NULL;
        }
    }
    return NULL;
}

static void map_cluster(const wan_tokenizer *t, wan_textbuf *out, const char *s, size_t n)
{
    const char *r = n < CLUSTER_BYTES ? look_up(t, s, n) : NULL;
    if (r) {
        wan_textbuf_put(out, r, strlen(r));
        return;
    }
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t c;
        len = wan_utf8_next(&c, s + i, n - i);
        r = look_up(t, s + i, len);
        wan_textbuf_put(out, r ? r : s + i, r ? strlen(r) : len);
    }
}

static void apply_charsmap(const wan_tokenizer *t, wan_textbuf *out, const char *s, size_t n)
{
    size_t start = 0, i = 0;
    utf8proc_int32_t state = 0;
    uint32_t last = 0;
    while (i < n) {
        uint32_t c;
        size_t len = wan_utf8_next(&c, s + i, n - i);
        if (i > 0 &&
            utf8proc_grapheme_break_stateful((utf8proc_int32_t)last, (utf8proc_int32_t)c, &state)) {
            map_cluster(t, out, s + start, i - start);
            start = i;
        }
        last = c;
        i += len;
    }
    if (i > start)
        map_cluster(t, out, s + start, i - start);
}

static void apply_strip(const tok_norm *m, wan_textbuf *out, const char *s, size_t n)
{
    size_t a = 0, b = 0; /* b: end of the last character that is no space */
    int leading = m->left;
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t c;
        len = wan_utf8_next(&c, s + i, n - i);
        if (!wan_utf8_is_space(c)) {
            leading = 0;
            b = i + len;
        } else if (leading) {
            a = i + len;
        }
    }
    if (!m->right)
        b = n;
    if (b > a)
        wan_textbuf_put(out, s + a, b - a);
}

static void apply_spaces(const tok_norm *m, wan_textbuf *out, const char *s, size_t n)
{
    for (size_t i = 0, run; i < n; i += run) {
        for (run = 0; i + run < n && s[i + run] == ' '; run++)
            ;
        if (run >= 2)
            wan_textbuf_put(out, m->to, strlen(m->to));
        else
            wan_textbuf_put(out, s + i, run = 1);
    }
}

static void apply_replace(const tok_norm *m, wan_textbuf *out, const char *s, size_t n)
{
    size_t len = strlen(m->from);
    for (size_t i = 0; i < n;) {
        int hit = n - i >= len && !memcmp(s + i, m->from, len);
        wan_textbuf_put(out, hit ? m->to : s + i, hit ? strlen(m->to) : 1);
        i += hit ? len : 1;
    }
}

/* Replacements come from the file: they must not break the text. */
static int check_utf8(const wan_textbuf *b)
{
    for (size_t i = 0, len; i < b->n; i += len) {
        uint32_t c;
        if ((len = wan_utf8_next(&c, b->p + i, b->n - i)) == 0)
            return wan_err("the tokenizer's normaliser makes text that is not UTF-8");
    }
    return 0;
}

int wan_tokenizer_normalise(const wan_tokenizer *t, wan_textbuf *out, const char *s, size_t n)
{
    wan_textbuf a = { 0 };
    wan_textbuf_put(&a, s, n);
    for (int i = 0; i < t->n_norm; i++) {
        wan_textbuf b = { 0 };
        const tok_norm *m = &t->norm[i];
        switch (m->kind) {
        case TOK_CHARSMAP: apply_charsmap(t, &b, a.p, a.n); break;
        case TOK_STRIP: apply_strip(m, &b, a.p, a.n); break;
        case TOK_SPACES: apply_spaces(m, &b, a.p, a.n); break;
        case TOK_REPLACE: apply_replace(m, &b, a.p, a.n); break;
        }
        b.bad |= a.bad;
        wan_textbuf_free(&a);
        a = b;
        if (!a.bad && check_utf8(&a) < 0) {
            wan_textbuf_free(&a);
            return -1;
        }
    }
    wan_textbuf_put(out, a.p ? a.p : "", a.n);
    out->bad |= a.bad;
    wan_textbuf_free(&a);
    return out->bad ? wan_err("out of memory for text") : 0;
}
