/* SPDX-License-Identifier: Apache-2.0
 *
 * blend.c - see blend.h.
 */
#include "lib/train/data/blend.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/ends.h"
#include "lib/base/file.h"
#include "lib/base/yaml.h"

#define MAX_DEPTH 32
#define MAX_NEST 8
#define MAX_OPENED 1000
#define MAX_LEAVES 16384
#define MAX_FILE (4u << 20)

enum mode { NONE, WEIGHT, REPEAT }; /* what the members of a node have */

typedef struct reader {
    wan_blend *b;
    enum mode mode;   /* of the leaves so far */
    const char *file; /* for messages */
    char *dir;        /* relative paths are relative to it; NULL: to where we are */
    const char *split;
    const char *caption; /* caption_field of the node we are in; NULL: none */
    int depth, nest;     /* of nodes, of files that name each other */
    int *opened;         /* files read so far */
} reader;

/* ---- leaves ---- */

static int leaf_add(reader *r, const char *dir, const char *split, double share)
{
    wan_blend *b = r->b;
    if (b->n == MAX_LEAVES)
        return wan_err("more than %d datasets", MAX_LEAVES);
    if (!(b->n & (b->n - 1))) {
        size_t cap = b->n ? 2 * (size_t)b->n : 1;
        wan_blend_leaf *more = realloc(b->leaf, cap * sizeof *more);
        if (!more)
            return wan_err("out of memory (datasets)");
        b->leaf = more;
    }
    wan_blend_leaf *x = &b->leaf[b->n++];
    *x = (wan_blend_leaf){ .dir = strdup(dir), .split = strdup(split), .share = share };
    if (r->caption && !(x->caption = strdup(r->caption)))
        return wan_err("out of memory (datasets)");
    return x->dir && x->split ? 0 : wan_err("out of memory (datasets)");
}

void wan_blend_clear(wan_blend *b)
{
    for (int i = 0; i < b->n; i++) {
        free(b->leaf[i].dir);
        free(b->leaf[i].split);
        free(b->leaf[i].caption);
        wan_names_clear(&b->leaf[i].shards);
    }
    free(b->leaf);
    memset(b, 0, sizeof *b);
}

static int has_index(const char *dir)
{
    char *meta = wan_path_join(dir, ".nv-meta");
    int yes = meta ? wan_is_dir(meta) : -1;
    free(meta);
    return yes;
}

/* The indexed folder above a shard, malloc'ed; NULL with a sentence. */
static char *folder_of(const char *shard)
{
    char *dir = strdup(shard), *slash;
    int rc = dir ? 0 : wan_err("out of memory");
    while (rc == 0 && (slash = strrchr(dir, '/')) && slash != dir) {
        *slash = 0;
        rc = has_index(dir);
    }
    if (rc == 0 && *shard != '/' && (rc = has_index(".")) > 0)
        strcpy(dir, ".");
    if (rc > 0)
        return dir;
    if (rc == 0)
        wan_err("%s: no folder above it has an index; run wan-index on the folder first", shard);
    free(dir);
    return NULL;
}

/* The shards that a pattern stands for, one leaf for each folder that they lie in. */
static int pattern_add(reader *r, const char *pattern, double share)
{
    wan_names all = { 0 };
    char *dir = NULL;
    int rc = wan_names_expand(&all, pattern);
    for (size_t i = 0; i < all.n && rc == 0; i++) {
        const char *name = all.v[i];
        size_t n = dir ? strlen(dir) : 0;
        int here = dir && ((!strcmp(dir, ".") && *name != '/') ||
                           (!strncmp(name, dir, n) && name[n] == '/'));
        if (!here) {
            free(dir);
            dir = folder_of(name);
            rc = dir ? leaf_add(r, dir, "", share) : -1;
            n = dir ? strlen(dir) : 0;
        }
        const char *rest = rc == 0 && strcmp(dir, ".") ? name + n + 1 : name;
        if (rc == 0)
            rc = wan_names_add(&r->b->leaf[r->b->n - 1].shards, rest, strlen(rest));
    }
    free(dir);
    wan_names_clear(&all);
    return rc;
}

/* ---- nodes ---- */

static int read_node(reader *r, const wan_yaml_node *x, double share);

/* Leaves of one mode only: weights of a part of the run, repetitions of an epoch. */
static int set_mode(reader *r, enum mode mode)
{
    if (r->mode && mode && r->mode != mode)
        return wan_err("weights and repetitions cannot be mixed");
    r->mode = r->mode ? r->mode : mode;
    return 0;
}

