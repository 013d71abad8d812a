/* SPDX-License-Identifier: Apache-2.0
 *
 * wan-convert - published weights to checkpoints and back, any naming.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/ends.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/opt.h"
#include "lib/base/signals.h"
#include "lib/model/files/foreign.h"
#include "lib/model/files/manifest.h"
#include "lib/model/files/modelfolder.h"
#include "lib/model/files/modelio.h"
#include "lib/model/files/official.h"
#include "lib/model/files/packed.h"
#include "lib/model/files/quantize.h"
#include "lib/model/files/rundir.h"
#include "lib/model/text/text.h"
#include "lib/model/vae/vae.h"

static struct {
    const char *hf_model, *megatron_path, *hf_path, *naming, *dtype, *quant, *device_map;
    int64_t step, max_shard;
    int copy, force, trusted, trust, not_strict;
} o = { .naming = "hf", .dtype = "keep", .quant = "q8_0", .step = -1, .max_shard = 5000000000 };

#define DTYPES "keep|fp32|bf16|fp16|float32|bfloat16|float16"

static const wan_opt table[] = {
    WAN_OPT_GROUP("Folders (instead of operands)"),
    WAN_OPT_STR("hf-model", 0, "DIR", &o.hf_model,
                "import: what to read; export: where --copy-components finds the other parts"),
    WAN_OPT_STR("megatron-path", 0, "DIR", &o.megatron_path,
                "import: the training run to make; export: the one to read"),
    WAN_OPT_STR("hf-path", 0, "DIR", &o.hf_path, "export: the folder to make"),
    WAN_OPT_GROUP("Conversion"),
    WAN_OPT_ENUM("naming", 'n', "hf|official", &o.naming,
                 "export: tensor names and layout of HuggingFace or of the official repository"),
    WAN_OPT_ENUM("dtype", 't', DTYPES, &o.dtype, "element type to store"),
    WAN_OPT_ENUM("torch-dtype", 0, DTYPES, &o.dtype, "the same"),
    WAN_OPT_SIZE("max-shard-size", 0, "BYTES", &o.max_shard, 1024, 1e15,
                 "begin another file when one would grow beyond this"),
    WAN_OPT_INT("checkpoint_step", 0, "N", &o.step, -1, 999999999999999,
                "export: iteration of the training run; -1: its latest"),
    WAN_OPT_FLAG("copy-components", 'c', &o.copy,
                 "export: bring vae, text_encoder, tokenizer, scheduler and model_index.json too"),
    WAN_OPT_FLAG("force", 'f', &o.force, "replace what is there"),
    WAN_OPT_FLAG("no-verify", 0, &o.trusted,
                 "weights of a checkpoint are not held against its manifest.json first"),
    WAN_OPT_ENUM("type", 0, "q8_0|q4_k", &o.quant, "quantize: blocks of 8 or of 4 bits"),
    WAN_OPT_GROUP("Accepted without effect"),
    WAN_OPT_STR("device-map", 0, "NAME", &o.device_map, "conversion needs no device"),
    WAN_OPT_FLAG("trust-remote-code", 0, &o.trust, "nothing from a model folder is ever run"),
    WAN_OPT_FLAG("not-strict", 0, &o.not_strict, "every tensor is accounted for regardless"),
    WAN_OPT_COMMON,
    WAN_OPT_END
};
static const wan_tool tool = {
    "wan-convert", "published weights to checkpoints and back, any naming",
    "[options] import|export|quantize FROM TO | gather FILE... TO | check DIR", table
};

/* ---- tensors */

typedef struct source {
    wan_st *st;
    wan_st_tensor **t;    /* [params.n], of st */
    wan_foreign *foreign; /* in place of st */
    wan_packed *packed;   /* the same */
    wan_params params;
    wan_arch arch;
    wan_dtype *type; /* to store */
    void *buf;       /* one tensor */
    enum wan_naming naming;
    const char *path, *sub; /* what it is; where inside of the folder to make, may be "" */
    int done;
} source;

