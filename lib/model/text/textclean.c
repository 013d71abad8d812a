/* SPDX-License-Identifier: Apache-2.0
 *
 * textclean.c - prompt cleaning as the reference pipelines do it (wan-model(7), Cleaning): ftfy's
 * default fixes, html.unescape twice, runs of whitespace to one space, strip.
 *
 * Left out: ftfy's repair of text decoded with the wrong codec (mojibake), and digits other than
 * ASCII inside terminal escapes.
 */
#include <utf8proc.h>

#include "lib/model/text/entities.h"
#include "lib/model/text/text.h"
#include "lib/model/text/textbuf.h"
#include "lib/rec/record/record.h"

/* the rounds of fix_line are as many as entities can be nested */
#define MAX_TEXT WAN_MAX_CAPTION

/* What Windows-1252 has at 0x80..0x9f; its five holes stay what they are. */
static const uint16_t windows[32] = {
    0x20ac, 0x81,   0x201a, 0x192,  0x201e, 0x2026, 0x2020, 0x2021, 0x2c6,  0x2030, 0x160,
    0x2039, 0x152,  0x8d,   0x17d,  0x8f,   0x90,   0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
    0x2013, 0x2014, 0x2dc,  0x2122, 0x161,  0x203a, 0x153,  0x9d,   0x17e,  0x178,
};

static const struct {
    uint16_t c;
    const char *text;
} ligatures[] = {
    { 0x132, "IJ" },         { 0x133, "ij" },  { 0x149, "\xca\xbcn" }, { 0x1f1, "DZ" },
    { 0x1f2, "Dz" },         { 0x1f3, "dz" },  { 0x1c4, "D\xc5\xbd" }, { 0x1c5, "D\xc5\xbe" },
    { 0x1c6, "d\xc5\xbe" },  { 0x1c7, "LJ" },  { 0x1c8, "Lj" },        { 0x1c9, "lj" },
    { 0x1ca, "NJ" },         { 0x1cb, "Nj" },  { 0x1cc, "nj" },        { 0xfb00, "ff" },
    { 0xfb01, "fi" },        { 0xfb02, "fl" }, { 0xfb03, "ffi" },      { 0xfb04, "ffl" },
    { 0xfb05, "\xc5\xbft" }, { 0xfb06, "st" },
};

/* ---- entities */

/* Order of a table name and the name of n bytes (mark: with '^' in front). */
static int compare(const char *entry, const char *name, size_t n, int mark)
{
    if (mark && *entry != '^')
        return (uint8_t)*entry < '^' ? -1 : 1;
    entry += mark;
    int c = strncmp(entry, name, n);
    return c ? c : entry[n] != 0;
}

