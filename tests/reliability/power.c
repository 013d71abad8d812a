/* SPDX-License-Identifier: Apache-2.0
 *
 * power.c - what a disk may hold after a power cut, from the changes that `at log` wrote down.
 *
 *     power LOG BEFORE list [RANDOM [CUTS]]  a line "CHANGES VARIANT" for each different state; of so many
 *                                            cuts, evenly
 *     power LOG BEFORE make OUT CHANGES VARIANT    that state as the new folder OUT
 *
 * The cut comes after CHANGES changes.  What was written to a file is on disk for certain when the file
 * was synced after it, and a name when the folder it is in was.  Everything else is there, or not, each
 * for itself, a write also in part, or as zeros where the size came to disk before the data.  A VARIANT
 * is one choice:
 *
 *     0 none of it   1 all   2 names, no data   3 names, zeros for data   4 data, no names
 *     5 all, the last write half   6 the oldest name missing   7 the newest name alone, no data
 *     8... random
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FIXED = 8, NONE = -1, ALL = -2 };

static void die(const char *what)
{
    fprintf(stderr, "power: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *need(void *p)
{
    if (!p)
        die("memory");
    return p;
}

/* ---- files and folders, by number */

typedef struct entry {
    char *name;
    int node;
} entry;

typedef struct node {
    int folder;
    entry *list; /* of a folder */
    int n;
    char *data; /* of a file */
    size_t size;
} node;

typedef struct disk {
    node *node; /* 0: the folder of all */
    int n;
} disk;

static int add_node(disk *d, int folder)
{
    d->node = need(realloc(d->node, (size_t)(d->n + 1) * sizeof *d->node));
    d->node[d->n] = (node){ .folder = folder };
    return d->n++;
}

static entry *entry_of(const disk *d, int folder, const char *name)
{
    node *f = &d->node[folder];
    for (int i = 0; i < f->n; i++)
        if (!strcmp(f->list[i].name, name))
            return &f->list[i];
    return NULL;
}

/* Names a node, or nothing (NONE). */
static void set(disk *d, int folder, const char *name, int to)
{
    entry *e = entry_of(d, folder, name);
    node *f = &d->node[folder];
    if (!e) {
        f->list = need(realloc(f->list, (size_t)(f->n + 1) * sizeof *f->list));
        e = &f->list[f->n++];
        e->name = need(strdup(name));
    }
    e->node = to;
}

static void resize(node *f, size_t size)
{
    f->data = need(realloc(f->data, size + 1));
    if (size > f->size)
        memset(f->data + f->size, 0, size - f->size);
    f->size = size;
}

static void put(node *f, size_t at, const char *data, size_t n)
{
    if (at + n > f->size)
        resize(f, at + n);
    if (data)
        memcpy(f->data + at, data, n);
    else
        memset(f->data + at, 0, n);
}

static void load(disk *d, int folder, const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *e;
    char sub[4096];
    struct stat st;
    if (!dir)
        die(path);
    while ((e = readdir(dir))) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        snprintf(sub, sizeof sub, "%s/%s", path, e->d_name);
        if (stat(sub, &st) < 0)
            die(sub);
        int k = add_node(d, S_ISDIR(st.st_mode));
        set(d, folder, e->d_name, k);
        if (S_ISDIR(st.st_mode)) {
            load(d, k, sub);
            continue;
        }
        FILE *f = fopen(sub, "rb");
        resize(&d->node[k], (size_t)st.st_size);
        if (!f || fread(d->node[k].data, 1, (size_t)st.st_size, f) != (size_t)st.st_size)
            die(sub);
        fclose(f);
    }
    closedir(dir);
}

static disk copy(const disk *d)
{
    disk c = { need(calloc((size_t)d->n, sizeof *c.node)), d->n };
    for (int i = 0; i < d->n; i++) {
        const node *f = &d->node[i];
        c.node[i].folder = f->folder;
        put(&c.node[i], 0, f->data, f->data ? f->size : 0);
        for (int k = 0; k < f->n; k++)
            set(&c, i, f->list[k].name, f->list[k].node);
    }
    return c;
}

static void clear(disk *d)
{
    for (int i = 0; i < d->n; i++) {
        for (int k = 0; k < d->node[i].n; k++)
            free(d->node[i].list[k].name);
        free(d->node[i].list);
        free(d->node[i].data);
    }
    free(d->node);
}

/* ---- changes */

typedef struct change {
    enum { DATA, SIZE, NAME, SYNC } what;
    int node; /* DATA, SIZE, SYNC */
    size_t at, n;
    char *data;
    int sure;  /* certain() */
    int names; /* NAME: so many names at once */
    struct {
        int folder, to;
        char *name;
    } name[2];
} change;

static change *changes;
static int all;