/* The element type asked for; -1: that of each tensor. */
static int wanted_type(void)
{
    const char *s = o.dtype;
    if (strcmp(s, "fp32") == 0 || strcmp(s, "float32") == 0)
        return WAN_F32;
    if (strcmp(s, "bf16") == 0 || strcmp(s, "bfloat16") == 0)
        return WAN_BF16;
    return strcmp(s, "keep") == 0 ? -1 : WAN_F16;
}

static void source_close(source *s)
{
    wan_st_close(&s->st);
    wan_foreign_close(&s->foreign);
    wan_packed_close(&s->packed);
    wan_params_free(&s->params);
    free(s->t);
    free(s->type);
    free(s->buf);
}

static int open_folder(source *s, const char *path)
{
    WAN_TRY(wan_modelio_config(&s->arch, path));
    WAN_TRY(s->arch.model->params(&s->params, s->arch.c));
    WAN_TRY(wan_st_open(&s->st, path));
    s->t = wan_calloc((size_t)s->params.n, sizeof *s->t, "tensor list");
    return s->t ? wan_modelio_match(s->t, &s->params, s->st, path) : -1;
}

static int open_foreign(source *s, const char *path)
{
    WAN_TRY(wan_foreign_open(&s->foreign, path));
    return wan_foreign_match(&s->arch, &s->params, s->foreign);
}

static int open_packed(source *s, const char *path)
{
    WAN_TRY(wan_modelio_config(&s->arch, path));
    WAN_TRY(s->arch.model->params(&s->params, s->arch.c));
    WAN_TRY(wan_packed_open(&s->packed, path));
    return wan_packed_match(s->packed, &s->params);
}

/* Element type in which parameter i is stored; what is quantised becomes bf16. */
static wan_dtype type_of(const source *s, int i)
{
    if (s->foreign)
        return wan_foreign_type(s->foreign, i);
    if (s->st)
        return s->t[i]->dtype;
    return wan_packed_at(s->packed, i)->quant ? WAN_BF16 : wan_packed_at(s->packed, i)->dtype;
}

static int source_open(source *s, const char *path)
{
    *s = (source){ .sub = "", .path = path };
    WAN_TRY(wan_foreign_is(path) ? open_foreign(s, path)
            : wan_gguf_is(path)  ? open_packed(s, path)
                                 : open_folder(s, path));
    size_t n = (size_t)s->params.n, largest = 0;
    s->type = wan_calloc(n, sizeof *s->type, "tensor list");
    if (!s->type)
        return -1;
    int type = wanted_type();
    for (size_t i = 0; i < n; i++) {
        wan_dtype has = type_of(s, (int)i);
        if (has != WAN_F32 && has != WAN_BF16 && has != WAN_F16 && has != WAN_F64)
            return wan_err("%s: tensor %s: element type %s is no weight", path, s->params.v[i].name,
                           wan_dtype_name(has));
        s->type[i] = type < 0 ? has : (wan_dtype)type;
        size_t bytes = (size_t)s->params.v[i].count * wan_dtype_size(s->type[i]);
        largest = bytes > largest ? bytes : largest;
    }
    s->buf = wan_malloc(largest, 1, "a tensor");
    return s->buf ? 0 : -1;
}

/* Whether element k of v has an exponent of ones: it is infinite or no number. */
static int not_finite(const void *v, wan_dtype t, int64_t k)
{
    switch (t) {
    case WAN_F16: return (((const uint16_t *)v)[k] & 0x7c00) == 0x7c00;
    case WAN_BF16: return (((const uint16_t *)v)[k] & 0x7f80) == 0x7f80;
    case WAN_F32: return (((const uint32_t *)v)[k] & 0x7f800000) == 0x7f800000;
    default: return (((const uint64_t *)v)[k] & 0x7ff0000000000000) == 0x7ff0000000000000;
    }
}

/* A broken weight, or one that the new type cannot hold, would go on without a word. */
static int check_range(const source *s, int i)
{
    const wan_param *q = &s->params.v[i];
    for (int64_t k = 0; k < q->count; k++)
        if (not_finite(s->buf, s->type[i], k))
            return wan_err("%s: tensor %s: element %" PRId64 " is not finite or too large for %s",
                           s->st ? s->t[i]->file : s->path, q->name, k, wan_dtype_name(s->type[i]));
    return 0;
}