/* The text of a name of n bytes (mark: 1 for ftfy's extras), or NULL. */
static const char *entity(const char *name, size_t n, int mark)
{
    size_t lo = 0, hi = sizeof wan_entity_at / sizeof *wan_entity_at;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        const char *p = wan_entities + wan_entity_at[mid];
        int c = compare(p, name, n, mark);
        if (c == 0)
            return p + strlen(p) + 1;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int hex_value(char c)
{
    return is_digit(c)            ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* What a numeric reference stands for in HTML: 0xfffd, a Windows character, or nothing (0). */
static uint32_t numeric(uint32_t v)
{
    if (v == 0 || (v >= 0xd800 && v <= 0xdfff) || v > 0x10ffff)
        return 0xfffd;
    if (v >= 0x80 && v <= 0x9f)
        return windows[v - 0x80];
    if (v == 0xd)
        return v;
    if (v <= 8 || v == 0xb || (v >= 0xe && v <= 0x1f) || v == 0x7f ||
        (v >= 0xfdd0 && v <= 0xfdef) || (v & 0xfffe) == 0xfffe)
        return 0;
    return v;
}

/* "&#...": bytes of the longest numeric reference at s, 0 if there is none; its value in *v. */
static size_t scan_number(const char *s, uint32_t *v)
{
    int hex = s[2] == 'x' || s[2] == 'X';
    size_t i = hex ? 3 : 2, start = i;
    *v = 0;
    for (int d; (d = hex_value(s[i])) >= 0 && (hex || d < 10); i++)
        *v = *v > 0x10ffff ? *v : *v * (hex ? 16 : 10) + (uint32_t)d;
    return i == start ? 0 : s[i] == ';' ? i + 1 : i;
}

/* Python's html.unescape at an '&'; returns bytes taken, 0 if nothing is replaced. */
static size_t unescape_at(wan_textbuf *out, const char *s)
{
    uint32_t v;
    size_t n = 1, chars = 0;
    if (s[1] == '#') {
        n = scan_number(s, &v);
        if (n && (v = numeric(v)))
            wan_textbuf_char(out, v);
        return n;
    }
    while (s[n] && !strchr("\t\n\f <&#;", s[n]) && chars < 32) {
        for (n++; ((uint8_t)s[n] & 0xc0) == 0x80; n++)
            ;
        chars++;
    }
    if (chars == 0)
        return 0;
    size_t full = s[n] == ';' ? n + 1 : n;
    const char *text = entity(s + 1, full - 1, 0);
    for (size_t k = full - 1; !text && k > 2; k--) /* names of two bytes at least, without ';' */
        if ((text = entity(s + 1, k - 1, 0)))
            full = k;
    if (text)
        wan_textbuf_put(out, text, strlen(text));
    return text ? full : 0;
}

static void unescape(wan_textbuf *out, const char *s)
{
    while (*s) {
        size_t n = *s == '&' ? unescape_at(out, s) : 0;
        if (n == 0)
            wan_textbuf_put(out, s, n = 1);
        s += n;
    }
}

/* ftfy's stricter reading: &name; or &#number; only, of at most 24 letters and digits. */
static size_t fix_entity_at(wan_textbuf *out, const char *s)
{
    size_t n = s[1] == '#' ? 2 : 1, start = n;
    uint32_t v;
    while (is_digit(s[n]) || (s[n] >= 'a' && s[n] <= 'z') || (s[n] >= 'A' && s[n] <= 'Z'))
        n++;
    if (s[n] != ';' || n == start || n - start > 24)
        return 0;
    n++;
    if (s[1] == '#') {
        if (scan_number(s, &v) != n || numeric(v) == ';')
            return 0;
        if ((v = numeric(v)))
            wan_textbuf_char(out, v);
        return n;
    }
    const char *text = entity(s + 1, n - 1, 0);
    if (!text)
        text = entity(s + 1, n - 1, 1);
    if (text)
        wan_textbuf_put(out, text, strlen(text));
    return text ? n : 0;
}

static void fix_entities(wan_textbuf *out, const char *s)
{
    while (*s) {
        size_t n = *s == '&' ? fix_entity_at(out, s) : 0;
        if (n == 0)
            wan_textbuf_put(out, s, n = 1);
        s += n;
    }
}

/* ---- characters */

/* Half- and full-width forms in their usual width: NFKC of the one character. */
static void put_wide(wan_textbuf *out, const char *s, size_t len)
{
    utf8proc_uint8_t *r = NULL;
    utf8proc_ssize_t n = utf8proc_map((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)len, &r,
                                      UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
    if (n >= 0)
        wan_textbuf_put(out, (const char *)r, (size_t)n);
    else
        out->bad = 1;
    free(r);
}

static int is_control(uint32_t c)
{
    return c <= 8 || c == 0xb || (c >= 0xe && c <= 0x1f) || c == 0x7f ||
           (c >= 0x206a && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffc);
}

static int is_double_quote(uint32_t c)
{
    return c >= 0x201c && c <= 0x201f;
}

static int is_single_quote(uint32_t c)
{
    return c == 0x2bc || (c >= 0x2018 && c <= 0x201b);
}

/* The character after C1, ligature, width and quote fixes, in this order. */
static void put_fixed(wan_textbuf *out, uint32_t c, const char *s, size_t len)
{
    if (c >= 0x80 && c <= 0x9f) {
        c = windows[c - 0x80];
        if (!is_double_quote(c) && !is_single_quote(c)) {
            wan_textbuf_char(out, c);
            return;
        }
    }
    if (is_double_quote(c) || is_single_quote(c)) {
        wan_textbuf_put(out, is_double_quote(c) ? "\"" : "'", 1);
        return;
    }
    for (size_t i = 0; i < sizeof ligatures / sizeof *ligatures; i++)
        if (ligatures[i].c == c) {
            /* U+0149 begins with a letter apostrophe, which the quote fix then makes straight */
            const char *t = c == 0x149 ? "'n" : ligatures[i].text;
            wan_textbuf_put(out, t, strlen(t));
            return;
        }
    if (c == 0x3000)
        wan_textbuf_put(out, " ", 1);
    else if (c >= 0xff01 && c < 0xfff0)
        put_wide(out, s, len);
    else
        wan_textbuf_put(out, s, len);
}

static void fix_characters(wan_textbuf *out, const char *s, size_t n)
{
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t c;
        len = wan_utf8_next(&c, s + i, n - i);
        put_fixed(out, c, s + i, len);
    }
}

/* Line breaks to \n; terminal escapes and control characters out. */
static void fix_controls(wan_textbuf *out, const char *s, size_t n)
{
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t c;
        len = wan_utf8_next(&c, s + i, n - i);
        if (c == '\r' && i + 1 < n && s[i + 1] == '\n')
            continue;
        if (c == '\r' || c == 0x2028 || c == 0x2029 || c == 0x85) {
            wan_textbuf_put(out, "\n", 1);
        } else if (c == 0x1b && i + 1 < n && s[i + 1] == '[') {
            size_t k = i + 2;
            while (k < n && (is_digit(s[k]) || s[k] == ';'))
                k++;
            int letter = k < n && ((s[k] | 32) >= 'a' && (s[k] | 32) <= 'z');
            len = letter ? k + 1 - i : 1;
        } else if (!is_control(c)) {
            wan_textbuf_put(out, s + i, len);
        }
    }
}

static void normalise(wan_textbuf *out, const wan_textbuf *in)
{
    utf8proc_uint8_t *r = NULL;
    utf8proc_ssize_t n =
        utf8proc_map((const utf8proc_uint8_t *)(in->p ? in->p : ""), (utf8proc_ssize_t)in->n, &r,
                     UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (n >= 0)
        wan_textbuf_put(out, (const char *)r, (size_t)n);
    else
        out->bad = 1;
    free(r);
}

/* One round of ftfy's fixes. */
static void fix_round(wan_textbuf *out, const wan_textbuf *in, int html)
{
    wan_textbuf a = { 0 }, b = { 0 }, c = { 0 };
    if (html)
        fix_entities(&a, in->p);
    else
        wan_textbuf_put(&a, in->p, in->n);
    if (!a.bad)
        fix_characters(&b, a.p ? a.p : "", a.n);
    if (!b.bad)
        fix_controls(&c, b.p ? b.p : "", b.n);
    out->bad |= a.bad | b.bad | c.bad;
    if (!out->bad)
        normalise(out, &c);
    wan_textbuf_free(&a);
    wan_textbuf_free(&b);
    wan_textbuf_free(&c);
}

/* One line, again and again until nothing changes. */
static void fix_line(wan_textbuf *out, const char *s, size_t n, int html)
{
    wan_textbuf a = { 0 };
    wan_textbuf_put(&a, s, n);
    while (!a.bad) {
        wan_textbuf b = { 0 };
        fix_round(&b, &a, html);
        wan_textbuf_put(&b, "", 0);
        int same = !b.bad && a.n == b.n && !memcmp(a.p, b.p, a.n);
        b.bad |= a.bad;
        wan_textbuf_free(&a);
        a = b;
        if (same)
            break;
    }
    out->bad |= a.bad;
    wan_textbuf_put(out, a.p ? a.p : "", a.n);
    wan_textbuf_free(&a);
}

/* Lines; from the first '<' on, entities are taken for markup and stay. */
static void fix_text(wan_textbuf *out, const char *s)
{
    int html = 1;
    wan_textbuf_put(out, "", 0);
    while (*s) {
        const char *end = strchr(s, '\n');
        size_t n = end ? (size_t)(end + 1 - s) : strlen(s);
        if (memchr(s, '<', n))
            html = 0;
        fix_line(out, s, n, html);
        s += n;
    }
}

/* What Python's \s matches. */
static int is_space(uint32_t c)
{
    return wan_utf8_is_space(c) || (c >= 0x1c && c <= 0x1f);
}

static void collapse(wan_textbuf *out, const char *s, size_t n)
{
    int gap = 0;
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t c;
        len = wan_utf8_next(&c, s + i, n - i);
        if (is_space(c)) {
            gap = 1;
            continue;
        }
        if (gap && out->n)
            wan_textbuf_put(out, " ", 1);
        gap = 0;
        wan_textbuf_put(out, s + i, len);
    }
}

int wan_text_clean(char **out, const char *text)
{
    wan_textbuf a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };
    *out = NULL;
    if (strlen(text) > MAX_TEXT)
        return wan_err("text is longer than %d bytes", MAX_TEXT);
    for (size_t i = 0, len, n = strlen(text); i < n; i += len) {
        uint32_t v;
        if ((len = wan_utf8_next(&v, text + i, n - i)) == 0)
            return wan_err("text is not valid UTF-8 at byte %zu", i);
    }
    fix_text(&a, text);
    wan_textbuf_put(&b, "", 0);
    wan_textbuf_put(&c, "", 0);
    if (!a.bad)
        unescape(&b, a.p);
    if (!b.bad)
        unescape(&c, b.p);
    if (!c.bad)
        collapse(&d, c.p, c.n);
    d.bad |= a.bad | b.bad | c.bad;
    wan_textbuf_free(&a);
    wan_textbuf_free(&b);
    wan_textbuf_free(&c);
    return (*out = wan_textbuf_take(&d)) ? 0 : -1;
}
