/* SPDX-License-Identifier: Apache-2.0
 *
 * pickle_torch.c - the closed table of names a pickle may mention, and what each becomes.
 */
#include <string.h>

#include "lib/base/err.h"
#include "lib/rec/tensor/pickle_in.h"

static int is_global(const wan_pickle_value *v, const char *module, const char *name)
{
    return v->kind == WAN_PK_GLOBAL && v->len == strlen(module) &&
           !memcmp(v->str, module, v->len) && v->name_len == strlen(name) &&
           !memcmp(v->name, name, v->name_len);
}

/* Element type of torch.FloatStorage and its kin, or of torch.float32 and its kin. */
int wan_pickle_dtype(const wan_pickle_value *v)
{
    static const struct {
        const char *storage, *name;
        wan_dtype t;
    } table[] = {
        { "FloatStorage", "float32", WAN_F32 },      { "HalfStorage", "float16", WAN_F16 },
        { "BFloat16Storage", "bfloat16", WAN_BF16 }, { "DoubleStorage", "float64", WAN_F64 },
        { "LongStorage", "int64", WAN_I64 },         { "IntStorage", "int32", WAN_I32 },
        { "ShortStorage", "int16", WAN_I16 },        { "CharStorage", "int8", WAN_I8 },
        { "ByteStorage", "uint8", WAN_U8 },          { "BoolStorage", "bool", WAN_BOOL },
        { "UInt16Storage", "uint16", WAN_U16 },      { "UInt32Storage", "uint32", WAN_U32 },
        { "UInt64Storage", "uint64", WAN_U64 },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (is_global(v, "torch", table[i].storage) || is_global(v, "torch", table[i].name))
            return table[i].t;
    if (is_global(v, "torch.storage", "UntypedStorage") || is_global(v, "torch", "UntypedStorage"))
        return -1;
    return -2;
}

static wan_pickle_value *opaque(wan_pickle *p, const wan_pickle_value *fn)
{
    wan_pickle_value *v = wan_pickle_make(p, WAN_PK_OPAQUE);
    if (v && fn->kind == WAN_PK_GLOBAL) {
        v->str = fn->name;
        v->len = fn->name_len;
    }
    return v;
}

static wan_pickle_value *bad(const char *why)
{
    wan_err("%s", why);
    return NULL;
}

/* _rebuild_tensor(storage, offset, size, stride), _v2 (..., requires_grad, hooks[, metadata]),
 * _v3 (..., requires_grad, hooks, dtype[, metadata]). */
static wan_pickle_value *rebuild_tensor(wan_pickle *p, const wan_pickle_value *args, int version)
{
    if (args->len < (version == 1 ? 4u : version == 2 ? 6u : 7u))
        return bad("a tensor with too few arguments");
    wan_pickle_value **a = args->item;
    if (a[0]->kind != WAN_PK_STORAGE && a[0]->kind != WAN_PK_LOADED)
        return bad("a tensor without storage");
    if (a[1]->kind != WAN_PK_INT || a[2]->kind != WAN_PK_TUPLE || a[3]->kind != WAN_PK_TUPLE)
        return bad("a tensor whose offset, size or stride has the wrong type");
    if (a[2]->len != a[3]->len)
        return bad("a tensor whose size and stride differ in length");
    for (size_t i = 0; i < a[2]->len; i++)
        if (a[2]->item[i]->kind != WAN_PK_INT || a[3]->item[i]->kind != WAN_PK_INT)
            return bad("a tensor whose size or stride is no integer");
    wan_pickle_value *t = wan_pickle_make(p, WAN_PK_TENSOR);
    if (!t || !(t->item = wan_pickle_alloc(p, 3 * sizeof *t->item)))
        return NULL;
    t->len = t->cap = 3;
    t->item[0] = a[0];
    t->item[1] = a[2];
    t->item[2] = a[3];
    t->i = a[1]->i;
    t->dtype = version == 3 ? wan_pickle_dtype(a[6]) : a[0]->dtype;
    return t;
}

/* _codecs.encode(text, "latin1"): how protocol 2 spells bytes; text is UTF-8 of U+0000..U+00FF. */
static wan_pickle_value *latin1(wan_pickle *p, const wan_pickle_value *args)
{
    if (args->len != 2 || args->item[0]->kind != WAN_PK_STR)
        return bad("bytes that are no text");
    const wan_pickle_value *s = args->item[0];
    wan_pickle_value *v = wan_pickle_make(p, WAN_PK_BYTES);
    char *out = v ? wan_pickle_alloc(p, s->len) : NULL;
    if (!out)
        return NULL;
    size_t n = 0;
    for (size_t i = 0; i < s->len; i++) {
        uint8_t c = (uint8_t)s->str[i];
        if (c >= 0x80) {
            if ((c & 0xfc) != 0xc0 || i + 1 >= s->len || ((uint8_t)s->str[i + 1] & 0xc0) != 0x80)
                return bad("bytes that are not Latin-1");
            c = (uint8_t)(c << 6 | ((uint8_t)s->str[++i] & 0x3f));
        }
        out[n++] = (char)c;
    }
    v->str = out;
    v->len = n;
    return v;
}

/* OrderedDict() or OrderedDict([(key, value), ...]). */
static wan_pickle_value *ordered_dict(wan_pickle *p, const wan_pickle_value *args)
{
    wan_pickle_value *v = wan_pickle_make(p, WAN_PK_DICT);
    if (!v || !args->len)
        return v;
    const wan_pickle_value *list = args->item[0];
    if (list->kind != WAN_PK_LIST)
        return bad("an OrderedDict made of no list");
    if (list->len && !(v->item = wan_pickle_alloc(p, 2 * list->len * sizeof *v->item)))
        return NULL;
    for (size_t i = 0; i < list->len; i++) {
        const wan_pickle_value *kv = list->item[i];
        if ((kv->kind != WAN_PK_TUPLE && kv->kind != WAN_PK_LIST) || kv->len != 2)
            return bad("an OrderedDict made of no pairs");
        v->item[v->len++] = kv->item[0];
        v->item[v->len++] = kv->item[1];
    }
    v->cap = v->len;
    return v;
}

static wan_pickle_value *load_from_bytes(wan_pickle *p, const wan_pickle_value *args)
{
    if (args->len != 1 || args->item[0]->kind != WAN_PK_BYTES)
        return bad("a storage that is no byte string");
    wan_pickle_value *v = wan_pickle_make(p, WAN_PK_LOADED);
    if (v) {
        v->str = args->item[0]->str;
        v->len = args->item[0]->len;
    }
    return v;
}

wan_pickle_value *wan_pickle_reduce(wan_pickle *p, const wan_pickle_value *fn,
                                    const wan_pickle_value *args)
{
    if (is_global(fn, "torch._utils", "_rebuild_tensor_v2"))
        return rebuild_tensor(p, args, 2);
    if (is_global(fn, "torch._utils", "_rebuild_tensor_v3"))
        return rebuild_tensor(p, args, 3);
    if (is_global(fn, "torch._utils", "_rebuild_tensor"))
        return rebuild_tensor(p, args, 1);
    if (is_global(fn, "torch._utils", "_rebuild_parameter") ||
        is_global(fn, "torch._utils", "_rebuild_parameter_with_state") ||
        is_global(fn, "torch", "Size") || is_global(fn, "builtins", "bytearray"))
        return args->len ? args->item[0] : opaque(p, fn);
    if (is_global(fn, "collections", "OrderedDict"))
        return ordered_dict(p, args);
    if (is_global(fn, "torch.storage", "_load_from_bytes"))
        return load_from_bytes(p, args);
    if (is_global(fn, "_codecs", "encode"))
        return latin1(p, args);
    return opaque(p, fn);
}

wan_pickle_value *wan_pickle_storage(wan_pickle *p, const wan_pickle_value *id)
{
    if (id->kind != WAN_PK_TUPLE || id->len < 5 || !wan_pickle_is(id->item[0], "storage"))
        return bad("a persistent id that names no storage");
    wan_pickle_value **a = id->item;
    if (a[2]->kind != WAN_PK_STR || a[4]->kind != WAN_PK_INT)
        return bad("a storage whose key or size has the wrong type");
    wan_pickle_value *v = wan_pickle_make(p, WAN_PK_STORAGE);
    if (!v)
        return NULL;
    v->dtype = wan_pickle_dtype(a[1]);
    v->str = a[2]->str;
    v->len = a[2]->len;
    v->i = a[4]->i;
    if (id->len > 5 && a[5]->kind == WAN_PK_TUPLE) { /* legacy view: (key, offset, elements) */
        if (a[5]->len != 3 || a[5]->item[1]->kind != WAN_PK_INT || a[5]->item[1]->i < 0)
            return bad("a storage view with wrong arguments");
        v->view = a[5]->item[1]->i;
    }
    v->state = p->storages;
    p->storages = v;
    return v;
}

const wan_pickle_value *wan_pickle_storages(const wan_pickle *p)
{
    return p->storages;
}