static int load(const source *s, int i)
{
    if (s->foreign)
        return wan_foreign_read(s->foreign, i, s->buf, s->type[i]);
    if (s->packed)
        return wan_packed_read(s->packed, i, s->buf, s->type[i]);
    wan_st_tensor *t = s->t[i];
    WAN_TRY(wan_st_load(s->st, t->name, t->shape, t->rank, s->buf, s->type[i]));
    wan_st_release(s->st, t);
    return 0;
}

static int fetch(void *arg, int i, const void **data, wan_dtype *type)
{
    source *s = arg;
    WAN_TRY(load(s, i));
    WAN_TRY(check_range(s, i));
    wan_progress(0, "%d of %d tensors", ++s->done, s->params.n);
    *data = s->buf;
    *type = s->type[i];
    return 0;
}

/* ---- folders */

/* What cannot be seen counts as there: reading it says why. */
static int exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

static int is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* "dir/.name.tmp" for "dir/name": on the same file system, and never taken for the result. */
static char *temporary(const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t n = strlen(path) + 8;
    char *tmp = wan_malloc(n, 1, "path");
    int head = slash ? (int)(slash + 1 - path) : 0;
    if (tmp)
        snprintf(tmp, n, "%.*s.%s.tmp", head, path, path + head);
    return tmp;
}

/* Whether a file may be one of a model's folder, */
static int is_part(const char *name)
{
    static const char *const ends[] = { ".json", ".safetensors", ".model", ".yaml", ".txt", ".md" };
    const char *end = strrchr(name, '.');
    size_t i = 0, n = sizeof ends / sizeof *ends;
    while (i < n && (!end || strcmp(end, ends[i]) != 0))
        i++;
    return i < n;
}

/* and whether it says that the folder is one. */
static int is_mark(const char *name)
{
    return wan_ends_with(name, ".safetensors") || wan_ends_with(name, ".model") ||
           wan_ends_with(name, "config.json") || !strcmp(name, "model_index.json") ||
           !strcmp(name, "tokenizer.json");
}

static int look_into(const char *top, const char *dir, int depth, int *marks);

static int look_at(const char *top, const char *dir, const char *name, int depth, int *marks)
{
    char *path = wan_path_join(dir, name);
    int folder = path && is_dir(path), rc = path ? 0 : -1;
    if (folder && depth > 0)
        rc = look_into(top, path, depth - 1, marks);
    else if (rc == 0 && (folder || !is_part(name)))
        rc = wan_err("%s: not replaced: %s is no part of what would be", top, path);
    *marks += !folder && is_mark(name);
    free(path);
    return rc;
}

/* All that is in the folder, which may be `depth` deep, may be a model's; *marks counts what surely is. */
static int look_into(const char *top, const char *dir, int depth, int *marks)
{
    DIR *d = opendir(dir);
    const char *name;
    int rc = d ? 1 : wan_err_errno("%s: not replaced: %s", top, dir);
    while (rc > 0 && (rc = wan_dir_next(d, dir, &name)) > 0)
        if (look_at(top, dir, name, depth, marks) < 0)
            rc = -1;
    if (d)
        closedir(d);
    return rc;
}

/* 1 the folder holds nothing, 0, -1. */
static int is_empty(const char *dir)
{
    const char *name;
    DIR *d = opendir(dir);
    if (!d)
        return wan_err_errno("%s", dir);
    int rc = wan_dir_next(d, dir, &name);
    closedir(d);
    return rc < 0 ? -1 : !rc;
}

/* --force never takes a folder of somebody's own. */
static int refuse_existing(const char *path, int depth)
{
    int marks = 0;
    if (!exists(path))
        return 0;
    if (!o.force)
        return wan_err("%s: is there already; --force replaces it", path);
    WAN_TRY(look_into(path, path, depth, &marks));
    int empty = marks ? 0 : is_empty(path);
    if (!marks && empty == 0)
        return wan_err("%s: not replaced: nothing in it says that it is a model", path);
    return empty < 0 ? -1 : 0;
}

