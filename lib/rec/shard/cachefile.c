/* SPDX-License-Identifier: Apache-2.0
 *
 * cachefile.c - caches of musubi-tuner; those of diffusion-pipe are in cachefile_db.c.
 */
#include "lib/rec/shard/cachefile.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/rec/record/clip_key.h"
#include "lib/rec/shard/cachefile_in.h"
#include "lib/rec/shard/shard.h"
#include "lib/rec/tensor/safetensors.h"

/* The one tensor whose name begins so. */
static const wan_st_tensor *begins(wan_st *st, const char *prefix, int rank, const char *path)
{
    const wan_st_tensor *found = NULL;
    for (size_t i = 0; i < wan_st_count(st); i++) {
        const wan_st_tensor *t = wan_st_at(st, i);
        size_t n = strlen(prefix);
        /* latents_5x32x32_bf16, but not latents_image_5x32x32_bf16 */
        if (!strncmp(t->name, prefix, n) && t->rank == rank &&
            (rank == 2 || (t->name[n] >= '0' && t->name[n] <= '9'))) {
            if (found) {
                wan_err("%s: both %s and %s, and which is meant is not in the file", path,
                        found->name, t->name);
                return NULL;
            }
            found = t;
        }
    }
    if (!found)
        wan_err("%s: no tensor %s..., of %d dimensions", path, prefix, rank);
    return found;
}

static void *copy(const wan_st_tensor *t)
{
    void *p = wan_malloc(1, t->bytes + 1, t->name);
    if (p)
        memcpy(p, t->data, t->bytes);
    return p;
}

static int add_latent(wan_record *r, const char *path)
{
    wan_st *st;
    WAN_TRY(wan_st_open(&st, path));
    const wan_st_tensor *t = begins(st, "latents_", 4, path);
    void *data = t ? copy(t) : NULL;
    int rc = data ? wan_record_add(r, "latent", t->dtype, t->shape, 4, data, WAN_TAKE) : -1;
    const json_t *meta = wan_st_metadata(st), *v;
    const char *name;
    if (rc == 0)
        json_object_foreach((json_t *)(uintptr_t)meta, name, v)
            wan_json_put(&r->meta, name, json_incref((json_t *)(uintptr_t)v));
    if (rc == 0 && !r->meta)
        rc = -1;
    wan_st_close(&st);
    return rc;
}

static int add_text(wan_record *r, const char *path)
{
    wan_st *st;
    WAN_TRY(wan_st_open(&st, path));
    const wan_st_tensor *t = begins(st, "varlen_t5_", 2, path);
    void *data = t ? copy(t) : NULL;
    int rc = data ? wan_cachefile_text(r, t->dtype, t->shape[0], t->shape[1], data) : -1;
    const json_t *caption = json_object_get(wan_st_metadata(st), "caption1");
    if (rc == 0)
        wan_json_put(&r->meta, "caption",
                     json_is_string(caption) ? json_incref((json_t *)(uintptr_t)caption)
                                             : json_string(""));
    if (rc == 0 && !r->meta)
        rc = -1;
    wan_st_close(&st);
    return rc;
}

/* The file of the text of BASE_FFFFF-FFF_WWWWxHHHH, or of BASE_WWWWxHHHH; NULL: there is none. */
static char *text_beside(const char *latents, size_t stem)
{
    char *path = wan_malloc(stem + 32, 1, "file name");
    for (int cut = 0; path && cut < 2; cut++) {
        while (stem && latents[stem - 1] != '_' && latents[stem - 1] != '/')
            stem--;
        if (stem < 2 || latents[--stem] == '/')
            break;
        sprintf(path, "%.*s_wan_te.safetensors", (int)stem, latents);
        if (wan_exists(path))
            return path;
    }
    if (path)
        wan_err("%s: no file of its text beside it", latents);
    free(path);
    return NULL;
}

static int read_musubi(wan_record *r, const char *path, const char *name)
{
    static const char end[] = "_wan.safetensors";
    size_t stem = strlen(path) - (sizeof end - 1), below = strlen(name) - (sizeof end - 1);
    char *cut = strndup(name, below), *key = cut ? wan_clip_key_make(NULL, cut) : NULL;
    char *text = key ? text_beside(path, stem) : NULL;
    wan_record_clear(r);
    int rc = !text || wan_record_set_key(r, key) < 0 ? -1 : add_text(r, text);
    if (rc == 0)
        rc = add_latent(r, path);
    free(text);
    free(key);
    free(cut);
    return rc;
}

static int each_musubi(const char *dir, wan_cachefile_fn *fn, void *arg, uint64_t *n)
{
    static const char *const ends[] = { "_wan.safetensors", NULL };
    wan_record r = WAN_RECORD_INIT;
    char **names = NULL;
    size_t count = 0;
    int rc = wan_shard_list_as(&names, &count, dir, ends);
    for (size_t i = 0; i < count && rc == 0; i++) {
        char *path = wan_path_join(dir, names[i]);
        rc = path ? read_musubi(&r, path, names[i]) : -1;
        if (rc == 0)
            rc = fn(arg, &r);
        free(path);
        ++*n;
    }
    wan_record_clear(&r);
    wan_shard_list_free(names, count);
    return rc;
}

int wan_cachefile_each(const char *dir, wan_cachefile_fn *fn, void *arg, uint64_t *without)
{
    uint64_t n = 0;
    *without = 0;
    WAN_TRY(each_musubi(dir, fn, arg, &n));
    WAN_TRY(wan_cachefile_db_each(dir, fn, arg, without));
    return n || *without ? 0
                         : wan_err("%s: no cache of musubi-tuner (*_wan.safetensors) or "
                                   "diffusion-pipe (latents/metadata.db) for WAN",
                                   dir);
}
