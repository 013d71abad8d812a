/* SPDX-License-Identifier: Apache-2.0
 *
 * ways.c - see ways.h.
 */
#include "kernels/ways.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"

#define HEAD "wan-ways 1"

enum { KIND, SHAPE, WAY, WORDS, LARGEST = WAN_WAYS_MOST * WORDS * WAN_WAYS_WORD };

typedef struct wan_way {
    char word[WORDS][WAN_WAYS_WORD];
} wan_way;

int wan_ways_new(wan_ways **out)
{
    *out = wan_calloc(1, sizeof **out, "ways");
    return *out ? 0 : -1;
}

void wan_ways_free(wan_ways **w)
{
    if (*w)
        free((*w)->v);
    free(*w);
    *w = NULL;
}

/* Where it is, or belongs. */
static int place(const wan_ways *w, const char *kind, const char *shape, int *there)
{
    int lo = 0, hi = w->n;
    *there = 0;
    while (lo < hi) {
        int k = (lo + hi) / 2, c = strcmp(w->v[k].word[KIND], kind);
        c = c ? c : strcmp(w->v[k].word[SHAPE], shape);
        if (c == 0) {
            *there = 1;
            return k;
        }
        if (c < 0)
            lo = k + 1;
        else
            hi = k;
    }
    return lo;
}

const char *wan_ways_find(const wan_ways *w, const char *kind, const char *shape)
{
    int there = 0, k = w ? place(w, kind, shape, &there) : 0;
    return there ? w->v[k].word[WAY] : NULL;
}

void wan_ways_get(const wan_ways *w, int i, const char **kind, const char **shape, const char **way)
{
    *kind = w->v[i].word[KIND];
    *shape = w->v[i].word[SHAPE];
    *way = w->v[i].word[WAY];
}

static int check_word(const char *s)
{
    size_t n = strlen(s);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] < ' ')
            return wan_err("ways: a word with a control character");
    return n && n < WAN_WAYS_WORD ? 0 : wan_err("ways: a word of %zu bytes", n);
}

static int grow(wan_ways *w)
{
    int room = w->room ? 2 * w->room : 64;
    wan_way *v = w->n < w->room ? w->v : realloc(w->v, (size_t)room * sizeof *v);
    if (!v)
        return wan_err("ways: out of memory");
    w->room = w->n < w->room ? w->room : room;
    w->v = v;
    return 0;
}

int wan_ways_note(wan_ways *w, const char *kind, const char *shape, const char *way)
{
    const char *const word[WORDS] = { kind, shape, way };
    int there, k = place(w, kind, shape, &there);
    for (int i = 0; i < WORDS; i++)
        WAN_TRY(check_word(word[i]));
    if (!there && w->n == WAN_WAYS_MOST)
        return 0;
    if (!there) {
        WAN_TRY(grow(w));
        memmove(w->v + k + 1, w->v + k, (size_t)(w->n - k) * sizeof *w->v);
        w->n++;
    }
    for (int i = 0; i < WORDS; i++)
        memcpy(w->v[k].word[i], word[i], strlen(word[i]) + 1);
    return 0;
}

/* ---- text */

int wan_ways_text(const wan_ways *w, char **text, size_t *bytes)
{
    size_t room = (size_t)w->n * sizeof *w->v + sizeof HEAD + 1, n = sizeof HEAD;
    char *s = *text = wan_malloc(room, 1, "ways");
    if (!s)
        return -1;
    memcpy(s, HEAD "\n", n);
    for (int k = 0; k < w->n; k++)
        for (int i = 0; i < WORDS; i++) {
            size_t m = strlen(w->v[k].word[i]);
            memcpy(s + n, w->v[k].word[i], m);
            s[n + m] = i + 1 < WORDS ? '\t' : '\n';
            n += m + 1;
        }
    s[n] = 0;
    *bytes = n;
    return 0;
}

/* A line of three words; `end` is behind its last byte. */
static int parse_line(wan_ways *w, const char *s, const char *end)
{
    char word[WORDS][WAN_WAYS_WORD];
    for (int i = 0; i < WORDS; i++) {
        const char *tab = memchr(s, '\t', (size_t)(end - s));
        const char *stop = tab ? tab : end;
        if (!tab != (i + 1 == WORDS) || stop - s >= WAN_WAYS_WORD)
            return wan_err("not a kind, a shape and a way, divided by tabs");
        memcpy(word[i], s, (size_t)(stop - s));
        word[i][stop - s] = 0;
        s = stop + 1;
    }
    return wan_ways_note(w, word[KIND], word[SHAPE], word[WAY]);
}

int wan_ways_parse(wan_ways *w, const char *text, const char *name)
{
    int line = 1;
    if (strncmp(text, HEAD "\n", sizeof HEAD) != 0)
        return wan_err("%s: does not begin with \"" HEAD "\"", name);
    for (const char *s = text + sizeof HEAD; *s; line++) {
        const char *end = strchr(s, '\n');
        int rc = end ? parse_line(w, s, end) : wan_err("ends in the middle of a line");
        if (rc < 0)
            return wan_err_prefix("%s: line %d", name, line + 1);
        s = end + 1;
    }
    return 0;
}

int wan_ways_read(wan_ways *w, const char *path)
{
    char *text;
    size_t bytes;
    if (!wan_exists(path))
        return 0;
    WAN_TRY(wan_slurp(&text, &bytes, path, LARGEST));
    int rc =
        strlen(text) == bytes ? wan_ways_parse(w, text, path) : wan_err("%s: has a byte 0", path);
    free(text);
    return rc;
}

int wan_ways_write(const wan_ways *w, const char *path)
{
    char *text;
    size_t bytes;
    WAN_TRY(wan_ways_text(w, &text, &bytes));
    int rc = wan_spew(path, text, bytes);
    free(text);
    return rc;
}
