/* SPDX-License-Identifier: Apache-2.0
 *
 * mem.c - see mem.h.
 */
#include "lib/base/mem.h"

#include <stdlib.h>

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