/* A link stays: what it leads to is made. */
static int follow(char **path)
{
    char *to = wan_path_follow(*path);
    if (!to)
        return -1;
    free(*path);
    *path = to;
    return 0;
}

/* Puts the finished tmp in the place of path. */
static int replace(const char *tmp, const char *path)
{
    if (wan_is_dir(tmp) == 0) /* a single file */
        return rename(tmp, path) < 0 ? wan_err_errno("%s: cannot be replaced", path) : 0;
    size_t n = strlen(tmp) + 5;
    char *old = wan_malloc(n, 1, "path");
    if (!old)
        return -1;
    snprintf(old, n, "%s.old", tmp);
    wan_remove_tree(old);
    int rc = wan_replace_dir(tmp, path, old);
    free(old);
    return rc;
}

/* An empty folder to make a result in, which no other wan-convert makes its own in meanwhile; *hold is to be
 * closed when it has its name. */
static int begin(int *hold, const char *tmp)
{
    for (int tries = 0; tries < 10;
         tries++) { /* what a killed one left goes, and the lock with it */
        WAN_TRY(wan_rundir_hold(hold, tmp));
        int empty = is_empty(tmp);
        if (empty > 0 && wan_rundir_held(*hold, tmp) == 0)
            return 0;
        if (empty == 0)
            wan_remove_tree(tmp);
        if (*hold >= 0)
            close(*hold);
        *hold = -1;
        WAN_TRY(empty);
    }
    return wan_err("%s: cannot be emptied", tmp);
}

static void end(int hold, const char *tmp)
{
    wan_remove_tree(tmp);
    if (hold >= 0)
        close(hold);
}

static int fill_transformer(source *s, const char *dir)
{
    char *inner = *s->sub ? wan_path_join(dir, s->sub) : strdup(dir);
    int rc = inner ? wan_modelio_write(&s->arch, &s->params, inner, s->naming, s->type, o.max_shard,
                                       fetch, s)
                   : -1;
    wan_progress(1, "%d tensors", s->done);
    free(inner);
    return rc;
}

/* ---- copying the other parts */

static int copy_bytes(FILE *in, wan_out *out, const char *from)
{
    static char buf[1 << 20];
    size_t n;
    while ((n = fread(buf, 1, sizeof buf, in)) > 0)
        if (fwrite(buf, 1, n, wan_out_file(out)) != n)
            return wan_err_errno("%s: write failed", wan_out_name(out));
    return ferror(in) ? wan_err_errno("%s", from) : 0;
}

static int copy_file(const char *from, const char *to)
{
    FILE *in;
    const char *name;
    wan_out *out = NULL;
    WAN_TRY(wan_in_open(&in, from, &name));
    int rc = wan_out_open(&out, to);
    if (rc == 0)
        rc = copy_bytes(in, out, name);
    if (rc == 0)
        rc = wan_out_finish(&out);
    wan_out_discard(&out);
    wan_in_close(in);
    return rc;
}

static int copy_folder(const char *from, const char *to)
{
    DIR *d = opendir(from);
    const char *name;
    if (!d)
        return wan_err_errno("%s", from);
    int rc = wan_mkdirs(to) < 0 ? -1 : 1;
    while (rc > 0 && (rc = wan_dir_next(d, from, &name)) > 0) {
        if (name[0] == '.')
            continue;
        char *a = wan_path_join(from, name), *b = wan_path_join(to, name);
        if (!a || !b || (is_dir(a) ? copy_folder(a, b) : copy_file(a, b)) < 0)
            rc = -1;
        free(a);
        free(b);
    }
    closedir(d);
    return rc;
}

/* ---- parts of the official repository: torch files, converted and then opened to see that nothing
 * is missing */

static int fill_vae(void *arg, const char *dir)
{
    wan_dev *d = NULL;
    wan_vae *v = NULL;
    WAN_TRY(wan_official_vae(arg, dir, o.max_shard));
    int rc = wan_dev_open(&d, "cpu", 0);
    if (rc == 0)
        rc = wan_vae_open(&v, d, dir, WAN_VAE_ENCODER | WAN_VAE_DECODER, WAN_F32);
    wan_vae_close(&v);
    wan_dev_close(&d);
    return rc;
}

