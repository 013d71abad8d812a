/* SPDX-License-Identifier: Apache-2.0
 *
 * rowcache.c - see rowcache.h.
 */
#include "lib/model/sample/rowcache.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/model/files/modeldigest.h"
#include "lib/rec/tensor/safetensors.h"

/* DIR/<digest>.safetensors for a text, malloc'ed. */
static char *path_of(const char *dir, const char *text, const wan_prompt_encoder *e)
{
    const int64_t numbers[] = { e->width, e->max_len, (int64_t)e->compute };
    char hex[65], *path = NULL;
    wan_sha256 s;
    wan_sha256_init(&s);
    wan_sha256_add(&s, text, strlen(text) + 1);
    wan_sha256_add(&s, numbers, sizeof numbers);
    if (wan_modeldigest_stamp(&s, e->encoder) < 0 || wan_modeldigest_stamp(&s, e->tokenizer) < 0)
        return NULL;
    wan_sha256_hex(&s, hex);
    if (asprintf(&path, "%s/%s.safetensors", dir, hex) < 0) {
        wan_err("out of memory (path)");
        return NULL;
    }
    return path;
}

static int load(float **rows, int64_t *n, const char *path, const wan_prompt_encoder *e)
{
    wan_st *st;
    WAN_TRY(wan_st_open(&st, path));
    const wan_st_tensor *t = wan_st_find(st, "rows");
    int64_t shape[2] = { t && t->rank == 2 ? t->shape[0] : 0, e->width };
    int rc = 0;
    if (shape[0] < 1 || shape[0] > e->max_len)
        rc = wan_err("%s: no rows of a text", path);
    *rows = rc == 0 ? wan_malloc((size_t)(shape[0] * shape[1]), sizeof **rows, "text rows") : NULL;
    if (rc == 0)
        rc = *rows ? wan_st_load(st, "rows", shape, 2, *rows, WAN_F32) : -1;
    *n = shape[0];
    wan_st_close(&st);
    return rc;
}

static int save(const float *rows, int64_t n, const char *path, const char *text,
                const wan_prompt_encoder *e)
{
    const int64_t shape[2] = { n, e->width };
    wan_st_writer *w = NULL;
    int rc = wan_st_create(&w, path);
    if (rc == 0)
        rc = wan_st_set_metadata(w, "text", text);
    if (rc == 0)
        rc = wan_st_declare(w, "rows", WAN_F32, shape, 2);
    if (rc == 0)
        rc = wan_st_put(w, "rows", rows, WAN_F32);
    if (rc == 0)
        rc = wan_st_finish(&w);
    wan_st_abandon(&w);
    return rc;
}

/* A few texts, and those of them that are new. */
typedef struct seen {
    char **path;       /* [count] */
    int *which;        /* [fresh] numbers of the new ones, and what comes of them */
    const char **text; /* [fresh] */
    float **rows;
    int64_t *n;
    int fresh;
} seen;

static void seen_free(seen *c, int count)
{
    for (int i = 0; c->path && i < count; i++)
        free(c->path[i]);
    for (int k = 0; c->rows && k < c->fresh; k++)
        free(c->rows[k]);
    free(c->path);
    free(c->which);
    free(c->text);
    free(c->rows);
    free(c->n);
}

static int look(seen *c, float **rows, int64_t *n, const char *const *text, int count,
                const wan_prompt_encoder *e, const char *dir)
{
    size_t m = (size_t)count;
    c->path = wan_calloc(m, sizeof *c->path, "prompts");
    c->which = wan_calloc(m, sizeof *c->which, "prompts");
    c->text = wan_calloc(m, sizeof *c->text, "prompts");
    c->rows = wan_calloc(m, sizeof *c->rows, "prompts");
    c->n = wan_calloc(m, sizeof *c->n, "prompts");
    if (!c->path || !c->which || !c->text || !c->rows || !c->n)
        return -1;
    for (int i = 0; i < count; i++) {
        c->path[i] = path_of(dir, text[i], e);
        if (!c->path[i])
            return -1;
        if (wan_exists(c->path[i])) {
            WAN_TRY(load(&rows[i], &n[i], c->path[i], e));
            continue;
        }
        c->text[c->fresh] = text[i];
        c->which[c->fresh++] = i;
    }
    wan_verbose("text rows: %d of %d from %s", count - c->fresh, count, dir);
    return 0;
}

static int encode(seen *c, float **rows, int64_t *n, const wan_prompt_encoder *e)
{
    if (!c->fresh)
        return 0;
    WAN_TRY(wan_prompt_encode(c->rows, c->n, c->text, c->fresh, e));
    for (int k = 0; k < c->fresh; k++) {
        int i = c->which[k];
        rows[i] = c->rows[k];
        n[i] = c->n[k];
        c->rows[k] = NULL;
        WAN_TRY(save(rows[i], n[i], c->path[i], c->text[k], e));
    }
    return 0;
}

int wan_rowcache_encode(float **rows, int64_t *n, const char *const *text, int count,
                        const wan_prompt_encoder *e, const char *dir)
{
    seen c = { .fresh = 0 };
    if (!dir)
        return wan_prompt_encode(rows, n, text, count, e);
    memset(rows, 0, (size_t)count * sizeof *rows);
    int rc = wan_mkdirs(dir);
    if (rc == 0)
        rc = look(&c, rows, n, text, count, e, dir);
    if (rc == 0)
        rc = encode(&c, rows, n, e);
    seen_free(&c, count);
    for (int i = 0; rc < 0 && i < count; i++) {
        free(rows[i]);
        rows[i] = NULL;
    }
    return rc;
}