/* The node of a path; its folder and name too, where wanted. */
static int find(const disk *d, const char *path, int *folder, char *name)
{
    int at = 0, in = NONE;
    while (at != NONE && *path) {
        size_t n = strcspn(path, "/");
        if (!(n == 1 && *path == '.')) {
            snprintf(name, 256, "%.*s", (int)n, path);
            in = at;
            entry *e = entry_of(d, at, name);
            at = e ? e->node : NONE;
        }
        path += n + (path[n] == '/');
        if (at == NONE && *path) {
            errno = ENOENT;
            die(path);
        }
    }
    *folder = in;
    return at;
}

static void name_to(disk *now, change *c, const char *path, int to)
{
    char name[256] = "";
    int folder, k = c->names++;
    find(now, path, &folder, name);
    c->what = NAME;
    c->name[k].folder = folder;
    c->name[k].to = to;
    c->name[k].name = need(strdup(name));
}

static void add(disk *now, disk *base, change c)
{
    for (int i = 0; i < c.names; i++)
        set(now, c.name[i].folder, c.name[i].name, c.name[i].to);
    while (base->n < now->n) /* numbers are the same in both; there without a name */
        add_node(base, now->node[base->n].folder);
    changes = need(realloc(changes, (size_t)(all + 1) * sizeof *changes));
    changes[all++] = c;
}

/* One line of the log: verb, path, and what follows behind tabs. */
static void parse(disk *now, disk *base, const char *verb, const char *a, char *rest, FILE *f)
{
    change c = { 0 };
    char name[256];
    int folder, of = find(now, a, &folder, name);
    if (!strcmp(verb, "write")) {
        char *end;
        c = (change){
            .what = DATA, .node = of, .at = strtoull(rest, &end, 10), .n = strtoull(end, NULL, 10)
        };
        c.data = need(malloc(c.n + 1));
        if (fread(c.data, 1, c.n + 1, f) != c.n + 1)
            die("the log is cut");
    } else if (!strcmp(verb, "size") || (!strcmp(verb, "open") && of != NONE)) {
        c = (change){ .what = SIZE, .node = of, .n = strtoull(rest, NULL, 10) };
    } else if (!strcmp(verb, "open") || !strcmp(verb, "mkdir")) {
        name_to(now, &c, a, add_node(now, *verb == 'm'));
    } else if (!strcmp(verb, "unlink")) {
        name_to(now, &c, a, NONE);
    } else if (!strcmp(verb, "rename") || !strcmp(verb, "exchange")) {
        name_to(now, &c, a, *verb == 'e' ? find(now, rest, &folder, name) : NONE);
        name_to(now, &c, rest, of);
    } else if (!strcmp(verb, "fsync")) {
        c = (change){ .what = SYNC, .node = of };
    } else if (!strcmp(verb, "sync")) {
        c = (change){ .what = SYNC, .node = ALL };
    } else {
        errno = EINVAL;
        die(verb);
    }
    if (c.what != NAME && of == NONE)
        return; /* it has no name any more */
    add(now, base, c);
}

/* ---- a state */

/* The first change after k that syncs the node: from there on what k did is on disk. */
static int synced(int of, int k)
{
    while (++k < all)
        if (changes[k].what == SYNC && (changes[k].node == of || changes[k].node == ALL))
            break;
    return k;
}

/* Before which change the power must go so that change k is not on disk for certain. */
static int certain(int k)
{
    const change *c = &changes[k];
    int at = c->what != NAME ? synced(c->node, k) : 0;
    for (int i = 0; i < c->names; i++) {
        int s = synced(c->name[i].folder, k);
        at = s > at ? s : at;
    }
    return at;
}

static void read_log(const char *path, disk *base)
{
    FILE *f = fopen(path, "rb");
    disk now = copy(base);
    char *line = NULL;
    size_t room = 0;
    if (!f)
        die(path);
    while (getline(&line, &room, f) > 0) {
        line[strcspn(line, "\n")] = 0;
        char *a = strchr(line, ' '), *rest = a ? strchr(a, '\t') : NULL;
        if (!a)
            die("the log is cut");
        *a++ = 0;
        if (rest)
            *rest++ = 0;
        parse(&now, base, line, a, rest, f);
    }
    free(line);
    fclose(f);
    clear(&now);
    for (int k = 0; k < all; k++)
        changes[k].sure = certain(k);
}

enum fate { THERE, LOST, ZEROS, HALF };