static int fill_umt5(void *arg, const char *dir)
{
    wan_dev *d = NULL;
    wan_umt5 *e = NULL;
    WAN_TRY(wan_official_umt5(arg, dir, o.max_shard));
    int rc = wan_dev_open(&d, "cpu", 0);
    if (rc == 0)
        rc = wan_umt5_open(&e, d, dir, WAN_BF16);
    wan_umt5_close(&e);
    wan_dev_close(&d);
    return rc;
}

static int fill_copy(void *arg, const char *dir)
{
    return copy_folder(arg, dir);
}

/* A part, where the official repository has it, and how it becomes ours. */
typedef int fill_fn(void *arg, const char *dir);
typedef struct component {
    const char *name, *official;
    fill_fn *fill;
} component;

static const component components[] = {
    { "vae", WAN_OFFICIAL_VAE, fill_vae },
    { "text_encoder", WAN_OFFICIAL_UMT5, fill_umt5 },
    { "tokenizer", WAN_OFFICIAL_TOKENIZER, fill_copy },
    { "scheduler", NULL, NULL }, /* written where the others are official */
    { "model_index.json", NULL, NULL },
};
enum { COMPONENTS = sizeof components / sizeof *components };

/* Where a component comes from, malloc'ed; *official: it is to be converted.  NULL: it is not there. */
static char *component_of(const component *c, const char *from, int *official)
{
    char *path = wan_path_join(from, c->name);
    *official = path && !exists(path) && c->official;
    if (path && !exists(path)) {
        free(path);
        path = c->official ? wan_path_join(from, c->official) : NULL;
        if (path && exists(path))
            return path;
        free(path);
        path = NULL;
        wan_err("%s: has no %s%s%s, which --copy-components would bring", from, c->name,
                c->official ? ", nor " : "", c->official ? c->official : "");
    }
    return path;
}

static int is_official(const char *from)
{
    int official = 0;
    char *vae = component_of(&components[0], from, &official);
    free(vae);
    return vae && official;
}

/* Brings every component into dir; dir NULL: only looks whether all are there. */
static int bring(const char *from, const char *dir)
{
    int written = is_official(from), official, rc = 0;
    for (int i = 0; i < COMPONENTS && rc == 0; i++) {
        const component *c = &components[i];
        if (written && !c->official)
            continue;
        char *a = component_of(c, from, &official), *b = dir ? wan_path_join(dir, c->name) : NULL;
        if (!a || (dir && !b))
            rc = -1;
        else if (dir && official)
            rc = c->fill(a, b);
        else if (dir)
            rc = is_dir(a) ? copy_folder(a, b) : copy_file(a, b);
        free(a);
        free(b);
    }
    return rc == 0 && dir && written ? wan_official_index(dir) : rc;
}

/* ---- the two directions */

/* A folder that trains or has trained: only --force sets it back. */
static int refuse_run(const char *run)
{
    int64_t *steps;
    size_t n;
    if (o.force)
        return 0;
    WAN_TRY(wan_rundir_list(&steps, &n, run));
    int64_t newest = n ? steps[n - 1] : 0;
    free(steps);
    if (newest > 0)
        return wan_err("%s: holds a training run of %" PRId64 " steps; --force sets it back to "
                       "step 0",
                       run, newest);
    return 0;
}

/* Step 0 that an import made is left to --force; without a pointer to it an import was cut off. */
static int refuse_step(const char *run, const char *iter)
{
    char *pointer = wan_path_join(run, WAN_RUNDIR_POINTER);
    int rc = !pointer ? -1 : exists(pointer) ? refuse_existing(iter, 1) : 0;
    free(pointer);
    return rc;
}

/* Weights of a checkpoint are those that were saved. */
static int verify(const char *transformer)
{
    return o.trusted ? 0 : wan_manifest_check_part(transformer, 0, 1);
}

/* The files of a folder, or of a checkpoint of a run, are those of its manifest, which is written where there
 * is none. */