/* splits.SPLIT of a file; a reference without one is the whole file's. */
static int read_file(reader *outer, const char *path, const char *split, double share)
{
    reader r = *outer;
    char *text;
    size_t n;
    wan_yaml *doc;
    if (++r.nest > MAX_NEST || ++*r.opened > MAX_OPENED)
        return wan_err("%s: files that name each other are nested too deeply", path);
    WAN_TRY(wan_slurp(&text, &n, path, MAX_FILE));
    int rc = wan_yaml_parse(&doc, text, n, path);
    free(text);
    if (rc < 0)
        return -1;
    const char *slash = strrchr(path, '/');
    r.file = path;
    r.split = split;
    r.dir = strndup(path, !slash ? 0 : slash == path ? 1 : (size_t)(slash - path));
    const wan_yaml_node *root = wan_yaml_root(doc), *splits = wan_yaml_get(root, "splits");
    const wan_yaml_node *class = wan_yaml_get(root, "__class__");
    if (!r.dir)
        rc = wan_err("out of memory");
    else if (class && (class->kind != WAN_YAML_SCALAR || (strcmp(class->text, "MetadatasetV2") &&
                                                          strcmp(class->text, "Metadataset"))))
        rc = wan_err("%s: line %zu: no Metadataset or MetadatasetV2", path, class->line);
    else if (!splits || splits->kind != WAN_YAML_MAP)
        rc = wan_err("%s: has no splits", path);
    else if (wan_yaml_get(splits, split))
        rc = read_node(&r, wan_yaml_get(splits, split), share);
    else if (r.nest > 1)
        rc = wan_err("%s: has no split \"%s\"", path, split);
    outer->mode = r.mode;
    free(r.dir);
    wan_yaml_free(&doc);
    return rc;
}

static int add_path(reader *r, const char *name, const char *split, double share)
{
    char *path = wan_path_join(r->dir && *r->dir ? r->dir : NULL, name);
    int dir = path ? wan_is_dir(path) : -1;
    if (path && dir < 0 && errno == ENAMETOOLONG) /* a pattern of many names may be */
        dir = 0;
    int rc = dir < 0 ? -1 : 0;
    if (rc == 0 && !dir && (wan_ends_with(path, ".yaml") || wan_ends_with(path, ".yml")))
        rc = read_file(r, path, split ? split : r->split, share);
    else if (rc == 0 && !dir &&
             (strchr(path, '{') || wan_ends_with(path, ".tar") || wan_ends_with(path, ".tgz")))
        rc = pattern_add(r, path, share);
    else if (rc == 0)
        rc = leaf_add(r, path, split ? split : r->split, share);
    free(path);
    return rc;
}

static int number(const reader *r, const wan_yaml_node *x, const char *what, double *out)
{
    char *end;
    *out = x->kind == WAN_YAML_SCALAR ? strtod(x->text, &end) : NAN;
    if (x->kind != WAN_YAML_SCALAR || end == x->text || *end || !isfinite(*out) || *out <= 0)
        return wan_err("%s: line %zu: %s must be a number above 0", r->file, x->line, what);
    return 0;
}

/* Keys of a reference: those that we take, and those that change nothing here. */
static int check_keys(const reader *r, const wan_yaml_node *x)
{
    static const char *const known[] = { "path",         "weight",
                                         "repetitions",  "split_part",
                                         "subflavors",   "shuffle_over_epochs_multiplier",
                                         "subflavor",    "blend",
                                         "datasets",     "blend_epochized",
                                         "caption_field" };
    for (size_t i = 0; i < x->n; i++) {
        int ok = 0;
        for (size_t k = 0; k < sizeof known / sizeof known[0]; k++)
            ok |= !strcmp(x->key[i], known[k]);
        if (!strcmp(x->key[i], "caption") || !strcmp(x->key[i], "caption_key"))
            return wan_err("%s: line %zu: %s: the field whose captions are meant is caption_field",
                           r->file, x->item[i]->line, x->key[i]);
        if (!ok)
            return wan_err("%s: line %zu: \"%s\" of a dataset is not supported", r->file,
                           x->item[i]->line, x->key[i]);
    }
    return 0;
}

