/* SPDX-License-Identifier: Apache-2.0
 *
 * mem.c - see mem.h.
 */
#include "lib/base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "lib/base/err.h"

static int too_big(size_t *bytes, size_t count, size_t size, const char *what)
{
    if (__builtin_mul_overflow(count, size, bytes)) {
        wan_err("%s: size overflows (%zu x %zu bytes)", what, count, size);
        return 1;
    }
    return 0;
}

void *wan_malloc(size_t count, size_t size, const char *what)
{
    size_t bytes;
    if (too_big(&bytes, count, size, what))
        return NULL;
    void *p = malloc(bytes ? bytes : 1);
    if (!p)
        wan_err("out of memory (%zu bytes for %s)", bytes, what);
    return p;
}

void *wan_mem_grow(void *v, size_t n, size_t *room, size_t size, const char *what)
{
    enum { FIRST = 16 };
    size_t more = FIRST, bytes;
    if (n < *room)
        return v;
    if ((n >= FIRST && too_big(&more, n, 2, what)) || too_big(&bytes, more, size, what))
        return NULL;
    void *p = realloc(v, bytes);
    if (!p)
        return wan_err("out of memory (%zu bytes for %s)", bytes, what), NULL;
    *room = more;
    return p;
}

/* ---- text in memory ---- */

typedef struct text {
    char **text;
    size_t *n, room;
} text;

static ssize_t put(void *cookie, const char *data, size_t n)
{
    text *t = cookie;
    if (n >= t->room - *t->n) {
        size_t room = 2 * t->room + n + 1;
        char *more = realloc(*t->text, room);
        if (!more)
            return 0;
        *t->text = more;
        t->room = room;
    }
    memcpy(*t->text + *t->n, data, n);
    (*t->text)[ *t->n += n] = 0;
    return (ssize_t)n;
}

static int end(void *cookie)
{
    free(cookie);
    return 0;
}

FILE *wan_mem_open(char **out, size_t *n)
{
    text *t = wan_malloc(1, sizeof *t, "text");
    *n = 0;
    *out = t ? wan_calloc(1, 1, "text") : NULL;
    FILE *f = NULL;
    if (*out) {
        *t = (text){ out, n, 1 };
        f = fopencookie(t, "w", (cookie_io_functions_t){ .write = put, .close = end });
        if (!f)
            wan_err("out of memory (text)");
    }
    if (!f) {
        free(*out);
        free(t);
        *out = NULL;
    }
    return f;
}

int wan_mem_close(FILE *f)
{
    const int lost = ferror(f); /* fclose tells of its own write alone */
    return fclose(f) != 0 || lost ? wan_err("out of memory (text)") : 0;
}

void *wan_calloc(size_t count, size_t size, const char *what)
{
    size_t bytes;
    if (too_big(&bytes, count, size, what))
        return NULL;
    void *p = calloc(1, bytes ? bytes : 1);
    if (!p)
        wan_err("out of memory (%zu bytes for %s)", bytes, what);
    return p;
}
