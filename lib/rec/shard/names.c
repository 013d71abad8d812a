/* SPDX-License-Identifier: Apache-2.0
 *
 * names.c - lists of shard names: brace patterns out and in.
 */
#include "lib/rec/shard/names.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"

enum { MAX_NAMES = 1 << 20, MAX_DEPTH = 32, MAX_PATTERN = 4096 };

int wan_names_add(wan_names *l, const char *s, size_t len)
{
    if (l->n >= MAX_NAMES)
        return wan_err("more than %d names", MAX_NAMES);
    char **more = wan_mem_grow(l->v, l->n, &l->cap, sizeof *more, "names");
    if (!more)
        return -1;
    l->v = more;
    if (!(l->v[l->n] = strndup(s, len)))
        return wan_err("out of memory (names)");
    l->n++;
    return 0;
}

void wan_names_clear(wan_names *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->v[i]);
    free(l->v);
    *l = (wan_names){ 0, 0, 0 };
}

/* The brace that closes the one at s, or NULL. */
static const char *closing(const char *s)
{
    int depth = 0;
    for (; *s; s++) {
        depth += (*s == '{') - (*s == '}');
        if (!depth)
            return s;
    }
    return NULL;
}

static int expand(wan_names *l, const char *head, const char *s, int depth);

/* Expands head + middle[0..n) + tail. */
static int join(wan_names *l, const char *head, const char *middle, size_t n, const char *tail,
                int depth)
{
    char text[MAX_PATTERN];
    size_t h = strlen(head);
    if (h + n + strlen(tail) >= sizeof text)
        return wan_err("a shard pattern longer than %d bytes", MAX_PATTERN);
    /* what was chosen may hold braces of its own, so it is looked at again */
    memcpy(text, middle, n);
    strcpy(text + n, tail);
    return expand(l, head, text, depth + 1);
}

/* {from..to}: both whole numbers; padded to the wider one when either begins with 0. */
static int expand_range(wan_names *l, const char *head, const char *body, const char *end,
                        const char *tail, int depth)
{
    long long from, to;
    int a = 0, b = 0;
    if (end - body > 40 || sscanf(body, "%18lld%n..%18lld%n", &from, &a, &to, &b) != 2 ||
        body + b != end)
        return 0;
    int wb = b - a - 2, width = body[0] == '0' || body[a + 2] == '0' ? (a > wb ? a : wb) : 0;
    if (from < 0 || to < 0 || llabs(to - from) >= MAX_NAMES)
        return wan_err("a range of %lld to %lld", from, to);
    for (long long i = from;; i += to >= from ? 1 : -1) {
        char number[48];
        int n = snprintf(number, sizeof number, "%0*lld", width, i);
        WAN_TRY(join(l, head, number, (size_t)n, tail, depth));
        if (i == to)
            return 1;
    }
}

/* {a,b{c,d}}: 1 expanded, 0 no comma inside. */
static int expand_list(wan_names *l, const char *head, const char *body, const char *end,
                       const char *tail, int depth)
{
    int level = 0, commas = 0;
    for (const char *p = body; p < end; p++) {
        level += (*p == '{') - (*p == '}');
        commas += !level && *p == ',';
    }
    if (!commas)
        return 0;
    for (const char *p = body, *from = body; p <= end; p++) {
        level += p < end ? (*p == '{') - (*p == '}') : 0;
        if (p == end || (!level && *p == ',')) {
            WAN_TRY(join(l, head, from, (size_t)(p - from), tail, depth));
            from = p + 1;
        }
    }
    return 1;
}

/* head needs no more work; s does. */
static int expand(wan_names *l, const char *head, const char *s, int depth)
{
    char text[MAX_PATTERN];
    if (depth > MAX_DEPTH)
        return wan_err("a shard pattern nested too deeply");
    const char *open = strchr(s, '{'), *close = open ? closing(open) : NULL;
    size_t h = strlen(head), n = open ? (size_t)(open - s) : strlen(s);
    if (h + strlen(s) >= sizeof text)
        return wan_err("a shard pattern longer than %d bytes", MAX_PATTERN);
    memcpy(text, head, h);
    memcpy(text + h, s, n);
    text[h + n] = 0;
    if (!open)
        return wan_names_add(l, text, h + n);
    if (!close)
        return wan_err("shard pattern \"%.80s\": unbalanced braces", s);
    int rc = expand_range(l, text, open + 1, close, close + 1, depth);
    if (rc == 0)
        rc = expand_list(l, text, open + 1, close, close + 1, depth);
    if (rc == 0)
        rc = wan_err("shard pattern \"%.80s\": neither a range nor a list in braces", s);
    return rc < 0 ? -1 : 0;
}

int wan_names_expand(wan_names *l, const char *pattern)
{
    return expand(l, "", pattern, 0);
}

/* b is a with one number one higher, in the same width: its place and length, else 0. */
static int follows(const char *a, const char *b, size_t *at, size_t *len)
{
    size_t i = 0, n = 0;
    while (a[i] && a[i] == b[i])
        i++;
    while (i && isdigit((unsigned char)a[i - 1]))
        i--;
    while (isdigit((unsigned char)a[i + n]) && isdigit((unsigned char)b[i + n]))
        n++;
    *at = i;
    *len = n;
    return n && n <= 18 && !isdigit((unsigned char)a[i + n]) && !strcmp(a + i + n, b + i + n) &&
           strtoll(b + i, NULL, 10) == strtoll(a + i, NULL, 10) + 1;
}

int wan_names_collapse(wan_names *l, const wan_names *names)
{
    for (size_t i = 0, j; i < names->n; i = j) {
        size_t at = 0, n = 0, place, len;
        for (j = i + 1; j < names->n && follows(names->v[j - 1], names->v[j], &place, &len); j++) {
            if (j > i + 1 && place != at) /* another number counts now */
                break;
            at = place;
            n = len;
        }
        const char *a = names->v[i], *b = names->v[j - 1];
        if (j == i + 1) {
            WAN_TRY(wan_names_add(l, a, strlen(a)));
            continue;
        }
        char text[MAX_PATTERN];
        int chars = snprintf(text, sizeof text, "%.*s{%.*s..%.*s}%s", (int)at, a, (int)n, a + at,
                             (int)n, b + at, a + at + n);
        if (chars < 0 || (size_t)chars >= sizeof text)
            return wan_err("a shard name longer than %d bytes", MAX_PATTERN);
        WAN_TRY(wan_names_add(l, text, (size_t)chars));
    }
    return 0;
}
