/* SPDX-License-Identifier: Apache-2.0
 *
 * modelio_config.c - config.json of the models of the table, by the keys that their rows declare.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/opt.h"
#include "lib/model/files/foreign.h"
#include "lib/model/files/modelio.h"
#include "lib/model/files/packed.h"

static const wan_json_key *find(const wan_json_key *keys, const char *name)
{
    for (; keys->name; keys++)
        if (strcmp(keys->name, name) == 0)
            return keys;
    return NULL;
}

/* ---- which model */

typedef struct found {
    const wan_model *m;
    enum wan_naming naming;
} found;

static int matches(const wan_layout *l, json_t *j, const char *class_name)
{
    if (*class_name)
        return !strcmp(l->class_name, class_name);
    return l->mark && json_object_get(j, l->mark);
}

/* "A, B, C": the classes of all models. */
static void classes(char *text, size_t size)
{
    size_t n = 0;
    for (int i = 0; wan_model_at(i); i++)
        for (int k = 0; k < WAN_NAMINGS; k++) {
            const wan_layout *l = wan_model_at(i)->layout[k];
            if (l && n < size)
                n += (size_t)snprintf(text + n, size - n, "%s%s", n ? ", " : "", l->class_name);
        }
}

static int find_model(found *f, json_t *j, const char *what)
{
    const char *class_name;
    char known[256];
    WAN_TRY(wan_json_str(j, "_class_name", "", &class_name, what));
    for (int i = 0; wan_model_at(i); i++)
        for (int k = 0; k < WAN_NAMINGS; k++) {
            const wan_layout *l = wan_model_at(i)->layout[k];
            *f = (found){ wan_model_at(i), (enum wan_naming)k };
            if (l && matches(l, j, class_name))
                return 0;
        }
    *f = (found){ wan_model_at(0), WAN_NAMING_HF };
    if (!*class_name)
        return 0;
    classes(known, sizeof known);
    return wan_err("%s: key \"_class_name\": %s is none of the transformers known here: %s", what,
                   class_name, known);
}

/* ---- reading */

static int check_fixed(const wan_json_key *k, json_t *value, const char *what)
{
    json_t *only = json_loads(k->only, JSON_DECODE_ANY, NULL);
    int same = only && json_equal(only, value);
    json_decref(only);
    return same ? 0 : wan_err("%s: key \"%s\": must be %s; %s", what, k->name, k->only, k->why);
}

static int unknown(const char *name, const wan_json_key *keys, const char *what)
{
    const char *names[64];
    size_t n = 0;
    for (; keys->name && n < 64; keys++)
        names[n++] = keys->name;
    const char *near = wan_nearest(name, names, n);
    return wan_err("%s: unknown key \"%s\"%s%s%s", what, name, near ? ", did you mean \"" : "",
                   near ? near : "", near ? "\"?" : "");
}

/* Every key of the file is known, and the fixed ones have their value. */
static int check_keys(json_t *j, const wan_json_key *keys, const char *what)
{
    const char *name;
    json_t *value;
    json_object_foreach(j, name, value)
    {
        const wan_json_key *k = find(keys, name);
        if (name[0] == '_')
            continue;
        if (!k)
            return unknown(name, keys, what);
        if (k->only)
            WAN_TRY(check_fixed(k, value, what));
    }
    return 0;
}

int wan_modelio_list(wan_tensorlist *l, wan_st *st, const char *path)
{
    *l = (wan_tensorlist){ .what = path };
    for (size_t i = 0; i < wan_st_count(st); i++) {
        const wan_st_tensor *t = wan_st_at(st, i);
        WAN_TRY(wan_tensorlist_add(l, t->name, t->shape, t->rank));
    }
    return wan_tensorlist_done(l);
}

/* The number of columns of a matrix among the weights, for what a config.json does not say. */
static int columns(int *out, const char *tensor, const char *path)
{
    wan_st *st;
    wan_tensorlist l;
    WAN_TRY(wan_st_open(&st, path));
    int rc = wan_modelio_list(&l, st, path);
    const wan_tensorlist_item *t = rc == 0 ? wan_tensorlist_find(&l, tensor) : NULL;
    if (rc == 0 && (!t || t->rank != 2 || t->shape[1] < 1 || t->shape[1] > 1 << 20))
        rc = wan_err("%s: tensor %s: missing or no matrix, needed for the width of its rows", path,
                     tensor);
    if (rc == 0)
        *out = (int)t->shape[1];
    wan_tensorlist_free(&l);
    wan_st_close(&st);
    return rc;
}

static int read_key(unsigned char *c, const wan_json_key *k, json_t *j, const char *what,
                    const char *dir)
{
    int64_t v;
    if (k->only)
        return 0;
    if (k->real)
        return wan_json_real(j, k->name, k->def, (double *)(void *)(c + k->offset), what);
    WAN_TRY(wan_json_int(j, k->name, (int64_t)k->def, 0, 1 << 24, &v, what));
    int *field = (int *)(void *)(c + k->offset);
    *field = (int)v;
    return k->tensor && !v ? columns(field, k->tensor, dir) : 0;
}

