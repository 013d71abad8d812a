/* SPDX-License-Identifier: Apache-2.0
 *
 * torch_values.c - the values of a pickle as JSON.
 */
#include "lib/rec/tensor/torch_values.h"

#include <math.h>
#include <string.h>

#include "lib/rec/tensor/torch_in.h"

enum { MAX_DEPTH = 16, MAX_VALUES = 1 << 16 };

struct walk {
    size_t left; /* values that may still be looked at: a map can hold itself */
    int depth;
    const char *bad; /* why there is no value: whoever misses it knows only that */
};

static int is_data(const wan_pickle_value *v)
{
    switch (v->kind) {
    case WAN_PK_REAL: return isfinite(v->d);
    case WAN_PK_NONE:
    case WAN_PK_BOOL:
    case WAN_PK_INT:
    case WAN_PK_STR:
    case WAN_PK_TUPLE:
    case WAN_PK_LIST:
    case WAN_PK_DICT: return 1;
    default: return 0;
    }
}

static json_t *value(struct walk *k, const wan_pickle_value *v);

static json_t *list(struct walk *k, const wan_pickle_value *v)
{
    json_t *a = wan_json_array();
    for (size_t i = 0; a && i < v->len; i++)
        if (is_data(v->item[i]))
            wan_json_push(&a, value(k, v->item[i]));
    return a;
}

static json_t *map(struct walk *k, const wan_pickle_value *v)
{
    json_t *o = wan_json_object();
    for (size_t i = 0; o && i < v->len; i += 2) {
        const wan_pickle_value *key = v->item[i], *member = v->item[i + 1];
        char name[256];
        if (key->kind != WAN_PK_STR || key->len >= sizeof name || memchr(key->str, 0, key->len) ||
            !is_data(member))
            continue;
        memcpy(name, key->str, key->len);
        name[key->len] = 0;
        wan_json_put(&o, name, value(k, member));
    }
    return o;
}

static json_t *value(struct walk *k, const wan_pickle_value *v)
{
    json_t *j = NULL;
    if (!k->left || k->depth >= MAX_DEPTH) {
        k->bad = "too many values, or nested too deeply";
        return NULL;
    }
    k->left--;
    k->depth++;
    switch (v->kind) {
    case WAN_PK_BOOL: j = json_boolean(v->i); break;
    case WAN_PK_INT: j = json_integer((json_int_t)v->i); break;
    case WAN_PK_REAL: j = json_real(v->d); break;
    case WAN_PK_STR:
        if (memchr(v->str, 0, v->len))
            k->bad = "a text with a zero byte";
        else
            j = json_stringn(v->str, v->len);
        break;
    case WAN_PK_TUPLE:
    case WAN_PK_LIST: j = list(k, v); break;
    case WAN_PK_DICT: j = map(k, v); break;
    default: j = json_null();
    }
    k->depth--;
    return j;
}

json_t *wan_torch_values(const wan_torch *w)
{
    struct walk k = { .left = MAX_VALUES };
    const wan_pickle_value *root = wan_torch_root(w);
    json_t *all = root->kind == WAN_PK_DICT ? value(&k, root) : wan_json_object();
    if (!all && k.bad)
        wan_err("%s", k.bad);
    return all;
}
