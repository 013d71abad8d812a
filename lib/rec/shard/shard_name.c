/* SPDX-License-Identifier: Apache-2.0
 *
 * shard_name.c - member names (wan-data(7), Member names) and the shards below a folder.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/ends.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/rec/shard/shard.h"
#include "lib/rec/shard/shard_replace.h"

enum { MAX_NAME = 1000, MAX_DEPTH = 16 };

static int is_unsafe(const char *name)
{
    if (!*name || *name == '/' || strlen(name) > MAX_NAME)
        return 1;
    for (const char *p = name; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return 1;
    for (const char *p = name; p; p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL)
        if (!strncmp(p, "..", 2) && (p[2] == '/' || !p[2]))
            return 1;
    return 0;
}

/* First path component is __x__ */
static int is_metadata(const char *name)
{
    size_t n = strcspn(name, "/");
    return n >= 4 && !strncmp(name, "__", 2) && !strncmp(name + n - 2, "__", 2);
}

int wan_shard_split(const char *name, size_t *key_len, const char **part)
{
    if (is_unsafe(name))
        return wan_err("unsafe member name \"%.80s\"", name);
    const char *slash = strrchr(name, '/'), *file = slash ? slash + 1 : name;
    const char *dot = strchr(file, '.');
    if (is_metadata(name) || !dot)
        return 0;
    if (dot == file) { /* for them a hidden file is a part of its folder, unless that has a dot */
        const char *folder = slash ? slash : name;
        while (folder > name && folder[-1] != '/')
            folder--;
        if (!slash || slash == folder || memchr(folder, '.', (size_t)(slash - folder)))
            return 0;
    }
    *key_len = (size_t)(dot - name);
    *part = dot + 1;
    return 1;
}

const wan_shard_part *wan_shard_find(const wan_shard_sample *s, const char *name)
{
    for (int i = 0; i < s->n; i++)
        if (!strcmp(s->part[i].name, name))
            return &s->part[i];
    return NULL;
}

struct names {
    char **v;
    size_t n, cap;
};

struct list {
    struct names found, passed; /* passed: named like shards, and none */
    const char *const *ends;
    int settle; /* end what a killed wan-shard --force had begun */
};

/* Takes name. */
static int add(struct names *l, char *name)
{
    char **more = wan_mem_grow(l->v, l->n, &l->cap, sizeof *more, "shard names");
    if (!more) {
        free(name);
        return -1;
    }
    l->v = more;
    l->v[l->n++] = name;
    return 0;
}

static int walk(struct list *l, const char *root, const char *sub, int depth);

static int ends_as(const char *name, const char *const *ends)
{
    while (*ends && !wan_ends_with(name, *ends))
        ends++;
    return *ends != NULL;
}

/* "x.TAR", "x.tar.tmp", "x.tar.gz": what a person may take for a shard. */
static int like_shard(const char *name)
{
    const char *p = strcasestr(name, ".tar");
    return (p && (!p[4] || p[4] == '.') && !wan_ends_with(name, ".tar.idx")) ||
           (strlen(name) > 4 && !strcasecmp(name + strlen(name) - 4, ".tgz"));
}

/* One directory entry; hidden ones (.nv-meta) are not looked into. */
static int visit(struct list *l, const wan_shard_marks *marks, const char *root, const char *sub,
                 const char *name, int depth)
{
    struct stat st;
    int stands = wan_shard_replace_stands(marks, name);
    if (*name == '.' || stands < 0)
        return 0;
    char *rel = wan_path_join(sub, name), *path = rel ? wan_path_join(root, rel) : NULL;
    int rc = path ? 0 : -1;
    if (rc == 0 && stat(path, &st) < 0) {
        int gone = errno == ENOENT && lstat(path, &st) < 0 && errno == ENOENT;
        st.st_mode =
            0; /* what a writer has renamed meanwhile is passed over, a link to nothing is not */
        rc = gone ? 0 : wan_err_errno("%s", path);
    }
    if (rc == 0 && S_ISDIR(st.st_mode)) {
        rc = depth < MAX_DEPTH ? walk(l, root, rel, depth + 1)
                               : wan_err("%s: folders nested deeper than %d", path, MAX_DEPTH);
    } else if (rc == 0 && S_ISREG(st.st_mode) && ends_as(stands ? "new.tar" : name, l->ends)) {
        rc = add(&l->found, rel);
        rel = NULL;
    } else if (rc == 0 && like_shard(name)) {
        rc = add(&l->passed, rel);
        rel = NULL;
    }
    free(rel);
    free(path);
    return rc;
}

static int walk(struct list *l, const char *root, const char *sub, int depth)
{
    char *path = sub ? wan_path_join(root, sub) : strdup(root);
    const char *name;
    wan_shard_marks marks;
    int rc = path ? wan_shard_replace_look(&marks, path) : -1;
    if (rc == 0 && l->settle)
        rc = wan_shard_replace_end(&marks, path);
    DIR *d = rc == 0 ? opendir(path) : NULL;
    if (rc == 0)
        rc = d ? 1 : wan_err_errno("%s", path);
    while (rc > 0 && (rc = wan_dir_next(d, path, &name)) > 0)
        if (visit(l, &marks, root, sub, name, depth) < 0)
            rc = -1;
    if (d)
        closedir(d);
    free(path);
    return rc;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort(struct names *l)
{
    if (l->n)
        qsort(l->v, l->n, sizeof *l->v, by_text);
}

static int list(struct list *l, char ***names, size_t *n, const char *dir)
{
    if (walk(l, dir, NULL, 0) < 0) {
        wan_shard_list_free(l->found.v, l->found.n);
        wan_shard_list_free(l->passed.v, l->passed.n);
        return -1;
    }
    sort(&l->found);
    *names = l->found.v;
    *n = l->found.n;
    return 0;
}

/* How many there are, and the names of the first. */
static void tell_passed(struct names *l, const char *dir)
{
    enum { NAMED = 5 };
    char text[1200] = "";
    sort(l);
    for (size_t i = 0; i < l->n && i < NAMED; i++) {
        size_t at = strlen(text);
        snprintf(text + at, sizeof text - at, "%s%s", i ? ", " : "", l->v[i]);
    }
    if (l->n)
        wan_warn("%s: only files that end in .tar are shards; %zu other%s passed over: %s%s", dir,
                 l->n, l->n == 1 ? " is" : "s are", text, l->n > NAMED ? ", ..." : "");
}

static int list_shards(char ***names, size_t *n, const char *dir, int settle)
{
    static const char *const ends[] = { ".tar", ".tgz", ".tar.gz", NULL };
    struct list l = { .ends = ends, .settle = settle };
    WAN_TRY(list(&l, names, n, dir));
    tell_passed(&l.passed, dir);
    wan_shard_list_free(l.passed.v, l.passed.n);
    return 0;
}

int wan_shard_list(char ***names, size_t *n, const char *dir)
{
    return list_shards(names, n, dir, 0);
}

int wan_shard_list_settled(char ***names, size_t *n, const char *dir)
{
    return list_shards(names, n, dir, 1);
}

int wan_shard_list_as(char ***names, size_t *n, const char *dir, const char *const *ends)
{
    struct list l = { .ends = ends };
    int rc = list(&l, names, n, dir);
    if (rc == 0)
        wan_shard_list_free(l.passed.v, l.passed.n);
    return rc;
}

void wan_shard_list_free(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
}