static int check(const char *dir)
{
    char *iter = NULL, *path = NULL;
    int rc = wan_rundir_find(&iter, dir, o.step);
    const char *what = rc == 1 ? iter : dir;
    if (rc >= 0)
        rc = (path = wan_path_join(what, "manifest.json")) ? wan_is_dir(what) : -1;
    if (rc == 0)
        rc = wan_err("%s: no such folder", what);
    if (rc > 0 && wan_exists(path)) {
        rc = wan_manifest_check(what, 0, 1);
        if (rc == 0)
            wan_info("%s: every file is as manifest.json says", what);
    } else if (rc > 0) {
        rc = wan_manifest_save(what, NULL, 0);
        if (rc == 0)
            wan_info("%s: has the digest of every file from now on", path);
    }
    free(iter);
    free(path);
    return rc;
}

/* FROM (a model folder, or its transformer) -> TO/iter_0000000/transformer */
static int import(const char *from, const char *to)
{
    source s = { 0 };
    char *dir = NULL, *tmp = NULL, *iter = wan_rundir_name(to, 0);
    int hold = -1;
    int rc = iter ? wan_model_transformer(&dir, from, -1) : -1;
    if (rc == 0)
        rc = verify(dir);
    if (rc == 0)
        rc = source_open(&s, dir);
    if (rc == 0)
        rc = wan_rundir_hold(&hold, to);
    if (rc == 0)
        rc = refuse_run(to);
    if (rc == 0)
        rc = refuse_step(to, iter);
    if (rc == 0)
        rc = wan_rundir_next(&tmp, to, 0);
    s.sub = "transformer";
    if (rc == 0)
        rc = fill_transformer(&s, tmp);
    if (rc == 0)
        rc = wan_rundir_replace(to, 0);
    if (tmp)
        wan_remove_tree(tmp);
    if (rc == 0)
        rc = wan_rundir_point(to, 0);
    if (rc == 0)
        wan_info("%s: %d tensors, %" PRId64 " parameters", iter, s.params.n, s.params.count);
    source_close(&s);
    if (hold >= 0)
        close(hold);
    free(dir);
    free(tmp);
    free(iter);
    return rc;
}

/* What an export makes in a folder: the whole of it, or these entries. */
static int official_layout(void)
{
    return strcmp(o.naming, "official") == 0;
}

static const char *entry(int i)
{
    return i == 0 ? "transformer" : components[i - 1].name;
}

static int entries(void)
{
    return o.copy ? 1 + COMPONENTS : 1;
}

/* Asked before anything is made. */
static int refuse_entries(const char *to)
{
    if (official_layout())
        return refuse_existing(to, o.copy);
    for (int i = 0; i < entries(); i++) {
        char *path = wan_path_join(to, entry(i));
        int rc = !path ? -1 : is_dir(path) || !o.force ? refuse_existing(path, 0) : 0;
        free(path);
        WAN_TRY(rc);
    }
    return 0;
}

static int fill_export(source *s, const char *parts, const char *tmp)
{
    s->sub = official_layout() ? "" : "transformer";
    WAN_TRY(fill_transformer(s, tmp));
    return parts ? bring(parts, tmp) : 0;
}

/* tmp is complete: it becomes `to`, or where that is there its entries go into it. */
static int settle(const char *tmp, const char *to)
{
    if (official_layout() || !exists(to))
        return replace(tmp, to);
    for (int i = 0; i < entries(); i++) {
        char *a = wan_path_join(tmp, entry(i)), *b = wan_path_join(to, entry(i));
        int rc = a && b ? follow(&b) : -1;
        if (rc == 0)
            rc = replace(a, b);
        free(a);
        free(b);
        WAN_TRY(rc);
    }
    return 0;
}

/* The folder of the other parts, where they are wanted; all of them are there. */
static int find_parts(char **parts, const char *from)
{
    if (!o.copy)
        return 0;
    WAN_TRY(wan_model_folder(parts, o.hf_model ? o.hf_model : from));
    WAN_TRY(wan_model_pipeline(*parts));
    return bring(*parts, NULL);
}

/* FROM (a training run, one iteration, or a model folder) -> TO/transformer, or in the official
 * layout TO itself */
