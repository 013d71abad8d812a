/* SPDX-License-Identifier: Apache-2.0
 *
 * record_st.c - a record to a safetensors file and back.
 */
#include "lib/rec/tensor/record_st.h"

#include <stdlib.h>
#include <string.h>

#include "lib/rec/record/clip_key.h"

static int put_tensors(wan_st_writer *w, const wan_record *rec)
{
    for (int i = 0; i < rec->n_tensors; i++) {
        const wan_tensor *t = &rec->tensors[i];
        WAN_TRY(wan_st_declare(w, t->name, t->dtype, t->shape, t->rank));
    }
    for (int i = 0; i < rec->n_tensors; i++)
        WAN_TRY(wan_st_put(w, rec->tensors[i].name, rec->tensors[i].data, rec->tensors[i].dtype));
    return 0;
}

int wan_record_st_write(const char *path, const wan_record *rec, const json_t *header)
{
    wan_st_writer *w;
    char *meta = wan_json_dump(rec->meta), *head = wan_json_dump(header);
    int rc = meta && head ? wan_st_create(&w, path) : -1;
    if (!rc) {
        if (wan_st_set_metadata(w, "wan_key", rec->key) < 0 ||
            wan_st_set_metadata(w, "wan_meta", meta) < 0 ||
            wan_st_set_metadata(w, "wan_header", head) < 0 || put_tensors(w, rec) < 0)
            rc = -1;
        if (rc < 0)
            wan_st_abandon(&w);
        else
            rc = wan_st_finish(&w);
    }
    free(meta);
    free(head);
    return rc;
}

/* The object that __metadata__ holds as JSON text under this name, in *out; NULL when absent. */
static int parse_entry(json_t **out, wan_st *st, const char *name, const char *file)
{
    const char *text = json_string_value(json_object_get(wan_st_metadata(st), name));
    *out = NULL;
    if (!text)
        return 0;
    json_t *j = wan_json_parse(text, strlen(text), file);
    if (!j)
        return -1;
    if (!json_is_object(j)) {
        json_decref(j);
        return wan_err("%s: its %s is not an object", file, name);
    }
    *out = j;
    return 0;
}

int wan_record_st_header(json_t **header, wan_st *st, const char *file)
{
    return parse_entry(header, st, "wan_header", file);
}

/* Ours is restored, foreign strings are kept as they are. */
static int read_meta(json_t **meta, wan_st *st, const char *file)
{
    const char *key;
    json_t *v;
    WAN_TRY(parse_entry(meta, st, "wan_meta", file));
    if (!*meta)
        *meta = wan_json_object();
    json_object_foreach((json_t *)wan_st_metadata(st), key,
                        v) if (strcmp(key, "format") && strncmp(key, "wan_", 4))
        wan_json_put(meta, key, json_incref(v));
    return *meta ? 0 : -1;
}

static char *key_of_file(wan_st *st, const char *file)
{
    const char *said = json_string_value(json_object_get(wan_st_metadata(st), "wan_key"));
    if (said)
        return strdup(said);
    const char *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file;
    size_t n = strlen(name), end = strlen(".safetensors");
    char *stem = strdup(name);
    if (stem && n >= end && !strcmp(stem + n - end, ".safetensors"))
        stem[n - end] = 0;
    char *key = stem ? wan_clip_key_of(stem) : NULL;
    free(stem);
    return key;
}

static int add_tensors(wan_record *rec, wan_st *st)
{
    for (size_t i = 0; i < wan_st_count(st); i++) {
        const wan_st_tensor *t = wan_st_at(st, i);
        WAN_TRY(
            wan_record_add(rec, t->name, t->dtype, t->shape, t->rank, (void *)t->data, WAN_BORROW));
    }
    return 0;
}

int wan_record_st_read(wan_record *rec, wan_st *st, const char *file, const char *key)
{
    char *own = key ? strdup(key) : key_of_file(st, file);
    if (!own)
        return wan_err("%s: out of memory (key)", file);
    wan_record_clear(rec);
    int rc = read_meta(&rec->meta, st, file);
    if (!rc && (wan_record_set_key(rec, own) < 0 || add_tensors(rec, st) < 0))
        rc = wan_err_prefix("%s", file);
    free(own);
    return rc;
}
