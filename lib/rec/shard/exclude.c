/* SPDX-License-Identifier: Apache-2.0
 *
 * exclude.c - see exclude.h.
 */
#include "lib/rec/shard/exclude.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"

int wan_exclude_each_front(const char *e, int (*fn)(void *, const char *front), void *arg)
{
    char *text = strdup(e);
    int rc = text ? 0 : wan_err("out of memory (exclusions)");
    for (char *slash = text; rc == 0 && (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = 0;
        rc = fn(arg, text);
    }
    free(text);
    return rc;
}

struct fronts {
    wan_keyset *set;
    const json_t *counts;
};

static int add_front(void *arg, const char *front)
{
    struct fronts *f = arg;
    return json_object_get(f->counts, front) && wan_keyset_add(f->set, front) < 0 ? -1 : 0;
}

int wan_exclude_new(wan_exclude *x, const wan_split *s, const json_t *counts)
{
    *x = (wan_exclude){ s, WAN_KEYSET_INIT, WAN_KEYSET_INIT, WAN_KEYSET_INIT, WAN_KEYSET_INIT };
    struct fronts f = { &x->within, counts };
    for (size_t i = 0; i < s->exclude.n; i++)
        if (wan_keyset_add(&x->whole, s->exclude.v[i]) < 0 ||
            wan_exclude_each_front(s->exclude.v[i], add_front, &f) < 0)
            return -1;
    return 0;
}

void wan_exclude_clear(wan_exclude *x)
{
    wan_keyset_clear(&x->whole);
    wan_keyset_clear(&x->within);
    wan_keyset_clear(&x->looked);
    wan_keyset_clear(&x->met);
}

int wan_exclude_shard(const wan_exclude *x, const char *name)
{
    return wan_keyset_has(&x->whole, name) ? 2 : wan_keyset_has(&x->within, name);
}

int wan_exclude_look(wan_exclude *x, const char *name)
{
    return wan_keyset_add(&x->looked, name) < 0 ? -1 : 0;
}

int wan_exclude_sample(wan_exclude *x, const char *name, const char *key)
{
    size_t n = strlen(name) + strlen(key) + 2;
    char *text = wan_malloc(n, 1, "exclusions");
    if (!text)
        return -1;
    snprintf(text, n, "%s/%s", name, key);
    int out = wan_keyset_has(&x->whole, text);
    if (out && wan_keyset_add(&x->met, text) < 0)
        out = -1;
    free(text);
    return out;
}

static int was_looked(void *set, const char *front)
{
    return wan_keyset_has(set, front);
}

int wan_exclude_check(const wan_exclude *x)
{
    for (size_t i = 0; i < x->s->exclude.n; i++) {
        const char *e = x->s->exclude.v[i];
        int looked = wan_keyset_has(&x->met, e)
                         ? 0
                         : wan_exclude_each_front(e, was_looked, (void *)&x->looked);
        if (looked)
            return looked < 0 ? -1
                              : wan_err("split.yaml excludes %s, and no sample has this key", e);
    }
    return 0;
}