static int export(const char *from, const char *to)
{
    source s = { 0 };
    char *dir = NULL, *parts = NULL, *tmp = temporary(to);
    int hold = -1, rc = tmp ? wan_model_transformer(&dir, from, o.step) : -1;
    if (rc == 0)
        rc = verify(dir);
    if (rc == 0)
        rc = source_open(&s, dir);
    s.naming = official_layout() ? WAN_NAMING_OFFICIAL : WAN_NAMING_HF;
    if (rc == 0)
        rc = find_parts(&parts, from);
    if (rc == 0)
        rc = refuse_entries(to);
    if (rc == 0 && (rc = begin(&hold, tmp)) == 0) {
        rc = fill_export(&s, parts, tmp);
        if (rc == 0)
            rc = settle(tmp, to);
        end(hold, tmp);
    }
    if (rc == 0)
        wan_info("%s%s: %d tensors, %" PRId64 " parameters", to,
                 official_layout() ? "" : "/transformer", s.params.n, s.params.count);
    source_close(&s);
    free(dir);
    free(parts);
    free(tmp);
    return rc;
}

/* ---- a folder from single files */

static const char *const part_name[] = {
    [WAN_PART_VAE] = "vae", [WAN_PART_UMT5] = "text_encoder", [WAN_PART_TRANSFORMER] = "transformer"
};
enum { PARTS = sizeof part_name / sizeof *part_name };

/* The file of each part, NULL: none. */
static int sort_files(char *file[PARTS], int n, char **path)
{
    for (int i = 0; i < n; i++) {
        enum wan_official_part part;
        WAN_TRY(wan_official_kind(&part, path[i]));
        if (file[part])
            return wan_err("%s and %s: both a %s", file[part], path[i], part_name[part]);
        file[part] = path[i];
    }
    return 0;
}

static int gather_transformer(const char *file, const char *tmp)
{
    source s = { 0 };
    int rc = source_open(&s, file);
    s.sub = "transformer";
    if (rc == 0)
        rc = fill_transformer(&s, tmp);
    source_close(&s);
    return rc;
}

/* The text encoder and, where the file brings it, its tokenizer. */
static int gather_text(char *file, const char *encoder, const char *tmp, int *tokenizer)
{
    char *dir = wan_path_join(tmp, "tokenizer");
    int rc = dir ? fill_umt5(file, encoder) : -1;
    if (rc == 0)
        rc = *tokenizer = wan_official_spiece(file, dir);
    if (rc == 0)
        wan_warn("%s: brings no tokenizer: tokenizer/spiece.model is still missing", file);
    free(dir);
    return rc < 0 ? -1 : 0;
}

static int gather_into(char *file[PARTS], const char *tmp)
{
    int all = 1, tokenizer = 0, rc = 0;
    for (int i = 0; i < PARTS && rc == 0; i++) {
        char *dir = wan_path_join(tmp, part_name[i]);
        all = all && file[i];
        if (!dir)
            rc = -1;
        else if (file[i])
            rc = i == WAN_PART_VAE    ? fill_vae(file[i], dir)
                 : i == WAN_PART_UMT5 ? gather_text(file[i], dir, tmp, &tokenizer)
                                      : gather_transformer(file[i], tmp);
        if (rc == 0 && file[i])
            wan_info("%s: %s", part_name[i], file[i]);
        free(dir);
    }
    return rc == 0 && all && tokenizer ? wan_official_index(tmp) : rc;
}

/* FILE... -> the parts of TO that they are */
static int gather(int n, char **path, const char *to)
{
    char *file[PARTS] = { NULL }, *tmp = temporary(to);
    int hold = -1, rc = tmp ? sort_files(file, n, path) : -1;
    if (rc == 0)
        rc = refuse_existing(to, 1);
    if (rc == 0 && (rc = begin(&hold, tmp)) == 0) {
        rc = gather_into(file, tmp);
        if (rc == 0)
            rc = replace(tmp, to);
        end(hold, tmp);
    }
    free(tmp);
    return rc;
}

