/* SPDX-License-Identifier: Apache-2.0
 *
 * geometry.c - see geometry.h.  The fields that keys set are listed by the model's row.
 */
#include "lib/train/config/geometry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/model/files/modelfolder.h"
#include "lib/model/files/modelio.h"
#include "lib/train/config/config_priv.h"

static int published(wan_arch *out, const wan_model *m, const char *size)
{
    const wan_preset *p = m->presets;
    while (p->name && strcmp(p->name, size))
        p++;
    if (!p->name)
        return wan_err("model.size=%s is no size of a model of type %s", size, m->type);
    wan_model_arch(out, m, p->c);
    return 0;
}

/* What the keys start from: the weights, else a config.json that is named, else a published size. */
static int start_from(wan_arch *base, const wan_config *c, const wan_model *m, const char *weights)
{
    const wan_train_config *v = &c->v;
    char *folder = NULL;
    if (weights || *v->model_config)
        return wan_modelio_config(base, weights ? weights : v->model_config);
    if (!*v->model_path)
        return published(base, m, wan_config_text(c, "model.size"));
    int rc = wan_model_transformer(&folder, v->model_path, -1);
    if (rc == 0)
        rc = wan_modelio_config(base, folder);
    free(folder);
    return rc;
}

/* Keys without a value of their own (0) leave the field as it is. */
static void overlay(wan_arch *out, const wan_config *c)
{
    for (const wan_field *f = out->model->fields; f->key; f++)
        if (wan_config_source(c, f->key) != WAN_FROM_DEFAULT && wan_config_number(c, f->key) != 0)
            wan_field_set(f, out->c, wan_config_number(c, f->key));
}

/* The resolved number goes where none was given. */
static int set(wan_config *c, const char *key, double value)
{
    if (wan_config_source(c, key) > WAN_FROM_PRESET && wan_config_number(c, key) != 0)
        return 0;
    return wan_config_derive_real(c, key, value, "model.size, or the weights");
}

/* The width: what is given, else what heads and their width give, else as it was. */
static int set_width(wan_arch *out, const wan_config *c, const wan_arch *base)
{
    const wan_train_config *v = &c->v;
    unsigned given = (v->heads ? WAN_GIVEN_HEADS : 0u) | (v->head_dim ? WAN_GIVEN_HEAD_DIM : 0u);
    int64_t width = v->hidden;
    wan_sizes z;
    wan_model_sizes(&z, base);
    if (!width)
        width = v->heads && v->head_dim ? v->heads * v->head_dim : z.width;
    if (v->ffn || width == z.width) /* as it is */
        given |= WAN_GIVEN_FFN;
    return out->model->set_width ? out->model->set_width(out->c, width, given) : 0;
}

/* Two keys of one field agree. */
static int agree(const wan_arch *out, const wan_config *c)
{
    for (const wan_field *f = out->model->fields; f->key; f++) {
        double given = wan_config_number(c, f->key), x = wan_field_get(f, out->c);
        if (wan_config_source(c, f->key) > WAN_FROM_PRESET && given != 0 && given != x)
            return wan_err("%s is %g, but another key says %g", f->key, given, x);
    }
    return 0;
}

static int compare(const wan_arch *mine, const wan_arch *its, const char *weights)
{
    for (const wan_field *f = mine->model->fields; f->key; f++) {
        double a = wan_field_get(f, mine->c), b = wan_field_get(f, its->c);
        if (f->kind == WAN_FIELD_INT && a != b)
            return wan_err("%s is %.0f, but the weights in %s have %.0f", f->key, a, weights, b);
    }
    return 0;
}

int wan_geometry(wan_arch *out, wan_config *c, const char *weights)
{
    const char *type = wan_config_text(c, "model.type");
    const wan_model *m = wan_model_find(type);
    wan_arch base;
    wan_sizes z;
    if (!m)
        return wan_err("model.type=%s: there is no such model", type);
    WAN_TRY(start_from(&base, c, m, weights));
    if (base.model != m && wan_config_source(c, "model.type") > WAN_FROM_PRESET)
        return wan_err("model.type=%s, but %s holds a model of type %s", type,
                       weights ? weights : "the folder", base.model->type);
    *out = base;
    overlay(out, c);
    WAN_TRY(set_width(out, c, &base));
    WAN_TRY(agree(out, c));
    if (weights)
        WAN_TRY(compare(out, &base, weights));
    WAN_TRY(wan_model_check(out));
    wan_model_sizes(&z, out);
    WAN_TRY(set(c, "model.crossattn_emb_size", (double)z.width)); /* unless it is a field */
    for (const wan_field *f = out->model->fields; f->key; f++)
        WAN_TRY(set(c, f->key, wan_field_get(f, out->c)));
    return set(c, "model.hidden_size", (double)z.width);
}
