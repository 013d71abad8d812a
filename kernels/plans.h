/* SPDX-License-Identifier: Apache-2.0
 *
 * plans.h - a bounded store of what a vendor's library prepares for a shape: found by a hash, and the
 * least recently used one goes.  Packs bring new shapes at every step, so there is no end of them.
 *
 *     static wan_plans plans = WAN_PLANS(sizeof(shape), sizeof(plan), 1024, plan_free);
 *     plan *p = wan_plans_find(&plans, &shape);
 *     if (!p && (p = wan_plans_add(&plans, &shape)) && make(p) < 0)
 *         wan_plans_remove(&plans, &shape), p = NULL;
 *
 * Keys are compared by their bytes: no padding noise.  A plan stays where it is until it goes.
 * Memory for all is taken at the first add.  Not locked.  Also C++: the CUDA plugin links alone.
 */
#ifndef WAN_KERNELS_PLANS_H
#define WAN_KERNELS_PLANS_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct wan_plans {
    size_t key_size, value_size;
    int32_t most;              /* plans kept */
    void (*drop)(void *value); /* frees what a plan holds; also one that was not finished */
    /* own: slots of header, key, value; slot numbers are one more than their place, 0 is none */
    char *slots;
    int32_t *bucket;
    int32_t used, newest, oldest, unused;
} wan_plans;
#define WAN_PLANS(key, value, most, drop)                                                          \
    {                                                                                              \
        key, value, most, drop, NULL, NULL, 0, 0, 0, 0                                             \
    }

/* next: of the same bucket, or of the unused; newer, older: by last use */
typedef struct wan_plans_slot {
    uint64_t hash;
    int32_t next, newer, older;
} wan_plans_slot;

enum { WAN_PLANS_HEAD = (sizeof(wan_plans_slot) + 15) / 16 * 16 };

static inline size_t wan_plans_value_at(const wan_plans *c)
{
    return WAN_PLANS_HEAD + (c->key_size + 15) / 16 * 16;
}

static inline wan_plans_slot *wan_plans_slot_at(const wan_plans *c, int32_t i)
{
    size_t size = wan_plans_value_at(c) + (c->value_size + 15) / 16 * 16;
    return (wan_plans_slot *)(void *)(c->slots + (size_t)(i - 1) * size);
}

static inline void *wan_plans_value(const wan_plans *c, int32_t i)
{
    return (char *)wan_plans_slot_at(c, i) + wan_plans_value_at(c);
}

static inline uint64_t wan_plans_hash(const wan_plans *c, const void *key)
{
    const unsigned char *p = (const unsigned char *)key;
    uint64_t h = 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < c->key_size; i += 8) {
        uint64_t w = 0;
        memcpy(&w, p + i, c->key_size - i < 8 ? c->key_size - i : 8);
        h = (h ^ w) * 0xbf58476d1ce4e5b9u;
        h ^= h >> 29;
    }
    return h * 0x94d049bb133111ebu ^ h >> 32;
}

static inline int32_t *wan_plans_bucket(const wan_plans *c, uint64_t hash)
{
    return &c->bucket[hash % ((uint64_t)c->most * 2)];
}

/* Out of, and to the front of, the list by last use. */
static inline void wan_plans_unlink(wan_plans *c, const wan_plans_slot *s)
{
    *(s->newer ? &wan_plans_slot_at(c, s->newer)->older : &c->newest) = s->older;
    *(s->older ? &wan_plans_slot_at(c, s->older)->newer : &c->oldest) = s->newer;
}

static inline void wan_plans_to_front(wan_plans *c, int32_t i)
{
    wan_plans_slot *s = wan_plans_slot_at(c, i);
    s->newer = 0;
    s->older = c->newest;
    *(c->newest ? &wan_plans_slot_at(c, c->newest)->newer : &c->oldest) = i;
    c->newest = i;
}

