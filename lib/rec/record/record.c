/* SPDX-License-Identifier: Apache-2.0
 *
 * record.c - one record in memory: its key, metadata and tensors; and the provenance chain.
 */
#include "lib/rec/record/record.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/opt.h"
#include "lib/rec/record/record_format.h"

static int key_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '/';
}

int wan_key_check(const char *key, size_t n)
{
    if (n < 1 || n > WAN_MAX_KEY)
        return wan_err("key of %zu bytes, must be 1 to %d", n, WAN_MAX_KEY);
    for (size_t i = 0; i < n; i++) {
        if (!key_char(key[i]))
            return wan_err("key with byte 0x%02x, allowed are A-Z a-z 0-9 _ - and /",
                           (unsigned char)key[i]);
        if (key[i] == '/' && (i == 0 || i == n - 1 || key[i - 1] == '/'))
            return wan_err("key \"%.*s\" with a misplaced /", (int)n, key);
    }
    return 0;
}

int wan_tensor_name_check(const char *name, size_t n)
{
    if (n < 1 || n > WAN_MAX_NAME)
        return wan_err("tensor name of %zu bytes, must be 1 to %d", n, WAN_MAX_NAME);
    for (size_t i = 0; i < n; i++)
        if (name[i] < 0x21 || name[i] > 0x7e)
            return wan_err("tensor name with byte 0x%02x, allowed are visible ASCII characters",
                           (unsigned char)name[i]);
    return 0;
}

int wan_record_set_key(wan_record *r, const char *key)
{
    WAN_TRY(wan_key_check(key, strlen(key)));
    char *copy = strdup(key);
    if (!r->meta)
        r->meta = json_object();
    if (!copy || !r->meta) {
        free(copy);
        return wan_err("out of memory (record key)");
    }
    free(r->key);
    r->key = copy;
    return 0;
}

static int add_checked(wan_record *r, const char *name, wan_dtype t, const int64_t *shape, int rank,
                       void *data, enum wan_own own)
{
    int64_t count;
    WAN_TRY(wan_tensor_name_check(name, strlen(name)));
    if (wan_record_find(r, name))
        return wan_err("tensor %s: twice in one record", name);
    if (r->n_tensors >= WAN_MAX_TENSORS)
        return wan_err("tensor %s: more than %d tensors in one record", name, WAN_MAX_TENSORS);
    if (rank < 0 || rank > WAN_MAX_RANK)
        return wan_err("tensor %s: rank %d, must be 0 to %d", name, rank, WAN_MAX_RANK);
    if (wan_shape_count(&count, shape, rank) < 0)
        return wan_err_prefix("tensor %s", name);
    wan_tensor *grown = realloc(r->tensors, ((size_t)r->n_tensors + 1) * sizeof *grown);
    if (!grown)
        return wan_err("out of memory (tensor list)");
    r->tensors = grown;
    wan_tensor *n = &grown[r->n_tensors];
    *n = (wan_tensor){ .dtype = t, .rank = rank, .data = data, .owned = own == WAN_TAKE };
    for (int i = 0; i < rank; i++)
        n->shape[i] = shape[i];
    n->bytes = (size_t)count * wan_dtype_size(t);
    n->name = strdup(name);
    if (!n->name)
        return wan_err("out of memory (tensor name)");
    r->n_tensors++;
    return 0;
}

int wan_record_add(wan_record *r, const char *name, wan_dtype t, const int64_t *shape, int rank,
                   void *data, enum wan_own own)
{
    int rc = add_checked(r, name, t, shape, rank, data, own);
    if (rc < 0 && own == WAN_TAKE)
        free(data);
    return rc;
}

wan_tensor *wan_record_find(const wan_record *r, const char *name)
{
    for (int i = 0; i < r->n_tensors; i++)
        if (!strcmp(r->tensors[i].name, name))
            return &r->tensors[i];
    return NULL;
}

static void free_tensor(wan_tensor *t)
{
    free(t->name);
    if (t->owned)
        free(t->data);
}

void wan_record_drop(wan_record *r, const char *name)
{
    wan_tensor *t = wan_record_find(r, name);
    if (!t)
        return;
    free_tensor(t);
    size_t after = (size_t)(r->tensors + r->n_tensors - (t + 1));
    memmove(t, t + 1, after * sizeof *t);
    r->n_tensors--;
}

void wan_record_clear(wan_record *r)
{
    for (int i = 0; i < r->n_tensors; i++)
        free_tensor(&r->tensors[i]);
    free(r->tensors);
    free(r->key);
    json_decref(r->meta);
    *r = (wan_record)WAN_RECORD_INIT;
}

/* Copies an option value; an absolute path keeps only its last component. */
static json_t *portable(const json_t *v)
{
    if (json_is_string(v)) {
        const char *s = json_string_value(v), *slash = strrchr(s, '/');
        return json_string(s[0] == '/' ? slash + 1 : s);
    }
    if (!json_is_array(v))
        return json_deep_copy(v);
    json_t *out = wan_json_array();
    for (size_t i = 0; i < json_array_size(v); i++)
        wan_json_push(&out, portable(json_array_get(v, i)));
    return out;
}

/* Entry n + 1 of a chain. */
static json_t *chain_entry(size_t n, const json_t *prev, const char *program, const json_t *options)
{
    json_t *opts = wan_json_object(), *entry = wan_json_object(), *value;
    const char *key;
    json_object_foreach((json_t *)options, key, value) wan_json_put(&opts, key, portable(value));
    wan_json_put(&entry, "id", json_sprintf("%s.%zu", program, n + 1));
    wan_json_put(&entry, "prev", json_is_string(prev) ? json_deep_copy(prev) : json_null());
    wan_json_put(&entry, "program", json_string(program));
    wan_json_put(&entry, "version", json_string(wan_version()));
    wan_json_put(&entry, "options", opts);
    return entry;
}

json_t *wan_provenance_append(const json_t *from, const char *program, const json_t *options)
{
    json_t *head = wan_json_object(), *chain = wan_json_array();
    const json_t *so_far = json_object_get(from, "provenance"), *last = NULL;
    if (from)
        wan_json_merge(&head, from);
    for (size_t i = 0; i < json_array_size(so_far); i++) {
        last = json_array_get(so_far, i);
        wan_json_push(&chain, json_deep_copy(last));
    }
    wan_json_push(&chain, chain_entry(json_array_size(so_far), json_object_get(last, "id"), program,
                                      options));
    wan_json_put(&head, "provenance", chain);
    return head;
}