static uint64_t dice(uint64_t *s)
{
    *s += 0x9e3779b97f4a7c15;
    uint64_t z = *s;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

/* first, last: the oldest and newest name, and last_data the newest write, that are not certain. */
static enum fate fate(const change *c, int k, int variant, int first, int last, int last_data,
                      uint64_t *s)
{
    int name = c->what == NAME;
    switch (variant) {
    case 0: return LOST;
    case 1: return THERE;
    case 2: return name ? THERE : LOST;
    case 3: return name ? THERE : ZEROS;
    case 4: return name ? LOST : THERE;
    case 5: return k == last_data ? HALF : THERE;
    case 6: return k == first ? LOST : THERE;
    case 7: return k == last ? THERE : LOST;
    default: return name ? (enum fate)(dice(s) % 2) : (enum fate)(dice(s) % 4);
    }
}

static void apply(disk *d, const change *c, enum fate how)
{
    node *f = &d->node[c->what == NAME ? 0 : c->node];
    if (how == LOST || c->what == SYNC)
        return;
    if (c->what == NAME)
        for (int i = 0; i < c->names; i++)
            set(d, c->name[i].folder, c->name[i].name, c->name[i].to);
    else if (c->what == SIZE)
        resize(f, c->n);
    else
        put(f, c->at, how == ZEROS ? NULL : c->data, how == HALF ? c->n / 2 : c->n);
}

static disk state(const disk *base, int cut, int variant)
{
    disk d = copy(base);
    uint64_t s = (uint64_t)cut * 1000003 + (uint64_t)variant;
    int first = NONE, last = NONE, data = NONE;
    char *sure = need(calloc((size_t)cut + 1, 1));
    for (int k = 0; k < cut; k++) {
        sure[k] = changes[k].sure < cut;
        if (!sure[k] && changes[k].what == NAME) {
            last = k;
            if (first == NONE)
                first = k;
        }
        if (!sure[k] && changes[k].what == DATA)
            data = k;
    }
    for (int k = 0; k < cut; k++)
        apply(&d, &changes[k],
              sure[k] ? THERE : fate(&changes[k], k, variant, first, last, data, &s));
    free(sure);
    return d;
}

static uint64_t mix(uint64_t h, const void *p, size_t n)
{
    const unsigned char *b = p;
    for (size_t i = 0; i < n; i++)
        h = (h ^ b[i]) * 0x100000001b3;
    return h;
}

/* What tells one tree from another; the order of names does not. */
static uint64_t digest(const disk *d, int at)
{
    const node *f = &d->node[at];
    uint64_t sum = f->folder ? 1 : mix(0xcbf29ce484222325, f->data, f->size);
    for (int i = 0; i < f->n; i++)
        if (f->list[i].node != NONE) {
            uint64_t below = digest(d, f->list[i].node);
            sum += mix(mix(0x84222325cbf29ce4, f->list[i].name, strlen(f->list[i].name)), &below,
                       sizeof below);
        }
    return sum;
}

static void save(const disk *d, int at, const char *path)
{
    const node *f = &d->node[at];
    char sub[4096];
    if (!f->folder) {
        FILE *out = fopen(path, "wb");
        if (!out || fwrite(f->data ? f->data : "", 1, f->size, out) != f->size || fclose(out))
            die(path);
        return;
    }
    if (mkdir(path, 0777) < 0)
        die(path);
    for (int i = 0; i < f->n; i++)
        if (f->list[i].node != NONE) {
            snprintf(sub, sizeof sub, "%s/%s", path, f->list[i].name);
            save(d, f->list[i].node, sub);
        }
}

static void list(const disk *base, int random, int cuts)
{
    int step = cuts && all > cuts ? all / cuts : 1;
    uint64_t *seen = need(calloc((size_t)(all + 1) * (size_t)(FIXED + random), sizeof *seen));
    size_t n = 0;
    for (int cut = all % step; cut <= all; cut += step)
        for (int v = 0; v < FIXED + random; v++) {
            disk d = state(base, cut, v);
            uint64_t h = digest(&d, 0);
            size_t k = 0;
            while (k < n && seen[k] != h)
                k++;
            /* what is left after the end counts by itself: there everything is certain */
            if (k == n || cut == all)
                printf("%d %d\n", cut, v);
            if (k == n)
                seen[n++] = h;
            clear(&d);
        }
    free(seen);
}

int main(int argc, char **argv)
{
    disk base = { 0 };
    if (argc < 4)
        return 2;
    add_node(&base, 1);
    load(&base, 0, argv[2]);
    read_log(argv[1], &base);
    if (!strcmp(argv[3], "list")) {
        list(&base, argc > 4 ? atoi(argv[4]) : 0, argc > 5 ? atoi(argv[5]) : 0);
    } else if (argc == 7) {
        int cut = atoi(argv[5]);
        disk d = state(&base, cut < 0 || cut > all ? all : cut, atoi(argv[6]));
        save(&d, 0, argv[4]);
        clear(&d);
    }
    clear(&base);
    return 0;
}