static int read_config(wan_arch *out, json_t *j, const char *what, const char *dir)
{
    found f;
    if (!json_is_object(j))
        return wan_err("%s: not a JSON object", what);
    WAN_TRY(find_model(&f, j, what));
    const wan_json_key *keys = f.m->layout[f.naming]->keys;
    memset(out, 0, sizeof *out);
    out->model = f.m;
    WAN_TRY(check_keys(j, keys, what));
    for (const wan_json_key *k = keys; k->name; k++)
        WAN_TRY(read_key(out->c, k, j, what, dir));
    if ((f.m->recast && f.m->recast(out->c, f.naming, 0) < 0) || wan_model_check(out) < 0)
        return wan_err_prefix("%s", what);
    return 0;
}

static int config_of_packed(wan_arch *out, const char *file)
{
    wan_packed *k;
    WAN_TRY(wan_packed_open(&k, file));
    int rc = wan_modelio_config_of(out, wan_packed_list(k));
    wan_packed_close(&k);
    return rc;
}

/* The model of a file without config.json. */
static int config_of_tensors(wan_arch *out, const char *file)
{
    if (wan_gguf_is(file))
        return config_of_packed(out, file);
    wan_st *st;
    wan_tensorlist l;
    WAN_TRY(wan_st_open(&st, file));
    int rc = wan_modelio_list(&l, st, file);
    if (rc == 0)
        rc = wan_modelio_config_of(out, &l);
    wan_tensorlist_free(&l);
    wan_st_close(&st);
    return rc;
}

int wan_modelio_config_of(wan_arch *out, const wan_tensorlist *l)
{
    json_t *j = wan_tensorlist_config(l);
    int rc = j ? read_config(out, j, l->what, l->what) : -1;
    json_decref(j);
    return rc;
}

/* Files that only wan-convert takes apart: named before their config.json is missed. */
static int refuse_foreign(const char *path)
{
    if (!wan_foreign_is(path))
        return 0;
    return wan_err("%s: %s; wan-convert import makes a run of it", path,
                   wan_is_dir(path) > 0 ? "a distributed checkpoint of torch" : "a file of torch");
}

char *wan_modelio_beside(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    const int folder = wan_is_dir(path);
    if (folder < 0)
        return NULL;
    if (folder)
        return wan_path_join(path, name);
    char *dir = strndup(path, slash ? (size_t)(slash - path) + (slash == path) : 0);
    char *path_in = dir ? wan_path_join(*dir ? dir : NULL, name) : NULL;
    if (!dir)
        wan_err("out of memory (path)");
    free(dir);
    return path_in;
}

int wan_modelio_config(wan_arch *out, const char *path)
{
    char *config = wan_modelio_beside(path, "config.json");
    json_t *j = NULL;
    int rc = config ? 0 : -1;
    int there = config && wan_exists(config);
    if (rc == 0 && !there)
        rc = refuse_foreign(path);
    if (rc == 0 && !there && wan_is_dir(path) == 0) {
        rc = config_of_tensors(out, path);
    } else if (rc == 0) {
        j = wan_json_load(config);
        rc = j ? read_config(out, j, config, path) : -1;
    }
    json_decref(j);
    free(config);
    return rc;
}

/* ---- writing */

static json_t *value_of(const unsigned char *c, const wan_json_key *k, int *digits)
{
    if (k->only)
        return json_loads(k->only, JSON_DECODE_ANY, NULL);
    if (!k->real)
        return json_integer(*(const int *)(const void *)(c + k->offset));
    double x = *(const double *)(const void *)(c + k->offset);
    int need = wan_weights_digits(x);
    *digits = need > *digits ? need : *digits;
    return json_real(x);
}

/* Whether the file gets the key. */
static int written(const unsigned char *c, const wan_json_key *k)
{
    if (k->write == WAN_JSON_CHANGED && !k->only && !k->real)
        return *(const int *)(const void *)(c + k->offset) != (int)k->def;
    return k->write == WAN_JSON_ALWAYS;
}

static int fill(json_t *j, const wan_layout *l, const unsigned char *c, int *digits)
{
    int rc = json_object_set_new(j, "_class_name", json_string(l->class_name)) |
             json_object_set_new(j, "_diffusers_version", json_string(l->version));
    for (const wan_json_key *k = l->keys; k->name; k++)
        if (written(c, k))
            rc |= json_object_set_new(j, k->name, value_of(c, k, digits));
    return rc;
}

json_t *wan_modelio_json(const wan_arch *arch, enum wan_naming naming, int *digits)
{
    wan_arch a = *arch;
    const wan_model *m = a.model;
    json_t *j = json_object();
    *digits = 1;
    if (j && !(m->recast && m->recast(a.c, naming, 1) < 0) &&
        fill(j, m->layout[naming], a.c, digits) == 0)
        return j;
    json_decref(j);
    wan_err("out of memory (config.json)");
    return NULL;
}