/* FROM (as export) -> the file TO */
static int quantize(const char *from, const char *to)
{
    source s = { 0 };
    char *dir = NULL;
    wan_quant q;
    int blocks = 0, rc = wan_quant_parse(&q, o.quant);
    o.dtype = "fp32"; /* what the blocks are made from */
    if (rc == 0)
        rc = wan_model_transformer(&dir, from, o.step);
    if (rc == 0)
        rc = verify(dir);
    if (rc == 0)
        rc = source_open(&s, dir);
    if (rc == 0 && strcmp(to, "-") == 0)
        rc = wan_refuse_terminal(STDOUT_FILENO, o.force);
    else if (rc == 0 && !o.force && exists(to))
        rc = wan_err("%s: is there already; --force replaces it", to);
    if (rc == 0)
        rc = wan_quantize(&blocks, &s.arch, &s.params, to, q, fetch, &s);
    wan_progress(1, "%d tensors", s.done);
    if (rc == 0)
        wan_info("%s: %d tensors as %s, %d in fp32", to, blocks, o.quant, s.params.n - blocks);
    source_close(&s);
    free(dir);
    return rc;
}

/* Operand i when it is there, else the option; slashes at the end go. */
static int folder(char **dir, int argc, char **argv, int i, const char *option, const char *what)
{
    const char *s = i < argc ? argv[i] : option;
    if (!s || !*s)
        return wan_err("%s is missing", what);
    *dir = strdup(s);
    if (!*dir)
        return wan_err("out of memory");
    for (size_t n = strlen(s); n > 1 && (*dir)[n - 1] == '/'; n--)
        (*dir)[n - 1] = 0;
    return 0;
}

static int check_only(int argc, char **argv, int argi)
{
    char *dir = NULL;
    if (argc - argi > 2 ? wan_err("check takes one folder") < 0
                        : folder(&dir, argc, argv, argi + 1, NULL, "the folder") < 0)
        wan_die_usage();
    if (check(dir) < 0)
        wan_die();
    free(dir);
    return WAN_EXIT_DONE;
}

static int gather_only(int argc, char **argv, int argi)
{
    char *to = NULL;
    if (argc - argi < 3 ? wan_err("gather takes files and the folder to make") < 0
                        : folder(&to, argc, argv, argc - 1, NULL, "the folder") < 0)
        wan_die_usage();
    if (follow(&to) < 0 || gather(argc - argi - 2, argv + argi + 1, to) < 0)
        wan_die();
    free(to);
    return WAN_EXIT_DONE;
}

int main(int argc, char **argv)
{
    char *from = NULL, *to = NULL;
    wan_signals_filter();
    int argi = wan_opt_parse(&tool, argc, argv), rc = 0, importing = 0, packing = 0;
    const char *verb = argi < argc ? argv[argi] : "";
    if (strcmp(verb, "gather") == 0)
        return gather_only(argc, argv, argi);
    if (argc - argi > 3)
        rc = wan_err("too many operands");
    else if (strcmp(verb, "check") == 0)
        return check_only(argc, argv, argi);
    else if (strcmp(verb, "import") == 0)
        importing = 1;
    else if (strcmp(verb, "quantize") == 0)
        packing = 1;
    else if (strcmp(verb, "export") != 0)
        rc = wan_err("say import, export, quantize, gather or check first");
    if (rc == 0)
        rc = folder(&from, argc, argv, argi + 1, importing ? o.hf_model : o.megatron_path,
                    importing ? "--hf-model" : "--megatron-path");
    if (rc == 0)
        rc = folder(&to, argc, argv, argi + 2, importing ? o.megatron_path : o.hf_path,
                    importing ? "--megatron-path" : "--hf-path");
    if (rc == 0 && (importing || packing) && (o.copy || strcmp(o.naming, "hf") != 0))
        rc = wan_err("--copy-components and --naming are for export");
    if (rc < 0)
        wan_die_usage();
    rc = importing          ? import(from, to)
         : packing          ? quantize(from, to)
         : follow(&to) == 0 ? export(from, to)
                            : -1;
    free(from);
    free(to);
    if (rc < 0)
        wan_die();
    return WAN_EXIT_DONE;
}
