/* SPDX-License-Identifier: Apache-2.0
 *
 * textbuf.h - a growing string for the text tools (tokenizer*.c, textclean.c), and UTF-8 steps.
 */
#ifndef WAN_MODEL_TEXTBUF_H
#define WAN_MODEL_TEXTBUF_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"

/* p is NUL-terminated whenever n > 0 or a put succeeded; bad is set when memory ran out. */
typedef struct wan_textbuf {
    char *p;
    size_t n, cap;
    int bad;
} wan_textbuf;

static inline void wan_textbuf_put(wan_textbuf *b, const char *s, size_t n)
{
    if (b->bad)
        return;
    if (b->n + n + 1 > b->cap) {
        size_t cap = (b->n + n + 1) * 2;
        char *p = (char *)realloc(b->p, cap);
        if (!p) {
            b->bad = 1;
            return;
        }
        b->p = p;
        b->cap = cap;
    }
    if (n)
        memcpy(b->p + b->n, s, n);
    b->n += n;
    b->p[b->n] = 0;
}

/* c as UTF-8; c must be a scalar value. */
static inline void wan_textbuf_char(wan_textbuf *b, uint32_t c)
{
    char s[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t lead[5] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    for (size_t i = n; i-- > 1; c >>= 6)
        s[i] = (char)(0x80 | (c & 0x3f));
    s[0] = (char)(lead[n] | c);
    wan_textbuf_put(b, s, n);
}

static inline void wan_textbuf_free(wan_textbuf *b)
{
    free(b->p);
    memset(b, 0, sizeof *b);
}

/* The result: the string, never NULL (caller frees), or NULL with the error recorded. */
static inline char *wan_textbuf_take(wan_textbuf *b)
{
    wan_textbuf_put(b, "", 0);
    if (b->bad) {
        wan_textbuf_free(b);
        wan_err("out of memory for text");
        return NULL;
    }
    return b->p;
}

/* Decodes one character of n > 0 bytes; returns its length, 0 when it is not valid UTF-8
 * (overlong, surrogate, beyond U+10FFFF, cut off). */
static inline size_t wan_utf8_next(uint32_t *c, const char *text, size_t n)
{
    const uint8_t *s = (const uint8_t *)text;
    static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
    size_t len = s[0] < 0x80 ? 1 : s[0] < 0xc0 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    *c = 0;
    if (len == 0 || s[0] > 0xf4 || len > n)
        return 0;
    uint32_t v = len == 1 ? s[0] : s[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        v = v << 6 | (s[i] & 0x3f);
    }
    if (v < least[len] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
        return 0;
    *c = v;
    return len;
}

/* Unicode's White_Space property. */
static inline int wan_utf8_is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == 32 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

#endif
