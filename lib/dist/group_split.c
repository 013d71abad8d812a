/* SPDX-License-Identifier: Apache-2.0
 *
 * group_split.c - groups of ranks: the world, and its parts by colour and key.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/dist/transport.h"

/* What members tell each other when a group is split. */
typedef struct entry {
    int64_t color, key, rank; /* rank in the parent */
    int64_t next_id;
    char name[WAN_GROUP_NAME];
} entry;

static int by_key(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

static void set_name(char name[WAN_GROUP_NAME], const char *text)
{
    snprintf(name, WAN_GROUP_NAME, "%s", text);
}

/* A group of `size` whose members the caller fills in. */
static wan_group *new_group(wan_comm *c, const char *name, int size, int id, int **member)
{
    wan_group *g = wan_calloc(1, sizeof *g + (size_t)size * sizeof(int), "group");
    if (!g)
        return NULL;
    g->comm = c;
    g->size = size;
    g->id = id;
    set_name(g->name, name);
    *member = (int *)(void *)(g + 1);
    g->member = *member;
    return g;
}

static int join(wan_group *g)
{
    wan_group **at = &g->comm->groups;
    if (g->size > 1)
        WAN_TRY(g->comm->t->join(g));
    while (*at)
        at = &(*at)->next;
    *at = g;
    return 0;
}

static void unlink_group(wan_group *g)
{
    wan_group **at = &g->comm->groups;
    while (*at && *at != g)
        at = &(*at)->next;
    if (*at)
        *at = g->next;
}

int wan_group_open_world(wan_comm *c)
{
    int *member;
    wan_group *g = new_group(c, "world", c->size, 0, &member);
    if (!g)
        return -1;
    for (int r = 0; r < c->size; r++)
        member[r] = r;
    g->rank = c->rank;
    c->next_id = 1;
    if (join(g) < 0) {
        free(g);
        return -1;
    }
    c->world = g;
    return 0;
}

wan_group *wan_group_world(wan_comm *c)
{
    return c->world;
}

/* Keeps those of my colour, in their order; returns how many. */
static int same_color(entry *all, int n, int64_t color)
{
    int m = 0;
    for (int r = 0; r < n; r++)
        if (all[r].color == color)
            all[m++] = all[r];
    qsort(all, (size_t)m, sizeof *all, by_key);
    return m;
}

/* My group out of what all members of the parent said. */
static int take_part(wan_group *parent, entry *all, const entry *mine, wan_group **out)
{
    int id = 0, *member;
    for (int r = 0; r < parent->size; r++) {
        if (strcmp(all[r].name, mine->name))
            return wan_err("rank %d splits group %s into \"%s\", rank %d into \"%s\"",
                           parent->member[parent->rank], parent->name, mine->name,
                           parent->member[r], all[r].name);
        id = all[r].next_id > id ? (int)all[r].next_id : id;
    }
    parent->comm->next_id = id + 1; /* groups of one split have no member in common */
    if (mine->color < 0)
        return 0;
    int n = same_color(all, parent->size, mine->color);
    wan_group *g = new_group(parent->comm, mine->name, n, id, &member);
    if (!g)
        return -1;
    for (int r = 0; r < n; r++) {
        member[r] = parent->member[all[r].rank];
        if (all[r].rank == mine->rank)
            g->rank = r;
    }
    if (join(g) < 0) {
        free(g);
        return -1;
    }
    *out = g;
    return 0;
}

int wan_group_split(wan_group *parent, int color, int key, const char *name, wan_group **out)
{
    entry mine, *all = wan_calloc((size_t)parent->size, sizeof *all, "group");
    *out = NULL;
    if (!all)
        return -1;
    memset(&mine, 0, sizeof mine);
    mine.color = color;
    mine.key = key;
    mine.rank = parent->rank;
    mine.next_id = parent->comm->next_id;
    set_name(mine.name, name);
    int rc = wan_group_all_gather(parent, NULL, all, &mine, sizeof mine, WAN_U8);
    if (rc == 0)
        rc = take_part(parent, all, &mine, out);
    free(all);
    return rc;
}

int wan_group_split_by(wan_group *parent, wan_group_color_fn *color, const void *arg,
                       const char *name, wan_group **out)
{
    entry *all;
    *out = NULL;
    if (!parent->comm->t->alone)
        return wan_group_split(parent, color(arg, parent->rank), parent->rank, name, out);
    all = wan_calloc((size_t)parent->size, sizeof *all, "group");
    if (!all)
        return -1;
    for (int r = 0; r < parent->size; r++) {
        all[r] = (entry){ color(arg, r), r, r, parent->comm->next_id, "" };
        set_name(all[r].name, name);
    }
    const entry mine = all[parent->rank];
    int rc = take_part(parent, all, &mine, out);
    free(all);
    return rc;
}

void wan_group_free(wan_group **pg)
{
    wan_group *g = *pg;
    if (!g)
        return;
    unlink_group(g);
    if (g->size > 1)
        g->comm->t->leave(g);
    free(g);
    *pg = NULL;
}