/* Members of a blend: their weights are parts of a whole, repetitions are factors. */
static int read_members(reader *r, const wan_yaml_node *list, enum mode mode, double share)
{
    double total = 0, *own = wan_calloc(list->n + 1, sizeof *own, "weights");
    const char *what = mode == REPEAT ? "repetitions" : "weight";
    int rc = own ? 0 : -1;
    if (list->kind != WAN_YAML_LIST || !list->n)
        rc = wan_err("%s: line %zu: a list of datasets belongs here", r->file, list->line);
    for (size_t i = 0; i < list->n && rc == 0; i++) {
        const wan_yaml_node *w = wan_yaml_get(list->item[i], what);
        own[i] = 1;
        rc = w ? number(r, w, what, &own[i]) : 0;
        total += own[i];
    }
    if (rc == 0)
        rc = set_mode(r, mode);
    for (size_t i = 0; i < list->n && rc == 0; i++) {
        int first = r->b->n;
        double before = 0, one = share * (mode == WEIGHT ? own[i] / total : own[i]);
        rc = read_node(r, list->item[i], 1);
        for (int k = first; k < r->b->n; k++)
            before += r->b->leaf[k].share;
        /* what several leaves of a member share is that of the member */
        for (int k = first; k < r->b->n && rc == 0; k++)
            r->b->leaf[k].share *= mode == WEIGHT ? one / before : one;
    }
    free(own);
    return rc;
}

static int read_keys(reader *r, const wan_yaml_node *x, double share)
{
    const wan_yaml_node *path = wan_yaml_get(x, "path"), *part = wan_yaml_get(x, "split_part");
    const wan_yaml_node *blend = wan_yaml_get(x, "blend");
    const wan_yaml_node *epochs = wan_yaml_get(x, "blend_epochized");
    WAN_TRY(check_keys(r, x));
    if (!blend)
        blend = wan_yaml_get(x, "datasets"); /* of the first version */
    if ((path != NULL) + (blend != NULL) + (epochs != NULL) != 1)
        return wan_err("%s: line %zu: one of path, blend and blend_epochized belongs here", r->file,
                       x->line);
    if (blend)
        return read_members(r, blend, WEIGHT, share);
    if (epochs)
        return read_members(r, epochs, REPEAT, share);
    if (path->kind != WAN_YAML_SCALAR || (part && part->kind != WAN_YAML_SCALAR))
        return wan_err("%s: line %zu: path and split_part are words", r->file, path->line);
    return add_path(r, path->text, part ? part->text : NULL, share);
}

static int read_map(reader *r, const wan_yaml_node *x, double share)
{
    const wan_yaml_node *field = wan_yaml_get(x, "caption_field");
    const char *outer = r->caption;
    if (field && (field->kind != WAN_YAML_SCALAR || !*field->text))
        return wan_err("%s: line %zu: caption_field is the name of a field", r->file, field->line);
    if (field)
        r->caption = field->text;
    int rc = read_keys(r, x, share);
    r->caption = outer;
    return rc;
}

/* A list without a word for it: repetitions, unless a member has a weight. */
static int read_list(reader *r, const wan_yaml_node *x, double share)
{
    int weight = 0, repeat = 0;
    for (size_t i = 0; i < x->n; i++) {
        weight |= wan_yaml_get(x->item[i], "weight") != NULL;
        repeat |= wan_yaml_get(x->item[i], "repetitions") != NULL;
    }
    if (weight && repeat)
        return wan_err("%s: line %zu: weights and repetitions cannot be mixed", r->file, x->line);
    return read_members(r, x, weight ? WEIGHT : REPEAT, share);
}

static int read_node(reader *r, const wan_yaml_node *x, double share)
{
    if (++r->depth > MAX_DEPTH)
        return wan_err("%s: line %zu: nested too deeply", r->file, x->line);
    int rc = x->kind == WAN_YAML_SCALAR ? add_path(r, x->text, NULL, share)
             : x->kind == WAN_YAML_LIST ? read_list(r, x, share)
                                        : read_map(r, x, share);
    r->depth--;
    return rc;
}

int wan_blend_load(wan_blend *b, const char *path, const char *split)
{
    int opened = 0;
    reader r = { .b = b, .file = "dataset.path", .split = split, .opened = &opened };
    wan_yaml *doc = NULL;
    memset(b, 0, sizeof *b);
    int rc;
    if (*path == '[' || (*path == '{' && strchr(path, ':'))) { /* else a pattern of shards */
        rc = wan_yaml_parse(&doc, path, strlen(path), "dataset.path");
        if (rc == 0)
            rc = read_node(&r, wan_yaml_root(doc), 1);
    } else {
        rc = add_path(&r, path, NULL, 1);
    }
    wan_yaml_free(&doc);
    b->weighted = r.mode == WEIGHT;
    if (rc < 0)
        wan_blend_clear(b);
    return rc;
}

int wan_blend_file(char **found, const char *path, const char *split, const char *name)
{
    wan_blend b;
    int rc = 0;
    *found = NULL;
    WAN_TRY(wan_blend_load(&b, path, split));
    for (int i = 0; i < b.n && rc == 0 && !*found; i++)
        if (wan_exists_in(b.leaf[i].dir, name))
            rc = (*found = wan_path_join(b.leaf[i].dir, name)) ? 0 : -1;
    wan_blend_clear(&b);
    return rc;
}