static inline int32_t wan_plans_look(const wan_plans *c, const void *key, uint64_t hash)
{
    int32_t i = c->slots ? *wan_plans_bucket(c, hash) : 0;
    while (i) {
        const wan_plans_slot *s = wan_plans_slot_at(c, i);
        if (s->hash == hash && !memcmp((const char *)s + WAN_PLANS_HEAD, key, c->key_size))
            break;
        i = s->next;
    }
    return i;
}

static inline void wan_plans_drop(wan_plans *c, int32_t i)
{
    wan_plans_slot *s = wan_plans_slot_at(c, i);
    int32_t *link = wan_plans_bucket(c, s->hash);
    c->drop(wan_plans_value(c, i));
    while (*link != i)
        link = &wan_plans_slot_at(c, *link)->next;
    *link = s->next;
    wan_plans_unlink(c, s);
    s->next = c->unused;
    c->unused = i;
    c->used--;
}

/* The plan of a key; NULL: it is not there. */
static inline void *wan_plans_find(wan_plans *c, const void *key)
{
    int32_t i = wan_plans_look(c, key, wan_plans_hash(c, key));
    if (!i)
        return NULL;
    wan_plans_unlink(c, wan_plans_slot_at(c, i));
    wan_plans_to_front(c, i);
    return wan_plans_value(c, i);
}

/* Forgets the plan of a key, if it is there. */
static inline void wan_plans_remove(wan_plans *c, const void *key)
{
    int32_t i = wan_plans_look(c, key, wan_plans_hash(c, key));
    if (i)
        wan_plans_drop(c, i);
}

/* The values of all, the newest first: *at 0 in front of the first; NULL: there are no more.  *key: its key. */
static inline void *wan_plans_walk(const wan_plans *c, int32_t *at, const void **key)
{
    *at = *at ? wan_plans_slot_at(c, *at)->older : c->newest;
    if (!*at)
        return NULL;
    *key = (const char *)wan_plans_slot_at(c, *at) + WAN_PLANS_HEAD;
    return wan_plans_value(c, *at);
}

/* Forgets all, and gives the memory back. */
static inline void wan_plans_clear(wan_plans *c)
{
    while (c->used)
        wan_plans_drop(c, c->oldest);
    free(c->slots);
    free(c->bucket);
    c->slots = NULL;
    c->bucket = NULL;
    c->unused = 0;
}

static inline int wan_plans_start(wan_plans *c)
{
    size_t size = (size_t)((char *)wan_plans_slot_at(c, 2) - (char *)wan_plans_slot_at(c, 1));
    c->slots = (char *)malloc(size * (size_t)c->most);
    c->bucket = (int32_t *)calloc(2 * (size_t)c->most, sizeof *c->bucket);
    if (!c->slots || !c->bucket) {
        wan_plans_clear(c);
        return -1;
    }
    for (int32_t i = 1; i <= c->most; i++)
        wan_plans_slot_at(c, i)->next = i < c->most ? i + 1 : 0;
    c->unused = 1;
    return 0;
}

/* Room for the plan of a key that is not there, zeroed; NULL: out of memory (nothing recorded). */
static inline void *wan_plans_add(wan_plans *c, const void *key)
{
    if (!c->slots && wan_plans_start(c) < 0)
        return NULL;
    if (!c->unused)
        wan_plans_drop(c, c->oldest);
    int32_t i = c->unused;
    wan_plans_slot *s = wan_plans_slot_at(c, i);
    c->unused = s->next;
    s->hash = wan_plans_hash(c, key);
    s->next = *wan_plans_bucket(c, s->hash);
    *wan_plans_bucket(c, s->hash) = i;
    memcpy((char *)s + WAN_PLANS_HEAD, key, c->key_size);
    memset(wan_plans_value(c, i), 0, c->value_size);
    wan_plans_to_front(c, i);
    c->used++;
    return wan_plans_value(c, i);
}

#endif
